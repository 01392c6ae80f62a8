package clienttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// typeJWKS is the media type of a JWK set (RFC 7517 section 8.5).
const typeJWKS = "application/jwk-set+json"

// portalPage is what a captive portal answers everything with.
const portalPage = "<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><form>Please sign in to use this network.</form></body></html>\n"

// handler serves every call: what is wrong with the server goes first.
func (s *Server) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxBody))
		if err != nil {
			err = license.Errorf(license.BadRequest, "the body is longer than %d bytes", wire.MaxBody)
		}
		c := &Call{Method: r.Method, Path: r.URL.Path}
		if raw, err := rawRequest(r.Header.Get("Content-Type"), body); err == nil && r.Method == http.MethodPost {
			if req, err := token.VerifyRequest(raw.Request); err == nil {
				c.Request = req
			}
		}
		a, ok := s.serve(r, body, err, c)
		if !ok {
			panic(http.ErrAbortHandler) // which ends the connection, and is not logged
		}
		a.write(w)
	})
}

// serve records a call, and answers it or not.
func (s *Server) serve(r *http.Request, body []byte, failed error, c *Call) (reply, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.At = s.clock.Now()
	s.calls = append(s.calls, c)
	for s.trouble.mode == hangs && r.Context().Err() == nil {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		s.mu.Lock()
	}
	switch s.trouble.mode {
	case down, hangs:
		return reply{}, false
	case html:
		c.Status = http.StatusOK
		return reply{status: http.StatusOK, mediaType: "text/html; charset=utf-8", body: []byte(portalPage)}, true
	case up, impostor:
	}
	b, err := s.serving()
	if failed == nil {
		failed = err
	}
	var a reply
	lost := false
	switch {
	case failed != nil:
		a = refuse(failed)
	case r.Method == http.MethodPost && r.URL.Path == wire.PathRequests:
		a = s.answerRequest(b, r.Header, body)
		lost = s.trouble.lose > 0
		s.trouble.lose = max(s.trouble.lose-1, 0)
	default:
		a = document(b, r, s.now())
	}
	c.Reason = a.reason
	if lost {
		c.Lost = a.reason == ""
		return reply{}, false
	}
	c.Status = a.status
	return a, true
}

// serving is the book that is answered from: that of an impostor knows all that
// ours does, and nothing that happens there happens here.
func (s *Server) serving() (*book, error) {
	if s.trouble.mode != impostor {
		return &s.book, nil
	}
	b := s.book.clone()
	var err error
	b.vouched, err = vouch("somebody else's anchor", s.now().Add(-time.Hour), 1, "somebody else's key")
	return &b, err
}

// answerRequest is POST /v1/requests.
func (s *Server) answerRequest(b *book, h http.Header, body []byte) reply {
	if s.trouble.refusal != nil {
		return refuse(s.trouble.refusal)
	}
	in, err := rawRequest(h.Get("Content-Type"), body)
	if err != nil {
		return refuse(err)
	}
	ans, err := b.answerTo(in, s.now())
	if err != nil {
		return refuse(err)
	}
	return encoded(ans, wantsFile(h))
}

// answerTo checks a request as it came in, and answers it.
func (b *book) answerTo(in wire.Request, now time.Time) (wire.Answer, error) {
	if in.Request == "" {
		return wire.Answer{}, license.FieldErrorf("request", "a signed request is required")
	}
	beside, err := in.BesideCode()
	if err != nil {
		return wire.Answer{}, err
	}
	req, err := token.VerifyRequest(in.Request)
	if err != nil {
		return wire.Answer{}, err
	}
	if !beside.IsZero() {
		if !req.Code.IsZero() && !req.Code.Equal(beside) {
			return wire.Answer{}, license.FieldErrorf("code", "the code beside the request is not the one in it")
		}
		req.Code = beside
	}
	return b.request(req, now)
}

// rawRequest reads a body as strictly as the daemon does.
func rawRequest(contentType string, body []byte) (in wire.Request, err error) {
	mediaType := wire.TypeJSON
	if contentType != "" {
		if mediaType, _, err = mime.ParseMediaType(contentType); err != nil {
			mediaType = ""
		}
	}
	switch {
	case len(body) == 0:
		return in, license.FieldErrorf("", "a body is required")
	case mediaType == wire.TypePEM:
		raw, err := token.ParseRequestFile(body)
		if err != nil {
			return in, license.FieldErrorf("body", "it is not a request file")
		}
		return wire.Request{Request: raw}, nil
	case mediaType != wire.TypeJSON:
		return in, license.FieldErrorf("body", "send %s; this content type is not taken", wire.TypeJSON)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return in, license.FieldErrorf("body", "it is not a JSON document of a request")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return in, license.FieldErrorf("body", "there is something after the JSON document")
	}
	return in, nil
}

