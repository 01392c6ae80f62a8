package koogallery

import (
	"context"
	"net/http"
	"time"
)

// V1TestLicense is the licence which V1Handler answers a debug call with.
const V1TestLicense = "test"

// V1Handler answers the calls of licence 1.0, the retired GET interface, for a
// server which needs nothing but a function for the messages. It is an
// http.Handler, and signs every answer with Body-Sign.
type V1Handler struct {
	// Verifier checks the calls; required.
	Verifier *V1Verifier
	// Location is that of Parser.
	Location *time.Location
	// Answer obeys a message; required. It is called for real messages only,
	// must be idempotent, and what it did must be durable before it returns. The
	// Result counts if the error is nil, and has to name its code; to a
	// V1GetLicense it holds License and InstanceID. An error becomes the answer
	// by ResultOf.
	Answer func(ctx context.Context, call V1Call, msg Message) (Result, error)
	// Report, if set, learns of every answer: msg is nil where the call was
	// refused before it could be read, err is nil unless it was refused or
	// failed.
	Report func(ctx context.Context, msg Message, err error)
	// Observe, if set, learns of every answer too, with the call itself: for
	// counters. call is the zero V1Call unless the call was authentic.
	Observe func(ctx context.Context, call V1Call, result Result, err error)
}

// ServeHTTP answers a GET with HTTP 200 and a Result, and other methods with
// 405. A debug call which is well formed is a success that changes nothing; if
// it asks for a licence it gets V1TestLicense, with its BusinessID as instance.
//
// What no key has signed is answered under the first one.
func (h *V1Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		const text = "calls of licence 1.0 are GET requests"
		w.Header().Set("Allow", http.MethodGet)
		if key, ok := h.key(0); ok {
			w.Header().Set("Body-Sign", BodySign(key, []byte(text+"\n"))) // http.Error ends the line
		}
		http.Error(w, text, http.StatusMethodNotAllowed)
		return
	}
	call, msg, result, err := h.serve(r)
	if h.Report != nil {
		h.Report(r.Context(), msg, err)
	}
	if err != nil {
		result = ResultOf(err)
	}
	if h.Observe != nil {
		h.Observe(r.Context(), call, result, err)
	}
	// A caller which is gone cannot be told.
	if key, ok := h.key(call.KeyIndex); ok {
		_ = WriteSignedResult(w, key, result)
	} else {
		_ = WriteResult(w, result)
	}
}

// key is the key at i, or the first one after it that is not empty.
func (h *V1Handler) key(i int) (AccessKey, bool) {
	for _, k := range h.Verifier.Keys[min(i, len(h.Verifier.Keys)):] {
		if !k.IsZero() {
			return k, true
		}
	}
	return AccessKey{}, false
}

func (h *V1Handler) serve(r *http.Request) (V1Call, Message, Result, error) {
	call, err := h.Verifier.VerifyRequest(r)
	if err != nil {
		return V1Call{}, nil, Result{}, err
	}
	msg, err := Parser{Location: h.Location}.ParseV1(call)
	if err != nil {
		return call, nil, Result{}, err
	}
	result := Result{Code: ResultOK}
	if !msg.Test() {
		result, err = h.Answer(r.Context(), call, msg)
	} else if m, ok := msg.(V1GetLicense); ok {
		result.License, result.InstanceID = NewLicenseText(V1TestLicense), m.BusinessID
	}
	if err == nil {
		result, err = completed(msg, result)
	}
	return call, msg, result, err
}
