package authority_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

var boss = authority.Principal{ID: "tok_boss", Name: "boss", Role: authority.RoleAdmin}

// keyed begins a call with an idempotency key.
func (w *world) keyed(a *authority.Authority, key string) (context.Context, *authority.Call, *authority.Kept) {
	w.t.Helper()
	c := &authority.Call{Principal: boss, Operation: "issue"}
	kept, end, err := a.BeginKeyed(w.t.Context(), c, key, []byte("digest"))
	if err != nil {
		w.t.Fatal(err)
	}
	end()
	return authority.WithCall(w.t.Context(), c), c, kept
}

func order() authority.Order {
	return authority.Order{Product: "cad", For: 24 * time.Hour}
}

// Of two daemons on one store that take the same call at the same time one makes it.
func TestOneKeyInTwoDaemons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, err := authority.New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	first, _, kept := w.keyed(w.a, "k")
	second, _, alsoKept := w.keyed(other, "k")
	if kept != nil || alsoKept != nil {
		t.Fatal("a key is known before its first call")
	}
	made, err := w.a.Issue(first, admin, order())
	w.must(err, "")
	_, err = other.Issue(second, admin, order())
	w.must(err, license.Conflict)
	_, _, kept = w.keyed(other, "k")
	if kept == nil || kept.Answer != nil || len(kept.Made.Licenses) != 1 || kept.Made.Licenses[0] != made[0].License.ID {
		t.Errorf("%+v", kept)
	}
	again, err := other.Reissued(t.Context(), kept.Made.Licenses)
	if err != nil || again[0].Code.Reveal() != made[0].Code.Reveal() {
		t.Errorf("%v: another code", err)
	}
}

// Records that are older than they must be go, a few at a time, and the newer ones
// stay.
func TestOldKeysAreDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	count := func() (n int) {
		err := w.store.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
			values, _, err := tx.Values(ctx, "idempotency/", store.Page{Limit: store.MaxPage})
			n = len(values)
			return err
		})
		w.must(err, "")
		return n
	}
	call := func(key string) {
		ctx, c, _ := w.keyed(w.a, key)
		_, err := w.a.Issue(ctx, admin, order())
		w.must(err, "")
		w.must(w.a.KeepAnswer(t.Context(), c, []byte("answer of "+key)), "")
	}
	for i := range 40 {
		call(fmt.Sprint("old", i))
	}
	w.pass(authority.KeyKept - time.Hour)
	if _, _, kept := w.keyed(w.a, "old7"); kept == nil || string(kept.Answer) != "answer of old7" {
		t.Errorf("%+v", kept)
	}
	w.pass(2 * time.Hour)
	if _, _, kept := w.keyed(w.a, "old7"); kept != nil {
		t.Error("a key is remembered for ever")
	}
	most := 0
	for i := range 40 {
		before := count()
		call(fmt.Sprint("new", i))
		most = max(most, before+1-count())
	}
	if n := count(); n > 50 || most > 4 {
		t.Errorf("%d records are left; %d went at once", n, most)
	}
	for i := range 40 {
		if _, _, kept := w.keyed(w.a, fmt.Sprint("new", i)); kept == nil {
			t.Errorf("new%d was dropped", i)
		}
	}
}

// Orders and jobs are of the product that they are for.
func TestScopeOfOrders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addOrder(authority.NewOrder{ID: "CS1", Product: "OFFI1"})
	w.addOrder(authority.NewOrder{ID: "CS2", Product: "OFFI2"})
	w.addOrder(authority.NewOrder{ID: "CS3"})
	scoped := authority.WithCall(t.Context(), &authority.Call{Principal: authority.Principal{ID: "t", Name: "t", Role: authority.RoleAdmin, Products: []string{"other"}}})
	all, _, err := w.a.Orders(t.Context(), authority.OrderFilter{}, authority.Page{})
	w.must(err, "")
	seen, _, err := w.a.Orders(scoped, authority.OrderFilter{}, authority.Page{})
	w.must(err, "")
	if len(all) != 3 || len(seen) != 1 || w.a.ProductOf(seen[0]) != "other" {
		t.Fatalf("%d orders, %+v", len(all), seen)
	}
	for _, o := range all {
		_, _, err := w.a.MoveOrder(scoped, admin, authority.OrderRef{Channel: o.Channel, ID: o.ID}, license.Move{To: license.StageCancelled})
		if o.ID == seen[0].ID {
			w.must(err, "")
		} else {
			w.must(err, license.NotFound)
		}
	}
	_, _, err = w.a.AddOrder(scoped, admin, authority.NewOrder{ID: "CS4", Product: "none of ours", Offline: true})
	w.must(err, license.Forbidden)
}
