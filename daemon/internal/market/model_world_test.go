package market_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/custody"
	"github.com/seed-357fa782/licensed/daemon/internal/market"
	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

const (
	day     = 24 * time.Hour
	issuer  = "https://licence.example.com"
	channel = "koogallery"
)

// What is sold.
const (
	codes   = "OFFI1"
	online  = "OFFI2"
	v1Bound = "OFFI3" // what its licence is for is bound to machines
	v1Free  = "OFFI4" // and this is not
)

// devices are what buyers apply for: machines as the marketplace's client names
// them, and hardware codes.
var devices = []string{
	"00:16:3E:0A:00:01|DISK-1|BOARD-1|CPU", "00:16:3E:0A:00:02|DISK-2|BOARD-2|CPU", "HW-3", "HW-4",
}

// modelled is a merchant with a real store, a marketplace that misbehaves, and
// what came of both.
type modelled struct {
	t       *testing.T
	seed    uint64
	random  *rand.Rand // of the goroutine that plays
	s       *sandbox.Sandbox
	asked   *koogallery.Client // the open API, to see for oneself
	key     koogallery.AccessKey
	keys    *keys.Ring
	options authority.Options
	entry   market.Options
	open    func() (store.Store, error)
	apart   bool // each daemon opens the store itself, as one in PostgreSQL

	step    atomic.Int64
	calm    atomic.Bool // nobody is killed any more
	over    atomic.Bool
	living  []atomic.Pointer[life] // of each daemon
	turn    atomic.Int64           // whose it is to be called
	carried atomic.Int64           // calls of the marketplace
	behind  sync.WaitGroup         // everything that was begun and not waited for

	bought    []*purchase
	last      *purchase // to which something happened
	orders    []sandbox.Order
	n         int   // requests of installs
	lastEvent int64 // of the sandbox that was looked at

	mu     sync.Mutex
	dbs    []store.Store // of each daemon
	lives  int
	deaths map[place]int
	moves  map[string]int
	seen   map[string]int
	files  map[string][]byte // what was uploaded, by application
	sales  map[string]*sale  // by order
	recent []carried         // the last calls of the marketplace
}

// purchase is what was bought, and what the buyer has of it.
type purchase struct {
	sandbox.Order

	customer string
	ends     []time.Time // that it has had at the marketplace
	amounts  []int64     // the same
	frozen   bool        // it was, once at least
	cut      bool        // its end was moved, and the merchant was not told
	copies   []*installed
}

func (p *purchase) v1() bool { return p.Product == v1Bound || p.Product == v1Free }

func (p *purchase) String() string { return fmt.Sprintf("%s of %s", p.ID, p.Product) }

