package authority_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// Every change of a licence or an install shows in the list, and only that.
func TestStatusFollowsFacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Machines, p.Transfers = 3, license.TransferPolicy{PerYear: 100} })
	is, bystander := w.issue(), w.install("bystander")
	w.must(bystander.activate(w.issue().Code), "")
	a, b := w.install("a"), w.install("b")
	w.must(a.activate(is.Code), "")
	w.must(b.activate(is.Code), "")
	if a.listID() != b.listID() || a.held.Status.Index == b.held.Status.Index {
		t.Errorf("places are %+v and %+v", a.held.Status, b.held.Status)
	}
	w.wantListed("bound", valid, a, b)
	for _, step := range []struct {
		event license.Event
		pass  time.Duration
		want  license.ListStatus
	}{
		{license.EventSuspend, 0, suspended},
		{license.EventResume, 0, valid},
		{license.EventRevoke, 0, suspended},
		{license.EventUndoRevoke, 0, valid},
		{license.EventSuspend, 0, suspended},
		{license.EventRevoke, 0, suspended},
		{license.EventUndoRevoke, 0, suspended}, // the hold is still there
		{license.EventResume, 0, valid},
		{license.EventRevoke, day - time.Second, suspended},
		{"", time.Second, revoked}, // now it is final
		{license.EventRelease, 0, revoked},
	} {
		if step.event != "" {
			w.must(w.edit(is.License.ID, step.event), "")
		}
		w.pass(step.pass)
		w.wantListed(string(step.event), step.want, a, b)
	}
	w.wantListed("another licence", valid, bystander)

	is = w.issue()
	a, b = w.install("a"), w.install("b")
	w.must(a.activate(is.Code), "")
	w.must(b.activate(is.Code), "")
	w.pass(400 * day)
	w.wantListed("expired", valid, a, b)
	_, _, err := w.a.Edit(t.Context(), admin, is.License.ID, authority.Edit{Event: license.EventRenew, For: 900 * day})
	w.must(err, "")
	w.wantListed("renewed", valid, a, b)
	_, err = a.send(a.request(token.OpDeactivate))
	w.must(err, "")
	w.wantListed("deactivated", revoked, a)
	w.wantListed("the other one", valid, b)
	c := w.install("b") // the same machine, set up anew more often than has room
	for range 3 {
		w.pass(time.Hour)
		c = w.install("b")
		w.must(c.activate(is.Code), "")
	}
	w.wantListed("replaced", revoked, b)
	w.wantListed("who took its place", valid, c)
	moved := w.install("elsewhere")
	_, err = moved.send(moved.request(token.OpTransfer, withCode(is.Code), func(r *token.Request) { r.From = c.key.ID }))
	w.must(err, "")
	w.wantListed("transferred", revoked, c)
	w.wantListed("to another machine", valid, moved)
	stays := w.install("a third")
	w.must(stays.activate(is.Code), "")
	_, _, err = w.a.RemoveInstall(t.Context(), admin, is.License.ID, moved.key.ID, "lost")
	w.must(err, "")
	w.wantListed("removed", revoked, moved)
	w.wantListed("who was not removed", valid, stays)
	w.must(w.edit(is.License.ID, license.EventRelease), "")
	w.wantListed("released", revoked, a, b, c, moved, stays)
}

// What a marketplace says shows as well, what was heard before the code was
// presented included.
func TestStatusFollowsMarketplace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, end := w.sell("PL001")
	i := w.install("machine-1")
	w.must(i.activate(c), "")
	for n, step := range []struct {
		event license.Event
		want  license.ListStatus
	}{
		{license.EventFreeze, suspended}, {license.EventFreeze, suspended}, {license.EventSetExpiry, suspended}, {license.EventUnfreeze, valid}, {license.EventRelease, revoked},
	} {
		w.pass(time.Second)
		_, err := w.say(c, step.event, byte(n), expiring(end))
		w.must(err, "")
		w.wantListed(string(step.event), step.want, i)
	}
}

// An install that a fork ended is listed, under every policy that ends any.
func TestStatusOfForks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, forks(license.ForkRefuseBoth))
	_, original, duplicate := w.clone()
	w.wantListed("before", valid, original, duplicate)
	w.must(original.refresh(), license.CloneDetected)
	w.wantListed("after", revoked, original, duplicate)
}

