package koogallery

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// Handler answers POST callbacks, which are those of licence 2.0, of online
// provisioning and of orders, for a server which needs nothing but a function
// for the messages. It is an http.Handler. V1Handler is for licence 1.0; one
// address may have both, told apart by method.
type Handler struct {
	// Verifier checks the calls; required.
	Verifier *Verifier
	// Location is that of Parser.
	Location *time.Location
	// Activities are those which Handle or Answer understands; nil means
	// LicenseCodeActivities. Any other is refused with 000002, its debug calls
	// too, so that the seller console shows what is missing.
	Activities []Activity
	// Handle obeys a message; required unless Answer is set. It is called for
	// real messages only: debug calls and probes are answered with success when
	// they are well formed. It must be idempotent, and what it did must be
	// durable before it returns. Its error becomes the answer by ResultOf.
	Handle func(ctx context.Context, cb Callback, msg Message) error
	// Answer, if set, is called instead of Handle, under the same rules: for
	// answers which hold more than success or an error, as that to NewInstance
	// must and that to GetLicenseAsync may (ResultInProgress). The Result counts
	// if the error is nil, and has to name its code.
	Answer func(ctx context.Context, cb Callback, msg Message) (Result, error)
	// Report, if set, learns of every answer: msg is nil where the call was
	// refused before it could be read, err is nil unless it was refused or
	// failed.
	Report func(ctx context.Context, msg Message, err error)
	// Observe, if set, learns of every answer too, with the call itself: for
	// counters. cb is the zero Callback unless the call was authentic; its Field
	// tells what a call was about that could not be read as a Message.
	Observe func(ctx context.Context, cb Callback, result Result, err error)
}

// ServeHTTP answers a POST with HTTP 200 and a Result, and other methods with
// 405. A debug call of NewInstance is answered with its BusinessID as instance.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "callbacks are POST requests", http.StatusMethodNotAllowed)
		return
	}
	cb, msg, result, err := h.serve(r)
	if h.Report != nil {
		h.Report(r.Context(), msg, err)
	}
	if err != nil {
		result = ResultOf(err)
	}
	if h.Observe != nil {
		h.Observe(r.Context(), cb, result, err)
	}
	// A caller which is gone cannot be told; it repeats the call.
	_ = WriteResult(w, result)
}

func (h *Handler) serve(r *http.Request) (Callback, Message, Result, error) {
	cb, err := h.Verifier.VerifyRequest(r)
	if err != nil {
		return Callback{}, nil, Result{}, err
	}
	name, err := cb.Field("activity")
	if err != nil {
		return cb, nil, Result{}, err
	}
	if !h.takes(Activity(name)) {
		return cb, nil, Result{}, refuse(ResultInvalidParam, "activity", ErrActivity)
	}
	msg, err := Parser{Location: h.Location}.Parse(cb)
	if err != nil {
		return cb, nil, Result{}, err
	}
	result, err := h.answer(r.Context(), cb, msg)
	if err == nil {
		result, err = completed(msg, result)
	}
	return cb, msg, result, err
}

func (h *Handler) takes(a Activity) bool {
	if h.Activities == nil {
		return slices.Contains(LicenseCodeActivities(), a)
	}
	return slices.Contains(h.Activities, a)
}

func (h *Handler) answer(ctx context.Context, cb Callback, msg Message) (Result, error) {
	switch {
	case msg.Test():
		r := Result{Code: ResultOK}
		if m, ok := msg.(NewInstance); ok {
			r.InstanceID = m.BusinessID
		}
		return r, nil
	case h.Answer != nil:
		return h.Answer(ctx, cb, msg)
	}
	return Result{Code: ResultOK}, h.Handle(ctx, cb, msg)
}
