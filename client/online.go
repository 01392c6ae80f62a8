package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Activate asks the server for a licence by an authorization code, binds it to
// this machine and keeps it. A typing error in a code of our own form is
// BadRequest, field "code", before anything is sent. When Activate returns nil
// the licence is stored for good; when it does not, what was held before is
// held still.
//
// An answer that was lost costs nothing: the next call with the same code, in
// another process too, sends the same bytes and gets the same answer.
func (g *Guard) Activate(ctx context.Context, code string) error {
	return g.byCode(ctx, OpActivate, RequestOptions{Code: code})
}

// Transfer activates on this machine and frees the seat of another install,
// under the merchant's transfer policy; from is that install's id, or "".
func (g *Guard) Transfer(ctx context.Context, code, from string) error {
	return g.byCode(ctx, OpTransfer, RequestOptions{Code: code, From: from})
}

func (g *Guard) byCode(ctx context.Context, op Op, o RequestOptions) error {
	if _, err := license.ParseCode(o.Code); err != nil {
		return err
	}
	w, err := newWish(op, o)
	if err != nil {
		return err
	}
	return g.online(ctx, func(ctx context.Context) error { return g.notedWish(ctx, g.ask(ctx, w)) })
}

// Refresh calls home: it brings the licence up to date and extends the lease.
//
// Where an activation was sent and its answer lost, Refresh asks for that
// answer again, and takes the licence that comes. Until it comes, the licence
// held is refreshed all the same; errors.Is finds what went wrong with either.
//
// Where a deactivation was sent and its answer lost, Refresh asks for that
// answer instead: when it comes, the licence is given up, and Refresh returns
// NoLicense. Until it comes, the licence held is not refreshed.
//
// Where the server refuses because the licence is suspended or has ended, or this
// install was removed, that ends nothing, since nobody signed it. Refresh returns
// it, and looks at the status list as RefreshStatus does; what stands there
// counts. It does so, too, where the memory cannot be written and nothing can be
// asked.
//
// Where no licence is held and the guard knows a code to activate with
// (Options.Code, or that of a floating seat that Close gave back), Refresh does.
func (g *Guard) Refresh(ctx context.Context) error {
	return g.online(ctx, func(ctx context.Context) error { return g.noted(ctx, g.refresh(ctx)) })
}

// refresh is Refresh, for whose turn it is.
func (g *Guard) refresh(ctx context.Context) error {
	err := g.callHome(ctx)
	if listsMayTell(err) {
		_ = g.fetchStatus(ctx) // what is refused is the error
	}
	p := g.memory.Sent.Activation
	if p == nil && errors.Is(err, license.NoLicense) {
		if code := g.seatCode(g.memory); !code.IsZero() {
			return g.ask(ctx, wish{op: OpActivate, code: code})
		}
	}
	if p == nil || errors.Is(err, license.Unreachable) {
		return err
	}
	w, askErr := p.wish()
	if askErr == nil {
		askErr = g.ask(ctx, w)
	}
	if askErr == nil {
		return nil // whatever was wrong with the licence before
	}
	if err == nil {
		return askErr
	}
	return errors.Join(err, askErr)
}

// listsMayTell reports whether a refusal is for what somebody has decided about
// the licence or this install, which a status list shows, or the list is all
// that there is to look at. That an install looks like a copy, or made room for
// another one, was decided by nobody: an honest one goes on meanwhile.
func listsMayTell(err error) bool {
	return slices.Contains([]license.Reason{
		license.Suspended, license.Revoked, license.Released, license.Unauthorized, license.ReadOnly,
	}, license.ReasonOf(err))
}

// callHome refreshes the licence held, where no deactivation waits. One that was
// refused waits no more, but is not forgotten.
func (g *Guard) callHome(ctx context.Context) error {
	if p := g.memory.Sent.Deactivation; p != nil && !p.Refused {
		switch err := g.send(ctx, p); {
		case err == nil && g.memory.License == "":
			return license.Errorf(license.NoLicense,
				"this install has been given up: the deactivation that it asked for before is complete now")
		case err != nil && !settled(err):
			return err
		}
	}
	if g.memory.License == "" && g.memory.Sent.Activation != nil {
		return nil
	}
	return g.ask(ctx, wish{op: OpRefresh})
}

// Deactivate gives the licence up and frees its seat. When it returns nil this
// install has no licence and no key any more; when it does not, it has both.
//
// An answer that was lost is asked for again, by the same bytes, with the next
// call of Deactivate or Refresh.
func (g *Guard) Deactivate(ctx context.Context) error {
	return g.online(ctx, func(ctx context.Context) error { return g.notedWish(ctx, g.ask(ctx, wish{op: OpDeactivate})) })
}

// online does something that needs the server, when it is its turn.
func (g *Guard) online(ctx context.Context, do func(context.Context) error) error {
	if g.server == nil {
		return license.FieldErrorf("server", "no licence server is set; make a request file instead")
	}
	if err := validateTrust(g.opts.Anchors, g.opts.Product); err != nil {
		return err
	}
	ctx, done, err := g.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := g.look(ctx); err != nil {
		return err
	}
	return do(ctx)
}

