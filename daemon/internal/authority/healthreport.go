package authority

import (
	"context"
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
	BadDays     int  // in a row up to now, on which probes were refused or missed; at most healthDays
	HalfDays    int  // in a row up to yesterday, on which those of the morning or of the afternoon were missed
	Gone        bool // no probe of any result has come for 13 whole days: the product is off sale, or frozen

	Standings []Standing // of each activity, and of its probes
	Failing   []Failing  // messages that failed and have not succeeded since, the oldest first; at most failingKept
	Lost      int        // orders of this month that did not get their licence

	Waiting       int       // jobs, counted to store.MaxPage
	Oldest        time.Time // CreatedAt of the oldest that waits
	Failure       string    // why that one failed last
	Parked        int       // jobs that were given up, without reports of use; counted to store.MaxPage
	ParkedOldest  time.Time // ParkedAt of the oldest of them
	ParkedFailure string    // why that one was given up

	Usage       *UsageHealth // nil where use was never reported
	Certificate time.Time    // end of the public listener's certificate; zero where it has none

	Compared  *Reconciled // the last comparison that came to its end
	Unproven  []string    // the first licences that it failed for, each with the end of its code
	Comparing *Reconciled // the daily one that is under way

	Orders *OrderHealth // as they were looked at last; nil where they never were

	Problems []Problem
}

// OrderHealth is where the orders of an entry stand.
type OrderHealth struct {
	At       time.Time // when they were looked at
	Open     int       // that wait for the merchant or the buyer
	Oldest   time.Time // StageAt of the one of those that has not moved for longest
	Warnings map[license.OrderWarning]int
	Example  map[license.OrderWarning]string // an order with the warning
}

// lookedAt is what a look at the orders has found.
type lookedAt struct {
	orders *OrderHealth
	look   int64 // its number, by when it began
}

// keepOrders keeps what a look at the orders has found, unless one that began later
// was done first.
func (c *counter) keepOrders(seen lookedAt) {
	for {
		last := c.orders.Load()
		if last != nil && last.look > seen.look || c.orders.CompareAndSwap(last, &seen) {
			return
		}
	}
}

// Health says how an entry is doing, and what there is to be done about it. With
// orders they are looked at anew, which reads all that are open; without, it is
// as they were looked at last.
func (a *Authority) Health(ctx context.Context, channel string, orders bool) (Health, error) {
	ch, ok := a.channel(channel)
	if !ok {
		return Health{}, license.Errorf(license.NotFound, "there is no marketplace %q", printable(channel))
	}
	h := Health{Channel: channel, Now: a.now(), Zone: ch.zone().String()}
	counter := a.health.counters[channel]
	if orders {
		look := counter.looks.Add(1)
		seen, err := a.readOrders(ctx, channel, h.Now)
		if err != nil {
			return Health{}, fmt.Errorf("look at the orders of %s: %w", channel, err)
		}
		counter.keepOrders(lookedAt{seen, look})
	}
	if seen := counter.orders.Load(); seen != nil {
		h.Orders = seen.orders
	}
	record, err := a.readHealth(ctx, &h)
	if err != nil {
		return Health{}, fmt.Errorf("read how %s is doing: %w", channel, err)
	}
	if a.certificate != nil {
		h.Certificate = a.certificate()
	}
	local := h.Now.In(ch.zone())
	record.forget(local)
	h.judgeDays(record, local)
	h.judge(record, local)
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
func (a *Authority) readHealth(ctx context.Context, h *Health) (record *healthRecord, err error) {
	a.health.settling.Lock()
	defer a.health.settling.Unlock()
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		if record, err = readHealth(ctx, tx, h.Channel); err != nil {
			return err
		}
		if err := h.readJobs(ctx, tx); err != nil {
			return err
		}
		if err := h.readUsage(ctx, tx); err != nil {
			return err
		}
		return h.readComparison(ctx, tx)
	})
	if err != nil {
		return nil, err
	}
	a.health.whole(h.Channel, record)
	return record, nil
}

// learnFailing looks at what other daemons on the store have seen fail. That it
// cannot be read is told by who writes.
func (a *Authority) learnFailing(ctx context.Context) {
	a.health.settling.Lock()
	defer a.health.settling.Unlock()
	for channel, c := range a.health.counters {
		var r *healthRecord
		err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
			r, err = readHealth(ctx, tx, channel)
			return err
		})
		if err == nil {
			if a.health.pending != nil {
				a.health.whole(channel, r)
			}
			c.learn(r)
		}
	}
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
	// A report of a day's use is worth nothing on the next.
	parked = slices.DeleteFunc(parked, func(j license.Job) bool { return j.Kind == license.JobUsage })
	h.Waiting, h.Oldest, h.Failure = len(waiting), time.Time{}, ""
	if len(waiting) > 0 {
		h.Oldest, h.Failure = waiting[0].CreatedAt, waiting[0].Failure
	}
	h.Parked, h.ParkedOldest, h.ParkedFailure = len(parked), time.Time{}, ""
	for _, j := range parked {
		if h.ParkedOldest.IsZero() || j.ParkedAt.Before(h.ParkedOldest) {
			h.ParkedOldest, h.ParkedFailure = j.ParkedAt, j.Failure
		}
	}
	return nil
}

