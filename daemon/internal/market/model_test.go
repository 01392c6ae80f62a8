package market_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/market"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

const (
	day    = 24 * time.Hour
	codes  = "OFFI1" // sold by code
	online = "OFFI2" // sold as instances
	issuer = "https://licence.example.com"
)

// modelled is a merchant with a real store, a marketplace that misbehaves, and
// what came of both.
type modelled struct {
	t       *testing.T
	random  *rand.Rand
	s       *sandbox.Sandbox
	options authority.Options
	entry   market.Options

	a        *authority.Authority
	callback atomic.Pointer[http.Handler]
	stop     func()

	bought []sandbox.Order
	events map[string]bool // applications that were made
	n      int
}

type ringCustody struct{ *keys.Ring }

func (ringCustody) Keys() []authority.KeyInfo { return nil }
func (ringCustody) Rotate(time.Time) (authority.Rotated, error) {
	return authority.Rotated{}, errors.ErrUnsupported
}

func (ringCustody) Propose(time.Time, ...string) ([]byte, error) { return nil, errors.ErrUnsupported }

// RoundTrip is how the marketplace calls the merchant.
func (m *modelled) RoundTrip(rq *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	(*m.callback.Load()).ServeHTTP(w, rq)
	return w.Result(), nil
}

func newModel(t *testing.T, seed uint64, faults map[sandbox.Fault]float64) *modelled {
	t.Helper()
	begin := time.Now()
	now := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Since(begin)) }
	m := &modelled{t: t, random: rand.New(rand.NewPCG(seed, 1)), events: make(map[string]bool)}
	key := koogallery.NewAccessKey("the key")
	var err error
	m.s, err = sandbox.New(sandbox.Options{
		Products:     []sandbox.Product{{ID: codes}, {ID: online, Interface: sandbox.Online}},
		Callback:     sandbox.Callback{URL: "http://127.0.0.1/marketplace/koogallery", AccessKey: key},
		Misbehaviour: sandbox.Misbehaviour{Faults: faults}, Seed: seed, Now: now, CallbackTransport: m,
		AccessKeyID: "ak", SecretAccessKey: koogallery.NewSecretKey("sk"),
	})
	m.must(err)
	up, err := market.NewUpstream(market.UpstreamOptions{
		AccessKeyID: "ak", SecretAccessKey: "sk", BaseURLs: []string{"https://mkt.example.com"}, Now: now, Transport: m.s.Transport(),
	})
	m.must(err)
	dir := t.TempDir()
	db, err := boltstore.Open(filepath.Join(dir, "test.db"), boltstore.Options{})
	m.must(err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = keys.Init(filepath.Join(dir, "keys"), keys.Options{Issuer: issuer, Now: now})
	m.must(err)
	ring, err := keys.Open(filepath.Join(dir, "keys"), keys.Options{Issuer: issuer})
	m.must(err)
	p := license.Product{
		ID: "cad", MarketplaceProducts: []string{codes, online}, Machines: 1, MachinesFromAmount: true, Mode: license.ModeNode,
		InstallsPerMachine: 3, Binding: license.PolicyFuzzy, Schedule: license.Schedule{Lease: 14 * day, Refresh: day, Grace: 15 * day, Enforcement: license.EnforceBlock},
	}
	m.options = authority.Options{
		Store: db, Custody: ringCustody{ring}, Codes: ring.CodeKey(), Products: []license.Product{p}, Now: now, Uptime: func() time.Duration { return time.Since(begin) },
		Channels: []authority.Channel{{Name: "koogallery", Upstream: up, Desk: up}},
	}
	m.entry = market.Options{Name: "koogallery", Log: slog.New(slog.DiscardHandler), Now: now, Desk: true, AccessKeys: []string{"the key"}}
	m.start()
	return m
}