// Random stories: whatever happens, in whatever order, the lists say what the
// facts say, no place is given twice, and of two lists with different content
// the later one has the later date, over restarts too.
func TestStatusAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, func(p *license.Product) { p.Machines, p.Transfers = 2, license.TransferPolicy{PerYear: 1000} })
		w.a.SetStatusListLength(8)
		c, end := w.sell("PL001")
		manual := w.issue()
		var installs []*install
		dates := make(map[string]time.Time)
		contents := make(map[string]string)
		for step := range rapid.IntRange(1, 25).Draw(rt, "steps") {
			one := func() *install {
				if len(installs) == 0 {
					return nil
				}
				return rapid.SampledFrom(installs).Draw(rt, "install")
			}
			switch kind := rapid.IntRange(0, 9).Draw(rt, "kind"); kind {
			case 0, 1, 2:
				i := w.install(fmt.Sprint("machine-", rapid.IntRange(0, 3).Draw(rt, "machine")))
				op := rapid.SampledFrom([]token.Op{token.OpActivate, token.OpTransfer}).Draw(rt, "op")
				if _, err := i.send(i.request(op, withCode(rapid.SampledFrom([]license.Code{c, manual.Code}).Draw(rt, "code")))); err == nil {
					installs = append(installs, i)
				}
			case 3:
				if i := one(); i != nil {
					_, _ = i.send(i.request(rapid.SampledFrom([]token.Op{token.OpRefresh, token.OpDeactivate}).Draw(rt, "op")))
				}
			case 4, 5:
				_ = w.edit(manual.License.ID, rapid.SampledFrom([]license.Event{
					license.EventSuspend, license.EventResume, license.EventRevoke, license.EventUndoRevoke, license.EventUndoRevoke,
				}).Draw(rt, "event"))
			case 6:
				_, _ = w.say(c, rapid.SampledFrom([]license.Event{license.EventFreeze, license.EventUnfreeze, license.EventSetExpiry}).Draw(rt, "event"), byte(step), expiring(end))
			case 7:
				w.pass(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, day, 2 * day, -time.Minute}).Draw(rt, "pass"))
			case 8:
				w.again()
				if err := w.a.LoadStatusLists(t.Context()); err != nil {
					rt.Fatal(err)
				}
				w.a.SetStatusListLength(8)
			case 9: // and nothing, which leaves several changes to one list
				continue
			}
			for wait := w.publish(); wait <= time.Second; wait = w.publish() {
				w.pass(time.Second) // this second has had its lists
			}
			if w.clock().Before(dates["the clock"]) {
				continue // a revocation that was final once stays so while the clock is behind
			}
			dates["the clock"] = w.clock()
			if err := w.agree(); err != nil {
				rt.Fatal(err)
			}
			for _, i := range installs {
				l := w.shortList(i.listID())
				if at := l.IssuedAt; at.Before(dates[l.URI]) || at.Equal(dates[l.URI]) && l.List != contents[l.URI] || at.Sub(w.clock()) > time.Minute+time.Second {
					rt.Fatalf("a list of %s after one of %s, at %s", at, dates[l.URI], w.clock())
				}
				dates[l.URI], contents[l.URI] = l.IssuedAt, l.List
			}
		}
	})
}

// The list goes along with every answer but that to a deactivation; the same
// request gets the same licence, and whatever the list says by then.
func TestStatusAlongAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.StatusMaxAge = 100 * day })
	is := w.issue()
	i := w.install("machine-1")
	raw := i.request(token.OpActivate, withCode(is.Code))
	first, err := i.send(raw)
	w.must(err, "")
	l, err := token.VerifyStatusList(first.Status, w.ring.KeySet(), token.ExpectStatusList{URI: i.held.Status.URI, Issuer: issuer})
	w.must(err, "")
	if status, ok := l.At(i.held.Status.Index); !ok || status != valid || l.ExpiresAt.Sub(l.IssuedAt) != 100*day {
		t.Errorf("status %d, %v; life %s", status, ok, l.ExpiresAt.Sub(l.IssuedAt))
	}
	if i.held.StatusMaxAge != 100*day {
		t.Errorf("the licence takes lists of %s", i.held.StatusMaxAge)
	}
	other := w.install("machine-2")
	w.must(other.activate(w.issue().Code), "")
	w.pass(time.Minute)
	_, err = other.send(other.request(token.OpDeactivate))
	w.must(err, "")
	w.publish()
	again, err := i.send(raw)
	w.must(err, "")
	if again.License != first.License || again.Time != first.Time || again.Status == first.Status {
		t.Error("the same request: another licence, or the same list")
	}
	place := i.held.Status
	w.must(i.refresh(), "")
	if i.held.Status != place {
		t.Errorf("the place is %+v, and was %+v", i.held.Status, place)
	}
	gone, err := i.send(i.request(token.OpDeactivate))
	w.must(err, "")
	if gone.Status != "" {
		t.Error("a deactivation is answered with a list")
	}
}