// readComparison finds the comparison that has ended last, daily or by hand.
func (h *Health) readComparison(ctx context.Context, tx store.Tx) error {
	h.Compared, h.Comparing = nil, nil
	daily, err := readValue[reconciliation](ctx, tx, reconcileKey(h.Channel))
	if err != nil {
		return err
	}
	byHand, err := readValue[Reconciled](ctx, tx, syncKey(h.Channel))
	if err != nil {
		return err
	}
	for _, r := range []Reconciled{daily.Last, daily.Now, byHand} {
		if !r.EndedAt.IsZero() && (h.Compared == nil || !r.EndedAt.Before(h.Compared.EndedAt)) {
			h.Compared = &r
		}
	}
	if daily.Now.EndedAt.IsZero() && !daily.Now.BegunAt.IsZero() {
		h.Comparing = &daily.Now
	}
	return h.nameUnproven(ctx, tx)
}

// mostNamed is how many things are named in a sentence.
const mostNamed = 3

// nameUnproven names licences of which the marketplace said nothing that could
// be believed.
func (h *Health) nameUnproven(ctx context.Context, tx store.Tx) error {
	h.Unproven = nil
	if h.Compared == nil {
		return nil
	}
	for _, d := range h.Compared.Differences {
		if d.Outcome != OutcomeFailed || len(h.Unproven) == mostNamed {
			continue
		}
		l, err := tx.License(ctx, d.License)
		if errors.Is(err, license.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		h.Unproven = append(h.Unproven, fmt.Sprintf("%s (…%s)", l.ID, l.Code.Last4))
	}
	return nil
}

// warnable are the stages in which an order can have a warning.
func warnable() []license.Stage {
	return slices.DeleteFunc(license.Stages(), func(s license.Stage) bool {
		turn := s.Turn()
		return turn != license.TurnMerchant && turn != license.TurnBuyer
	})
}

// readOrders looks at all orders that wait for the merchant or the buyer, page by
// page.
func (a *Authority) readOrders(ctx context.Context, channel string, now time.Time) (*OrderHealth, error) {
	o := &OrderHealth{At: now, Warnings: make(map[license.OrderWarning]int), Example: make(map[license.OrderWarning]string)}
	waits := warnable()
	for cursor := ""; ; {
		var page []license.Order
		err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
			page, cursor, err = tx.Orders(ctx, store.OrderFilter{Channel: channel, Open: true}, store.Page{Limit: store.MaxPage, Cursor: cursor})
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, order := range page {
			if slices.Contains(waits, order.Stage) {
				o.add(order, now)
			}
		}
		if cursor == "" {
			return o, nil
		}
	}
}

func (o *OrderHealth) add(order license.Order, now time.Time) {
	o.Open++
	if o.Oldest.IsZero() || order.StageAt.Before(o.Oldest) {
		o.Oldest = order.StageAt
	}
	for _, w := range order.Warnings(now) {
		if o.Warnings[w]++; o.Example[w] == "" {
			o.Example[w] = order.ID
		}
	}
}

// judgeDays lists the days since something is known, and counts the bad ones.
func (h *Health) judgeDays(r *healthRecord, local time.Time) {
	h.FirstProbe, h.LastProbe, h.LastMessage = r.FirstProbe, r.LastProbe, r.LastMessage
	h.Gone = !h.LastProbe.IsZero() && offSale(h.LastProbe, h.Now, local.Location())
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
	if h.Gone {
		return
	}
	on := newer(r.FirstProbe, r.Resumed).In(local.Location())
	h.countBad(on.Format(dayFormat))
	h.countHalf(on)
}

// countBad counts the bad days in a row, of a product on sale since a day.
func (h *Health) countBad(since string) {
	for _, d := range slices.Backward(h.Days) {
		switch d.Probes {
		case ProbesRefused, ProbesMissed:
			if d.Day < since {
				return
			}
			h.BadDays++
		case ProbesOpen:
		case ProbesOK, ProbesHalf, ProbesUnknown:
			return
		}
	}
}

// countHalf counts the days in a row on which half of the probes did not come,
// today left out while it is not over.
func (h *Health) countHalf(since time.Time) {
	for i, d := range slices.Backward(h.Days) {
		switch {
		case i == len(h.Days)-1 && (d.Morning.none() || d.Afternoon.none()):
		case d.Probes != ProbesHalf:
			return
		case d.Day == since.Format(dayFormat) && since.Hour() >= 12 && d.Morning.none():
			return // it was not on sale that morning
		default:
			h.HalfDays++
		}
	}
}

func (p ProbeCount) none() bool { return p.OK+p.Refused == 0 }

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
