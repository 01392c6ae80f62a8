package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// BadDaysFreeze is after how many days in a row without a good probe the
// marketplace freezes trading and hides the product (access guide …649172).
const BadDaysFreeze = 5

// ProbeState is how the probes of a day went.
type ProbeState string

// The states of a day's probes.
const (
	ProbesOK      ProbeState = "ok"
	ProbesHalf    ProbeState = "half"    // of the morning or of the afternoon only
	ProbesRefused ProbeState = "refused" // at least one
	ProbesMissed  ProbeState = "missed"  // none came
	ProbesOpen    ProbeState = "open"    // none yet, and the day is not over
	ProbesUnknown ProbeState = "unknown" // before the first one ever
)

// DayHealth is a day with its judgement.
type DayHealth struct {
	HealthDay
	Probes ProbeState
}

// Health is how a marketplace entry is doing.
type Health struct {
	Channel string
	Now     time.Time
	Zone    string // in which its days begin

	FirstProbe  time.Time
	LastProbe   time.Time
	LastMessage time.Time // that was real
	Days        []DayHealth
	BadDays     int // in a row up to now, on which probes were refused or missed; at most healthDays

	Waiting int       // jobs, counted to store.MaxPage
	Parked  int       // the same
	Oldest  time.Time // CreatedAt of the oldest that waits
	Failure string    // why that one failed last

	Compared  *Reconciled // the last comparison that came to its end
	Comparing *Reconciled // the daily one that is under way

	Orders *OrderHealth // nil where they were not looked at

	Problems []Problem
}

// OrderHealth is where the orders of an entry stand.
type OrderHealth struct {
	Open     int       // counted to store.MaxPage
	Oldest   time.Time // StageAt of the open one that has not moved for longest
	Warnings map[license.OrderWarning]int
	Example  map[license.OrderWarning]string // an order with the warning
}

// Health says how an entry is doing, and what there is to be done about it.
// Orders are looked at where they are asked for: that reads all of them.
func (a *Authority) Health(ctx context.Context, channel string, orders bool) (Health, error) {
	ch, ok := a.channel(channel)
	if !ok {
		return Health{}, license.Errorf(license.NotFound, "there is no marketplace %q", printable(channel))
	}
	h := Health{Channel: channel, Now: a.now(), Zone: ch.zone().String()}
	record, err := a.readHealth(ctx, &h, orders)
	if err != nil {
		return Health{}, fmt.Errorf("read how %s is doing: %w", channel, err)
	}
	h.judgeDays(record, h.Now.In(ch.zone()))
	h.judge(record)
	return h, nil
}

// Channels returns the names of the marketplace entries, in their order.
func (a *Authority) Channels() []string {
	names := make([]string, 0, len(a.channels))
	for _, ch := range a.channels {
		names = append(names, ch.Name)
	}
	return names
}

