package market_test

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

// What is played: ten thousand steps. Under the race detector, which takes five times as
// long, it is the first fifth of the games: make race plays all of them without it, too.
const modelSteps = 400

var modelSeeds, modelOfDaemons = games() // with one daemon, and with several

func games() (one, several uint64) {
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 5, 2
	}
	return allGames, 6
}

// allGames together are to hold everything that is said to be played.
const allGames = 25

// TestModel plays random lives against a marketplace that gets everything wrong
// that it can, while the merchant's daemon is killed again and again, mostly in
// the middle of something. In the end the merchant knows of every purchase what
// the marketplace knows.
//
// What fails names its seed: -run 'TestModel/^7$' plays that one again. What is
// drawn follows from the seed; which of two things comes first that happen at
// the same instant does not.
func TestModel(t *testing.T) {
	ring := modelRing(t)
	var all tally
	t.Cleanup(func() { all.judge(t) })
	for seed := range modelSeeds {
		t.Run(strconv.FormatUint(seed+1, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newModel(t, seed+1, ring, 1)
				m.play(modelSteps)
				all.add(m)
			})
		})
	}
}

// TestModelOfDaemons plays with three daemons on one store, which are killed one by
// one, and called in turn by everybody. In PostgreSQL each has its own connections.
func TestModelOfDaemons(t *testing.T) {
	ring := modelRing(t)
	var all tally
	t.Cleanup(func() { t.Logf("killed %v", all.deaths) })
	for seed := range modelOfDaemons {
		t.Run(strconv.FormatUint(seed+1, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newModel(t, seed+1, ring, 3)
				m.play(modelSteps)
				all.add(m)
			})
		})
	}
}

// tally is what happened in all games together.
type tally struct {
	mu     sync.Mutex
	games  int
	deaths map[place]int
	moves  map[string]int
	seen   map[string]int
}

func (a *tally) add(m *modelled) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.games++; a.games == 1 {
		a.deaths, a.moves, a.seen = make(map[place]int), make(map[string]int), make(map[string]int)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for at, n := range m.deaths {
		a.deaths[at] += n
	}
	for name, n := range m.moves {
		a.moves[name] += n
	}
	for what, n := range m.seen {
		a.seen[what] += n
	}
}

// judge fails where what is said to be played was not. A single game need not
// hold everything.
func (a *tally) judge(t *testing.T) {
	t.Helper()
	t.Logf("killed %v", a.deaths)
	t.Logf("played %v", a.moves)
	t.Logf("compared %v", a.seen)
	if a.games < allGames || t.Failed() {
		return
	}
	for _, at := range places {
		if a.deaths[at] == 0 {
			t.Errorf("in no game was the daemon killed at %v", at)
		}
	}
	for _, mv := range moves {
		if a.moves[mv.name] == 0 {
			t.Errorf("in no game did it happen: %s", mv.name)
		}
	}
	for _, what := range sights {
		if a.seen[what] == 0 {
			t.Errorf("in no game was there in the end: %s", what)
		}
	}
}

func (m *modelled) play(steps int) {
	defer m.end()
	if m.seed == 1 {
		m.stock(110) // so that a comparison has a second page
	}
	for n := range steps {
		m.step.Store(int64(n + 1))
		time.Sleep(time.Second) // orders of one second have no order
		m.move()
		m.watch()
	}
	m.step.Store(-1)
	m.settle()
	m.compare()
	m.watch()
}

// move is one thing that happens. It reports whether anything did: what the
// marketplace does not allow is no step.
type move struct {
	name   string
	weight int
	make   func(m *modelled, p *purchase) bool
}

var moves = []move{
	{"buy", 12, (*modelled).buy},
	{"use", 24, (*modelled).use},
	{"renew", 10, (*modelled).renew},
	{"change the quantity", 4, (*modelled).change},
	{"cancel a renewal", 5, (*modelled).cancelRenewal},
	{"freeze", 5, func(m *modelled, p *purchase) bool { return m.mayTell(p) && m.s.Freeze(p.Ref()) == nil }},
	{"unfreeze", 6, func(m *modelled, p *purchase) bool { return m.s.Unfreeze(p.Ref()) == nil }},
	{"expire", 2, (*modelled).expire},
	{"lapse", 3, (*modelled).lapse},
	{"unsubscribe", 2, (*modelled).unsubscribe},
	{"notify again", 3, (*modelled).notifyAgain},
	{"getLicense again", 3, (*modelled).sellAgain},
	{"deny", 4, (*modelled).deny},
	{"compare by hand", 4, (*modelled).compareByHand},
	{"press the buttons", 4, (*modelled).pressButtons},
	{"wait", 18, (*modelled).wait},
}

