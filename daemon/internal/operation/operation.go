// Package operation makes typed HTTP operations out of functions: decoding
// with limits, strict JSON, problem answers and the OpenAPI document all follow
// from one declaration. Both JSON APIs of the daemon are built with it.
package operation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// Options describe an API.
type Options struct {
	Title       string
	Version     string
	OpenAPIPath string // without its .json
	// Formats are media types beside JSON.
	Formats map[string]huma.Format
	// Security names the bearer scheme in the document, where the API has one.
	Security bool
}

// setErrors makes the problems of the library ours. Its hook is the one
// package-wide setting in the project; nothing else writes it.
var setErrors = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return &problemError{Problem: invalid(status, msg, errs)}
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		p := invalid(status, msg, errs)
		p.RequestID = RequestID(ctx.Context())
		return &problemError{Problem: p}
	}
})

// New returns an API whose operations are served by mux.
func New(mux *http.ServeMux, o Options) huma.API {
	setErrors()
	c := huma.DefaultConfig(o.Title, o.Version)
	c.CreateHooks = nil
	c.DocsPath, c.SchemasPath, c.OpenAPIPath = "", "", o.OpenAPIPath
	c.RejectUnknownQueryParameters = true
	c.Formats = map[string]huma.Format{wire.TypeJSON: strictJSON, wire.TypeProblem: strictJSON}
	maps.Copy(c.Formats, o.Formats)
	if o.Security {
		c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer"}}
	}
	return humago.New(mux, c)
}

// strictJSON refuses members that the target does not have, and anything after
// the document.
var strictJSON = huma.Format{
	Marshal: func(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) },
	Unmarshal: func(data []byte, v any) error {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		if err := dec.Decode(v); err != nil {
			return decodeError(err)
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return errors.New("there is something after the JSON document")
		}
		return nil
	},
}

// decodeError says what is wrong with a document without quoting it: it may
// hold a code.
func decodeError(err error) error {
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("member %q is a %s where a %s is expected", kind.Field, kind.Value, kind.Type)
	}
	if msg := err.Error(); strings.HasPrefix(msg, "json: unknown field") {
		return errors.New(strings.TrimPrefix(msg, "json: "))
	}
	return errors.New("it is not a JSON document")
}

// Register adds an operation. An error of h that is not a license.Error is a
// 500 with a fixed text; its cause goes to the log.
func Register[I, O any](api huma.API, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = wire.MaxBody
	}
	op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusInternalServerError)
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			note(ctx, err)
			return nil, &problemError{Problem: wire.NewProblem(err, RequestID(ctx))}
		}
		return out, nil
	})
}

// problemError is a problem on its way out.
type problemError struct{ wire.Problem }

func (p *problemError) Error() string             { return string(p.Reason) + ": " + p.Detail }
func (p *problemError) GetStatus() int            { return p.Status }
func (p *problemError) ContentType(string) string { return wire.TypeProblem }

func (p *problemError) GetHeaders() http.Header {
	h := http.Header{}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", fmt.Sprint(p.RetryAfter))
	}
	return h
}

// Schema shows the problem form in the OpenAPI document.
func (p *problemError) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[wire.Problem](), true, "Problem")
}

// invalid is the problem for what the library refused before an operation ran.
// It names the member and never repeats what was sent.
func invalid(status int, msg string, errs []error) wire.Problem {
	e := license.FieldErrorf("", "%s", msg)
	if status >= http.StatusInternalServerError {
		return wire.NewProblem(errors.New(msg), "")
	}
	for _, err := range errs {
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			e.Detail = strings.Replace(d.ErrorDetail().Message, huma.ErrUnknownContentType.Error(),
				"send "+wire.TypeJSON+"; this content type is not taken", 1)
			e.Field = field(d.ErrorDetail().Location)
			break
		}
	}
	return wire.NewProblem(e, "")
}

// field is the name of a member without where it came in.
func field(location string) string {
	for _, prefix := range []string{"body.", "query.", "path.", "header."} {
		if name, ok := strings.CutPrefix(location, prefix); ok {
			return name
		}
	}
	return location
}

// note logs why the request of ctx is refused.
func note(ctx context.Context, err error) {
	rq := from(ctx)
	if rq == nil {
		return
	}
	rq.err = err
	reason := license.ReasonOf(err)
	level := slog.LevelDebug
	if wire.StatusOf(reason) == http.StatusInternalServerError || reason == license.ReadOnly || reason == license.MarketplaceUnavailable {
		level = slog.LevelError
	}
	rq.log.LogAttrs(ctx, level, "request refused", slog.String("request_id", rq.id),
		slog.String("reason", string(reason)), slog.String("error", err.Error()))
}
