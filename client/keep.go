package client

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"reflect"

	"github.com/seed-357fa782/licensed/client/internal/filelock"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// load takes over what the cache holds, where that is news: at the start, and
// where another process wrote it. locked says that the lock is held already.
func (g *Guard) load(locked bool) error {
	data, err := g.opts.Cache.Load()
	var m memory
	switch {
	case err == nil && bytes.Equal(data, g.stored):
		return nil
	case err == nil && len(data) > 0:
		m, err = decodeMemory(data)
	case err != nil && !errors.Is(err, license.Damaged):
		return errUnreadable(err)
	}
	gone, damaged := err == nil && len(data) == 0, errors.Is(err, license.Damaged)
	if !locked && (damaged || gone && len(g.stored) > 0) {
		// Somebody may just have set it aside, to write anew what he knows of it.
		unlock, lockErr := g.lock()
		if lockErr == nil {
			defer unlock()
			return g.load(true)
		}
		if damaged { // and stays as it is: who has the lock may be writing
			g.noteDamage(errNotAside(err, lockErr))
			return nil
		}
	}
	switch {
	case gone:
		g.adopt(memory{}, nil)
		return nil
	case damaged:
		moved, err := g.setAside(err, data)
		if !moved {
			return g.load(true) // somebody has put another one there
		}
		g.noteDamage(err)
		if g.memory.Product != "" {
			_ = g.store(g.memory) // what cannot be written stays known, and is written with the next change
		}
		return nil
	case err != nil:
		return err
	case m.Product != g.opts.Product:
		return license.Errorf(license.Conflict, "the install's memory belongs to product %q and not to %q; "+
			"give each product a folder of its own", printable(m.Product), g.opts.Product)
	}
	if !g.opening {
		m.keyed()
	}
	if m.License != "" && m.License != g.memory.License {
		g.reached()
	}
	g.adopt(m, data)
	return nil
}

// noteDamage notes that the memory was damaged. What this process knows of it stays
// known.
func (g *Guard) noteDamage(why error) {
	next := "what this copy of the product knows of it was kept"
	if g.memory.License == "" {
		next = "this install begins anew: activate it again"
	}
	v := *g.view.Load()
	v.damaged = fmt.Errorf("%w; %s", why, next)
	g.view.Store(&v)
	g.stored = nil
}

// setAside takes a damaged memory out of the way, unless it is no longer the
// one that was read, and returns what is to be reported. The lock is held.
func (g *Guard) setAside(why error, read []byte) (moved bool, _ error) {
	c, ok := g.opts.Cache.(interface {
		setAside(read []byte) (bool, error)
	})
	if !ok {
		return true, why
	}
	moved, err := c.setAside(read)
	if err != nil {
		return true, errNotAside(why, err)
	}
	return moved, why
}

func errNotAside(why, err error) error {
	return errors.Join(why, fmt.Errorf("set the damaged memory aside: %w", err))
}

// lock keeps other processes from changing the memory, where the cache is one
// that they can share.
func (g *Guard) lock() (unlock func(), err error) {
	if c, ok := g.opts.Cache.(interface{ lock() (func(), error) }); ok {
		return c.lock()
	}
	return func() {}, nil
}

// update changes the memory as it is now, which is not always as this process
// knew it: others that share it may have changed it since, above all during a
// call. What change leaves in m is kept for good, also where it returns an
// error; where it cannot be kept, nothing changes.
//
// What m points to is shared with the memory of before: change replaces it.
func (g *Guard) update(change func(m *memory) error) error {
	unlock, err := g.lock()
	if err != nil {
		return errUnwritable(err)
	}
	defer unlock()
	if err := g.load(true); err != nil {
		return err
	}
	m := g.memory
	g.count(&m)
	counted := m
	err = change(&m)
	if reflect.DeepEqual(m, counted) && !g.worthKeeping(m) {
		return err
	}
	if storeErr := g.store(m); storeErr != nil {
		if err == nil {
			return storeErr
		}
		return errors.Join(err, storeErr)
	}
	return err
}

// count raises the floor by the time for which this process has run.
func (g *Guard) count(m *memory) { m.lift(g.view.Load().line.proven(g.ran()).Unix()) }

// worthKeeping reports whether a memory in which nothing but the time has moved
// on is worth a write.
func (g *Guard) worthKeeping(m memory) bool {
	return m.Product != "" && m.Floor-g.memory.Floor >= countedSeconds
}

