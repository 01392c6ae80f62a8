package operation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/seed-357fa782/licensed/license"
)

// streamStep is for how long whoever takes a stream may leave a piece of it
// untaken. The whole may take as long as it does.
const streamStep = 30 * time.Second

// RegisterStream adds an operation that answers with a stream of a media type.
// An error before the first byte is a problem, as with Register; one after it
// breaks the connection, so that nobody takes a part for the whole.
func RegisterStream[I any](api huma.API, op huma.Operation, mediaType string, h func(ctx context.Context, in *I, w io.Writer) error) {
	op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusInternalServerError)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The whole, or a connection that breaks.",
		Content:     map[string]*huma.MediaType{mediaType: {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}}
	huma.Register(api, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			out := &streamWriter{w: w, c: http.NewResponseController(w), mediaType: mediaType}
			err := h(ctx, in, out)
			switch {
			case err == nil:
				out.begin()
			case out.begun:
				note(ctx, fmt.Errorf("a stream was broken off: %w", err))
				panic(http.ErrAbortHandler)
			default:
				out.extend()
				WriteProblem(w, r, err)
			}
		}}, nil
	})
}

// streamWriter begins an answer with the first byte, and moves the deadline of
// the connection along.
type streamWriter struct {
	w         http.ResponseWriter
	c         *http.ResponseController
	mediaType string
	begun     bool
}

func (s *streamWriter) begin() {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", s.mediaType)
		s.w.WriteHeader(http.StatusOK)
	}
}

// extend moves the deadline. A writer that knows no deadlines has none.
func (s *streamWriter) extend() {
	_ = s.c.SetWriteDeadline(time.Now().Add(streamStep)) //nolint:forbidigo // a deadline of the network, not of a record
}

func (s *streamWriter) Write(p []byte) (int, error) {
	s.begin()
	s.extend()
	n, err := s.w.Write(p)
	if err != nil {
		err = errors.Join(license.Errorf(license.Conflict, "whoever asked for it does not take it any more"), err)
	}
	return n, err
}
