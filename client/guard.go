package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// clockTolerance is how far the machine's clock may show less than what is
// proven before it is not believed.
const clockTolerance = 10 * time.Minute

// Guard keeps the licence of one install. Status, Feature and the like answer
// from memory at once and are safe for any number of goroutines; what talks to
// the server or changes the install runs one at a time.
//
// It does not call home by itself yet: call Refresh, for example daily and
// when Status.RefreshDue says so.
type Guard struct {
	opts   Options
	server *server // nil where there is none

	turn    chan struct{} // holds one token: whose turn it is to change things
	closing chan struct{}
	close   sync.Once
	view    atomic.Pointer[view]

	// For whose turn it is.
	stored []byte // as the cache has it
	memory memory
}

// view is what Status answers from. It never changes once it is made.
type view struct {
	license *License
	keys    token.KeySet
	floor   time.Time
	machine fingerprint.Set
	refusal license.Reason // why the licence held does not count, whatever its dates say

	damaged, held, looked error // what Warnings reports
}

// Open sets up the guard of an install. It reads what was kept, verifies it,
// looks at the machine, and needs no network; where nothing was kept yet, the
// guard has no licence, and nothing is written.
//
// A memory that is damaged is set aside (its file renamed to end in .damaged)
// and reported by Warnings; the guard then begins anew, without a licence. One
// that a newer version wrote, or that is another product's, is Conflict, and
// one that cannot be read is ReadOnly; both are left untouched.
func Open(ctx context.Context, opts Options) (*Guard, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Guard{opts: opts, turn: make(chan struct{}, 1), closing: make(chan struct{})}
	if opts.Server != "" {
		if g.server, err = newServer(opts); err != nil {
			return nil, err
		}
	}
	if opts.Keys != "" && len(opts.Anchors) > 0 {
		if _, err := token.VerifyKeySet(opts.Keys, opts.Anchors); err != nil {
			return nil, fmt.Errorf("the key set of the options: %w", err)
		}
	}
	g.view.Store(&view{})
	if err := g.load(); err != nil {
		return nil, err
	}
	if err := g.look(ctx); err != nil {
		return nil, err
	}
	return g, nil
}

// Close ends what is under way, waits for it, and lets go of connections.
// Afterwards nothing changes any more; Status goes on answering. It may be
// called again.
func (g *Guard) Close() error {
	g.close.Do(func() { close(g.closing) })
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	if g.server != nil {
		g.server.closeIdle()
	}
	return nil
}

// License returns the licence that is held, or nil. Whether it counts here and
// now is for Status to say.
func (g *Guard) License() *License { return g.view.Load().license }

// File returns what is held as a licence file, or nil where nothing is.
func (g *Guard) File() []byte {
	v := g.view.Load()
	if v.license == nil {
		return nil
	}
	return token.File{Licenses: []string{v.license.claims.Raw}, KeySets: []string{v.keys.Raw}}.Marshal()
}

// Warnings returns what was found wrong on the way and did not stop it: a
// memory that was set aside, a licence held that no longer verifies, a machine
// that could not be looked at.
func (g *Guard) Warnings() []error {
	v := g.view.Load()
	return slices.DeleteFunc([]error{v.damaged, v.held, v.looked}, func(err error) bool { return err == nil })
}

// Status says where the install stands now. It allocates nothing.
func (g *Guard) Status() Status {
	v := g.view.Load()
	now, behind := v.judge(g.opts.Now())
	s := v.license.Check(now)
	s.ClockBehind = behind
	if v.refusal != "" {
		s = s.block(v.refusal)
	}
	return s
}

// Feature reports whether a feature is there now. It allocates nothing.
func (g *Guard) Feature(name string) bool { return g.Status().Feature(name) }

// Value returns the value of a feature that is there now, or the zero Feature.
func (g *Guard) Value(name string) license.Feature { return g.Status().Value(name) }

// Explain says why this machine, as it was looked at last, is or is not the
// one that the licence was made for.
func (g *Guard) Explain() Explanation {
	v := g.view.Load()
	return v.license.Explain(v.machine)
}

// String says which product's install this is and shows nothing that it holds.
func (g *Guard) String() string { return "client.Guard(" + g.opts.Product + ")" }

// GoString hides what the install holds from %#v.
func (g *Guard) GoString() string { return g.String() }

// LogValue hides what the install holds from slog.
func (g *Guard) LogValue() slog.Value { return slog.StringValue(g.String()) }

// judge returns the instant to judge by: the clock's, unless it shows less
// than something signed proves.
func (v *view) judge(clock time.Time) (now time.Time, behind bool) {
	if clock.Before(v.floor.Add(-clockTolerance)) {
		return v.floor, true
	}
	return clock.UTC(), false
}

// begin waits for the turn to change things. The context that it returns ends
// with Close too; done must be called.
func (g *Guard) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	closed := license.Errorf(license.Conflict, "the guard is closed")
	select {
	case <-g.closing:
		return nil, nil, closed
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("wait for another call: %w", ctx.Err())
	case g.turn <- struct{}{}:
	}
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-g.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	done = func() {
		cancel()
		<-watched
		<-g.turn
	}
	select {
	case <-g.closing:
		done()
		return nil, nil, closed
	default:
	}
	if err := g.load(); err != nil {
		done()
		return nil, nil, err
	}
	return ctx, done, nil
}

