package authority_test

import (
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// A licence never comes with a list that says something against it, however
// often it is suspended and resumed within one second: the product would block
// on what it was just given.
func TestStatusBesideALicenceClearsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is, i := w.issue(), w.install("machine")
	w.must(i.activate(is.Code), "")
	last := w.list(i.listID())
	for range 5 {
		w.must(w.edit(is.License.ID, license.EventSuspend), "")
		w.publish()
		w.must(w.edit(is.License.ID, license.EventResume), "")
		answer, err := i.send(i.request(token.OpRefresh))
		w.must(err, "")
		l, err := token.VerifyStatusList(answer.Status, w.ring.KeySet(), token.ExpectStatusList{URI: i.held.Status.URI})
		w.must(err, "")
		if status, ok := l.At(i.held.Status.Index); !ok || status != valid {
			t.Fatalf("the answer's list says %d (%v)", status, ok)
		}
		if l.IssuedAt.Before(last.IssuedAt) || l.IssuedAt.Equal(last.IssuedAt) && l.List != last.List {
			t.Errorf("a list of %v follows one of %v", l.IssuedAt, last.IssuedAt)
		}
		last = l
	}
}

// For answers a list is dated about a minute ahead at most, where many in one
// second want a list of their own. After that an answer comes with none rather
// than with one that speaks against its licence.
func TestStatusBesideALicenceOfManyChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.a.SetStatusListLength(8)
	type customer struct {
		authority.Issued
		*install
	}
	var pair [2]customer
	for n := range pair {
		pair[n] = customer{w.issue(), w.install("machine")}
		w.must(pair[n].activate(pair[n].Code), "")
	}
	says := func(raw string, c customer) (license.ListStatus, time.Time) {
		t.Helper()
		l, err := token.VerifyStatusList(raw, w.ring.KeySet(), token.ExpectStatusList{URI: c.held.Status.URI})
		w.must(err, "")
		status, ok := l.At(c.held.Status.Index)
		if !ok {
			t.Fatalf("a list of %d places", l.Len())
		}
		return status, l.IssuedAt
	}
	w.must(w.edit(pair[1].License.ID, license.EventSuspend), "")
	w.publish()
	with, without := 0, 0
	for n := range 70 {
		held, free := pair[n%2], pair[(n+1)%2]
		w.must(w.edit(held.License.ID, license.EventSuspend), "")
		w.must(w.edit(free.License.ID, license.EventResume), "")
		answer, err := free.send(free.request(token.OpRefresh))
		w.must(err, "")
		if answer.Status == "" {
			without++
			continue
		}
		with++
		if status, at := says(answer.Status, free); status != valid || at.Sub(w.clock()) > time.Minute+time.Second {
			t.Fatalf("answer %d comes with a list that says %d and is dated %s ahead", n, status, at.Sub(w.clock()))
		}
	}
	if with < 50 || without == 0 {
		t.Errorf("%d answers with a list, %d without", with, without)
	}
	w.pass(time.Second)
	w.publish()
	l, err := w.a.StatusList(t.Context(), pair[0].listID())
	w.must(err, "")
	for n, want := range []license.ListStatus{valid, suspended} {
		if got, _ := says(l.Token, pair[n]); got != want {
			t.Errorf("a second later customer %d is listed as %d, want %d", n, got, want)
		}
	}
}
