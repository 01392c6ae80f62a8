package console

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

const (
	sectionMarketplaces = "marketplaces"
	pathMarketplaces    = Prefix + sectionMarketplaces
)

func marketplacePath(channel string) string { return pathMarketplaces + "/" + url.PathEscape(channel) }

// marketplaces lists the marketplace entries and how they are doing.
func (v *visit) marketplaces() {
	l := v.list(sectionMarketplaces, []string{"channel", "level", "problems", "last_probe", "last_message", "outbox_waiting", "outbox_parked"})
	all, err := v.api.Marketplaces(v.ctx())
	for _, m := range all.Marketplaces {
		worst := fact{}
		if len(m.Problems) > 0 {
			worst = fact{Value: m.Problems[0].Detail}
			if more := len(m.Problems) - 1; more > 0 {
				worst.Note = v.site.Text(v.r, "marketplaces.more", more)
			}
		}
		l.Table.Rows = append(l.Table.Rows, []fact{
			{Value: m.Channel, Link: marketplacePath(m.Channel)},
			{Value: m.Level, As: "level", Badge: m.Level},
			worst,
			{Value: m.LastProbe, As: "time"},
			{Value: m.LastMessage, As: "time"},
			{Value: m.Outbox.Waiting, As: "num"},
			{Value: m.Outbox.Parked, As: "num"},
		})
	}
	v.showList(l, "", err)
}

// marketplaceData is what the page of one entry shows.
type marketplaceData struct {
	M         adminwire.Marketplace
	Path      string
	Deeds     []offer
	Facts     []fact
	Days      *table
	Bars      []dayBar
	Standings *table
	Failing   *table
}

// dayBar is a day of the chart of messages, in the units of its picture.
type dayBar struct {
	Day                string
	X, Y, Height       int
	FailedY, FailedTop int
	Messages, Failed   int
}

// The picture of the messages: 14 days of 50 units, 120 high above their names.
const (
	barWidth  = 50
	barHeight = 120
)

// marketplace shows how one entry is doing.
func (v *visit) marketplace() {
	m, err := v.api.Marketplace(v.ctx(), v.r.PathValue("channel"))
	if err != nil {
		v.refuse(err)
		return
	}
	d := marketplaceData{M: m, Path: marketplacePath(m.Channel), Deeds: v.offers(marketplaceDeeds(), nil), Facts: marketplaceFacts(m)}
	d.Days = &table{Columns: []string{"day", "probes", "morning", "afternoon", "messages", "failed", "doubted"}}
	for _, day := range m.Days {
		doubted := 0
		for _, n := range day.Doubted {
			doubted += n
		}
		d.Days.Rows = append(d.Days.Rows, []fact{
			{Value: day.Day},
			{Value: day.Probes, As: "probes", Badge: probesBadge(day.Probes)},
			probes(day.Morning), probes(day.Afternoon),
			{Value: day.Messages, As: "num"},
			{Value: day.Failed, As: "num"},
			{Value: doubted, As: "num"},
		})
	}
	d.Bars = bars(m.Days)
	d.Standings = &table{Columns: []string{"activity", "last", "result", "last_ok", "refused"}}
	for _, s := range m.Standings {
		name := fact{Value: s.Activity, As: "activity"}
		if s.Test {
			name.Note = v.text("marketplaces.test")
		}
		refused := fact{Value: s.Refused, As: "num"}
		if s.Refused > 0 {
			refused.Note = strings.TrimSpace(s.Refusal + " " + s.Field)
		}
		d.Standings.Rows = append(d.Standings.Rows, []fact{name, {Value: s.Last, As: "time"}, {Value: s.Result, As: "code"}, {Value: s.LastOK, As: "time"}, refused})
	}
	d.Failing = &table{Columns: []string{"activity", "about", "since", "last", "times", "result", "gives_up_at"}}
	for _, f := range m.Failing {
		d.Failing.Rows = append(d.Failing.Rows, []fact{
			{Value: f.Activity, As: "activity"},
			{Value: f.Name, Note: v.word("about", f.Kind)},
			{Value: f.Since, As: "time"},
			{Value: f.Last, As: "time"},
			{Value: f.Times, As: "num"},
			{Value: strings.TrimSpace(f.Result + " " + f.Field), As: "code"},
			{Value: f.GivesUpAt, As: "time"},
		})
	}
	v.show("marketplace", sectionMarketplaces, d)
}

func probes(p adminwire.Probes) fact {
	f := fact{Value: strconv.Itoa(p.OK)}
	if p.Refused > 0 {
		f.Value = strconv.Itoa(p.OK) + " / " + strconv.Itoa(p.Refused)
		f.Note = strings.TrimSpace(p.Result + " " + p.Field)
	}
	return f
}