func (m *modelled) move() {
	total := 0
	for _, mv := range moves {
		total += mv.weight
	}
	mv, n := moves[0], m.random.IntN(total)
	for _, mv = range moves {
		if n -= mv.weight; n < 0 {
			break
		}
	}
	if len(m.bought) == 0 {
		mv = moves[0]
	}
	var p *purchase
	if mv.name != "buy" {
		if m.last == nil || m.random.IntN(2) == 0 { // much happens to one purchase in a short time
			m.last = m.bought[m.random.IntN(len(m.bought))]
		}
		p = m.last
	}
	if !mv.make(m, p) {
		return
	}
	m.moves[mv.name]++
	if p != nil {
		m.note(p)
	}
}

// stock has so many codes in use before anything happens.
func (m *modelled) stock(n int) {
	for range n {
		o, err := m.s.Buy(m.t.Context(), codes, 1, 365*day)
		m.must(err)
		p := &purchase{Order: o}
		m.bought = append(m.bought, p)
		m.order(o)
		m.checkIn(p, p.copies[m.install(p, o.Code.Reveal(), 0)])
		time.Sleep(time.Second)
	}
}

// period is how long something of a product is bought for. Licence 1.0 knows
// whole months only.
func (m *modelled) period(product string) time.Duration {
	switch {
	case product == v1Bound || product == v1Free:
		return time.Duration(1+m.random.IntN(11)) * 30 * day
	case m.random.IntN(5) == 0:
		return time.Duration(6+m.random.IntN(48)) * time.Hour
	}
	return time.Duration(30+m.random.IntN(300)) * day
}

func (m *modelled) buy(*purchase) bool {
	sold := m.options.Products[0].MarketplaceProducts
	product := append(slices.Clip(sold), m.options.Products[1].MarketplaceProducts...)[m.random.IntN(4)]
	o, err := m.s.Purchase(m.t.Context(), sandbox.Purchase{
		Product: product, Amount: int64(1 + m.random.IntN(3)), Period: m.period(product),
		Buyer: sandbox.Buyer{CustomerName: koogallery.NewPersonalData(fmt.Sprint("Buyer ", len(m.bought)))},
	})
	m.must(err)
	p := &purchase{Order: o, customer: fmt.Sprint("Buyer ", len(m.bought))}
	m.bought = append(m.bought, p)
	m.note(p)
	m.order(o)
	return true
}

// use is what a buyer does with a purchase.
func (m *modelled) use(p *purchase) bool {
	switch p.Product {
	case codes:
		return m.call(p, p.Code.Reveal())
	case v1Bound:
		return m.call(p, m.codeOf(p))
	case online:
		app, err := m.s.Apply(p.Ref(), sandbox.LicenseRequest{Device: koogallery.NewDeviceFingerprint(devices[m.random.IntN(len(devices))])})
		if err == nil && m.random.IntN(8) == 0 {
			_, err = m.s.Apply(p.Ref(), sandbox.LicenseRequest{EventID: app.EventID}) // two clicks
		}
		return err == nil
	}
	return false
}

func (m *modelled) renew(p *purchase) bool {
	if !m.mayTell(p) {
		return false
	}
	o, err := m.s.Renew(p.Ref(), m.period(p.Product))
	if err != nil {
		return false
	}
	p.cut = false
	m.order(o)
	return true
}

// change buys another quantity, which only instances know.
func (m *modelled) change(p *purchase) bool {
	o, err := m.s.Change(p.Ref(), sandbox.Change{Amount: int64(1 + m.random.IntN(4)), Period: m.period(p.Product)})
	if err != nil {
		return false
	}
	m.order(o)
	return true
}

func (m *modelled) cancelRenewal(p *purchase) bool {
	o, err := m.s.CancelRenewal(p.Ref())
	if err != nil {
		return false
	}
	p.cut = false
	m.order(o)
	return true
}

// expire ends a purchase before its time. Of a code the merchant finds that out
// when it asks, once a day. Of a purchase through licence 1.0 it is told that it is
// frozen, and nothing tells until when it was good; and of an instance, nothing.
func (m *modelled) expire(p *purchase) bool {
	if p.Product == online || !m.mayTell(p) || m.s.Expire(p.Ref()) != nil {
		return false
	}
	p.cut = true
	return true
}

