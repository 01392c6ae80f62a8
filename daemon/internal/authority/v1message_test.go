package authority_test

import (
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// A renewal sets the end and lifts the marketplace's hold; what is older than
// what was heard, or the same call again, changes nothing.
func TestMessagesV1(t *testing.T) {
	t.Parallel()
	first, second := begin.Add(400*day), begin.Add(800*day)
	type step struct {
		event license.Event
		sent  int // seconds
		until time.Time
		want  authority.Outcome
	}
	yes, no, late := authority.Outcome{Changed: true}, authority.Outcome{}, authority.Outcome{Late: true}
	for name, c := range map[string]struct {
		steps []step
		state license.State
		end   time.Time
	}{
		"renewed": {[]step{{license.EventSetExpiry, 1, first, yes}}, license.StateActive, first},
		"frozen":  {[]step{{license.EventFreeze, 1, time.Time{}, yes}}, license.StateSuspended, begin.Add(365 * day)},
		"frozen and renewed": {[]step{
			{license.EventFreeze, 1, time.Time{}, yes},
			{license.EventSetExpiry, 2, first, yes},
		}, license.StateActive, first},
		"to the same end": {[]step{
			{license.EventSetExpiry, 1, first, yes},
			{license.EventFreeze, 2, time.Time{}, yes},
			{license.EventSetExpiry, 3, first, yes},
			{license.EventSetExpiry, 4, first, no},
		}, license.StateActive, first},
		"a freeze that arrives after the renewal that followed it": {[]step{
			{license.EventSetExpiry, 2, first, yes},
			{license.EventFreeze, 1, time.Time{}, late},
		}, license.StateActive, first},
		"a renewal that arrives after the freeze that followed it": {[]step{
			{license.EventFreeze, 2, time.Time{}, yes},
			{license.EventSetExpiry, 1, first, yes},
		}, license.StateSuspended, first},
		"renewals reordered": {[]step{
			{license.EventSetExpiry, 2, second, yes},
			{license.EventSetExpiry, 1, first, late},
		}, license.StateActive, second},
		"the same call again after others": {[]step{
			{license.EventFreeze, 2, time.Time{}, yes},
			{license.EventSetExpiry, 2, first, yes},
			{license.EventFreeze, 2, time.Time{}, no},
		}, license.StateActive, first},
		"released": {[]step{
			{license.EventRelease, 1, time.Time{}, yes},
			{license.EventRelease, 2, time.Time{}, no},
			{license.EventSetExpiry, 3, first, late},
			{license.EventFreeze, 4, time.Time{}, late},
		}, license.StateReleased, begin.Add(365 * day)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := w.handed()
			for i, s := range c.steps {
				s.want.License = h.License
				if got := w.heard(h.Instance, s.event, time.Duration(s.sent)*time.Second, s.until); got != s.want {
					t.Errorf("step %d: %+v, want %+v", i, got, s.want)
				}
			}
			l, _ := w.license(h.License)
			if l.StateAt(w.clock()) != c.state || !l.ExpiresAt.Equal(c.end) {
				t.Errorf("%s until %s, want %s until %s", l.StateAt(w.clock()), l.ExpiresAt, c.state, c.end)
			}
		})
	}
}

// The very same call again is without effect for as long as it is welcome at all: the
// widest time window, on both sides, whatever else is heard meanwhile, and also
// after a restart.
func TestSameCallV1Again(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handed()
	other := w.handed(func(s *authority.Sale) { s.Order, s.Business = "CS2", "business-2" })
	const ahead = 24 * time.Hour // the call is dated by a clock that is as wrong as it may be
	w.heard(h.Instance, license.EventSetExpiry, ahead, begin.Add(400*day))
	mine := begin.Add(1000 * day) // set by the merchant by hand
	if _, _, err := w.a.Edit(t.Context(), admin, h.License, authority.Edit{Event: license.EventRenew, ExpiresAt: mine}); err != nil {
		t.Fatal(err)
	}
	for passed := time.Duration(0); passed < 2*ahead; passed += 4 * time.Hour {
		w.pass(4 * time.Hour)
		for n := range 6 { // each may drop a few marks
			w.heard(other.Instance, license.EventFreeze, passed+time.Duration(n)*time.Second, time.Time{})
		}
		w.again()
		out := w.heard(h.Instance, license.EventSetExpiry, ahead, begin.Add(400*day))
		if l, _ := w.license(h.License); out.Changed || out.License != h.License || !l.ExpiresAt.Equal(mine) || !l.OwnEnd {
			t.Fatalf("after %s the same call was applied again: %+v, until %s, the merchant set %s", passed, out, l.ExpiresAt, mine)
		}
	}
}

