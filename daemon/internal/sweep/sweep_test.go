package sweep_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/sweep"
	"github.com/seed-357fa782/licensed/license"
)

// stub has a number of steps to do, and fails when it is told to.
type stub struct {
	mu    sync.Mutex
	left  int
	err   error
	calls int
	takes time.Duration // each step
}

func (s *stub) set(left int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.err = left, err
}

func (s *stub) Sweep(context.Context, time.Time) (authority.Swept, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	time.Sleep(s.takes)
	if s.err != nil || s.left == 0 {
		return authority.Swept{}, false, s.err
	}
	s.left--
	return authority.Swept{Expired: 2, Forgotten: 1}, s.left > 0, nil
}

func TestRunOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &stub{left: 3}
		s := &sweep.Sweeper{Authority: a}
		begin := time.Now()
		did, err := s.RunOnce(t.Context(), begin)
		if err != nil || did != (authority.Swept{Expired: 6, Forgotten: 3}) || time.Since(begin) != 2*sweep.DefaultPause {
			t.Errorf("%+v after %s, %v", did, time.Since(begin), err)
		}
		broken := errors.New("broken")
		a.set(1, broken)
		if _, err := s.RunOnce(t.Context(), begin); !errors.Is(err, broken) {
			t.Error(err)
		}
		a.set(2, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if did, err := s.RunOnce(ctx, begin); !errors.Is(err, context.Canceled) || did.Expired != 2 {
			t.Errorf("%+v, %v", did, err)
		}
	})
}

// Where the store is busy the steps are slow, and then the store is left to others
// for longer: the sweeper takes a fifth of the time at most.
func TestYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sweep.Sweeper{Authority: &stub{left: 3, takes: time.Second}}
		begin := time.Now()
		if _, err := s.RunOnce(t.Context(), begin); err != nil || time.Since(begin) != 11*time.Second {
			t.Errorf("%s, %v", time.Since(begin), err)
		}
	})
}

// A failure is said once, and the next round tries again.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &stub{left: 1}
		var out bytes.Buffer
		s := &sweep.Sweeper{Authority: a, Log: slog.New(slog.NewTextHandler(&out, nil)), Every: time.Minute}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		synctest.Wait()
		if a.calls != 1 || strings.Count(out.String(), "expired=2") != 1 {
			t.Errorf("%d calls: %s", a.calls, &out)
		}
		a.set(0, errors.New("the disk is full"))
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		a.set(0, license.Errorf(license.Clock, "the clock is not trusted"))
		time.Sleep(time.Minute)
		synctest.Wait()
		a.set(1, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(out.String(), "the disk is full"); n != 1 || strings.Contains(out.String(), "not trusted") || a.calls != 6 {
			t.Errorf("%d calls: %s", a.calls, &out)
		}
		if strings.Count(out.String(), "expired=2") != 2 {
			t.Error(out.String())
		}
		cancel()
		<-done
	})
}

// It stops at any instant, and leaves nothing running.
func TestStartStop(t *testing.T) {
	defer goleak.VerifyNone(t)
	for i := range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		s := &sweep.Sweeper{Authority: &stub{left: 1 + i%5}, Every: time.Duration(1 + i%3), Pause: time.Duration(1 + i%2)}
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		if i%2 == 0 {
			running.Go(cancel)
		}
		cancel()
		running.Wait()
	}
}
