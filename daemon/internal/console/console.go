// Package console is the staff's web console, on the admin listener. It is a
// browser's way to the admin API and nothing more: every page and every action is
// a call of that API, in this process, made for whoever has signed in. So roles,
// scopes, dry runs, idempotency keys, revisions and the audit log are the same as
// for licensectl, and a page can do nothing that the API would refuse.
//
// Somebody signs in with an admin token, once for each browser; the session lies in
// the store and ends with the token. Pages work without script.
package console

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/console/page"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// Prefix is where the console is served.
const Prefix = "/console/"

// maxForm is the largest form that is read, in bytes.
const maxForm = 256 << 10

// Options of the console. All but Zone and Now are required.
type Options struct {
	// Authority knows who has signed in. All else goes through the API.
	Authority *authority.Authority
	// API is the admin API for whoever Who names in the context of a call.
	API http.Handler
	// Tokens is the admin API for whoever presents a token, with its lock-out.
	Tokens http.Handler
	// Secure says that browsers reach the console over TLS.
	Secure bool
	Zone   *time.Location   // in which people read and write times; nil: UTC
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger
}

//go:embed *.html text asset
var files embed.FS

// Console is the console.
type Console struct {
	o      Options
	site   *page.Site
	api    *adminclient.Client
	tokens *adminclient.Client
	cross  *http.CrossOriginProtection
}

// New makes the console.
func New(o Options) (*Console, error) {
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one default of Now
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	site, err := page.New(page.Options{Prefix: Prefix, Files: files, Zone: o.Zone, Funcs: funcs()})
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return &Console{
		o: o, site: site, api: adminclient.Within(fromHere(o.API)), tokens: adminclient.Within(fromHere(o.Tokens)),
		cross: http.NewCrossOriginProtection(),
	}, nil
}

func funcs() template.FuncMap { return template.FuncMap{"sections": sections} }

type (
	visitContext struct{}
	// visit is one request for a page.
	visit struct {
		*Console
		w      http.ResponseWriter
		r      *http.Request
		remote string
		who    authority.Principal
		at     authority.Session
	}
)

// Who is whose page a call of the API is made for.
func Who(ctx context.Context) (authority.Principal, bool) {
	v, ok := ctx.Value(visitContext{}).(*visit)
	if !ok || v.who.ID == "" {
		return authority.Principal{}, false
	}
	return v.who, true
}

// fromHere has a call of the API come from where its page is looked at.
func fromHere(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v, ok := r.Context().Value(visitContext{}).(*visit); ok {
			r.RemoteAddr = v.remote
		}
		api.ServeHTTP(w, r)
	})
}

// Register adds the pages to mux.
func (c *Console) Register(mux *http.ServeMux) {
	c.site.Register(mux)
	open := func(pattern string, h func(*visit)) { mux.Handle(pattern, c.handle(h, false)) }
	open("GET "+Prefix+"sign-in", (*visit).signInPage)
	open("POST "+Prefix+"sign-in", (*visit).signIn)
	for _, r := range routes() {
		mux.Handle(r.pattern, c.handle(r.serve, true))
	}
	mux.Handle(Prefix, c.handle(func(v *visit) {
		v.refuse(license.Errorf(license.NotFound, "there is no such page"))
	}, true))
}

// route is a page that somebody who has signed in can look at.
type route struct {
	pattern string
	serve   func(*visit)
}

// routes is the table of the pages.
func routes() []route {
	return []route{
		{"POST " + Prefix + "sign-out", (*visit).signOut},
		{"POST " + Prefix + "sign-out-everywhere", (*visit).signOutEverywhere},
		{"GET " + Prefix + "{$}", (*visit).overview},
		{"GET " + Prefix + "licenses", (*visit).licenses},
		{"POST " + Prefix + "find", (*visit).find},
		{"GET " + Prefix + "licenses/{id}", (*visit).license},
		{"GET " + Prefix + "licenses/{id}/{action}", (*visit).licenseAction},
		{"POST " + Prefix + "licenses/{id}/{action}", (*visit).licenseAction},
		{"GET " + Prefix + "licenses.csv", (*visit).licensesCSV},
		{"POST " + Prefix + "licenses/bulk", (*visit).bulk},
		{"GET " + Prefix + "licenses/bulk", func(v *visit) { v.to(pathLicenses) }}, // the language was changed on its page
		{"GET " + Prefix + "issue", (*visit).issue},
		{"POST " + Prefix + "issue", (*visit).issue},
		{"GET " + Prefix + sectionTransfers, (*visit).transfers},
		{"GET " + pathOrders, (*visit).orders},
		{"GET " + pathOrders + "/add", (*visit).addOrder},
		{"POST " + pathOrders + "/add", (*visit).addOrder},
		{"GET " + pathOrder, (*visit).order},
		{"GET " + pathOrder + "/{action}", (*visit).orderAction},
		{"POST " + pathOrder + "/{action}", (*visit).orderAction},
		{"GET " + pathOutbox, (*visit).outbox},
		{"GET " + pathOutbox + "/{job}/{action}", (*visit).jobAction},
		{"POST " + pathOutbox + "/{job}/{action}", (*visit).jobAction},
		{"GET " + pathMarketplaces, (*visit).marketplaces},
		{"GET " + pathMarketplaces + "/{channel}", (*visit).marketplace},
		{"GET " + pathMarketplaces + "/{channel}/{action}", (*visit).marketplaceAction},
		{"POST " + pathMarketplaces + "/{channel}/{action}", (*visit).marketplaceAction},
		{"GET " + pathAudit, (*visit).audit},
		{"GET " + pathAudit + "/{action}", (*visit).auditAction},
		{"POST " + pathAudit + "/{action}", (*visit).auditAction},
		{"GET " + pathKeys, (*visit).keys},
		{"GET " + pathKeys + "/{action}", (*visit).keyAction},
		{"POST " + pathKeys + "/{action}", (*visit).keyAction},
		{"GET " + pathTokens, (*visit).tokenList},
		{"GET " + pathTokens + "/create", (*visit).newToken},
		{"POST " + pathTokens + "/create", (*visit).newToken},
		{"GET " + pathTokens + "/{token}/{action}", (*visit).tokenAction},
		{"POST " + pathTokens + "/{token}/{action}", (*visit).tokenAction},
		{"GET " + pathWebhooks, (*visit).webhooks},
		{"GET " + pathWebhooks + "/{name}", (*visit).webhook},
		{"GET " + pathWebhooks + "/{name}/{action}", (*visit).webhookAction},
		{"POST " + pathWebhooks + "/{name}/{action}", (*visit).webhookAction},
		{"GET " + pathSettings, (*visit).settings},
		{"GET " + pathRestore, (*visit).restore},
		{"GET " + pathRestore + "/{action}", (*visit).restoreAction},
		{"POST " + pathRestore + "/{action}", (*visit).restoreAction},
	}
}

