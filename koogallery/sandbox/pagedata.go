package sandbox

import (
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// pageData is what the template shows.
type pageData struct {
	Known      bool
	Message    string
	Form       string
	Now        time.Time
	Manual     bool
	Seed       uint64
	Outage     Outage
	Outages    []Outage
	Callback   string
	Products   []pageProduct
	Codes      []pageCode
	Deliveries []pageDelivery
	Events     []Event
	Faults     []pageFault
	Misbehave  Misbehaviour
	Orders     []Fault // that can be bound to an order
	Dialect    []pageSetting
	Activities []koogallery.Activity
	Buyer      []string
	Detail     *pageDelivery // instead of everything else
}

type pageProduct struct {
	ProductState
	Callback string // of its own
}

// pageCode shows a purchase with its secrets in clear, which is what the page
// is for.
type pageCode struct {
	CodeState
	Ref     string
	Devices []applicationJSON
	Others  []string // products which it could change to
}

type pageDelivery struct {
	Delivery
	Ref      string
	Latest   string
	Refunded bool
	Rows     []attemptJSON
	Wire     exchangeJSON
}

type pageFault struct {
	Fault       Fault
	Probability float64
}

type pageSetting struct {
	DialectSetting
	Value string
}

// maxRows bounds each table, newest first.
const maxRows = 100

func (s *Sandbox) pageData(message string) pageData {
	d := pageData{
		Known: true, Message: message, Form: s.secret("form"), Now: s.now(), Manual: s.opts.Manual, Seed: s.opts.Seed,
		Outages: []Outage{OutageNone, OutageGateway, OutageHTML, OutageTruncated, OutageDrop}, Callback: s.callbackOf("").URL,
		Orders: append([]Fault{""}, OrderFaults()...), Buyer: buyerFields,
	}
	s.mu.Lock()
	d.Outage, d.Misbehave = s.outage, s.misbehaviour
	d.Activities = s.pageActivities()
	s.mu.Unlock()
	for _, f := range Faults() {
		d.Faults = append(d.Faults, pageFault{f, d.Misbehave.Faults[f]})
	}
	dialect := s.Dialect()
	for _, setting := range DialectSettings() {
		value := dialect.Get(setting.Name)
		if !slices.Contains(setting.Values, value) {
			setting.Values = append(setting.Values, value)
		}
		d.Dialect = append(d.Dialect, pageSetting{setting, value})
	}
	sold := make(map[Interface][]string)
	for _, p := range s.ProductStates() {
		d.Products = append(d.Products, pageProduct{p, s.callbackOf(p.ID).URL})
		if !p.Stopped && !p.Frozen {
			sold[p.Interface] = append(sold[p.Interface], p.ID)
		}
	}
	refunded := make(map[string]bool)
	codes := s.Codes()
	for _, c := range codes {
		refunded[c.Code.Reveal()] = c.Status == Cancelled
	}
	for _, c := range newest(codes) {
		p := pageCode{CodeState: c, Ref: c.Code.Reveal(), Others: sold[c.Interface]}
		for _, a := range c.Applications {
			p.Devices = append(p.Devices, applicationOf(a))
		}
		d.Codes = append(d.Codes, p)
	}
	for _, m := range newest(s.Deliveries()) {
		p := *s.messageData(m)
		p.Refunded = refunded[p.Ref] && !m.Test
		d.Deliveries = append(d.Deliveries, p)
	}
	d.Events = newest(s.Events(0))
	return d
}

// pageActivities are those which can be debugged. The caller holds s.mu.
func (s *Sandbox) pageActivities() []koogallery.Activity {
	var out []koogallery.Activity
	for _, p := range s.opts.Products {
		for _, a := range s.activitiesOf(p.Interface, []string{p.ID}) {
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

func (s *Sandbox) messageData(m Delivery) *pageDelivery {
	p := &pageDelivery{Delivery: m, Ref: m.Code.Reveal(), Rows: deliveryOf(m).Attempts}
	if n := len(m.Attempts); n > 0 {
		a := m.Attempts[n-1]
		if p.Latest = a.text(); a.ResultMsg != "" {
			p.Latest += ": “" + shorten(a.ResultMsg, 200) + "”"
		}
	}
	if e := detailOf(m).Last; e != nil {
		p.Wire = *e
	}
	return p
}

func newest[T any](list []T) []T {
	list = list[max(0, len(list)-maxRows):]
	slices.Reverse(list)
	return list
}

// ForSale reports that the product can be bought.
func (p pageProduct) ForSale() bool { return !p.Stopped && !p.Frozen }

// Is reports the interface of a purchase, for the page.
func (p pageCode) Is(name string) bool { return string(p.Interface) == name }

// Live reports that something can still be done with a purchase.
func (p pageCode) Live() bool { return p.Status != Released && p.Status != Cancelled }

// Receivable reports that the buyer has still to confirm the receipt of a code.
func (p pageCode) Receivable() bool { return p.Interface == License2 && !p.Received }

// Renewable reports that there is an end to move, and no trial.
func (p pageCode) Renewable() bool { return p.Period > 0 && !p.Trial }

// Cancellable reports that there is a renewal to take back.
func (p pageCode) Cancellable() bool { return p.Renewals > 0 && p.Interface != License1 }

// HasLicense reports that a licence 1.0 was delivered.
func (p pageCode) HasLicense() bool { return !p.License.IsZero() }

// Untold is what the merchant did not confirm, in words.
func (p pageCode) Untold() string { return strings.Join(p.NotTold(), ", ") }

// Deniable reports that the marketplace can still turn an application down.
func (a applicationJSON) Deniable() bool { return a.State != Fulfilled && a.State != Denied }

// Restartable reports that Retry can be pressed.
func (p pageDelivery) Restartable() bool { return p.State != Delivered && !p.Refunded }

// Ended reports the deliveries' test flag in words.
func (p pageDelivery) Ended() string {
	if p.Test {
		return string(p.State) + ", debug call"
	}
	return string(p.State)
}
