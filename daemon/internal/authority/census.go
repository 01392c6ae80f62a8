package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Bounds of the count of all licences.
const (
	// CensusDays is for how many days is kept what happened on each, today included.
	CensusDays = 90

	censusPage     = store.MaxPage    // records in one step, and in one View
	censusPace     = 20               // how many times longer than a step took nothing is done
	censusRest     = time.Minute      // between two counts at least
	censusIdle     = 10 * time.Minute // between two counts where nothing was changed
	censusSave     = time.Minute      // of a count that is lost when the daemon is killed
	censusStale    = 24 * time.Hour   // after which one that was broken off is begun anew
	censusLease    = 3 * time.Minute  // that nothing is heard of who counts until another daemon goes on
	censusProducts = 100              // that are told apart; the others are one, without a name
	censusSkip     = 10_000           // entries of the audit log, from which on the old ones are jumped over

	censusKey = "census"
)

// CensusSpans are the times within which licences end that are counted.
func CensusSpans() [3]time.Duration {
	const day = 24 * time.Hour
	return [3]time.Duration{7 * day, 30 * day, 90 * day}
}

// Census is how many licences there are, as they were counted last, and what has
// become of them day by day. It shows what the principal of the call may see.
type Census struct {
	At       time.Time // for which states and ends were looked at; zero where nothing was counted yet
	Products map[string]ProductCount
	Days     []CensusDay // that have passed since the count could know of them, without gaps, the oldest first
	Open     int         // orders that wait for somebody; of all products, so 0 for who sees only some
	Warned   int         // of them, there is something to do about
}

// ProductCount is how many licences of a product there are.
type ProductCount struct {
	States map[license.State]int `json:"states,omitzero"`
	Trials int                   `json:"trials,omitzero"` // that are active
	Ending [3]int                `json:"ending,omitzero"` // active ones that end within each of CensusSpans
}

// Total is the number of licences of a product.
func (p ProductCount) Total() (n int) {
	for _, of := range p.States {
		n += of
	}
	return n
}

// Add returns the sum of both.
func (p ProductCount) Add(o ProductCount) ProductCount {
	sum := ProductCount{States: make(map[license.State]int), Trials: p.Trials + o.Trials}
	for _, part := range []ProductCount{p, o} {
		for state, n := range part.States {
			sum.States[state] += n
		}
		for i, n := range part.Ending {
			sum.Ending[i] += n
		}
	}
	return sum
}

// CensusDay is what happened on a day.
type CensusDay struct {
	Day string // 2026-03-01, in Options.Zone
	DayCount
}

// DayCount is how often something happened on a day, by what the audit log says.
type DayCount struct {
	Activated int `json:"a,omitzero"` // licences, for the first time
	Bound     int `json:"b,omitzero"` // installs, those of first activations included
	Forks     int `json:"f,omitzero"` // signs of copies
}

// census is what is kept of it.
type census struct {
	Done counted `json:"done,omitzero"` // the last count
	Now  counted `json:"now,omitzero"`  // the one that is under way

	Part   censusPart `json:"part,omitzero"` // of Now that is next
	Cursor string     `json:"cursor,omitzero"`

	Seq  int64                          `json:"seq,omitzero"`  // up to which the audit log was read for Days
	Days map[string]map[string]DayCount `json:"days,omitzero"` // by day and product
}

// counted is one count.
type counted struct {
	At       time.Time               `json:"at,omitzero"`
	EndedAt  time.Time               `json:"ended_at,omitzero"`
	Head     int64                   `json:"head,omitzero"` // position of the audit log when it began
	Products map[string]ProductCount `json:"products,omitzero"`
	Open     int                     `json:"open,omitzero"`
	Warned   int                     `json:"warned,omitzero"`
}

// censusPart is a part of a count.
type censusPart string

