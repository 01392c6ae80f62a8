package authority_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// stuckStore is a store that makes no changes for as long as it says.
type stuckStore struct {
	store.Store
	lasts *time.Duration
}

func (s stuckStore) Stats() store.Stats { return store.Stats{Stuck: *s.lasts} }

// A daemon whose store can be read and makes no changes is not ready: a database
// that waits for its standby answers whoever reads.
func TestReadyNeedsChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var stuck time.Duration
	w.again(func(o *authority.Options) { o.Store = stuckStore{o.Store, &stuck} })
	for d, ready := range map[time.Duration]bool{0: true, time.Second: true, 6 * time.Second: false} {
		stuck = d
		err := w.a.Ready(t.Context())
		if (err == nil) != ready {
			t.Errorf("stuck for %s: %v", d, err)
		}
		if err != nil && (!errors.Is(err, authority.ErrStuck) || license.ReasonOf(err) != license.ReadOnly) {
			t.Errorf("stuck for %s: %v", d, err)
		}
	}
}
