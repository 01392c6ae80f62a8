package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-357fa782/licensed/koogallery"
)

// Bounds of what is read of an answer, and of what is remembered of it.
const (
	maxAnswer    = 1 << 20
	maxShown     = 4 << 10
	maxShownLine = 1 << 10 // of a header
)

// signing tells how a request was signed.
type signing struct {
	body  []byte // as sent
	steps string
}

// request is the request as it goes out.
func (s signing) request(r *http.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL)
	writeHeaders(&b, r.Header, "Content-Type", "Accept")
	b.WriteString("\n")
	b.Write(s.body)
	return b.String()
}

// postSteps are those of …649248, with the inner digest, which tells nothing of
// the key, so that a merchant sees at which step the own calculation differs.
func postSteps(key koogallery.AccessKey, query url.Values, payload []byte) string {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write(payload)
	return fmt.Sprintf("payload   = %s\ninner     = hex(HMAC-SHA256(accessKey, payload)) = %s\nsignature = hex(HMAC-SHA256(accessKey, accessKey + %q + %q + inner)) = %s",
		payload, hex.EncodeToString(mac.Sum(nil)), query.Get("nonce"), query.Get("timestamp"), query.Get("signature"))
}

// getSteps are those of …649156.
func getSteps(query url.Values) string {
	var pairs []string
	for _, name := range sortedKeys(query) {
		if name != "authToken" {
			pairs = append(pairs, name+"="+query.Get(name))
		}
	}
	return fmt.Sprintf("data      = %s\nauthToken = base64(HMAC-SHA256(accessKey + %q, data)) = %s",
		strings.Join(pairs, "&"), query.Get("timeStamp"), query.Get("authToken"))
}

// answerText is an answer as it came, as far as it is shown.
func answerText(resp *http.Response, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP %d\n", resp.StatusCode)
	writeHeaders(&b, resp.Header, "Content-Type", "Body-Sign", "Location")
	b.WriteString("\n")
	b.WriteString(strings.ToValidUTF8(string(body[:min(len(body), maxShown)]), "\uFFFD"))
	if len(body) > maxShown {
		fmt.Fprintf(&b, "\n… of %d bytes that were read", len(body))
	}
	return b.String()
}

func writeHeaders(b *strings.Builder, h http.Header, names ...string) {
	for _, name := range names {
		for _, value := range h[http.CanonicalHeaderKey(name)] {
			fmt.Fprintf(b, "%s: %s\n", name, shorten(value, maxShownLine))
		}
	}
}
