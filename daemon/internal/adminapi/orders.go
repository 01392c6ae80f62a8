package adminapi

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// registerOrders adds the calls about orders and what is made for them.
func (s *server) registerOrders(api huma.API) {
	operation.Register(api, get("orders", adminwire.PathOrders, "List orders, those first of which was heard first"), s.orders)
	operation.Register(api, post("add-order", adminwire.PathOrders, "Record an order that the staff knows"), s.addOrder)
	operation.Register(api, get("order", adminwire.PathOrder, "One order with its history"), s.order)
	operation.Register(api, post("order-stage", adminwire.PathOrderStage, "Move an order to another stage"), s.setStage)
	operation.Register(api, post("order-link", adminwire.PathOrderLink, "Say which licence was made for an order"), s.linkOrder)
	operation.Register(api, post("edit-order", adminwire.PathOrderEdit, "Change what is known of an order that the marketplace has not told of"), s.editOrder)
	many := post("import-orders", adminwire.PathImport, "Record many orders at once, all or none")
	many.MaxBodyBytes = adminwire.MaxImport
	operation.Register(api, many, s.importOrders)
	operation.Register(api, get("orders-due", adminwire.PathOrdersDue, "Count the orders about which there is something to do"), s.ordersDue)
	operation.Register(api, post("identify", adminwire.PathIdentify, "Make the licence for an identification code"), s.identify)
	operation.Register(api, post("prove", adminwire.PathProofs, "Make a proof of delivery"), s.prove)
}

// OrderInput names an order. It is exported as IDInput is.
type OrderInput struct {
	Order string `path:"order" maxLength:"128" doc:"Id of an order, or of one of its lines."`
}

func (in OrderInput) ref(line adminwire.OrderLine) authority.OrderRef {
	return authority.OrderRef{Channel: line.Channel, ID: in.Order, Line: line.Line}
}

func (s *server) shownOrder(o license.Order) adminwire.Order {
	return adminwire.NewOrder(o, s.a.ProductOf(o), s.a.Now())
}

func (s *server) orders(ctx context.Context, in *struct {
	Open    bool          `query:"open" doc:"Only those that still wait for somebody."`
	Warned  bool          `query:"warned" doc:"Only those about which there is something to do."`
	Stage   license.Stage `query:"stage" maxLength:"32"`
	Channel string        `query:"channel" maxLength:"64"`
	Product string        `query:"product" maxLength:"128" doc:"Id of a product, or the marketplace's."`

	Instance string `query:"instance" maxLength:"64"`
	License  string `query:"license" maxLength:"128" doc:"Id of a licence."`
	PageInput
},
) (*body[adminwire.OrderList], error) {
	if in.Stage != "" {
		if _, err := license.ParseStage(string(in.Stage)); err != nil {
			return nil, err
		}
	}
	f := authority.OrderFilter{
		Channel: in.Channel, Stage: in.Stage, Open: in.Open, Instance: in.Instance, License: in.License, Product: in.Product, Warned: in.Warned,
	}
	found, next, err := s.a.Orders(ctx, f, in.page())
	if err != nil {
		return nil, err
	}
	out := adminwire.OrderList{Orders: make([]adminwire.Order, 0, len(found)), Next: next}
	for _, o := range found {
		out.Orders = append(out.Orders, s.shownOrder(o))
	}
	return &body[adminwire.OrderList]{out}, nil
}

func (s *server) order(ctx context.Context, in *struct {
	OrderInput
	Channel string `query:"channel" maxLength:"64"`
	Line    string `query:"line" maxLength:"64"`
},
) (*body[adminwire.Order], error) {
	o, err := s.a.Order(ctx, in.ref(adminwire.OrderLine{Channel: in.Channel, Line: in.Line}))
	if err != nil {
		return nil, err
	}
	return &body[adminwire.Order]{s.shownOrder(o)}, nil
}

func (s *server) editedOrder(o license.Order, changed bool, err error) (*body[adminwire.OrderEdited], error) {
	if err != nil {
		return nil, err
	}
	return &body[adminwire.OrderEdited]{adminwire.OrderEdited{Order: s.shownOrder(o), Changed: changed}}, nil
}

func (s *server) addOrder(ctx context.Context, in *body[adminwire.AddOrder]) (*body[adminwire.OrderEdited], error) {
	return s.editedOrder(s.a.AddOrder(ctx, actor(ctx), newOrder(in.Body)))
}

