package webhook_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/webhook"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

func isPut(u faultstore.Update) bool { return u.Called("SetValue") && !u.Called("Append") }

// onPut fails the writes of positions.
func onPut(f faultstore.Fault) func(faultstore.Update) faultstore.Fault {
	return func(u faultstore.Update) faultstore.Fault {
		if isPut(u) {
			return f
		}
		return faultstore.None
	}
}

// A process that is killed between a delivery and the position leaves it to the
// next one, which delivers again: under the same id, and after the lease of the one
// that is gone.
func TestKilledBeforeThePosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(endpoint())
		time.Sleep(time.Minute)
		begun := false
		w.faults.FailUpdate(func(u faultstore.Update) faultstore.Fault {
			if !isPut(u) {
				return faultstore.None
			}
			if !begun { // the lease
				begun = true
				return faultstore.None
			}
			return faultstore.NotDone
		})
		l := w.issue()
		w.change(l, license.EventSuspend)
		synctest.Wait()
		r.stop()
		w.faults.Reset()
		w.a = w.authority()
		_, first := w.receiver.all()
		w.start(endpoint())
		time.Sleep(20 * time.Second)
		if _, now := w.receiver.all(); len(now) != len(first) {
			t.Error("the lease of the one that was killed does not count")
		}
		time.Sleep(20 * time.Second)
		_, taken := w.receiver.all()
		if len(first) != 2 || len(taken) != 4 || taken[0].ID != taken[2].ID || taken[1].ID != taken[3].ID {
			t.Errorf("%d, then %d deliveries", len(first), len(taken))
		}
		if s := w.state("crm"); s.Waiting != 0 {
			t.Errorf("state %+v", s)
		}
	})
}

// A restart delivers nothing twice, and what failed before is remembered.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(endpoint())
		bad := w.issue()
		synctest.Wait()
		w.receiver.answers(func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
			if d.license() == bad.ID {
				return http.StatusConflict
			}
			return http.StatusOK
		})
		w.change(bad, license.EventSuspend)
		w.change(bad, license.EventResume)
		for range 20 {
			w.issue()
		}
		synctest.Wait()
		r.stop()
		w.change(bad, license.EventRelease) // while nobody is there
		w.a = w.authority()
		w.receiver.status(http.StatusOK)
		w.receiver.forget()
		w.start(endpoint())
		time.Sleep(time.Minute)
		want := []string{"license.suspended", "license.resumed", "license.released"}
		if got := w.receiver.took(); !slices.Equal(got, want) {
			t.Errorf("after the restart %v", got)
		}
	})
}

// Positions that cannot be written: what is there is delivered for as long as the
// lease lasts, and everything once they can be; nothing is delivered without end
// that a restart would deliver again.
func TestStoreReadOnly(t *testing.T) {
	for name, fault := range map[string]faultstore.Fault{"not done": faultstore.NotDone, "done but fails": faultstore.DoneButFails} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start(endpoint())
				synctest.Wait()
				w.faults.FailUpdate(onPut(fault))
				for range 3 {
					w.issue()
				}
				time.Sleep(3 * time.Minute)
				if _, taken := w.receiver.all(); fault == faultstore.NotDone && len(taken) != 0 {
					t.Errorf("%d were delivered without a lease", len(taken))
				}
				if !strings.Contains(w.log.String(), "cannot be read or kept") {
					t.Error("the log does not tell")
				}
				w.faults.Reset()
				time.Sleep(3 * time.Minute)
				got := map[string]bool{}
				_, taken := w.receiver.all()
				for _, d := range taken {
					got[d.ID] = true
				}
				if len(got) != 3 || w.state("crm").Waiting != 0 {
					t.Errorf("%d of 3 were delivered, in %d requests", len(got), len(taken))
				}
			})
		})
	}
}

// Of two daemons on one store one sends, and the other takes over from one that
// stops.
func TestTwoDaemons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.start(endpoint())
		other := w.authority()
		w.startOn(other, endpoint())
		for range 50 {
			w.issue()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		tried, taken := w.receiver.all()
		if len(taken) != 50 || len(tried) != 50 {
			t.Errorf("50 events were delivered by %d requests", len(taken))
		}
		first.stop()
		w.issue() // by an authority whose own sender is gone
		time.Sleep(time.Minute)
		if _, taken := w.receiver.all(); len(taken) != 51 {
			t.Errorf("after one has stopped: %d", len(taken))
		}
	})
}

// Each fault of the store at each step leaves every event delivered.
func TestStoreFaults(t *testing.T) {
	for _, fault := range []faultstore.Fault{faultstore.NotDone, faultstore.DoneButFails, faultstore.Again} {
		for n := 1; n <= 8; n++ {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start(endpoint())
				puts := 0
				w.faults.FailUpdate(func(u faultstore.Update) faultstore.Fault {
					if !isPut(u) {
						return faultstore.None
					}
					if puts++; puts == n {
						return fault
					}
					return faultstore.None
				})
				for range 4 {
					w.change(w.issue(), license.EventSuspend)
					time.Sleep(2 * time.Second)
				}
				time.Sleep(3 * time.Minute)
				got := map[string]bool{}
				_, taken := w.receiver.all()
				for _, d := range taken {
					got[d.ID] = true
				}
				if len(got) != 8 || w.state("crm").Waiting != 0 {
					t.Errorf("fault %d at write %d: %d of 8 delivered", fault, n, len(got))
				}
			})
		}
	}
}

