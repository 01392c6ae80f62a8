package koogallery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// MaxOrderID is the longest id of an order or order line in characters.
const MaxOrderID = 64

// OrderType is what an order does.
type OrderType string

// The documented types. Another text is passed on as it came.
const (
	OrderNew           OrderType = "NEW"
	OrderTrial         OrderType = "TRIAL"
	OrderTrialToFormal OrderType = "TRIAL_TO_FORMAL"
	OrderUnsubscribe   OrderType = "UNSUBSCRIBE"
	OrderRenew         OrderType = "RENEW"
	OrderChange        OrderType = "CHANGE"
)

// ChargingMode is how an order line is paid.
type ChargingMode string

// The documented modes. Another text is passed on as it came.
const (
	ChargeOnDemand        ChargingMode = "ON_DEMAND"
	ChargeOneTime         ChargingMode = "ONE_TIME"
	ChargePeriod          ChargingMode = "PERIOD"
	ChargeOnDemandPackage ChargingMode = "ON_DEMAND_PKG"
)

// Order is an order as the marketplace has it.
type Order struct {
	ID         string
	Type       OrderType
	CreateTime time.Time // of ordering, in UTC; zero where it cannot be read
	Lines      []OrderLine
	Buyer      Buyer
	// Extend are what the buyer filled in, by name. How the list is made is not
	// documented; what cannot be read is missing here.
	Extend map[string]string
}

// OrderLine is one line of an order. Of the members after ExpireTime the table
// is not known: they are read as an older design has them, and zero where the
// answer has none.
type OrderLine struct {
	ID           string
	ChargingMode ChargingMode
	ExpireTime   time.Time // in UTC; zero if the line names none
	PeriodType   PeriodType
	PeriodNumber int64
	Products     []OrderProduct
}

// OrderProduct is what an order line buys.
type OrderProduct struct {
	SKUCode   string
	ProductID string
	Amount    int64 // the quantity (linearValue); 0 where absent or no whole number
}

// Buyer is who ordered. Its members are not documented for this call, and empty
// where the answer has none.
type Buyer struct {
	CustomerID   string
	CustomerName PersonalData
	UserID       string
	UserName     PersonalData
	MobilePhone  PersonalData
	Email        PersonalData
}

// Line returns the line with that id.
func (o Order) Line(id string) (OrderLine, bool) {
	i := slices.IndexFunc(o.Lines, func(l OrderLine) bool { return l.ID == id })
	if i < 0 {
		return OrderLine{}, false
	}
	return o.Lines[i], true
}

// Order reads an order, or one line of it if lineID is not empty (access guide
// …649350). Which resultCode means success is not known: where the options do
// not say either, an answer that holds lines of the order is one. An answer about
// another order than orderID, or with an expiry which cannot be read, is
// ErrUnavailable. Other errors are *APIError with the marketplace's resultCode,
// of which none but ErrUnavailable is known by name.
//
// Orders MOCKPERIODYEARNEW, MOCKONETIMENEW and others exist for tests against
// the real API; their lines end in "-000001".
func (c *Client) Order(ctx context.Context, orderID, lineID string) (Order, error) {
	if err := checkID("order id", orderID, MaxOrderID); err != nil {
		return Order{}, fmt.Errorf("query order: %w", err)
	}
	query := url.Values{"orderId": {orderID}}
	if lineID != "" {
		if err := checkID("order line id", lineID, MaxOrderID); err != nil {
			return Order{}, fmt.Errorf("query order: %w", err)
		}
		query.Set("orderLineId", lineID)
	}
	form := answerForm{success: c.opts.OrderSuccess, resultCode: true}
	if len(form.success) == 0 {
		form.success = []string{"MKT.0000", "CBC.0000", codeOK, string(ResultOK)}
		form.speaks = func(data json.RawMessage) bool {
			o := objectOf(data)
			return o.first("orderId") == orderID && len(o.list("orderLine")) > 0
		}
	}
	data, err := c.do(ctx, &apiCall{
		method: http.MethodGet, path: "/v1/order/query", query: query, contentType: jsonMedia,
		form: form,
	})
	if err != nil {
		return Order{}, fmt.Errorf("query order: %w", err)
	}
	order, err := readOrder(data, c.opts.Location)
	if err == nil && order.ID != orderID {
		err = &malformedError{"it is about another order"}
	}
	if err != nil {
		return Order{}, fmt.Errorf("query order: %w", err)
	}
	return order, nil
}

// orderObject is an object of the answer: its scalars, and all members.
type orderObject struct {
	details
	members map[string]json.RawMessage
}

// objectOf is empty where data is no object.
func objectOf(data json.RawMessage) orderObject {
	data = unwrapJSON(data)
	var o orderObject
	if json.Unmarshal(data, &o.members) == nil {
		_ = json.Unmarshal(data, &o.details) // it is an object, and scalar takes anything
	}
	return o
}

// list reads a member which is a list of objects, or a single one.
func (o orderObject) list(name string) []orderObject {
	data := unwrapJSON(o.members[name])
	var items []json.RawMessage
	if json.Unmarshal(data, &items) != nil {
		items = []json.RawMessage{data}
	}
	var objects []orderObject
	for _, item := range items {
		if object := objectOf(item); len(object.members) > 0 {
			objects = append(objects, object)
		}
	}
	return objects
}

func readOrder(data json.RawMessage, loc *time.Location) (Order, error) {
	info := objectOf(data)
	o := Order{ID: info.first("orderId"), Type: OrderType(info.first("orderType"))}
	if o.ID == "" {
		return Order{}, &malformedError{"no orderInfo with an orderId"}
	}
	o.CreateTime, _ = readTime(info.first("createTime"), loc)
	for _, l := range info.list("orderLine") {
		expires, ok := readTime(l.first("expireTime"), loc)
		if !ok {
			return Order{}, &malformedError{"expiry of an order line cannot be read"}
		}
		line := OrderLine{
			ID:           l.first("orderLineId"),
			ChargingMode: ChargingMode(l.first("chargingMode")),
			ExpireTime:   expires,
			PeriodType:   PeriodType(l.first("periodType")),
			PeriodNumber: l.number("periodNumber"),
		}
		for _, p := range l.list("productInfo") {
			line.Products = append(line.Products, OrderProduct{
				SKUCode: p.first("skuCode"), ProductID: p.first("productId"), Amount: p.number("linearValue", "amount"),
			})
		}
		o.Lines = append(o.Lines, line)
	}
	o.Buyer = readBuyer(objectOf(info.members["buyerInfo"]))
	o.Extend = readExtend(info)
	return o, nil
}

func readBuyer(b orderObject) Buyer {
	return Buyer{
		CustomerID:   b.first("customerId"),
		CustomerName: NewPersonalData(b.first("customerName")),
		UserID:       b.first("userId"),
		UserName:     NewPersonalData(b.first("userName")),
		MobilePhone:  NewPersonalData(b.first("mobilePhone")),
		Email:        NewPersonalData(b.first("email")),
	}
}

// readExtend reads objects of a name and a value, or an object of values by
// name.
func readExtend(info orderObject) map[string]string {
	var extend map[string]string
	put := func(name, value string) {
		if extend == nil {
			extend = make(map[string]string)
		}
		extend[name] = value
	}
	for _, p := range info.list("extendParams") {
		if name := p.first("name", "key"); name != "" {
			put(name, p.first("value"))
			continue
		}
		for name, value := range p.details {
			put(name, string(value))
		}
	}
	return extend
}
