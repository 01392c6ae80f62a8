package console

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

const (
	sectionOrders = "orders"
	pathOrders    = Prefix + sectionOrders
	pathOrder     = Prefix + "order"
)

// orderPath is the page of a line of an order. What names it stands in the query: an
// order's id may hold anything.
func orderPath(o adminwire.Order) string {
	return pathOrder + "?" + url.Values{"order": {o.Order}, "channel": {o.Channel}, "line": {o.Line}}.Encode()
}

// orders lists orders.
func (v *visit) orders() {
	l := v.list(sectionOrders, []string{"order", "customer", "product", "stage", "stage_at", "warnings", "license"},
		field{Name: "stage", Kind: "select", Options: words(v, "stage", "filter.all", license.Stages())},
		field{Name: "channel", Kind: "text", Max: 64},
		field{Name: "open", Kind: "check"}, field{Name: "warned", Kind: "check"},
	)
	l.Path, l.Deeds = pathOrders, v.offers([]deed{addOrderDeed()}, nil)
	page, err := v.api.Orders(v.ctx(), adminclient.OrderOptions{
		Open: v.query("open") != "", Warned: v.query("warned") != "", Stage: license.Stage(v.query("stage")), Channel: v.query("channel"),
		Limit: perPage, Cursor: v.query("cursor"),
	})
	for _, o := range page.Orders {
		var warnings []string
		for _, w := range o.Warnings {
			warnings = append(warnings, v.word("warning", string(w.Kind)))
		}
		row := []fact{
			{Value: o.Order, Link: orderPath(o), Note: strings.Trim(o.Line, "-")},
			{Value: o.Customer},
			{Value: o.Product},
			{Value: string(o.Stage), As: "stage", Badge: stageBadge(o)},
			{Value: o.StageAt, As: "day"},
			{Value: strings.Join(warnings, ", ")},
			{},
		}
		if o.License != "" {
			row[6] = fact{Value: v.text("orders.toLicense"), Link: licensePath(o.License)}
		}
		l.Table.Rows = append(l.Table.Rows, row)
	}
	v.showList(l, page.Next, err)
}

func stageBadge(o adminwire.Order) string {
	switch {
	case len(o.Warnings) > 0:
		return "warn"
	case o.Stage == license.StageCompleted, o.Stage == license.StageAccepted:
		return "ok"
	}
	return "note"
}

// orderData is what the page of one order shows.
type orderData struct {
	Order   adminwire.Order
	Facts   []fact
	History *table
	Made    *table
	Deeds   []offer
	Query   string
}

// asked is the order that the address names.
func (v *visit) asked() (adminwire.Order, error) {
	return v.api.Order(v.ctx(), v.query("order"), adminwire.OrderLine{Channel: v.query("channel"), Line: v.query("line")})
}

// order shows one order.
func (v *visit) order() {
	o, err := v.asked()
	if err != nil {
		v.refuse(err)
		return
	}
	d := orderData{Order: o, Facts: orderFacts(o), Deeds: v.offers(orderDeeds(), nil)}
	_, d.Query, _ = strings.Cut(orderPath(o), "?")
	d.History = &table{Columns: []string{"at", "stage", "by", "note"}}
	for _, h := range o.History {
		note := h.Note
		if h.Void {
			note = strings.TrimSpace(v.text("orders.void") + " " + note)
		} else if h.Correct {
			note = strings.TrimSpace(v.text("orders.correct") + " " + note)
		}
		d.History.Rows = append(d.History.Rows, []fact{
			{Value: h.At, As: "time"}, {Value: string(h.Stage), As: "stage"}, {Value: v.actor(h.By)}, {Value: note},
		})
	}
	if len(o.Made) > 0 {
		d.Made = &table{Columns: []string{"at", "by", "install", "form", "sha256"}}
	}
	for _, m := range o.Made {
		d.Made.Rows = append(d.Made.Rows, []fact{
			{Value: m.At, As: "time"}, {Value: v.actor(m.By)}, {Value: m.Install, As: "code"}, {Value: m.Form}, {Value: m.SHA256, As: "code"},
		})
	}
	v.show("order", sectionOrders, d)
}

// actor is who did something, in words.
func (v *visit) actor(a adminwire.Actor) string {
	return strings.TrimSpace(v.word("actor", string(a.Kind)) + " " + a.Name)
}

func orderFacts(o adminwire.Order) []fact {
	facts := []fact{
		{Name: "stage", Value: string(o.Stage), As: "stage", Badge: stageBadge(o)},
		{Name: "stage_at", Value: o.StageAt, As: "time"},
		{Name: "turn", Value: string(o.Turn), As: "turn"},
		{Name: "customer", Value: o.Customer},
		{Name: "product", Value: o.Product},
		{Name: "marketplace_product", Value: o.Offer},
		{Name: "amount", Value: o.Amount, As: "num"},
		{Name: "channel", Value: o.Channel, As: "channel"},
		{Name: "line", Value: o.Line},
		{Name: "ordered_at", Value: o.OrderedAt, As: "time"},
		{Name: "expires_at", Value: o.ExpiresAt, As: "time"},
		{Name: "order_seen_at", Value: o.SeenAt, As: "time"},
		{Name: "rejections", Value: o.Rejections, As: "num"},
	}
	if o.License != "" {
		facts = append(facts, fact{Name: "license", Value: o.License, As: "code", Link: licensePath(o.License)})
	}
	return facts
}