// readHealth reads what there is of an entry, with what is not written yet.
func (a *Authority) readHealth(ctx context.Context, h *Health, orders bool) (record *healthRecord, err error) {
	a.health.settling.Lock()
	defer a.health.settling.Unlock()
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		if record, err = readHealth(ctx, tx, h.Channel); err != nil {
			return err
		}
		if err := h.readJobs(ctx, tx); err != nil {
			return err
		}
		if err := h.readComparison(ctx, tx); err != nil {
			return err
		}
		if h.Orders = nil; orders {
			h.Orders, err = readOrders(ctx, tx, h.Channel, h.Now)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	a.health.mu.Lock()
	defer a.health.mu.Unlock()
	if fresh := a.health.fresh[h.Channel]; fresh != nil {
		record.merge(fresh)
	}
	return record, nil
}

func (h *Health) readJobs(ctx context.Context, tx store.Tx) error {
	all := store.Page{Limit: store.MaxPage}
	waiting, _, err := tx.Jobs(ctx, store.JobFilter{Channel: h.Channel, State: license.JobWaiting}, all)
	if err != nil {
		return err
	}
	parked, _, err := tx.Jobs(ctx, store.JobFilter{Channel: h.Channel, State: license.JobParked}, all)
	if err != nil {
		return err
	}
	h.Waiting, h.Parked, h.Oldest, h.Failure = len(waiting), len(parked), time.Time{}, ""
	if len(waiting) > 0 {
		h.Oldest, h.Failure = waiting[0].CreatedAt, waiting[0].Failure
	}
	return nil
}

// readComparison finds the comparison that has ended last, daily or by hand.
func (h *Health) readComparison(ctx context.Context, tx store.Tx) error {
	var daily reconciliation
	var byHand Reconciled
	h.Compared, h.Comparing = nil, nil
	for key, to := range map[string]any{reconcileKey(h.Channel): &daily, syncKey(h.Channel): &byHand} {
		data, err := tx.Value(ctx, key)
		if errors.Is(err, license.NotFound) {
			continue
		}
		if err == nil {
			err = json.Unmarshal(data, to)
		}
		if err != nil {
			return err
		}
	}
	for _, r := range []Reconciled{daily.Last, daily.Now, byHand} {
		if !r.EndedAt.IsZero() && (h.Compared == nil || !r.EndedAt.Before(h.Compared.EndedAt)) {
			h.Compared = &r
		}
	}
	if daily.Now.EndedAt.IsZero() && !daily.Now.BegunAt.IsZero() {
		h.Comparing = &daily.Now
	}
	return nil
}

func readOrders(ctx context.Context, tx store.Tx, channel string, now time.Time) (*OrderHealth, error) {
	list, _, err := tx.Orders(ctx, store.OrderFilter{Channel: channel, Open: true}, store.Page{Limit: store.MaxPage})
	if err != nil {
		return nil, err
	}
	o := &OrderHealth{Open: len(list), Warnings: make(map[license.OrderWarning]int), Example: make(map[license.OrderWarning]string)}
	for _, order := range list {
		if o.Oldest.IsZero() || order.StageAt.Before(o.Oldest) {
			o.Oldest = order.StageAt
		}
		for _, w := range order.Warnings(now) {
			if o.Warnings[w]++; o.Example[w] == "" {
				o.Example[w] = order.ID
			}
		}
	}
	return o, nil
}

// judgeDays lists the days since something is known, and counts the bad ones.
func (h *Health) judgeDays(r *healthRecord, local time.Time) {
	r.forget(local)
	h.FirstProbe, h.LastProbe, h.LastMessage = r.FirstProbe, r.LastProbe, r.LastMessage
	known := make(map[string]HealthDay, len(r.Days))
	begun := local.Format(dayFormat)
	for _, d := range r.Days {
		known[d.Day] = d
		begun = min(begun, d.Day)
	}
	probed := ""
	if !r.FirstProbe.IsZero() {
		probed = r.FirstProbe.In(local.Location()).Format(dayFormat)
		begun = min(begun, probed)
	}
	if len(known) == 0 && probed == "" {
		return
	}
	// Noon is on every day of every zone, whatever becomes of its midnight.
	noon := time.Date(local.Year(), local.Month(), local.Day(), 12, 0, 0, 0, local.Location())
	for back := healthDays - 1; back >= 0; back-- {
		day := noon.AddDate(0, 0, -back).Format(dayFormat)
		if day < begun {
			continue
		}
		d := known[day]
		d.Day = day
		h.Days = append(h.Days, DayHealth{d, probesOf(d, probed, back == 0)})
	}
	for _, d := range slices.Backward(h.Days) {
		switch d.Probes {
		case ProbesRefused, ProbesMissed:
			h.BadDays++
		case ProbesOpen:
		case ProbesOK, ProbesHalf, ProbesUnknown:
			return
		}
	}
}

// probesOf judges the probes of a day, where the first one ever came on the day
// probed.
func probesOf(d HealthDay, probed string, today bool) ProbeState {
	morning, afternoon := d.Morning.OK > 0, d.Afternoon.OK > 0
	switch {
	case d.Morning.Refused+d.Afternoon.Refused > 0:
		return ProbesRefused
	case morning && afternoon, today && (morning || afternoon):
		return ProbesOK
	case morning || afternoon:
		return ProbesHalf
	case probed == "" || d.Day < probed:
		return ProbesUnknown
	case today:
		return ProbesOpen
	}
	return ProbesMissed
}
