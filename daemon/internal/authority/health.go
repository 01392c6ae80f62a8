package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Bounds of what is counted of a marketplace entry.
const (
	healthDays  = 14          // that are kept
	healthEvery = time.Minute // between two writes; a crash loses what came in since the last
	healthKinds = 128         // kinds of callbacks told apart in a day
	healthWait  = 5 * time.Second
)

// Heard is a callback as it is counted. The marketplace replays saved debug
// calls twice a day (access guide …649172), which cannot be told from debug
// calls that a person makes in the console: both are probes here.
type Heard struct {
	Channel  string
	Activity string
	Result   string  // the result code of the answer
	Test     bool    // a probe
	Doubt    Doubted // why it is not known to be the marketplace's; "" where it is
}

// Doubted is why a callback was not taken to be the marketplace's.
type Doubted string

// The kinds of doubt.
const (
	DoubtSignature Doubted = "signature" // absent, or made with another key
	DoubtTime      Doubted = "time"      // its timestamp is outside the window
	DoubtForm      Doubted = "form"      // it is no callback
	DoubtCopy      Doubted = "copy"      // it was taken before
)

// ProbeCount is how the probes of half a day were answered.
type ProbeCount struct {
	OK      int    `json:"ok,omitzero"`
	Refused int    `json:"refused,omitzero"`
	Result  string `json:"result,omitzero"` // of the last refused one
	Reason  string `json:"reason,omitzero"` // its activity
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
	LastProbe   time.Time   `json:"last_probe,omitzero"`
	LastMessage time.Time   `json:"last_message,omitzero"` // that was real
	LastDoubted time.Time   `json:"last_doubted,omitzero"` // whose signature or time was refused
	Days        []HealthDay `json:"days,omitzero"`         // oldest first; none for a day on which nothing came
}

func healthKey(channel string) string { return "health/" + channel }

// healthBook counts in memory, so that a callback does not wait for it.
type healthBook struct {
	mu    sync.Mutex
	fresh map[string]*healthRecord // by channel, what is not written yet

	// settling is held while what was counted is on its way to the store, so that
	// who reads sees it once.
	settling sync.Mutex
}

// dayFormat sorts as days do.
const dayFormat = "2006-01-02"

// Count counts a callback. It does not touch the store.
func (a *Authority) Count(h Heard) {
	ch, ok := a.channel(h.Channel)
	if !ok {
		return
	}
	now := a.now()
	local := now.In(ch.zone())
	a.health.mu.Lock()
	defer a.health.mu.Unlock()
	r := a.health.fresh[h.Channel]
	if r == nil {
		r = &healthRecord{}
		a.health.fresh[h.Channel] = r
	}
	r.add(h, now, local)
}

// zone is where the marketplace's mornings and afternoons are.
func (ch Channel) zone() *time.Location {
	if ch.ProbeZone == nil {
		return time.UTC
	}
	return ch.ProbeZone
}

func (r *healthRecord) add(h Heard, now, local time.Time) {
	day := r.day(local.Format(dayFormat))
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
	if !h.Test {
		r.LastMessage = now
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
		half.Refused, half.Result, half.Reason = half.Refused+1, h.Result, h.Activity
	}
}

// resultOK is the marketplace's code for success, as it is counted.
const resultOK = "000000"

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
	same := func(have CallbackCount) bool {
		return have.Activity == c.Activity && have.Result == c.Result && have.Test == c.Test
	}
	i := slices.IndexFunc(d.Callbacks, same)
	if i < 0 && len(d.Callbacks) >= healthKinds {
		c.Activity, c.Result = "other", "other"
		i = slices.IndexFunc(d.Callbacks, same)
	}
	if i < 0 {
		d.Callbacks = append(d.Callbacks, c)
		return
	}
	d.Callbacks[i].Count += c.Count
}

// merge adds what was counted later.
func (r *healthRecord) merge(later *healthRecord) {
	if r.FirstProbe.IsZero() || !later.FirstProbe.IsZero() && later.FirstProbe.Before(r.FirstProbe) {
		r.FirstProbe = later.FirstProbe
	}
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
}

func (p *ProbeCount) merge(later ProbeCount) {
	p.OK += later.OK
	if p.Refused += later.Refused; later.Refused > 0 {
		p.Result, p.Reason = later.Result, later.Reason
	}
}

func newer(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// forget drops what is older than is kept, and what a clock that was ahead has
// left in days to come.
func (r *healthRecord) forget(local time.Time) {
	first, last := local.AddDate(0, 0, 1-healthDays).Format(dayFormat), local.AddDate(0, 0, 1).Format(dayFormat)
	r.Days = slices.DeleteFunc(r.Days, func(d HealthDay) bool { return d.Day < first || d.Day > last })
	for _, at := range []*time.Time{&r.FirstProbe, &r.LastProbe, &r.LastMessage, &r.LastDoubted} {
		if at.After(local.AddDate(0, 0, 1)) {
			*at = time.Time{}
		}
	}
}

// RunHealth writes what was counted once a minute and when ctx ends. A failure
// is given to report, and what could not be written is kept.
func (a *Authority) RunHealth(ctx context.Context, report func(error)) {
	t := time.NewTicker(healthEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthWait)
			defer cancel()
			if err := a.SaveHealth(last); err != nil {
				report(err)
			}
			return
		case <-t.C:
			if err := a.SaveHealth(ctx); err != nil && ctx.Err() == nil {
				report(err)
			}
		}
	}
}

// SaveHealth writes what was counted since the last time. Several daemons on one
// store add to the same counts.
func (a *Authority) SaveHealth(ctx context.Context) error {
	a.health.settling.Lock()
	defer a.health.settling.Unlock()
	a.health.mu.Lock()
	fresh := a.health.fresh
	a.health.fresh = make(map[string]*healthRecord)
	a.health.mu.Unlock()
	if len(fresh) == 0 {
		return nil
	}
	now := a.now()
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		for channel, later := range fresh {
			r, err := readHealth(ctx, tx, channel)
			if err != nil {
				return err
			}
			r.merge(later)
			if ch, ok := a.channel(channel); ok {
				r.forget(now.In(ch.zone()))
			}
			data, err := json.Marshal(r)
			if err == nil {
				err = tx.SetValue(ctx, healthKey(channel), data)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return nil
	}
	a.health.mu.Lock()
	defer a.health.mu.Unlock()
	for channel, earlier := range fresh {
		if later := a.health.fresh[channel]; later != nil {
			earlier.merge(later)
		}
		a.health.fresh[channel] = earlier
	}
	return fmt.Errorf("write what was counted of the marketplaces: %w", err)
}

// readHealth reads what is kept of an entry. What cannot be read is begun anew:
// it is a count, and must not stop one.
func readHealth(ctx context.Context, tx store.Tx, channel string) (*healthRecord, error) {
	r := &healthRecord{}
	data, err := tx.Value(ctx, healthKey(channel))
	if errors.Is(err, license.NotFound) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(data, r) != nil {
		r = &healthRecord{}
	}
	return r, nil
}
