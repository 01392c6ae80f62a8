package client_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// set returns an instant as a clock gives it that was set forward, or has gone on
// while the machine slept: the reading of the monotonic clock stays as it is.
func set(t time.Time, forward time.Duration) time.Time {
	const nanoseconds = 30 // bits below the seconds of the wall clock
	*(*uint64)(unsafe.Pointer(&t)) += uint64(forward/time.Second) << nanoseconds
	return t
}

// A product is called home as soon as its machine wakes up, where nobody was
// reached before it slept.
func TestWakesUp(t *testing.T) {
	now := time.Now() // outside of the bubble, which has no monotonic clock
	synctest.Test(t, func(t *testing.T) {
		if woken := set(now, time.Hour); woken.Sub(now) != 0 || woken.Unix()-now.Unix() != 3600 {
			t.Fatal("a time is made in another way than this test thinks")
		}
		l := newBubble(t)
		slept := time.Duration(0)
		l.opts.Now = func() time.Time {
			l.mu.Lock()
			defer l.mu.Unlock()
			return set(now.Add(time.Since(l.begin)), epoch.Sub(now)+slept)
		}
		l.vendor.now = func() time.Time { return l.true().Add(slept) }
		l.activate()
		l.change(func() { l.down = true })
		l.until(0, 12, 0)
		l.forget()
		l.until(0, 12, 10)
		if n := len(l.calls); n > 1 {
			t.Fatalf("%d calls in ten minutes before it slept", n)
		}
		l.forget()
		l.change(func() { slept, l.down = 8*time.Hour, false })
		l.until(0, 12, 12)
		if n := len(l.calls); n < 1 || n > 2 { // the request that waited, and one that is up to date
			t.Errorf("%d calls in two minutes after it slept", n)
		}
		l.stop()
	})
}

// What the server asked for holds also where the machine sleeps meanwhile,
// which passes as well.
func TestRetryAfterSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.activate()
		l.change(func() {
			l.vendor.refuse = func(token.Request) error {
				return license.Errorf(license.RateLimited, "too many").WithRetryAfter(10 * time.Hour)
			}
		})
		l.until(0, 7, 0)
		l.forget()
		for range 3 {
			l.change(func() { l.skew += 2 * time.Hour }) // the clock shows that it slept
			time.Sleep(10 * time.Minute)
		}
		if n := len(l.calls); n != 0 {
			t.Errorf("%d calls before it was asked to", n)
		}
		l.change(func() { l.skew += 4 * time.Hour })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(l.calls); n != 1 {
			t.Errorf("%d calls when the time has come", n)
		}
		l.stop()
	})
}

// Who renews a licence while the machine sleeps need not wait for an hour of being
// awake: the time that was slept has passed.
func TestRenewedAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.ends = epoch.Add(24 * time.Hour)
		l.activate()
		l.until(1, 3, 0)
		l.forget()
		for asked := false; !asked; {
			time.Sleep(time.Minute)
			synctest.Wait()
			l.change(func() { asked = len(l.calls) > 0 })
		}
		l.forget()
		l.change(func() { l.skew, l.ends = 2*time.Hour, epoch.Add(100*24*time.Hour) }) // the clock shows that it slept
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(l.calls); n != 1 {
			t.Errorf("%d calls", n)
		}
		wantLicensed(t, l.g)
		l.stop()
	})
}

// What the product called for in vain is tried again later, and not at once.
func TestActivationInVain(t *testing.T) {
	for name, test := range map[string]struct {
		err   error
		quiet time.Duration
	}{
		"nobody is there":       {errors.New("the cable is out"), 20 * time.Second},
		"the server wants rest": {license.Errorf(license.RateLimited, "too many").WithRetryAfter(time.Hour), 59 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newBubble(t)
			l.change(func() {
				l.down = license.ReasonOf(test.err) == license.Internal
				l.vendor.refuse = func(token.Request) error { return test.err }
			})
			l.start()
			if err := l.g.Activate(t.Context(), code); err == nil {
				t.Fatal("it was activated")
			}
			time.Sleep(test.quiet)
			synctest.Wait()
			l.change(func() {
				if n := len(l.calls); n != 1 {
					t.Errorf("%s: %d calls in %v", name, n, test.quiet)
				}
				l.down, l.vendor.refuse = false, nil
			})
			time.Sleep(20 * time.Minute)
			wantLicensed(t, l.g)
			l.stop()
		})
	}
}