func probesBadge(state string) string {
	switch state {
	case "ok":
		return "ok"
	case "refused", "missed":
		return "fail"
	case "half":
		return "warn"
	}
	return "note"
}

// bars are the days of the chart, as high as the day with the most messages lets them be.
func bars(days []adminwire.Day) (out []dayBar) {
	most := 0
	for _, d := range days {
		most = max(most, d.Messages)
	}
	if most == 0 {
		return nil
	}
	for i, d := range days {
		b := dayBar{Day: d.Day, X: i*barWidth + 8, Messages: d.Messages, Failed: d.Failed, Height: d.Messages * barHeight / most}
		b.FailedTop = min(d.Failed, d.Messages) * barHeight / most
		b.Y, b.FailedY = barHeight-b.Height, barHeight-b.FailedTop
		if _, month, ok := strings.Cut(d.Day, "-"); ok {
			b.Day = month
		}
		out = append(out, b)
	}
	return out
}

func marketplaceFacts(m adminwire.Marketplace) []fact {
	facts := []fact{
		{Name: "last_probe", Value: m.LastProbe, As: "time"},
		{Name: "last_message", Value: m.LastMessage, As: "time"},
		{Name: "bad_days", Value: m.BadDays, As: "num"},
		{Name: "lost_orders", Value: m.LostOrders, As: "num"},
		{Name: "outbox_waiting", Value: m.Outbox.Waiting, As: "num", Link: pathOutbox + "?channel=" + url.QueryEscape(m.Channel)},
		{Name: "outbox_parked", Value: m.Outbox.Parked, As: "num", Link: pathOutbox + "?state=parked&channel=" + url.QueryEscape(m.Channel)},
		{Name: "zone", Value: m.Zone},
	}
	if m.Certificate != nil {
		facts = append(facts, fact{Name: "certificate_ends", Value: m.Certificate, As: "time"})
	}
	if c := m.Compared; c != nil {
		facts = append(facts, fact{Name: "compared", Value: c.EndedAt, As: "time"}, fact{Name: "checked", Value: c.Checked, As: "num"},
			fact{Name: "repaired", Value: c.Repaired, As: "num"}, fact{Name: "not_believed", Value: c.Failed, As: "num"})
	}
	if o := m.Orders; o != nil {
		facts = append(facts, fact{Name: "open_orders", Value: o.Open, As: "num", Link: pathOrders + "?open=true&channel=" + url.QueryEscape(m.Channel)})
	}
	if u := m.Usage; u != nil {
		facts = append(facts, fact{Name: "usage", Value: u.At, As: "time"}, fact{Name: "usage_codes", Value: u.Codes, As: "num"},
			fact{Name: "usage_refused", Value: u.Refused, As: "num"})
	}
	return facts
}

func (v *visit) marketplaceAction() { v.serveOne(marketplaceDeeds()) }

// marketplaceDeeds is what can be done to an entry.
func marketplaceDeeds() []deed {
	return []deed{{
		name: "self-test", section: sectionMarketplaces, least: authority.RoleAdmin, untried: true,
		about: func(v *visit) (subject, error) {
			m, err := v.api.Marketplace(v.ctx(), v.r.PathValue("channel"))
			return subject{Title: m.Channel, Back: marketplacePath(m.Channel)}, err
		},
		fields: func(*visit, subject) []field { return []field{{Name: "test_url", Kind: "text", Max: 512}} },
		do:     selfTest,
	}}
}

func selfTest(ctx context.Context, v *visit, s subject) (outcome, error) {
	r, err := v.api.SelfTest(ctx, v.r.PathValue("channel"), v.form("test_url"))
	if err != nil {
		return outcome{}, err
	}
	result := fact{Name: "test_result", Value: "ok", As: "test", Badge: "ok"}
	if !r.OK {
		result.Value, result.Badge = "failed", "fail"
	}
	out := outcome{Changed: true, Facts: []fact{result, {Name: "url", Value: r.URL, As: "code"}, {Name: "listener", Value: r.Listener, As: "code"}}}
	if r.TLS != nil {
		out.Facts = append(out.Facts, fact{Name: "tls", Value: r.TLS.Version + ", " + strings.Join(r.TLS.Names, ", ")},
			fact{Name: "certificate_ends", Value: r.TLS.NotAfter, As: "time"})
	}
	out.Calls = &table{Columns: []string{"activity", "method", "key_number", "http_status", "result", "milliseconds", "failure"}}
	for _, c := range r.Calls {
		out.Calls.Rows = append(out.Calls.Rows, []fact{
			{Value: c.Activity, As: "activity"},
			{Value: c.Method},
			{Value: c.Key, As: "num"},
			{Value: c.HTTPStatus, As: "num"},
			{Value: c.Result, As: "code"},
			{Value: c.Milliseconds, As: "num"},
			{Value: c.Failure},
		})
	}
	return out, nil
}
