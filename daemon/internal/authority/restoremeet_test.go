package authority_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// restored has the world find that its store was restored, and that since it was
// made something was done that marks name.
func (w *world) restored(marks ...authority.Mark) {
	w.t.Helper()
	var head store.Head
	err := w.store.View(w.t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		head, err = store.HeadOf(ctx, tx)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	mark := store.Head{Seq: head.Seq + 100, At: w.clock(), Digest: "lost"}
	for n := range marks {
		marks[n].Seq = head.Seq + int64(n) + 1
	}
	if err := w.a.BeginRestore(w.t.Context(), authority.Lost{Head: head, Mark: mark, Marks: marks, Complete: true}); err != nil {
		w.t.Fatal(err)
	}
}

// What the sweep has recorded of an end is not recorded, nor told, once more.
func TestRestoreRecordsAnEndOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	sweep := func() (all authority.Swept) {
		for more := true; more; {
			var s authority.Swept
			var err error
			if s, more, err = w.a.Sweep(t.Context(), w.clock()); err != nil {
				t.Fatal(err)
			}
			all = all.Add(s)
		}
		return all
	}
	sweep()
	end := is.License.ExpiresAt.Format(time.RFC3339)
	w.pass(is.License.ExpiresAt.Sub(w.clock()) + time.Hour)
	w.restored(
		authority.Mark{At: w.clock(), Action: license.ActionExpiring, License: is.License.ID, Product: "cad", Facts: map[string]any{"expires_at": end}},
		authority.Mark{At: w.clock(), Action: license.ActionExpire, License: is.License.ID, Product: "cad", Facts: map[string]any{"expires_at": end}},
	)
	if did := sweep(); did.Expired != 0 || did.Expiring != 0 {
		t.Errorf("recorded again: %+v", did)
	}
}

// A dry run asks no marketplace and leaves nothing behind, also where a restored
// licence has to be read again before anything is granted from it.
func TestDryRunAfterARestoreAsksNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	code, _ := w.sell("PL001")
	x := w.install("x")
	w.must(x.activate(code), "")
	w.restored()
	w.up.codes["PL001"].e.Released = true // since the backup
	asked := w.up.count("query")
	staff := admin
	dry := authority.WithCall(t.Context(), &authority.Call{
		Principal: authority.Principal{ID: "s", Name: "s", Role: authority.RoleAdmin}, Operation: "sign", DryRun: true,
	})
	_, err := w.a.Request(dry, x.request(token.OpRefresh), license.Code{}, authority.Caller{Staff: &staff})
	w.must(err, license.Conflict)
	if n := w.up.count("query"); n != asked {
		t.Errorf("the dry run has asked the marketplace %d times", n-asked)
	}
	w.must(x.refresh(), license.Released)
}

// A key folder that was put back with the store may hold no anchor after one that was
// being revoked: the daemon starts, and the mark stands.
func TestRestoreOfTheLastAnchorsMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anchors := w.ring.Anchors()
	last := token.Thumbprint(anchors[len(anchors)-1])
	w.restored(authority.Mark{At: w.clock(), Action: license.ActionKeysRevoke, Facts: map[string]any{"kid": last, "role": authority.RoleAnchor}})
	list, err := w.a.Revocations(t.Context())
	w.must(err, "")
	if len(list) != 1 || list[0].KID != last || list[0].Ended() {
		t.Errorf("%+v", list)
	}
}
