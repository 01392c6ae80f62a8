package client_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// Status is asked on each click: whatever the clock shows, it allocates nothing.
func TestStatusAllocatesNothing(t *testing.T) {
	for _, name := range []string{
		"none", "more than ten minutes behind", "years ahead", "years ahead, and the server answers", "the memory deleted",
	} {
		f := newField(t)
		g, _ := skews[name](f)
		if n := testing.AllocsPerRun(100, func() { g.Status() }); n != 0 {
			t.Errorf("%s: Status allocates %v times", name, n)
		}
		if n := testing.AllocsPerRun(100, func() { g.Feature("export") }); n != 0 {
			t.Errorf("%s: Feature allocates %v times", name, n)
		}
	}
}

// What is running may ask while the clock is set and the server answers.
func TestStatusWhileTheClockIsSet(t *testing.T) {
	s := newSite(t)
	world := newClock()
	s.vendor.now = world.now
	g := s.activated()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if st := g.Status(); st.At.Before(epoch) {
					t.Errorf("judged by %v", st.At)
					return
				}
				_, _ = g.Warnings(), g.Feature("export")
			}
		})
	}
	for _, off := range []time.Duration{-day, 400 * day, 0, time.Hour} {
		world.add(time.Hour)
		s.clock.add(world.now().Add(off).Sub(s.clock.now()))
		check(t, g.Refresh(t.Context()))
	}
	close(stop)
	wg.Wait()
}

// What is said of a clock names what it shows and what is proven.
func TestClockWarnings(t *testing.T) {
	for name, want := range map[string][]string{
		"more than ten minutes behind":        {"shows 2026-03-01 11:49 UTC", "2026-03-01 12:00 UTC is proven"},
		"years ahead, and the server answers": {"shows 2031-03-01 13:00 UTC", "to be 2026-03-02 13:00 UTC"},
		"years ahead":                         {"shows 2031-02-28 12:00 UTC", "nothing later than 2026-03-01 12:00 UTC", "has expired"},
	} {
		f := newField(t)
		g, _ := skews[name](f)
		w := g.Warnings()
		if len(w) != 1 || !errors.Is(w[0], license.Clock) {
			t.Fatalf("%s: %v", name, w)
		}
		for _, s := range want {
			if !strings.Contains(w[0].Error(), s) {
				t.Errorf("%s: %q is not in %v", name, s, w[0])
			}
		}
	}
}

// Where there is no server, a clock that is behind is no reason to call it.
func TestBehindWithoutAServer(t *testing.T) {
	f := newField(t)
	check(t, f.activated().Close())
	f.opts.Server = ""
	f.set(epoch.Add(-day))
	if st := f.open().Status(); st.Clock != client.ClockBehind || st.RefreshDue() {
		t.Errorf("%+v", st)
	}
}

// The running time needs nothing to be set up, and no Now can shorten it.
func TestRunningTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		g := s.activated()
		state := func() []byte {
			data, err := os.ReadFile(filepath.Join(s.opts.StateDir, "install.json"))
			check(t, err)
			return data
		}
		written := state()
		time.Sleep(9 * time.Second) // too little to be worth a write
		check(t, g.Close())
		if !bytes.Equal(state(), written) {
			t.Error("Close wrote less than ten seconds")
		}
		g = s.open()
		time.Sleep(13 * day)
		wantLicensed(t, g)
		if st := g.Status(); st.Clock != client.ClockBehind || !st.At.Equal(epoch.Add(13*day)) {
			t.Errorf("%+v", st)
		}
		check(t, g.Close())
		check(t, g.Close())
		written = state()
		time.Sleep(time.Hour)
		check(t, g.Close())
		if !bytes.Equal(state(), written) {
			t.Error("a closed guard wrote")
		}
		if got := readState(t, s).Floor; got != epoch.Add(13*day).Unix() {
			t.Errorf("the floor is %v", time.Unix(got, 0).UTC())
		}
		g = s.open()
		time.Sleep(day)
		if st := g.Status(); st.Usable || st.Reason != license.LeaseOver {
			t.Errorf("%+v", st)
		}
	})
}

// A product that runs for seconds at a time, such as a compiler, is counted as
// one that runs all day.
func TestShortRunsCount(t *testing.T) {
	f := newField(t)
	f.opts.Cache = &client.MemoryCache{}
	f.vendor.grant = func(_ token.Request, c *token.License) {
		c.Dates = license.Schedule{Enforcement: license.EnforceBlock, Lease: time.Hour}.DatesFor(c.Dates.IssuedAt, time.Time{}, time.Time{})
	}
	g := f.activated()
	const run = 20 * time.Second
	runs := 0
	for ; g.Status().Usable && runs < 1000; runs++ {
		f.run(run)
		f.off(time.Minute)
		f.set(epoch.Add(time.Minute))
		g = f.again(g)
	}
	if want := int(time.Hour / run); runs != want {
		t.Errorf("a lease of an hour lasted for %d runs of %s, not %d", runs, run, want)
	}
}

