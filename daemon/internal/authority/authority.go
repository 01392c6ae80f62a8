// Package authority holds the use cases of the licence server: issue, activate,
// refresh, renew, suspend, release, revoke, and what a marketplace says. It is
// the only writer. Adapters (HTTP, console, marketplace) translate and call it.
//
// Every use case is one store transaction that changes facts, writes the audit
// event that goes with the change, and decides; what is signed is signed after
// the commit, from what was stored. So an answer never leaves before its change
// is on disk, and a crash between the two is healed by asking again: the same
// request gets the same answer.
package authority

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// Codes keeps codes secret: found by a keyed digest, stored sealed.
type Codes interface {
	Index(code license.Code) []byte
	Seal(code license.Code, licenseID string) ([]byte, error)
	Open(sealed []byte, licenseID string) (license.Code, error)
	// SealText and OpenText keep another text secret, under the same key.
	SealText(text, about string) ([]byte, error)
	OpenText(sealed []byte, about string) (string, error)
}

// Channel is a marketplace entry that codes can come from.
type Channel struct {
	Name     string
	Pattern  *regexp.Regexp // what may be asked upstream at all
	Upstream Upstream       // nil: codes cannot be activated through it
	Desk     Desk           // nil: orders cannot be read, nor licences for devices delivered
	Meter    Meter          // nil: it is not told how much its codes are used
	// PerpetualWithoutExpiry takes a code that was activated elsewhere, and for
	// which the marketplace names no expiry, as sold without end.
	PerpetualWithoutExpiry bool
	// ProbeZone is where its mornings and afternoons are, in each of which it
	// probes; nil is UTC.
	ProbeZone *time.Location
}

// Upstream is the marketplace's own knowledge of its codes. Its errors have
// the reasons UnknownCode, NotReceived or MarketplaceUnavailable.
type Upstream interface {
	// Query returns the authoritative state of a code, or ErrNotActivated.
	Query(ctx context.Context, code license.Code) (Entitlement, error)
	// Activate tells the marketplace that a code is in use, or gives
	// ErrAlreadyActive.
	Activate(ctx context.Context, code license.Code) (Entitlement, error)
}

// ErrNotActivated is how an Upstream says that a code exists and waits for its
// activation.
var ErrNotActivated = errors.New("the code has not been activated at the marketplace")

// ErrAlreadyActive is how an Upstream says that there was nothing to activate.
var ErrAlreadyActive = errors.New("the code is active at the marketplace already")

// ErrUnbelievable is the cause of an error of an Upstream or a Desk where it was
// answered about a code or an order in a way that cannot be believed.
var ErrUnbelievable = errors.New("the answer cannot be believed")

// ErrFailing is the cause of an error of an Upstream or a Desk that was answered,
// by what says no more than that it has failed.
var ErrFailing = errors.New("the answer is a failure")

// Entitlement is what a marketplace says about a code. Absent fields are zero.
type Entitlement struct {
	Released  bool
	Expired   bool // it has ended, whatever ExpiresAt says or leaves out
	ExpiresAt time.Time
	Product   string // the marketplace's product id
	Order     string
	Amount    int
	Unsure    bool // of an activation: part of what it told could not be read
}

// Options configure an Authority. Store, Custody and Codes are required.
type Options struct {
	Store    store.Store
	Custody  Custody
	Codes    Codes
	Products []license.Product
	Channels []Channel
	// UnknownCodes is how many codes that turn out not to be known may be asked
	// about at the marketplaces within a minute, by all daemons on the store together;
	// zero is any number.
	UnknownCodes int
	// UndoWindow is how long a revocation can be undone; zero means 24 hours.
	UndoWindow time.Duration
	// Random is where ids and codes come from; nil means crypto/rand.
	Random io.Reader
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Uptime is how long the process has run, by a clock that nobody sets; nil
	// means the monotonic clock.
	Uptime func() time.Duration
	// Certificate says when the certificate ends that the marketplaces see, zero
	// where there is none; nil where nobody knows.
	Certificate func() time.Time
	// RotateEvery is for how long a signing key signs before the next one takes its
	// place; zero means until somebody says so.
	RotateEvery time.Duration
	// Shared says that other daemons may be on the same store: then it is looked at
	// again and again which keys are in force there and what the status lists have to
	// say, and what one daemon at a time does by itself is done under leases.
	Shared bool
	// Host and Version say which daemon this is to those beside it on the store.
	Host, Version string
	// ShareKeys has the store keep the sealed keys, for all daemons on it.
	ShareKeys bool
	// ClockChanged is told when the clock is not trusted any more, and when it is
	// again. It must not call the Authority.
	ClockChanged func(Clock)
	// Marks keeps outside the store what a restored one has to be told; nil: nobody
	// does.
	Marks Marks
	// Zone is where the days begin by which activations are counted; nil is UTC.
	Zone *time.Location
}

