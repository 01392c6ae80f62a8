package authority_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// loopWorld is a world whose clock is that of the bubble, so that timers and
// dates agree.
func loopWorld(t *testing.T) (*world, *faultstore.Store) {
	t.Helper()
	w, f := faultWorld(t)
	begin := time.Now()
	w.again(func(o *authority.Options) {
		o.Now = func() time.Time { return w.clock().Add(time.Since(begin)) }
		o.Uptime = func() time.Duration { return time.Since(begin) }
	})
	return w, f
}

// loop runs the loop of w until it is stopped, and collects what it reports.
func (w *world) loop() (stop func() []string) {
	w.t.Helper()
	if err := w.a.LoadStatusLists(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	var reported []string
	var done sync.WaitGroup
	a := w.a
	done.Go(func() { a.RunStatusLists(ctx, func(err error) { reported = append(reported, err.Error()) }) })
	synctest.Wait()
	return func() []string {
		cancel()
		done.Wait()
		return reported
	}
}

// pause is longer than the loop waits between two rounds.
const pause = 100 * time.Millisecond

// The loop publishes what has changed within a second, what has become final at
// its instant, and what has grown old, by itself.
func TestRunStatusLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := loopWorld(t)
		stop := w.loop()
		is := w.issue()
		i := w.install("machine-1")
		w.must(i.activate(is.Code), "")
		first := w.list(i.listID()).IssuedAt
		for n, step := range []struct {
			event license.Event
			after time.Duration
			want  license.ListStatus
		}{
			{license.EventSuspend, pause, suspended}, // the second list of this second
			{license.EventResume, time.Second, valid},
			{license.EventRevoke, time.Second, suspended},
			{license.EventUndoRevoke, time.Second, valid},
			{license.EventRevoke, time.Second, suspended},
			{"", day - time.Second, revoked},
		} {
			if step.event != "" {
				w.must(w.edit(is.License.ID, step.event), "")
			}
			if step.after > time.Second {
				time.Sleep(step.after - 2*time.Second)
				synctest.Wait()
				if i.listed() != suspended {
					t.Errorf("final before its time: %d", i.listed())
				}
				time.Sleep(2 * time.Second)
			} else {
				time.Sleep(step.after)
			}
			synctest.Wait()
			if got := i.listed(); got != step.want {
				t.Errorf("step %d, %s: listed as %d, want %d", n, step.event, got, step.want)
			}
		}
		if age := w.a.Now().Sub(w.list(i.listID()).IssuedAt); age > time.Second || !w.list(i.listID()).IssuedAt.After(first) {
			t.Errorf("a list that has just changed is %s old", age)
		}
		var dates []time.Time
		for range 60 {
			time.Sleep(time.Minute)
			synctest.Wait()
			if at := w.list(i.listID()).IssuedAt; !slices.Contains(dates, at) {
				dates = append(dates, at)
			}
			if age := w.a.Now().Sub(dates[len(dates)-1]); age > 15*time.Minute {
				t.Errorf("a list is %s old", age)
			}
		}
		if len(dates) > 5 {
			t.Errorf("%d lists within an hour in which nothing changed", len(dates))
		}
		if reported := stop(); len(reported) > 0 {
			t.Errorf("reported: %v", reported)
		}
	})
}

// What fails is tried again, and reported once for as long as it lasts; the
// last list is served meanwhile.
func TestRunStatusListsFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := loopWorld(t)
		stop := w.loop()
		is := w.issue()
		i := w.install("machine-1")
		w.must(i.activate(is.Code), "")
		w.must(w.edit(is.License.ID, license.EventSuspend), "")
		time.Sleep(time.Second)
		synctest.Wait()
		last := w.list(i.listID())
		for range 2 {
			f.FailUpdate(func(u faultstore.Update) faultstore.Fault {
				if !u.Called("Append") { // the disk is full for lists only
					return faultstore.NotDone
				}
				return faultstore.None
			})
			w.must(w.edit(is.License.ID, license.EventResume), "")
			time.Sleep(time.Hour)
			synctest.Wait()
			if w.list(i.listID()).Raw != last.Raw {
				t.Error("another list is served")
			}
			f.Reset()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if i.listed() != valid {
				t.Errorf("after the fault it is listed as %d", i.listed())
			}
			w.must(w.edit(is.License.ID, license.EventSuspend), "")
			time.Sleep(time.Second)
			synctest.Wait()
			last = w.list(i.listID())
		}
		if reported := stop(); len(reported) != 2 || !strings.Contains(reported[0], "record that status lists are signed") {
			t.Errorf("reported: %q", reported)
		}
	})
}

