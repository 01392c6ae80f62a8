package authority_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// keyLoop runs the loop of an authority about its keys until it is stopped, and
// collects what it tells.
func (w *world) keyLoop(a *authority.Authority) (stop func() []string) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var told []string
	var done sync.WaitGroup
	done.Go(func() {
		a.RunKeys(ctx, func(n authority.KeyNews) {
			switch {
			case n.Err != nil:
				told = append(told, "error: "+n.Err.Error())
			case n.Rotated != nil:
				told = append(told, "rotated")
			case n.Reloaded:
				told = append(told, "reloaded")
			}
			for _, warning := range n.Warnings {
				told = append(told, "warning: "+string(warning.Kind))
			}
		})
	})
	return func() []string {
		synctest.Wait()
		cancel()
		done.Wait()
		return told
	}
}

func (w *world) eventsOf(action license.Action) []license.AuditEvent {
	w.t.Helper()
	events, _, err := w.a.Events(w.t.Context(), store.EventFilter{Action: action}, store.Page{Limit: store.MaxPage})
	if err != nil {
		w.t.Fatal(err)
	}
	return events
}

// Two daemons share keys and store. When a rotation is due, one of them rotates,
// the other takes it over, and the audit log tells of it once; then there is no
// next key, and both warn of the next rotation before it is due.
func TestRotateBySchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := loopWorld(t)
		w.ownKeys()
		w.again(func(o *authority.Options) { o.RotateEvery = 3 * time.Hour })
		first, _ := w.ring.Current()
		ring, err := keys.Open(w.ring.Dir(), keys.Options{Issuer: issuer})
		if err != nil {
			t.Fatal(err)
		}
		o := w.options
		o.Custody = custody{Ring: ring}
		other, err := authority.New(o)
		if err != nil {
			t.Fatal(err)
		}
		stopOne, stopOther := w.keyLoop(w.a), w.keyLoop(other)
		time.Sleep(3*time.Hour - time.Minute)
		synctest.Wait()
		if now, _ := w.ring.Current(); now.ID != first.ID {
			t.Error("rotated before it was due")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		one, _ := w.ring.Current()
		two, _ := ring.Current()
		if one.ID == first.ID || one.ID != two.ID {
			t.Errorf("they sign with %s and %s; before %s", one.ID, two.ID, first.ID)
		}
		time.Sleep(2*time.Hour + time.Minute)
		told := append(stopOne(), stopOther()...)
		slices.Sort(told)
		if want := []string{"reloaded", "rotated", "warning: rotation", "warning: rotation"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if n := len(w.eventsOf(license.ActionKeysRotate)); n != 1 {
			t.Errorf("%d audit events of one rotation", n)
		}
		if n := len(w.eventsOf(license.ActionKeysExpiring)); n != 1 {
			t.Errorf("%d audit events of one warning", n)
		}
		if due := w.a.RotateDue(); due.Sub(w.a.Now()) > time.Hour {
			t.Errorf("due at %s, now %s", due, w.a.Now())
		}
	})
}

// A rotation that is due while the daemon is down is made when it is up again,
// and a rotation that a crash kept from the audit log gets there.
func TestRotateAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := loopWorld(t)
		w.ownKeys()
		w.keyLoop(w.a)()
		time.Sleep(5 * day)
		if _, err := w.ring.Rotate(w.options.Now()); err != nil { // as before a crash
			t.Fatal(err)
		}
		w.again()
		w.keyLoop(w.a)()
		if n := len(w.eventsOf(license.ActionKeysRotate)); n != 1 {
			t.Errorf("%d audit events of the rotation before the crash", n)
		}
		w.installKeysAt(w.options.Now())
		before, _ := w.ring.Current()
		time.Sleep(5 * day)
		w.again(func(o *authority.Options) { o.RotateEvery = day })
		if told := w.keyLoop(w.a)(); !slices.Contains(told, "rotated") {
			t.Errorf("told %q", told)
		}
		if now, _ := w.ring.Current(); now.ID == before.ID {
			t.Error("not rotated")
		}
	})
}

// Before a key set ends there are warnings each day, and audit events at a few
// steps, of which each is told once.
func TestKeySetEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	look := func() []string {
		t.Helper()
		list, err := w.a.KeyWarnings(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, k := range list {
			kinds = append(kinds, string(k.Kind))
		}
		return kinds
	}
	if got := look(); len(got) > 0 {
		t.Errorf("warnings %v of new keys", got)
	}
	w.pass(310*day + time.Second)
	if got := look(); !slices.Equal(got, []string{"key_set"}) {
		t.Errorf("warnings %v", got)
	}
	round := func() {
		ctx, cancel := context.WithCancel(t.Context())
		w.a.RunKeys(ctx, func(authority.KeyNews) { cancel() })
	}
	for range 3 {
		w.again()
		round()
	}
	if n := len(w.eventsOf(license.ActionKeysExpiring)); n != 1 {
		t.Errorf("%d events at 90 days", n)
	}
	w.pass(31 * day)
	w.mustAccept()
	round()
	events := w.eventsOf(license.ActionKeysExpiring)
	if len(events) != 2 || events[1].After["days_left"] != float64(58) || !strings.Contains(events[1].Note, "have an anchor sign") {
		t.Errorf("at 60 days: %+v", events)
	}
	w.pass(400 * day)
	if got := look(); !slices.Equal(got, []string{"key_set", "signing_key"}) {
		t.Errorf("at the end: %v", got)
	}
}

// mustAccept confirms the clock.
func (w *world) mustAccept() {
	w.t.Helper()
	if _, _, err := w.a.AcceptClock(w.t.Context(), admin, w.clock()); err != nil {
		w.t.Fatal(err)
	}
}

// brokenCustody is one whose key does not sign.
type brokenCustody struct {
	custody
	fail *error
}

func (c brokenCustody) Current() (token.SigningKey, token.KeySet) {
	key, set := c.Ring.Current()
	key.Signer = brokenSigner{key.Signer, c.fail}
	return key, set
}

func (c brokenCustody) Signs() error { return *c.fail }

// A signer that fails costs nobody anything: the request is answered again, with
// what was granted, as soon as it can be signed; and until then the server says
// that it is not ready.
func TestSignerFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	var fail error
	w.again(func(o *authority.Options) { o.Custody = brokenCustody{custody{Ring: w.ring}, &fail} })
	is := w.issue()
	i := w.install("machine-1")
	raw := i.request(token.OpActivate, withCode(is.Code))
	fail = errors.New("the token was pulled out")
	if _, err := i.send(raw); !errors.Is(err, fail) {
		t.Fatalf("activated without a key: %v", err)
	}
	if err := w.a.Ready(t.Context()); !errors.Is(err, fail) || !errors.Is(err, authority.ErrSigner) || license.ReasonOf(err) != license.Internal {
		t.Errorf("ready: %v", err)
	}
	fail = nil
	if _, err := i.send(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.a.Ready(t.Context()); err != nil {
		t.Errorf("not ready: %v", err)
	}
	w.must(i.refresh(), "")
	if n := w.events(license.ActionActivate); n != 1 {
		t.Errorf("bound %d times", n)
	}
	if n := w.events(license.ActionFork); n != 0 {
		t.Errorf("%d forks", n)
	}
}