// Authority is the licence server's use cases. It is safe for concurrent use.
type Authority struct {
	store       store.Store // a staffed one
	below       store.Store // the settled one under it
	keys        *callKeys
	refused     refusals
	lists       *statusLists
	custody     Custody
	codes       Codes
	products    map[string]license.Product
	byMarket    map[string]string // marketplace's product id → product id
	channels    []Channel
	undo        time.Duration
	random      io.Reader
	ids         *license.IDs
	gate        *gate
	clock       func() time.Time
	guard       *guard
	health      *healthBook
	syncs       syncRuns
	jobs        chan struct{} // holds a token when there may be something to do
	checkpoints checkpoints
	events      chan struct{}    // holds a token when the audit log may have grown
	certificate func() time.Time // Options.Certificate
	restoring   atomic.Pointer[restoring]
	readAgain   sync.Map // ids of licences whose marketplace was asked since a restore
	rotateEvery time.Duration
	zone        *time.Location

	sharedStore bool
	shareKeys   bool
	keyLooked   atomic.Pointer[keyLooked] // nil until somebody looks
	keyFailed   atomic.Pointer[keyLooked] // the last look to which the store did not answer
	keyAsk      chan struct{}             // holds a token while somebody looks who needs a signature
	keyMu       sync.Mutex                // held while the key folder follows the store
	sealedSeen  *int64                    // which sealed keys were taken, under keyMu
	// sealedDamaged are the sealed keys that could not be taken, by kid.
	sealedDamaged atomic.Pointer[map[string]string]
	owner         string   // this process, among those on the store
	members       *members // the processes on the store
}

// New checks the options and returns an Authority.
func New(o Options) (*Authority, error) {
	if o.Store == nil || o.Custody == nil || o.Codes == nil {
		return nil, errors.New("authority: store, custody and codes are required")
	}
	a := &Authority{
		custody: o.Custody, codes: o.Codes, channels: o.Channels,
		undo: o.UndoWindow, random: o.Random, ids: &license.IDs{Random: o.Random}, clock: o.Now, gate: newGate(o.UnknownCodes), certificate: o.Certificate, rotateEvery: o.RotateEvery,
		sharedStore: o.Shared, shareKeys: o.ShareKeys,
		owner: rand.Text(), products: make(map[string]license.Product), byMarket: make(map[string]string), jobs: make(chan struct{}, 1),
		keyAsk: make(chan struct{}, 1),
	}
	if a.zone = o.Zone; a.zone == nil {
		a.zone = time.UTC
	}
	a.events = make(chan struct{}, 1)
	a.health, a.syncs.turns = newHealthBook(o.Channels), make(map[string]*sync.Mutex)
	if a.clock == nil {
		a.clock = time.Now //nolint:forbidigo // the one default of Now
	}
	a.guard = newGuard(o, a.now, a.keyMade)
	a.members = newMembers(o, a)
	if o.Shared {
		a.guard.meet = a.members.meet
	}
	if a.undo == 0 {
		a.undo = 24 * time.Hour
	}
	dated := recorded{Store: o.Store, guard: a.guard}
	a.lists = newStatusLists(dated, a)
	a.checkpoints.wake = make(chan struct{}, 1)
	var changed store.Store = dated
	if o.Marks != nil {
		changed = marked{Store: dated, marks: o.Marks}
	}
	a.below = settled{Store: changed, undo: a.undo, lists: a.lists, queued: a.wakeOutbox, dueAt: a.dueAt, audited: a.audited}
	a.keys = &callKeys{a: a, busy: make(map[string]bool)}
	a.store = staffed{Store: a.below, market: a.byMarket, keys: a.keys}
	for _, ch := range o.Channels {
		if ch.Name == license.ChannelManual {
			return nil, fmt.Errorf("authority: a marketplace entry cannot be called %q, which is where the merchant's own codes come from", ch.Name)
		}
	}
	if err := CheckProducts(o.Products); err != nil {
		return nil, err
	}
	for _, p := range o.Products {
		p.Machines = max(p.Machines, 1)
		p.InstallsPerMachine = max(p.InstallsPerMachine, 1)
		a.products[p.ID] = p
		a.lists.life = max(a.lists.life, p.StatusMaxAge)
		for _, id := range p.MarketplaceProducts {
			a.byMarket[id] = p.ID
		}
	}
	return a, nil
}