// A clock that is not trusted is reported once too, although it shows another
// time at each try.
func TestRunStatusListsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := loopWorld(t)
		c, _ := w.sell("PL001")
		i := w.install("machine-1")
		w.must(i.activate(c), "")
		if _, err := w.a.RecordClock(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop := w.loop()
		w.set(40 * day)
		_, err := w.say(c, license.EventFreeze, 1)
		w.must(err, "")
		time.Sleep(time.Hour)
		synctest.Wait()
		if i.listed() != valid {
			t.Errorf("signed under a clock that is not trusted: %d", i.listed())
		}
		w.set(-40 * day)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if i.listed() != suspended {
			t.Errorf("when the clock is right it is listed as %d", i.listed())
		}
		if reported := stop(); len(reported) != 1 {
			t.Errorf("reported: %q", reported)
		}
	})
}

// Whoever asks while the lists are being made after a start waits for them, and
// no longer than that where it fails.
func TestStatusListAskedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := loopWorld(t)
		i := w.install("machine-1")
		w.must(i.activate(w.issue().Code), "")
		id := i.listID()
		for _, fails := range []bool{false, true} {
			w.again()
			if err := w.a.LoadStatusLists(t.Context()); err != nil {
				t.Fatal(err)
			}
			if fails {
				f.FailCall(faultstore.Method("StatusList"))
			}
			answered := make(chan error, 1)
			go func() {
				_, err := w.a.StatusList(t.Context(), id)
				answered <- err
			}()
			synctest.Wait()
			select {
			case err := <-answered:
				t.Fatalf("answered before there is a list: %v", err)
			default:
			}
			stop := w.loop()
			if err := <-answered; fails != (license.ReasonOf(err) == license.ReadOnly) || fails != (err != nil) {
				t.Errorf("failing %v: %v", fails, err)
			}
			_ = stop()
			f.Reset()
		}
	})
}

// A daemon that dies within the second that has had its lists, and starts again
// in it, answers as soon as the next second has begun.
func TestStatusListAskedWithinTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := loopWorld(t)
		stop := w.loop()
		is := w.issue()
		i := w.install("machine-1")
		w.must(i.activate(is.Code), "")
		for n := range 3 {
			w.must(w.edit(is.License.ID, []license.Event{license.EventSuspend, license.EventResume}[n%2]), "")
			time.Sleep(pause)
			synctest.Wait()
		}
		last := w.list(i.listID())
		if status, _ := last.At(i.held.Status.Index); status != suspended {
			t.Fatal("the third list of a second was signed, or the second was not")
		}
		_ = stop()
		w.must(w.edit(is.License.ID, license.EventResume), "")
		w.again()
		stop = w.loop()
		begin := time.Now()
		if got := i.listed(); got != valid || time.Since(begin) > time.Second || !w.list(i.listID()).IssuedAt.After(last.IssuedAt) {
			t.Errorf("listed as %d after %s", got, time.Since(begin))
		}
		if reported := stop(); len(reported) > 0 {
			t.Errorf("reported: %v", reported)
		}
	})
}

// Where others are on the store, too, a list that cannot be signed is tried again after
// the pause of a failure, and not each time that the others are looked at.
func TestStatusLoopPausesAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := loopWorld(t)
		w.again(func(o *authority.Options) { o.Shared = true })
		stop := w.loop()
		time.Sleep(pause)
		var views int
		f.FailCall(func(faultstore.Call) error { views++; return errDisk })
		time.Sleep(30 * time.Second)
		synctest.Wait()
		f.FailCall(nil)
		stop()
		if views < 5 || views > 8 {
			t.Errorf("the store was asked %d times in 30 s", views)
		}
	})
}
