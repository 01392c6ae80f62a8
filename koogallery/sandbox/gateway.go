package sandbox

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
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

const errDate = "x-sdk-date too far from now"

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
		return errDate
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
		return fmt.Errorf("outage: mode %q is none of %s, %s, %s, %s, or empty for none: %w",
			shorten(string(o), 32), OutageGateway, OutageHTML, OutageTruncated, OutageDrop, ErrInvalid)
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
		writeHTML(w)
	case OutageTruncated:
		_, _ = writeHalf(w, []byte(`{"error_code":"92020001","error_msg":"internal error"}`))
	case OutageDrop:
		panic(http.ErrAbortHandler) // how net/http is told to cut the connection
	}
	return true
}

func writeHTML(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte("<html><body>Please log in</body></html>"))
}

// writeHalf announces a whole body and sends half of it.
func writeHalf(w http.ResponseWriter, body []byte) (int, error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body[:len(body)/2]) // a caller which is gone
	return len(body), nil
}

// certificate is what the server shows: its own, or by FaultAPIOtherCertificate
// another one.
func (s *Sandbox) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.strange() {
		return &s.ca.other, nil
	}
	return &s.ca.server, nil
}

func (s *Sandbox) strange() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["handshake"]++
	_, hit := s.hits(FaultAPIOtherCertificate, Event{Text: "a connection"}, "handshake", s.calls["handshake"])
	return hit
}

// Transport reaches the open API and the control API without a socket, whatever
// host is named, for a merchant in the same process. The faults look as they do
// over one.
func (s *Sandbox) Transport() http.RoundTripper { return direct{s} }

type direct struct{ s *Sandbox }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	defer func() { _ = r.Body.Close() }() // what a RoundTripper owes
	if d.s.strange() {
		return nil, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	}
	w := &recorder{header: make(http.Header)}
	if !w.serve(d.s.handler, r.Clone(r.Context())) {
		return nil, io.ErrUnexpectedEOF
	}
	return w.response(r), nil
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// serve reports false where the handler cuts the connection.
func (w *recorder) serve(h http.Handler, r *http.Request) (whole bool) {
	defer func() {
		if why := recover(); why == http.ErrAbortHandler { //nolint:errorlint // the very value is the signal
			whole = false
		} else if why != nil {
			panic(why)
		}
	}()
	h.ServeHTTP(w, r)
	return true
}

func (w *recorder) response(r *http.Request) *http.Response {
	w.WriteHeader(http.StatusOK)
	var body io.Reader = bytes.NewReader(w.body.Bytes())
	length := int64(w.body.Len())
	if announced, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil && announced > length {
		body, length = io.MultiReader(body, cut{}), announced
	}
	return &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(body), ContentLength: length, Request: r,
	}
}

// cut is the end of a body that is shorter than announced.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