const (
	censusLicenses censusPart = ""
	censusOrders   censusPart = "orders"
	censusLog      censusPart = "log"
	censusEnd      censusPart = "end"
)

// Census returns what was counted last.
func (a *Authority) Census(ctx context.Context) (Census, error) {
	var is census
	err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		is, err = readValue[census](ctx, tx, censusKey)
		return err
	})
	if err != nil {
		return Census{}, fmt.Errorf("read how many licences there are: %w", err)
	}
	sees, all := func(string) bool { return true }, true
	if c := CallOf(ctx); c != nil && c.Principal.Scoped() {
		sees, all = c.Principal.Sees, false
	}
	out := Census{At: is.Done.At, Products: make(map[string]ProductCount)}
	if out.At.IsZero() {
		return out, nil
	}
	for product, n := range is.Done.Products {
		if sees(product) {
			out.Products[product] = n
		}
	}
	if all {
		out.Open, out.Warned = is.Done.Open, is.Done.Warned
	}
	for _, day := range censusDays(a.now(), a.zone) {
		d := CensusDay{Day: day}
		for product, n := range is.Days[day] {
			if sees(product) {
				d.Activated, d.Bound, d.Forks = d.Activated+n.Activated, d.Bound+n.Bound, d.Forks+n.Forks
			}
		}
		out.Days = append(out.Days, d)
	}
	return out, nil
}

// censusDays are the days that are kept at an instant, the oldest first.
func censusDays(now time.Time, zone *time.Location) []string {
	local := now.In(zone)
	// Noon is on every day of every zone, whatever becomes of its midnight.
	noon := time.Date(local.Year(), local.Month(), local.Day(), 12, 0, 0, 0, zone)
	days := make([]string, 0, CensusDays)
	for back := CensusDays - 1; back >= 0; back-- {
		days = append(days, noon.AddDate(0, 0, -back).Format(dayFormat))
	}
	return days
}

// RunCensus counts all licences again and again until ctx ends; of several daemons on
// a store one does it at a time, and goes on where another was. It takes no more than
// a twentieth of a core: after each page it rests for twenty times as long as that took.
// An error is given to report when it is another than the last.
func (a *Authority) RunCensus(ctx context.Context, report func(error)) {
	c := a.newCensusTaker()
	defer func() { _ = c.turn.release(ctx) }() // else it is taken over a little later
	repeatTelling(ctx, nil, report, func() (time.Duration, error) { return c.round(ctx) })
}

// censusTaker counts. Between two writes what it has counted is here only.
type censusTaker struct {
	a      *Authority
	turn   *lease
	loaded bool
	is     census
	saved  time.Duration // when it was last in the store, by the clock that nobody sets
}

func (a *Authority) newCensusTaker() *censusTaker {
	return &censusTaker{a: a, turn: a.lease(censusKey, censusLease)}
}

// round does the next step of a count where one is due and no other daemon is at it,
// and says when to go on.
func (c *censusTaker) round(ctx context.Context) (wait time.Duration, err error) {
	now, err := c.a.dated(ctx)
	if err != nil { // others say so
		c.loaded = false
		return censusRest, nil //nolint:nilerr // nothing is counted by a clock that is not trusted
	}
	began, more := c.a.guard.uptime(), false
	ran, err := c.turn.during(ctx, func(ctx context.Context) error {
		more, err = c.step(ctx, now)
		return err
	})
	if err != nil || !ran {
		c.loaded = false
		if errors.Is(err, errLeaseLost) {
			err = nil
		}
		return censusRest, err
	}
	pause := censusPace * (c.a.guard.uptime() - began)
	if !more {
		pause = max(pause, censusRest)
	}
	return pause, nil
}

