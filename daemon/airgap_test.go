package daemon_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// What a phone reads from a QR code is the request itself: the text and the file
// have one answer and take one seat.
func TestRequestAsText(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	raw := activation(t, m.issue().Code, "m")
	text, err := token.MarshalRequestText(raw)
	if err != nil {
		t.Fatal(err)
	}
	_, byFile := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, string(token.MarshalRequestFile(raw)), "Accept", wire.TypePEM)
	for _, body := range []string{text, "the phone shows\r\n> " + text[:90] + "\r\n> " + text[90:] + "\r\nregards"} {
		rs, byText := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, body, "Accept", wire.TypePEM)
		if rs.StatusCode != http.StatusOK || byText != byFile || !strings.Contains(byText, "BEGIN LICENSE") {
			t.Errorf("%s: %s", rs.Status, byText)
		}
	}
	for name, c := range map[string]struct{ body, says string }{
		"cut":     {text[:len(text)-40], "not a request file: its text, which begins with LR1:, has no end; some of it is missing"},
		"changed": {text[:50] + text[53:], "not a request file: its text, which begins with LR1:, is not complete or was changed"},
		"two":     {text + text, "it holds more than one request; hand each in by itself"},
	} {
		rs, answer := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, c.body)
		if p := problem(t, rs, answer); p.Reason != license.BadRequest || p.Field != "body" || p.Detail != c.says {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
