package koogallery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"
)

// CodeResult is what a query of several codes tells about one of them.
type CodeResult struct {
	Code Code
	Info CodeInfo // valid if Err is nil
	Err  error
}

type codeListRequest struct {
	LicenseList    []string `json:"license_list"`
	RealEffectTime string   `json:"real_effect_time,omitempty"`
}

// ActivateBatch activates 1 to MaxBatch codes (v2, access guide …649244). The
// answer says nothing about single codes, and whether one bad code fails all is
// not documented: Query each one, or use Activate. Errors are those of
// Activate, ErrInvalidBatch, and ErrBatchUnusable where the marketplace does
// not have this call.
func (c *Client) ActivateBatch(ctx context.Context, codes []Code, effective time.Time) error {
	texts, err := batchTexts(codes)
	if err == nil {
		_, err = c.post(ctx, "/v2/license/activate", codeListRequest{texts, effectTime(effective)}, texts...)
	}
	if err == nil {
		return nil
	}
	if noSuchCall(err) {
		err = &batchUnusableError{err}
	}
	return fmt.Errorf("activate batch: %w", err)
}

// QueryBatch reads the state of 1 to MaxBatch codes (v2). Results stand in the
// order of codes. A code which the answer does not tell about, or not in a way
// that can be believed, has ErrNotAnswered: ask for it with Query.
//
// The shape of this call is not documented. It is sent in that of
// ActivateBatch, and the states are looked for anywhere in the answer. Where
// this does not work the error is ErrBatchUnusable, and Query is to be used for
// all. Any other error is about the whole batch: ErrInvalidBatch,
// ErrUnknownCode and ErrNotActivated mean that some code is so, not which.
func (c *Client) QueryBatch(ctx context.Context, codes []Code) ([]CodeResult, error) {
	texts, err := batchTexts(codes)
	if err != nil {
		return nil, fmt.Errorf("query batch: %w", err)
	}
	data, err := c.post(ctx, "/v2/license/heartbeat", codeListRequest{LicenseList: texts}, texts...)
	if err != nil {
		if noSuchCall(err) || refusedShape(err) {
			err = &batchUnusableError{err}
		}
		return nil, fmt.Errorf("query batch: %w", err)
	}
	found := batchReader{loc: c.opts.Location, infos: make(map[string]batchEntry, len(texts))}
	for _, s := range texts {
		found.infos[s] = batchEntry{}
	}
	found.read(data, maxAnswerDepth)
	results := make([]CodeResult, len(codes))
	usable := false
	for i, code := range codes {
		results[i] = CodeResult{Code: code, Err: ErrNotAnswered}
		if e := found.infos[code.Reveal()]; e.seen && !e.bad {
			results[i].Info, results[i].Err, usable = e.info, nil, true
		}
	}
	if !usable {
		return nil, fmt.Errorf("query batch: %w", &batchUnusableError{errors.New("answer tells about no code")})
	}
	return results, nil
}

// batchTexts are the codes in clear, each once.
func batchTexts(codes []Code) ([]string, error) {
	if len(codes) == 0 || len(codes) > MaxBatch {
		return nil, fmt.Errorf("%d codes, 1 to %d allowed: %w", len(codes), MaxBatch, ErrInvalidParam)
	}
	if err := checkCodes(codes...); err != nil {
		return nil, err
	}
	texts := make([]string, 0, len(codes))
	seen := make(map[string]bool, len(codes))
	for _, c := range codes {
		if s := c.Reveal(); !seen[s] {
			seen[s] = true
			texts = append(texts, s)
		}
	}
	return texts, nil
}

// noSuchCall reports an error which says that the path or method is not there.
func noSuchCall(err error) bool {
	status := 0
	if api, ok := errors.AsType[*APIError](err); ok {
		status = api.HTTPStatus
	} else if none, ok := errors.AsType[*UnavailableError](err); ok {
		status = none.HTTPStatus
	}
	return status == http.StatusNotFound || status == http.StatusMethodNotAllowed
}

// refusedShape reports an error which says that the request is not understood.
func refusedShape(err error) bool {
	_, answered := errors.AsType[*APIError](err)
	return answered && (errors.Is(err, ErrInvalidParam) || errors.Is(err, ErrRequestParam) ||
		errors.Is(err, ErrRequestContentType) || errors.Is(err, ErrRequestUnreadable))
}

// maxAnswerDepth is how deep states are looked for in an answer.
const maxAnswerDepth = 6

type batchEntry struct {
	info      CodeInfo
	seen, bad bool // bad: unreadable, or told twice in two ways
}

// batchReader finds the states of codes in an answer of unknown shape. Only
// codes that were asked for, the keys of infos, are taken.
type batchReader struct {
	loc   *time.Location
	infos map[string]batchEntry
}

func (b *batchReader) read(data json.RawMessage, depth int) {
	data = unwrapJSON(data)
	if depth == 0 || len(data) == 0 {
		return
	}
	switch data[0] {
	case '[':
		var list []json.RawMessage
		_ = json.Unmarshal(data, &list) // the whole answer is known to be JSON
		for _, item := range list {
			b.read(item, depth-1)
		}
	case '{':
		var d details
		var members map[string]json.RawMessage
		if json.Unmarshal(data, &d) != nil || json.Unmarshal(data, &members) != nil {
			return
		}
		// What is called code may as well be that of the result: only one that was
		// asked for is a code.
		if code := b.asked(d); code != "" {
			b.entry(code, d, members)
			return
		}
		for name, member := range members {
			if _, asked := b.infos[name]; asked { // an object keyed by code
				b.keyed(name, member)
				continue
			}
			b.read(member, depth-1)
		}
	}
}

