package koogallery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// ActivateResult is what came of activating one of several codes.
type ActivateResult struct {
	Code Code
	// Active: the code is active for sure, also where Err says that its state could
	// not be read afterwards.
	Active bool
	Info   CodeInfo   // as a query told afterwards; valid if Err is nil
	Told   Activation // what the activation told; zero where the code was active already, or was activated with others
	Err    error
}

// ActivateAll activates any number of codes, each given code yielding one result,
// in order. effective is that of Activate, for all of them. It activates MaxBatch at
// once by ActivateBatch and then asks for their states, since that call tells
// nothing; where it is refused, and for all that follow once ErrBatchUnusable was
// seen, it activates them one by one. A code that was active already is a success.
//
// Whether ActivateBatch can do a part of its work, and whether it did where its
// answer was lost, is not known. So after any error that leaves this open the codes
// are asked for first, and only those that are not active are activated singly. A
// code of which nothing is known in the end has an error, and can be given again.
//
// wait is that of QueryAll. After the end of ctx nothing is sent, and every code
// yields an error.
func (c *Client) ActivateAll(ctx context.Context, codes iter.Seq[Code], effective time.Time, wait func(context.Context) error) iter.Seq[ActivateResult] {
	return func(yield func(ActivateResult) bool) {
		b := bulkActivation{query: bulkQuery{client: c, wait: wait}, effective: effective, yield: yield}
		batch := make([]Code, 0, MaxBatch)
		for code := range codes {
			if batch = append(batch, code); len(batch) < MaxBatch {
				continue
			}
			if !b.flush(ctx, batch) {
				return
			}
			batch = batch[:0]
		}
		b.flush(ctx, batch)
	}
}

type bulkActivation struct {
	query     bulkQuery
	effective time.Time
	yield     func(ActivateResult) bool
	single    bool // v2 is not usable
}

// flush yields a result for each code and reports whether more are wanted.
func (b *bulkActivation) flush(ctx context.Context, batch []Code) bool {
	singly, err := true, error(nil)
	if !b.single && len(batch) > 1 && checkCodes(batch...) == nil {
		singly, err = b.together(ctx, batch)
	}
	var states []CodeResult
	if err == nil && !singly {
		states = b.query.batch(ctx, batch)
	}
	for i, code := range batch {
		r := ActivateResult{Code: code, Err: err}
		switch {
		case err != nil:
		case singly:
			r = b.one(ctx, code)
		default:
			r = b.checked(ctx, states[i])
		}
		if !b.yield(r) {
			return false
		}
	}
	return true
}

// together activates the codes by one call. singly says that none of them may be
// taken for active and that each is to be activated; else each is to be asked for
// first. err is that of every code: nothing was sent, or nobody is let in.
func (b *bulkActivation) together(ctx context.Context, batch []Code) (singly bool, err error) {
	if err := b.query.ready(ctx); err != nil {
		return false, err
	}
	err = b.query.client.ActivateBatch(ctx, batch, b.effective)
	_, answered := errors.AsType[*APIError](err)
	switch {
	case errors.Is(err, ErrBatchUnusable):
		b.single = true
		return true, nil
	case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrPermission), err != nil && ctx.Err() != nil:
		return false, err
	case answered && !Retryable(err):
		return true, nil // some code was refused; which, the single calls tell
	}
	return false, nil
}

// checked is the result of a code that was activated with others, or perhaps was.
func (b *bulkActivation) checked(ctx context.Context, state CodeResult) ActivateResult {
	if state.Err == ErrNotAnswered { //nolint:errorlint // set by batch or QueryBatch itself, never wrapped
		state.Info, state.Err = b.query.one(ctx, state.Code)
	}
	if errors.Is(state.Err, ErrNotActivated) {
		return b.one(ctx, state.Code)
	}
	return ActivateResult{Code: state.Code, Active: state.Err == nil && state.Info.active(), Info: state.Info, Err: state.Err}
}

// one activates a code and reads its state.
func (b *bulkActivation) one(ctx context.Context, code Code) ActivateResult {
	r := ActivateResult{Code: code}
	if r.Err = checkCodes(code); r.Err != nil {
		r.Err = fmt.Errorf("activate: %w", r.Err)
		return r
	}
	if r.Err = b.query.ready(ctx); r.Err != nil {
		return r
	}
	switch told, err := b.query.client.Activate(ctx, code, b.effective); {
	case err == nil:
		r.Told, r.Active = told, true
	case !errors.Is(err, ErrAlreadyActive): // which is said of one that has ended, too
		r.Err = err
		return r
	}
	r.Info, r.Err = b.query.one(ctx, code)
	r.Active = r.Active || r.Err == nil && r.Info.active()
	return r
}

// active reports whether the code was activated and not given back.
func (i CodeInfo) active() bool { return i.Status == CodeAlive || i.Status == CodeExpired }
