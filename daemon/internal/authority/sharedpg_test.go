package authority_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

// onPostgres are worlds of daemons that each have their own connections to one
// database.
func onPostgres(t *testing.T, daemons int) (ws []*world) {
	t.Helper()
	url := pgtest.URL(t)
	for range daemons {
		s, err := pgstore.Open(t.Context(), url, pgstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		w := newWorldOn(t, s)
		w.again(func(o *authority.Options) { o.Shared = true })
		ws = append(ws, w)
	}
	return ws
}

// What holds of several daemons holds where a database keeps them apart, too.
func TestStatusOfManyDaemonsOnPostgres(t *testing.T) {
	t.Parallel()
	manyDaemons(t, onPostgres(t, 2)...)
}

// Of daemons that want a lease at the same time one gets it, each time that it is
// given up or its holder is not heard of any more.
func TestLeaseOnPostgres(t *testing.T) {
	t.Parallel()
	ws := onPostgres(t, 3)
	leases := make([]*authority.Lease, len(ws))
	for k, w := range ws {
		leases[k] = w.a.Lease("work", time.Minute)
	}
	for round := range 10 {
		var had atomic.Int32
		var holder atomic.Pointer[authority.Lease]
		var all sync.WaitGroup
		for k, l := range leases {
			ws[k].pass(time.Minute)
			all.Go(func() {
				held, err := l.Hold(t.Context())
				if err != nil {
					t.Errorf("hold: %v", err)
				}
				if held {
					had.Add(1)
					holder.Store(l)
				}
			})
		}
		all.Wait()
		if had.Load() != 1 {
			t.Fatalf("round %d: %d daemons have it", round, had.Load())
		}
		if round%2 == 0 {
			if err := holder.Load().Release(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}