// lapse freezes what has ended, and lifts that from what was renewed.
func (m *modelled) lapse(*purchase) bool {
	for _, p := range m.bought {
		if state := m.state(p); p.v1() && state.Status == sandbox.Expired && !state.Frozen && !m.mayTell(p) {
			return false
		}
	}
	if m.s.Lapse(2*time.Hour) == 0 {
		return false
	}
	for _, p := range m.bought {
		m.note(p)
	}
	return true
}

func (m *modelled) unsubscribe(p *purchase) bool {
	o, err := m.s.Unsubscribe(p.Ref())
	if err != nil {
		return false
	}
	m.order(o)
	return true
}

func (m *modelled) notifyAgain(*purchase) bool {
	m.must(m.s.NotifyOrder(m.orders[m.random.IntN(len(m.orders))].ID))
	return true
}

// deny is what a marketplace can do with an application that it has passed on.
func (m *modelled) deny(p *purchase) bool {
	app, err := m.s.Apply(p.Ref(), sandbox.LicenseRequest{Device: koogallery.NewDeviceFingerprint(devices[0])})
	return err == nil && m.s.Deny(app.EventID) == nil
}

func (m *modelled) wait(*purchase) bool {
	time.Sleep(time.Duration(1+m.random.IntN(2700)) * time.Second)
	return true
}

// mayTell reports whether more can be said about purchases so that it counts as
// the newer: nothing else about one through licence 1.0 waits or has failed, or
// was said so shortly before that a clock which is wrong would date it later. That
// interface tries most messages once, knows no other order than their times, and
// nothing that a merchant can ask tells which of a renewal and an expiry was the
// last.
func (m *modelled) mayTell(ps ...*purchase) bool {
	if !slices.ContainsFunc(ps, (*purchase).v1) {
		return true
	}
	open := make(map[string]bool)
	for _, d := range m.s.Deliveries() {
		if d.Test || d.Activity == koogallery.ActivityOrderNotify || d.Activity == koogallery.ActivityV1GetLicense && m.instance(d.Code) != "" {
			continue
		}
		recent := len(d.Attempts) > 0 && m.options.Now().Sub(d.Attempts[len(d.Attempts)-1].At) <= 2*sandbox.DefaultSkew
		if d.State != sandbox.Delivered || recent {
			open[d.Code.Reveal()] = true
		}
	}
	for _, p := range ps {
		if p.v1() && open[p.Ref().Reveal()] {
			return false
		}
	}
	return true
}

// settle ends the faults, and leaves everything to the daemon and to the
// merchant's staff.
func (m *modelled) settle() {
	m.must(m.s.SetMisbehaviour(sandbox.Misbehaviour{}))
	m.calm.Store(true)
	m.awake()
	time.Sleep(3 * time.Hour) // longer than the last tries of either side are apart
	m.noneForgotten()
	m.pressButtons(nil)
	time.Sleep(2 * time.Hour)
	m.overtake()
	m.endsAgree()
	m.kill()
	m.presentAll()
	m.awaitComparison()
	synctest.Wait()
	for _, p := range m.bought {
		m.note(p)
	}
}

// overtake has renewals of half of the codes overtake each other, and their
// cancellations.
func (m *modelled) overtake() {
	m.must(m.s.SetMisbehaviour(sandbox.Misbehaviour{Faults: map[sandbox.Fault]float64{sandbox.FaultReordered: 0.5, sandbox.FaultSlowRequest: 0.3}}))
	for n, p := range m.bought {
		if n%2 == 0 || p.Product != codes {
			continue
		}
		for range 2 {
			if time.Sleep(time.Second); m.renew(p) && m.random.IntN(2) == 0 {
				time.Sleep(time.Second)
				m.cancelRenewal(p)
			}
		}
		m.note(p)
	}
	m.must(m.s.SetMisbehaviour(sandbox.Misbehaviour{}))
	time.Sleep(time.Hour)
}

// awaitComparison waits until the daily comparison with the marketplace was made
// once more.
func (m *modelled) awaitComparison() {
	a, from := m.awake().authority, m.options.Now()
	for range 26 {
		time.Sleep(time.Hour)
		now, _, err := a.Reconciliation(m.t.Context(), channel)
		m.must(err)
		if now.BegunAt.After(from) && !now.EndedAt.IsZero() {
			return
		}
	}
	m.errorf("a day has gone by, and nothing was compared")
}
