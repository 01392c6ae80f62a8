package koogallery

import (
	"context"
	"net/http"
	"time"
)

// Handler answers callbacks for a server which needs nothing but a function
// for each message. It is an http.Handler.
type Handler struct {
	// Verifier checks the calls; required.
	Verifier *Verifier
	// Location is that of Parser.
	Location *time.Location
	// Handle obeys a message; required. It is called for real messages only:
	// debug calls and probes are answered with success when they are well
	// formed. It must be idempotent, and what it did must be durable before it
	// returns. Its error becomes the answer by ResultOf.
	Handle func(ctx context.Context, cb Callback, msg Message) error
	// Report, if set, learns of every answer: msg is nil where the call was
	// refused before it could be read, err is nil on success.
	Report func(ctx context.Context, msg Message, err error)
}

// ServeHTTP answers a POST with HTTP 200 and a Result, and other methods with
// 405.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "callbacks are POST requests", http.StatusMethodNotAllowed)
		return
	}
	msg, err := h.serve(r)
	if h.Report != nil {
		h.Report(r.Context(), msg, err)
	}
	// A caller which is gone cannot be told; it repeats the call.
	_ = WriteResult(w, ResultOf(err))
}

func (h *Handler) serve(r *http.Request) (Message, error) {
	cb, err := h.Verifier.VerifyRequest(r)
	if err != nil {
		return nil, err
	}
	msg, err := Parser{Location: h.Location}.Parse(cb)
	if err != nil {
		return nil, err
	}
	if msg.Test() {
		return msg, nil
	}
	return msg, h.Handle(r.Context(), cb, msg)
}
