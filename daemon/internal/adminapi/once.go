package adminapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// once makes a call that carries an idempotency key: at most once, and with the
// same answer each time.
func (v *visit) once(key string) {
	fail := func(err error) { operation.WriteProblem(v.w, v.r, err) }
	if !v.route.keyed {
		fail(license.FieldErrorf(adminwire.HeaderKey, "%s takes no idempotency key", v.route.id))
		return
	}
	if len(v.r.Header.Values(adminwire.HeaderKey)) > 1 {
		fail(license.FieldErrorf(adminwire.HeaderKey, "one is enough"))
		return
	}
	digest, err := v.digest()
	if err != nil {
		fail(err)
		return
	}
	kept, end, err := v.g.api.s.a.BeginKeyed(v.r.Context(), v.call, key, digest)
	if err != nil {
		fail(err)
		return
	}
	defer end()
	if kept != nil && (kept.Answer != nil || !v.route.again && !v.idle(kept)) {
		v.replay(kept)
		return
	}
	v.first()
}

// idle reports whether an earlier call has changed nothing, and nobody was told. It
// is made again then.
func (v *visit) idle(kept *authority.Kept) bool {
	switch v.route.answer { // of these everything that they change is in Made
	case "Edited":
		return !v.route.beside && len(kept.Made.Changed) == 0
	case "OrderEdited":
		return !v.route.beside && len(kept.Made.Orders) == 0
	}
	return false
}

// digest reads the body, and leaves it to be read again.
func (v *visit) digest() ([]byte, error) {
	limit := v.route.limit
	if limit <= 0 {
		limit = wire.MaxBody
	}
	data, err := io.ReadAll(io.LimitReader(v.r.Body, limit+1))
	switch {
	case err != nil:
		return nil, license.FieldErrorf("body", "it could not be read").WithCause(err)
	case int64(len(data)) > limit:
		return nil, license.FieldErrorf("body", "it is larger than %d bytes", limit)
	}
	v.r.Body = io.NopCloser(bytes.NewReader(data))
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s %s\n%s\n", v.r.Method, v.r.URL.RequestURI(), v.r.Header.Get("If-Match"))
	_, _ = h.Write(data)
	return h.Sum(nil), nil
}

// first makes the call, and keeps what it came to before it is told.
func (v *visit) first() {
	a, ctx := v.g.api.s.a, context.WithoutCancel(v.r.Context())
	if v.route.beside {
		if err := a.ClaimKey(ctx, v.call); err != nil {
			operation.WriteProblem(v.w, v.r, err)
			return
		}
	}
	rec := newRecorder()
	v.next.ServeHTTP(rec, v.r)
	v.tellConflict(rec)
	var err error
	_, changed := v.call.Keyed()
	switch {
	case v.route.made && !changed:
	case rec.status < http.StatusMultipleChoices:
		head := fmt.Sprintf("%d %s\n", rec.status, rec.header.Get("Content-Type"))
		err = a.KeepAnswer(ctx, v.call, append([]byte(head), rec.body.Bytes()...))
	case v.route.beside && rec.status < http.StatusInternalServerError:
		err = a.DropKey(ctx, v.call) // it was refused: nothing was done
	}
	if err != nil { // it can be made again from the records
		v.g.o.Log.Error("the answer of a call with an idempotency key could not be kept", "operation", v.route.id, "error", err.Error())
	}
	rec.to(v.w)
}

// replay answers what was answered before.
func (v *visit) replay(kept *authority.Kept) {
	var body []byte
	var err error
	status, media := http.StatusOK, wire.TypeJSON
	if kept.Answer != nil {
		status, media, body, err = parseKept(kept.Answer)
	} else {
		body, err = v.remake(kept)
	}
	if err != nil {
		operation.WriteProblem(v.w, v.r, err)
		return
	}
	v.w.Header().Set(adminwire.HeaderReplayed, "true")
	v.w.Header().Set("Content-Type", media)
	v.w.WriteHeader(status)
	_, _ = v.w.Write(body) // the caller may be gone
}

// remake makes an answer again that was lost, from what the call has made.
func (v *visit) remake(kept *authority.Kept) ([]byte, error) {
	s, ctx, made := v.g.api.s, v.r.Context(), kept.Made
	var out any
	var err error
	switch v.route.answer {
	case "LicenseList":
		if len(made.Licenses) == 0 {
			return nil, errLost(v.route.id, kept.At)
		}
		out, err = s.reissued(ctx, made.Licenses)
	case "BulkIssued":
		if len(made.Licenses) == 0 {
			return nil, errLost(v.route.id, kept.At)
		}
		var issued []authority.Issued
		issued, err = s.a.Reissued(ctx, made.Licenses)
		out = bulkIssued(ctx, issued)
	case "Edited":
		if len(made.Changed) > 1 || len(made.Changed) == 0 {
			return nil, errLost(v.route.id, kept.At)
		}
		var l adminwire.License
		l, err = s.one(ctx, made.Changed[0])
		out = adminwire.Edited{License: l, Changed: true}
	case "Removed":
		if len(made.Installs) != 1 {
			return nil, errLost(v.route.id, kept.At)
		}
		out, err = s.removed(ctx, made.Installs[0])
	case "OrderEdited":
		if len(made.Orders) != 1 {
			return nil, errLost(v.route.id, kept.At)
		}
		o := made.Orders[0]
		var shown license.Order
		shown, err = s.a.Order(ctx, authority.OrderRef(o))
		out = adminwire.OrderEdited{Order: s.shownOrder(shown), Changed: true}
	default:
		return nil, errLost(v.route.id, kept.At)
	}
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("make an answer again: %w", err)
	}
	return append(data, '\n'), nil
}

// reissued is the answer of an issue.
func (s *server) reissued(ctx context.Context, ids []string) (adminwire.LicenseList, error) {
	issued, err := s.a.Reissued(ctx, ids)
	return s.issued(ctx, issued), err
}

// removed is the answer of the removal of an install.
func (s *server) removed(ctx context.Context, named [2]string) (adminwire.Removed, error) {
	_, installs, err := s.a.License(ctx, named[0])
	if err != nil {
		return adminwire.Removed{}, err
	}
	for _, i := range installs {
		if i.ID == named[1] {
			return adminwire.Removed{Changed: true, Install: adminwire.NewInstall(i)}, nil
		}
	}
	return adminwire.Removed{}, license.Errorf(license.NotFound, "the licence has no such install")
}

// recorder holds an answer back.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, status: http.StatusOK} }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorder) WriteHeader(status int)      { r.status = status }

// add adds members to a JSON object.
func (r *recorder) add(members map[string]any) {
	var doc map[string]any
	dec := json.NewDecoder(bytes.NewReader(r.body.Bytes()))
	dec.UseNumber()
	if dec.Decode(&doc) != nil {
		return
	}
	maps.Copy(doc, members)
	data, err := json.Marshal(doc)
	if err != nil {
		return
	}
	r.body.Reset()
	_, _ = r.body.Write(append(data, '\n'))
	r.header.Del("Content-Length")
}

// to sends what was held back.
func (r *recorder) to(w http.ResponseWriter) {
	for name, values := range r.header {
		if !strings.EqualFold(name, "Content-Length") {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body.Bytes()) // the caller may be gone
}