// orderAction is the page of something that can be done to an order.
func (v *visit) orderAction() { v.serveOne(orderDeeds()) }

// aboutOrder is the order that the address names.
func aboutOrder(v *visit) (subject, error) {
	o, err := v.asked()
	if err != nil {
		return subject{}, err
	}
	return subject{Title: strings.TrimSuffix(o.Order+" "+o.Line, " -"), Back: orderPath(o), Shown: o}, nil
}

// orderDeeds is what can be done to an order.
func orderDeeds() []deed {
	of := func(name string, d deed) deed {
		d.name, d.section, d.least, d.about = name, sectionOrders, authority.RoleIssuer, aboutOrder
		return d
	}
	ref := func(s subject) (string, adminwire.OrderLine) {
		o, _ := s.Shown.(adminwire.Order)
		return o.Order, adminwire.OrderLine{Channel: o.Channel, Line: o.Line}
	}
	return []deed{
		of("stage", deed{fields: stageFields, do: editsOrder(func(ctx context.Context, v *visit, o adminwire.Order) (adminwire.OrderEdited, error) {
			at, err := v.instant("happened_at")
			if err != nil {
				return adminwire.OrderEdited{}, err
			}
			return v.api.SetStage(ctx, o.Order, adminwire.SetStage{
				OrderLine: adminwire.OrderLine{Channel: o.Channel, Line: o.Line}, Stage: license.Stage(v.form("stage")),
				Note: v.form("note"), Correct: v.form("correct") != "", At: at,
			})
		})}),
		of("link", deed{fields: func(_ *visit, s subject) []field {
			o, _ := s.Shown.(adminwire.Order)
			return []field{{Name: "linked", Kind: "text", Max: 512, Value: o.License}}
		}, do: editsOrder(func(ctx context.Context, v *visit, o adminwire.Order) (adminwire.OrderEdited, error) {
			return v.api.LinkOrder(ctx, o.Order, adminwire.LinkOrder{
				OrderLine: adminwire.OrderLine{Channel: o.Channel, Line: o.Line}, License: v.form("linked"),
			})
		})}),
		of("order-edit", deed{fields: editOrderFields, do: editsOrder(editOrder)}),
		of("identify", deed{fields: identifyFields, do: identify(ref)}),
		of("prove", deed{do: prove(ref)}),
	}
}

// editsOrder is a deed that comes to an edited order.
func editsOrder(call func(context.Context, *visit, adminwire.Order) (adminwire.OrderEdited, error)) func(context.Context, *visit, subject) (outcome, error) {
	return func(ctx context.Context, v *visit, s subject) (outcome, error) {
		o, _ := s.Shown.(adminwire.Order)
		e, err := call(ctx, v, o)
		if err != nil {
			return outcome{}, err
		}
		return outcome{Changed: e.Changed, Shown: e.Order}, nil
	}
}

func stageFields(v *visit, s subject) []field {
	o, _ := s.Shown.(adminwire.Order)
	stages := o.Stage.Next()
	next := words(v, "stage", "form.choose", stages)
	for _, stage := range words(v, "stage", "form.choose", license.Stages())[1:] {
		known := stage.Value == string(o.Stage)
		for _, n := range stages {
			known = known || string(n) == stage.Value
		}
		if !known { // a correction leads anywhere
			next = append(next, option{stage.Value, v.site.Text(v.r, "orders.asCorrection", stage.Text)})
		}
	}
	return []field{
		{Name: "stage", Kind: "select", Required: true, Options: next},
		{Name: "note", Kind: "text", Max: 512},
		{Name: "happened_at", Kind: "date"},
		{Name: "correct", Kind: "check"},
	}
}

func editOrderFields(v *visit, s subject) []field {
	o, _ := s.Shown.(adminwire.Order)
	return append(orderFields(v, o), field{Name: "no_end", Kind: "check"}, field{Name: "note", Kind: "text", Max: 512})
}

// orderFields are what is known of an order.
func orderFields(v *visit, o adminwire.Order) []field {
	out := []field{
		{Name: "customer", Kind: "text", Max: 256, Value: o.Customer},
		{Name: "marketplace_product", Kind: "text", Max: 64, Value: o.Offer},
		{Name: "amount", Kind: "number"},
		{Name: "ordered_at", Kind: "text", Max: 32},
		{Name: "order_ends_at", Kind: "text", Max: 32},
	}
	if o.Amount > 0 {
		out[2].Value = strconv.Itoa(o.Amount)
	}
	out[3].Value, out[4].Value = v.written(o.OrderedAt, "00:00:00"), v.written(o.ExpiresAt, "23:59:59")
	return out
}

