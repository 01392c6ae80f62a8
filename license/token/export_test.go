package token

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Scan is the scanner without a shape.
func Scan(data []byte) error {
	if f := scan(data, nil); f != nil {
		return fmt.Errorf("%s", f)
	}
	return nil
}

// Decodable reports, for each form of claims, whether the scanner accepts data,
// and whether encoding/json then decodes it.
func Decodable(data []byte) map[string][2]bool {
	out := make(map[string][2]bool)
	for name, f := range claimForms() {
		v := reflect.New(f.claims)
		out[name] = [2]bool{scan(data, f.shape) == nil, json.Unmarshal(data, v.Interface()) == nil}
	}
	return out
}

type claimForm struct {
	shape  *shape
	claims reflect.Type
}

func claimForms() map[string]claimForm {
	return map[string]claimForm{
		"license":        {licenseShape, reflect.TypeFor[licenseClaims]()},
		"keys":           {keySetShape, reflect.TypeFor[keySetClaims]()},
		"key":            {keyShape, reflect.TypeFor[JWK]()},
		"request":        {requestShape, reflect.TypeFor[requestClaims]()},
		"list":           {statusListShape, reflect.TypeFor[statusListClaims]()},
		"time":           {timeShape, reflect.TypeFor[timeClaims]()},
		"proof":          {deliveryShape, reflect.TypeFor[deliveryClaims]()},
		"checkpoint":     {checkpointShape, reflect.TypeFor[checkpointClaims]()},
		"proof document": {deliveryDocumentShape, reflect.TypeFor[deliveryDocument]()},
		"header":         {headerShape, reflect.TypeFor[joseHeader]()},
		"anchors":        {anchorsShape, reflect.TypeFor[anchorsDocument]()},
	}
}

// Undecoded lists names that are decoded without standing in the shape: the
// scanner would let their other spellings pass.
func Undecoded() []string {
	var wrong []string
	for name, f := range claimForms() {
		wrong = append(wrong, undecoded(name, f.shape, f.claims)...)
	}
	slices.Sort(wrong)
	return wrong
}

func undecoded(path string, s *shape, t reflect.Type) (wrong []string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.Implements(reflect.TypeFor[interface{ UnmarshalJSON([]byte) error }]()) {
		return nil
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		at, _ := s.find([]byte(name))
		if at < 0 {
			wrong = append(wrong, path+"."+name)
			continue
		}
		wrong = append(wrong, undecoded(path+"."+name, s.members[at].shape, f.Type)...)
	}
	return wrong
}

// WithRoom is v with less memory for entries whose erasure comes later, in bytes.
func (v AuditVerifier) WithRoom(bytes int64) AuditVerifier { v.room = bytes; return v }

// TextWords is the preset dictionary of the text form of requests.
const TextWords = textWords

// Encode41 writes bytes as the text form of requests does.
func Encode41(data []byte) string { return encode41(data) }
