package authority_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	folders "github.com/seed-357fa782/licensed/daemon/internal/custody"
	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

const issuer = "https://licence.example.com"

// world is an authority on a real store with real keys and a clock of its own.
type world struct {
	t     *testing.T
	a     *authority.Authority
	ring  *keys.Ring
	store store.Store
	up    *upstream

	options authority.Options
	lists   map[string]verifiedList // as they were looked at last

	mu  sync.Mutex
	now time.Time
	ran time.Duration // the clock that nobody sets
}

type custody = folders.Ring

// unchanging refuses what would change the keys that tests share.
type unchanging struct{ custody }

var errShared = errors.New("the keys are shared: the test has to begin with ownKeys")

func (unchanging) PlanRotation(time.Time) (k authority.KeysInForce, err error) { return k, errShared }

func (unchanging) Propose(time.Time, ...string) ([]byte, error) { return nil, errShared }

func (unchanging) PlanInstall(string, time.Time) (k authority.KeysInForce, err error) {
	return k, errShared
}

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// scratch is a folder that TestMain removes.
var scratch string

// sharedRing holds the keys of every world that has none of its own.
var sharedRing = sync.OnceValues(func() (*keys.Ring, error) {
	dir := filepath.Join(scratch, "keys")
	if _, err := keys.Init(dir, keys.Options{Issuer: issuer, Now: func() time.Time { return begin }}); err != nil {
		return nil, err
	}
	return keys.Open(dir, keys.Options{Issuer: issuer})
})

// Under the race detector properties are shown by a quarter of the examples,
// unless -rapid.checks says by how many: it slows each down tenfold, and what
// runs at the same time is what the other tests have as well.
func TestMain(m *testing.M) {
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		if err := flag.Set("rapid.checks", "25"); err != nil {
			panic(err)
		}
	}
	teststore.Main()
	os.Exit(inScratch(m.Run))
}

func inScratch(run func() int) int {
	var err error
	if scratch, err = os.MkdirTemp("", "authority"); err != nil {
		panic(err)
	}
	defer func() {
		if err := os.RemoveAll(scratch); err != nil {
			panic(err)
		}
	}()
	return run()
}

func newWorld(t *testing.T, edit ...func(*license.Product)) *world {
	t.Helper()
	return newWorldOn(t, teststore.New(t), edit...)
}

func newWorldOn(t *testing.T, s store.Store, edit ...func(*license.Product)) *world {
	t.Helper()
	ring, err := sharedRing()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, now: begin, store: s, up: &upstream{codes: map[string]*sold{}}, ring: ring, lists: map[string]verifiedList{}}
	p := license.Product{
		ID: "cad", Name: "CAD", MarketplaceProducts: []string{"OFFI1"}, Features: license.Features{"export": license.FeatureOn()},
		Machines: 1, Mode: license.ModeNode, InstallsPerMachine: 3, Binding: license.PolicyFuzzy,
		Schedule: license.Schedule{
			Warn: 30 * 24 * time.Hour, Grace: 15 * 24 * time.Hour, Enforcement: license.EnforceBlock,
			Lease: 14 * 24 * time.Hour, Refresh: 24 * time.Hour,
		},
		FloatingLease: 15 * time.Minute,
		Transfers:     license.TransferPolicy{PerYear: 3, CoolDown: 24 * time.Hour},
	}
	for _, f := range edit {
		f(&p)
	}
	// Two products are sold at the marketplace: which one a code is for has to be known.
	other := license.Product{ID: "other", MarketplaceProducts: []string{"OFFI2"}, Mode: license.ModeNode, Binding: license.PolicyFuzzy, Schedule: p.Schedule}
	w.options = authority.Options{
		Store: w.store, Custody: unchanging{custody{Ring: w.ring}}, Codes: w.ring.CodeKey(), Products: []license.Product{p, other}, Now: w.clock, Uptime: w.uptime,
		Channels: []authority.Channel{{Name: "koogallery", Pattern: regexp.MustCompile(`^PL[0-9]+$`), Upstream: w.up}},
	}
	w.again()
	return w
}