// step counts one page. It reports whether the count goes on.
func (c *censusTaker) step(ctx context.Context, now time.Time) (more bool, err error) {
	if err := c.load(ctx); err != nil {
		return false, err
	}
	if c.is.Now.At.IsZero() || now.Sub(c.is.Now.At).Abs() > censusStale {
		if due, err := c.begin(ctx, now); err != nil || !due {
			return false, err
		}
	}
	switch c.is.Part {
	case censusLicenses:
		err = c.licenses(ctx)
	case censusOrders:
		err = c.orders(ctx)
	case censusLog:
		err = c.log(ctx, now)
	case censusEnd:
	default: // of another version
		c.is.Now = counted{}
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("count all licences: %w", err)
	}
	if c.is.Part == censusEnd {
		c.is.Done, c.is.Now, c.is.Part, c.is.Cursor = c.is.Now, counted{}, censusLicenses, ""
		c.is.Done.EndedAt = now
		return false, c.save(ctx)
	}
	if c.a.guard.uptime()-c.saved >= censusSave {
		return true, c.save(ctx)
	}
	return true, nil
}

func (c *censusTaker) load(ctx context.Context) error {
	if c.loaded {
		return nil
	}
	err := c.a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		c.is, err = readValue[census](ctx, tx, censusKey)
		return err
	})
	if license.ReasonOf(err) == license.Internal && ctx.Err() == nil { // what is stored is no census: it is made anew
		c.is, err = census{}, nil
	}
	c.loaded, c.saved = err == nil, c.a.guard.uptime()
	return err
}

func (c *censusTaker) save(ctx context.Context) error {
	err := c.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error { return writeValue(ctx, tx, censusKey, c.is) })
	if err != nil {
		c.loaded = false // it may have been written, or not
		return fmt.Errorf("record how many licences there are: %w", err)
	}
	c.saved = c.a.guard.uptime()
	return nil
}

// begin begins a count, unless the last one is good enough.
func (c *censusTaker) begin(ctx context.Context, now time.Time) (due bool, err error) {
	head, err := c.a.AuditHead(ctx)
	if err != nil {
		return false, err
	}
	age := now.Sub(c.is.Done.EndedAt)
	if age >= 0 && (age < censusRest || age < censusIdle && head.Seq == c.is.Done.Head) {
		return false, nil
	}
	if head.Seq < c.is.Seq { // it is another log
		c.is.Seq, c.is.Days = 0, nil
	}
	if head.Seq-c.is.Seq > censusSkip {
		first, err := c.firstSince(ctx, head.Seq, now.AddDate(0, 0, -CensusDays))
		if err != nil {
			return false, err
		}
		c.is.Seq = max(c.is.Seq, first-1)
	}
	c.is.Now = counted{At: now, Head: head.Seq, Products: make(map[string]ProductCount)}
	c.is.Part, c.is.Cursor = censusLicenses, ""
	return true, nil
}

// firstSince finds about where the entries of the audit log begin that are not older
// than an instant: they stand nearly in the order of their instants.
func (c *censusTaker) firstSince(ctx context.Context, head int64, since time.Time) (int64, error) {
	from, to := int64(1), head+1
	err := c.a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		from, to = 1, head+1
		for from < to {
			mid := from + (to-from)/2
			events, _, err := tx.Events(ctx, store.EventFilter{After: mid - 1}, store.Page{Limit: 1})
			switch {
			case err != nil:
				return err
			case len(events) == 0:
				to = mid
			case events[0].At.Before(since):
				from = mid + 1
			default:
				to = mid
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("look for the entries of the last days: %w", err)
	}
	return from, nil
}

// listNext reads the next page of a list of the count, and says that the part is next that
// comes after, where that was the last.
func listNext[T any](ctx context.Context, c *censusTaker, after censusPart, list func(context.Context, store.Tx, store.Page) ([]T, string, error)) (page []T, err error) {
	next := ""
	err = c.a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		page, next, err = list(ctx, tx, store.Page{Limit: censusPage, Cursor: c.is.Cursor})
		return err
	})
	switch {
	case errors.Is(err, license.BadRequest) && c.is.Cursor != "": // it is of another backend
		c.is.Now = counted{}
		return nil, nil
	case err != nil:
		return nil, err
	}
	if c.is.Cursor = next; next == "" {
		c.is.Part = after
	}
	return page, nil
}

