package adminclient

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Within makes a client of an admin API in this process: calls are served by api, on
// the goroutine that makes them and with their context. Who calls is for api to know.
func Within(api http.Handler) *Client {
	return &Client{
		server: "the daemon", base: &url.URL{Scheme: "http", Host: "licensed"}, agent: "licensed-console",
		timeout: DefaultTimeout, authorize: func(*http.Request) {},
		http: &http.Client{
			Transport:     within{api},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// WithToken is a copy of c that presents a token.
func (c *Client) WithToken(token string) *Client {
	out := *c
	out.authorize = func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	return &out
}

// within is a transport that serves requests itself.
type within struct{ api http.Handler }

// RoundTrip serves rq.
func (t within) RoundTrip(rq *http.Request) (*http.Response, error) {
	in := rq.Clone(rq.Context())
	in.RequestURI = in.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	a := &answer{header: make(http.Header)}
	t.api.ServeHTTP(a, in)
	if err := rq.Context().Err(); err != nil {
		return nil, err
	}
	a.WriteHeader(http.StatusOK)
	if a.body.Len() > maxAnswer {
		return nil, errors.New("the answer is too large")
	}
	return &http.Response{
		Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: rq,
	}, nil
}

// answer keeps what a handler writes.
type answer struct {
	header http.Header
	status int // 0 until it is known
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}
