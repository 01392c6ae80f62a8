package authority

import (
	"crypto/rand"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what is counted of a marketplace entry.
const (
	healthDays    = 14             // that are looked at
	healthKept    = 2 * healthDays // that are kept: days of a clock that was wrong push out no right ones
	healthEvery   = time.Minute    // between two writes; a crash loses what came in since the last
	healthKinds   = 128            // kinds of callbacks told apart in a day
	healthWriters = 16             // daemons whose last write is remembered
	healthWait    = 5 * time.Second
)

// Heard is a callback as it is counted. The marketplace replays saved debug
// calls twice a day (access guide …649172), which cannot be told from debug
// calls that a person makes in the console: both are probes here.
type Heard struct {
	Channel  string
	Activity string
	Result   string  // the result code of the answer
	Field    string  // the field that a refusal names, "" where it names none
	Test     bool    // a probe
	Doubt    Doubted // why it is not known to be the marketplace's; "" where it is
	// About is what a real message names, where it is known. Of a success it is
	// needed only while Tracks says so.
	About Subject
}

// Doubted is why a callback was not taken to be the marketplace's.
type Doubted string

// The kinds of doubt.
const (
	DoubtSignature Doubted = "signature" // absent, or made with another key
	DoubtTime      Doubted = "time"      // its timestamp is outside the window
	DoubtForm      Doubted = "form"      // it is no callback
	DoubtCopy      Doubted = "copy"      // it was taken before
	DoubtV1        Doubted = "v1"        // a GET of licence 1.0, which is switched off: its signature was not looked at
)

// ProbeCount is how the probes of half a day were answered.
type ProbeCount struct {
	OK      int    `json:"ok,omitzero"`
	Refused int    `json:"refused,omitzero"`
	Result  string `json:"result,omitzero"` // of the last refused one
	Reason  string `json:"reason,omitzero"` // its activity
	Field   string `json:"field,omitzero"`  // that it names
}

// CallbackCount is how many callbacks of a kind came in on a day.
type CallbackCount struct {
	Activity string `json:"activity"`
	Result   string `json:"result"`
	Test     bool   `json:"test,omitzero"`
	Count    int    `json:"count"`
}

// HealthDay is what came in on a day in the zone of the probes.
type HealthDay struct {
	Day       string          `json:"day"` // 2026-09-17
	Callbacks []CallbackCount `json:"callbacks,omitzero"`
	Morning   ProbeCount      `json:"morning,omitzero"` // before noon
	Afternoon ProbeCount      `json:"afternoon,omitzero"`
	Doubted   map[Doubted]int `json:"doubted,omitzero"`
}

// healthRecord is what is kept of an entry, and what was counted since it was
// written last.
type healthRecord struct {
	FirstProbe  time.Time   `json:"first_probe,omitzero"`
	Resumed     time.Time   `json:"resumed,omitzero"` // of the first probe after a silence as of a product that is off sale
	LastProbe   time.Time   `json:"last_probe,omitzero"`
	LastMessage time.Time   `json:"last_message,omitzero"` // that was real
	LastDoubted time.Time   `json:"last_doubted,omitzero"` // whose signature or time was refused
	Days        []HealthDay `json:"days,omitzero"`         // oldest first; none for a day on which nothing came
	Standings   []Standing  `json:"standings,omitzero"`    // one for each activity, and one for its probes
	Failing     []Failing   `json:"failing,omitzero"`      // oldest first
	Written     []written   `json:"written,omitzero"`      // the last batch of each daemon, oldest first

	mended []mended // of a batch: what ends a Failing that is kept
}

// written names the last batch of counts that a daemon has added. A write that
// was made although it is said to have failed is not made twice.
type written struct {
	Writer string `json:"w"`
	Batch  uint64 `json:"n"`
}

func healthKey(channel string) string { return "health/" + channel }

// healthBook counts in memory, so that a callback does not wait for it.
type healthBook struct {
	counters map[string]*counter // by channel; the map itself does not change
	writer   string              // this process, among those that share a store

	// settling is held while what was counted is on its way to the store, so that
	// who reads sees it once.
	settling sync.Mutex
	batch    uint64
	pending  map[string]*healthRecord // by channel, the batch that may be written already
}

// counter counts one entry.
type counter struct {
	zone *time.Location

	mu    sync.Mutex
	fresh *healthRecord // what is in no batch yet; nil for nothing
	// What fails, by key: of a success only these are of interest.
	failing map[failingKey]bool
	tracks  atomic.Bool // failing is not empty

	year, dayOfYear int // of today, whose name is not made for each call
	today           string

	orders atomic.Pointer[lookedAt] // when they were looked at last
	looks  atomic.Int64             // at the orders that have begun
}

func newHealthBook(channels []Channel) *healthBook {
	b := &healthBook{counters: make(map[string]*counter, len(channels)), writer: rand.Text()[:12]}
	for _, ch := range channels {
		b.counters[ch.Name] = &counter{zone: ch.zone(), failing: make(map[failingKey]bool)}
	}
	return b
}

// dayFormat sorts as days do.
const dayFormat = "2006-01-02"

// Count counts a callback. It does not touch the store.
func (a *Authority) Count(h Heard) {
	c := a.health.counters[h.Channel]
	if c == nil {
		return
	}
	now := a.now()
	key := a.failingKey(h)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fresh == nil {
		c.fresh = &healthRecord{}
	}
	c.add(h, key, now)
}

// Tracks reports whether a success of an entry's messages matters for what it
// was about: something of it has failed before.
func (a *Authority) Tracks(channel string) bool {
	c := a.health.counters[channel]
	return c != nil && c.tracks.Load()
}

// zone is where the marketplace's mornings and afternoons are.
func (ch Channel) zone() *time.Location {
	if ch.ProbeZone == nil {
		return time.UTC
	}
	return ch.ProbeZone
}

func (c *counter) add(h Heard, key failingKey, now time.Time) {
	local := now.In(c.zone)
	if y, d := local.Year(), local.YearDay(); y != c.year || d != c.dayOfYear {
		c.year, c.dayOfYear, c.today = y, d, local.Format(dayFormat)
	}
	r := c.fresh
	day := r.day(c.today)
	if h.Doubt != "" {
		if day.Doubted == nil {
			day.Doubted = make(map[Doubted]int)
		}
		day.Doubted[h.Doubt]++
		if h.Doubt == DoubtSignature || h.Doubt == DoubtTime {
			r.LastDoubted = now
		}
		return
	}
	day.count(CallbackCount{Activity: h.Activity, Result: h.Result, Test: h.Test, Count: 1})
	r.standing(h.Activity, h.Test).heard(h, now)
	if !h.Test {
		r.LastMessage = now
		c.follow(h, key, now)
		return
	}
	if r.FirstProbe.IsZero() {
		r.FirstProbe = now
	}
	r.LastProbe = now
	half := &day.Morning
	if local.Hour() >= 12 {
		half = &day.Afternoon
	}
	if h.Result == resultOK {
		half.OK++
	} else {
		half.Refused, half.Result, half.Reason, half.Field = half.Refused+1, h.Result, h.Activity, h.Field
	}
}

// day returns the counts of a day, and makes room for them.
func (r *healthRecord) day(name string) *HealthDay {
	i, ok := slices.BinarySearchFunc(r.Days, name, func(d HealthDay, name string) int {
		switch {
		case d.Day < name:
			return -1
		case d.Day > name:
			return 1
		}
		return 0
	})
	if !ok {
		r.Days = slices.Insert(r.Days, i, HealthDay{Day: name})
	}
	return &r.Days[i]
}

// count adds a kind of callback. Who has a key could invent more kinds than
// there are; those are counted together.
func (d *HealthDay) count(c CallbackCount) {
	i := d.kind(c)
	if i < 0 && len(d.Callbacks) >= healthKinds {
		c.Activity, c.Result = "other", "other"
		i = d.kind(c)
	}
	if i < 0 {
		d.Callbacks = append(d.Callbacks, c)
		return
	}
	d.Callbacks[i].Count += c.Count
}

func (d *HealthDay) kind(c CallbackCount) int {
	for i := range d.Callbacks {
		if have := &d.Callbacks[i]; have.Activity == c.Activity && have.Result == c.Result && have.Test == c.Test {
			return i
		}
	}
	return -1
}

// merge adds what was counted later.
func (r *healthRecord) merge(later *healthRecord, zone *time.Location) {
	switch {
	case r.FirstProbe.IsZero():
		r.FirstProbe = later.FirstProbe
	case later.FirstProbe.Before(r.FirstProbe):
		if later.FirstProbe.After(r.FirstProbe.AddDate(0, 0, -1)) { // else a clock was behind
			r.FirstProbe = later.FirstProbe
		}
	case !r.LastProbe.IsZero() && offSale(r.LastProbe, later.FirstProbe, zone):
		r.Resumed = later.FirstProbe
	}
	r.Resumed = newer(r.Resumed, later.Resumed)
	r.LastProbe = newer(r.LastProbe, later.LastProbe)
	r.LastMessage = newer(r.LastMessage, later.LastMessage)
	r.LastDoubted = newer(r.LastDoubted, later.LastDoubted)
	for _, d := range later.Days {
		day := r.day(d.Day)
		for _, c := range d.Callbacks {
			day.count(c)
		}
		day.Morning.merge(d.Morning)
		day.Afternoon.merge(d.Afternoon)
		for kind, n := range d.Doubted {
			if day.Doubted == nil {
				day.Doubted = make(map[Doubted]int)
			}
			day.Doubted[kind] += n
		}
	}
	for _, s := range later.Standings {
		r.standing(s.Activity, s.Test).merge(s)
	}
	r.mergeFailing(later)
}

// offSale reports whether no probe came on so many days between two instants
// that the product was off sale, or frozen: such a silence ends a row of bad
// days.
func offSale(last, next time.Time, zone *time.Location) bool {
	return days(last, next, zone) >= healthDays
}

// days is how many midnights lie between two instants.
func days(from, to time.Time, zone *time.Location) int {
	date := func(t time.Time) time.Time {
		y, m, d := t.In(zone).Date()
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	}
	return int(date(to).Sub(date(from)) / (24 * time.Hour))
}

func (p *ProbeCount) merge(later ProbeCount) {
	p.OK += later.OK
	if p.Refused += later.Refused; later.Refused > 0 {
		p.Result, p.Reason, p.Field = later.Result, later.Reason, later.Field
	}
}

func newer(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// bound keeps a record from growing. Days go by their number, not by what the
// clock says: one that is wrong for a while costs none.
func (r *healthRecord) bound() {
	r.Days = slices.Delete(r.Days, 0, max(0, len(r.Days)-healthKept))
	r.Standings = r.Standings[:min(len(r.Standings), 2*healthKinds)]
	r.Written = slices.Delete(r.Written, 0, max(0, len(r.Written)-healthWriters))
	r.boundFailing()
}

// forget drops what a clock that was wrong has left in days to come or long gone,
// and what failed so long ago that it is of no interest any more. The clock has to
// be right, which it is believed to be up to a month ahead.
func (r *healthRecord) forget(local time.Time) {
	soon := local.AddDate(0, 0, 1)
	first, last := local.AddDate(0, -2, 0).Format(dayFormat), soon.Format(dayFormat)
	r.Days = slices.DeleteFunc(r.Days, func(d HealthDay) bool { return d.Day < first || d.Day > last })
	for _, at := range []*time.Time{&r.FirstProbe, &r.Resumed, &r.LastProbe, &r.LastMessage, &r.LastDoubted} {
		if at.After(soon) {
			*at = time.Time{}
		}
	}
	r.Standings = slices.DeleteFunc(r.Standings, func(s Standing) bool { return s.Last.After(soon) })
	r.Failing = slices.DeleteFunc(r.Failing, func(f Failing) bool { return f.Last.After(soon) || f.stale(local) })
	for _, d := range r.Days { // what was overwritten is known by half a day
		for half, p := range []ProbeCount{d.Morning, d.Afternoon} {
			at, err := time.ParseInLocation(dayFormat, d.Day, local.Location())
			if err != nil || p.OK+p.Refused == 0 {
				continue
			}
			at = at.Add(time.Duration(6+12*half) * time.Hour).UTC()
			if r.FirstProbe.IsZero() {
				r.FirstProbe = at
			}
			if r.LastProbe.Before(at.Add(-24 * time.Hour)) {
				r.LastProbe = at
			}
		}
	}
}
