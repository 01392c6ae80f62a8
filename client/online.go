package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
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
	return g.online(ctx, func(ctx context.Context) error { return g.ask(ctx, w) })
}

// staleAfter is the age from which the answer to a request that is repeated
// may be out of date, so that a new one follows.
const staleAfter = time.Minute

// Refresh calls home: it brings the licence up to date and extends the lease.
// Where an activation was sent and its answer lost, it first asks for that
// answer again.
func (g *Guard) Refresh(ctx context.Context) error {
	return g.online(ctx, func(ctx context.Context) error {
		if p := g.memory.Pending; p != nil && byNewKey(p.Op) {
			err := g.send(ctx)
			if err == nil || !settled(err) || g.memory.License == "" {
				return err
			}
		}
		waiting := g.memory.Pending
		if err := g.ask(ctx, wish{op: OpRefresh}); err != nil {
			return err
		}
		if waiting == nil || waiting.Op != OpRefresh {
			return nil
		}
		if age := g.opts.Now().Sub(time.Unix(waiting.MadeAt, 0)); age >= 0 && age < staleAfter {
			return nil
		}
		return g.ask(ctx, wish{op: OpRefresh})
	})
}

// Deactivate gives the licence up and frees its seat. When it returns nil this
// install has no licence and no key any more; when it does not, it has both.
func (g *Guard) Deactivate(ctx context.Context) error {
	return g.online(ctx, func(ctx context.Context) error { return g.ask(ctx, wish{op: OpDeactivate}) })
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

// ask makes a request, or takes the one that waits, and sends it. One that
// waits may have been overtaken, where the memory comes from a backup; then a
// new one follows.
func (g *Guard) ask(ctx context.Context, w wish) error {
	repeated, err := g.askOnce(ctx, w)
	if repeated && (errors.Is(err, license.Replayed) || errors.Is(err, license.Conflict)) {
		_, err = g.askOnce(ctx, w)
	}
	return err
}

func (g *Guard) askOnce(ctx context.Context, w wish) (repeated bool, err error) {
	p, repeated, err := g.prepare(w, g.memory.Pending)
	if err != nil {
		return false, err
	}
	if !repeated {
		next := g.memory
		next.Pending = p
		if err := g.store(next); err != nil { // before it is sent
			return false, err
		}
	}
	return repeated, g.send(ctx)
}

// send sends the request that waits and takes its answer. What settles the
// request for good ends the waiting; all else leaves it to be sent again.
func (g *Guard) send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.opts.Timeout)
	defer cancel()
	answer, err := g.server.post(ctx, g.memory.Pending.Request)
	if err == nil {
		var next memory
		if next, err = g.accept(g.memory, answer); err == nil {
			return g.store(next)
		}
	}
	if settled(err) {
		next := g.memory
		next.Pending = nil
		if storeErr := g.store(next); storeErr != nil {
			return errors.Join(err, storeErr)
		}
	}
	return err
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

// accept judges the answer to the request that waits, and returns what is to
// be remembered then.
func (g *Guard) accept(m memory, a wire.Answer) (memory, error) {
	p := m.Pending
	keys, err := g.takeKeys(&m, a.Keys)
	if err != nil {
		return memory{}, err
	}
	install := installID(m.signer(p))
	t, err := token.VerifyTime(a.Time, keys, install, p.ID)
	if err != nil {
		return memory{}, err
	}
	m.raise(t.IssuedAt)
	if p.Op == OpDeactivate {
		return m.giveUp(p.Request), nil
	}
	claims, err := token.VerifyLicense(a.License, keys, g.want())
	if err != nil {
		return memory{}, err
	}
	lic := &License{claims: claims}
	if claims.InstallID != install {
		return memory{}, errOtherInstall()
	}
	if err := g.fits(m, lic); err != nil {
		return memory{}, err
	}
	return m.hold(claims), nil
}

// takeKeys verifies key sets and remembers the newest of them and of what was
// seen. One that is older is not worth an error: a server may lag behind.
func (g *Guard) takeKeys(m *memory, raws ...string) (token.KeySet, error) {
	for _, raw := range raws {
		if _, err := token.VerifyKeySet(raw, g.opts.Anchors); err != nil {
			return token.KeySet{}, err
		}
	}
	keys, err := g.newest(m.Keys, raws)
	if err != nil {
		return token.KeySet{}, err
	}
	m.Keys = keys.Raw
	m.raise(keys.IssuedAt)
	return keys, nil
}

// fits reports whether a licence that is authentic is one that this install
// may hold: made for it, for this machine, and not older than the last.
func (g *Guard) fits(m memory, l *License) error {
	install := l.InstallID()
	mine := install == "" || install == installID(m.Key)
	fresh := false // it answers a request that was signed with a key made for it
	for _, p := range []*pending{m.Pending, m.Carried} {
		fresh = fresh || p != nil && install != "" && install == installID(p.Key)
	}
	if !mine && !fresh {
		return errOtherInstall()
	}
	if mine && l.Dates().IssuedAt.Unix() < m.IssuedAt {
		return errOlder()
	}
	if machine := g.view.Load().machine; !l.Match(machine).OK {
		return license.Errorf(license.MachineMismatch, "the licence was not made for this machine: %s", l.Explain(machine).Advice)
	}
	return nil
}