// licenses counts a page of licences.
func (c *censusTaker) licenses(ctx context.Context) error {
	page, err := listNext(ctx, c, censusOrders, func(ctx context.Context, tx store.Tx, p store.Page) ([]license.License, string, error) {
		return tx.Licenses(ctx, store.Filter{}, p)
	})
	for _, l := range page {
		c.is.Now.count(l)
	}
	return err
}

// count counts one licence.
func (n *counted) count(l license.License) {
	name := l.Product
	p, ok := n.Products[name]
	if !ok && len(n.Products) >= censusProducts {
		name = ""
		p = n.Products[name]
	}
	if p.States == nil {
		p.States = make(map[license.State]int)
	}
	state := l.StateAt(n.At)
	p.States[state]++
	if state == license.StateActive {
		if l.Trial {
			p.Trials++
		}
		for i, span := range CensusSpans() {
			if (store.Filter{ExpiringBefore: n.At.Add(span), Now: n.At}).Match(l) {
				p.Ending[i]++
			}
		}
	}
	n.Products[name] = p
}

// orders counts a page of the orders that wait for somebody.
func (c *censusTaker) orders(ctx context.Context) error {
	page, err := listNext(ctx, c, censusLog, func(ctx context.Context, tx store.Tx, p store.Page) ([]license.Order, string, error) {
		return tx.Orders(ctx, store.OrderFilter{Open: true}, p)
	})
	for _, o := range page {
		c.is.Now.Open++
		if len(o.Warnings(c.is.Now.At)) > 0 {
			c.is.Now.Warned++
		}
	}
	return err
}

// log counts a page of the audit log, up to where that went when the count began.
func (c *censusTaker) log(ctx context.Context, now time.Time) error {
	var lines [][]byte
	err := c.a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		lines, _, err = tx.EventLines(ctx, store.EventFilter{After: c.is.Seq}, store.Page{Limit: censusPage})
		return err
	})
	if err != nil {
		return err
	}
	for _, raw := range lines {
		c.entry(raw)
	}
	if len(lines) > 0 && c.is.Seq < c.is.Now.Head {
		return nil
	}
	c.is.Part = censusEnd
	days := censusDays(now, c.a.zone)
	tomorrow := now.In(c.a.zone).AddDate(0, 0, 1).Format(dayFormat) // by the clock of another daemon it may have come
	for day := range c.is.Days {
		if day < days[0] || day > tomorrow {
			delete(c.is.Days, day)
		}
	}
	return nil
}

// entry counts the next entry of the audit log. One that cannot be read counts for
// nothing here: who verifies the log says so.
func (c *censusTaker) entry(raw []byte) {
	c.is.Seq++ // there are no gaps
	line, err := license.ParseAuditLine(raw)
	if err != nil {
		return
	}
	n, ok := map[license.Action]DayCount{
		license.ActionActivate: {Activated: 1, Bound: 1}, license.ActionBind: {Bound: 1}, license.ActionFork: {Forks: 1},
	}[line.Action]
	if !ok {
		return
	}
	e, err := line.Event()
	if err != nil {
		return
	}
	day, product := e.At.In(c.a.zone).Format(dayFormat), e.Product
	if c.is.Days == nil {
		c.is.Days = make(map[string]map[string]DayCount)
	}
	if c.is.Days[day] == nil {
		c.is.Days[day] = make(map[string]DayCount)
	}
	of := c.is.Days[day]
	if _, ok := of[product]; !ok && len(of) >= censusProducts {
		product = ""
	}
	was := of[product]
	of[product] = DayCount{was.Activated + n.Activated, was.Bound + n.Bound, was.Forks + n.Forks}
}
