package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// Order is a purchase, renewal, change, cancelled renewal or unsubscription.
// Each has an id of its own.
type Order struct {
	ID      string
	LineID  string
	Code    koogallery.Code // of License2; zero for the other interfaces
	Product string
	Amount  int64
	Period  time.Duration // 0: for ever
	Type    koogallery.OrderType
}

// Ref names the purchase which an order made or changed, to the methods of
// Sandbox: the authorization code, or the order's id where the interface has
// none.
func (o Order) Ref() koogallery.Code {
	if !o.Code.IsZero() {
		return o.Code
	}
	return koogallery.NewCode(o.ID)
}

// orderRecord is an order as the order query answers it; under Sandbox.mu.
type orderRecord struct {
	Order
	sale      *sale // nil for a mock order
	sku       string
	createdAt time.Time
	expiresAt time.Time // zero for ever
	buyer     Buyer
	extend    map[string]string
}

// Buyer is who orders. The members are optional; CustomerID is made up where it
// is empty.
type Buyer = koogallery.Buyer

// Purchase is an order of something new.
type Purchase struct {
	Product string
	Amount  int64
	Period  time.Duration // whole seconds; 0: for ever
	Trial   bool          // Online only; ConvertTrial ends it
	Buyer   Buyer
	Extend  map[string]string // what the buyer filled in (extendParams)
}

// Buy sells amount of a product for a period, or for ever if period is 0; it is
// Purchase without the rest.
func (s *Sandbox) Buy(ctx context.Context, product string, amount int64, period time.Duration) (Order, error) {
	return s.Purchase(ctx, Purchase{Product: product, Amount: amount, Period: period})
}

