package sandbox

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"
)

// signatureWindow is how far X-Sdk-Date may lie from now.
const signatureWindow = 15 * time.Minute

func newRequestID() string { return strings.ToLower(rand.Text()) }

// checkSDKSignature checks a request's SDK-HMAC-SHA256 signature and returns
// why it is refused, or nothing. It is written from the signing guide without
// the client's code, so that the two check each other.
func (s *Sandbox) checkSDKSignature(r *http.Request, body []byte) string {
	auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "SDK-HMAC-SHA256 ")
	if !ok {
		return "Authorization header missing or of another kind"
	}
	part := map[string]string{}
	for p := range strings.SplitSeq(auth, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		part[name] = value
	}
	date := r.Header.Get("X-Sdk-Date")
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil {
		return "x-sdk-date missing or malformed"
	}
	if off := s.opts.Now().Sub(at); off > signatureWindow || off < -signatureWindow {
		return "x-sdk-date too far from now"
	}
	canonical, ok := canonicalRequest(r, body, part["SignedHeaders"])
	if !ok {
		return "signed headers wrong"
	}
	digest := sha256.Sum256(canonical)
	mac := hmac.New(sha256.New, []byte(s.opts.SecretAccessKey.Reveal()))
	mac.Write([]byte("SDK-HMAC-SHA256\n" + date + "\n" + hex.EncodeToString(digest[:])))
	given, err := hex.DecodeString(part["Signature"])
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) || part["Access"] != s.opts.AccessKeyID {
		return "verify signature fail"
	}
	return ""
}

// canonicalRequest rebuilds what the client signed. The header list must be
// sorted and name x-sdk-date.
func canonicalRequest(r *http.Request, body []byte, signedHeaders string) ([]byte, bool) {
	var b strings.Builder
	b.WriteString(r.Method)
	b.WriteByte('\n')
	for i, segment := range strings.Split(strings.Trim(r.URL.Path, "/"), "/") {
		if i == 0 {
			b.WriteByte('/')
		}
		writeEncoded(&b, segment)
		b.WriteByte('/')
	}
	b.WriteByte('\n')
	if !writeQuery(&b, r.URL.RawQuery) {
		return nil, false
	}
	b.WriteByte('\n')
	names := strings.Split(signedHeaders, ";")
	dated := false
	for _, name := range names {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		dated = dated || name == "x-sdk-date"
		b.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	b.WriteString("\n" + signedHeaders + "\n")
	digest := sha256.Sum256(body)
	b.WriteString(hex.EncodeToString(digest[:]))
	return []byte(b.String()), dated && sort.StringsAreSorted(names)
}

func writeQuery(b *strings.Builder, raw string) bool {
	if raw == "" {
		return true
	}
	var pairs []string
	for p := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(p, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil {
			return false
		}
		var e strings.Builder
		writeEncoded(&e, name)
		e.WriteByte('=')
		writeEncoded(&e, value)
		pairs = append(pairs, e.String())
	}
	sort.Slice(pairs, func(i, j int) bool {
		ni, vi, _ := strings.Cut(pairs[i], "=")
		nj, vj, _ := strings.Cut(pairs[j], "=")
		return ni < nj || ni == nj && vi < vj
	})
	b.WriteString(strings.Join(pairs, "&"))
	return true
}

func writeEncoded(b *strings.Builder, s string) {
	const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"
	for _, c := range []byte(s) {
		if strings.IndexByte(unreserved, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		if c < 0x10 {
			b.WriteByte('0')
		}
		b.WriteString(strings.ToUpper(strconv.FormatUint(uint64(c), 16)))
	}
}

// Outage is a way in which the open API fails.
type Outage string

// The outages. All but OutageNone concern the open API only; callbacks go on.
const (
	OutageNone      Outage = ""          // works
	OutageGateway   Outage = "gateway"   // 503 with a gateway's answer
	OutageHTML      Outage = "html"      // 200 with a page of somebody else
	OutageTruncated Outage = "truncated" // half an answer
	OutageDrop      Outage = "drop"      // the connection breaks without an answer
)

// SetOutage makes the open API fail, until set back to OutageNone.
func (s *Sandbox) SetOutage(o Outage) error {
	switch o {
	case OutageNone, OutageGateway, OutageHTML, OutageTruncated, OutageDrop:
	default:
		return ErrInvalid
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = o
	return nil
}

func (s *Sandbox) failByOutage(w http.ResponseWriter) bool {
	s.mu.Lock()
	o := s.outage
	s.mu.Unlock()
	switch o {
	case OutageNone:
		return false
	case OutageGateway:
		gatewayAnswer(http.StatusServiceUnavailable, codeGatewayBackend, "Backend unavailable").write(w)
	case OutageHTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<html><body>Please log in</body></html>"))
	case OutageTruncated:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"error_code":"920200`))
	case OutageDrop:
		panic(http.ErrAbortHandler) // how net/http is told to cut the connection
	}
	return true
}
