package console

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// Bounds of the overview: with them it stays below 60 KB.
const (
	mostAttention = 25
	mostProducts  = 12 // the others are one row
)

// overviewData is what the first page shows.
type overviewData struct {
	Attention []attention
	More      int // that are not shown
	Channels  []channelRow
	CountedAt *time.Time // nil: nothing was counted yet
	Total     adminwire.ProductCensus
	States    []license.State
	Products  []productRow
	Others    int // products that are in one row
	Actives   int
	Active    string // address of their list
	Trials    string
	Ending    []endingRow
	Days      []adminwire.CensusDay // the newest first
	Chart     chart
	Activated int
	Bound     int
}

// attention is one thing that needs somebody.
type attention struct {
	adminwire.Attention
	Title string
}

type channelRow struct {
	adminwire.MarketplaceLine
	Path string
}

// productRow is how many licences of a product there are.
type productRow struct {
	Name   string // "" for all the others
	All    string // address of their list
	Count  int
	States []stateCell
}

// stateCell is how many of them are in a state, and where their part of the bar lies,
// in percent.
type stateCell struct {
	State license.State
	Count int
	Path  string
	X, W  string
}

type endingRow struct {
	Within string
	Count  int
	Path   string
}

// overview shows what somebody has to see to, and how things stand.
func (v *visit) overview() {
	o, err := v.api.Overview(v.ctx())
	if err != nil {
		v.refuse(err)
		return
	}
	d := overviewData{States: slices.Clone(license.States())}
	slices.Reverse(d.States) // those that work first
	for _, a := range o.Attention[:min(len(o.Attention), mostAttention)] {
		d.Attention = append(d.Attention, attention{a, v.attentionTitle(a)})
	}
	d.More = len(o.Attention) - len(d.Attention)
	for _, m := range o.Marketplaces {
		d.Channels = append(d.Channels, channelRow{m, Prefix + "marketplaces/" + url.PathEscape(m.Channel)})
	}
	if c := o.Census; c != nil {
		d.numbers(*c)
	}
	v.show("overview", "overview", d)
}

// attentionTitle says what something is about: by its name where it has one, else by
// how many there are.
func (v *visit) attentionTitle(a adminwire.Attention) string {
	key := "attention." + string(a.Code)
	switch a.Code {
	case adminwire.AttentionKeys:
		return v.site.Text(v.r, key, v.word("attentionKeys", a.About))
	case adminwire.AttentionMarketplace, adminwire.AttentionWebhook, adminwire.AttentionClocksApart:
		return v.site.Text(v.r, key, a.About)
	case adminwire.AttentionJobs, adminwire.AttentionOrders, adminwire.AttentionTransfers, adminwire.AttentionReconcile, adminwire.AttentionForks:
		return v.site.Text(v.r, key, a.Count)
	case adminwire.AttentionNotReady, adminwire.AttentionClock, adminwire.AttentionMarks, adminwire.AttentionBackups, adminwire.AttentionDisk, adminwire.AttentionStore:
	}
	if title := v.text(key); title != key {
		return title
	}
	return string(a.Code) // of a newer daemon
}

// word is how a word of a program is said, or the word itself.
func (v *visit) word(kind, value string) string {
	if s := v.text(kind + "." + value); s != kind+"."+value {
		return s
	}
	return value
}

// numbers lays a census out.
func (d *overviewData) numbers(c adminwire.Census) {
	d.CountedAt, d.Total, d.Actives = &c.CountedAt, c.Total, c.Total.States[license.StateActive]
	active := url.Values{"state": {string(license.StateActive)}}
	with := func(name, value string) string {
		q := url.Values{name: {value}}
		maps.Copy(q, active)
		return pathLicenses + "?" + q.Encode()
	}
	d.Active, d.Trials = pathLicenses+"?"+active.Encode(), with("trial", "true")
	for _, e := range []struct {
		within string
		n      int
	}{{"7d", c.Total.Ending.Within7}, {"30d", c.Total.Ending.Within30}, {"90d", c.Total.Ending.Within90}} {
		d.Ending = append(d.Ending, endingRow{e.within, e.n, with("within", e.within)})
	}
	products := slices.Clone(c.Products)
	slices.SortStableFunc(products, func(x, y adminwire.ProductCensus) int { return cmp.Compare(y.Licenses, x.Licenses) })
	others := adminwire.ProductCensus{States: make(map[license.State]int)}
	for i, p := range products {
		if i < mostProducts && p.Product != "" {
			d.Products = append(d.Products, newProductRow(p))
			continue
		}
		d.Others++
		others.Licenses += p.Licenses
		for state, n := range p.States {
			others.States[state] += n
		}
	}
	if d.Others > 0 {
		d.Products = append(d.Products, newProductRow(others))
	}
	for _, day := range c.Days {
		d.Activated, d.Bound = d.Activated+day.Activated, d.Bound+day.Bound
	}
	d.Chart = newChart(c.Days)
	d.Days = slices.Clone(c.Days)
	slices.Reverse(d.Days)
}

func newProductRow(p adminwire.ProductCensus) productRow {
	r := productRow{Name: p.Product, Count: p.Licenses}
	q := url.Values{}
	if p.Product != "" {
		q.Set("product", p.Product)
		r.All = pathLicenses + "?" + q.Encode()
	}
	before := 0
	for _, state := range slices.Backward(license.States()) {
		c := stateCell{State: state, Count: p.States[state]}
		if c.Count > 0 && p.Licenses > 0 {
			c.X, c.W = percent(before, p.Licenses), percent(c.Count, p.Licenses)
			if before += c.Count; p.Product != "" {
				q.Set("state", string(state))
				c.Path = pathLicenses + "?" + q.Encode()
			}
		}
		r.States = append(r.States, c)
	}
	return r
}

// percent is a share of 100, to a thousandth.
func percent(n, of int) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(100*float64(n)/float64(of), 'f', 3, 64), "0"), ".")
}

// chart is a bar for each day: two parts, one upon the other. It is 100 high, and a day
// is 10 wide.
type chart struct {
	Width int
	Most  int // on one day
	Bars  []bar
	From  string // the first and the last day
	To    string
}

// bar is a part of a bar.
type bar struct {
	Class string
	X     int
	Y, H  string
}

func newChart(days []adminwire.CensusDay) chart {
	c := chart{Width: 10 * len(days)}
	if len(days) == 0 {
		return c
	}
	c.From, c.To = days[0].Day, days[len(days)-1].Day
	for _, d := range days {
		c.Most = max(c.Most, d.Bound, d.Activated)
	}
	for i, d := range days {
		for _, part := range []struct {
			class   string
			from, n int
		}{{"b", 0, d.Activated}, {"b2", d.Activated, d.Bound - d.Activated}} {
			if part.n > 0 {
				c.Bars = append(c.Bars, bar{part.class, 10*i + 1, percent(c.Most-part.from-part.n, c.Most), percent(part.n, c.Most)})
			}
		}
	}
	return c
}
