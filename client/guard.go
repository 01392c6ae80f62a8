package client

import (
	"context"
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

// Guard keeps the licence of one install. Status, Feature and the like answer
// from memory at once and are safe for any number of goroutines; what talks to
// the server or changes the install runs one at a time.
//
// In the background, by one goroutine that Close ends, it calls home when that is
// due, repeats what failed, takes over what other copies of the product stored
// in the same folder, and tells by Events what changes. Nothing of that is in
// anybody's way: a server that does not answer is no reason for Open, Feature or
// Close to wait.
//
// A floating licence is a seat that is leased for minutes: the guard renews it,
// Close gives it back, and the next Open takes one again. A product that crashed
// goes on with the seat that it had.
//
// A program that runs for seconds ends before the background has had an answer:
// call Refresh there, when Status.RefreshDue says so.
type Guard struct {
	opts   Options
	server *server // nil where there is none

	turn    chan struct{} // holds one token: whose turn it is to change things
	closing chan struct{}
	close   sync.Once
	view    atomic.Pointer[view]

	events  chan Event
	changed chan struct{} // holds one token: there is something to see for the background
	stop    func()        // ends the background
	ended   chan struct{} // is closed when it has ended

	ran     func() time.Duration // since Open, by a clock that nobody can set
	shipped time.Time            // what the product itself proves to have passed

	mu    sync.Mutex
	calls calls

	// For whose turn it is.
	stored  []byte // as the cache has it
	memory  memory
	made    made               // the request that was made last
	opening bool               // Open reads the memory, and the background will look whether the key is the install's
	unjoin  func() (last bool) // ends the use of a floating seat, nil where there is none
}

// view is what Status answers from. It never changes once it is made.
type view struct {
	license *License
	keys    token.KeySet
	line    timeline
	machine fingerprint.Set
	refusal license.Reason // why the licence held does not count, whatever its dates say
	lost    string         // what of the machine is not as the licence was bound to it

	waiting bool         // a request was sent, and its answer is to be asked for again
	unsound bool         // what is held as a licence does not verify
	seat    license.Code // with which a seat is to be taken, see seatCode
	floats  bool         // the seat is a floating one

	damaged, held, looked error // what Warnings reports
}

// Open sets up the guard of an install. It reads what was kept, verifies it,
// looks at the machine, and needs no network; where nothing was kept yet, the
// guard has no licence, and nothing is written.
//
// A memory that is damaged is set aside (its file renamed to end in .damaged)
// and reported by Warnings; the guard then begins anew, without a licence. Where
// that happens later, what the guard knows is kept and written anew. One
// that a newer version wrote, or that is another product's, is Conflict, and
// one that cannot be read is ReadOnly; both are left untouched.
func Open(ctx context.Context, opts Options) (*Guard, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Guard{
		opts: opts, turn: make(chan struct{}, 1), closing: make(chan struct{}),
		events: make(chan Event, eventBuffer), changed: make(chan struct{}, 1), ended: make(chan struct{}), stop: func() {},
	}
	start := time.Now()                                       //nolint:forbidigo // a running time, which no Now can tell
	g.ran = func() time.Duration { return time.Since(start) } //nolint:forbidigo // as above
	if opts.Server != "" {
		if g.server, err = newServer(opts, g.now, g.alsoWithin); err != nil {
			return nil, err
		}
	}
	g.shipped = opts.BuildTime
	if opts.Keys != "" && len(opts.Anchors) > 0 {
		set, err := verifySet(opts.Keys, opts.Anchors, opts.Issuer)
		if err != nil {
			return nil, fmt.Errorf("the key set of the options: %w", err)
		}
		g.shipped = latest(g.shipped, set.IssuedAt)
	}
	g.view.Store(&view{})
	g.adopt(memory{}, nil)
	g.opening = !opts.Manual
	if err := g.load(false); err != nil {
		return nil, err
	}
	g.opening = false
	if err := g.look(ctx); err != nil {
		return nil, err
	}
	g.joinSeat()
	if opts.Manual {
		close(g.events)
		close(g.ended)
		return g, nil
	}
	ctx, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	go (&background{g: g, believes: g.memory.Install != ""}).run(ctx)
	return g, nil
}

// Close ends what is under way, waits for it, and lets go of connections; from then
// on other calls are refused. It remembers for how long the product has run, where
// that is ten seconds or more; that it cannot be written is no error, since nothing
// but that is lost. Afterwards nothing changes any more; Status goes on answering.
// It may be called again.
//
// A floating seat is given back, unless Options.KeepSeat or Manual says not to,
// other copies of the product that share the folder still use it, or no code is
// known to take one again. For that the server is given five seconds at most; one
// that cannot be reached frees the seat when its lease ends.
func (g *Guard) Close() error {
	g.close.Do(func() {
		g.stop()
		close(g.closing) // ends calls under way, and lets no other begin: the seat must not be taken again
		<-g.ended
		g.turn <- struct{}{}
		defer func() { <-g.turn }()
		g.giveSeatBack()
		g.keepCount()
		if g.server != nil {
			g.server.closeIdle()
		}
	})
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
	f := token.File{Licenses: []string{v.license.claims.Raw}, KeySets: []string{v.keys.Raw}}
	if v.license.list != nil {
		f.Statuses = []string{v.license.list.Raw}
	}
	return f.Marshal()
}

// Warnings returns what was found wrong on the way and did not stop it: a
// memory that was set aside, a licence held that no longer verifies, a machine
// that could not be looked at; and, with the reason Clock, a clock that should
// be looked at now.
func (g *Guard) Warnings() []error {
	v := g.view.Load()
	return slices.DeleteFunc([]error{v.damaged, v.held, v.looked, g.clockTrouble(v)}, func(err error) bool { return err == nil })
}

// Status says where the install stands now. It allocates nothing.
func (g *Guard) Status() Status {
	return g.status(g.view.Load(), g.opts.Now())
}

func (g *Guard) status(v *view, clock time.Time) Status {
	at, state := v.line.judge(clock, g.ran())
	s := v.license.Check(at)
	s.Clock, s.unheard = state, g.server != nil && !v.line.heard
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
		g.joinSeat()
		<-g.turn
		g.wake()
	}
	select {
	case <-g.closing:
		done()
		return nil, nil, closed
	default:
	}
	if err := g.load(false); err != nil {
		done()
		return nil, nil, err
	}
	return ctx, done, nil
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
	v.lost = ""
	if v.license != nil {
		report := v.license.Match(v.machine)
		if v.lost = lostOf(report); !report.OK {
			v.refusal = license.MachineMismatch
		}
	}
	g.view.Store(&v)
}

func errOtherInstall() error {
	return license.Errorf(license.MachineMismatch, "the licence was made for another install: its key is not the one of this install, and nothing was changed; "+
		"import the file that answers a request of this very machine and folder, or make a new request")
}

func errOlder() error {
	return license.Errorf(license.Older, "this install has seen a newer licence; an older one is not accepted again, and nothing was changed; "+
		"where a newer answer waits, import that one, or else make a new request")
}
