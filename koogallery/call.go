package koogallery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const jsonMedia = "application/json"

// apiCall is one call of the open API before it is addressed and signed.
type apiCall struct {
	method, path string // below apiPath, percent-encoded
	query        url.Values
	contentType  string
	body         []byte
	form         answerForm
	hide         []string // which a message may quote and nobody should read
}

// answerForm tells how a call spells its answer. The gateway's own answers have
// error_code in every case.
type answerForm struct {
	success    []string // codes which mean success
	resultCode bool     // resultCode, resultMsg and orderInfo for error_code, error_msg and data
	// speaks reports whether what the answer carries is what was asked for, whatever
	// its code: nil where the codes of success are known.
	speaks func(data json.RawMessage) bool
}

var licenceForm = answerForm{success: []string{codeOK}}

// post is do for the JSON calls about codes.
func (c *Client) post(ctx context.Context, path string, request any, hide ...string) (json.RawMessage, error) {
	body, err := json.Marshal(request)
	if err != nil { // cannot happen: requests are structs of texts and numbers
		return nil, errors.New("request cannot be encoded")
	}
	return c.do(ctx, &apiCall{
		method: http.MethodPost, path: path, contentType: jsonMedia, body: body, form: licenceForm, hide: hide,
	})
}

// do tries the base URLs in order and returns what the answer carries. Another
// one is tried only while no usable answer came: a business error is an answer,
// and one that is throttled will be so under the other name too.
func (c *Client) do(ctx context.Context, call *apiCall) (json.RawMessage, error) {
	var failures []error
	for _, base := range c.bases {
		data, err := c.attempt(ctx, base, call)
		if err == nil {
			return data, nil
		}
		if !errors.Is(err, ErrUnavailable) {
			return nil, err // an answer, whatever became of the addresses before it
		}
		failures = append(failures, err)
		var api *APIError
		throttled := errors.As(err, &api) && api.HTTPStatus == http.StatusTooManyRequests
		if throttled || ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

func (c *Client) attempt(ctx context.Context, base *url.URL, call *apiCall) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	address := base.String() + apiPath + call.path
	if len(call.query) > 0 {
		address += "?" + call.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, call.method, address, bytes.NewReader(call.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", call.contentType)
	req.Header.Set("Accept", jsonMedia)
	if err := SignRequest(req, call.body, c.opts.AccessKeyID, c.opts.SecretAccessKey, c.opts.Now()); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &UnavailableError{Host: base.Host, Err: withoutURL(err)}
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err == nil && len(answer) > MaxAnswer {
		err = errors.New("answer is too long")
	}
	if err != nil {
		return nil, &UnavailableError{Host: base.Host, HTTPStatus: resp.StatusCode, Err: err}
	}
	return readAnswer(base.Host, resp, answer, call)
}

// withoutURL takes the address off: an order or event belongs to a buyer.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// readAnswer separates success, business errors and everything that is no
// answer of the open API at all.
func readAnswer(host string, resp *http.Response, body []byte, call *apiCall) (json.RawMessage, error) {
	status := resp.StatusCode
	unavailable := func(why string) error {
		if status == http.StatusUnauthorized {
			return &APIError{HTTPStatus: status, RequestID: requestID(resp, "", call.hide)}
		}
		return &UnavailableError{Host: host, HTTPStatus: status, Err: errors.New(why)}
	}
	if status >= 300 && status < 400 {
		return nil, unavailable("redirects are not followed")
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media == "text/html" {
		return nil, unavailable("answer is HTML")
	}
	var env struct {
		ErrorCode  scalar          `json:"error_code"`
		ErrorMsg   scalar          `json:"error_msg"`
		RequestID  scalar          `json:"request_id"`
		Data       json.RawMessage `json:"data"`
		ResultCode scalar          `json:"resultCode"`
		ResultMsg  scalar          `json:"resultMsg"`
		OrderInfo  json.RawMessage `json:"orderInfo"`
	}
	// The decoder's own error can quote the answer, so it is not passed on.
	switch err := json.Unmarshal(body, &env); {
	case len(body) == 0:
		return nil, unavailable("answer is empty")
	case err != nil:
		return nil, unavailable("answer is not a whole JSON object")
	}
	code, msg, data := env.ErrorCode, env.ErrorMsg, env.Data
	if call.form.resultCode && code == "" {
		code, msg, data = env.ResultCode, env.ResultMsg, env.OrderInfo
	}
	success := slices.Contains(call.form.success, string(code)) ||
		call.form.speaks != nil && status/100 == 2 && call.form.speaks(data)
	switch {
	case code == "" && call.form.resultCode:
		return nil, unavailable("answer has no resultCode")
	case code == "":
		return nil, unavailable("answer has no error_code")
	case success && status/100 == 2:
		return data, nil
	case success:
		return nil, unavailable("success with this status is a contradiction")
	}
	return nil, &APIError{
		HTTPStatus: status,
		Code:       cleanCode(string(code), call.hide),
		Msg:        clean(string(msg), maxMsg, call.hide),
		RequestID:  requestID(resp, string(env.RequestID), call.hide),
	}
}

func requestID(resp *http.Response, fromBody string, hide []string) string {
	if fromBody == "" {
		fromBody = resp.Header.Get("X-Request-Id")
	}
	return clean(fromBody, 64, hide)
}

// cleanCode leaves what looks like an error code alone: taking a very short
// authorization code out of it would make another error of it.
func cleanCode(s string, hide []string) string {
	short := len(s) <= 16
	for i := 0; short && i < len(s); i++ {
		c := s[i]
		short = isDigit(c) || c == '.' || c == '_' || 'A' <= c && c <= 'Z'
	}
	if short {
		return s
	}
	return clean(s, 64, hide)
}

// maxMsg is the documented length of error_msg and resultMsg in characters.
const maxMsg = 1024

// clean makes a text from outside fit for a log: without the texts of the call
// which are to be hidden and which a message may quote, without control
// characters, and short.
func clean(s string, maxLen int, hide []string) string {
	if len(s)*len(hide) > 1<<27 {
		return "" // thousands of texts in a megabyte: not worth the time
	}
	s = strings.ToValidUTF8(s, "?")
	for _, text := range hide {
		if text != "" {
			s = strings.ReplaceAll(s, text, redacted)
		}
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, s)
	return cutText(s, maxLen)
}
