package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Meter is the part of a marketplace that is told how much its codes are used
// (access guide …2290055385). Its errors are those of Desk.
type Meter interface {
	// ReportUse tells of one day. Forbidden means that it took nothing, because of
	// one of the codes or more.
	ReportUse(ctx context.Context, uses []Use) (UseResult, error)
}

// UseResult is what a marketplace says of a report that it took.
type UseResult struct {
	Refused []license.Code // of which it took none
	Unread  bool           // it names others in a way that cannot be read
}

// Use is how many installs of a code were in use within a day.
type Use struct {
	Code   license.Code
	Active int // at least 1
}

// Bounds of the daily report.
const (
	usagePage  = 100             // codes in one report
	usageGap   = 2 * time.Second // between two reports
	usageRetry = 5 * time.Minute // after a failure of the store
	usageCalls = 16              // of one job, to find the codes that the marketplace does not take
)

// usageState is how far the report of a day has come.
type usageState struct {
	Day     string    `json:"day"`   // that is reported or was last, in UTC
	Since   time.Time `json:"since"` // whoever was seen since then was in use
	BegunAt time.Time `json:"begun_at"`
	Cursor  string    `json:"cursor,omitzero"`
	Done    bool      `json:"done"`
	Told    usageTold `json:"told,omitzero"` // the last day of which something was reported
}

// usageTold is what came of the reports of a day.
type usageTold struct {
	Day        string    `json:"day"`
	At         time.Time `json:"at"` // of the last report
	Codes      int       `json:"codes"`
	Refused    int       `json:"refused,omitzero"`
	Unread     bool      `json:"unread,omitzero"`     // the marketplace refused codes of which it cannot be read which
	Unreadable int       `json:"unreadable,omitzero"` // licences whose code cannot be read here
}

// UsageHealth is what came of the last reports of how much codes are used.
type UsageHealth struct {
	Day        string    // that they were about, in UTC
	At         time.Time // of the last one
	Codes      int       // that were reported
	Refused    int       // that the marketplace did not take
	Unread     bool      // it refused codes of which it cannot be read which
	Unreadable int       // licences that could not be reported: their code cannot be read here
}

// moved reports whether somebody else went on with the reports meanwhile.
func (s usageState) moved(is usageState) bool {
	return s.Day != is.Day || s.Cursor != is.Cursor || s.Done != is.Done || !s.BegunAt.Equal(is.BegunAt)
}

func usageKey(channel string) string { return "usage/" + channel }

// RunUsage reports once a day (UTC) how much the codes of a marketplace were
// used since the last report, until ctx ends: for each code the number of
// installs that called, and nothing about who they are. The reports are jobs of
// the outbox. Failures are given to report.
func (a *Authority) RunUsage(ctx context.Context, channel string, report func(error)) {
	ch, ok := a.channel(channel)
	if !ok || ch.Meter == nil {
		return
	}
	repeat(ctx, nil, func() time.Duration {
		wait, err := a.usageNext(ctx, ch)
		if err != nil && ctx.Err() == nil {
			report(err)
		}
		return wait
	})
}

// usageNext writes the next report of the day, where there is one and no other
// daemon on the store writes it.
func (a *Authority) usageNext(ctx context.Context, ch Channel) (wait time.Duration, err error) {
	now := a.now()
	if clock, err := a.guard.look(ctx); err != nil || !clock.Trusted() {
		return usageRetry, err // a wrong day would take back what another daemon reports of the right one
	}
	var today string
	var was, s usageState
	var uses []licenseUse
	var next string
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		if was, err = readUsage(ctx, tx, ch.Name); err != nil {
			return err
		}
		today = reportedDay(was.Day, now)
		if s = was; s.Day == today && s.Done {
			return nil
		}
		if s.Day != today {
			if s.Since.IsZero() || s.Since.After(now) {
				s.Since = now.Add(-24 * time.Hour)
			}
			s = usageState{Day: today, Since: s.Since, BegunAt: now}
		}
		uses, next, err = usesOf(ctx, tx, ch.Name, s)
		return err
	})
	switch {
	case err != nil:
		return usageRetry, fmt.Errorf("count how much the codes of %s are used: %w", ch.Name, err)
	case s.Done:
		tomorrow := now.Truncate(24 * time.Hour).Add(24 * time.Hour)
		return min(tomorrow.Sub(now)+time.Second, reconcileLook), nil
	}
	if s.Cursor = next; next == "" {
		s.Done, s.Since = true, s.BegunAt
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		is, err := readUsage(ctx, tx, ch.Name)
		if err != nil || was.moved(is) {
			return err
		}
		if was.Day != today {
			if err := dropUsage(ctx, tx, ch.Name); err != nil {
				return err
			}
		}
		if len(uses) > 0 {
			if err := a.enqueue(ctx, tx, usageJobOf(ch.Name), usageJob{Day: s.Day, Uses: uses}); err != nil {
				return err
			}
		}
		s.Told = is.Told
		return writeUsage(ctx, tx, ch.Name, s)
	})
	if err != nil {
		return usageRetry, fmt.Errorf("write a report of how much the codes of %s are used: %w", ch.Name, err)
	}
	return usageGap, nil
}