// keepCount remembers for how long this process has run, where that is worth a
// write. If it cannot be written nothing but that is lost.
func (g *Guard) keepCount() {
	m := g.memory
	if g.count(&m); g.worthKeeping(m) {
		_ = g.update(func(*memory) error { return nil })
	}
}

// store keeps a memory for good and takes it over; where it cannot be kept,
// nothing changes. The lock is held.
func (g *Guard) store(m memory) error {
	m.Product = g.opts.Product
	data, err := m.encode()
	if err == nil {
		err = g.opts.Cache.Store(data)
	}
	if err != nil {
		return errUnwritable(err)
	}
	g.adopt(m, data)
	return nil
}

func errUnreadable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return license.Errorf(license.ReadOnly, "the install's memory belongs to another user and cannot be read: %v; "+
			"run the product as that user, or give each user a folder of their own", root(err)).WithCause(err)
	}
	return license.Errorf(license.ReadOnly, "the install's memory cannot be read: %v", root(err)).WithCause(err)
}

func errUnwritable(err error) error {
	advice := "see that its disk has room, and that this user may write to its folder"
	if errors.Is(err, filelock.ErrHeld) {
		advice = "try again, or end the other copy of the product that holds it"
	}
	return license.Errorf(license.ReadOnly, "the install's memory cannot be written, so nothing was changed: %v; %s", root(err), advice).WithCause(err)
}

// root is the first of the causes: what the system said. The cause beside it has
// the path.
func root(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// adopt makes a memory the one that counts.
func (g *Guard) adopt(m memory, data []byte) {
	m.raise(g.shipped)
	v := *g.view.Load()
	v.line = v.line.adopt(m.provenTime, g.memory.provenTime, g.ran())
	g.memory, g.stored = m, data
	v.refusal, v.held = "", nil
	v.waiting = m.Sent.Activation != nil || m.Sent.Deactivation != nil && !m.Sent.Deactivation.Refused
	v.seat, v.floats = g.seatCode(m), m.Code != ""
	var err error
	if v.license, v.keys, err = g.held(m); err != nil {
		v.refusal, v.held = license.ReasonOf(err), fmt.Errorf("the licence held: %w", err)
	}
	v.unsound = v.license == nil && m.License != ""
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
	if claims.InstallID != "" && claims.InstallID != m.install() {
		return nil, keys, errOtherInstall()
	}
	if claims.Dates.IssuedAt.Unix() < m.IssuedAt {
		return nil, keys, errOlder()
	}
	return g.withList(&License{claims: claims}, m.StatusList, keys), keys, nil
}

// withList adds the status list that is remembered, which need not be verified
// again where nothing that it was verified under has changed.
func (g *Guard) withList(l *License, raw string, keys token.KeySet) *License {
	if raw == "" {
		return l
	}
	if v := g.view.Load(); v.license != nil && v.license.list != nil && v.keys.Raw == keys.Raw &&
		v.license.list.Raw == raw && v.license.list.URI == l.claims.Status.URI {
		l.list = v.license.list
		return l
	}
	l.list = newestLists([]string{raw}, keys, g.opts.Issuer)[l.claims.Status.URI]
	return l
}

func (g *Guard) want() token.Expect {
	return token.Expect{Product: g.opts.Product, Issuer: g.opts.Issuer}
}

// newest returns the newest of the key set compiled in, the one seen last and
// those that something brings. One seen last that no longer verifies (its
// anchor is gone from the product) does not count. Of two that are equally new
// the one known before counts: what an anchor says of one rank and seq is one
// thing, and who brings another has no better claim.
func (g *Guard) newest(seen string, more []string) (token.KeySet, error) {
	if err := validateTrust(g.opts.Anchors, g.opts.Product); err != nil {
		return token.KeySet{}, err
	}
	var raws []string
	if seen != "" {
		raws = append(raws, seen)
	}
	raws = append(raws, more...)
	var minimum token.KeySet
	if g.opts.Keys != "" {
		set, err := g.verifySet(g.opts.Keys)
		if err != nil {
			return token.KeySet{}, err
		}
		minimum = set
	}
	return newestSet(minimum, raws, g.verifySet)
}

// verifySet is the function of that name under the guard's anchors, which do
// not change: the set that the view holds need not be verified again.
func (g *Guard) verifySet(raw string) (token.KeySet, error) {
	if known := g.view.Load().keys; raw != "" && known.Raw == raw {
		return known, nil
	}
	return verifySet(raw, g.opts.Anchors, g.opts.Issuer)
}