// Closing writes nothing where there is nothing to keep, and does not fail
// where it cannot write.
func TestCloseKeepsTheCount(t *testing.T) {
	f := newField(t)
	g := f.open()
	f.run(day)
	check(t, g.Close())
	if entries, err := os.ReadDir(f.opts.StateDir); err != nil || len(entries) != 0 {
		t.Errorf("wrote %v %v", entries, err)
	}

	f = newField(t)
	c := &failing{}
	f.opts.Cache = c
	g = f.activated()
	f.run(day)
	c.store = errors.New("no space left on device")
	check(t, g.Close())
	wantLicensed(t, g)

	// One that was deleted under its feet does not come back.
	f = newField(t)
	g = f.activated()
	f.run(day)
	path := filepath.Join(f.opts.StateDir, "install.json")
	check(t, os.Remove(path))
	check(t, g.Close())
	if _, err := os.Stat(path); err == nil {
		t.Error("it is back")
	}
}

// An install whose clock is behind judges certificates by what is proven.
func TestCertificatesAreJudgedByWhatIsProven(t *testing.T) {
	s := newSite(t)
	check(t, s.activated().Close())
	s.opts.HTTPClient = nil
	s.clock.add(-20 * 365 * day)
	if at := s.open().TLSTime(); !at.Equal(epoch) {
		t.Errorf("certificates are judged by %v", at)
	}
}

// The key set that is compiled in was signed before the product was built.
func TestCompiledInKeysProveTheirDate(t *testing.T) {
	s := newSite(t)
	s.opts.Keys = keySet(t, "anchor-1", 1, "sign-1")
	s.clock.add(-365 * day)
	if st := s.open().Status(); st.Clock != client.ClockBehind || !st.At.Equal(epoch.Add(-day)) {
		t.Errorf("%+v", st)
	}
}

// A key set that was dated in the future comes with every answer and every
// file, and raises nothing once an answer has shown what it is worth.
func TestKeySetDatedInTheFuture(t *testing.T) {
	late, err := token.SignKeySet(token.KeySet{
		Issuer: issuer, IssuedAt: epoch.Add(300 * day), ExpiresAt: epoch.Add(700 * day), Seq: 9, Keys: []token.Key{{
			ID: token.Thumbprint(public("sign-1")), Public: public("sign-1"), NotBefore: epoch.Add(-day), NotAfter: epoch.Add(4000 * day),
		}},
	}, signer(t, "anchor-1"))
	check(t, err)
	carried := func(op client.Op) func(*testing.T, *field, *client.Guard) {
		return func(t *testing.T, f *field, g *client.Guard) {
			t.Helper()
			req, err := g.Request(t.Context(), op, client.RequestOptions{})
			check(t, err)
			check(t, g.Import(f.carry(req)))
		}
	}
	type step = func(*testing.T, *field, *client.Guard)
	for name, c := range map[string]struct{ activate, refresh step }{
		"by calls": {
			func(t *testing.T, _ *field, g *client.Guard) { t.Helper(); check(t, g.Activate(t.Context(), code)) },
			func(t *testing.T, _ *field, g *client.Guard) { t.Helper(); check(t, g.Refresh(t.Context())) },
		},
		"by files": {carried(client.OpActivate), carried(client.OpRefresh)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newField(t)
			f.vendor.keys = late
			g := f.open()
			c.activate(t, f, g)
			for range 3 {
				f.wantFloor(f.world.now())
				check(t, g.Import(g.File()))
				f.wantFloor(f.world.now())
				g = f.again(g)
				if st := g.Status(); !st.Usable || st.Clock != client.ClockOK {
					t.Errorf("%+v", st)
				}
				f.off(day)
				c.refresh(t, f, g)
			}
		})
	}
}

// The first answer to come may lower the floor; those to requests that were
// made before it may not, whatever they say.
func TestOneAnswerLowersTheFloor(t *testing.T) {
	f := newField(t)
	g := f.activated()
	other := token.Request{InstallID: token.Thumbprint(public("x")), ID: "n"}
	check(t, g.Import(f.fileOf(timeToken(t, other, epoch.Add(50*day), "sign-1"))))
	kept, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{Code: otherCode})
	check(t, err)
	answer := f.carry(kept)
	f.off(day)
	check(t, g.Refresh(t.Context()))
	f.wantFloor(epoch.Add(day))
	check(t, g.Import(answer))
	f.wantFloor(epoch.Add(day))

	// Nor does one that was made when less was proven, such as one that is kept
	// for the day on which the licence ends.
	kept, err = g.Request(t.Context(), client.OpTransfer, client.RequestOptions{Code: code})
	check(t, err)
	answer = f.carry(kept)
	check(t, g.Import(f.fileOf(timeToken(t, other, epoch.Add(60*day), "sign-1"))))
	check(t, g.Import(answer))
	f.wantFloor(epoch.Add(60 * day))
}