// canceled is a transport that gives up by itself.
type canceled struct{ l *bubble }

func (c canceled) RoundTrip(*http.Request) (*http.Response, error) {
	c.l.change(func() { c.l.calls = append(c.l.calls, time.Since(c.l.begin)) })
	return nil, context.Canceled
}

// However a call ends, and however far off the next one is, no guard calls
// without end.
func TestNeverWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.opts.Code = code
		l.opts.HTTPClient = &http.Client{Transport: canceled{l}}
		l.start()
		l.until(0, 0, 5)
		l.stop()
		if n := len(l.calls); n > 6 {
			t.Errorf("%d calls in five minutes, all cancelled by the transport", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.vendor.grant = func(_ token.Request, c *token.License) {
			c.Dates = license.Schedule{Enforcement: license.EnforceBlock, Refresh: math.MaxInt64}.DatesFor(c.Dates.IssuedAt, time.Time{}, time.Time{})
		}
		l.activate()
		l.until(0, 0, 5)
		l.stop()
		if n := len(l.calls); n > 2 {
			t.Errorf("%d calls in five minutes, though none is due for centuries", n)
		}
	})
}

// A machine that could not be looked at, or that looked like another one, is
// looked at again soon.
func TestLooksAgain(t *testing.T) {
	for name, look := range map[string]func() (fingerprint.Set, error){
		"failed":  func() (fingerprint.Set, error) { return fingerprint.Set{}, errors.New("too many open files") },
		"another": func() (fingerprint.Set, error) { return machineB(), nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newBubble(t)
			l.lease(license.ModeNode, 0, 300*24*time.Hour)
			looks, fails := 0, false
			l.opts.Fingerprint = func(context.Context) (fingerprint.Set, error) {
				l.mu.Lock()
				defer l.mu.Unlock()
				looks++
				if fails {
					return look()
				}
				return machineA(), nil
			}
			l.activate()
			l.until(0, 23, 0)
			l.forget()
			l.change(func() { fails, looks = true, 0 })
			l.until(1, 1, 30)
			l.change(func() {
				if looks < 2 || looks > 30 {
					t.Errorf("%s: %d looks in two hours and a half", name, looks)
				}
				fails = false
			})
			l.until(1, 1, 40)
			wantLicensed(t, l.g)
			l.stop()
		})
	}
}

// Who is configured with the code of a floating licence, and never had a seat
// of it, gets one soon after it is free as well.
func TestWaitingForTheFirstSeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.opts.Code = code
		l.lease(license.ModeFloating, 15*time.Minute, 5*time.Minute)
		l.vendor.refuse = func(token.Request) error {
			return license.Errorf(license.MachineLimit, "all seats are in use").WithRetryAfter(time.Minute)
		}
		l.start()
		l.until(0, 2, 0)
		l.change(func() {
			if n := len(l.calls); n < 95 || n > 125 {
				t.Errorf("%d calls in two hours", n)
			}
			l.vendor.refuse = nil
		})
		l.until(0, 2, 2)
		wantLicensed(t, l.g)
		l.stop()
	})
}

// Installs whose licence ends at the same instant do not call at it.
func TestEndIsSpread(t *testing.T) {
	var after []time.Duration
	for _, part := range []float64{0.1, 0.5, 0.9} {
		synctest.Test(t, func(t *testing.T) {
			l := newBubble(t)
			l.opts = client.Steady(l.opts, part)
			l.ends = epoch.Add(24 * time.Hour)
			l.lease(license.ModeNode, 0, 400*24*time.Hour)
			grant := l.vendor.grant
			l.vendor.grant = func(r token.Request, c *token.License) {
				grant(r, c)
				c.Dates = license.Schedule{Grace: 24 * time.Hour, Enforcement: license.EnforceBlock, Refresh: 20 * 24 * time.Hour}.
					DatesFor(c.Dates.IssuedAt, time.Time{}, l.ends)
			}
			l.activate()
			l.until(0, 23, 0)
			l.forget()
			l.until(1, 1, 30)
			l.stop()
			if len(l.calls) == 0 || len(l.calls) > 3 {
				t.Fatalf("calls %v", l.calls)
			}
			after = append(after, l.calls[0]-24*time.Hour)
		})
	}
	for i, d := range after {
		if d < 0 || d > time.Hour || i > 0 && d < after[i-1]+10*time.Minute {
			t.Errorf("after the end: %v", after)
		}
	}
}
