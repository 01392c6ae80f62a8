// Package buyer is the page for buyers whose machine has no network, on the public
// listener: a request of the machine goes in, as a file, as text, as a photo of a QR
// code or before a camera, and the answer comes out as a licence file. It is a
// browser's way to POST /v1/requests, under the same limit, and tells no more.
//
// It keeps nothing: what was entered travels in the forms. What a buyer sees before
// something is done is computed from the signed request alone. But for the camera it
// works without script.
package buyer

import (
	"embed"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/console/page"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/daemon/internal/refusals"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// The addresses of the page.
const (
	Path         = "/activate"
	prefix       = Path + "/"
	pathConfirm  = prefix + "confirm"
	pathDownload = prefix + "download"
	pathScan     = prefix + "scan"
)

// Options of the page. Authority, Limit and Log are required.
type Options struct {
	Authority *authority.Authority
	Limit     *refusals.Limiter // that of the public API
	Log       *slog.Logger
	Zone      *time.Location    // in which people read times; nil: UTC
	Secure    bool              // browsers reach the page over TLS
	Origin    string            // scheme and host at which they reach it besides, as behind a proxy; "" for none
	Title     string            // above the page; "" for a plain one
	Contact   string            // where buyers find help; "" for nowhere
	Mail      bool              // Contact is a mail address
	Products  map[string]string // names by id
}

//go:embed *.html text asset
var files embed.FS

// Pages are the page and what follows from it.
type Pages struct {
	o       Options
	site    *page.Site
	cross   *http.CrossOriginProtection
	reading chan struct{} // the one photo that is read

	mu      sync.Mutex
	sending map[string]bool // addresses whose photos are held in memory
}

// maxUploads is how many photos are held in memory at a time.
const maxUploads = 4

// New makes the page.
func New(o Options) (*Pages, error) {
	site, err := page.New(page.Options{Prefix: prefix, Files: files, Zone: o.Zone, Camera: true})
	if err != nil {
		return nil, fmt.Errorf("buyer's page: %w", err)
	}
	cross := http.NewCrossOriginProtection()
	if o.Origin != "" {
		if err := cross.AddTrustedOrigin(o.Origin); err != nil {
			return nil, fmt.Errorf("buyer's page: %w", err)
		}
	}
	return &Pages{o: o, site: site, cross: cross, sending: make(map[string]bool), reading: make(chan struct{}, 1)}, nil
}

// Register adds the page to mux.
func (p *Pages) Register(mux *http.ServeMux) {
	p.site.Register(mux)
	mux.Handle("GET "+Path, p.handle((*visit).start))
	mux.Handle("POST "+Path, p.handle((*visit).review))
	mux.Handle("POST "+pathConfirm, p.handle((*visit).confirm))
	mux.Handle("POST "+pathDownload, p.handle((*visit).download))
	mux.HandleFunc("POST "+pathScan, p.scan)
	for _, path := range []string{prefix + "{$}", pathConfirm, pathDownload} { // typed in, or come back to
		mux.Handle("GET "+path, http.RedirectHandler(Path, http.StatusSeeOther))
	}
}

// visit is one request for the page.
type visit struct {
	*Pages
	w http.ResponseWriter
	r *http.Request

	photos int // that were sent in
}

func (v *visit) addr() string { return operation.ClientAddr(v.r.Context()) }

// handle is what stands before the page: the language, and other sites.
func (p *Pages) handle(h func(*visit)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.site.Switch(w, r, p.o.Secure) {
			return
		}
		v := &visit{Pages: p, w: w, r: r}
		if err := p.cross.Check(r); err != nil {
			v.refuse(license.Errorf(license.Forbidden, "a form from another site is not taken").WithCause(err), entry{})
			return
		}
		h(v)
	})
}

// speak has the page be in a language that was chosen where a link would lose what
// was entered, and keeps it.
func (v *visit) speak(chosen string) {
	if !slices.Contains(page.Langs(), page.Lang(chosen)) {
		return
	}
	const year = 365 * 24 * 60 * 60
	c := &http.Cookie{ //nolint:gosec // a language is no secret; over TLS it is Secure
		Name: fieldLang, Value: chosen, Path: "/", MaxAge: year, HttpOnly: true, Secure: v.o.Secure, SameSite: http.SameSiteLaxMode,
	}
	http.SetCookie(v.w, c)
	v.r.Header.Set("Cookie", fieldLang+"="+chosen)
}

// chrome is what every page is given beside its own data.
type chrome struct {
	Title, Contact, Href string
	// Action and Entered are the form that shows this page again, in another language
	// say; "" where a link does.
	Action  string
	Entered []hidden
}

// hidden is a field of a form that is carried along.
type hidden struct{ Name, Value string }

func (v *visit) show(status int, name, action string, entered []hidden, data any) {
	c := chrome{Title: v.o.Title, Contact: v.o.Contact, Href: v.o.Contact, Action: action, Entered: entered}
	if v.o.Mail {
		c.Href = "mailto:" + c.Contact
	}
	if err := v.site.Write(v.w, v.r, status, name, c, data); err != nil {
		v.o.Log.Error("a page cannot be shown", "request_id", operation.RequestID(v.r.Context()), "page", name, "error", err.Error())
	}
}

// refusal is why something was not done.
type refusal struct {
	wire.Problem
	Again   time.Duration // when trying again makes sense
	Entered []hidden
	Retry   bool // the same may go well another time
	// Unchanged says that nothing was: neither may something have been half done, nor
	// has a sign of a copy been noted.
	Unchanged bool
}

// retryAfter says when to try again, in whole seconds (RFC 9110 section 10.2.3).
func (v *visit) retryAfter(d time.Duration) {
	if d > 0 {
		v.w.Header().Set("Retry-After", strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10))
	}
}

// passing are the reasons that may not hold for long: the same request may go well
// another time.
func passing() []license.Reason {
	return []license.Reason{
		license.RateLimited, license.MarketplaceUnavailable, license.ReadOnly, license.Clock, license.Internal, license.NotReceived,
		license.UnknownCode, license.MachineLimit, license.TransferLimit, license.Suspended, license.Expired,
	}
}

// refuse says why a request was not granted, and what to do next.
func (v *visit) refuse(err error, e entry) {
	p := wire.NewProblem(err, operation.RequestID(v.r.Context()))
	if p.Reason == license.Internal {
		v.o.Log.Error("a request on the buyer's page failed", "request_id", p.RequestID, "error", err.Error())
	}
	r := refusal{Problem: p, Again: time.Duration(p.RetryAfter) * time.Second, Entered: e.hidden()}
	r.Retry = e.Request != "" && slices.Contains(passing(), p.Reason)
	r.Unchanged = !slices.Contains([]license.Reason{license.Internal, license.MarketplaceUnavailable, license.CloneDetected}, p.Reason)
	v.retryAfter(r.Again)
	action := pathConfirm
	if e.Request == "" {
		action = ""
	}
	v.show(p.Status, "refused", action, e.hidden(), r)
}