// document is what is fetched: the key set and the status lists.
func document(b *book, r *http.Request, now time.Time) reply {
	list, isList := strings.CutPrefix(r.URL.Path, strings.TrimSuffix(wire.PathStatus, "{list}"))
	allow := "GET, HEAD"
	switch {
	case r.URL.Path == wire.PathRequests:
		allow = http.MethodPost
	case !isList && r.URL.Path != wire.PathKeys && r.URL.Path != wire.PathJWKS:
		return refuse(license.Errorf(license.NotFound, "there is nothing at this address"))
	}
	if allow == http.MethodPost || r.Method != http.MethodGet && r.Method != http.MethodHead {
		a := refuse(license.Errorf(license.BadRequest, "this address takes %s only", allow))
		a.status, a.allow = http.StatusMethodNotAllowed, allow
		return a
	}
	switch {
	case isList:
		raw, err := b.list(list, now)
		if err != nil {
			return refuse(err)
		}
		if wantsFile(r.Header) {
			f := token.File{KeySets: []string{b.set.Raw}, Statuses: []string{raw}}
			return published(r, wire.TypePEM, f.Marshal(), statusTTL)
		}
		return published(r, wire.TypeStatusList, []byte(raw), statusTTL)
	case r.URL.Path == wire.PathKeys:
		return published(r, wire.TypeJWT, []byte(b.set.Raw), keysMaxAge)
	}
	jwks, err := b.set.JWKS()
	if err != nil {
		return refuse(err)
	}
	return published(r, typeJWKS, jwks, keysMaxAge)
}

// published is a document that may be kept for a while: who has it is told so.
func published(r *http.Request, mediaType string, body []byte, maxAge time.Duration) reply {
	sum := sha256.Sum256(body)
	a := reply{status: http.StatusOK, mediaType: mediaType, body: body, maxAge: maxAge, etag: fmt.Sprintf("%q", hex.EncodeToString(sum[:16]))}
	if strings.Contains(r.Header.Get("If-None-Match"), a.etag) {
		a.status, a.mediaType, a.body = http.StatusNotModified, "", nil
	}
	return a
}

// keysMaxAge is how long a copy of the key set may be used.
const keysMaxAge = 5 * time.Minute

// wantsFile reports whether the caller accepts a licence file rather than JSON.
func wantsFile(h http.Header) bool {
	return strings.Contains(strings.ToLower(strings.Join(h.Values("Accept"), ",")), wire.TypePEM)
}

// reply is an answer on its way out.
type reply struct {
	status    int
	mediaType string
	body      []byte
	reason    license.Reason
	retry     int64 // seconds
	allow     string
	maxAge    time.Duration // how long it may be kept, 0 not at all
	etag      string
}

func encoded(a wire.Answer, asFile bool) reply {
	if asFile {
		return reply{status: http.StatusOK, mediaType: wire.TypePEM, body: licenseFile(a)}
	}
	return asJSON(http.StatusOK, wire.TypeJSON, a)
}

func licenseFile(a wire.Answer) []byte {
	f := token.File{KeySets: []string{a.Keys}, Times: []string{a.Time}}
	if a.License != "" {
		f.Licenses = []string{a.License}
	}
	if a.Status != "" {
		f.Statuses = []string{a.Status}
	}
	return f.Marshal()
}

func asJSON(status int, mediaType string, v any) reply {
	body, err := json.Marshal(v)
	if err != nil {
		return reply{status: http.StatusInternalServerError, mediaType: "text/plain", body: []byte("it cannot be encoded"), reason: license.Internal}
	}
	return reply{status: status, mediaType: mediaType, body: append(body, '\n')}
}

// requestID names every call in problems: a test has no log to look it up in.
const requestID = "clienttest"

func refuse(err error) reply {
	p := wire.NewProblem(err, requestID)
	a := asJSON(p.Status, wire.TypeProblem, p)
	a.reason, a.retry = p.Reason, p.RetryAfter
	return a
}

func (a reply) write(w http.ResponseWriter) {
	h := w.Header()
	if a.mediaType != "" {
		h.Set("Content-Type", a.mediaType)
	}
	h.Set("Request-Id", requestID)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if a.maxAge > 0 {
		h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(a.maxAge/time.Second)))
		h.Set("ETag", a.etag)
	}
	if a.retry > 0 {
		h.Set("Retry-After", fmt.Sprint(a.retry))
	}
	if a.allow != "" {
		h.Set("Allow", a.allow)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the client may be gone, and a HEAD has no body
}
