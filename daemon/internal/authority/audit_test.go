package authority_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// exported is the whole audit log as it is exported.
func (w *world) exported() []byte {
	w.t.Helper()
	var out bytes.Buffer
	for p := (authority.Page{Limit: 7}); ; {
		lines, next, err := w.a.EventLines(w.t.Context(), authority.EventFilter{}, p)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, line := range lines {
			out.Write(line)
			out.WriteByte('\n')
		}
		if p.Cursor = next; next == "" {
			return out.Bytes()
		}
	}
}

// sound verifies the audit log with nothing but its export and the anchors.
func (w *world) sound() token.AuditReport {
	w.t.Helper()
	head, err := w.a.AuditHead(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	v := token.AuditVerifier{Anchors: w.ring.Anchors(), Heads: []license.AuditHead{head}}
	r, err := v.Verify(w.t.Context(), bytes.NewReader(w.exported()))
	if err != nil || r.Head != head {
		w.t.Errorf("the log to %s: %+v, %v", head, r, err)
	}
	return r
}

func (w *world) checkpoint() (authority.Checkpoint, bool) {
	w.t.Helper()
	c, changed, err := w.a.MakeCheckpoint(w.t.Context(), admin)
	if err != nil {
		w.t.Fatal(err)
	}
	return c, changed
}

func TestCheckpoint(t *testing.T) {
	w := newWorld(t)
	if c, changed := w.checkpoint(); changed || c != (authority.Checkpoint{}) {
		t.Errorf("of an empty log: %+v", c)
	}
	w.issue()
	head, err := w.a.AuditHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, changed := w.checkpoint()
	if !changed || c.Seq != 2 || c.Head != head || !c.At.Equal(w.clock()) {
		t.Errorf("%v, %+v", changed, c)
	}
	w.pass(time.Hour)
	// Nothing was added: it is the same one again, also after a restart.
	w.again()
	if again, changed := w.checkpoint(); changed || again != c {
		t.Errorf("%v, %+v, want %+v", changed, again, c)
	}
	if r := w.sound(); r.Checkpoints != 1 || r.Signed != head || !r.SignedAt.Equal(c.At) || r.Entries != 2 {
		t.Errorf("%+v", r)
	}
	// A note that was lost does not matter.
	if err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return tx.SetValue(ctx, "audit.checkpoint", []byte("damaged"))
	}); err != nil {
		t.Fatal(err)
	}
	if c, changed := w.checkpoint(); !changed || c.Head.Seq != 2 {
		t.Errorf("%v, %+v", changed, c)
	}
	if r := w.sound(); r.Checkpoints != 2 || r.Signed.Seq != 2 {
		t.Errorf("%+v", r)
	}
}

// After rotations and a key that was revoked the log verifies by the anchors alone.
func TestCheckpointsThroughKeys(t *testing.T) {
	w := newWorld(t)
	w.ownKeys()
	w.issue()
	w.checkpoint()
	w.newKeys()
	w.issue()
	w.checkpoint()
	if r := w.sound(); r.Revoked != 0 || r.Checkpoints != 2 {
		t.Errorf("%+v", r)
	}
	key, _ := w.ring.Current()
	w.revokeKey(key.ID)
	w.checkpoint()
	if r := w.sound(); r.Revoked != 1 || r.Checkpoints != 3 || r.Signed.Seq != r.Head.Seq-1 {
		t.Errorf("%+v", r)
	}
}

// While the clock is not trusted nothing is signed.
func TestCheckpointWithoutClock(t *testing.T) {
	w := newWorld(t)
	w.issue()
	w.tick()
	w.set(-48 * time.Hour)
	if _, _, err := w.a.MakeCheckpoint(t.Context(), admin); !errors.Is(err, license.Clock) {
		t.Errorf("error is %v", err)
	}
	if err := w.a.CloseAudit(t.Context()); !errors.Is(err, license.Clock) {
		t.Errorf("at the end: %v", err)
	}
	if r := w.sound(); r.Checkpoints != 0 {
		t.Errorf("%+v", r)
	}
}

func TestRunCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := loopWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var reported []string
		var done sync.WaitGroup
		a := w.a
		done.Go(func() { a.RunCheckpoints(ctx, func(err error) { reported = append(reported, err.Error()) }) })
		want := func(what string, n int64) {
			t.Helper()
			synctest.Wait()
			if r := w.sound(); r.Checkpoints != n {
				t.Errorf("%s: %d checkpoints, want %d", what, r.Checkpoints, n)
			}
		}
		w.issue()
		want("at once", 0)
		time.Sleep(59 * time.Minute)
		want("before the hour", 0)
		time.Sleep(2 * time.Minute)
		want("after an hour", 1)
		time.Sleep(5 * time.Hour)
		want("while nothing is added", 1)
		w.issue()
		time.Sleep(time.Hour)
		want("an hour after", 2)
		for range 10 {
			w.issue(func(o *authority.Order) { o.Count = 1000 })
		}
		want("after many", 3)
		w.issue()
		f.FailCall(faultstore.Method("AuditHead"))
		time.Sleep(90 * time.Minute)
		f.Reset()
		time.Sleep(5 * time.Minute)
		want("after a failure", 4)
		if len(reported) != 1 {
			t.Errorf("reported: %q", reported)
		}
		cancel()
		done.Wait()
		// And where the daemon ends.
		w.issue()
		if err := w.a.CloseAudit(t.Context()); err != nil {
			t.Error(err)
		}
		want("at the end", 5)
	})
}

