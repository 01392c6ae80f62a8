package authority_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Of a hundred machines that activate a one-machine code at once, one gets it.
func TestHundredMachines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	const n = 100
	results := make([]license.Reason, n)
	var wg sync.WaitGroup
	for k := range n {
		i := w.install(string(rune('A'+k%26)) + string(rune('a'+k/26)))
		raw := i.request(token.OpActivate, withCode(is.Code))
		wg.Go(func() {
			_, err := w.a.Request(t.Context(), raw, license.Code{}, authority.Caller{})
			results[k] = license.ReasonOf(err)
		})
	}
	wg.Wait()
	slices.Sort(results)
	if results[0] != "" || results[1] != license.MachineLimit || results[n-1] != license.MachineLimit {
		t.Errorf("results: %v", slices.Compact(results))
	}
	if _, installs := w.license(is.License.ID); len(installs) != 1 {
		t.Errorf("%d installs were bound", len(installs))
	}
}

// A machine that is set up anew takes no second seat, and the fourth install on
// it makes the longest unseen leave.
func TestSameMachineAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	var all []*install
	for range 3 {
		i := w.install("machine-1")
		w.must(i.activate(is.Code), "")
		w.pass(time.Minute)
		all = append(all, i)
	}
	w.must(all[0].refresh(), "")
	w.pass(time.Minute)
	fourth := w.install("machine-1")
	w.must(fourth.activate(is.Code), "")
	w.must(all[1].refresh(), license.Replaced)
	w.must(all[0].refresh(), "")
	w.must(all[2].refresh(), "")
	w.must(all[1].activate(is.Code), license.Replaced)
	_, installs := w.license(is.License.ID)
	for _, i := range installs {
		if i.Seat != installs[0].Seat {
			t.Error("one machine has two seats")
		}
	}
	w.must(w.install("machine-2").activate(is.Code), license.MachineLimit)
}

func TestDeactivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	raw := i.request(token.OpDeactivate)
	ans, err := i.send(raw)
	w.must(err, "")
	if ans.License != "" || ans.InstallID != "" || ans.LicenseID != is.License.ID {
		t.Errorf("answered with %+v", ans)
	}
	w.pass(time.Hour)
	again, err := i.send(raw)
	w.must(err, "")
	if again != ans {
		t.Error("the same deactivation has another answer")
	}
	w.must(i.refresh(), license.Unauthorized)
	w.must(i.activate(is.Code), license.Unauthorized)
	w.must(w.install("machine-1").activate(is.Code), "")
	if l, _ := w.license(is.License.ID); len(l.Transfers) != 0 {
		t.Error("coming back to the same machine counted as a move")
	}
}

// Every move to another machine counts, whichever operations did it.
func TestMovesCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	a := w.install("machine-a")
	w.must(a.activate(is.Code), "")
	_, err := a.send(a.request(token.OpDeactivate))
	w.must(err, "")
	w.pass(time.Hour)
	b := w.install("machine-b")
	w.must(b.activate(is.Code), "")
	w.pass(time.Hour)
	c := w.install("machine-c")
	transfer := func() error {
		_, err := c.send(c.request(token.OpTransfer, withCode(is.Code), func(r *token.Request) { r.From = b.key.ID }))
		return err
	}
	w.must(transfer(), license.TransferLimit) // cools down
	w.pass(24 * time.Hour)
	w.must(transfer(), "")
	w.must(b.refresh(), license.Replaced)
	w.must(c.refresh(), "")
	w.pass(48 * time.Hour)
	d := w.install("machine-d")
	_, err = d.send(d.request(token.OpTransfer, withCode(is.Code))) // the only one need not be named
	w.must(err, "")
	w.pass(48 * time.Hour)
	e := w.install("machine-e")
	_, err = e.send(e.request(token.OpTransfer, withCode(is.Code)))
	w.must(err, license.TransferLimit)
	if l, _ := w.license(is.License.ID); len(l.Transfers) != 3 {
		t.Errorf("%d moves were counted", len(l.Transfers))
	}
}

func TestFloating(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Mode, p.Machines, p.Binding = license.ModeFloating, 2, license.PolicyNone })
	is := w.issue()
	a, b, c := w.install("a"), w.install("b"), w.install("c")
	w.must(a.activate(is.Code), "")
	w.must(b.activate(is.Code), "")
	err := c.activate(is.Code)
	w.must(err, license.MachineLimit)
	if e := (*license.Error)(nil); !asError(err, &e) || e.RetryAfter != time.Minute { // by which a client knows that a seat may be free soon
		t.Errorf("to be tried again: %v", err)
	}
	w.pass(10 * time.Minute)
	w.must(b.refresh(), "")
	w.pass(6 * time.Minute) // the lease of a has run out
	w.must(c.activate(is.Code), "")
	w.must(a.refresh(), license.MachineLimit)
	w.pass(16 * time.Minute)
	w.must(a.refresh(), "")
}

