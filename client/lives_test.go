package client_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// life is an install to which anything happens, for properties.
type life struct {
	*field
	g        *client.Guard
	wrong    bool // the server's clock has been wrong
	answered bool // an answer came in this step
	drawer   [][]byte
	files    [][]byte
	last     map[string]time.Time // iat of what an install was granted last

	stored []byte // the memory as it was looked at last
	looked client.Memory
}

// lifeBegun is where each life begins: at an install that was just activated.
var lifeBegun shared[saved]

func newLife(t *testing.T) *life {
	t.Helper()
	begin := lifeBegun.get("", func() saved {
		f := newField(t)
		check(t, f.activated().Close())
		return f.save()
	})
	l := &life{field: newField(t), last: map[string]time.Time{}}
	l.vendor.record = begin.record.clone()
	for id := range l.vendor.chains {
		l.last[id] = begin.at
	}
	l.opts.Cache = &client.MemoryCache{}
	check(t, l.opts.Cache.Store(begin.files["install.json"]))
	l.vendor.grant = func(r token.Request, c *token.License) {
		c.Dates.IssuedAt = later(c.Dates.IssuedAt, l.last[r.InstallID]) // as the daemon does
		l.last[r.InstallID] = c.Dates.IssuedAt
	}
	l.g = l.open()
	return l
}

func (l *life) state() client.Memory {
	data, err := l.opts.Cache.Load()
	check(l.tb, err)
	if !bytes.Equal(data, l.stored) {
		l.looked, err = client.Decode(data)
		check(l.tb, err)
		l.stored = data
	}
	return l.looked
}

// step is one thing that happens.
func (l *life) step(rt *rapid.T) error {
	minutes := func(label string, least, most int) time.Duration {
		return time.Duration(rapid.IntRange(least, most).Draw(rt, label)) * time.Minute
	}
	pick := func(from [][]byte) []byte {
		if len(from) == 0 {
			return nil
		}
		return from[rapid.IntRange(0, len(from)-1).Draw(rt, "file")]
	}
	l.answered = false
	switch op := rapid.SampledFrom([]string{
		"run", "off", "set", "right", "restart", "kill", "refresh", "refresh", "lost", "carry", "answer", "file", "stamp", "server", "server right",
	}).Draw(rt, "op"); op {
	case "run":
		l.run(minutes("minutes", 1, 4000))
	case "off":
		l.off(minutes("minutes", 1, 4000))
	case "set":
		l.set(l.world.now().Add(minutes("off by", -500_000, 500_000)))
	case "right":
		l.right()
	case "restart":
		l.g = l.again(l.g)
	case "kill":
		l.g = l.open()
	case "refresh", "lost":
		l.vendor.lose = func(token.Request) bool { return op == "lost" }
		defer func() { l.vendor.lose = nil }()
		l.answered = true
		return l.g.Refresh(l.tb.Context())
	case "carry":
		req, err := l.g.Request(l.tb.Context(), rapid.SampledFrom([]client.Op{client.OpRefresh, client.OpActivate}).Draw(rt, "request"), client.RequestOptions{})
		if err != nil {
			return err
		}
		raw, err := token.ParseRequestFile(req)
		check(l.tb, err)
		if a, _, err := l.vendor.answer(raw); err == nil {
			l.drawer = append(l.drawer, token.File{Licenses: []string{a.License}, KeySets: []string{a.Keys}, Times: []string{a.Time}}.Marshal())
		}
	case "answer":
		if f := pick(l.drawer); f != nil {
			l.answered = true
			return l.g.Import(f)
		}
	case "file":
		l.files = append(l.files, l.g.File())
		return l.g.Import(pick(l.files))
	case "stamp":
		other := token.Request{InstallID: token.Thumbprint(public("x")), ID: "n"}
		f := token.File{
			Licenses: []string{l.state().License}, KeySets: []string{l.vendor.keys},
			Times: []string{timeToken(l.tb, other, l.vendor.now(), "sign-1")},
		}.Marshal()
		l.files = append(l.files, f)
		return l.g.Import(f)
	case "server":
		l.server, l.wrong = minutes("server off by", 11, 40_000), true
	case "server right":
		l.server = 0
	}
	return nil
}

