package adminapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// API is the admin API on a mux.
type API struct {
	huma.API

	s      *server
	routes map[string]route // by pattern
}

// route is one operation where it is served.
type route struct {
	access

	id     string
	answer string // name of its answer's schema
	limit  int64  // of its body
}

// GuardOptions say who stands before the admin API. Log is required.
type GuardOptions struct {
	// Tokens are asked for. Without it whoever reaches the listener, which is a
	// socket, is an administrator.
	Tokens bool
	// Who says who calls, where something stands before the guard that knows it; nil:
	// the guard finds out.
	Who func(context.Context) (authority.Principal, bool)
	Log *slog.Logger
	Now func() time.Time // nil: time.Now
}

// Peer is who is at the other end of a socket.
type Peer struct {
	ID   string // as the system knows the user
	Name string
}

type peerContext struct{}

// WithPeer returns a context for the connections of a peer.
func WithPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerContext{}, p)
}

// Guard returns what stands before every route of the API on one listener: it
// finds out who calls, and whether they may.
func (api *API) Guard(o GuardOptions) operation.Guard {
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one default of Now
	}
	g := &guard{api: api, o: o, lock: newLockOut(o.Now), cross: http.NewCrossOriginProtection()}
	return g.serve
}

type guard struct {
	api   *API
	o     GuardOptions
	lock  *lockOut
	cross *http.CrossOriginProtection
}

// visit is one request on its way through the guard.
type visit struct {
	g     *guard
	w     http.ResponseWriter
	r     *http.Request
	next  http.Handler
	route route
	call  *authority.Call
}

func (g *guard) serve(w http.ResponseWriter, r *http.Request, pattern string, next http.Handler) {
	route := g.api.route(pattern)
	if route.open {
		next.ServeHTTP(w, r)
		return
	}
	p, err := g.authenticate(r)
	if err != nil {
		if license.ReasonOf(err) == license.Unauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		operation.WriteProblem(w, r, err)
		return
	}
	v := &visit{g: g, w: w, r: r, next: next, route: route, call: &authority.Call{Principal: p, Operation: route.id}}
	v.r = r.WithContext(authority.WithCall(r.Context(), v.call))
	v.run(pattern)
	if err := operation.Refusal(r.Context()); err != nil && !v.call.DryRun {
		v.auditRefusal(pattern, err)
	}
}

func (v *visit) run(pattern string) {
	if err := v.prepare(pattern); err != nil {
		operation.WriteProblem(v.w, v.r, err)
		return
	}
	key := v.r.Header.Get(adminwire.HeaderKey)
	switch {
	case v.call.DryRun:
		v.w.Header().Set(adminwire.HeaderDryRun, "true")
		v.serve()
	case len(v.r.Header.Values(adminwire.HeaderKey)) > 0 && !v.route.reads:
		v.once(key)
	default:
		v.serve()
	}
}

// prepare decides whether the call may be made, and reads what it carries.
func (v *visit) prepare(pattern string) error {
	if err := v.g.cross.Check(v.r); err != nil {
		return license.Errorf(license.Forbidden, "a call from another origin is not taken").WithCause(err)
	}
	p, route := v.call.Principal, v.route
	switch {
	case !p.Role.Covers(route.least):
		return license.Errorf(license.Forbidden, "this needs the role %s, and %q is a %s", route.least, p.Name, p.Role)
	case p.Scoped() && !route.scoped:
		return license.Errorf(license.Forbidden, "this is about all products, and %q is for some", p.Name)
	}
	if err := v.readDryRun(); err != nil {
		return err
	}
	return v.readMatch(pattern)
}

// readDryRun takes dry_run out of the query, so that operations need not know it.
func (v *visit) readDryRun() error {
	q, err := url.ParseQuery(v.r.URL.RawQuery)
	if err != nil { // the router would pass over the part that cannot be read, which may be this
		return license.FieldErrorf("query", "the query of the address cannot be read")
	}
	if !q.Has(adminwire.QueryDryRun) {
		return nil
	}
	dry, err := strconv.ParseBool(q.Get(adminwire.QueryDryRun))
	if err != nil || len(q[adminwire.QueryDryRun]) != 1 {
		return license.FieldErrorf(adminwire.QueryDryRun, "it is true or false")
	}
	if dry && !v.route.reads && !v.route.tried {
		return license.FieldErrorf(adminwire.QueryDryRun, "%s cannot be tried: it does what cannot be undone", v.route.id)
	}
	q.Del(adminwire.QueryDryRun)
	u := *v.r.URL
	u.RawQuery = q.Encode()
	v.r.URL = &u
	v.call.DryRun = dry && !v.route.reads
	return nil
}