func newOrder(b adminwire.AddOrder) authority.NewOrder {
	return authority.NewOrder{
		Channel: b.Channel, ID: b.Order, Line: b.Line, Product: b.Offer, Amount: b.Amount, Customer: b.Customer, OrderedAt: orZero(b.OrderedAt),
		ExpiresAt: orZero(b.ExpiresAt), Stage: b.Stage, StageAt: orZero(b.StageAt), Rejections: b.Rejections, License: b.License, Note: b.Note,
		Offline: b.Offline,
	}
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func (s *server) editOrder(ctx context.Context, in *struct {
	OrderInput
	Body adminwire.EditOrder
},
) (*body[adminwire.OrderEdited], error) {
	b := in.Body
	if b.NoEnd && b.ExpiresAt != nil {
		return nil, license.FieldErrorf("no_end", "it contradicts expires_at")
	}
	if b.NoEnd {
		b.ExpiresAt = &time.Time{}
	}
	return s.editedOrder(s.a.EditOrder(ctx, actor(ctx), in.ref(b.OrderLine), authority.OrderEdit{
		Product: b.Offer, Amount: b.Amount, Customer: b.Customer, OrderedAt: b.OrderedAt, ExpiresAt: b.ExpiresAt, Note: b.Note,
	}))
}

func (s *server) importOrders(ctx context.Context, in *body[adminwire.ImportOrders]) (*body[adminwire.ImportedOrders], error) {
	orders := make([]authority.NewOrder, 0, len(in.Body.Orders))
	for _, b := range in.Body.Orders {
		orders = append(orders, newOrder(b))
	}
	dry := in.Body.DryRun || authority.DryRun(ctx)
	rows, err := s.a.ImportOrders(ctx, actor(ctx), orders, dry)
	if err != nil {
		return nil, err
	}
	out := adminwire.ImportedOrders{Orders: make([]adminwire.ImportedOrder, 0, len(rows)), Recorded: !dry}
	for i, r := range rows {
		row := adminwire.ImportedOrder{Order: orders[i].ID, Line: orders[i].Line, Added: r.Added}
		if r.Err == nil {
			row.Order, row.Line = r.Order.ID, r.Order.Line
		} else if known, ok := errors.AsType[*license.Error](r.Err); ok && known.Reason != license.Internal {
			row.Error, out.Recorded = strings.TrimPrefix(known.Field+": "+known.Detail, ": "), false
		} else {
			return nil, r.Err
		}
		out.Orders = append(out.Orders, row)
	}
	return &body[adminwire.ImportedOrders]{out}, nil
}

func (s *server) ordersDue(ctx context.Context, _ *empty) (*body[adminwire.OrdersDue], error) {
	due, err := s.a.OrdersDue(ctx)
	if err != nil {
		return nil, err
	}
	out := adminwire.OrdersDue{Open: due.Open, Warned: due.Warned, Warnings: due.Warnings}
	if due.Worst.ID != "" {
		o := s.shownOrder(due.Worst)
		out.Worst = &o
	}
	return &body[adminwire.OrdersDue]{out}, nil
}

func (s *server) setStage(ctx context.Context, in *struct {
	OrderInput
	Body adminwire.SetStage
},
) (*body[adminwire.OrderEdited], error) {
	m := license.Move{To: in.Body.Stage, Note: in.Body.Note, Correct: in.Body.Correct, Since: orZero(in.Body.At)}
	return s.editedOrder(s.a.MoveOrder(ctx, actor(ctx), in.ref(in.Body.OrderLine), m))
}

func (s *server) linkOrder(ctx context.Context, in *struct {
	OrderInput
	Body adminwire.LinkOrder
},
) (*body[adminwire.OrderEdited], error) {
	return s.editedOrder(s.a.LinkOrder(ctx, actor(ctx), in.ref(in.Body.OrderLine), in.Body.License))
}

func (s *server) identify(ctx context.Context, in *body[adminwire.Identify]) (*body[adminwire.Identified], error) {
	b := in.Body
	device, err := license.ParseDevice(b.Device)
	if err != nil {
		return nil, err
	}
	made, err := s.a.Identify(ctx, actor(ctx), authority.Identification{
		Ref: OrderInput{b.Ref}.ref(b.OrderLine), Device: device,
	})
	if err != nil {
		return nil, err
	}
	out := adminwire.Identified{
		License: s.shown(made.License, nil), Install: adminwire.NewInstall(made.Install), Made: made.Made,
		File: string(made.File), SHA256: hex.EncodeToString(made.Install.Handed.SHA256),
	}
	if made.Order.ID != "" {
		o := s.shownOrder(made.Order)
		out.Order = &o
	}
	return &body[adminwire.Identified]{out}, nil
}

func (s *server) prove(ctx context.Context, in *body[adminwire.Prove]) (*body[adminwire.Proof], error) {
	made, err := s.a.Prove(ctx, actor(ctx), OrderInput{in.Body.Ref}.ref(in.Body.OrderLine))
	if err != nil {
		return nil, err
	}
	if authority.DryRun(ctx) {
		return &body[adminwire.Proof]{adminwire.Proof{Claims: map[string]any{}}}, nil
	}
	data, err := made.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var out adminwire.Proof
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, err
	}
	return &body[adminwire.Proof]{out}, nil
}
