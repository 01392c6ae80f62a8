package clienttest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/clienttest"
	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// vendor is a licence server, the daemon or the fake, as a merchant uses it.
type vendor interface {
	url() string
	client() *http.Client
	anchors() token.Anchors
	issue(product string, days, machines int) (code string)
	renew(code string, until time.Time)
	act(what, code string) // suspend, resume, revoke, undo-revoke, release
	machines(code string, n int)
	remove(code, install string)
	rotate()
	show(code string) adminwire.License
}

// The products of both, by what they are for.
const twinConfig = `
issuer: ` + clienttest.Issuer + `
public: {listen: "127.0.0.1:0"}
ops: {listen: ""}
limits: {requests_per_minute: 0}
products:
  - {id: node, features: {export: true, projects: 10, edition: gold}}
  - {id: other}
  - {id: floating, mode: floating}
  - {id: refuse-newest, forks: refuse-newest}
  - {id: refuse-both, forks: refuse-both}
  - {id: fixed, transfers: {per_year: 0}}
  - {id: unbound, binding: none}
  - {id: degrade, phases: {warn: 2d, grace: 1d, enforcement: degrade}}
`

func twinProduct(id string) license.Product {
	p := license.Product{ID: id, Features: license.Features{}}
	switch id {
	case "node":
		p.Features = clienttest.Features("export", "projects=10", "edition=gold")
	case "floating":
		p.Mode = license.ModeFloating
	case "refuse-newest", "refuse-both":
		p.Forks = license.ForkPolicy(id)
	case "fixed":
		p.Transfers.PerYear = -1
	case "unbound":
		p.Binding = license.PolicyNone
	case "degrade":
		p.Schedule = license.Schedule{
			Warn: 48 * time.Hour, Grace: 24 * time.Hour, Enforcement: license.EnforceDegrade, Lease: 336 * time.Hour, Refresh: 24 * time.Hour,
		}
	}
	return p
}

// realVendor is the daemon.
type realVendor struct {
	t     *testing.T
	d     *daemon.Daemon
	admin *adminclient.Client
	http  *http.Client
	known token.Anchors
	ids   map[string]string // by code
}