func (m *modelled) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// start starts the daemon's part on the store, as after a crash.
func (m *modelled) start() {
	m.t.Helper()
	a, err := authority.New(m.options)
	m.must(err)
	m.must(a.LoadStatusLists(m.t.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { a.RunOutbox(ctx, func(authority.JobOutcome) {}) })
	running.Go(func() { a.RunReconcile(ctx, "koogallery", func(authority.Reconciled, error) {}) })
	m.a, m.entry.Authority = a, a
	h := market.Callbacks(m.entry)
	m.callback.Store(&h)
	m.stop = func() { cancel(); running.Wait() }
}

// activate asks for a licence on a machine of its own.
func (m *modelled) activate(code koogallery.Code) {
	_, private, err := ed25519.GenerateKey(nil)
	m.must(err)
	key, err := token.NewSigningKey(private)
	m.must(err)
	c, err := license.ParseCode(code.Reveal())
	m.must(err)
	fp := license.Fingerprint{Salt: license.ProductSalt("cad"), Components: license.Components{}}
	for _, kind := range []license.Kind{license.KindOS, license.KindDisk} {
		d, _ := license.DigestValue(fp.Salt, kind, fmt.Sprint(m.random.IntN(3)))
		fp.Components[kind] = []license.Digest{d}
	}
	m.n++
	raw, err := token.SignRequest(token.Request{
		ID: fmt.Sprint("request-", m.n), IssuedAt: m.options.Now(), Op: token.OpActivate, Product: "cad", Code: c, Fingerprint: fp,
	}, key)
	m.must(err)
	_, _ = m.a.Request(m.t.Context(), raw, license.Code{}, authority.Caller{}) // refused, or not
}

// step does one of the things that happen.
func (m *modelled) step() {
	m.t.Helper()
	time.Sleep(time.Second) // orders of one second have no order
	var o sandbox.Order
	if len(m.bought) > 0 {
		o = m.bought[m.random.IntN(len(m.bought))]
	}
	days := time.Duration(30+m.random.IntN(300)) * day
	switch n := m.random.IntN(100); {
	case n < 12 || len(m.bought) == 0:
		product := codes
		if m.random.IntN(2) == 0 {
			product = online
		}
		bought, err := m.s.Buy(m.t.Context(), product, int64(1+m.random.IntN(3)), days)
		m.must(err)
		m.bought = append(m.bought, bought)
	case n < 32 && o.Product == codes:
		m.activate(o.Code)
	case n < 32:
		req := sandbox.LicenseRequest{Device: koogallery.NewDeviceFingerprint(fmt.Sprintf("HW-%d", m.random.IntN(4)))}
		if app, err := m.s.Apply(o.Ref(), req); err == nil {
			m.events[app.EventID] = true
		}
	case n < 42:
		_, _ = m.s.Renew(o.Ref(), days)
	case n < 48:
		_, _ = m.s.CancelRenewal(o.Ref())
	case n < 54:
		_ = m.s.Freeze(o.Ref())
	case n < 60:
		_ = m.s.Unfreeze(o.Ref())
	case n < 62:
		_, _ = m.s.Unsubscribe(o.Ref())
	case n < 65: // a kill: what was under way is lost, and what was answered is not
		m.stop()
		m.start()
	default:
		time.Sleep(time.Duration(1+m.random.IntN(2*3600)) * time.Second)
	}
}

// licence is what the merchant knows of a purchase.
func (m *modelled) licence(state sandbox.CodeState) (license.License, bool) {
	m.t.Helper()
	var l license.License
	var err error
	if state.Interface == sandbox.Online {
		var all []authority.Listed
		all, _, err = m.a.Licenses(m.t.Context(), authority.Filter{Instance: state.InstanceID}, authority.Page{})
		if err == nil && len(all) == 1 {
			return all[0].License, true
		}
		m.must(err)
		return l, false
	}
	l, _, err = m.a.License(m.t.Context(), state.Code.Reveal())
	return l, err == nil
}

// agrees compares what the merchant knows of a purchase with what is true.
// What was applied for while nobody knew the order, and is not allowed by it, is
// parked with the reason.
func (m *modelled) agrees(state sandbox.CodeState, parked map[string]bool) {
	m.t.Helper()
	l, known := m.licence(state)
	name := fmt.Sprintf("%s (%s)", state.OrderID, state.Interface)
	switch {
	case !known && state.Interface == sandbox.License2:
		return // nobody has presented it
	case !known && (state.InstanceID == "" || state.Status == sandbox.Cancelled):
		return
	case !known:
		m.t.Errorf("%s: the marketplace has it as %s, and the merchant not at all", name, state.Status)
		return
	}
	released := state.Status == sandbox.Released
	if got := !l.ReleasedAt.IsZero(); got != released {
		m.t.Errorf("%s: released %v, want %v", name, got, released)
	}
	if released {
		return
	}
	if got := l.Holds&license.HoldMarketplace != 0; got != state.Frozen {
		m.t.Errorf("%s: frozen %v, want %v", name, got, state.Frozen)
	}
	if !l.ExpiresAt.Equal(state.ExpiresAt) {
		m.t.Errorf("%s: it ends %s, want %s: %+v", name, l.ExpiresAt, state.ExpiresAt, l.Terms)
	}
	if l.Machines != int(state.Amount) {
		m.t.Errorf("%s: for %d machines, want %d", name, l.Machines, state.Amount)
	}
	for _, app := range state.Applications {
		if app.State == sandbox.Accepted && !parked[app.EventID] {
			m.t.Errorf("%s: the licence for %s was never delivered", name, app.EventID)
		}
	}
}

// TestModel plays random lives against a marketplace that gets everything wrong
// that it can, ten thousand steps in all, the merchant being killed in between.
// In the end the merchant knows of every purchase what the marketplace knows.
func TestModel(t *testing.T) {
	faults := make(map[sandbox.Fault]float64)
	for _, f := range sandbox.Faults() {
		faults[f] = 0.1
	}
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed+1), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { play(t, seed+1, 400, faults) })
		})
	}
}

