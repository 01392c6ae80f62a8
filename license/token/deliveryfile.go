package token

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"

	"github.com/seed-357fa782/licensed/license"
)

// DeliveryFile is a proof of delivery with the key set that verifies it: tokens,
// not verified.
type DeliveryFile struct {
	Delivery string
	Keys     string
}

// deliveryDocument is its JSON form. Claims is what is signed, for people to read.
type deliveryDocument struct {
	Claims   json.RawMessage `json:"claims,omitempty"`
	Delivery string          `json:"delivery"`
	Keys     string          `json:"keys"`
}

var deliveryDocumentShape = &shape{want: kindObject, members: []field{
	{name: "claims", shape: &shape{want: kindObject}},
	{name: "delivery", required: true, shape: text},
	{name: "keys", required: true, shape: text},
}}

// MarshalJSON writes the file as a JSON document that shows what is signed
// beside it.
func (f DeliveryFile) MarshalJSON() ([]byte, error) {
	e, ft := formDelivery.open(f.Delivery)
	if ft != nil {
		return nil, formDelivery.err(ft)
	}
	return json.Marshal(deliveryDocument{Claims: e.payload, Delivery: f.Delivery, Keys: f.Keys})
}

// PEM writes the file as PEM blocks, which may stand in any text: a page, a mail.
func (f DeliveryFile) PEM() []byte {
	return slices.Concat(marshalBlock(blockDelivery, f.Delivery), marshalBlock(blockKeys, f.Keys))
}

// ParseDeliveryFile reads a proof of delivery in either form: a JSON document, or
// PEM blocks with any text around them. Where the document shows other claims
// than are signed it is Forged; what cannot be read is Damaged.
func ParseDeliveryFile(data []byte) (DeliveryFile, error) {
	damaged := func(why string) (DeliveryFile, error) {
		return DeliveryFile{}, license.Errorf(license.Damaged, "not a proof of delivery: %s", why)
	}
	if len(data) > MaxFile {
		return damaged("it is longer than 1 MiB")
	}
	if text := bytes.TrimPrefix(data, []byte("\ufeff")); isJSON(text) {
		data = text
		var doc deliveryDocument
		if f := decode(data, deliveryDocumentShape, &doc); f != nil {
			return damaged(f.String())
		}
		if len(doc.Claims) > 0 && !showsPayload(doc) {
			return DeliveryFile{}, formDelivery.err(forgery("the claims that it shows are not those that are signed"))
		}
		return DeliveryFile{Delivery: doc.Delivery, Keys: doc.Keys}, nil
	}
	blocks, wrong := parseBlocks(data)
	if wrong != "" {
		return damaged(wrong)
	}
	var f DeliveryFile
	for _, b := range blocks {
		switch {
		case b.label == blockDelivery && f.Delivery != "":
			return damaged("it holds several")
		case b.label == blockDelivery:
			f.Delivery = b.token
		case b.label == blockKeys:
			f.Keys = b.token
		}
	}
	if f.Delivery == "" {
		return damaged(`it holds no "-----BEGIN LICENSE DELIVERY-----" block`)
	}
	return f, nil
}

func isJSON(data []byte) bool {
	for _, c := range data {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return c == '{'
	}
	return false
}

// showsPayload reports whether a document shows what its token holds, all of it and
// nothing else, however it is indented and its members are ordered.
func showsPayload(doc deliveryDocument) bool {
	e, f := formDelivery.open(doc.Delivery)
	if f != nil {
		return true // which is said of the token itself
	}
	if _, f := decodeDelivery(doc.Claims); f != nil { // a name twice in it, too
		return false
	}
	shown, errA := plainJSON(doc.Claims)
	signed, errB := plainJSON(e.payload)
	return errA == nil && errB == nil && reflect.DeepEqual(shown, signed)
}

// plainJSON reads a JSON text, its numbers as they are written.
func plainJSON(data []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}