// Purchase sells something. Of License2 it makes an authorization code and, as
// in reality, does not call the merchant; the period starts with the
// activation. Of the other interfaces the period starts now, and the merchant
// is asked for an instance (newInstance) or a licence (getLicense); where it
// makes none in the three hours that this is tried, a newInstance order is
// cancelled and refunded.
func (s *Sandbox) Purchase(ctx context.Context, p Purchase) (Order, error) {
	if err := ctx.Err(); err != nil {
		return Order{}, err
	}
	if p.Amount < 1 || p.Period < 0 || p.Period%time.Second != 0 {
		return Order{}, fmt.Errorf("buy: amount %d for %v: %w", p.Amount, p.Period, ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	product, err := s.tradable("buy", p.Product)
	if err != nil {
		return Order{}, err
	}
	if err := cmp.Or(checkPeriod("buy", product.Interface, p.Period), p.checkBuyer()); err != nil {
		return Order{}, err
	}
	if p.Trial && (product.Interface != Online || p.Period == 0) {
		return Order{}, fmt.Errorf("buy a trial: only of an online product, for a period: %w", ErrInvalid)
	}
	if p.Buyer.CustomerID == "" {
		p.Buyer.CustomerID = strings.ToLower(s.text(26))
	}
	now := s.now()
	c := &sale{
		iface: product.Interface, product: product.ID, number: len(s.order) + 1, amount: p.Amount,
		period: p.Period, boughtAt: now, trial: p.Trial, buyer: p.Buyer,
	}
	o := Order{Product: product.ID, Amount: p.Amount, Period: p.Period, Type: koogallery.OrderNew}
	if p.Trial {
		o.Type = koogallery.OrderTrial
	}
	end := time.Time{}
	if p.Period > 0 {
		end = now.Add(p.Period)
	}
	o = s.record(c, o, end, p.Extend)
	if c.iface == License2 {
		o.Code = koogallery.NewCode("PL" + now.Format("20060102") + s.text(16))
	} else {
		c.expiresAt, c.sent.ExpiresAt = end, end
	}
	c.purchase, c.text = o, o.Ref().Reveal()
	s.orders[o.ID].Order = o
	s.codes[c.text] = c
	s.order = append(s.order, c)
	s.noteSale(c, EventOrder, fmt.Sprintf("bought %d for %s, order %s", p.Amount, periodText(p.Period), o.ID))
	s.notifyOrder(o)
	switch c.iface {
	case License2:
	case Online:
		s.pushNewInstance(c)
	case License1:
		s.pushGetLicense(c, false)
	}
	return o, nil
}

// Limits of what the buyer fills in.
const (
	maxBuyerField  = 100 // characters, as of customerId
	maxExtend      = 50
	maxExtendValue = 1024 // characters
)

func (p Purchase) checkBuyer() error {
	b := p.Buyer
	for _, text := range []string{b.CustomerID, b.CustomerName.Reveal(), b.UserID, b.UserName.Reveal(), b.MobilePhone.Reveal(), b.Email.Reveal()} {
		if characters(text) > maxBuyerField {
			return fmt.Errorf("buy: a member of the buyer is longer than %d characters: %w", maxBuyerField, ErrInvalid)
		}
	}
	if len(p.Extend) > maxExtend {
		return fmt.Errorf("buy: more than %d extension parameters: %w", maxExtend, ErrInvalid)
	}
	for name, value := range p.Extend {
		if name == "" || characters(name) > 64 || characters(value) > maxExtendValue {
			return fmt.Errorf("buy: an extension parameter has no name of 1 to 64 characters, or a value of more than %d: %w", maxExtendValue, ErrInvalid)
		}
	}
	return nil
}

// checkPeriod refuses what licence 1.0 cannot say: its periodType is year or
// month, and periodNumber has two digits.
func checkPeriod(what string, i Interface, period time.Duration) error {
	if i != License1 || period == 0 {
		return nil
	}
	if kind, n := periodOf(period); kind == "day" || n > 99 {
		return fmt.Errorf("%s for %v: licence 1.0 has 1 to 99 whole years (365d) or months (30d): %w", what, period, ErrInvalid)
	}
	return nil
}

// record gives an order its ids and keeps it for the order query. The caller
// holds s.mu.
func (s *Sandbox) record(c *sale, o Order, expiresAt time.Time, extend map[string]string) Order {
	now := s.now()
	o.ID = "CS" + now.Format("060102") + s.text(10)
	o.LineID = o.ID + "-000001"
	r := &orderRecord{Order: o, sale: c, sku: s.products[o.Product].SKU, createdAt: now, expiresAt: expiresAt, buyer: c.buyer, extend: maps.Clone(extend)}
	s.orders[o.ID] = r
	return o
}

// notifyOrder tells the merchant of an order, if Options.NotifyOrders says so.
// The caller holds s.mu.
func (s *Sandbox) notifyOrder(o Order) {
	if s.opts.NotifyOrders {
		s.pushOrderNotify(s.orders[o.ID])
	}
}

// NotifyOrder sends the optional order notification for an order, whatever
// Options.NotifyOrders says: orderNotify, by POST as for all interfaces.
func (s *Sandbox) NotifyOrder(orderID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.orders[orderID]
	if !ok {
		return fmt.Errorf("notify: order: %w", ErrUnknownCode)
	}
	s.pushOrderNotify(r)
	return nil
}

func (s *Sandbox) pushOrderNotify(r *orderRecord) {
	d := s.message(koogallery.ActivityOrderNotify, map[string]string{"orderId": r.ID, "orderLineId": r.LineID, "testFlag": "0"})
	d.Code, d.Product, d.queue = r.sale.ref(), r.Product, "order\n"+r.ID
	d.What = string(r.Type)
	d.of(r.sale)
	s.push(d)
}

// periodOf is a period in the marketplace's units. "day" stands in the name of
// a mock order only.
func periodOf(d time.Duration) (koogallery.PeriodType, int64) {
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return "", 0
	case d%(365*day) == 0:
		return koogallery.PeriodYear, int64(d / (365 * day))
	case d%(30*day) == 0:
		return koogallery.PeriodMonth, int64(d / (30 * day))
	}
	return "day", int64((d + day - 1) / day)
}

func periodText(d time.Duration) string {
	if d == 0 {
		return "ever"
	}
	kind, n := periodOf(d)
	return fmt.Sprintf("%d %s", n, kind)
}

// The result codes of the order query. That of success is a Dialect's, the
// others are made up: no page names them.
const (
	codeOrderOdd     = "MKT.0777" // of FaultAPIUnknownCode
	codeOrderParam   = "MKT.0101"
	codeOrderUnknown = "MKT.0404"
)

type orderAnswerJSON struct {
	ResultCode string         `json:"resultCode"`
	ResultMsg  string         `json:"resultMsg"`
	OrderInfo  *orderInfoJSON `json:"orderInfo,omitempty"`
}

type orderInfoJSON struct {
	OrderID      string          `json:"orderId"`
	OrderType    string          `json:"orderType"`
	CreateTime   string          `json:"createTime"`
	OrderLine    []orderLineJSON `json:"orderLine"`
	BuyerInfo    *buyerJSON      `json:"buyerInfo,omitempty"`
	ExtendParams []extendJSON    `json:"extendParams,omitempty"`
}

type orderLineJSON struct {
	OrderLineID  string             `json:"orderLineId"`
	ChargingMode string             `json:"chargingMode"`
	ExpireTime   string             `json:"expireTime,omitempty"`
	PeriodType   string             `json:"periodType,omitempty"`
	PeriodNumber int64              `json:"periodNumber,omitempty"`
	ProductInfo  []orderProductJSON `json:"productInfo"`
}

type orderProductJSON struct {
	SKUCode     string `json:"skuCode"`
	ProductID   string `json:"productId"`
	LinearValue int64  `json:"linearValue"`
}

type buyerJSON struct {
	CustomerID   string `json:"customerId"`
	CustomerName string `json:"customerName,omitempty"`
	UserID       string `json:"userId,omitempty"`
	UserName     string `json:"userName,omitempty"`
	MobilePhone  string `json:"mobilePhone,omitempty"`
	Email        string `json:"email,omitempty"`
}

type extendJSON struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// serveOrder answers GET /v1/order/query (access guide …649350). Members which
// no table shows are spelt as in the sample of an older design.
func (s *Sandbox) serveOrder(r *http.Request, _ []byte) apiAnswer {
	refuse := func(code, msg string) apiAnswer {
		return orderRefusal(code, msg)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	id, line := query.Get("orderId"), query.Get("orderLineId")
	if err != nil || id == "" || characters(id) > 64 || characters(line) > 64 {
		return refuse(codeOrderParam, "Invalid parameter")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.orders[id]
	if mock, is := mockOrders[id]; !ok && is {
		o, ok = s.mockOrder(id, mock), true
	}
	if !ok || line != "" && line != o.LineID {
		return refuse(codeOrderUnknown, "order not exist")
	}
	info := s.orderInfo(o)
	return apiAnswer{status: http.StatusOK, ErrorCode: s.dialect.OrderSuccess, body: orderAnswerJSON{s.dialect.OrderSuccess, "success", &info}}
}

func orderRefusal(code, msg string) apiAnswer {
	return apiAnswer{status: http.StatusOK, ErrorCode: code, body: orderAnswerJSON{ResultCode: code, ResultMsg: msg}}
}

// OrderFaults are the faults that can be bound to one order.
func OrderFaults() []Fault {
	return []Fault{FaultAPIError, FaultAPIHTML, FaultAPIUnknownCode, FaultAPIHalfAnswer, FaultAPILostAnswer}
}

// FailOrder makes the order query answer badly for one order only, each time,
// until it is called with an empty fault. It counts against no limit.
func (s *Sandbox) FailOrder(orderID string, f Fault) error {
	if f != "" && !slices.Contains(OrderFaults(), f) {
		return fmt.Errorf("fail order: fault %q is none of %v: %w", f, OrderFaults(), ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.orders[orderID] == nil {
		return fmt.Errorf("fail order: order: %w", ErrUnknownCode)
	}
	if delete(s.badOrders, orderID); f != "" {
		s.badOrders[orderID] = f
	}
	return nil
}

// orderFault is the fault bound to the order which a request asks for.
func (s *Sandbox) orderFault(r *http.Request) (Fault, *rand.Rand) {
	id := r.URL.Query().Get("orderId")
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.badOrders[id]
	if f == "" {
		return "", nil
	}
	s.note(Event{Kind: EventFault, Text: string(f) + ": order query, bound to the order"})
	s.calls["bad order"]++
	return f, s.draws("bad order", s.calls["bad order"])
}

func (s *Sandbox) orderInfo(o *orderRecord) orderInfoJSON {
	line := orderLineJSON{
		OrderLineID: o.LineID, ChargingMode: string(koogallery.ChargeOneTime),
		ProductInfo: []orderProductJSON{{o.sku, o.Product, o.Amount}},
	}
	if o.Period > 0 {
		kind, n := periodOf(o.Period)
		line.ChargingMode, line.PeriodType, line.PeriodNumber = string(koogallery.ChargePeriod), string(kind), n
	}
	if mock, ok := mockOrders[o.ID]; ok {
		line.ChargingMode = string(mock.mode)
	}
	if undated := o.Type == koogallery.OrderRenew && s.dialect.OrderExpiry == OrderExpiryNotRenew; !o.expiresAt.IsZero() && !undated {
		line.ExpireTime = s.compact(o.expiresAt)
	}
	info := orderInfoJSON{
		OrderID: o.ID, OrderType: string(o.Type), CreateTime: s.compact(o.createdAt), OrderLine: []orderLineJSON{line},
		BuyerInfo: &buyerJSON{
			o.buyer.CustomerID, o.buyer.CustomerName.Reveal(), o.buyer.UserID,
			o.buyer.UserName.Reveal(), o.buyer.MobilePhone.Reveal(), o.buyer.Email.Reveal(),
		},
	}
	for _, name := range sortedKeys(o.extend) {
		info.ExtendParams = append(info.ExtendParams, extendJSON{name, o.extend[name]})
	}
	return info
}

type mockOrder struct {
	kind   koogallery.OrderType
	mode   koogallery.ChargingMode
	period time.Duration
}

const (
	oneDay   = 24 * time.Hour
	oneMonth = 30 * oneDay
	oneYear  = 365 * oneDay
)

// mockOrders are those which the real marketplace has for tests; "MONTY" is
// literal.
var mockOrders = map[string]mockOrder{
	"MOCKPERIODYEARNEW":      {koogallery.OrderNew, koogallery.ChargePeriod, oneYear},
	"MOCKONETIMENEW":         {koogallery.OrderNew, koogallery.ChargeOneTime, 0},
	"MOCKONDEMAND":           {koogallery.OrderNew, koogallery.ChargeOnDemand, 0},
	"MOCKONDEMANDPKG":        {koogallery.OrderNew, koogallery.ChargeOnDemandPackage, 0},
	"MOCKPERIODDAYTRIAL":     {koogallery.OrderTrial, koogallery.ChargePeriod, oneDay},
	"MOCKMONTYTRIALTOFORMAL": {koogallery.OrderTrialToFormal, koogallery.ChargePeriod, oneMonth},
	"MOCKMONTYUNSUBSCRIBE":   {koogallery.OrderUnsubscribe, koogallery.ChargePeriod, oneMonth},
	"MOCKMONTYRENEW":         {koogallery.OrderRenew, koogallery.ChargePeriod, oneMonth},
	"MOCKMONTYCHANGE":        {koogallery.OrderChange, koogallery.ChargePeriod, oneMonth},
}

func (s *Sandbox) mockOrder(id string, m mockOrder) *orderRecord {
	p := s.opts.Products[0]
	now := s.now()
	r := &orderRecord{
		Order: Order{ID: id, LineID: id + "-000001", Product: p.ID, Amount: 1, Period: m.period, Type: m.kind},
		sku:   p.SKU, createdAt: now, buyer: Buyer{CustomerID: "mock"},
	}
	if m.period > 0 {
		r.expiresAt = now.Add(m.period)
	}
	return r
}
