package koogallery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
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
	MaxBatch       = 100     // codes in one call which takes several
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
	// PlainCharacters sends a licence as CHARACTERS in a plain JSON body instead
	// of a multipart one with a single part. The pages show only files, so which
	// of the two is taken is not known.
	PlainCharacters bool
	// OrderSuccess are the values of resultCode which mean success to Order;
	// empty means those which the other interfaces have: MKT.0000, CBC.0000,
	// 92020000 and 000000, or any where the answer holds lines of the order. That
	// of this call is not known.
	OrderSuccess []string
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
	data, err := c.post(ctx, "/v1/license/activate", activateRequest{
		License:        code.Reveal(),
		RealEffectTime: effectTime(effective),
	}, code.Reveal())
	if err != nil {
		return Activation{}, fmt.Errorf("activate: %w", err)
	}
	return readActivation(data, c.opts.Location), nil
}

// Query reads the authoritative state of a code (v1, formerly heartbeat, access
// guide …649245); it is owed on the first use of each day. A code that was not
// activated is ErrNotActivated, and an answer about another code ErrUnavailable.
// Other errors are those of Activate.
func (c *Client) Query(ctx context.Context, code Code) (CodeInfo, error) {
	if err := checkCodes(code); err != nil {
		return CodeInfo{}, fmt.Errorf("query: %w", err)
	}
	data, err := c.post(ctx, "/v1/license/heartbeat", queryRequest{License: code.Reveal()}, code.Reveal())
	if err != nil {
		return CodeInfo{}, fmt.Errorf("query: %w", err)
	}
	var d details
	if err := json.Unmarshal(data, &d); err != nil {
		return CodeInfo{}, fmt.Errorf("query: %w", &malformedError{"data is no object"})
	}
	if named := d.first("license_code", "licenseCode", "license"); named != "" && named != code.Reveal() && !strings.Contains(named, "*") {
		return CodeInfo{}, fmt.Errorf("query: %w", &malformedError{"it is about another code"})
	}
	info, err := d.codeInfo(c.opts.Location)
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
