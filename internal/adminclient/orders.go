package adminclient

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// OrderOptions selects orders; zero fields select all.
type OrderOptions struct {
	Open     bool // that still wait for somebody
	Warned   bool // about which there is something to do
	Stage    license.Stage
	Channel  string
	Product  string
	Instance string
	License  string // its id
	Limit    int    // of one page; zero leaves it to the daemon
	Cursor   string // of the page before
}

func (o OrderOptions) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{
		"stage": string(o.Stage), "channel": o.Channel, "product": o.Product, "instance": o.Instance, "license": o.License, "cursor": o.Cursor,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, is := range map[string]bool{"open": o.Open, "warned": o.Warned} {
		if is {
			q.Set(name, "true")
		}
	}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	return q
}

// Orders returns a page of orders, those first of which was heard first.
func (c *Client) Orders(ctx context.Context, o OrderOptions) (adminwire.OrderList, error) {
	return get[adminwire.OrderList](ctx, c, adminwire.PathOrders, o.query())
}

// Order returns the order, or the line of one, with this id.
func (c *Client) Order(ctx context.Context, id string, line adminwire.OrderLine) (adminwire.Order, error) {
	q := url.Values{}
	if line.Channel != "" {
		q.Set("channel", line.Channel)
	}
	if line.Line != "" {
		q.Set("line", line.Line)
	}
	return get[adminwire.Order](ctx, c, withOrder(adminwire.PathOrder, id), q)
}

// AddOrder records an order that the staff knows.
func (c *Client) AddOrder(ctx context.Context, o adminwire.AddOrder) (adminwire.OrderEdited, error) {
	return post[adminwire.OrderEdited](ctx, c, adminwire.PathOrders, o)
}

// SetStage moves an order to another stage.
func (c *Client) SetStage(ctx context.Context, id string, s adminwire.SetStage) (adminwire.OrderEdited, error) {
	return post[adminwire.OrderEdited](ctx, c, withOrder(adminwire.PathOrderStage, id), s)
}

// EditOrder changes what is known of an order.
func (c *Client) EditOrder(ctx context.Context, id string, e adminwire.EditOrder) (adminwire.OrderEdited, error) {
	return post[adminwire.OrderEdited](ctx, c, withOrder(adminwire.PathOrderEdit, id), e)
}

// ImportOrders records many orders, all or none.
func (c *Client) ImportOrders(ctx context.Context, o adminwire.ImportOrders) (adminwire.ImportedOrders, error) {
	return post[adminwire.ImportedOrders](ctx, c, adminwire.PathImport, o)
}

// OrdersDue counts the orders about which there is something to do.
func (c *Client) OrdersDue(ctx context.Context) (adminwire.OrdersDue, error) {
	return get[adminwire.OrdersDue](ctx, c, adminwire.PathOrdersDue, nil)
}

// LinkOrder says which licence was made for an order.
func (c *Client) LinkOrder(ctx context.Context, id string, l adminwire.LinkOrder) (adminwire.OrderEdited, error) {
	return post[adminwire.OrderEdited](ctx, c, withOrder(adminwire.PathOrderLink, id), l)
}

// Identify makes the licence for an identification code.
func (c *Client) Identify(ctx context.Context, q adminwire.Identify) (adminwire.Identified, error) {
	return post[adminwire.Identified](ctx, c, adminwire.PathIdentify, q)
}

// Prove makes a proof of delivery.
func (c *Client) Prove(ctx context.Context, q adminwire.Prove) (adminwire.Proof, error) {
	return post[adminwire.Proof](ctx, c, adminwire.PathProofs, q)
}

func withOrder(path, id string) string {
	return strings.Replace(path, "{order}", url.PathEscape(id), 1)
}