// reportedDay is the day that is reported at now, in UTC: around midnight that which
// another daemon on the store has begun, whose clock differs a little.
func reportedDay(begun string, now time.Time) string {
	if next := now.Add(clockStep).Format(time.DateOnly); begun == next {
		return next
	}
	return now.Format(time.DateOnly)
}

// dropUsage removes the reports of days that are over.
func dropUsage(ctx context.Context, tx store.Tx, channel string) error {
	for {
		list, next, err := tx.Jobs(ctx, store.JobFilter{Kind: license.JobUsage, Channel: channel}, store.Page{Limit: store.MaxPage})
		if err != nil {
			return err
		}
		for _, j := range list {
			if err := tx.DeleteJob(ctx, j); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
	}
}

func usageJobOf(channel string) license.Job {
	return license.Job{Kind: license.JobUsage, Key: usageKey(channel), Channel: channel}
}

func writeUsage(ctx context.Context, tx store.Tx, channel string, s usageState) error {
	return writeValue(ctx, tx, usageKey(channel), s)
}

// readUsage says how the reports went, where there were any.
func (h *Health) readUsage(ctx context.Context, tx store.Tx) error {
	s, err := readUsage(ctx, tx, h.Channel)
	if h.Usage = nil; err == nil && s.Told.Day != "" {
		u := UsageHealth(s.Told)
		h.Usage = &u
	}
	return err
}

func readUsage(ctx context.Context, tx store.Tx, channel string) (usageState, error) {
	return readValue[usageState](ctx, tx, usageKey(channel))
}

// usesOf counts the installs in use of the next licences.
func usesOf(ctx context.Context, tx store.Tx, channel string, s usageState) (uses []licenseUse, next string, err error) {
	page, next, err := tx.Licenses(ctx, store.Filter{Channel: channel}, store.Page{Limit: usagePage, Cursor: s.Cursor})
	if err != nil {
		return nil, "", err
	}
	for _, l := range page {
		if l.Instance != "" { // its devices call nobody
			continue
		}
		installs, err := tx.Installs(ctx, l.ID)
		if err != nil {
			return nil, "", err
		}
		n := 0
		for _, i := range installs {
			// One without a key never calls: it was made for a code or a text.
			if !i.SeenAt.Before(s.Since) && !strings.HasPrefix(i.ID, license.DevicePrefix) {
				n++
			}
		}
		if n > 0 {
			uses = append(uses, licenseUse{l.ID, n})
		}
	}
	return uses, next, nil
}

// usageJob is the payload of a JobUsage.
type usageJob struct {
	Day  string       `json:"day"` // in UTC
	Uses []licenseUse `json:"uses"`
	Some bool         `json:"some,omitzero"` // it is what is left of a report of which some was taken
}

type licenseUse struct {
	License string `json:"l"`
	Active  int    `json:"n"`
}

// reportUsage carries out a JobUsage. A report names no day, so that of a day
// that is over is worth nothing: it is dropped.
func (a *Authority) reportUsage(ctx context.Context, j license.Job) (effect, error) {
	var p usageJob
	if err := readPayload(j, &p); err != nil {
		return nil, err
	}
	ch, ok := a.channel(j.Channel)
	if !ok || ch.Meter == nil {
		return nil, errNoWay
	}
	if p.Day != reportedDay(p.Day, a.now()) {
		return nil, nil
	}
	r := usageReport{meter: ch.Meter, some: p.Some, told: usageTold{Day: p.Day}, of: make(map[string]licenseUse, len(p.Uses))}
	uses, err := a.openUses(ctx, p.Uses, &r)
	if err != nil {
		return nil, fmt.Errorf("read what is to be reported: %w", err)
	}
	if err := r.report(ctx, uses); err != nil {
		return nil, err
	}
	r.told.At = a.now()
	return func(ctx context.Context, tx store.Tx) error { return a.reported(ctx, tx, j, r) }, nil
}

// openUses reads the codes of what is reported. A licence whose code cannot be
// read does not keep the others back.
func (a *Authority) openUses(ctx context.Context, list []licenseUse, r *usageReport) (uses []Use, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		uses, r.told.Unreadable = make([]Use, 0, len(list)), 0
		clear(r.of)
		for _, u := range list {
			l, err := tx.License(ctx, u.License)
			if errors.Is(err, license.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			code, err := a.codes.Open(l.Code.Sealed, l.ID)
			if err != nil || u.Active < 1 {
				r.told.Unreadable++
				continue
			}
			uses, r.of[code.Reveal()] = append(uses, Use{code, u.Active}), u
		}
		return nil
	})
	return uses, err
}