// An install that was bound before there were lists gets its place with the
// next licence, and keeps it.
func TestStatusOfOldInstalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	drop := func() {
		err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			old, err := tx.Install(ctx, is.License.ID, i.key.ID)
			if err != nil {
				return err
			}
			old.Status = license.StatusRef{}
			return tx.UpdateInstall(ctx, old)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	drop()
	w.must(w.edit(is.License.ID, license.EventSuspend), "")
	w.must(w.edit(is.License.ID, license.EventResume), "")
	w.publish()
	if err := w.agree(); err != nil {
		t.Error(err)
	}
	first := i.held.Status
	w.must(i.refresh(), "")
	if i.held.Status == first {
		t.Error("it has the place of before")
	}
	place := i.held.Status
	w.must(w.edit(is.License.ID, license.EventSuspend), "")
	w.wantListed("with its new place", suspended, i)
	w.must(w.edit(is.License.ID, license.EventResume), "")
	w.must(i.refresh(), "")
	if i.held.Status != place {
		t.Errorf("the place is %+v, and was %+v", i.held.Status, place)
	}
	w.wantListed("resumed", valid, i)
	drop()
	_, err := i.send(i.request(token.OpDeactivate))
	w.must(err, "")
	w.wantListed("deactivated without a place", valid)
}

// A list that is full is followed by a new one, also where the clock was set
// back; the full one is published all the same.
func TestStatusListIsFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Machines = 100 })
	w.a.SetStatusListLength(4)
	is := w.issue()
	var installs []*install
	lists := make(map[string]map[int]bool)
	for n := range 10 {
		if n == 4 {
			w.set(-5 * time.Minute)
		}
		i := w.install(fmt.Sprint("machine-", n))
		w.must(i.activate(is.Code), "")
		installs = append(installs, i)
		if lists[i.listID()] == nil {
			lists[i.listID()] = make(map[int]bool)
		}
		if index := i.held.Status.Index; lists[i.listID()][index] || index < 0 || index >= 4 {
			t.Errorf("index %d of %s", index, i.listID())
		}
		lists[i.listID()][i.held.Status.Index] = true
	}
	if len(lists) != 3 || !slices.IsSortedFunc(installs, func(a, b *install) int { return strings.Compare(a.listID(), b.listID()) }) {
		t.Errorf("%d lists: %v", len(lists), lists)
	}
	w.must(w.edit(is.License.ID, license.EventSuspend), "")
	w.publish()
	w.pass(time.Second)
	w.publish()
	for _, i := range installs {
		if got, _ := w.shortList(i.listID()).At(i.held.Status.Index); got != suspended {
			t.Errorf("%s is listed as %d", i.machine, got)
		}
	}
}

// Whoever asks for a list is answered from memory, and for one that there is
// not without a look at the store.
func TestStatusListAsked(t *testing.T) {
	t.Parallel()
	w, f := faultWorld(t)
	i := w.install("machine-1")
	w.must(i.activate(w.issue().Code), "")
	id := i.listID()
	f.Reset()
	f.FailCall(func(faultstore.Call) error { return faultstore.ErrInjected })
	f.FailUpdate(func(faultstore.Update) faultstore.Fault { return faultstore.NotDone })
	for range 3 {
		if _, err := w.a.StatusList(t.Context(), id); err != nil {
			t.Error(err)
		}
		for _, none := range []string{"", "sl_", id[:len(id)-1], id + "0", "../" + id, strings.ToUpper(id)} {
			if _, err := w.a.StatusList(t.Context(), none); license.ReasonOf(err) != license.NotFound {
				t.Errorf("list %q: %v", none, err)
			}
		}
	}
	if f.Calls() != 0 || f.Updates() != 0 {
		t.Errorf("%d calls and %d updates", f.Calls(), f.Updates())
	}
}
