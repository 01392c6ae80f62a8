package authority_test

import (
	"testing"

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