// ownKeys gives a world that is new a copy of the keys, which it may change.
func (w *world) ownKeys() {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "keys")
	if err := copyFolder(dir, w.ring.Dir()); err != nil {
		w.t.Fatal(err)
	}
	ring, err := keys.Open(dir, keys.Options{Issuer: issuer})
	if err != nil {
		w.t.Fatal(err)
	}
	w.ring = ring
	w.again(func(o *authority.Options) { o.Custody, o.Codes = custody{Ring: ring}, ring.CodeKey() })
}

// copyFolder copies files that only their owner may read.
func copyFolder(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.Mkdir(target, 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
}

// again starts the authority anew on the same store, as after a restart, with
// other options where they are edited.
func (w *world) again(edit ...func(*authority.Options)) {
	w.t.Helper()
	for _, f := range edit {
		f(&w.options)
	}
	a, err := authority.New(w.options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.a = a
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) uptime() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ran
}

// pass lets time go by. Where d is negative the clock is set back.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
	w.ran += max(d, 0)
}

// set moves the clock by d, and no time goes by.
func (w *world) set(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

var admin = license.Actor{Kind: license.ActorAdmin, Name: "test"}

// issue makes one manual licence for a year.
func (w *world) issue(edit ...func(*authority.Order)) authority.Issued {
	w.t.Helper()
	o := authority.Order{Product: "cad", Customer: "ACME", For: 365 * 24 * time.Hour}
	for _, f := range edit {
		f(&o)
	}
	is, err := w.a.Issue(w.t.Context(), admin, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return is[0]
}

// install is one installed copy: a key, a machine and what it was given.
type install struct {
	w       *world
	key     token.SigningKey
	machine string
	product string
	held    token.License
	n       int
}

func (w *world) install(machine string) *install {
	w.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := token.NewSigningKey(private)
	if err != nil {
		w.t.Fatal(err)
	}
	return &install{w: w, key: key, machine: machine, product: "cad"}
}

// fingerprint is that of a machine with a disk, a network card and an id of
// its system.
func fingerprint(product, machine string) license.Fingerprint {
	fp := license.Fingerprint{Salt: license.ProductSalt(product), Components: license.Components{}, Environment: "metal"}
	for _, kind := range []license.Kind{license.KindDisk, license.KindMAC, license.KindOS} {
		d, _ := license.DigestValue(fp.Salt, kind, machine)
		fp.Components[kind] = []license.Digest{d}
	}
	return fp
}

// request signs a request; the given functions change it first.
func (i *install) request(op token.Op, edit ...func(*token.Request)) string {
	i.w.t.Helper()
	i.n++
	r := token.Request{
		ID: fmt.Sprintf("%s-%s-%d", i.key.ID[:8], op, i.n), IssuedAt: i.w.clock(), Op: op, Product: i.product, Prev: i.held.ID,
		Fingerprint: fingerprint(i.product, i.machine),
	}
	if op == token.OpRefresh || op == token.OpDeactivate {
		r.License = i.held.Raw
	}
	for _, f := range edit {
		f(&r)
	}
	raw, err := token.SignRequest(r, i.key)
	if err != nil {
		i.w.t.Fatal(err)
	}
	return raw
}

func withCode(c license.Code) func(*token.Request) { return func(r *token.Request) { r.Code = c } }

// send sends a request and keeps the licence of the answer.
func (i *install) send(raw string) (authority.Answer, error) {
	i.w.t.Helper()
	ans, err := i.w.a.Request(i.w.t.Context(), raw, license.Code{}, authority.Caller{Addr: "192.0.2.1"})
	if err != nil || ans.License == "" {
		return ans, err
	}
	i.held = i.w.verify(ans.License, i.product)
	return ans, nil
}

func (i *install) activate(c license.Code) error {
	i.w.t.Helper()
	_, err := i.send(i.request(token.OpActivate, withCode(c)))
	return err
}

func (i *install) refresh() error {
	i.w.t.Helper()
	_, err := i.send(i.request(token.OpRefresh))
	return err
}

func (w *world) verify(raw, product string) token.License {
	w.t.Helper()
	set, err := token.VerifyKeySet(w.ring.KeySet().Raw, w.ring.Anchors())
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := token.VerifyLicense(raw, set, token.Expect{Product: product, Issuer: issuer})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// must fails the test where err has another reason than want, "" for none.
func (w *world) must(err error, want license.Reason) {
	w.t.Helper()
	if got := license.ReasonOf(err); got != want {
		w.t.Fatalf("reason %q, want %q (%v)", got, want, err)
	}
}

func (w *world) license(ref string) (license.License, []license.Install) {
	w.t.Helper()
	l, is, err := w.a.License(w.t.Context(), ref)
	if err != nil {
		w.t.Fatal(err)
	}
	return l, is
}

func (w *world) state(id string) license.State {
	w.t.Helper()
	l, _ := w.license(id)
	return l.StateAt(w.clock())
}

// events counts the audit events of an action.
func (w *world) events(action license.Action) int {
	w.t.Helper()
	events, _, err := w.a.Events(w.t.Context(), store.EventFilter{Action: action}, store.Page{Limit: store.MaxPage})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(events)
}

func (w *world) edit(id string, event license.Event) error {
	w.t.Helper()
	_, _, err := w.a.Edit(w.t.Context(), admin, id, authority.Edit{Event: event, Reason: "test"})
	return err
}

// upstream is a marketplace's open API.
type upstream struct {
	mu    sync.Mutex
	codes map[string]*sold
	calls []string

	failAt   int // which call fails, once
	failWith error
	during   func(call string) // runs while a call is under way

	failAlways   error
	tellsProduct bool // the query names the product, which is not documented
}

type sold struct {
	active   bool
	received bool
	e        authority.Entitlement
	estimate time.Time
}

func (u *upstream) take(ctx context.Context, call string, code license.Code) (*sold, error) {
	if u.during != nil {
		u.during(call)
	}
	if ctx.Err() != nil {
		return nil, license.Errorf(license.MarketplaceUnavailable, "the caller has gone").WithCause(ctx.Err())
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls = append(u.calls, call)
	if u.failAlways != nil {
		return nil, u.failAlways
	}
	if len(u.calls) == u.failAt {
		return nil, u.failWith
	}
	s, ok := u.codes[code.Reveal()]
	if !ok {
		return nil, license.Errorf(license.UnknownCode, "unknown")
	}
	return s, nil
}

// count is how often a call was made.
func (u *upstream) count(call string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for _, c := range u.calls {
		if c == call {
			n++
		}
	}
	return n
}

func (u *upstream) Query(ctx context.Context, code license.Code) (authority.Entitlement, error) {
	s, err := u.take(ctx, "query", code)
	switch {
	case err != nil:
		return authority.Entitlement{}, err
	case !s.active:
		return authority.Entitlement{}, authority.ErrNotActivated
	}
	e := authority.Entitlement{Released: s.e.Released, Expired: s.e.Expired, ExpiresAt: s.e.ExpiresAt}
	if u.tellsProduct {
		e.Product = s.e.Product
	}
	return e, nil
}

func (u *upstream) Activate(ctx context.Context, code license.Code) (authority.Entitlement, error) {
	s, err := u.take(ctx, "activate", code)
	switch {
	case err != nil:
		return authority.Entitlement{}, err
	case !s.received:
		return authority.Entitlement{}, license.Errorf(license.NotReceived, "not received")
	case s.active:
		return authority.Entitlement{}, authority.ErrAlreadyActive
	}
	s.active = true
	e := s.e
	e.ExpiresAt = s.estimate
	return e, nil
}
