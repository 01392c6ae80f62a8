package client

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

const userAgent = "licensed-client/1"

// maxRedirects is how many redirects, within one host, a call follows.
const maxRedirects = 3

// server is the licence server as the client sees it.
type server struct {
	base *url.URL
	http *http.Client
	own  bool // the transport is ours to tidy up

	// For certificates: an instant that it may be as well, and the one that one
	// connection is judged by instead.
	alsoWithin func(from, until time.Time) (time.Time, bool)
	instead    atomic.Pointer[time.Time]
}

func newServer(o Options, now func() time.Time, alsoWithin func(from, until time.Time) (time.Time, bool)) (*server, error) {
	base, err := endpoint(o.Server, o.AllowPlain)
	if err != nil {
		return nil, err
	}
	s := &server{base: base, http: &http.Client{}, alsoWithin: alsoWithin}
	if o.HTTPClient != nil {
		*s.http = *o.HTTPClient
	} else {
		s.http.Transport, s.own = newTransport(o, func() time.Time {
			if t := s.instead.Load(); t != nil {
				return *t
			}
			return now()
		}), true
	}
	s.http.CheckRedirect = redirected
	return s, nil
}

func (s *server) closeIdle() {
	if s.own {
		s.http.CloseIdleConnections()
	}
}

// do makes a call. A certificate that is refused for its time alone is judged
// once more, by another time that it may be.
func (s *server) do(req *http.Request) (*http.Response, error) {
	resp, err := s.http.Do(req)
	invalid, ok := outOfTime(err)
	if !ok || !s.own || invalid.Cert == nil {
		return resp, err
	}
	t, ok := s.alsoWithin(invalid.Cert.NotBefore, invalid.Cert.NotAfter)
	if !ok {
		return resp, err
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		body, bodyErr := req.GetBody()
		if bodyErr != nil {
			return resp, err
		}
		again.Body = body
	}
	s.instead.Store(&t)
	defer s.instead.Store(nil)
	return s.http.Do(again)
}

// outOfTime reports whether a call failed because a certificate is not valid
// yet, or no longer.
func outOfTime(err error) (x509.CertificateInvalidError, bool) {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	return invalid, ok && invalid.Reason == x509.Expired
}

// post sends a signed request. Its errors are what the server's problem says,
// or Unreachable.
func (s *server) post(ctx context.Context, request string) (wire.Answer, error) {
	body, err := json.Marshal(wire.Request{Request: request})
	if err != nil {
		return wire.Answer{}, fmt.Errorf("write the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base.String()+wire.PathRequests, bytes.NewReader(body))
	if err != nil {
		return wire.Answer{}, fmt.Errorf("write the request: %w", err)
	}
	req.Header.Set("Content-Type", wire.TypeJSON)
	data, r, err := s.call(req, wire.TypeJSON, wire.MaxBody)
	if err != nil {
		return wire.Answer{}, err
	}
	var a wire.Answer
	if err := json.Unmarshal(data, &a); err != nil {
		return wire.Answer{}, s.unreachable(r, "sent an answer that is not whole; try again later", err)
	}
	if a.Keys == "" && a.Time == "" {
		return wire.Answer{}, s.unreachable(r, "sent JSON that is no answer of a licence server; see that the address is right", nil)
	}
	return a, nil
}

// get fetches a token that the server publishes under an address.
func (s *server) get(ctx context.Context, address, mediaType string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", license.Errorf(license.NotFound, "there is nothing to fetch at the address that the licence names").WithCause(err)
	}
	data, _, err := s.call(req, mediaType, token.MaxToken)
	if err != nil {
		return "", err
	}
	return string(bytes.TrimSpace(data)), nil
}

// call makes a call and reads its answer, which is of one type and no longer
// than so many bytes. Where it failed, no connection is left over.
func (s *server) call(req *http.Request, want string, most int) (data []byte, r *route, err error) {
	defer func() {
		if err != nil {
			s.closeIdle()
		}
	}()
	ctx, r := traced(req.Context())
	req = req.WithContext(ctx)
	req.Header.Set("Accept", want)
	req.Header.Set("User-Agent", userAgent)
	resp, err := s.do(req)
	if err != nil {
		return nil, r, s.failed(r, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	data, err = io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	switch {
	case err != nil:
		return nil, r, s.brokenOff(r, err)
	case len(data) > most:
		return nil, r, s.unreachable(r, "sent an answer that is too long for one; see that the address is right, and that no proxy changes what passes", nil)
	}
	return data, r, s.refusal(r, resp, data, want)
}

// refusal is what keeps an answer from being one of the type that is wanted.
// The reason comes from the body, never from the status.
func (s *server) refusal(r *route, resp *http.Response, data []byte, want string) error {
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		mediaType = ""
	}
	switch {
	case mediaType == wire.TypeProblem:
		var p wire.Problem
		if json.Unmarshal(data, &p) != nil || !reasonOfServer(p.Reason) {
			return s.unreachable(r, fmt.Sprintf("answered with status %d and a problem that is none of a licence server; see that the address is right", resp.StatusCode), nil)
		}
		return refused(p, resp.Header)
	case resp.StatusCode != http.StatusOK || mediaType != want:
		return s.stranger(r, resp, mediaType)
	}
	return nil
}

// reasonOfServer reports whether a server can give this reason. One that this
// version does not know is passed on; those that arise only on this machine
// are not.
func reasonOfServer(r license.Reason) bool {
	switch r { //nolint:exhaustive // all others are a server's
	case license.Forged, license.Damaged, license.NotYetValid, license.LeaseOver, license.Older, license.Unreachable, license.NoLicense, "":
		return false
	}
	return len(r) <= 64 && strings.Trim(string(r), "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// maxDetail is how much of a server's text is passed on, in bytes.
const maxDetail = 1000

// printable makes a text from outside fit to be shown in one line.
func printable(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
}
