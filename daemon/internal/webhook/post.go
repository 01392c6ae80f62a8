package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of one attempt.
const (
	attemptTimeout = 20 * time.Second // from the dial to the end of the answer's head
	maxAnswer      = 4 << 10          // of an answer's body that is read; the rest is not waited for
	maxHeader      = 64 << 10
	maxShown       = 200 // of an answer that is shown
	maxRetryAfter  = 24 * time.Hour
)

// answer is what came of one attempt.
type answer struct {
	status     int // 0: nothing was heard
	took       time.Duration
	text       string        // the beginning of the answer, made printable
	retryAfter time.Duration // that the receiver asks for
	err        error         // why nothing was heard
}

func (a answer) ok() bool   { return a.status >= 200 && a.status <= 299 }
func (a answer) gone() bool { return a.status == http.StatusGone }

// crowded reports whether the receiver asks for fewer requests, whatever they
// are about.
func (a answer) crowded() bool {
	return a.retryAfter > 0 && (a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable)
}

// failure says why an attempt did not succeed, with what was answered.
func (a answer) failure() string {
	if a.err == nil && (a.status < 300 || a.status > 399) && a.text != "" {
		return fmt.Sprintf("HTTP %d: %s", a.status, a.text)
	}
	return a.kind()
}

// kind is failure without what was answered, which may repeat what was told.
func (a answer) kind() string {
	switch {
	case a.err != nil:
		return a.err.Error()
	case a.status >= 300 && a.status <= 399:
		return fmt.Sprintf("HTTP %d: it redirects, which is not followed; correct the url", a.status)
	}
	return fmt.Sprintf("HTTP %d", a.status)
}

// newTransport is the way to an endpoint. Proxies are those of the environment,
// as for the marketplace. Verification is never off; roots adds to those of the
// system.
func newTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    atOnce,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}
}

func newClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post makes one attempt to deliver body under an id.
func (e *endpoint) post(ctx context.Context, id string, body []byte) answer {
	secrets := e.Secrets()
	begun := e.sender.now()
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	rq, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader(body))
	if err != nil {
		return answer{err: plain(err)}
	}
	rq.Header.Set("Content-Type", "application/json")
	rq.Header.Set("User-Agent", "licensed/"+e.sender.o.Version)
	rq.Header.Set(headerID, id)
	rq.Header.Set(headerTimestamp, timestamp(begun))
	rq.Header.Set(headerSignature, signatures(secrets, id, begun, body))
	rs, err := e.client.Do(rq)
	if err != nil {
		return answer{took: e.sender.now().Sub(begun), err: plain(err)}
	}
	head, err := io.ReadAll(io.LimitReader(rs.Body, maxAnswer))
	_ = rs.Body.Close() // what was answered is known; a longer body costs the connection
	a := answer{status: rs.StatusCode, took: e.sender.now().Sub(begun), text: shownText(head), retryAfter: retryAfter(rs.Header.Get("Retry-After"), begun)}
	if err != nil && !a.ok() && a.text == "" {
		a.text = "its answer breaks off"
	}
	return a
}

// plain is an error of the client without the address, which is known, and in
// few words where it is a timeout.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		if u.Timeout() {
			return fmt.Errorf("no answer within %s", attemptTimeout)
		}
		err = u.Err
	}
	return errors.New(shownText([]byte(err.Error())))
}

// shownText is the beginning of a text from outside on one line, as it can be
// logged and shown.
func shownText(b []byte) string {
	s := strings.Join(strings.FieldsFunc(strings.ToValidUTF8(string(b), "�"), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '�'
		}
		return r
	}, s)
	if len(s) <= maxShown {
		return s
	}
	end := maxShown
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// retryAfter reads the header of that name: seconds or an instant (RFC 9110,
// section 10.2.3). What cannot be read asks for nothing.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
