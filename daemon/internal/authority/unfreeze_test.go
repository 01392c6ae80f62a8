package authority_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// between has something done, once, as soon as an Update was refused because of a
// freeze, before its caller hears of that.
type between struct {
	store.Store

	once sync.Once
	do   func()
}

func (b *between) Update(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	err := b.Store.Update(ctx, fn)
	if errors.Is(err, license.Suspended) {
		b.once.Do(b.do)
	}
	return err
}

// A delivery that is refused because of a freeze, which is lifted before the
// outbox has written that it gives the delivery up, goes out all the same.
func TestUnfreezeBetweenRefusalAndParking(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		m.desk.set(errUnreachable)
		m.must(m.apply(id, "event-1", pc), "")
		synctest.Wait() // the first try has failed
		m.stop()
		b := &between{Store: m.store}
		m.again(func(o *authority.Options) { o.Store = b })
		m.must(m.say(id, license.EventFreeze, time.Time{}), "")
		m.desk.set(nil)
		// The outbox finds the licence suspended, and has not written yet that it gives the job up.
		b.do = func() { m.must(m.say(id, license.EventUnfreeze, time.Time{}), "") }
		m.run()
		time.Sleep(day)
		synctest.Wait()
		if jobs := m.jobs(); len(m.desk.files("event-1")) != 1 || len(jobs) != 0 {
			t.Errorf("delivered %d times; left: %s since %s (%s), and nobody has suspended it: holds %v",
				len(m.desk.files("event-1")), jobs[0].State(), jobs[0].ParkedAt, jobs[0].Failure, m.instance(id).Holds.Names())
		}
	})
}