// While the clock is not trusted nothing is sent: receivers would refuse it.
func TestClockNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var off atomic.Int64
		w.now = func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
		w.start(endpoint())
		w.issue()
		time.Sleep(time.Minute)
		if _, err := w.a.RecordClock(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := w.issue()
		synctest.Wait()
		off.Store(int64(-24 * time.Hour))
		w.receiver.forget()
		if _, _, err := w.a.Edit(t.Context(), admin, l.ID, authority.Edit{Event: license.EventSuspend}); err == nil {
			t.Fatal("the clock is trusted")
		}
		time.Sleep(10 * time.Minute)
		if tried, _ := w.receiver.all(); len(tried) != 0 {
			t.Errorf("%d attempts", len(tried))
		}
	})
}

// More events of one licence than are noted are found in the log again, and come
// in their order, also after a restart.
func TestManyHeldEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(endpoint())
		bad, good := w.issue(), w.issue()
		synctest.Wait()
		w.receiver.forget()
		failing := func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
			if d.license() == bad.ID {
				return http.StatusInternalServerError
			}
			return http.StatusOK
		}
		w.receiver.answers(failing)
		const events = 400
		for i := range events / 2 {
			w.change(bad, license.EventSuspend)
			w.change(bad, license.EventResume)
			if i%10 == 0 {
				w.change(good, license.EventRenew)
				time.Sleep(time.Second)
			}
		}
		time.Sleep(2 * time.Second)
		s := w.state("crm")
		if len(s.Held) != 1 || s.Held[0].Events > 128 || !s.Held[0].More || !s.WaitingMore || len(w.receiver.took()) != events/20 {
			t.Fatalf("state %+v, %d taken", s, len(w.receiver.took()))
		}
		r.stop()
		w.a = w.authority()
		w.receiver.status(http.StatusOK)
		w.receiver.forget()
		w.start(endpoint())
		time.Sleep(2 * time.Hour)
		_, taken := w.receiver.all()
		if len(taken) != events || !slices.IsSortedFunc(taken, func(a, b delivery) int { return int(a.Data.Seq - b.Data.Seq) }) {
			t.Errorf("%d of %d, or not in order", len(taken), events)
		}
		if s := w.state("crm"); len(s.Held) != 0 || s.Waiting != 0 {
			t.Errorf("state %+v", s)
		}
	})
}

// Both secrets sign while one takes the place of the other.
func TestTwoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var list []webhook.Secret
		for _, text := range []string{newer, secret} {
			s, err := webhook.ParseSecret(text)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, s)
		}
		w.start(endpoint(func(e *webhook.Endpoint) { e.Secrets = func() []webhook.Secret { return list } }))
		w.issue()
		synctest.Wait()
		_, taken := w.receiver.all() // the receiver has verified the older
		if len(taken) != 1 || len(taken[0].Signatures) != 2 || verify(newer, taken[0].Header, taken[0].Body) != nil {
			t.Errorf("deliveries %+v", taken)
		}
	})
}

// What happens between the beginning and the first round is told.
func TestBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.issue() // before it
		s := w.sender(w.a, endpoint())
		for range 2 {
			if err := s.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		l := w.issue()
		w.run(s)
		time.Sleep(time.Minute)
		if _, taken := w.receiver.all(); len(taken) != 1 || taken[0].license() != l.ID {
			t.Errorf("taken are %+v", taken)
		}
	})
}

// What is under way when the sender stops is waited for, so that it is not sent
// again; one that does not answer is broken off, and is.
func TestStopWhileSending(t *testing.T) {
	for name, c := range map[string]struct {
		answer time.Duration
		want   int
	}{"answers": {2 * time.Second, 1}, "hangs": {time.Hour, 2}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				r := w.start(endpoint())
				w.receiver.answers(func(_ http.ResponseWriter, rq *http.Request, _ delivery) int {
					select {
					case <-time.After(c.answer):
						return http.StatusOK
					case <-rq.Context().Done():
						return 0
					}
				})
				w.issue()
				synctest.Wait()
				begun := time.Now()
				r.stop()
				if took := time.Since(begun); took > 4*time.Second {
					t.Errorf("it stopped after %s", took)
				}
				w.receiver.status(http.StatusOK)
				w.start(endpoint())
				time.Sleep(time.Minute)
				if tried, taken := w.receiver.all(); len(tried) != c.want || len(taken) != 1 {
					t.Errorf("%d tried, %d taken", len(tried), len(taken))
				}
			})
		})
	}
}