// Ages of a request that waits.
const (
	// staleAfter is from when on its answer may be out of date, so that a new one
	// follows.
	staleAfter = time.Minute
	// anewAfter is how long one that took another's place is repeated even where
	// its answer does not verify: each further one may look like a copy of the
	// install to the server.
	anewAfter = 24 * time.Hour
)

func (g *Guard) age(p *pending) time.Duration { return g.opts.Now().Sub(time.Unix(p.MadeAt, 0)) }

func (g *Guard) stale(p *pending) bool {
	age := g.age(p)
	return age < 0 || age >= staleAfter
}

// ask sends a request for a wish. One that waits for its answer already goes
// first, as the same bytes, also where the machine looks different by now: the
// server may have answered it, and would take another for that of a copy.
// Where its answer is none, or out of date, a new request follows.
func (g *Guard) ask(ctx context.Context, w wish) error {
	p, repeats, err := g.queue(w, nil)
	if err != nil {
		return err
	}
	err = g.send(ctx, p)
	switch {
	case repeats == notRepeated:
		return err
	case err == nil && w.op != OpDeactivate && (g.stale(p) || repeats == repeatedElsewhere):
		next := g.ask(ctx, wish{op: OpRefresh})
		if byNewKey(w.op) {
			return nil // the licence is there; the next call home brings it up to date
		}
		return next
	case err != nil && g.hopeless(p, repeats, err):
		if p, _, err = g.queue(w, p); err == nil {
			err = g.send(ctx, p)
		}
	}
	return err
}

// repetition says how a request stands to the one that waited.
type repetition int

const (
	notRepeated       repetition = iota
	repeated                     // the same bytes
	repeatedElsewhere            // the same bytes, and the machine looks different by now
)

// queue returns the request for a wish: the one that waits for its answer, or
// a new one, which is stored before it is sent. instead is one that must not be
// repeated any more.
func (g *Guard) queue(w wish, instead *pending) (p *pending, r repetition, err error) {
	err = g.update(func(m *memory) error {
		d, err := g.draft(*m, w)
		if err != nil {
			return err
		}
		at := m.Sent.of(w.op)
		p, r = *at, repeated
		if d.askedBy(p) && (instead == nil || instead.ID != p.ID) {
			if !d.sameMachine(p) {
				r = repeatedElsewhere
			}
			if p.Refused {
				p = p.marked(false)
			}
			if p.Leaves && !w.leaves { // for good after all
				c := *p
				c.Leaves = false
				p = &c
			}
		} else {
			if p, err = g.signed(*m, d); err != nil {
				return err
			}
			p.Anew, p.Leaves, r = instead != nil, w.leaves, notRepeated
		}
		*at = p
		if w.op == OpDeactivate {
			m.stayAway()
		}
		return nil
	})
	return p, r, err
}

// hopeless reports whether a request that was repeated in vain will never get
// an answer that this install can take: it was overtaken, where the memory
// comes from a backup; the machine is not the one of then; or its answer was
// made under a key that has gone since. The end of a licence is asked for once
// only.
func (g *Guard) hopeless(p *pending, r repetition, err error) bool {
	switch reason := license.ReasonOf(err); {
	case errors.Is(err, errSuperseded):
		return false
	case reason == license.Replayed, reason == license.Conflict:
		return true
	case reason == license.MachineMismatch, reason == license.MachineWeak:
		return r == repeatedElsewhere
	}
	_, unverified := errors.AsType[*unverifiedError](err)
	return unverified && p.Op != OpDeactivate && (!p.Anew || g.age(p) < 0 || g.age(p) >= anewAfter)
}

// send sends a request and takes its answer. What settles the request for good
// ends the waiting; all else leaves it to be sent again. A deactivation is kept
// where it is refused, too: a problem answer is not signed.
func (g *Guard) send(ctx context.Context, p *pending) error {
	ctx, cancel := context.WithTimeout(ctx, g.opts.Timeout)
	defer cancel()
	answer, err := g.server.post(ctx, p.Request)
	if err != nil && !settled(err) {
		return err
	}
	return g.update(func(m *memory) error {
		if err == nil {
			err = g.accept(m, p, answer)
		}
		if errors.Is(err, license.Replayed) && !m.Sent.waits(p) && p.Install == installID(m.Key) {
			return nil // another process took the answer, and has asked again since
		}
		switch {
		case err == nil, p.Op != OpDeactivate && settled(err):
			m.Sent.drop(p)
		case settled(err):
			m.Sent.refused(p)
		}
		return err
	})
}

// settled reports whether a request that ended so will never be answered
// otherwise. A server in trouble, and an answer that is not the server's, are
// no answer.
func settled(err error) bool {
	return !slices.Contains([]license.Reason{
		license.Unreachable, license.RateLimited, license.MarketplaceUnavailable, license.ReadOnly, license.Clock,
		license.Internal, license.Forged, license.Damaged,
	}, license.ReasonOf(err))
}
