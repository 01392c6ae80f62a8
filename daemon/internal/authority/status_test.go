package authority_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

const (
	valid     = license.StatusValid
	revoked   = license.StatusRevoked
	suspended = license.StatusSuspended
)

// publish has the lists published and returns when they are looked at again.
func (w *world) publish() time.Duration {
	w.t.Helper()
	wait, err := w.a.Publish(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return wait
}

// list is a published list, verified as a client does.
func (w *world) list(id string) token.StatusList {
	w.t.Helper()
	raw, err := w.a.StatusList(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	set, err := token.VerifyKeySet(w.ring.KeySet().Raw, w.ring.Anchors())
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := token.VerifyStatusList(raw.Token, set, token.ExpectStatusList{Issuer: issuer, URI: issuer + "/v1/status/" + id})
	if err != nil {
		w.t.Fatal(err)
	}
	if l.TTL != 15*time.Minute || !l.ExpiresAt.Equal(l.IssuedAt.Add(72*time.Hour)) || l.Len() != license.StatusListLength {
		w.t.Errorf("the list has ttl %s, life %s, %d places", l.TTL, l.ExpiresAt.Sub(l.IssuedAt), l.Len())
	}
	return l
}

// listID is the list that an install's licence names.
func (i *install) listID() string {
	i.w.t.Helper()
	id, ok := strings.CutPrefix(i.held.Status.URI, issuer+"/v1/status/")
	if !ok || !strings.HasPrefix(id, "sl_") {
		i.w.t.Fatalf("the licence names the list %q", i.held.Status.URI)
	}
	return id
}

// listed is what the published list says of an install.
func (i *install) listed() license.ListStatus {
	i.w.t.Helper()
	status, ok := i.w.list(i.listID()).At(i.held.Status.Index)
	if !ok {
		i.w.t.Fatalf("index %d is beyond the end", i.held.Status.Index)
	}
	return status
}

// wantListed publishes and checks what is said of installs, and that all lists
// agree with all facts.
func (w *world) wantListed(what string, want license.ListStatus, installs ...*install) {
	w.t.Helper()
	if wait := w.publish(); wait <= time.Second && w.agree() != nil { // this second has had its lists
		w.pass(wait)
		w.publish()
	}
	for _, i := range installs {
		if got := i.listed(); got != want {
			w.t.Errorf("%s: %s is listed as %d, want %d", what, i.machine, got, want)
		}
	}
	if err := w.agree(); err != nil {
		w.t.Errorf("%s: %v", what, err)
	}
}

// agree compares every published list with all facts, both ways, and makes
// sure that no place was given twice.
func (w *world) agree() error {
	all, _, err := w.a.Licenses(w.t.Context(), authority.Filter{}, authority.Page{Limit: store.MaxPage})
	if err != nil {
		return err
	}
	want := make(map[license.StatusRef]license.ListStatus)
	for _, l := range all {
		for _, i := range l.Installs {
			if i.Status == (license.StatusRef{}) {
				continue
			}
			if _, twice := want[i.Status]; twice {
				return fmt.Errorf("place %+v was given twice", i.Status)
			}
			want[i.Status] = license.StatusOf(l.License, i, day).At(w.clock())
		}
	}
	var records []license.StatusList
	err = w.store.View(w.t.Context(), func(ctx context.Context, tx store.Tx) error {
		records, err = tx.StatusLists(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, record := range records {
		l, err := w.published(record.ID)
		if err != nil {
			return err
		}
		facts := make([]license.ListStatus, l.Len()) // valid where no install is
		for ref, status := range want {
			if ref.List == record.ID && ref.Index < len(facts) {
				facts[ref.Index] = status
			}
		}
		for index, status := range facts {
			if got, _ := l.At(index); got != status {
				return fmt.Errorf("place %d of %s is listed as %d, and the facts say %d", index, record.ID, got, status)
			}
		}
	}
	return nil
}

// shortList is a published list of any length.
func (w *world) shortList(id string) token.StatusList {
	w.t.Helper()
	l, err := w.published(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// published is that list, verified; the one that was verified last need not be
// verified again.
func (w *world) published(id string) (token.StatusList, error) {
	raw, err := w.a.StatusList(w.t.Context(), id)
	if err != nil {
		return token.StatusList{}, err
	}
	set := w.ring.KeySet()
	if known := w.lists[id]; known.list.Raw == raw.Token && known.under == set.Raw {
		return known.list, nil
	}
	l, err := token.VerifyStatusList(raw.Token, set, token.ExpectStatusList{})
	if err != nil {
		return token.StatusList{}, err
	}
	w.lists[id] = verifiedList{l, set.Raw}
	return l, nil
}

type verifiedList struct {
	list  token.StatusList
	under string // the key set
}

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

// After a restart a list that has not changed is the same to the byte, and one
// that has changed has a later date, in the same second too. Nothing is written
// for the former.
func TestStatusAfterRestart(t *testing.T) {
	t.Parallel()
	w, f := faultWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	id := i.listID()
	before, err := w.a.StatusList(t.Context(), id)
	w.must(err, "")
	restart := func() *authority.StatusList {
		t.Helper()
		w.again()
		if err := w.a.LoadStatusLists(t.Context()); err != nil {
			t.Fatal(err)
		}
		asking, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.a.StatusList(asking, id); license.ReasonOf(err) != license.ReadOnly {
			t.Errorf("before it was made: %v", err)
		}
		w.publish()
		l, err := w.a.StatusList(t.Context(), id)
		w.must(err, "")
		return l
	}
	w.pass(5 * time.Minute)
	f.Reset()
	if after := restart(); after.Token != before.Token || f.Updates() != 0 {
		t.Errorf("the list differs, or %d updates", f.Updates())
	}
	w.must(w.edit(is.License.ID, license.EventSuspend), "") // and it dies before the list is signed
	if after := restart(); !after.IssuedAt.After(before.IssuedAt) {
		t.Error("a list that has changed has no later date")
	}
	suspendedAt := w.list(id).IssuedAt
	w.wantListed("suspended", suspended, i)
	w.must(w.edit(is.License.ID, license.EventResume), "")
	if after := restart(); !after.IssuedAt.After(suspendedAt) {
		t.Error("in the same second: a list that has changed has no later date")
	}
	w.wantListed("resumed", valid, i)
	w.pass(16 * time.Minute)
	if after := restart(); !after.IssuedAt.Equal(w.clock()) {
		t.Errorf("a list that has grown old is of %s, at %s", after.IssuedAt, w.clock())
	}
}

// A list is dated anew when it is as old as its ttl, with the same statuses.
func TestStatusGrowsOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.install("machine-1")
	w.must(i.activate(w.issue().Code), "")
	first := w.list(i.listID())
	if wait := w.publish(); wait > time.Minute {
		t.Errorf("the next look is in %s", wait)
	}
	w.pass(15*time.Minute - time.Second)
	if wait := w.publish(); wait != time.Second {
		t.Errorf("the next look is in %s", wait)
	}
	if l := w.list(i.listID()); l.Raw != first.Raw {
		t.Error("it was signed anew without need")
	}
	w.pass(time.Second)
	w.publish()
	if l := w.list(i.listID()); !l.IssuedAt.Equal(w.clock()) || l.List != first.List {
		t.Errorf("it is of %s", l.IssuedAt)
	}
}

// Changes in one second: the first list is of that second, the second of the
// next, the third waits; each later one has a later date, none lies more than a
// second ahead, and what changed is there after a second at most.
func TestStatusDates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	last := w.list(i.listID())
	turns := []license.Event{license.EventSuspend, license.EventResume}
	for n := range 12 {
		w.must(w.edit(is.License.ID, turns[n%2]), "")
		waited := time.Duration(0)
		wait := w.publish()
		l := w.list(i.listID())
		for l.Raw == last.Raw {
			waited += wait
			if waited > time.Second {
				t.Fatalf("change %d does not show after a second", n)
			}
			w.pass(wait)
			wait = w.publish()
			l = w.list(i.listID())
		}
		if !l.IssuedAt.After(last.IssuedAt) || l.IssuedAt.Sub(w.clock()) > time.Second || (n == 0) != (waited == 0) {
			t.Errorf("list %d of %s after %s, at %s, after a wait of %s", n, l.IssuedAt, last.IssuedAt, w.clock(), waited)
		}
		last = l
	}
	// What was undone before it was published is no change.
	w.pass(time.Minute)
	w.must(w.edit(is.License.ID, license.EventSuspend), "")
	w.must(w.edit(is.License.ID, license.EventResume), "")
	w.publish()
	if l := w.list(i.listID()); l.Raw != last.Raw {
		t.Error("signed although nothing has changed")
	}
}

// Where the clock was set back a little, dates go on from the last one, and a
// revocation still shows at once.
func TestStatusClockBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	w.pass(time.Hour)
	w.publish()
	last := w.list(i.listID())
	w.set(-8 * time.Minute)
	for n, event := range []license.Event{license.EventSuspend, license.EventResume, license.EventRevoke} {
		w.must(w.edit(is.License.ID, event), "")
		if wait := w.publish(); n > 0 {
			w.pass(wait)
			w.publish()
		}
		l := w.list(i.listID())
		if ahead := l.IssuedAt.Sub(w.clock()); !l.IssuedAt.After(last.IssuedAt) || ahead > 8*time.Minute+time.Second {
			t.Errorf("%s: of %s after %s, at %s", event, l.IssuedAt, last.IssuedAt, w.clock())
		}
		last = l
	}
	if i.listed() != suspended {
		t.Errorf("a revocation is listed as %d", i.listed())
	}
}

// While the clock is not trusted nothing is signed and nothing becomes final;
// what was signed last is served, after a restart too. Once it is confirmed,
// installs that are bound then get a place in a list that has not seen the
// future, and what changes in the other one still counts as newer.
func TestStatusClockNotTrusted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Machines = 9 })
	is, other := w.issue(), w.issue()
	i, j := w.install("machine-1"), w.install("machine-2")
	w.must(i.activate(is.Code), "")
	w.must(j.activate(other.Code), "")
	w.must(w.edit(is.License.ID, license.EventRevoke), "")
	c, _ := w.sell("PL001")
	bought := w.install("machine-4")
	w.must(bought.activate(c), "")
	w.wantListed("revoked just now", suspended, i)
	last := w.list(i.listID())
	w.tick()
	w.set(40 * day)
	w.publish()
	if w.list(i.listID()).Raw != last.Raw {
		t.Error("another list is served")
	}
	w.again()
	if err := w.a.LoadStatusLists(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.publish()
	if w.list(i.listID()).Raw != last.Raw {
		t.Error("another list is served after a restart")
	}
	_, err := w.say(c, license.EventFreeze, 1) // what a marketplace says is heard under any clock
	w.must(err, "")
	if wait, err := w.a.Publish(t.Context()); license.ReasonOf(err) != license.Clock || wait > 5*time.Second {
		t.Errorf("under a clock that is not trusted: %v", err)
	}
	if w.list(i.listID()).Raw != last.Raw {
		t.Error("another list is served after a message")
	}
	w.accepted() // by mistake
	w.wantListed("frozen", suspended, bought)
	w.wantListed("revoked for good", revoked, i)
	future := w.list(i.listID())
	w.set(-40 * day)
	w.accepted()
	w.must(w.edit(other.License.ID, license.EventSuspend), "")
	w.publish()
	if l := w.list(j.listID()); j.listed() != suspended || !l.IssuedAt.After(future.IssuedAt) {
		t.Errorf("of %s after %s: listed as %d", l.IssuedAt, future.IssuedAt, j.listed())
	}
	fresh := w.install("machine-3")
	w.must(fresh.activate(w.issue().Code), "")
	if at := w.list(fresh.listID()).IssuedAt; fresh.listID() == i.listID() || at.Sub(w.clock()) > time.Second {
		t.Errorf("a new install is shown a list of %s, at %s", at, w.clock())
	}
}

// A list that a retired key signed serves until it is old; one whose key was
// revoked is signed anew at once.
func TestStatusKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	i := w.install("machine-1")
	w.must(i.activate(w.issue().Code), "")
	first := w.list(i.listID())
	w.pass(time.Minute)
	if _, err := w.a.RotateKeys(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	w.publish()
	if l := w.list(i.listID()); l.Raw != first.Raw {
		t.Error("signed anew although its key is only retired")
	}
	w.pass(15 * time.Minute)
	w.publish()
	second := w.list(i.listID())
	if second.KeyID == first.KeyID || second.KeyID != w.ring.Signing().ID {
		t.Errorf("signed by %s, then by %s", first.KeyID, second.KeyID)
	}
	w.pass(time.Second)
	w.revokeKey(second.KeyID)
	third := w.list(i.listID()) // verified under the set without that key
	if third.KeyID == second.KeyID || !third.IssuedAt.After(second.IssuedAt) {
		t.Errorf("signed by %s at %s after %s", third.KeyID, third.IssuedAt, second.IssuedAt)
	}
	// And after a restart.
	w.again()
	if err := w.a.LoadStatusLists(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.publish()
	if l := w.list(i.listID()); l.Raw != third.Raw {
		t.Error("after a restart it is another list")
	}
}

// A key set that revokes the key of a list is not confirmed to be installed
// before the list is signed anew, also where this second has had its lists.
func TestStatusKeyRevokedWithinTheSecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	is, i := w.issue(), w.install("machine-1")
	w.must(i.activate(is.Code), "")
	old := w.list(i.listID())
	if _, err := w.a.RotateKeys(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	w.must(w.edit(is.License.ID, license.EventSuspend), "")
	w.publish()
	ahead := w.list(i.listID())
	if !ahead.IssuedAt.After(w.clock()) || ahead.KeyID == old.KeyID {
		t.Fatalf("the second list of a second is of %s at %s", ahead.IssuedAt, w.clock())
	}
	w.revokeKey(ahead.KeyID)
	if l := w.list(i.listID()); l.KeyID == ahead.KeyID || !l.IssuedAt.After(ahead.IssuedAt) {
		t.Errorf("the list of %s is signed by %s", l.IssuedAt, l.KeyID)
	}
}

// The end of a licence writes the entries of the installs that were live, and
// no others, however many have come and gone.
func TestStatusWritesWhatChanges(t *testing.T) {
	t.Parallel()
	w, f := faultWorld(t, func(p *license.Product) {
		p.Mode, p.Machines, p.Binding, p.FloatingLease = license.ModeFloating, 3, license.PolicyNone, time.Hour
	})
	is := w.issue()
	for range 30 {
		i := w.install("m")
		w.must(i.activate(is.Code), "")
		_, err := i.send(i.request(token.OpDeactivate))
		w.must(err, "")
	}
	live := w.install("m")
	w.must(live.activate(is.Code), "")
	w.publish()
	count := func(what string, want int, do func()) {
		t.Helper()
		f.Reset()
		puts := 0
		f.FailUpdate(func(u faultstore.Update) faultstore.Fault {
			for _, c := range u.Calls {
				if c == "PutStatusEntry" {
					puts++
				}
			}
			return faultstore.None
		})
		do()
		f.Reset()
		if puts != want {
			t.Errorf("%s writes %d entries, want %d", what, puts, want)
		}
	}
	edit := func(e license.Event) func() { return func() { w.must(w.edit(is.License.ID, e), "") } }
	count("a refresh", 0, func() { w.must(live.refresh(), "") })
	count("an activation", 0, func() { w.must(w.install("n").activate(is.Code), "") })
	count("a suspension", 2, edit(license.EventSuspend))
	count("a repeated suspension", 0, edit(license.EventSuspend))
	count("a revocation", 2, edit(license.EventRevoke))
	count("a release", 2, edit(license.EventRelease))
	w.wantListed("released", revoked, live)
}

// Where the store fails while a list is being recorded, whether that happened
// or not, the last list is served, and then one that has a date of its own.
func TestStatusStoreFails(t *testing.T) {
	t.Parallel()
	for _, fault := range []faultstore.Fault{faultstore.NotDone, faultstore.DoneButFails, faultstore.Again} {
		w, f := faultWorld(t)
		is := w.issue()
		i := w.install("machine-1")
		w.must(i.activate(is.Code), "")
		last := w.list(i.listID())
		w.pass(time.Minute)
		w.must(w.edit(is.License.ID, license.EventSuspend), "")
		f.Reset()
		f.FailUpdate(faultstore.Nth(1, fault))
		wait, err := w.a.Publish(t.Context())
		if fault == faultstore.Again {
			w.must(err, "")
		} else {
			w.must(err, license.ReadOnly)
			if wait > 5*time.Second || w.list(i.listID()).Raw != last.Raw {
				t.Errorf("fault %d: tried again after %s, or the list differs", fault, wait)
			}
		}
		f.Reset()
		w.wantListed("after the fault", suspended, i)
		if l := w.list(i.listID()); !l.IssuedAt.After(last.IssuedAt) {
			t.Errorf("fault %d: of %s after %s", fault, l.IssuedAt, last.IssuedAt)
		}
		for n := 1; ; n++ {
			w.pass(time.Minute)
			w.must(w.edit(is.License.ID, []license.Event{license.EventResume, license.EventSuspend}[n%2]), "")
			f.Reset()
			f.FailCall(faultstore.NthCall(n))
			_, err := w.a.Publish(t.Context())
			failed := f.Injected() > 0
			f.Reset()
			if (err != nil) != failed {
				t.Errorf("call %d: %v", n, err)
			}
			w.wantListed(fmt.Sprint("after call ", n), []license.ListStatus{valid, suspended}[n%2], i)
			if !failed {
				break
			}
		}
	}
}

// Damaged records of one list keep no other from being published.
func TestStatusListDamaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return errors.Join(
			tx.PutStatusList(ctx, license.StatusList{ID: "sl_0", Length: 1 << 40}),
			tx.PutStatusList(ctx, license.StatusList{ID: "sl_00", Length: 4, Seed: bytes.Repeat([]byte{1}, 32)}),
			tx.PutStatusEntry(ctx, "sl_00", license.StatusEntry{Index: 4, Status: revoked}))
	})
	if err != nil {
		t.Fatal(err)
	}
	w.again()
	if err := w.a.LoadStatusLists(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.must(w.edit(is.License.ID, license.EventSuspend), "")
	_, err = w.a.Publish(t.Context())
	if license.ReasonOf(err) != license.Internal || !strings.Contains(err.Error(), "sl_0:") || !strings.Contains(err.Error(), "sl_00:") {
		t.Errorf("%v", err)
	}
	if i.listed() != suspended {
		t.Errorf("listed as %d", i.listed())
	}
	// A list that cannot be drawn from keeps installs from being bound, and nothing is changed.
	err = w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return tx.PutStatusList(ctx, license.StatusList{ID: "sl_z", Length: 4, Seed: []byte{1}})
	})
	if err != nil {
		t.Fatal(err)
	}
	fresh := w.issue()
	w.must(w.install("machine-2").activate(fresh.Code), license.Internal)
	if got := w.state(fresh.License.ID); got != license.StateIssued {
		t.Errorf("state %s", got)
	}
}

