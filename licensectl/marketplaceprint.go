package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

func (p *program) printMarketplaces(list []adminwire.Marketplace) error {
	if len(list) == 0 {
		p.note("the daemon's configuration has no marketplaces")
	}
	for i, m := range list {
		if i > 0 {
			if err := p.say(""); err != nil {
				return err
			}
		}
		if err := p.printMarketplace(m); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) printMarketplace(m adminwire.Marketplace) error {
	var f fields
	f.add("marketplace", m.Channel+", "+m.Level)
	f.add("last probe", when(m.LastProbe, "none yet"))
	f.add("last message", when(m.LastMessage, "none yet"))
	f.add("bad days", badDaysText(m))
	f.add("outbox", outboxText(m.Outbox))
	f.add("comparison", comparedText(m.Compared, m.Comparing))
	if o := m.Orders; o != nil && o.Open > 0 {
		f.add("orders", openText(*o))
	}
	if m.LostOrders > 0 {
		f.add("lost", count(m.LostOrders, "order", "orders")+" of this month without a licence")
	}
	if m.Usage != nil {
		f.add("usage", usageText(*m.Usage))
	}
	f.add("certificate", when(m.Certificate, ""))
	if err := f.write(p.out); err != nil {
		return err
	}
	for _, t := range []*table{daysTable(m), callbacksTable(m), failingTable(m)} {
		if t == nil {
			continue
		}
		if err := p.say(""); err != nil {
			return err
		}
		if err := t.flush(p.out); err != nil {
			return err
		}
	}
	if more := m.FailingAll - len(m.Failing); more > 0 {
		if err := p.say("and %d more", more); err != nil {
			return err
		}
	}
	if len(m.Problems) > 0 {
		if err := p.say(""); err != nil {
			return err
		}
	}
	for _, problem := range m.Problems {
		if err := p.say("%-4s  %s\n      to do: %s", problem.Level, printable(problem.Detail), printable(problem.Mend)); err != nil {
			return err
		}
	}
	return nil
}

func badDaysText(m adminwire.Marketplace) string {
	if m.Gone {
		return "none; no probes come any more"
	}
	if m.BadDays == 0 {
		return "none"
	}
	return fmt.Sprintf("%d in a row", m.BadDays)
}

func openText(o adminwire.OpenOrder) string {
	if o.Open == 1 {
		return "1 open, unchanged since " + when(o.Oldest, "")
	}
	return fmt.Sprintf("%d open, the oldest unchanged since %s", o.Open, when(o.Oldest, ""))
}

func outboxText(o adminwire.Outbox) string {
	text := fmt.Sprintf("%d waiting", o.Waiting)
	if o.Oldest != nil {
		text += " since " + when(o.Oldest, "")
	}
	text += fmt.Sprintf(", %d given up", o.Parked)
	if o.ParkedOldest != nil {
		text += " since " + when(o.ParkedOldest, "")
	}
	return text
}

func usageText(u adminwire.Usage) string {
	text := fmt.Sprintf("%s reported %s, %d refused", count(u.Codes, "code", "codes"), when(&u.At, ""), u.Refused)
	if u.Unread {
		text += ", some refusals cannot be read"
	}
	if u.Unreadable > 0 {
		text += fmt.Sprintf(", %d cannot be read here", u.Unreadable)
	}
	return text
}

func daysTable(m adminwire.Marketplace) *table {
	if len(m.Days) == 0 {
		return nil
	}
	t := newTable("DAY ("+m.Zone+")", "PROBES", "MORNING", "AFTERNOON", "MESSAGES", "FAILED", "DOUBTED")
	for _, d := range m.Days {
		t.add(d.Day, d.Probes, probesText(d.Morning), probesText(d.Afternoon), fmt.Sprint(d.Messages), fmt.Sprint(d.Failed), doubtedText(d.Doubted))
	}
	return t
}

// callbacksTable says how the calls of each activity went: by result code over the
// days shown, and the last that was refused.
func callbacksTable(m adminwire.Marketplace) *table {
	if len(m.Standings) == 0 {
		return nil
	}
	type kind struct {
		activity string
		test     bool
	}
	results := make(map[kind]map[string]int)
	for _, d := range m.Days {
		for _, c := range d.Callbacks {
			k := kind{c.Activity, c.Test}
			if results[k] == nil {
				results[k] = make(map[string]int)
			}
			results[k][c.Result] += c.Count
		}
	}
	t := newTable("CALLS", "KIND", "~BY RESULT", "LAST (UTC)", "LAST REFUSED (UTC)", "WITH")
	list := slices.Clone(m.Standings)
	slices.SortStableFunc(list, func(a, b adminwire.Standing) int { return cmp.Compare(a.Activity, b.Activity) })
	for _, s := range list {
		what := "message"
		if s.Test {
			what = "probe"
		}
		refusal := s.Refusal
		if s.Field != "" {
			refusal += " " + s.Field
		}
		t.add(s.Activity, what, resultsText(results[kind{s.Activity, s.Test}]), whenShort(&s.Last, "-"), whenShort(s.LastRefused, "-"), cmp.Or(refusal, "-"))
	}
	return t
}

func resultsText(results map[string]int) string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(results)) {
		parts = append(parts, fmt.Sprintf("%d %s", results[code], code))
	}
	return cmp.Or(strings.Join(parts, ", "), "-")
}

func failingTable(m adminwire.Marketplace) *table {
	if len(m.Failing) == 0 {
		return nil
	}
	t := newTable("FAILING", "ACTIVITY", "SINCE (UTC)", "TIMES", "WITH", "GIVEN UP (UTC)")
	for _, f := range m.Failing {
		result := f.Result
		if f.Field != "" {
			result += " " + f.Field
		}
		t.add(f.Kind+" "+f.Name, f.Activity, whenShort(&f.Since, "-"), fmt.Sprint(f.Times), result, whenShort(f.GivesUpAt, "unknown"))
	}
	return t
}

func comparedText(last, now *adminwire.Compared) string {
	switch {
	case last == nil && now == nil:
		return "none yet"
	case last == nil:
		return "the first is under way since " + when(&now.BegunAt, "")
	}
	return "ended " + when(last.EndedAt, "") + ": " + countsText(*last)
}

func countsText(r adminwire.Compared) string {
	return fmt.Sprintf("%s compared, %d repaired, %d set by the merchant, %d failed", count(r.Checked, "code", "codes"), r.Repaired, r.Own, r.Failed)
}

func probesText(half adminwire.Probes) string {
	switch {
	case half.OK+half.Refused == 0:
		return "-"
	case half.Refused == 0:
		return fmt.Sprintf("%d ok", half.OK)
	}
	return fmt.Sprintf("%d ok, %d refused (%s)", half.OK, half.Refused, strings.TrimSuffix(half.Result+" "+half.Field, " "))
}

func doubtedText(kinds map[string]int) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		parts = append(parts, fmt.Sprintf("%d %s", kinds[kind], kind))
	}
	return cmp.Or(strings.Join(parts, ", "), "-")
}