// A machine that only comes back to its place has not moved, whoever else was
// set up anew meanwhile; one whose place another machine took has.
func TestComingBackIsNoMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Machines = 2 })
	is := w.issue()
	at := func(machine string) *install {
		i := w.install(machine)
		w.must(i.activate(is.Code), "")
		w.pass(25 * time.Hour)
		return i
	}
	leave := func(i *install) {
		_, err := i.send(i.request(token.OpDeactivate))
		w.must(err, "")
		w.pass(25 * time.Hour)
	}
	moves := func(want int) {
		t.Helper()
		if l, _ := w.license(is.License.ID); len(l.Transfers) != want {
			t.Errorf("%d moves, want %d", len(l.Transfers), want)
		}
	}
	a, b := at("a"), at("b")
	leave(b)
	at("c") // the third machine of two
	moves(1)
	leave(a)
	at("c") // set up anew
	at("a")
	moves(1)
	_ = b
}

// A transfer frees the place that it names, also from a machine that has one.
func TestTransferFreesWhatItNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Machines = 2 })
	is := w.issue()
	a, b := w.install("a"), w.install("b")
	w.must(a.activate(is.Code), "")
	w.must(b.activate(is.Code), "")
	again := w.install("b")
	_, err := again.send(again.request(token.OpTransfer, withCode(is.Code), func(r *token.Request) { r.From = a.key.ID }))
	w.must(err, "")
	w.must(a.refresh(), license.Replaced)
	w.must(b.refresh(), "")
	_, err = b.send(b.request(token.OpTransfer, withCode(is.Code)))
	w.must(err, license.Conflict) // by a key that has its place
	c := w.install("c")
	_, err = c.send(c.request(token.OpTransfer, withCode(is.Code), func(r *token.Request) { r.From = w.install("d").key.ID }))
	w.must(err, license.BadRequest)
}

// A transfer to a machine that has its place makes room there too.
func TestTransferKeepsTheSeatsBound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Machines, p.InstallsPerMachine = 2, 1 })
	is := w.issue()
	a, b := w.install("a"), w.install("b")
	w.must(a.activate(is.Code), "")
	w.must(b.activate(is.Code), "")
	again := w.install("b")
	_, err := again.send(again.request(token.OpTransfer, withCode(is.Code), func(r *token.Request) { r.From = a.key.ID }))
	w.must(err, "")
	w.must(a.refresh(), license.Replaced)
	w.must(b.refresh(), license.Replaced)
	w.must(again.refresh(), "")
}

// Who lost the answer to a deactivation and the request with it asks again in
// other words.
func TestDeactivateInOtherWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	for range 2 {
		_, err := i.send(i.request(token.OpDeactivate))
		w.must(err, "")
		w.pass(time.Minute)
	}
	w.must(i.refresh(), license.Unauthorized)
	if _, installs := w.license(is.License.ID); installs[0].State != license.InstallDeactivated {
		t.Errorf("state %s", installs[0].State)
	}
}

// A code that is set up again and again is refused for a while: each time leaves
// a record.
func TestActivatedTooOften(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pass(30 * day)
	is := w.issue()
	for range 80 {
		w.must(w.install("machine-1").activate(is.Code), "")
	}
	w.must(w.install("machine-1").activate(is.Code), license.RateLimited)
	w.pass(25 * time.Hour)
	w.must(w.install("machine-1").activate(is.Code), "")
	// They were dated by a clock that was ahead; it does not last until that date.
	w.set(-20 * day)
	w.accepted()
	w.must(w.install("machine-1").activate(is.Code), "")
}

// Whoever types an identification code does not share a seat by it.
func TestTypedCodeBindsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	typed := func(r *token.Request) {
		r.Fingerprint.Code, _ = license.DigestValue(r.Fingerprint.Salt, license.KindCode, "1234")
	}
	a, b := w.install("a"), w.install("b")
	_, err := a.send(a.request(token.OpActivate, withCode(is.Code), typed))
	w.must(err, "")
	_, err = b.send(b.request(token.OpActivate, withCode(is.Code), typed))
	w.must(err, license.MachineLimit)
}
