package pgstore

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/seed-357fa782/licensed/store"
)

// TestRehearsalSleptThrough has a caller come so late to a rehearsal that its turn is
// there, too. Whichever of the two it sees first, the last run of its function is
// the one that counts: what a function has set then is what its caller goes on with.
func TestRehearsalSleptThrough(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			r, d := newRequest(), newSession(nil, 0, beginWrite)
			practice, earnest := newTxn(d, true), newTxn(d, true)
			practice.practice = &rehearsal{d: d, idle: make(chan struct{}, 1), lists: make(cells), over: true}
			r.practice <- practice
			go func() {
				r.turn <- earnest
				<-r.back
				synctest.Wait()
				close(r.done)
			}()
			synctest.Wait()
			var last store.Tx
			if err := r.wait(t.Context(), t.Context(), func(_ context.Context, tx store.Tx) error {
				last = tx
				return nil
			}); err != nil {
				t.Error(err)
			}
			if last != store.Tx(earnest) {
				t.Error("a function was run once more after its turn")
			}
		})
		if t.Failed() {
			return
		}
	}
}
