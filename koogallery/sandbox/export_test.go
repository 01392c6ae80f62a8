package sandbox

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// ParseUpload is parseUpload, for fuzzing: the parts of what was understood.
func ParseUpload(contentType string, body []byte) (license []byte, fits bool, err error) {
	u, err := parseUpload(contentType, body)
	if err != nil {
		return nil, false, err
	}
	license, fits = u.content()
	return license, fits, nil
}

// SignedCall is a call as it goes out, with everything that is random given.
func SignedCall(key koogallery.AccessKey, nonce string, at time.Time, get bool, fields map[string]string) (*http.Request, error) {
	u := &url.URL{Scheme: "http", Host: "127.0.0.1", Path: "/"}
	req, _, err := (&Sandbox{}).request(context.Background(), call{url: u, key: key, nonce: nonce, get: get, fields: fields}, at)
	return req, err
}

// BodySigned reports that there is no bodySignFault.
func BodySigned(key koogallery.AccessKey, header string, body []byte) bool {
	return bodySignFault(key, header, body) == ""
}

// ControlCalls are the calls of the control API by their last part, and
// ControlMembers the members which their bodies can have.
func ControlCalls(s *Sandbox) (calls, members []string) {
	for _, list := range []map[string]controlCall{s.controlCalls(), s.marketCalls(), s.readCalls()} {
		for pattern := range list {
			_, path, _ := strings.Cut(pattern, " "+controlRoot)
			calls = append(calls, path)
		}
	}
	for _, t := range []reflect.Type{reflect.TypeFor[controlRequest](), reflect.TypeFor[Dialect](), reflect.TypeFor[buyerRequest]()} {
		for field := range t.Fields() {
			if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
				members = append(members, name)
			}
		}
	}
	return calls, members
}

// StepMembers are the members of each verb of a scenario.
func StepMembers() map[string][]string { return stepMembers }