// asked is the code that an object names, "" where it is none that was asked for.
func (b *batchReader) asked(d details) string {
	for _, name := range []string{"license_code", "licenseCode", "license", "code"} {
		code := d.first(name)
		if _, asked := b.infos[code]; asked {
			return code
		}
	}
	return ""
}

// entry takes an object which names its code. Its state stands beside the code,
// or in a license_code_info as Activate has it.
func (b *batchReader) entry(code string, d details, members map[string]json.RawMessage) {
	if d.first("status") == "" {
		b.keyed(code, members["license_code_info"])
		return
	}
	b.take(code, d)
}

func (b *batchReader) keyed(code string, data json.RawMessage) {
	var d details
	if json.Unmarshal(unwrapJSON(data), &d) == nil {
		b.take(code, d)
	}
}

func (b *batchReader) take(code string, d details) {
	old, asked := b.infos[code]
	if !asked {
		return
	}
	info, err := d.codeInfo(b.loc)
	b.infos[code] = batchEntry{info: info, seen: true, bad: old.bad || err != nil || old.seen && old.info != info}
}

// unwrapJSON returns the JSON document inside a JSON string, as the marketplace
// likes to have it, and data itself where there is none.
func unwrapJSON(data json.RawMessage) json.RawMessage {
	data = bytes.TrimSpace(data)
	var text string
	if len(data) == 0 || data[0] != '"' || json.Unmarshal(data, &text) != nil {
		return data
	}
	if inner := bytes.TrimSpace([]byte(text)); len(inner) > 0 && (inner[0] == '{' || inner[0] == '[') && json.Valid(inner) {
		return inner
	}
	return data
}

// QueryAll reads the state of any number of codes, each given code yielding one
// result, in order. It asks for MaxBatch at once by QueryBatch. Where a batch
// cannot be answered so, it asks for its codes one by one, and for all that
// follow once ErrBatchUnusable was seen.
//
// wait, if not nil, is called before each call to the marketplace and bounds
// their rate; see Pace, or the Wait method of a rate limiter. If it fails its
// error is that of the codes concerned.
//
// An error which Retryable reports is not tried again here and is the result of
// each code of its batch; break off the loop to stop asking. After the end of
// ctx nothing is sent, and every code yields an error.
func (c *Client) QueryAll(ctx context.Context, codes iter.Seq[Code], wait func(context.Context) error) iter.Seq[CodeResult] {
	return func(yield func(CodeResult) bool) {
		q := bulkQuery{client: c, wait: wait, yield: yield}
		batch := make([]Code, 0, MaxBatch)
		for code := range codes {
			if batch = append(batch, code); len(batch) < MaxBatch {
				continue
			}
			if !q.flush(ctx, batch) {
				return
			}
			batch = batch[:0]
		}
		q.flush(ctx, batch)
	}
}

type bulkQuery struct {
	client *Client
	wait   func(context.Context) error
	yield  func(CodeResult) bool
	single bool // v2 is not usable
}

// flush yields a result for each code and reports whether more are wanted.
func (q *bulkQuery) flush(ctx context.Context, batch []Code) bool {
	for _, r := range q.batch(ctx, batch) {
		if r.Err == ErrNotAnswered { //nolint:errorlint // set by batch or QueryBatch itself, never wrapped
			r.Info, r.Err = q.one(ctx, r.Code)
		}
		if !q.yield(r) {
			return false
		}
	}
	return true
}

// batch returns the results of one call, or such as send flush asking singly.
func (q *bulkQuery) batch(ctx context.Context, codes []Code) []CodeResult {
	err := ErrNotAnswered
	if !q.single && len(codes) > 1 && checkCodes(codes...) == nil {
		var results []CodeResult
		if err = q.ready(ctx); err == nil {
			results, err = q.client.QueryBatch(ctx, codes)
		}
		if err == nil {
			return results
		}
		q.single = errors.Is(err, ErrBatchUnusable)
		_, answered := errors.AsType[*APIError](err)
		if q.single || answered && !Retryable(err) && !errors.Is(err, ErrUnauthorized) {
			err = ErrNotAnswered
		}
	}
	results := make([]CodeResult, len(codes))
	for i, code := range codes {
		results[i] = CodeResult{Code: code, Err: err}
	}
	return results
}

func (q *bulkQuery) one(ctx context.Context, code Code) (CodeInfo, error) {
	if err := checkCodes(code); err != nil {
		return CodeInfo{}, fmt.Errorf("query: %w", err)
	}
	if err := q.ready(ctx); err != nil {
		return CodeInfo{}, err
	}
	return q.client.Query(ctx, code)
}

func (q *bulkQuery) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if q.wait == nil {
		return nil
	}
	return q.wait(ctx)
}

// Pace returns a function that returns at once the first time and then no
// earlier than interval after it last returned, or with the error of ctx. It is
// safe for concurrent use.
func Pace(interval time.Duration) func(ctx context.Context) error {
	turn := make(chan struct{}, 1)
	turn <- struct{}{}
	return func(ctx context.Context) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-turn:
			time.AfterFunc(interval, func() { turn <- struct{}{} })
			return nil
		}
	}
}
