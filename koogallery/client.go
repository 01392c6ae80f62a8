package koogallery

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// The two domains of the open API. The second is for when the first cannot be
// reached.
const (
	BaseURL         = "https://mkt.myhuaweicloud.com"
	FallbackBaseURL = "https://mkt.myhuaweicloud.cn"
)

// Limits of the open API.
const (
	MaxBatch       = 100     // codes in one ActivateBatch
	MaxCode        = 64      // characters of a code
	MaxAnswer      = 1 << 20 // bytes read of an answer
	DefaultTimeout = 10 * time.Second
)

// apiPath stands between a base URL and the path of a call.
const apiPath = "/api/mkp-openapi-public/global"

// ClientOptions configures a Client. AccessKeyID and SecretAccessKey are
// required.
type ClientOptions struct {
	// AccessKeyID and SecretAccessKey are the AK/SK of the merchant's account.
	// They are not the access key of callbacks.
	AccessKeyID     string
	SecretAccessKey SecretKey
	// BaseURLs are tried in order until one answers; empty means BaseURL and
	// FallbackBaseURL. Only https is accepted.
	BaseURLs []string
	// RootCAs are the authorities trusted to name a server; nil means those of
	// the system. Verification cannot be switched off.
	RootCAs *x509.CertPool
	// ExtraRoots are certificates in PEM, trusted besides RootCAs: for tests
	// and private gateways.
	ExtraRoots []byte
	// Transport replaces the client's own transport, for tests and unusual
	// networks. RootCAs and ExtraRoots must then be empty: verifying the server
	// is the transport's business.
	Transport http.RoundTripper
	// Timeout bounds each attempt at one base URL, answer included; 0 means
	// DefaultTimeout.
	Timeout time.Duration
	// Location is where the expiry times in answers are at home; nil means UTC.
	Location *time.Location
	// Now is the clock that dates signatures; nil means time.Now. The gateway
	// refuses dates more than about 15 minutes off.
	Now func() time.Time
}

// Client calls the open API. It is safe for concurrent use, retries nothing at
// the same base URL and follows no redirects.
type Client struct {
	opts  ClientOptions
	bases []*url.URL
	http  *http.Client
}

// NewClient checks the options and makes a client. Nothing is sent.
func NewClient(opts ClientOptions) (*Client, error) {
	if opts.AccessKeyID == "" || opts.SecretAccessKey.IsZero() {
		return nil, errors.New("marketplace client: AccessKeyID and SecretAccessKey are required")
	}
	if len(opts.BaseURLs) == 0 {
		opts.BaseURLs = []string{BaseURL, FallbackBaseURL}
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.Now == nil {
		opts.Now = time.Now //nolint:forbidigo // the default of the field
	}
	c := &Client{opts: opts}
	for _, s := range opts.BaseURLs {
		u, err := parseBase(s)
		if err != nil {
			return nil, err
		}
		c.bases = append(c.bases, u)
	}
	transport, err := opts.transport()
	if err != nil {
		return nil, err
	}
	c.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(s, "/"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("marketplace client: base URL: %w", err)
	case u.Scheme != "https":
		return nil, fmt.Errorf("marketplace client: base URL %s: only https is allowed", u.Redacted())
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("marketplace client: base URL %s: want https://host[:port][/path]", u.Redacted())
	}
	return u, nil
}

func (o *ClientOptions) transport() (http.RoundTripper, error) {
	if o.Transport != nil {
		if o.RootCAs != nil || len(o.ExtraRoots) > 0 {
			return nil, errors.New("marketplace client: Transport and roots exclude each other")
		}
		return o.Transport, nil
	}
	roots, err := o.roots()
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: o.Timeout / 2}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    o.Timeout / 2,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
	}, nil
}

func (o *ClientOptions) roots() (*x509.CertPool, error) {
	if len(o.ExtraRoots) == 0 {
		return o.RootCAs, nil // nil: the system's
	}
	var pool *x509.CertPool
	if o.RootCAs != nil {
		pool = o.RootCAs.Clone()
	} else {
		var err error
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("marketplace client: system roots: %w", err)
		}
	}
	if !pool.AppendCertsFromPEM(o.ExtraRoots) {
		return nil, errors.New("marketplace client: ExtraRoots hold no certificate")
	}
	return pool, nil
}

