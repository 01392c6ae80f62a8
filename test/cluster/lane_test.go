package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// lane is one licence and all that happens to it, one thing after the other. What
// happens follows from the seed, and so does what comes of it, whoever answers
// and however often it has to be asked for: trace is the same each time.
type lane struct {
	m      *merchant
	n      int
	random *rand.Rand
	told   func() // that something was answered

	id       string // of the licence
	code     string
	bought   sandbox.Order // zero for one that the merchant has issued
	machines int           // that were tried
	installs []*install
	renewed  int
	trace    []string
	err      error // why it could not go on
}

func (m *merchant) newLane(seed uint64, n int, told func()) *lane {
	return &lane{m: m, n: n, random: rand.New(rand.NewPCG(seed, uint64(n))), told: told}
}

// isBought reports whether the licence of a lane comes from the marketplace.
func (l *lane) isBought() bool { return l.n%2 == 1 }

func (l *lane) run(ctx context.Context, steps int) {
	if l.err = l.begin(ctx); l.err != nil {
		return
	}
	for k := range steps {
		what, err := l.step(ctx, k)
		if _, answered := errors.AsType[*license.Error](err); err != nil && !answered {
			l.err = fmt.Errorf("lane %d, step %d: %s: %w", l.n, k, what, err)
			return
		}
		l.note(what, err)
	}
}

// note writes down what came of a step.
func (l *lane) note(what string, err error) {
	came := "done"
	if err != nil {
		came = string(license.ReasonOf(err))
	}
	l.trace = append(l.trace, what+": "+came)
	l.told()
}

// begin gets the licence, and the first install of it.
func (l *lane) begin(ctx context.Context) error {
	machines := 1 + l.random.IntN(3)
	if l.isBought() {
		o, err := l.m.market.Buy(ctx, "OFFI1", int64(machines), 365*24*time.Hour)
		if err != nil {
			return err
		}
		l.bought, l.code = o, o.Code.Reveal()
	} else {
		var out adminwire.LicenseList
		err := l.m.manage(ctx, http.MethodPost, adminwire.PathLicenses, fmt.Sprint("issue-", l.n),
			adminwire.Issue{Product: "cad", For: "365d", Machines: machines}, &out)
		if err != nil {
			return err
		}
		if len(out.Licenses) != 1 {
			return fmt.Errorf("%d licences were issued", len(out.Licenses))
		}
		l.id, l.code = out.Licenses[0].ID, out.Licenses[0].Code
	}
	what, err := l.activate(ctx)
	if l.note(what, err); err != nil {
		return err
	}
	if l.isBought() {
		var is adminwire.License
		if err := l.m.manage(ctx, http.MethodPost, adminwire.PathLookup, "", adminwire.Lookup{Ref: l.code}, &is); err != nil {
			return err
		}
		l.id = is.ID
	}
	return nil
}

// step is one thing that happens.
func (l *lane) step(ctx context.Context, k int) (what string, err error) {
	switch draw := l.random.IntN(10); {
	case draw < 2:
		return l.activate(ctx)
	case draw < 5:
		return l.ask(ctx, token.OpRefresh)
	case draw < 6:
		return l.ask(ctx, token.OpDeactivate)
	case l.isBought():
		return l.happen(ctx, draw)
	default:
		return l.edit(ctx, k, draw)
	}
}

// activate has the product activated on another machine. On one that has it already
// the older install would be replaced, and of two that are made in one second
// nobody knows which that is.
func (l *lane) activate(ctx context.Context) (what string, err error) {
	l.machines++
	what = fmt.Sprint("activate on machine ", l.machines)
	i, err := newInstall(fmt.Sprintf("lane-%d-machine-%d", l.n, l.machines))
	if err != nil {
		return what, err
	}
	if i.last, err = i.Activation(l.code); err != nil {
		return what, err
	}
	answer, err := l.m.send(ctx, i.last)
	if err == nil {
		i.held = answer.License
		l.installs = append(l.installs, i)
	}
	return what, err
}

// ask has one of the installs ask for something.
func (l *lane) ask(ctx context.Context, op token.Op) (what string, err error) {
	n := l.random.IntN(len(l.installs))
	i := l.installs[n]
	what = fmt.Sprint(op, " of install ", n)
	raw, err := i.request(op)
	if err != nil {
		return what, err
	}
	answer, err := l.m.send(ctx, raw)
	if err != nil {
		return what, err
	}
	i.last = raw
	if op == token.OpDeactivate {
		i.ended = true
		return what, nil
	}
	i.held = answer.License
	return what, nil
}

// firstEnd is what the ends that the staff sets come after.
var firstEnd = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)

// edit is what the staff does, each time once, however often it is asked for.
func (l *lane) edit(ctx context.Context, k, draw int) (what string, err error) {
	path, in := adminwire.PathSuspend, any(struct{}{})
	switch {
	case draw >= 9:
		end := firstEnd.AddDate(0, 0, l.renewed+1)
		path, in = adminwire.PathRenew, adminwire.Renew{ExpiresAt: &end}
	case draw >= 7:
		path = adminwire.PathResume
	}
	var out adminwire.Edited
	err = l.m.manage(ctx, http.MethodPost, strings.Replace(path, "{id}", l.id, 1), fmt.Sprintf("edit-%d-%d", l.n, k), in, &out)
	if err == nil && path == adminwire.PathRenew {
		l.renewed++
	}
	return strings.TrimPrefix(path, adminwire.PathLicense+"/"), err
}

// happen is what happens at the marketplace, which tells the merchant.
func (l *lane) happen(ctx context.Context, draw int) (what string, err error) {
	code := l.bought.Ref()
	switch {
	case draw >= 9:
		what = "renew"
		_, err = l.m.market.Renew(code, 30*24*time.Hour)
	case draw >= 7:
		what = "unfreeze"
		err = l.m.market.Unfreeze(code)
	default:
		what = "freeze"
		err = l.m.market.Freeze(code)
	}
	if errors.Is(err, sandbox.ErrState) {
		return what + ", which cannot be", nil
	}
	if err != nil {
		return what, err
	}
	return what, repeat(ctx, func(context.Context) error {
		state, err := l.m.market.State(code)
		if err == nil && state.Pending > 0 {
			err = fmt.Errorf("%d messages wait", state.Pending)
		}
		return err
	})
}

// race has so many copies activated with one code at once: as many succeed as
// there are seats, and the others are told that there are no more.
func (m *merchant) race(ctx context.Context, copies, seats int) (id string, done int, err error) {
	var out adminwire.LicenseList
	if err := m.manage(ctx, http.MethodPost, adminwire.PathLicenses, "the race",
		adminwire.Issue{Product: "cad", For: "365d", Machines: seats}, &out); err != nil {
		return "", 0, err
	}
	var mu sync.Mutex
	var racers sync.WaitGroup
	for n := range copies {
		racers.Go(func() {
			i, failure := newInstall(fmt.Sprint("racer-", n))
			var raw string
			if failure == nil {
				raw, failure = i.Activation(out.Licenses[0].Code)
			}
			if failure == nil {
				_, failure = m.send(ctx, raw)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case failure == nil:
				done++
			case license.ReasonOf(failure) != license.MachineLimit:
				err = failure
			}
		})
	}
	racers.Wait()
	return out.Licenses[0].ID, done, err
}
