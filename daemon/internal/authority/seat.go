package authority

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// placement is where a new install goes and who has to make room for it.
type placement struct {
	seat     string
	retire   []license.Install
	retireAs license.InstallState
	moved    bool // the licence moves to another machine
}

// place finds a seat of l for the machine of the request.
func (c *call) place(l license.License, installs []license.Install) (placement, error) {
	seats := c.survey(l, installs)
	if l.Mode == license.ModeFloating {
		return c.placeFloating(l, seats)
	}
	if seats.mine != "" && len(seats.live[seats.mine]) > 0 {
		pl := placement{seat: seats.mine, retireAs: license.InstallReplaced}
		if here := seats.live[seats.mine]; len(here) >= c.product.InstallsPerMachine {
			pl.retire = []license.Install{longestUnseen(here)}
		}
		return pl, nil
	}
	pl := placement{seat: seats.mine, retireAs: license.InstallTransferred, moved: seats.moved(l.Machines)}
	named := c.req.Op == token.OpTransfer && c.req.From != ""
	if named || len(seats.live) >= l.Machines {
		freed, err := c.freed(l, seats, installs)
		if err != nil {
			return placement{}, err
		}
		pl.retire, pl.moved = seats.live[freed], true
	}
	return pl, c.nameSeat(&pl)
}

// freed is the seat that a transfer frees: that of the install which it names,
// or the only one. No other operation frees a seat of somebody else.
func (c *call) freed(l license.License, seats survey, installs []license.Install) (string, error) {
	full := license.Errorf(license.MachineLimit,
		"this licence is in use on as many machines as it is for (%d); deactivate one of them or transfer the licence", l.Machines)
	if c.req.Op != token.OpTransfer {
		return "", full
	}
	if c.req.From == "" && len(seats.live) == 1 {
		for seat := range seats.live {
			return seat, nil
		}
	}
	for _, i := range installs {
		if i.ID == c.req.From && i.State == license.InstallLive {
			return i.Seat, nil
		}
	}
	if c.req.From == "" {
		return "", license.FieldErrorf("from", "the licence is in use on several machines; name the install whose seat is to be freed")
	}
	return "", license.FieldErrorf("from", "there is no such install in use")
}

func (c *call) placeFloating(l license.License, seats survey) (placement, error) {
	if len(seats.live) >= l.Machines {
		return placement{}, floatingFull(l)
	}
	pl := placement{}
	return pl, c.nameSeat(&pl)
}

// regain checks that a floating install whose lease ran out finds a free seat
// again: others may have taken its own.
func (c *call) regain(ctx context.Context, tx store.Tx, l license.License) error {
	installs, err := tx.Installs(ctx, l.ID)
	if err != nil {
		return fmt.Errorf("list installs of %s: %w", l.ID, err)
	}
	if len(c.survey(l, installs).live) >= l.Machines {
		return floatingFull(l)
	}
	return nil
}

func floatingFull(l license.License) error {
	return license.Errorf(license.MachineLimit, "all %d floating seats of this licence are in use; try again later", l.Machines)
}

func (c *call) nameSeat(pl *placement) (err error) {
	if pl.seat == "" {
		pl.seat, err = c.a.ids.New(license.SeatPrefix, c.now)
	}
	return err
}

// survey is who sits where.
type survey struct {
	live map[string][]license.Install // by seat
	ever map[string]time.Time         // every seat there was → when it was last left, zero while live
	last time.Time                    // when an install was last bound to a seat that is not mine
	mine string                       // the seat of the machine that asks, "" where it had none
}

func (c *call) survey(l license.License, installs []license.Install) survey {
	s := survey{live: make(map[string][]license.Install), ever: make(map[string]time.Time)}
	for _, i := range installs {
		live := i.State == license.InstallLive && (l.Mode != license.ModeFloating || c.now.Before(i.LeaseUntil))
		if live {
			s.live[i.Seat] = append(s.live[i.Seat], i)
		}
		if left, ok := s.ever[i.Seat]; live || !ok || !left.IsZero() && i.EndedAt.After(left) {
			s.ever[i.Seat] = i.EndedAt
		}
		known := i.Binding.Policy != license.PolicyNone && license.Match(i.Binding, c.req.Fingerprint).OK
		if known && (s.mine == "" || live && len(s.live[s.mine]) == 0) {
			s.mine = i.Seat
		}
	}
	for _, i := range installs {
		if i.Seat != s.mine && i.BoundAt.After(s.last) {
			s.last = i.BoundAt
		}
	}
	return s
}

// moved reports whether taking the seat moves the licence to another machine:
// more machines than it allows have had it by now, and this one is new or was
// left before another one came. It does not matter which operations did it.
func (s survey) moved(machines int) bool {
	had := len(s.ever)
	if s.mine == "" {
		return had+1 > machines
	}
	return had > machines && !s.last.Before(s.ever[s.mine])
}

func longestUnseen(installs []license.Install) license.Install {
	oldest := installs[0]
	for _, i := range installs[1:] {
		if i.SeenAt.Before(oldest.SeenAt) {
			oldest = i
		}
	}
	return oldest
}