// load takes over what the cache holds, where that is news: at the start, and
// where another process wrote it.
func (g *Guard) load() error {
	data, err := g.opts.Cache.Load()
	if err != nil {
		return license.Errorf(license.ReadOnly, "the install's memory cannot be read: %v", err).WithCause(err)
	}
	if bytes.Equal(data, g.stored) {
		return nil
	}
	if len(data) == 0 {
		g.adopt(memory{}, nil)
		return nil
	}
	m, err := decodeMemory(data)
	switch {
	case errors.Is(err, license.Damaged):
		// What this process knows stays and is written with the next change.
		v := *g.view.Load()
		v.damaged = g.setAside(err)
		g.view.Store(&v)
		g.stored = nil
		return nil
	case err != nil:
		return err
	case m.Product != g.opts.Product:
		return license.Errorf(license.Conflict, "the install's memory belongs to product %q and not to %q; "+
			"give each product a folder of its own", printable(m.Product), g.opts.Product)
	}
	g.adopt(m, data)
	return nil
}

func (g *Guard) setAside(why error) error {
	if c, ok := g.opts.Cache.(interface{ setAside() error }); ok {
		if err := c.setAside(); err != nil {
			return errors.Join(why, fmt.Errorf("set the damaged memory aside: %w", err))
		}
	}
	return why
}

// store keeps a memory for good and takes it over; where it cannot be kept,
// nothing changes.
func (g *Guard) store(m memory) error {
	m.Product = g.opts.Product
	data, err := m.encode()
	if err == nil {
		err = g.opts.Cache.Store(data)
	}
	if err != nil {
		return license.Errorf(license.ReadOnly, "the install's memory cannot be written, so nothing was changed: %v", err).WithCause(err)
	}
	g.adopt(m, data)
	return nil
}

// adopt makes a memory the one that counts.
func (g *Guard) adopt(m memory, data []byte) {
	g.memory, g.stored = m, data
	v := *g.view.Load()
	v.floor, v.refusal, v.held = m.floor(), "", nil
	var err error
	if v.license, v.keys, err = g.held(m); err != nil {
		v.refusal, v.held = license.ReasonOf(err), fmt.Errorf("the licence held: %w", err)
	}
	g.show(v)
}

// held verifies what a memory holds.
func (g *Guard) held(m memory) (*License, token.KeySet, error) {
	if m.License == "" && m.Keys == "" {
		return nil, token.KeySet{}, nil
	}
	keys, err := g.newest(m.Keys, nil)
	if m.License == "" || err != nil {
		return nil, keys, err
	}
	claims, err := token.VerifyLicense(m.License, keys, g.want())
	if err != nil {
		return nil, keys, err
	}
	if claims.InstallID != "" && claims.InstallID != installID(m.Key) {
		return nil, keys, errOtherInstall()
	}
	if claims.Dates.IssuedAt.Unix() < m.IssuedAt {
		return nil, keys, errOlder()
	}
	return &License{claims: claims}, keys, nil
}

func (g *Guard) want() token.Expect {
	return token.Expect{Product: g.opts.Product, Issuer: g.opts.Issuer}
}

// newest returns the newest of the key set compiled in, the one seen last and
// those that something brings. One seen last that no longer verifies (its
// anchor is gone from the product) does not count.
func (g *Guard) newest(seen string, more []string) (token.KeySet, error) {
	if err := validateTrust(g.opts.Anchors, g.opts.Product); err != nil {
		return token.KeySet{}, err
	}
	raws := slices.Clone(more)
	if seen != "" {
		raws = append(raws, seen)
	}
	var minimum token.KeySet
	if g.opts.Keys != "" {
		set, err := token.VerifyKeySet(g.opts.Keys, g.opts.Anchors)
		if err != nil {
			return token.KeySet{}, err
		}
		minimum = set
	}
	return newestSet(minimum, raws, func(raw string) (token.KeySet, error) { return token.VerifyKeySet(raw, g.opts.Anchors) })
}

// look looks at the machine anew.
func (g *Guard) look(ctx context.Context) error {
	set, err := g.opts.Fingerprint(ctx)
	if ctxErr := ctx.Err(); ctxErr != nil {
		return fmt.Errorf("look at the machine: %w", ctxErr)
	}
	v := *g.view.Load()
	v.machine, v.looked = set, nil
	if err != nil {
		v.machine, v.looked = fingerprint.Set{}, fmt.Errorf("look at the machine: %w", err)
	}
	g.show(v)
	return nil
}

// show makes a view the one that Status answers from.
func (g *Guard) show(v view) {
	if v.refusal == license.MachineMismatch && v.license != nil {
		v.refusal = ""
	}
	if v.license != nil && !v.license.Match(v.machine).OK {
		v.refusal = license.MachineMismatch
	}
	g.view.Store(&v)
}

func errOtherInstall() error {
	return license.Errorf(license.MachineMismatch, "the licence was made for another install: its key is not the one of this install")
}

func errOlder() error {
	return license.Errorf(license.Older, "this install has seen a newer licence; an older one is not accepted again")
}