// modelBegin is when every game begins.
var modelBegin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// modelRing makes the keys of all games.
func modelRing(t *testing.T) *keys.Ring {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	_, err := keys.Init(dir, keys.Options{Issuer: issuer, Now: func() time.Time { return modelBegin }})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(dir, keys.Options{Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// dialect is one of those that the pages leave open; a quarter of all games is
// played in the usual one.
func dialect(r *rand.Rand) (d sandbox.Dialect) {
	if r.IntN(4) == 0 {
		return d
	}
	for _, s := range sandbox.DialectSettings() {
		if err := d.Set(s.Name, s.Values[r.IntN(len(s.Values))]); err != nil {
			panic(err) // it is one of its values
		}
	}
	return d
}

// newModel has so many daemons on one store.
func newModel(t *testing.T, seed uint64, ring *keys.Ring, daemons int) *modelled {
	t.Helper()
	begin := time.Now()
	now := func() time.Time { return modelBegin.Add(time.Since(begin)) }
	m := &modelled{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 1)), keys: ring, key: koogallery.NewAccessKey("the key"),
		open: teststore.Opener(t), apart: teststore.Postgres(t), dbs: make([]store.Store, daemons),
		deaths: make(map[place]int), moves: make(map[string]int), seen: make(map[string]int),
		files: make(map[string][]byte), sales: make(map[string]*sale), living: make([]atomic.Pointer[life], daemons),
	}
	bad := sandbox.Misbehaviour{Faults: make(map[sandbox.Fault]float64), MaxDelay: 30 * time.Minute}
	for _, f := range sandbox.Faults() {
		bad.Faults[f] = 0.1
	}
	var err error
	m.s, err = sandbox.New(sandbox.Options{
		Products: []sandbox.Product{
			{ID: codes},
			{ID: online, Interface: sandbox.Online},
			{ID: v1Bound, Interface: sandbox.License1},
			{ID: v1Free, Interface: sandbox.License1, ExpireActivity: "expireInstance"},
		},
		Callback:     sandbox.Callback{URL: "http://127.0.0.1/marketplace/koogallery", AccessKey: m.key},
		NotifyOrders: true, ProbeInterval: 12 * time.Hour,
		Misbehaviour: bad, Dialect: dialect(m.random), Seed: seed, Now: now, CallbackTransport: m,
		AccessKeyID: "ak", SecretAccessKey: koogallery.NewSecretKey("sk"),
	})
	m.must(err)
	m.asked, err = koogallery.NewClient(koogallery.ClientOptions{
		AccessKeyID: "ak", SecretAccessKey: koogallery.NewSecretKey("sk"), Now: now, Transport: m.s.Transport(),
	})
	m.must(err)
	schedule := license.Schedule{Lease: 14 * day, Refresh: day, Grace: 15 * day, Enforcement: license.EnforceBlock}
	m.options = authority.Options{
		Custody: custody.Ring{Ring: ring}, Codes: ring.CodeKey(), Now: now, Shared: daemons > 1,
		Products: []license.Product{{
			ID: "cad", MarketplaceProducts: []string{codes, online, v1Bound}, Machines: 1, MachinesFromAmount: true,
			Mode: license.ModeNode, InstallsPerMachine: 3, Binding: license.PolicyFuzzy, Schedule: schedule,
		}, {
			ID: "suite", MarketplaceProducts: []string{v1Free}, Machines: 1, MachinesFromAmount: true,
			Mode: license.ModeNode, InstallsPerMachine: 3, Binding: license.PolicyNone, Schedule: schedule,
		}},
	}
	m.entry = market.Options{
		Name: channel, Now: now, Desk: true, V1: true, AccessKeys: []string{m.key.Reveal()},
	}
	for n := range m.dbs {
		if n > 0 && !m.apart {
			m.dbs[n] = m.dbs[0]
			continue
		}
		m.dbs[n], err = m.open()
		m.must(err)
	}
	for n := range m.living {
		m.must(m.start(n))
	}
	return m
}

// end ends everything, whether the game was played to its end or not.
func (m *modelled) end() {
	m.over.Store(true)
	if err := m.s.Close(); err != nil {
		m.errorf("close the sandbox: %v", err)
	}
	for n := range m.living {
		if l := m.living[n].Load(); l != nil {
			l.die(place{})
		}
	}
	m.behind.Wait()
	for n, db := range m.dbs {
		if n > 0 && !m.apart {
			break
		}
		if err := db.Close(); err != nil {
			m.errorf("close the store: %v", err)
		}
	}
}

func (m *modelled) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("%s%v", m.when(), err)
	}
}

// errorf is what fails, with how to play it again.
func (m *modelled) errorf(format string, args ...any) {
	m.t.Helper()
	m.t.Errorf(m.when()+format, args...)
}

func (m *modelled) when() string {
	if n := m.step.Load(); n >= 0 {
		return fmt.Sprintf("seed %d, step %d: ", m.seed, n)
	}
	return fmt.Sprintf("seed %d, in the end: ", m.seed)
}

// draw is a stream of random numbers for one subject, whoever asks first.
func (m *modelled) draw(subject string) *rand.Rand {
	sum := sha256.Sum256([]byte(subject))
	return rand.New(rand.NewPCG(m.seed, binary.BigEndian.Uint64(sum[:8])))
}