func play(t *testing.T, seed uint64, steps int, faults map[sandbox.Fault]float64) {
	t.Helper()
	m := newModel(t, seed, faults)
	defer func() {
		m.stop()
		m.must(m.s.Close())
	}()
	for range steps {
		m.step()
	}
	m.must(m.s.SetMisbehaviour(sandbox.Misbehaviour{}))
	time.Sleep(2 * day)
	for _, d := range m.s.Deliveries() { // the merchant presses the button
		if d.State == sandbox.Failed {
			_ = m.s.Retry(d.ID)
		}
	}
	m.retryParked()
	time.Sleep(2 * day)
	synctest.Wait()
	parked := m.parked()
	for _, state := range m.s.Codes() {
		m.agrees(state, parked)
	}
}

// parked returns the applications whose delivery was given up because of what
// they asked for.
func (m *modelled) parked() map[string]bool {
	m.t.Helper()
	jobs, _, err := m.a.Jobs(m.t.Context(), store.JobFilter{State: license.JobParked, Kind: license.JobDeliver}, store.Page{Limit: store.MaxPage})
	m.must(err)
	out := make(map[string]bool)
	for _, j := range jobs {
		var p struct{ Event string }
		m.must(json.Unmarshal(j.Payload, &p))
		if strings.HasPrefix(j.Failure, "expired: ") || strings.HasPrefix(j.Failure, "machine_limit: ") || strings.HasPrefix(j.Failure, "suspended: ") && m.frozen(j.Key) {
			out[p.Event] = true
		} else {
			m.t.Logf("parked: %s", j.Failure)
		}
	}
	return out
}

// frozen reports whether the instance is frozen whose jobs have a key.
func (m *modelled) frozen(key string) bool {
	for _, state := range m.s.Codes() {
		if strings.HasSuffix(key, " "+state.InstanceID) && state.Frozen {
			return true
		}
	}
	return false
}

// retryParked has what was given up tried again.
func (m *modelled) retryParked() {
	m.t.Helper()
	jobs, _, err := m.a.Jobs(m.t.Context(), store.JobFilter{State: license.JobParked}, store.Page{Limit: store.MaxPage})
	m.must(err)
	for _, j := range jobs {
		_, err := m.a.RetryJob(m.t.Context(), license.Actor{Kind: license.ActorAdmin}, j.ID)
		m.must(err)
	}
}
