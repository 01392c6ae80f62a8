package authority_test

import (
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// The staff moves a licence off a machine that is gone: that counts as one transfer,
// under the same policy, and the new machine's activation does not count again.
func TestMoveOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Transfers = license.TransferPolicy{PerYear: 2, CoolDown: 24 * time.Hour} })
	is := w.issue()
	a, b, c := w.install("a"), w.install("b"), w.install("c")
	move := func(m authority.MoveOff) (authority.MovedOff, error) {
		return w.a.MoveOff(t.Context(), admin, is.License.ID, m)
	}
	_, err := move(authority.MoveOff{})
	w.must(err, license.BadRequest) // nobody uses it
	w.must(a.activate(is.Code), "")
	w.must(b.activate(is.Code), license.MachineLimit)
	_, err = move(authority.MoveOff{Install: "nobody"})
	w.must(err, license.NotFound)
	_, err = move(authority.MoveOff{Reason: "a\nb"})
	w.must(err, license.BadRequest)
	w.wantListed("refused", valid, a)
	w.wantMoves(is.License.ID, 0)

	done, err := move(authority.MoveOff{Reason: "the disk is broken"})
	w.must(err, "")
	if len(done.Ended) != 1 || done.Ended[0].State != license.InstallTransferred || done.Forced {
		t.Errorf("%+v", done)
	}
	w.wantMoves(is.License.ID, 1)
	w.wantListed("moved off", revoked, a)
	done, err = move(authority.MoveOff{Install: a.held.InstallID})
	if w.must(err, ""); len(done.Ended) != 0 {
		t.Errorf("again: %+v", done)
	}
	w.must(a.refresh(), license.Replaced)
	if l, _ := w.license(is.License.ID); l.Forks != 0 {
		t.Errorf("%d forks of an install that could not know", l.Forks)
	}
	w.must(b.activate(is.Code), "") // within the cool-down of the staff's move
	w.wantMoves(is.License.ID, 1)

	// The limits are the customer's and the staff's alike; the staff can overrule them.
	_, err = move(authority.MoveOff{})
	w.must(err, license.TransferLimit)
	w.wantListed("refused", valid, b)
	done, err = move(authority.MoveOff{Force: true})
	if w.must(err, ""); !done.Forced {
		t.Error("what the policy refuses is not recorded as forced")
	}
	w.wantMoves(is.License.ID, 2)
	w.must(c.activate(is.Code), "")
	w.wantMoves(is.License.ID, 2)

	// The machine that was left is one more move when it comes back.
	w.pass(48 * time.Hour)
	_, err = c.send(c.request(token.OpDeactivate))
	w.must(err, "")
	w.must(w.install("a").activate(is.Code), license.TransferLimit)

	w.must(w.edit(is.License.ID, license.EventRelease), "")
	_, err = move(authority.MoveOff{Install: c.held.InstallID})
	w.must(err, "") // it has ended
}

// A floating seat is freed at no cost, and a released licence moves nowhere.
func TestMoveOffFloating(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Mode, p.FloatingLease = license.ModeFloating, time.Hour })
	is := w.issue()
	a, b := w.install("a"), w.install("b")
	w.must(a.activate(is.Code), "")
	w.must(b.activate(is.Code), license.MachineLimit)
	if _, err := w.a.MoveOff(t.Context(), admin, is.Code.Reveal(), authority.MoveOff{}); err != nil {
		t.Fatal(err)
	}
	w.wantMoves(is.License.ID, 0)
	w.must(b.activate(is.Code), "")
	w.must(w.edit(is.License.ID, license.EventRelease), "")
	_, err := w.a.MoveOff(t.Context(), admin, is.License.ID, authority.MoveOff{})
	w.must(err, license.Released)
}

// What was counted when the staff moved a licence off a machine is not counted again
// by the next one, whatever moves there were before, and only once.
func TestMoveOffAfterAMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Transfers = license.TransferPolicy{PerYear: 9} })
	is := w.issue()
	a, b, c, d := w.install("a"), w.install("b"), w.install("c"), w.install("d")
	move := func(i *install) {
		t.Helper()
		_, err := i.send(i.request(token.OpTransfer, withCode(is.Code)))
		w.must(err, "")
	}
	off := func() {
		t.Helper()
		_, err := w.a.MoveOff(t.Context(), admin, is.License.ID, authority.MoveOff{})
		w.must(err, "")
	}
	w.must(a.activate(is.Code), "")
	w.pass(time.Hour)
	move(b)
	w.wantMoves(is.License.ID, 1)
	w.pass(time.Hour)
	off()
	w.wantMoves(is.License.ID, 2)
	w.pass(time.Hour)
	w.must(c.activate(is.Code), "")
	w.wantMoves(is.License.ID, 2)

	// A machine that had the licence before takes the place of one that was left.
	w.pass(time.Hour)
	off()
	w.wantMoves(is.License.ID, 3)
	w.pass(time.Hour)
	again := w.install("a")
	w.must(again.activate(is.Code), "")
	w.wantMoves(is.License.ID, 3)
	w.pass(time.Hour)
	move(d)
	w.wantMoves(is.License.ID, 4)
}