func newReal(t *testing.T, clock *clienttest.Clock) *realVendor {
	t.Helper()
	dir, err := os.MkdirTemp("", "ld") //nolint:usetesting // a socket's path is short, a test's folder is not
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "licensed.yaml")
	must(t, os.WriteFile(path, []byte(twinConfig), 0o600))
	r := &realVendor{t: t, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, ids: map[string]string{}}
	r.d, err = daemon.New(t.Context(), daemon.Options{ConfigFile: path, Logger: slog.New(slog.DiscardHandler), Now: clock.Now})
	must(t, err)
	must(t, r.d.Start())
	t.Cleanup(func() {
		if err := r.d.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	r.admin, err = adminclient.New("unix:"+r.d.AdminSocket(), adminclient.Options{})
	must(t, err)
	t.Cleanup(r.admin.Close)
	data, err := r.admin.Anchors(t.Context())
	must(t, err)
	r.known, err = token.ParseAnchors(data)
	must(t, err)
	return r
}

func (r *realVendor) url() string            { return "http://" + r.d.Addr() }
func (r *realVendor) client() *http.Client   { return r.http }
func (r *realVendor) anchors() token.Anchors { return r.known }

func (r *realVendor) issue(product string, days, machines int) string {
	r.t.Helper()
	out, err := r.admin.Issue(r.t.Context(), adminwire.Issue{
		Product: product, For: fmt.Sprintf("%dd", days), Machines: machines, Customer: "Example Ltd",
	})
	must(r.t, err)
	r.ids[out.Licenses[0].Code] = out.Licenses[0].ID
	return out.Licenses[0].Code
}

func (r *realVendor) renew(code string, until time.Time) {
	r.t.Helper()
	_, err := r.admin.Renew(r.t.Context(), r.ids[code], adminwire.Renew{ExpiresAt: &until})
	must(r.t, err)
}

func (r *realVendor) act(what, code string) {
	r.t.Helper()
	var err error
	switch ctx, id := r.t.Context(), r.ids[code]; what {
	case "suspend":
		_, err = r.admin.Suspend(ctx, id)
	case "resume":
		_, err = r.admin.Resume(ctx, id)
	case "revoke":
		_, err = r.admin.Revoke(ctx, id, "in a test")
	case "undo-revoke":
		_, err = r.admin.UndoRevoke(ctx, id)
	case "release":
		_, err = r.admin.Release(ctx, id)
	}
	must(r.t, err)
}

func (r *realVendor) machines(code string, n int) {
	r.t.Helper()
	_, err := r.admin.Upgrade(r.t.Context(), r.ids[code], adminwire.Upgrade{Machines: n})
	must(r.t, err)
}

func (r *realVendor) remove(code, install string) {
	r.t.Helper()
	_, err := r.admin.RemoveInstall(r.t.Context(), r.ids[code], install, "in a test")
	must(r.t, err)
}

func (r *realVendor) rotate() {
	r.t.Helper()
	_, err := r.admin.Rotate(r.t.Context())
	must(r.t, err)
}

func (r *realVendor) show(code string) adminwire.License {
	r.t.Helper()
	l, err := r.admin.License(r.t.Context(), r.ids[code])
	must(r.t, err)
	return l
}

// fakeVendor is the server of this package.
type fakeVendor struct{ s *clienttest.Server }

func newFake(t *testing.T, product string, clock *clienttest.Clock) fakeVendor {
	t.Helper()
	return fakeVendor{clienttest.NewServer(t, clienttest.ServerOptions{Product: twinProduct(product), Clock: clock})}
}

func (f fakeVendor) url() string                        { return f.s.URL() }
func (f fakeVendor) client() *http.Client               { return f.s.HTTPClient() }
func (f fakeVendor) anchors() token.Anchors             { return clienttest.Anchors() }
func (f fakeVendor) renew(code string, until time.Time) { f.s.Renew(code, until) }
func (f fakeVendor) machines(code string, n int)        { f.s.SetMachines(code, n) }
func (f fakeVendor) remove(code, install string)        { f.s.RemoveInstall(code, install) }
func (f fakeVendor) rotate()                            { f.s.RotateKeys() }

func (f fakeVendor) issue(product string, days, machines int) string {
	return f.s.Issue(clienttest.LicenseSpec{Product: product, For: time.Duration(days) * 24 * time.Hour, Machines: machines})
}

func (f fakeVendor) act(what, code string) {
	switch what {
	case "suspend":
		f.s.Suspend(code)
	case "resume":
		f.s.Resume(code)
	case "revoke":
		f.s.RevokeUndoable(code, 24*time.Hour)
	case "undo-revoke":
		f.s.UndoRevoke(code)
	case "release":
		f.s.Release(code)
	}
}

func (f fakeVendor) show(code string) adminwire.License {
	return adminwire.NewLicense(f.s.License(code), f.s.Installs(code), f.s.Clock().Now())
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// stage is where a story is played: against one vendor, with a log of what
// everybody saw.
type stage struct {
	t       *testing.T
	v       vendor
	product string
	clock   *clienttest.Clock
	began   time.Time
	log     []string
	told    []string // the reasons only
}

// copied is one copy of the product.
type copied struct {
	*stage
	name    string
	machine *clienttest.Machine
	cache   *client.MemoryCache
	g       *client.Guard
	sent    []string // requests, in their order
	lose    int      // answers
	edit    func(*client.Options)
}

func (s *stage) on(machine string, edit ...func(*client.Options)) *copied {
	s.t.Helper()
	c := &copied{stage: s, name: machine, machine: clienttest.NewMachine(machine), cache: &client.MemoryCache{}}
	for _, e := range edit {
		c.edit = e
	}
	c.open()
	return c
}

// begin issues a licence of the story's product and activates it on machine a.
func (s *stage) begin(days, machines int) (code string, a *copied) {
	s.t.Helper()
	code, a = s.v.issue(s.product, days, machines), s.on("a")
	a.activate(code)
	return code, a
}

// beside is another copy on the same machine; twin has the memory too, as a clone
// of the disk has.
func (c *copied) beside(name string, twin bool) *copied {
	c.t.Helper()
	o := &copied{stage: c.stage, name: name, machine: c.machine, cache: &client.MemoryCache{}}
	if twin {
		data, err := c.cache.Load()
		must(c.t, err)
		must(c.t, o.cache.Store(data))
	}
	o.open()
	return o
}

func (c *copied) open() {
	c.t.Helper()
	o := client.Options{
		Anchors: c.v.anchors(), Product: c.product, Server: c.v.url(), Cache: c.cache, Now: c.clock.Now, Issuer: clienttest.Issuer,
		Fingerprint: c.machine.Fingerprint, HTTPClient: &http.Client{Transport: c}, Manual: true,
	}
	if c.edit != nil {
		c.edit(&o)
	}
	g, err := client.Open(c.t.Context(), o)
	must(c.t, err)
	c.g = g
	c.t.Cleanup(func() { _ = g.Close() })
}

// RoundTrip notes what is sent, and loses answers where it is told to.
func (c *copied) RoundTrip(rq *http.Request) (*http.Response, error) {
	if rq.URL.Path == wire.PathRequests {
		body, err := io.ReadAll(rq.Body)
		if err != nil {
			return nil, err
		}
		c.sent = append(c.sent, string(body))
		rq = rq.Clone(rq.Context())
		rq.Body = io.NopCloser(bytes.NewReader(body))
	}
	rs, err := c.v.client().Transport.RoundTrip(rq)
	if err == nil && c.lose > 0 && rq.URL.Path == wire.PathRequests {
		c.lose--
		return nil, errors.Join(errors.New("the connection was reset"), rs.Body.Close())
	}
	return rs, err
}

// is notes what a call came to and where the copy stands then. A minute passes.
func (c *copied) is(what string, err error) {
	word := string(license.ReasonOf(err))
	if e, ok := errors.AsType[*license.Error](err); ok {
		if e.Field != "" {
			word += "(" + e.Field + ")"
		}
		if e.RetryAfter > 0 {
			word += " in " + e.RetryAfter.String()
		}
	}
	if err == nil {
		word = "ok"
	}
	c.told = append(c.told, what+" "+word)
	c.log = append(c.log, fmt.Sprintf("%s %s: %s\n\t%s", c.name, what, word, c.stands()))
	c.clock.Advance(time.Minute)
}

// stands is where the copy stands.
func (c *copied) stands() string {
	st := c.g.Status()
	since := func(t time.Time) string {
		if !t.Before(license.Forever) || t.IsZero() {
			return "never"
		}
		return t.Sub(c.began).String()
	}
	cl := c.g.License().Claims()
	var features []string
	for name, f := range st.Features {
		features = append(features, name+"="+f.String())
	}
	slices.Sort(features)
	return fmt.Sprintf("usable %t %s %s %s %s; %s issued %s begins %s warns %s ends %s blocks %s exp %s refresh %s lease %s; for %s %s %d %s %v %v; listed %t",
		st.Usable, st.State, st.Phase, st.Reason, st.Clock, st.Enforcement, since(cl.Dates.IssuedAt), since(st.NotBefore), since(st.WarnAt), since(st.ExpiresAt),
		since(st.BlockAt), since(cl.Dates.Exp), since(st.RefreshAfter), since(st.LeaseUntil),
		cl.Product, cl.Customer+cl.Channel+cl.Order, cl.Machines, cl.Mode, cl.Binding.Components, features, !st.ListedAt.IsZero())
}

// seen notes what the merchant sees.
func (s *stage) seen(code string) {
	s.t.Helper()
	l := s.v.show(code)
	s.log = append(s.log, fmt.Sprintf("licence %s, %d in use, %d forks", l.State, l.InUse, l.Forks))
	seats := map[string]int{}
	slices.SortStableFunc(l.Installs, func(a, b adminwire.Install) int { return a.BoundAt.Compare(*b.BoundAt) })
	for _, i := range l.Installs {
		if _, ok := seats[i.Seat]; !ok {
			seats[i.Seat] = len(seats) + 1
		}
		drifts := 0
		if i.Drift != nil {
			drifts = i.Drift.Count
		}
		kinds := make([]string, 0, len(i.ForkKinds))
		for _, f := range i.ForkKinds {
			kinds = append(kinds, fmt.Sprintf("%s×%d", f.Kind, f.Count))
		}
		s.log = append(s.log, fmt.Sprintf("\tseat %d: %s, forks %v, %d drifts, bound %v", seats[i.Seat], i.State, kinds, drifts, i.Bound))
	}
}

func (c *copied) activate(code string) {
	c.t.Helper()
	c.is("activate", c.g.Activate(c.t.Context(), code))
}
func (c *copied) refresh()    { c.t.Helper(); c.is("refresh", c.g.Refresh(c.t.Context())) }
func (c *copied) deactivate() { c.t.Helper(); c.is("deactivate", c.g.Deactivate(c.t.Context())) }
func (c *copied) look()       { c.t.Helper(); c.is("look", c.g.RefreshStatus(c.t.Context())) }

func (c *copied) transfer(code, from string) {
	c.t.Helper()
	c.is("transfer", c.g.Transfer(c.t.Context(), code, from))
}

// byFile asks by a file, and imports the answer.
func (c *copied) byFile(op client.Op, o client.RequestOptions) {
	c.t.Helper()
	file, err := c.g.Request(c.t.Context(), op, o)
	if err != nil {
		c.is("request to "+string(op), err)
		return
	}
	rs := c.post(wire.TypePEM, string(file), wire.TypePEM)
	if rs.status != http.StatusOK {
		c.is("hand in to "+string(op), rs.err())
		return
	}
	c.is("import after "+string(op), c.g.Import(rs.body))
}

// again sends what was sent as the n-th request once more.
func (c *copied) again(n int) {
	c.t.Helper()
	rs := c.post(wire.TypeJSON, c.sent[n], wire.TypeJSON)
	c.is("send again", rs.err())
}

// answer is what came back from a vendor.
type answer struct {
	status    int
	mediaType string
	header    http.Header
	body      []byte
}

func (s *stage) post(mediaType, body, accept string) answer {
	s.t.Helper()
	return s.call(http.MethodPost, wire.PathRequests, mediaType, body, accept)
}

func (s *stage) call(method, path, mediaType, body, accept string) answer {
	s.t.Helper()
	rq, err := http.NewRequestWithContext(s.t.Context(), method, s.v.url()+path, strings.NewReader(body))
	must(s.t, err)
	if mediaType != "" {
		rq.Header.Set("Content-Type", mediaType)
	}
	if accept != "" {
		rq.Header.Set("Accept", accept)
	}
	return s.do(rq)
}

func (s *stage) get(path string, header ...string) answer {
	s.t.Helper()
	rq, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.v.url()+path, nil)
	must(s.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		rq.Header.Set(header[i], header[i+1])
	}
	return s.do(rq)
}

func (s *stage) do(rq *http.Request) answer {
	s.t.Helper()
	rs, err := s.v.client().Do(rq)
	must(s.t, err)
	defer rs.Body.Close()
	data, err := io.ReadAll(rs.Body)
	must(s.t, err)
	return answer{rs.StatusCode, rs.Header.Get("Content-Type"), rs.Header, data}
}

// change does something to a licence and waits until the status list of c says so:
// the daemon publishes it within a second.
func (c *copied) change(do func()) {
	c.t.Helper()
	path := strings.TrimPrefix(c.g.License().Claims().Status.URI, clienttest.Issuer)
	before := c.call(http.MethodGet, path, "", "", "").body
	do()
	for bytes.Equal(before, c.call(http.MethodGet, path, "", "", "").body) {
		if c.t.Context().Err() != nil {
			c.t.Fatal("the status list has not changed")
		}
	}
}