// usageReport is one report on its way.
type usageReport struct {
	meter   Meter
	of      map[string]licenseUse // by code
	some    bool                  // some of it was taken
	told    usageTold
	refused []license.Code
	left    []Use // what is reported by a further job
}

// report hands uses over. The marketplace may refuse a whole report for one of
// its codes; then it is halved until that one is found, within a number of
// calls. It fails where nothing came of it at all.
func (r *usageReport) report(ctx context.Context, uses []Use) error {
	if len(uses) == 0 {
		return nil
	}
	groups := [][]Use{uses} // the last is the next
	silent := false
	for calls := 0; len(groups) > 0 && calls < usageCalls; calls++ {
		group := groups[len(groups)-1]
		groups = groups[:len(groups)-1]
		result, err := r.meter.ReportUse(ctx, group)
		switch {
		case err == nil:
			r.some = true
			r.told.Codes += len(group) - len(result.Refused)
			r.told.Unread = r.told.Unread || result.Unread
			r.refused = append(r.refused, result.Refused...)
		case !errors.Is(err, license.Forbidden) && len(r.refused) == 0 && r.told.Codes == 0:
			return err
		case !errors.Is(err, license.Forbidden): // what was taken is not told twice
			groups, silent, calls = append(groups, group), true, usageCalls
		case len(group) == 1:
			r.refused = append(r.refused, group[0].Code)
		default:
			groups = append(groups, group[len(group)/2:], group[:len(group)/2])
		}
	}
	for _, group := range slices.Backward(groups) {
		if !r.some && !silent { // it is not about single codes
			for _, u := range group {
				r.refused = append(r.refused, u.Code)
			}
			continue
		}
		r.left = append(r.left, group...)
	}
	return nil
}

// reported records what came of a report, and has what is left of it reported.
func (a *Authority) reported(ctx context.Context, tx store.Tx, j license.Job, r usageReport) error {
	s, err := readUsage(ctx, tx, j.Channel)
	if err != nil {
		return err
	}
	told := r.told
	told.Refused = len(r.refused)
	if was := s.Told; was.Day == told.Day {
		told.Codes, told.Refused, told.Unreadable = told.Codes+was.Codes, told.Refused+was.Refused, told.Unreadable+was.Unreadable
		told.Unread = told.Unread || was.Unread
	}
	s.Told = told
	if err := writeUsage(ctx, tx, j.Channel, s); err != nil {
		return err
	}
	if len(r.left) > 0 {
		rest := usageJob{Day: r.told.Day, Some: true}
		for _, u := range r.left {
			rest.Uses = append(rest.Uses, r.of[u.Code.Reveal()])
		}
		if err := a.enqueue(ctx, tx, usageJobOf(j.Channel), rest); err != nil {
			return err
		}
	}
	if len(r.refused) == 0 && !r.told.Unread && r.told.Unreadable == 0 {
		return nil
	}
	var names []string
	for _, code := range r.refused {
		names = append(names, r.of[code.Reveal()].License)
	}
	event := license.AuditEvent{
		At: r.told.At, Actor: license.Actor{Kind: license.ActorSystem, Name: "outbox"}, Action: license.ActionUsageRefused,
		After: map[string]any{"day": r.told.Day, "licenses": len(names)}, Note: strings.TrimSuffix("by "+j.Channel+": "+strings.Join(names, " "), ": "),
	}
	if r.told.Unread {
		event.After["unread"] = true
	}
	if r.told.Unreadable > 0 {
		event.After["unreadable"] = r.told.Unreadable
	}
	if _, err := tx.Append(ctx, event); err != nil {
		return fmt.Errorf("audit a refused report: %w", err)
	}
	return nil
}