// source is where the ids and codes of one process come from.
type source struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (m *modelled) source(subject string) *source {
	return &source{r: rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%d %s", m.seed, subject)))}
}

func (s *source) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(b)
}

// order keeps an order of which the marketplace notifies.
func (m *modelled) order(o sandbox.Order) { m.orders = append(m.orders, o) }

func (m *modelled) state(p *purchase) sandbox.CodeState {
	state, err := m.s.State(p.Ref())
	m.must(err)
	return state
}

// instance is what the merchant has answered about a purchase.
func (m *modelled) instance(code koogallery.Code) string {
	state, err := m.s.State(code)
	m.must(err)
	return state.InstanceID
}

// note keeps what was true of a purchase.
func (m *modelled) note(p *purchase) {
	state := m.state(p)
	p.frozen = p.frozen || state.Frozen
	if n := len(p.ends); n == 0 || !p.ends[n-1].Equal(state.ExpiresAt) {
		p.ends = append(p.ends, state.ExpiresAt)
	}
	p.amounts = append(p.amounts, state.Amount)
}

// watch fails at once where the merchant has broken a rule that the marketplace
// knows of.
func (m *modelled) watch() {
	for _, e := range m.s.Events(m.lastEvent) {
		m.lastEvent = e.ID
		if e.Kind == sandbox.EventViolation {
			m.errorf("%s: %s", e.Product, e.Text)
		}
	}
}

// pressButtons is what the merchant's staff does about what was given up, on
// either side.
func (m *modelled) pressButtons(*purchase) bool {
	pressed := false
	all := m.s.Deliveries()
	for n, d := range all {
		if d.State == sandbox.Failed && !d.Test && !m.pointless(d, all[n+1:]) {
			pressed = m.s.Retry(d.ID) == nil || pressed
		}
	}
	if l := m.alive(); l != nil {
		n, _, err := l.authority.RetryParked(as(m.t.Context(), staff), license.Actor{Kind: license.ActorAdmin}, channel)
		if err != nil && !l.dead() {
			m.errorf("try again what was given up: %v", err)
		}
		pressed = pressed || n > 0
	}
	return pressed
}

// pointless reports whether nobody would press a button for a message: what is
// applied for has ended, or the merchant has heard of a newer freeze or its end, or
// is about to.
func (m *modelled) pointless(d sandbox.Delivery, later []sandbox.Delivery) bool {
	switch d.Activity { //nolint:exhaustive // all others are worth it
	case koogallery.ActivityGetLicenseAsync:
		state, err := m.s.State(d.Code)
		return err == nil && state.Status == sandbox.Released
	case koogallery.ActivityUpdateLicenseCodeStatus, koogallery.ActivityUpdateInstanceStatus:
		return slices.ContainsFunc(later, func(o sandbox.Delivery) bool {
			return o.Activity == d.Activity && o.State != sandbox.Failed && o.Code.Reveal() == d.Code.Reveal()
		})
	}
	return false
}

// compareByHand is what the merchant's staff does who trusts nobody.
func (m *modelled) compareByHand(*purchase) bool {
	l := m.alive()
	if l == nil {
		return false
	}
	got, err := l.authority.Reconcile(as(m.t.Context(), reconcile), channel)
	return err == nil && got.Checked > 0
}

// about returns what the marketplace remembers of a purchase, to understand what
// went wrong with it.
func (m *modelled) about(p *purchase) string {
	lines := []string{p.String()}
	for _, e := range m.s.Events(0) {
		if e.Code.Reveal() == p.Ref().Reveal() && !strings.Contains(e.Text, errRefused.Error()) && e.Kind != sandbox.EventFault {
			lines = append(lines, fmt.Sprintf("%s %s %s %s", e.At.Format(time.DateTime), e.Kind, e.Activity, e.Text))
		}
	}
	return strings.Join(slices.Compact(lines), "\n\t")
}