// A call that is dated ahead does not make copies of the newer interfaces' messages
// welcome.
func TestCallV1LeavesOtherMarks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handed()
	post := authority.Message{Channel: "koogallery", Event: license.EventFreeze, Instance: h.Instance, SentAt: begin, ReplayKey: []byte("post")}
	if _, err := w.a.Message(t.Context(), post); err != nil {
		t.Fatal(err)
	}
	for n := range 8 {
		w.heard(h.Instance, license.EventSetExpiry, 24*time.Hour+time.Duration(n)*time.Second, begin.Add(400*day))
	}
	w.again() // the memory of the verifier is gone with the process
	_, err := w.a.Message(t.Context(), post)
	w.must(err, license.Replayed)
}

// Two calls of one second have an order.
func TestMessagesV1OfOneSecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handed()
	w.heard(h.Instance, license.EventSetExpiry, 900*time.Millisecond, begin.Add(400*day))
	if out := w.heard(h.Instance, license.EventFreeze, 100*time.Millisecond, time.Time{}); !out.Late || w.state(h.License) != license.StateActive {
		t.Errorf("renewed at .900 and frozen at .100: %+v, %s", out, w.state(h.License))
	}
}

// A renewal that is older than the freeze leaves that be, and nothing is written
// down that nobody has sent.
func TestRenewalV1BeforeTheFreeze(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handed()
	w.heard(h.Instance, license.EventFreeze, 2*time.Minute, time.Time{})
	end := begin.Add(400 * day)
	out := w.heard(h.Instance, license.EventSetExpiry, time.Minute, end)
	if l, _ := w.license(h.License); !out.Changed || out.Late || !l.ExpiresAt.Equal(end) || w.state(h.License) != license.StateSuspended {
		t.Errorf("%+v, %s until %s", out, w.state(h.License), l.ExpiresAt)
	}
	if late, lifted := w.events(license.ActionLateMessage), w.events(license.ActionUnfreeze); late != 0 || lifted != 0 {
		t.Errorf("%d late messages and %d unfreezes are on record", late, lifted)
	}
}

// A merchant's own hold stays, whatever the marketplace renews.
func TestRenewalLeavesTheMerchantsHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handed()
	w.must(w.edit(h.License, license.EventSuspend), "")
	w.heard(h.Instance, license.EventFreeze, time.Second, time.Time{})
	w.heard(h.Instance, license.EventSetExpiry, 2*time.Second, begin.Add(700*day))
	if l, _ := w.license(h.License); l.Holds != license.HoldMerchant {
		t.Errorf("held by %v", l.Holds.Names())
	}
}

// Instances are those of their entry, and no codes; the newer interface knows
// them too.
func TestInstanceOfASale(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.again(func(o *authority.Options) { o.Channels = append(o.Channels, authority.Channel{Name: "second"}) })
	h := w.handed()
	for name, m := range map[string]authority.Message{
		"another instance": {Channel: "koogallery", Instance: "business-2"},
		"another entry":    {Channel: "second", Instance: h.Instance},
		"the licence's id": {Channel: "koogallery", Instance: h.License},
		"the code":         {Channel: "koogallery", Instance: w.codeIn(h.Text).Reveal()},
	} {
		m.Event, m.SentAt, m.ReplayKey = license.EventRelease, begin, []byte(name)
		if _, err := w.a.MessageV1(t.Context(), m); license.ReasonOf(err) != license.UnknownLicense {
			t.Errorf("%s: %v", name, err)
		}
	}
	if code, err := license.ParseCode(h.Instance); err != nil {
		t.Error(err)
	} else {
		w.must(w.install("m").activate(code), license.UnknownCode)
	}
	if w.state(h.License) != license.StateActive {
		t.Errorf("it is %s", w.state(h.License))
	}
	// The id that a purchase proposes is taken by another entry's, or by another order's.
	if second := w.handed(func(s *authority.Sale) { s.Order = "CS2" }); second.Instance == h.Instance || second.License == h.License {
		t.Errorf("%+v", second)
	}
	if other := w.handed(func(s *authority.Sale) { s.Channel = "second" }); other.Instance != h.Instance || other.License == h.License {
		t.Errorf("%+v", other)
	}
	out, err := w.a.Message(t.Context(), authority.Message{
		Channel: "koogallery", Instance: h.Instance, Event: license.EventFreeze, SentAt: begin.Add(time.Minute), ReplayKey: []byte("post"),
	})
	if err != nil || !out.Changed || w.state(h.License) != license.StateSuspended {
		t.Errorf("%v, %+v, %s", err, out, w.state(h.License))
	}
	if err := w.a.Apply(t.Context(), authority.Application{
		Channel: "koogallery", Instance: h.Instance, Event: "e", SentAt: begin, ReplayKey: []byte("apply"),
	}); license.ReasonOf(err) != license.UnknownLicense {
		t.Errorf("%v", err)
	}
}