// handle is what stands before every page: the language, other origins, the form, and
// who has signed in.
func (c *Console) handle(h func(*visit), signedIn bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Console: c, w: w, remote: r.RemoteAddr}
		v.r = r.WithContext(context.WithValue(r.Context(), visitContext{}, v))
		if c.site.Switch(w, r, c.o.Secure) {
			return
		}
		if err := c.cross.Check(r); err != nil {
			v.refuse(license.Errorf(license.Forbidden, "a form from another site is not taken").WithCause(err))
			return
		}
		if r.Method == http.MethodPost {
			v.r.Body = http.MaxBytesReader(w, v.r.Body, maxForm)
			if err := v.r.ParseForm(); err != nil {
				v.refuse(license.Errorf(license.BadRequest, "the form cannot be read, or is larger than %d KiB", maxForm>>10).WithCause(err))
				return
			}
		}
		err := v.session()
		switch {
		case err != nil && license.ReasonOf(err) != license.Unauthorized:
			v.refuse(err)
		case err != nil && signedIn:
			v.signInFirst()
		default:
			h(v)
		}
	})
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// chrome is what every page is given beside its own data.
type chrome struct {
	User     string // "" where nobody has signed in
	Role     authority.Role
	Products []string // that the user is confined to
	Section  string   // of the navigation
	Now      time.Time
	Notice   string // what was just done
}

// section is an entry of the navigation.
type section struct{ Name, Path string }

// sections are those that somebody may look at.
func sections(c chrome) []section {
	var out []section
	for _, s := range []struct {
		name   string
		least  authority.Role
		scoped bool
	}{
		{"overview", authority.RoleViewer, true},
		{sectionLicenses, authority.RoleViewer, true},
		{sectionTransfers, authority.RoleViewer, true},
		{sectionOrders, authority.RoleViewer, true},
		{sectionOutbox, authority.RoleViewer, true},
		{sectionMarketplaces, authority.RoleViewer, false},
		{sectionAudit, authority.RoleViewer, true},
		{sectionKeys, authority.RoleViewer, false},
		{sectionWebhooks, authority.RoleViewer, false},
		{sectionTokens, authority.RoleAdmin, false},
		{sectionSettings, authority.RoleViewer, false},
	} {
		if !c.Role.Covers(s.least) || len(c.Products) > 0 && !s.scoped {
			continue
		}
		path := Prefix + s.name
		if s.name == "overview" {
			path = Prefix
		}
		out = append(out, section{s.name, path})
	}
	return out
}

func (c chrome) Covers(least string) bool { return c.Role.Covers(authority.Role(least)) }

// show answers with a page of a section.
func (v *visit) show(name, section string, data any) { v.showAs(http.StatusOK, name, section, data) }

func (v *visit) showAs(status int, name, section string, data any) {
	c := chrome{Section: section, Now: v.o.Now()}
	if v.who.ID != "" {
		c.User, c.Role, c.Products = v.who.Name, v.who.Role, v.who.Products
		if done := v.r.URL.Query().Get("done"); done != "" && v.r.Method == http.MethodGet {
			if text := v.text("done." + done); text != "done."+done {
				c.Notice = text
			}
		}
	}
	if err := v.site.Write(v.w, v.r, status, name, c, data); err != nil {
		v.o.Log.Error("a page cannot be shown", "request_id", operation.RequestID(v.ctx()), "page", name, "error", err.Error())
	}
}

func (v *visit) text(key string) string { return v.site.Text(v.r, key) }

// refusal is why something was not done, for the page that says so.
type refusal struct {
	Reason  license.Reason
	Detail  string
	Field   string
	Request string
	Again   time.Duration // when trying again makes sense
}

func newRefusal(ctx context.Context, err error) refusal {
	e, ok := errors.AsType[*license.Error](err)
	if !ok {
		return refusal{Reason: license.Internal, Request: operation.RequestID(ctx)}
	}
	return refusal{Reason: e.Reason, Detail: e.Detail, Field: e.Field, Again: e.RetryAfter, Request: operation.RequestID(ctx)}
}

// refuse answers with why a page is not shown.
func (v *visit) refuse(err error) {
	if v.ctx().Err() != nil {
		return // nobody waits for it any more
	}
	r := newRefusal(v.ctx(), err)
	if r.Reason == license.Internal {
		v.o.Log.Error("a page is refused", "request_id", r.Request, "error", err.Error())
	}
	v.showAs(wire.StatusOf(r.Reason), "refused", "", r)
}

// to sends the browser to another page, after something was done.
func (v *visit) to(path string) {
	v.site.Headers(v.w.Header())
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
}