func editOrder(ctx context.Context, v *visit, o adminwire.Order) (out adminwire.OrderEdited, err error) {
	customer, offer := v.form("customer"), v.form("marketplace_product")
	e := adminwire.EditOrder{
		OrderLine: adminwire.OrderLine{Channel: o.Channel, Line: o.Line}, Customer: &customer, Offer: &offer, NoEnd: v.form("no_end") != "", Note: v.form("note"),
	}
	amount, err := v.number("amount")
	if err != nil {
		return out, err
	}
	e.Amount = &amount
	if e.OrderedAt, err = v.instant("ordered_at"); err != nil {
		return out, err
	}
	if e.ExpiresAt, err = v.end("order_ends_at"); err != nil {
		return out, err
	}
	return v.api.EditOrder(ctx, o.Order, e)
}

// addOrderDeed records an order that the staff knows from elsewhere.
func addOrderDeed() deed {
	return deed{
		name: "add", section: sectionOrders, least: authority.RoleIssuer,
		about: func(v *visit) (subject, error) {
			return subject{Title: v.text("section.orders"), Back: pathOrders}, nil
		},
		fields: func(v *visit, _ subject) []field {
			return append(append([]field{
				{Name: "new_order", Kind: "text", Required: true, Max: 128}, {Name: "line", Kind: "text", Max: 64}, {Name: "channel", Kind: "text", Max: 64},
			}, orderFields(v, adminwire.Order{})...),
				field{Name: "stage", Kind: "select", Value: string(license.StageToDeliver), Options: words(v, "stage", "form.choose", license.Stages())},
				field{Name: "linked", Kind: "text", Max: 512}, field{Name: "note", Kind: "text", Max: 512}, field{Name: "offline", Kind: "check"})
		},
		do: addOrder,
	}
}

func (v *visit) addOrder() { addOrderDeed().serve(v) }

func addOrder(ctx context.Context, v *visit, _ subject) (out outcome, err error) {
	o := adminwire.AddOrder{
		Channel: v.form("channel"), Order: v.form("new_order"), Line: v.form("line"), Offer: v.form("marketplace_product"), Customer: v.form("customer"),
		Stage: license.Stage(v.form("stage")), License: v.form("linked"), Note: v.form("note"), Offline: v.form("offline") != "",
	}
	if o.Amount, err = v.number("amount"); err != nil {
		return out, err
	}
	if o.OrderedAt, err = v.instant("ordered_at"); err != nil {
		return out, err
	}
	if o.ExpiresAt, err = v.end("order_ends_at"); err != nil {
		return out, err
	}
	e, err := v.api.AddOrder(ctx, o)
	if err != nil {
		return out, err
	}
	return outcome{Changed: e.Changed, Facts: orderFacts(e.Order), To: orderPath(e.Order)}, nil
}

func identifyFields(*visit, subject) []field {
	return []field{{Name: "device", Kind: "area", Required: true, Max: 5120}}
}

// identify makes the licence file for an identification code that a buyer has sent.
func identify(ref func(subject) (string, adminwire.OrderLine)) func(context.Context, *visit, subject) (outcome, error) {
	return func(ctx context.Context, v *visit, s subject) (outcome, error) {
		of, line := ref(s)
		made, err := v.api.Identify(ctx, adminwire.Identify{OrderLine: line, Ref: of, Device: v.form("device")})
		if err != nil {
			return outcome{}, err
		}
		out := outcome{Changed: true, Facts: []fact{
			{Name: "license", Value: made.License.Product + " …" + made.License.CodeLast4, Link: licensePath(made.License.ID)},
			{Name: "install", Value: made.Install.ID, As: "code"},
			{Name: "sha256", Value: made.SHA256, As: "code"},
		}}
		if made.File != "" {
			out.Files = []download{{Name: "license.lic", Kind: "application/x-pem-file", Data: made.File}}
		}
		return out, nil
	}
}

// prove makes a proof of delivery.
func prove(ref func(subject) (string, adminwire.OrderLine)) func(context.Context, *visit, subject) (outcome, error) {
	return func(ctx context.Context, v *visit, s subject) (outcome, error) {
		of, line := ref(s)
		p, err := v.api.Prove(ctx, adminwire.Prove{OrderLine: line, Ref: of})
		if err != nil {
			return outcome{}, err
		}
		out := outcome{Changed: true}
		if p.Delivery != "" {
			data, err := json.MarshalIndent(p, "", "  ")
			if err != nil {
				return outcome{}, err
			}
			out.Files = []download{{Name: "delivery.json", Kind: "application/json", Data: string(data) + "\n"}}
		}
		return out, nil
	}
}
