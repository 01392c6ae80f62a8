package authority

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// placement is where a new install goes and who has to make room for it.
type placement struct {
	seat        string
	replaced    []license.Install // on the same machine
	transferred []license.Install // on the one whose seat is freed
	released    []license.Install // not seen for so long that their seat is free (Product.Silent)
	overtaken   []license.Install // the same floating instance, which has crashed
	moved       bool              // the licence moves to another machine
	overage     int               // how many seats beyond what was sold are taken with it

	here    []license.Install // live on the seat
	known   []license.Install // of the seat, those that recognise the machine, oldest first
	carried []license.Install // on the same machine, which is another one by now
	drifted []license.Kind    // because of what
}

// why explains why the move is refused.
func (p placement) why(err error) error {
	if len(p.drifted) == 0 {
		return err
	}
	return tooMuchChanged(p.drifted, err)
}

// stay returns the installs that keep the seat beside the new one.
func (p placement) stay() []license.Install {
	return slices.DeleteFunc(slices.Clone(p.here), func(i license.Install) bool {
		same := func(o license.Install) bool { return o.ID == i.ID }
		return i.Seat != p.seat || slices.ContainsFunc(p.replaced, same) || slices.ContainsFunc(p.transferred, same) || slices.ContainsFunc(p.carried, same)
	})
}

// place finds a seat of l for the machine of the request.
func (c *call) place(l license.License, installs []license.Install) (placement, error) {
	seats := c.survey(l, installs)
	released := c.makeRoom(l, &seats)
	var pl placement
	var err error
	if l.Mode == license.ModeFloating {
		pl, err = c.placeFloating(l, seats, installs)
	} else {
		pl, err = c.placeNode(l, seats, installs)
	}
	if err == nil && pl.seat == "" {
		pl.seat, err = c.a.ids.New(license.SeatPrefix, c.now)
	}
	pl.released = released
	if pl.seat != "" && len(seats.live[pl.seat]) == 0 {
		freed := 0
		if len(pl.transferred) > 0 || len(pl.overtaken) > 0 {
			freed = 1
		}
		pl.overage = max(len(seats.live)-freed+1-l.Machines, 0)
	}
	return pl, err
}

// limit is how many seats of l may be taken.
func (c *call) limit(l license.License) int { return c.product.Limit(l) }

// makeRoom takes, where every seat is taken and the machine that asks has none,
// the seat away from whoever was not seen for longest, if the policy of the
// product lets it (Product.Silent), and returns the installs that end so.
func (c *call) makeRoom(l license.License, seats *survey) []license.Install {
	named := c.req.Op == token.OpTransfer && c.req.From != "" // which frees a seat itself
	if named || len(seats.live) < c.limit(l) || len(seats.live[seats.mine]) > 0 {
		return nil
	}
	free, seen := "", time.Time{}
	for seat, installs := range seats.live {
		var last time.Time
		silent := true
		for _, i := range installs {
			silent = silent && c.product.Silent(l, c.a.asRestored(l, i), c.now)
			last = later(last, i.SeenAt)
		}
		if silent && (free == "" || last.Before(seen) || last.Equal(seen) && seat < free) {
			free, seen = seat, last
		}
	}
	if free == "" {
		return nil
	}
	released := seats.live[free]
	delete(seats.live, free)
	t := seats.tenures[free]
	t.left = c.now
	seats.tenures[free] = t
	return released
}

// placeNode finds a seat for a machine: its own where it has one, a free one,
// or the one that a transfer frees.
func (c *call) placeNode(l license.License, seats survey, installs []license.Install) (placement, error) {
	here := seats.live[seats.mine]
	pl := placement{seat: seats.mine, here: here}
	if seats.mine != "" {
		pl.known = slices.DeleteFunc(seats.known, func(i license.Install) bool { return i.Seat != seats.mine })
	}
	if len(here) == 0 {
		pl.moved = seats.moved(c.limit(l))
	}
	named := c.req.Op == token.OpTransfer && c.req.From != ""
	if named || len(here) == 0 && len(seats.live) >= c.limit(l) {
		freed, err := c.freed(l, seats, installs)
		if err != nil {
			return placement{}, err
		}
		if freed != seats.mine {
			pl.transferred, pl.moved = seats.live[freed], true
		}
	}
	if extra := len(here) + 1 - c.product.InstallsPerMachine; extra > 0 {
		if !named && len(seats.live) < c.limit(l) && c.differs(here) {
			return placement{moved: len(seats.tenures)+1 > c.limit(l) && !seats.begun()}, nil
		}
		pl.replaced = longestUnseen(here)[:extra]
	}
	return pl, nil
}

