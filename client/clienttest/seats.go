package clienttest

import (
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// bind gives a new install a seat of the licence.
func (c *call) bind() (license.Install, error) {
	next, _, err := c.entry.license.Apply(license.Change{Event: license.EventActivate, At: c.now})
	if err != nil {
		return license.Install{}, err
	}
	inst := license.Install{
		ID: c.req.InstallID, LicenseID: next.ID, State: license.InstallLive,
		Environment: c.req.Fingerprint.Environment, BoundAt: c.now, Instance: c.req.Instance,
	}
	if inst.Binding, err = license.Bind(c.product.Binding, c.req.Fingerprint); err != nil {
		return license.Install{}, err
	}
	pl, err := c.seat()
	if err != nil {
		return license.Install{}, err
	}
	if inst.Seat = pl.seat; inst.Seat == "" {
		if inst.Seat, err = c.ids.New(license.SeatPrefix, c.now); err != nil {
			return license.Install{}, err
		}
	}
	if err := c.reactivate(&inst); err != nil {
		return license.Install{}, err
	}
	if pl.moved {
		if next, err = next.Transfer(c.product.Transfers, c.now); err != nil {
			return license.Install{}, err
		}
	}
	next.Forks, next.ForkedAt = c.entry.license.Forks, c.entry.license.ForkedAt // reactivate may have counted one
	c.entry.license = next
	c.entry.end(pl.replaced, license.InstallReplaced, c.now)
	c.entry.end(pl.transferred, license.InstallTransferred, c.now)
	return inst, c.grant(&inst)
}

// seating is where a new install goes, and who makes room for it.
type seating struct {
	seat                  string // "" is a new one
	replaced, transferred []license.Install
	moved                 bool
}

// seat finds a seat for the machine of the request.
func (c *call) seat() (seating, error) {
	if c.entry.license.Mode == license.ModeFloating {
		return c.floatingSeat()
	}
	live := c.entry.live(c.now)
	mine := c.known(live)
	here := live[mine]
	s := seating{seat: mine}
	limit := c.product.Limit(c.entry.license)
	if len(here) == 0 {
		s.moved = c.moves(mine, limit)
	}
	named := c.req.Op == token.OpTransfer && c.req.From != ""
	if named || len(here) == 0 && len(live) >= limit {
		freed, err := c.freed(live, limit)
		if err != nil {
			return s, err
		}
		if freed != mine {
			s.transferred, s.moved = live[freed], true
		}
	}
	if extra := len(here) + 1 - c.product.InstallsPerMachine; extra > 0 {
		longestUnseen := slices.Clone(here)
		slices.SortStableFunc(longestUnseen, func(a, b license.Install) int { return a.SeenAt.Compare(b.SeenAt) })
		s.replaced = longestUnseen[:extra]
	}
	return s, nil
}

// known is the seat of the machine that asks, "" where it never had one. One
// that it sits on goes before one that it has left.
func (c *call) known(live map[string][]license.Install) string {
	mine := ""
	for _, i := range c.entry.installs {
		if i.Binding.Policy == license.PolicyNone || !license.Match(i.Binding, c.req.Fingerprint).OK {
			continue
		}
		if c.entry.license.Sits(i, c.now) || len(live[mine]) == 0 {
			mine = i.Seat
		}
	}
	return mine
}

// moves reports whether taking a seat anew moves the licence to another machine:
// more machines than it is for have had it by now, and this one is new, or was
// left before another one came.
func (c *call) moves(mine string, limit int) bool {
	seats := make(map[string]tenure)
	for _, i := range c.entry.installs { // oldest first
		seats[i.Seat] = seats[i.Seat].with(i)
	}
	was, ok := seats[mine]
	if !ok {
		return len(seats)+1 > limit
	}
	for seat, t := range seats {
		if seat != mine && !t.taken.Before(was.left) {
			return len(seats) > limit
		}
	}
	return false
}

// tenure is the last stretch of time for which a seat was taken without a break;
// left is zero while it is.
type tenure struct{ taken, left time.Time }

func (t tenure) with(i license.Install) tenure {
	switch {
	case t.taken.IsZero(), !t.left.IsZero() && t.left.Before(i.BoundAt):
		return tenure{taken: i.BoundAt, left: i.EndedAt}
	case i.EndedAt.IsZero() || t.left.IsZero():
		return tenure{taken: t.taken}
	}
	return tenure{taken: t.taken, left: latest(t.left, i.EndedAt)}
}

// freed is the seat that a transfer frees; no other operation frees one.
func (c *call) freed(live map[string][]license.Install, limit int) (string, error) {
	if c.req.Op != token.OpTransfer {
		return "", license.Errorf(license.MachineLimit,
			"this licence is in use on as many machines as it is for (%d); deactivate one of them or transfer the licence", limit)
	}
	if c.req.From == "" && len(live) == 1 {
		for seat := range live {
			return seat, nil
		}
	}
	if c.req.From == "" {
		return "", license.FieldErrorf("from", "the licence is in use on several machines; name the install whose seat is to be freed")
	}
	if i, ok := c.entry.install(c.req.From); ok && i.State == license.InstallLive {
		return i.Seat, nil
	}
	return "", license.FieldErrorf("from", "there is no such install in use")
}

// floatingSeat finds a free seat: each running install takes one.
func (c *call) floatingSeat() (seating, error) {
	var s seating
	live := c.entry.live(c.now)
	limit, taken := c.product.Limit(c.entry.license), len(live)
	if c.req.Op == token.OpTransfer && c.req.From != "" {
		freed, err := c.freed(live, limit)
		if err != nil {
			return s, err
		}
		if s.transferred = live[freed]; len(s.transferred) > 0 {
			taken--
		}
	}
	if same := c.sameInstance(live); len(same) > 0 && len(s.transferred) == 0 && (taken >= limit || c.req.Instance != "") {
		s.replaced = same
		taken--
	}
	if taken >= limit {
		return s, floatingFull(limit)
	}
	return s, nil
}

// sameInstance is the install that the one which asks was before it crashed: of
// the same name on this machine or, where none is named, one that has missed its
// check-in.
func (c *call) sameInstance(live map[string][]license.Install) []license.Install {
	schedule := c.product.ScheduleFor(c.entry.license)
	var found []license.Install
	for _, installs := range live {
		for _, i := range installs {
			same := i.Instance == c.req.Instance && (c.req.Instance != "" || schedule.Missed(i, c.now))
			here := i.Binding.Policy != license.PolicyNone && license.Match(i.Binding, c.req.Fingerprint).OK ||
				c.product.Binding == license.PolicyNone && c.req.Instance != ""
			if same && here && (len(found) == 0 || i.SeenAt.Before(found[0].SeenAt)) {
				found = []license.Install{i}
			}
		}
	}
	return found
}

// regain checks that a floating install whose lease ran out finds a free seat.
func (c *call) regain(old license.Install) error {
	l := c.entry.license
	if l.Mode != license.ModeFloating || c.now.Before(old.LeaseUntil) {
		return nil
	}
	if limit := c.product.Limit(l); l.SeatsTaken(c.entry.installs, c.now) >= limit {
		return floatingFull(limit)
	}
	return nil
}

func floatingFull(seats int) error {
	return license.Errorf(license.MachineLimit, "all %d floating seats of this licence are in use; try again later", seats).WithRetryAfter(time.Minute)
}

// reactivate counts how often a seat was activated again, which is a fork where
// it is more than a machine needs.
func (c *call) reactivate(inst *license.Install) error {
	if c.entry.license.Mode == license.ModeFloating {
		return nil
	}
	most, within := c.product.Reactivations()
	n, next := license.Reactivations(c.entry.installs, inst.Seat, within, c.now)
	inst.Reactivation = n
	switch {
	case n <= most:
		return nil
	case !c.refusesForks():
		c.fork(inst, license.ForkReactivated)
		return nil
	}
	var newest license.Install
	for _, i := range c.entry.installs {
		if i.Seat == inst.Seat && (newest.ID == "" || i.State == license.InstallLive || newest.State != license.InstallLive) {
			newest = i
		}
	}
	live := c.concernedBy(inst.Seat)
	err := c.refuse(newest, license.ForkReactivated, live, "this machine has been activated again too often within a short time, as copies of one machine would")
	if c.product.Forks == license.ForkRefuseBoth && len(live) > 0 || next.IsZero() {
		return err
	}
	return err.WithRetryAfter(next.Sub(c.now))
}
