package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

// workers is how many goroutines make a traffic.
const workers = 6

// traffic is changes that daemons make without a break, each with a name of its
// own, and what became of them.
type traffic struct {
	t        *testing.T
	daemons  []*pgstore.Store
	answered [workers]map[string]bool
	failed   [workers]map[string]bool // true where the error says that nothing was done
	done     atomic.Int64
	progress chan struct{}
	stop     chan struct{}
	behind   sync.WaitGroup
	once     sync.Once
}

func begin(t *testing.T, daemons ...*pgstore.Store) *traffic {
	t.Helper()
	w := &traffic{t: t, daemons: daemons, progress: make(chan struct{}, 1), stop: make(chan struct{})}
	for n := range workers {
		w.answered[n], w.failed[n] = map[string]bool{}, map[string]bool{}
		w.behind.Go(func() { w.work(n) })
	}
	t.Cleanup(w.end)
	return w
}

func (w *traffic) end() {
	w.once.Do(func() { close(w.stop) })
	w.behind.Wait()
}

func (w *traffic) work(n int) {
	for i := 0; ; i++ {
		select {
		case <-w.stop:
			return
		default:
		}
		name := fmt.Sprintf("lic_%d_%d", n, i)
		err := change(w.t.Context(), w.daemons[n%len(w.daemons)], name)
		if err == nil {
			w.answered[n][name] = true
			w.done.Add(1)
			select {
			case w.progress <- struct{}{}:
			default:
			}
			continue
		}
		w.failed[n][name] = errors.Is(err, license.ReadOnly) // else nobody knows
		var ours *license.Error
		if !errors.As(err, &ours) || ours.RetryAfter == 0 {
			w.t.Errorf("the error is not one to try again after: %v", err)
		}
	}
}

// change makes a change that is known by its name.
func change(ctx context.Context, s *pgstore.Store, name string) error {
	return s.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Append(ctx, license.AuditEvent{At: benchTime, Action: license.ActionIssue, License: name})
		return errors.Join(err, tx.SetValue(ctx, name, []byte("x")))
	})
}

// goOn waits until so many more were answered.
func (w *traffic) goOn(n int64) {
	w.t.Helper()
	for want := w.done.Load() + n; w.done.Load() < want; {
		select {
		case <-w.progress:
		case <-w.t.Context().Done():
			w.t.Fatal("nothing is answered any more")
		}
	}
}

// check ends the traffic and compares what was answered with what is there.
func (w *traffic) check() {
	w.t.Helper()
	w.end()
	there := named(w.t, w.daemons[0])
	for n := range workers {
		for name := range w.answered[n] {
			if there[name] != 1 {
				w.t.Errorf("%s was answered and is there %d times", name, there[name])
			}
		}
		for name, sure := range w.failed[n] {
			if sure && there[name] != 0 || there[name] > 1 {
				w.t.Errorf("%s failed and is there %d times", name, there[name])
			}
		}
	}
}

// named verifies the chain and returns how often each change is in it.
func named(t *testing.T, s *pgstore.Store) map[string]int {
	t.Helper()
	there := map[string]int{}
	if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		clear(there)
		var head license.AuditHead
		for p := (store.Page{Limit: store.MaxPage}); ; {
			lines, next, err := tx.EventLines(ctx, store.EventFilter{}, p)
			if err != nil {
				return err
			}
			for _, raw := range lines {
				line, err := license.ParseAuditLine(raw)
				if err != nil {
					return err
				}
				var fault *license.AuditFault
				if head, fault = head.Follow(line); fault != nil {
					return fault
				}
				there[line.License]++
			}
			if p.Cursor = next; next == "" {
				return nil
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	return there
}