// differs reports whether the machine that asks shows something else than each
// of the installs that recognise it. Machines made from one template do, and so
// does one with new parts; as long as seats are free, nobody makes room for it.
func (c *call) differs(here []license.Install) bool {
	for _, i := range here {
		changed := slices.ContainsFunc(license.Match(i.Binding, c.req.Fingerprint).Components, func(m license.ComponentMatch) bool {
			return m.Outcome == license.OutcomeChanged && m.Weight > license.WeightNone
		})
		if !changed {
			return false
		}
	}
	return true
}

// freed is the seat that a transfer frees: that of the install which it names,
// or the only one. No other operation frees a seat of somebody else.
func (c *call) freed(l license.License, seats survey, installs []license.Install) (string, error) {
	if c.req.Op != token.OpTransfer {
		return "", license.Errorf(license.MachineLimit,
			"this licence is in use on as many machines as it is for (%d); deactivate one of them or transfer the licence", c.limit(l))
	}
	if c.req.From == "" && len(seats.live) == 1 {
		for seat := range seats.live {
			return seat, nil
		}
	}
	if c.req.From == "" {
		return "", license.FieldErrorf("from", "the licence is in use on several machines; name the install whose seat is to be freed")
	}
	for _, i := range installs {
		if i.ID == c.req.From && i.State == license.InstallLive {
			return i.Seat, nil
		}
	}
	return "", license.FieldErrorf("from", "there is no such install in use")
}

// placeFloating finds a free seat. A seat is one running install; a transfer
// frees the one that it names, which costs nothing.
func (c *call) placeFloating(l license.License, seats survey, installs []license.Install) (placement, error) {
	var pl placement
	taken := len(seats.live)
	if c.req.Op == token.OpTransfer && c.req.From != "" {
		freed, err := c.freed(l, seats, installs)
		if err != nil {
			return placement{}, err
		}
		if pl.transferred = seats.live[freed]; len(pl.transferred) > 0 {
			taken--
		}
	}
	if same := c.sameInstance(l, seats); len(same) > 0 && len(pl.transferred) == 0 && (taken >= c.limit(l) || c.req.Instance != "") {
		pl.overtaken = same
		taken--
	}
	if taken >= c.limit(l) {
		return placement{}, floatingFull(c.limit(l))
	}
	return pl, nil
}

// beyond records that inst takes a seat beyond what was sold, as the n-th.
func (c *call) beyond(ctx context.Context, tx store.Tx, l license.License, inst license.Install, n int) error {
	if n <= 0 {
		return nil
	}
	return c.audit(ctx, tx, license.ActionOverage, inst,
		map[string]any{"seat": inst.Seat, "machines": l.Machines, "beyond": n, "allowed": c.product.OverageOf(l)})
}

// sameInstance returns the floating install that the one which asks was before it
// crashed, or nothing: the live one on this machine that named the same instance
// or, where none is named, one on this machine that has missed its check-in, which
// what still runs would not. So two copies on one machine never end each other.
func (c *call) sameInstance(l license.License, seats survey) []license.Install {
	schedule := c.product.ScheduleFor(l)
	var found []license.Install
	for _, installs := range seats.live {
		for _, i := range installs {
			same := i.Instance == c.req.Instance && (c.req.Instance != "" || schedule.Missed(c.a.asRestored(l, i), c.now))
			here := c.recognises(i, true) || c.product.Binding == license.PolicyNone && c.req.Instance != ""
			if same && here && (len(found) == 0 || i.SeenAt.Before(found[0].SeenAt)) {
				found = []license.Install{i}
			}
		}
	}
	return found
}

// tooOften refuses a code that is set up again and again: each time leaves a
// record behind that every later one has to look at. The bound is far above
// what an honest day can need.
func (c *call) tooOften(l license.License, installs []license.Install) error {
	most := 60 + 20*l.Machines
	if l.Mode == license.ModeFloating {
		most = 200 + 200*l.Machines
	}
	today := 0
	for _, i := range installs {
		if i.OnMachine() && c.now.Sub(i.BoundAt).Abs() < 24*time.Hour {
			today++
		}
	}
	if today >= most {
		return license.Errorf(license.RateLimited, "this licence has been activated too often within a day").WithRetryAfter(time.Hour)
	}
	return nil
}