// CheckProducts refuses products of which a licence could be sold and never be
// signed, and one that is there twice.
func CheckProducts(products []license.Product) error {
	seen := make(map[string]bool)
	for _, p := range products {
		if seen[p.ID] {
			return fmt.Errorf("product %q is configured twice", p.ID)
		}
		seen[p.ID] = true
		if err := fits(license.License{Product: p.ID, Features: p.Features, Machines: 1, Mode: p.Mode}); err != nil {
			return fmt.Errorf("product %q: %w", p.ID, err)
		}
	}
	return nil
}

// now is what the clock shows, trusted or not: whole seconds, UTC. A change is
// dated by dated.
func (a *Authority) now() time.Time { return a.clock().UTC().Truncate(time.Second) }

// keyMade is the instant from which on the signing key is valid.
func (a *Authority) keyMade() time.Time {
	key, keys := a.custody.Current()
	k, _ := keys.Key(key.ID)
	return k.NotBefore
}

// product returns a configured product.
func (a *Authority) product(id string) (license.Product, error) {
	p, ok := a.products[id]
	if !ok {
		return license.Product{}, license.Errorf(license.WrongProduct, "this server has no product %q", printable(id))
	}
	return p, nil
}

// Schedule returns the phases and leases that a licence has by now, and false
// where its product is not configured any more.
func (a *Authority) Schedule(l license.License) (license.Schedule, bool) {
	p, ok := a.products[l.Product]
	return p.ScheduleFor(l), ok
}

// Overage returns how many machines more than it is for a licence lets in.
func (a *Authority) Overage(l license.License) int { return a.products[l.Product].OverageOf(l) }

// Products returns the configured products' ids.
func (a *Authority) Products() []string {
	ids := make([]string, 0, len(a.products))
	for id := range a.products {
		ids = append(ids, id)
	}
	return ids
}

// KeySet returns the signed key set that is here.
func (a *Authority) KeySet() token.KeySet { return a.custody.KeySet() }

// ServedKeySet returns the signed key set in force, or license.ReadOnly where the one
// that is here is another: products would not take it for news.
func (a *Authority) ServedKeySet() (token.KeySet, error) {
	if err := a.keysBehind(); err != nil {
		return token.KeySet{}, errKeysBehind.WithCause(err)
	}
	return a.custody.KeySet(), nil
}

// ErrSigner is the cause of an error of Ready where the key that signs could not be
// used, as when the token that holds it is away.
var ErrSigner = errors.New("the signing key cannot be used")

// ErrStuck is the cause of an error of Ready where the store can be read, and no
// change was made for so long that callers had better ask another daemon.
var ErrStuck = errors.New("the store makes no changes")

// stuckMost is for how long changes may wait while requests count as answered.
const stuckMost = 5 * time.Second

// Ready reports whether requests can be answered: the store answers and makes
// changes, the clock is trusted, and what is signed now verifies.
func (a *Authority) Ready(ctx context.Context) error {
	now, err := a.dated(ctx)
	if err != nil {
		return err
	}
	if err := a.signing().canSign(now); err != nil {
		return err
	}
	if err := a.custody.Signs(); err != nil {
		return license.Errorf(license.Internal, "the signing key cannot be used").WithCause(errors.Join(ErrSigner, err))
	}
	if err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Value(ctx, "ready") // never set: that the store says so is the answer
		if errors.Is(err, license.NotFound) {
			return nil
		}
		return err
	}); err != nil {
		return err
	}
	if stuck := a.store.Stats().Stuck; stuck > stuckMost {
		return license.Errorf(license.ReadOnly, "the store can be read, and has made no change for %s", stuck.Round(time.Second)).WithCause(ErrStuck)
	}
	return nil
}

// printable cuts a text from outside to what may stand in an error.
func printable(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "…"
	}
	return s
}
