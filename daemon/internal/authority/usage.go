package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Meter is the part of a marketplace that is told how much its codes are used
// (access guide …2290055385). Its errors are those of Desk.
type Meter interface {
	// ReportUse tells of one day. It returns the codes that the marketplace refused
	// to take a report of.
	ReportUse(ctx context.Context, uses []Use) (refused []license.Code, err error)
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
)

// usageState is how far the report of a day has come.
type usageState struct {
	Day     string    `json:"day"`   // that is reported or was last, in UTC
	Since   time.Time `json:"since"` // whoever was seen since then was in use
	BegunAt time.Time `json:"begun_at"`
	Cursor  string    `json:"cursor,omitzero"`
	Done    bool      `json:"done"`
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

// usageNext writes the next report of the day, where there is one.
func (a *Authority) usageNext(ctx context.Context, ch Channel) (wait time.Duration, err error) {
	now := a.now()
	var s usageState
	var uses []licenseUse
	var next string
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		if s, err = readUsage(ctx, tx, ch.Name); err != nil {
			return err
		}
		today := now.Format(time.DateOnly)
		if s.Day == today && s.Done {
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
		if len(uses) > 0 {
			err := a.enqueue(ctx, tx, license.Job{Kind: license.JobUsage, Key: usageKey(ch.Name), Channel: ch.Name}, usageJob{Day: s.Day, Uses: uses})
			if err != nil {
				return err
			}
		}
		data, err := json.Marshal(s)
		if err != nil {
			return err
		}
		return tx.SetValue(ctx, usageKey(ch.Name), data)
	})
	if err != nil {
		return usageRetry, fmt.Errorf("write a report of how much the codes of %s are used: %w", ch.Name, err)
	}
	return usageGap, nil
}

func readUsage(ctx context.Context, tx store.Tx, channel string) (s usageState, err error) {
	data, err := tx.Value(ctx, usageKey(channel))
	if errors.Is(err, license.NotFound) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, err
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
			if !i.SeenAt.Before(s.Since) {
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
	Day  string       `json:"day"`
	Uses []licenseUse `json:"uses"`
}

type licenseUse struct {
	License string `json:"l"`
	Active  int    `json:"n"`
}

// reportUsage carries out a JobUsage. A day's report that could not be handed
// over for days is worth nothing any more.
func (a *Authority) reportUsage(ctx context.Context, j license.Job) (effect, error) {
	var p usageJob
	if err := readPayload(j, &p); err != nil {
		return nil, err
	}
	ch, ok := a.channel(j.Channel)
	if !ok || ch.Meter == nil {
		return nil, errNoWay
	}
	uses := make([]Use, 0, len(p.Uses))
	ids := make(map[string]string, len(p.Uses)) // code → licence
	err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		uses = uses[:0]
		for _, u := range p.Uses {
			l, err := tx.License(ctx, u.License)
			if err != nil {
				return err
			}
			code, err := a.codes.Open(l.Code.Sealed, l.ID)
			if err != nil {
				return err
			}
			uses, ids[code.Reveal()] = append(uses, Use{code, u.Active}), l.ID
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what is to be reported: %w", err)
	}
	refused, err := ch.Meter.ReportUse(ctx, uses)
	if err != nil || len(refused) == 0 {
		return nil, err
	}
	return func(ctx context.Context, tx store.Tx) error {
		var names []string
		for _, code := range refused {
			names = append(names, ids[code.Reveal()])
		}
		_, err := tx.Append(ctx, license.AuditEvent{
			At: a.now(), Actor: license.Actor{Kind: license.ActorSystem, Name: "outbox"}, Action: license.ActionUsageRefused,
			After: map[string]any{"day": p.Day, "licenses": len(names)}, Note: "by " + j.Channel + ": " + strings.Join(names, " "),
		})
		if err != nil {
			return fmt.Errorf("audit a refused report: %w", err)
		}
		return nil
	}, nil
}