// readMatch reads the revision that the caller has seen.
func (v *visit) readMatch(pattern string) error {
	const name = "If-Match"
	given := v.r.Header.Values(name)
	if len(given) == 0 || v.route.reads {
		return nil
	}
	id := inPath(pattern, v.r.URL.Path, "{id}")
	if !strings.HasPrefix(id, license.LicensePrefix) {
		return license.FieldErrorf(name, "%s is about no one licence that its address names by id, so it has no revision", v.route.id)
	}
	text, ok := strings.CutPrefix(given[0], `"`)
	text, closed := strings.CutSuffix(text, `"`)
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || !closed || err != nil || n < 1 || len(given) != 1 {
		return license.FieldErrorf(name, `it is the revision of the licence in quotes, as "3"`)
	}
	v.call.Match = authority.Match{License: id, Revision: n}
	return nil
}

// serve makes the call. A conflict about a revision is told with the licence.
func (v *visit) serve() {
	if v.call.Match.Revision == 0 {
		v.next.ServeHTTP(v.w, v.r)
		return
	}
	rec := newRecorder()
	v.next.ServeHTTP(rec, v.r)
	v.tellConflict(rec)
	rec.to(v.w)
}

// tellConflict adds both versions to the problem of a call that came too late.
func (v *visit) tellConflict(rec *recorder) {
	late, ok := errors.AsType[*authority.RevisionError](operation.Refusal(v.r.Context()))
	if !ok || rec.status != http.StatusConflict {
		return
	}
	shown := v.g.api.s.shown(late.Current, nil)
	rec.add(map[string]any{"given": late.Given, "current": shown})
}

// authenticate finds out who calls.
func (g *guard) authenticate(r *http.Request) (authority.Principal, error) {
	if g.o.Who != nil {
		p, ok := g.o.Who(r.Context())
		if !ok {
			return p, license.Errorf(license.Unauthorized, "nobody has signed in")
		}
		return p, nil
	}
	if !g.o.Tokens {
		peer, _ := r.Context().Value(peerContext{}).(Peer)
		if peer.Name == "" {
			peer.Name = "socket"
		}
		return authority.Principal{ID: "socket:" + peer.ID, Name: peer.Name, Role: authority.RoleAdmin}, nil
	}
	addr := operation.ClientAddr(r.Context())
	if wait := g.lock.wait(addr); wait > 0 {
		return authority.Principal{}, license.Errorf(license.RateLimited,
			"too many calls from this address had no good token; it is locked out for a while").WithRetryAfter(wait)
	}
	text, err := bearer(r)
	var p authority.Principal
	if err == nil {
		p, err = g.api.s.a.Authenticate(r.Context(), text)
	}
	if err == nil {
		return p, nil
	}
	if license.ReasonOf(err) == license.Unauthorized {
		if failures, until := g.lock.failed(addr); !until.IsZero() {
			g.o.Log.Warn("an address is locked out of the admin API", "addr", addr, "failures", failures, "until", until.UTC())
			if err := g.api.s.a.RecordLockOut(r.Context(), addr, failures, until); err != nil {
				g.o.Log.Error("a lock-out could not be written into the audit log", "error", err.Error())
			}
		}
	}
	return authority.Principal{}, err
}

func bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", license.Errorf(license.Unauthorized, "one Authorization header with a bearer token is needed")
	}
	scheme, text, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || len(text) > 256 {
		return "", license.Errorf(license.Unauthorized, "a bearer token is needed")
	}
	return strings.TrimSpace(text), nil
}