// The worst list there can be, of which nothing can be compressed, still fits
// into one token; one of twice the length does not (docs/decisions/0012).
func TestStatusListWorstCase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	longest := strings.Repeat("i", 1024)
	for length, fits := range map[int]bool{license.StatusListLength: true, 2 * license.StatusListLength: false} {
		statuses := token.NewStatuses(length)
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range length {
			statuses.Set(i, license.ListStatus(rng.UintN(4)))
		}
		raw, err := token.SignStatusList(token.StatusList{
			Issuer: longest, URI: longest + "/v1/status/sl_" + strings.Repeat("l", 26), IssuedAt: w.clock(), ExpiresAt: license.Forever,
			TTL: authority.StatusTTL, List: statuses.Compress(),
		}, w.ring.Signing())
		if (err == nil) != fits || len(raw) > token.MaxToken {
			t.Errorf("%d places: %d bytes, %v", length, len(raw), err)
		}
		if !fits {
			continue
		}
		set := w.ring.KeySet()
		set.Issuer = longest
		l, err := token.VerifyStatusList(raw, set, token.ExpectStatusList{})
		if err != nil || l.Len() != length {
			t.Errorf("%d places: %v", l.Len(), err)
		}
		for i := range length {
			got, _ := l.At(i)
			if want, _ := statuses.At(i); got != want {
				t.Fatalf("place %d is %d, want %d", i, got, want)
			}
		}
	}
}