// Whatever happens to clocks, nothing that is proven is forgotten without
// proof, no honest customer is judged by a time that has not come, a clock that
// jumps leaves nothing behind, and a server that was wrong is forgiven.
func TestLives(t *testing.T) {
	expected := []license.Reason{
		"", license.Older, license.NotYetValid, license.MachineMismatch, license.Unreachable, license.Replayed, license.Conflict,
	}
	rapid.Check(t, func(rt *rapid.T) {
		l := newLife(t)
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			before := l.state()
			err := l.step(rt)
			if !slices.Contains(expected, license.ReasonOf(err)) {
				rt.Fatalf("got %v", err)
			}
			after := l.state()
			if after.Floor < before.Floor && (!l.answered || !l.wrong) {
				rt.Fatalf("the floor was lowered from %d to %d", before.Floor, after.Floor)
			}
			l.wantSound(rt, after)
		}
		l.wantNoTrace(rt)
		l.wantForgiven(rt)
	})
}

// wantSound checks what is true at any time.
func (l *life) wantSound(rt *rapid.T, m client.Memory) {
	st := l.g.Status()
	if st.At.Unix() < m.Floor {
		rt.Fatalf("judged by %v, before the floor %v", st.At, time.Unix(m.Floor, 0).UTC())
	}
	if st.Usable && (!st.At.Before(st.BlockAt) || !st.At.Before(st.LeaseUntil) || m.Floor >= st.LeaseUntil.Unix()) {
		rt.Fatalf("usable past what is proven: %+v", st)
	}
	if m.Doubt != 0 && m.Doubt <= m.Floor {
		rt.Fatalf("doubt %d, floor %d", m.Doubt, m.Floor)
	}
	if world := l.world.now(); !l.wrong {
		if m.Floor > world.Unix() || m.Doubt != 0 {
			rt.Fatalf("the floor %v is later than the time %v", time.Unix(m.Floor, 0).UTC(), world)
		}
		// A lead that a clock no longer has can outlive its being set right while the
		// machine sleeps, until the server answers; it is in the customer's favour.
		if right := l.clock.now().Equal(world); right && st.Clock == client.ClockBehind || st.At.After(later(world, l.clock.now())) {
			rt.Fatalf("it is %v, the clock shows %v: %+v", world, l.clock.now(), st)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// wantNoTrace lets the clock jump, starts the product again and sets the clock
// back to where it was. What was imported before is known already, and changes
// nothing again.
func (l *life) wantNoTrace(rt *rapid.T) {
	l.g = l.again(l.g)
	before, was, shown := l.state(), l.g.Status(), l.clock.now()
	l.set(shown.Add(time.Duration(rapid.IntRange(-9000, 9000).Draw(rt, "jump")) * time.Hour))
	_ = l.g.Status()
	l.g = l.again(l.g)
	l.set(shown)
	if got := l.g.Status(); got.String() != was.String() || !got.At.Equal(was.At) || got.Usable != was.Usable {
		rt.Fatalf("before the jump %+v, after it %+v", was, got)
	}
	for _, f := range append(l.files, l.drawer...) {
		_ = l.g.Import(f)
		once := l.state()
		_ = l.g.Import(f)
		if twice := l.state(); once.Floor != twice.Floor || once.Doubt != twice.Doubt || once.License != twice.License || once.IssuedAt != twice.IssuedAt {
			rt.Fatalf("imported twice: %+v, then %+v", once.Floor, twice.Floor)
		}
	}
	if after := l.state(); len(l.files)+len(l.drawer) == 0 && (after.Floor != before.Floor || after.License != before.License) {
		rt.Fatalf("the memory changed")
	}
}

// wantForgiven sets both clocks right and calls home.
func (l *life) wantForgiven(rt *rapid.T) {
	l.server = 0
	l.right()
	var err error
	for range 3 {
		l.run(2 * time.Minute)
		lost := l.state().Sent.Refresh != nil // its answer comes first
		if err = l.g.Refresh(l.tb.Context()); !lost {
			break
		}
	}
	st, m := l.g.Status(), l.state()
	if err != nil || !st.Usable || st.Clock != client.ClockOK || m.Floor > l.world.now().Add(10*time.Minute).Unix() {
		rt.Fatalf("it is %v, the floor is %v: %+v %v", l.world.now(), time.Unix(m.Floor, 0).UTC(), st, err)
	}
}