func (w *world) erase(ref string, e authority.Erasure) authority.Erased {
	w.t.Helper()
	got, err := w.a.EraseEvents(w.t.Context(), admin, ref, e)
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

func TestEraseEvents(t *testing.T) {
	w := newWorld(t)
	is, other := w.issue(), w.issue(func(o *authority.Order) { o.Customer = "Another GmbH" })
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	for range 3 {
		w.must(i.refresh(), "")
	}
	before := w.sound()
	if !bytes.Contains(w.exported(), []byte("192.0.2.1")) {
		t.Fatal("there is nothing to be erased")
	}
	got := w.erase(is.Code.Reveal(), authority.Erasure{Reason: "request 17"})
	if got.License != is.License.ID || got.To != before.Head.Seq || got.Entries < 5 || got.Customer || !got.Changed {
		t.Errorf("%+v", got)
	}
	log := w.exported()
	if bytes.Contains(log, []byte("192.0.2.1")) || bytes.Contains(log, []byte("ACME")) || !bytes.Contains(log, []byte("Another GmbH")) || !bytes.Contains(log, []byte("request 17")) {
		t.Errorf("the log is %s", log)
	}
	if r := w.sound(); r.Erased != int64(got.Entries) || r.Entries != before.Entries+1 {
		t.Errorf("%+v", r)
	}
	// Again there is nothing to do, and nothing is written.
	if again := w.erase(is.License.ID, authority.Erasure{Reason: "request 17"}); again.Changed || again.Entries != 0 {
		t.Errorf("%+v", again)
	}
	if !bytes.Equal(log, w.exported()) {
		t.Error("the log was changed")
	}
	// The licence's own customer is another thing.
	got = w.erase(is.License.ID, authority.Erasure{Reason: "request 18", Customer: true})
	l, _, err := w.a.License(t.Context(), is.License.ID)
	if err != nil || !got.Changed || !got.Customer || l.Customer != "" {
		t.Errorf("%+v, %+v, %v", got, l, err)
	}
	if again := w.erase(is.License.ID, authority.Erasure{Reason: "request 18", Customer: true}); again.Changed {
		t.Errorf("%+v", again)
	}
	// What comes later is not covered by it.
	w.must(i.refresh(), "")
	w.sound()
	if l, _, err := w.a.License(t.Context(), other.License.ID); err != nil || l.Customer != "Another GmbH" {
		t.Errorf("%+v, %v", l, err)
	}
	if bytes.Contains(w.exported(), []byte("ACME")) {
		t.Error("the customer came back")
	}
}

func TestEraseEventsRefuses(t *testing.T) {
	w := newWorld(t)
	is := w.issue()
	log := w.exported()
	for name, test := range map[string]struct {
		ref, reason string
		want        license.Reason
	}{
		"no reason":     {is.License.ID, " ", license.BadRequest},
		"long reason":   {is.License.ID, strings.Repeat("x", 513), license.BadRequest},
		"broken reason": {is.License.ID, "a\nb", license.BadRequest},
		"no licence":    {"lic_01k2m3n4p5q6r7s8t9v0w1x2y3", "x", license.UnknownLicense},
		"nothing":       {"", "x", license.UnknownLicense},
	} {
		if _, err := w.a.EraseEvents(t.Context(), admin, test.ref, authority.Erasure{Reason: test.reason, Customer: true}); license.ReasonOf(err) != test.want {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if !bytes.Equal(log, w.exported()) {
		t.Error("the log was changed")
	}
}

// Wherever an erasure is cut off, the log is sound, and calling it again completes it.
func TestEraseEventsCutOff(t *testing.T) {
	const entries = 1200
	for _, cut := range []string{"Append", "EraseEvents", "UpdateLicense"} {
		for nth := range 3 {
			w, f := faultWorld(t)
			is := w.issue()
			if err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
				for range entries {
					if _, err := tx.Append(ctx, license.AuditEvent{
						At: w.clock(), Actor: license.Actor{Kind: license.ActorInstall, Addr: "192.0.2.1"}, Action: license.ActionRefresh, License: is.License.ID,
					}); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			seen := 0
			f.FailCall(func(c faultstore.Call) error {
				if c.Method != cut {
					return nil
				}
				if seen++; seen == nth+1 {
					return faultstore.ErrInjected
				}
				return nil
			})
			_, err := w.a.EraseEvents(t.Context(), admin, is.License.ID, authority.Erasure{Reason: "r", Customer: true})
			if failed := seen > nth; failed != (err != nil) {
				t.Errorf("%s %d: error is %v", cut, nth+1, err)
			}
			f.Reset()
			w.sound()
			w.erase(is.License.ID, authority.Erasure{Reason: "r", Customer: true})
			if r := w.sound(); r.Erased != entries+1 || bytes.Contains(w.exported(), []byte("192.0.2.1")) {
				t.Errorf("%s %d: %+v", cut, nth+1, r)
			}
		}
	}
}

// Staff stays named in the log, whatever is erased.
func TestEraseKeepsStaff(t *testing.T) {
	w := newWorld(t)
	is := w.issue()
	staff := license.Actor{Kind: license.ActorAdmin, Name: "anna", Addr: "203.0.113.8"}
	if _, _, err := w.a.Edit(t.Context(), staff, is.License.ID, authority.Edit{Event: license.EventRevoke, Reason: "Mr Smith copied it"}); err != nil {
		t.Fatal(err)
	}
	w.erase(is.License.ID, authority.Erasure{Reason: "request 1"})
	events, _, err := w.a.Events(t.Context(), authority.EventFilter{Action: license.ActionRevoke}, authority.Page{})
	if err != nil || len(events) != 1 || events[0].Actor != staff || events[0].Note != "" || !events[0].Erased || !slices.Contains(keysOf(events[0].After), "revoked_at") {
		t.Errorf("%+v, %v", events, err)
	}
}

func keysOf(m map[string]any) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}
