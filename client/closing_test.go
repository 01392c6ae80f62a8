package client_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// floating is a bubble in which a floating seat is held.
func floating(t *testing.T) *bubble {
	t.Helper()
	l := newBubble(t)
	l.lease(license.ModeFloating, 15*time.Minute, 5*time.Minute)
	l.activate()
	l.until(0, 0, 2)
	return l
}

// another opens another copy of the product, which nobody listens to.
func (l *bubble) another(change func(*client.Options)) *client.Guard {
	l.t.Helper()
	opts := l.opts
	change(&opts)
	g, err := client.Open(l.t.Context(), opts)
	check(l.t, err)
	return g
}

// A seat stays with the copies that still use it, however short another one
// lives and whatever that one does with seats itself.
func TestSeatInUseStays(t *testing.T) {
	for name, change := range map[string]func(*client.Options){
		"one like it":           func(*client.Options) {},
		"one that keeps seats":  func(o *client.Options) { o.KeepSeat = true },
		"one that is on manual": func(o *client.Options) { o.Manual = true },
	} {
		for _, file := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				l := newBubble(t)
				if !file {
					l.opts.Cache = &client.MemoryCache{}
				}
				l.lease(license.ModeFloating, 15*time.Minute, 5*time.Minute)
				l.activate()
				l.until(0, 0, 2)
				for range 10 { // in which order a copy does things is by chance
					check(t, l.another(change).Close())
					wantLicensed(t, l.g)
				}
				other := l.another(change)
				l.stop()
				if got := ops(l.vendor.seen()); !slices.Equal(got, []string{"activate"}) {
					t.Errorf("%s, in a file %v: calls %v", name, file, got)
				}
				check(t, other.Close())
			})
		}
	}
}

// held is a server that takes its time over what it has already done.
type held struct {
	http.RoundTripper
	by time.Duration
}

func (h held) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := h.RoundTripper.RoundTrip(r)
	select {
	case <-time.After(h.by):
		return resp, err
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// Close ends what the product itself has under way, and gives the seat back.
func TestCloseEndsCallsBeforeTheSeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := floating(t)
		l.change(func() { l.hangs = true })
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := l.g.Refresh(t.Context()); err == nil {
				t.Error("a call that hung succeeded")
			}
		})
		synctest.Wait()
		l.change(func() { l.hangs = false })
		before := time.Since(l.begin)
		l.stop()
		wg.Wait()
		if took := time.Since(l.begin) - before; took != 0 {
			t.Errorf("Close took %v", took)
		}
		if got := ops(l.vendor.seen()); got[len(got)-1] != string(token.OpDeactivate) {
			t.Errorf("calls %v", got)
		}
	})
}

// Nobody takes a seat again that Close has given back.
func TestCloseIsTheLastCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.opts.HTTPClient.Transport = held{l, time.Second}
		l.lease(license.ModeFloating, 15*time.Minute, 5*time.Minute)
		l.activate()
		var wg sync.WaitGroup
		wg.Go(func() { check(t, l.g.Close()) })
		synctest.Wait() // the deactivation is on its way
		wg.Go(func() { wantReason(t, l.g.Refresh(t.Context()), license.Conflict) })
		wg.Wait()
		l.reader.Wait()
		if got := ops(l.vendor.seen()); got[len(got)-1] != string(token.OpDeactivate) {
			t.Errorf("calls %v", got)
		}
	})
}

// A code that is configured anew counts, not the one that a seat was taken by
// before.
func TestConfiguredCodeIsNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.opts.Code = code
		l.lease(license.ModeFloating, 15*time.Minute, 5*time.Minute)
		l.start()
		l.until(0, 0, 2)
		l.stop()
		l.opts.Code = otherCode
		l.start()
		l.until(0, 0, 4)
		if got := l.g.License().LicenseID(); got != "lic_2" {
			t.Errorf("it holds %q", got)
		}
		l.stop()
	})
}