// Of several answers in one file the newest says what time it is.
func TestAnswersInOneFile(t *testing.T) {
	f := newField(t)
	g := f.activated()
	other := token.Request{InstallID: token.Thumbprint(public("x")), ID: "n"}
	check(t, g.Import(f.fileOf(timeToken(t, other, epoch.Add(50*day), "sign-1"))))
	var answers []byte
	for _, op := range []client.Op{client.OpRefresh, client.OpActivate} {
		req, err := g.Request(t.Context(), op, client.RequestOptions{})
		check(t, err)
		f.off(day)
		answers = append(answers, f.carry(req)...)
	}
	check(t, g.Import(answers))
	f.wantFloor(epoch.Add(2 * day))
}

// A machine sleeps while its request is carried: its clock is not ahead.
func TestAsleepBeforeTheAnswer(t *testing.T) {
	f := newField(t)
	g := f.activated()
	req, err := g.Request(t.Context(), client.OpRefresh, client.RequestOptions{})
	check(t, err)
	answer := f.carry(req)
	f.off(3 * day)
	check(t, g.Import(answer))
	if st := g.Status(); st.Clock != client.ClockOK || !st.At.Equal(f.clock.now()) {
		t.Errorf("%+v", st)
	}
}

// A clock is set back before the answer, and not far enough.
func TestSetBackBeforeTheAnswer(t *testing.T) {
	f := newField(t)
	g := f.activated()
	f.set(epoch.Add(3 * time.Hour))
	req, err := g.Request(t.Context(), client.OpRefresh, client.RequestOptions{})
	check(t, err)
	f.run(time.Minute)
	answer := f.carry(req)
	f.set(f.world.now().Add(time.Hour))
	check(t, g.Import(answer))
	if st := g.Status(); st.Clock != client.ClockAhead || st.At.Sub(f.world.now()).Abs() > time.Minute {
		t.Errorf("it is %v: %+v", f.world.now(), st)
	}
}

// What another process has spent stays so when a request of this one is refused.
func TestSpentWhileARequestIsRefused(t *testing.T) {
	s := newSite(t)
	b := s.activated()
	req, err := b.Request(t.Context(), client.OpRefresh, client.RequestOptions{})
	check(t, err)
	answer := s.carry(req)
	a, connection := s.slow()
	s.vendor.refuse = func(r token.Request) error {
		if r.Op == token.OpDeactivate {
			return license.Suspended
		}
		return nil
	}
	connection.do = func() { check(t, b.Import(answer)) }
	wantReason(t, a.Deactivate(t.Context()), license.Suspended)
	if p := readState(t, s).Sent.Deactivation; p == nil || !p.Refused || p.Proven != 0 {
		t.Errorf("%+v", p)
	}
}

// An answer that a wrong server gave is no better for having been kept back.
func TestAnswerOfAWrongServerKeptBack(t *testing.T) {
	f := newField(t)
	f.server = 20 * day
	g := f.activated()
	kept, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{Code: otherCode})
	check(t, err)
	answer := f.carry(kept)
	f.server = 0
	check(t, g.Refresh(t.Context()))
	held := g.License().ID()
	wantReason(t, g.Import(answer), license.NotYetValid)
	f.wantFloor(epoch)
	if st := g.Status(); !st.Usable || g.License().ID() != held {
		t.Errorf("%+v", st)
	}
}

// A deactivation that is refused is kept; its time counts once all the same.
func TestRefusedRequestStaysSpent(t *testing.T) {
	f := newField(t)
	g := f.activated()
	f.server = 20 * day
	f.refreshed(g)
	f.server = 0
	f.vendor.spoil = func(r token.Request, a *wire.Answer) { a.License = "" }
	wantReason(t, g.Refresh(t.Context()), license.Damaged)
	f.wantFloor(f.world.now())
	if p := readState(t, f.site).Sent.Refresh; p == nil || p.Proven != 0 {
		t.Errorf("%+v", p)
	}
}

func TestDamagedTimes(t *testing.T) {
	for _, m := range []client.Memory{
		memoryWith(-1, 0), memoryWith(0, -1), memoryWith(license.Forever.Unix()+1, 0), memoryWith(0, 1<<62),
	} {
		data, err := client.Encode(m)
		check(t, err)
		_, err = client.Decode(data)
		wantReason(t, err, license.Damaged)
	}
}

func memoryWith(floor, doubt int64) client.Memory {
	m := client.Memory{Product: product}
	m.Floor, m.Doubt = floor, doubt
	return m
}
