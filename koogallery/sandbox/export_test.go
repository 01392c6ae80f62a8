package sandbox

import (
	"context"
	"net/http"
	"net/url"
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
	return (&Sandbox{}).request(context.Background(), call{url: u, key: key, nonce: nonce, get: get, fields: fields}, at)
}

// BodySigned is bodySigned.
func BodySigned(key koogallery.AccessKey, header string, body []byte) bool {
	return bodySigned(key, header, body)
}