// auditRefusal writes down that a call of somebody who is known was refused by role,
// scope, state or conflict.
func (v *visit) auditRefusal(pattern string, err error) {
	reason := license.ReasonOf(err)
	if s := wire.StatusOf(reason); s != http.StatusForbidden && s != http.StatusConflict {
		return
	}
	refusal := authority.Refusal{Operation: v.route.id, Reason: reason}
	if id := inPath(pattern, v.r.URL.Path, "{id}"); strings.HasPrefix(id, license.LicensePrefix) && len(id) <= 128 {
		refusal.License = id
	}
	if e, ok := errors.AsType[*license.Error](err); ok {
		refusal.Detail = e.Detail
	}
	if err := v.g.api.s.a.RecordRefusal(v.r.Context(), v.call.Principal, actor(v.r.Context()), refusal); err != nil {
		v.g.o.Log.Error("a refused call could not be written into the audit log", "operation", v.route.id, "error", err.Error())
	}
}

// inPath is the part of a path that stands where a pattern has a wildcard.
func inPath(pattern, path, wildcard string) string {
	if _, p, ok := strings.Cut(pattern, " "); ok {
		pattern = p
	}
	names, parts := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, name := range names {
		if name == wildcard && i < len(parts) {
			return parts[i]
		}
	}
	return ""
}

// route is the row for a pattern: nobody but an administrator may call what has none.
func (api *API) route(pattern string) route {
	if r, ok := api.routes[pattern]; ok {
		return r
	}
	if strings.HasPrefix(pattern, "GET "+openAPIPath) {
		return route{access: access{open: true}, id: "openapi"}
	}
	return route{access: accessOf(""), id: pattern}
}

// describe brings the routes in step with the document, and says in the document
// who may call what and what a call can carry.
func (api *API) describe() {
	api.routes = make(map[string]route)
	for path, item := range api.OpenAPI().Paths {
		for method, op := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		} {
			if op == nil {
				continue
			}
			r := route{access: accessOf(op.OperationID), id: op.OperationID, limit: op.MaxBodyBytes, answer: answerOf(op)}
			api.routes[method+" "+path] = r
			describeAccess(op, r.access)
		}
	}
}

func answerOf(op *huma.Operation) string {
	rs := op.Responses[strconv.Itoa(http.StatusOK)]
	if rs == nil || rs.Content[wire.TypeJSON] == nil || rs.Content[wire.TypeJSON].Schema == nil {
		return ""
	}
	ref := rs.Content[wire.TypeJSON].Schema.Ref
	return ref[strings.LastIndexByte(ref, '/')+1:]
}

func describeAccess(op *huma.Operation, a access) {
	op.Security = []map[string][]string{{"bearer": {}}}
	if op.Extensions == nil {
		op.Extensions = make(map[string]any)
	}
	op.Extensions["x-role"] = string(a.least)
	op.Extensions["x-product-scope"] = a.scoped
	text := func(most int) *huma.Schema { return &huma.Schema{Type: huma.TypeString, MaxLength: &most} }
	if a.keyed {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: adminwire.HeaderKey, In: "header", Schema: text(authority.MaxKey),
			Description: "Makes the call once: the same key with the same call gets the same answer.",
		})
	}
	if a.tried {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: adminwire.QueryDryRun, In: "query", Schema: &huma.Schema{Type: huma.TypeBoolean},
			Description: "Checks and decides everything, and changes nothing.",
		})
	}
	if a.keyed && strings.HasPrefix(op.Path, adminwire.PathLicense) {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: "If-Match", In: "header", Schema: text(32),
			Description: "The revision of the licence that the caller has seen, in quotes; another one is a conflict.",
		})
	}
}

// openAPIPath is where the document is, without what follows the name.
const openAPIPath = "/admin/openapi"

// errLost is the answer to a repeated call whose first answer is lost and cannot be
// made again.
func errLost(id string, at time.Time) error {
	return license.Errorf(license.Conflict, "%s: %s was begun with this key at %s, and its answer was lost; look whether it was done, and use a new key",
		adminwire.HeaderKey, id, at.UTC().Format(time.RFC3339))
}

func parseKept(answer []byte) (status int, media string, body []byte, err error) {
	head, rest, ok := strings.Cut(string(answer), "\n")
	code, media, spaced := strings.Cut(head, " ")
	if status, err = strconv.Atoi(code); err != nil || !ok || !spaced {
		return 0, "", nil, fmt.Errorf("a kept answer begins with %q", head)
	}
	return status, media, []byte(rest), nil
}