// Close drops idle connections of the client's own transport.
func (c *Client) Close() {
	if c.opts.Transport == nil {
		c.http.CloseIdleConnections()
	}
}

// Activate activates one code (v1, access guide …649244). effective is the
// actual time of delivery, not before the order; the zero time leaves it to
// the marketplace.
//
// A lost answer cannot be told from a call that never arrived. Calling again is
// safe: ErrAlreadyActive then says that the first call worked. Errors are
// *APIError, ErrInvalidParam or ErrUnavailable; none holds the code.
func (c *Client) Activate(ctx context.Context, code Code, effective time.Time) (Activation, error) {
	if err := checkCodes(code); err != nil {
		return Activation{}, fmt.Errorf("activate: %w", err)
	}
	data, err := c.call(ctx, "/v1/license/activate", activateRequest{
		License:        code.Reveal(),
		RealEffectTime: effectTime(effective),
	}, code)
	if err != nil {
		return Activation{}, fmt.Errorf("activate: %w", err)
	}
	return readActivation(data, c.opts.Location), nil
}

// ActivateBatch activates 1 to MaxBatch codes (v2). The answer says nothing
// about single codes, and whether one bad code fails all is not documented:
// Query each one, or use Activate. Errors are those of Activate.
func (c *Client) ActivateBatch(ctx context.Context, codes []Code, effective time.Time) error {
	if len(codes) == 0 || len(codes) > MaxBatch {
		return fmt.Errorf("activate batch of %d codes, 1 to %d allowed: %w", len(codes), MaxBatch, ErrInvalidParam)
	}
	if err := checkCodes(codes...); err != nil {
		return fmt.Errorf("activate batch: %w", err)
	}
	req := activateBatchRequest{RealEffectTime: effectTime(effective)}
	for _, code := range codes {
		req.LicenseList = append(req.LicenseList, code.Reveal())
	}
	if _, err := c.call(ctx, "/v2/license/activate", req, codes...); err != nil {
		return fmt.Errorf("activate batch: %w", err)
	}
	return nil
}

// Query reads the authoritative state of a code (v1, formerly heartbeat, access
// guide …649245); it is owed on the first use of each day. A code that was not
// activated is ErrNotActivated. Other errors are those of Activate.
func (c *Client) Query(ctx context.Context, code Code) (CodeInfo, error) {
	if err := checkCodes(code); err != nil {
		return CodeInfo{}, fmt.Errorf("query: %w", err)
	}
	data, err := c.call(ctx, "/v1/license/heartbeat", queryRequest{License: code.Reveal()}, code)
	if err != nil {
		return CodeInfo{}, fmt.Errorf("query: %w", err)
	}
	info, err := readCodeInfo(data, c.opts.Location)
	if err != nil {
		return CodeInfo{}, fmt.Errorf("query: %w", err)
	}
	return info, nil
}

func checkCodes(codes ...Code) error {
	for _, c := range codes {
		s := c.Reveal()
		if s == "" || !utf8.ValidString(s) || utf8.RuneCountInString(s) > MaxCode {
			return fmt.Errorf("code is not 1 to %d characters of UTF-8: %w", MaxCode, ErrInvalidParam)
		}
	}
	return nil
}

// call tries the base URLs in order. Another one is tried only while no usable
// answer came: a business error is an answer, and one that is throttled will be
// so under the other name too.
func (c *Client) call(ctx context.Context, path string, request any, codes ...Code) (json.RawMessage, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	var failures []error
	for _, base := range c.bases {
		data, err := c.attempt(ctx, base, path, body, codes)
		if err == nil {
			return data, nil
		}
		failures = append(failures, err)
		var api *APIError
		throttled := errors.As(err, &api) && api.HTTPStatus == http.StatusTooManyRequests
		if !errors.Is(err, ErrUnavailable) || throttled || ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

func (c *Client) attempt(ctx context.Context, base *url.URL, path string, body []byte, codes []Code) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base.String()+apiPath+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if err := SignRequest(req, body, c.opts.AccessKeyID, c.opts.SecretAccessKey, c.opts.Now()); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &UnavailableError{Host: base.Host, Err: err}
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err == nil && len(answer) > MaxAnswer {
		err = errors.New("answer is too long")
	}
	if err != nil {
		return nil, &UnavailableError{Host: base.Host, HTTPStatus: resp.StatusCode, Err: err}
	}
	return readAnswer(base.Host, resp, answer, codes)
}