func floatingFull(seats int) error {
	return license.Errorf(license.MachineLimit, "all %d floating seats of this licence are in use; try again later", seats).WithRetryAfter(time.Minute)
}

// survey is who sits where.
type survey struct {
	live    map[string][]license.Install // by seat
	tenures map[string]tenure            // of every seat that there was
	left    map[string]tenure            // of those that the staff moved the licence off
	known   []license.Install            // that recognise the machine that asks, oldest first
	mine    string                       // its seat, "" where it had none
}

// tenure is the last stretch of time for which a seat was taken without a
// break; left is zero while it is.
type tenure struct{ taken, left time.Time }

func (c *call) survey(l license.License, installs []license.Install) survey {
	s := survey{live: make(map[string][]license.Install), tenures: make(map[string]tenure), left: make(map[string]tenure)}
	byTime := slices.Clone(installs)
	slices.SortStableFunc(byTime, func(a, b license.Install) int { return cmp.Or(a.BoundAt.Compare(b.BoundAt), cmp.Compare(a.ID, b.ID)) })
	for _, i := range byTime {
		if !i.OnMachine() {
			continue
		}
		if i.MovedOff { // the machine that comes next takes its place
			s.left[i.Seat] = s.left[i.Seat].with(i)
		} else {
			s.tenures[i.Seat] = s.tenures[i.Seat].with(i)
		}
		live := l.Sits(c.a.asRestored(l, i), c.now)
		if live {
			s.live[i.Seat] = append(s.live[i.Seat], i)
		}
		if !c.recognises(i, live) {
			continue
		}
		s.known = append(s.known, i)
		if live || len(s.live[s.mine]) == 0 {
			s.mine = i.Seat
		}
	}
	return s
}

// recognises reports whether install i was bound to the machine that asks. One
// that has ended, or that was bound to what looks like another machine, does so
// only by what is proven: a machine that is known by new parts alone is that of a
// live install, or another one. A licence that is transferred does not go to a
// machine that it is on already, so then one that looks like another is.
func (c *call) recognises(i license.Install, live bool) bool {
	b := c.today(i.Binding)
	if b.Policy == license.PolicyNone || !license.Match(b, c.req.Fingerprint).OK {
		return false
	}
	other := b.Apart(c.req.Fingerprint)
	if other && c.req.Op == token.OpTransfer {
		return false
	}
	return live && !other || len(i.Unproven) == 0 || !budget.Rebind(b, i.Unproven, c.req.Fingerprint, c.now).Moved
}

// with extends a tenure by an install that was bound after those in it.
func (t tenure) with(i license.Install) tenure {
	if t.taken.IsZero() || !t.left.IsZero() && t.left.Before(i.BoundAt) {
		return tenure{taken: i.BoundAt, left: i.EndedAt}
	}
	if i.EndedAt.IsZero() || t.left.IsZero() {
		return tenure{taken: t.taken}
	}
	if t.left.Before(i.EndedAt) {
		t.left = i.EndedAt
	}
	return t
}

// moved reports whether taking a seat anew moves the licence to another
// machine: more machines than it allows have had it by now, and this one is
// new, or was left before another one came. It does not matter which
// operations did it. A move that the staff has begun was counted then.
func (s survey) moved(machines int) bool {
	if s.begun() {
		return false
	}
	had := len(s.tenures)
	mine, was := s.tenures[s.mine]
	if s.mine == "" || !was {
		return had+1 > machines
	}
	left := mine.left
	for seat, t := range s.tenures {
		if seat != s.mine && !t.taken.Before(left) {
			return had > machines
		}
	}
	return false
}

// begun reports whether the staff moved the licence off a machine whose place no
// other one has taken yet.
func (s survey) begun() bool {
	seats := slices.SortedFunc(maps.Keys(s.left), func(a, b string) int { return s.left[a].left.Compare(s.left[b].left) })
	for n, seat := range seats {
		since, came := s.left[seat].left, 0
		for _, t := range s.tenures {
			if !t.taken.Before(since) {
				came++
			}
		}
		for other, t := range s.left {
			if other != seat && !t.taken.Before(since) {
				came++
			}
		}
		if came < len(seats)-n {
			return true
		}
	}
	return false
}

// longestUnseen sorts installs by when they were last seen.
func longestUnseen(installs []license.Install) []license.Install {
	out := slices.Clone(installs)
	slices.SortStableFunc(out, func(a, b license.Install) int { return a.SeenAt.Compare(b.SeenAt) })
	return out
}
