package adminwire

import (
	"encoding/hex"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Paths of orders, and of what is made for them. {order} is the id of an order or
// of one of its lines; a licence that is named by its code stands in a body.
const (
	PathOrders     = Prefix + "/orders"
	PathOrder      = Prefix + "/orders/{order}"
	PathOrderStage = Prefix + "/orders/{order}/stage"
	PathOrderLink  = Prefix + "/orders/{order}/link"
	PathOrderEdit  = Prefix + "/orders/{order}/edit"
	PathImport     = Prefix + "/orders/import"
	PathOrdersDue  = Prefix + "/orders-due"
	PathIdentify   = Prefix + "/identify"
	PathProofs     = Prefix + "/proofs"
)

// Order is a line of an order as it is shown.
type Order struct {
	Channel    string         `json:"channel" doc:"The marketplace entry."`
	Order      string         `json:"order"`
	Line       string         `json:"line" doc:"- where nobody says what the line is called."`
	Stage      license.Stage  `json:"stage"`
	StageAt    time.Time      `json:"stage_at" doc:"Since when."`
	Turn       license.Turn   `json:"turn" doc:"Who has to do something: merchant, buyer, marketplace or nobody."`
	Waits      int64          `json:"waits" doc:"For how many seconds it has been in its stage; 0 where nobody has to do something."`
	Rejections int            `json:"rejections" doc:"How often the buyer has rejected a delivery."`
	Warnings   []OrderWarning `json:"warnings"`
	Type       string         `json:"type,omitempty"`
	Product    string         `json:"product" doc:"Our product; empty where it is not known."`
	Offer      string         `json:"marketplace_product,omitempty" doc:"The marketplace's product id."`
	Amount     int            `json:"amount,omitempty"`
	Customer   string         `json:"customer"`
	License    string         `json:"license" doc:"Id of the licence that was made for it."`
	Instance   string         `json:"instance,omitempty"`
	OrderedAt  *time.Time     `json:"ordered_at"`
	ExpiresAt  *time.Time     `json:"expires_at"`
	SeenAt     time.Time      `json:"seen_at" doc:"When it was first heard of."`
	ReadAt     *time.Time     `json:"read_at" doc:"When the marketplace was asked about it last."`
	History    []StageChange  `json:"history" doc:"The changes of its stage, oldest first; the last 32."`
	Made       []Made         `json:"made" doc:"The licence files that were made for identification codes of it, oldest first; the last 32."`
	Revision   int64          `json:"revision"`
}

// Made is a licence file that was made for an identification code.
type Made struct {
	At      time.Time      `json:"at"`
	By      Actor          `json:"by"`
	Install string         `json:"install"`
	Device  license.Digest `json:"device,omitempty" doc:"Digest of the code."`
	Form    string         `json:"form" doc:"What the code looks like. Whether an opaque one is a hardware or a system code cannot be told."`
	SHA256  string         `json:"sha256" doc:"Of the file, in hex."`
}

// OrderWarning is what is to be done about an order.
type OrderWarning struct {
	Kind license.OrderWarning `json:"kind" doc:"deliver, appeal_no_answer or appeal_rejected."`
	Text string               `json:"text"`
}

// StageChange is one entry of the history of an order.
type StageChange struct {
	At    time.Time     `json:"at"`
	Stage license.Stage `json:"stage"`
	By    Actor         `json:"by"`
	Note  string        `json:"note,omitempty"`

	EnteredAt *time.Time `json:"entered_at,omitempty" doc:"When it was entered, where that was later."`
	Correct   bool       `json:"correct,omitempty" doc:"It took back what was entered before it."`
	Since     *time.Time `json:"since,omitempty" doc:"Of a correction that led back to a stage: since when that stands. Nothing happened then at its own time."`
	Void      bool       `json:"void,omitempty" doc:"It was taken back."`
}

// NewOrder gives an order its shown form at now; product is ours.
func NewOrder(o license.Order, product string, now time.Time) Order {
	out := Order{
		Channel: o.Channel, Order: o.ID, Line: o.Line, Stage: o.Stage, StageAt: o.StageAt.UTC(), Turn: o.Stage.Turn(),
		Rejections: o.Rejections, Warnings: []OrderWarning{}, Type: o.Type, Product: product, Offer: o.Product, Amount: o.Amount,
		Customer: o.Customer, License: o.License, Instance: o.Instance, OrderedAt: instant(o.OrderedAt), ExpiresAt: instant(o.ExpiresAt),
		SeenAt: o.SeenAt.UTC(), ReadAt: instant(o.ReadAt), History: []StageChange{}, Made: []Made{}, Revision: o.Revision,
	}
	if o.Stage.Open() {
		out.Waits = max(int64(now.Sub(o.StageAt)/time.Second), 0)
	}
	for _, w := range o.Warnings(now) {
		out.Warnings = append(out.Warnings, OrderWarning{Kind: w, Text: warningText(w, o)})
	}
	for _, c := range o.History {
		out.History = append(out.History, StageChange{
			At: c.At.UTC(), Stage: c.Stage, By: Actor(c.By), Note: c.Note,
			EnteredAt: instant(c.EnteredAt), Correct: c.Correct, Since: instant(c.Since), Void: c.Void,
		})
	}
	for _, m := range o.Made {
		out.Made = append(out.Made, Made{
			At: m.At.UTC(), By: Actor(m.By), Install: m.Install, Device: m.Device, Form: m.Form, SHA256: hex.EncodeToString(m.File),
		})
	}
	return out
}

func warningText(w license.OrderWarning, o license.Order) string {
	switch w {
	case license.WarnDeliver:
		if o.Stage == license.StageActivated {
			return "its code is in use for more than a day: upload the proof of delivery in the seller console"
		}
		return "it is to be delivered for more than a day: deliver, and say so in the seller console"
	case license.WarnBuyer:
		return "the buyer has not answered for more than 5 days: you may appeal with the proof of delivery"
	case license.WarnRejections:
		return "the buyer has rejected three deliveries: at the fourth you may appeal"
	}
	return string(w)
}

// OrderList is a page of orders. Next is the cursor of the next page, "" at the end.
type OrderList struct {
	Orders []Order `json:"orders"`
	Next   string  `json:"next"`
}

// AddOrder records an order that the staff knows from the seller console.
type AddOrder struct {
	Channel    string        `json:"channel,omitempty" maxLength:"64" doc:"The marketplace entry, or manual; may be absent where there is one entry only."`
	Order      string        `json:"order" minLength:"1" maxLength:"128"`
	Line       string        `json:"line,omitempty" maxLength:"128" doc:"May be absent where the order has one line only."`
	Offer      string        `json:"marketplace_product,omitempty" maxLength:"128"`
	Amount     int           `json:"amount,omitempty" minimum:"0" maximum:"1000000"`
	Customer   string        `json:"customer,omitempty" maxLength:"256"`
	OrderedAt  *time.Time    `json:"ordered_at,omitempty"`
	ExpiresAt  *time.Time    `json:"expires_at,omitempty"`
	Stage      license.Stage `json:"stage,omitempty" maxLength:"32" doc:"to_deliver where it is absent."`
	StageAt    *time.Time    `json:"stage_at,omitempty" doc:"Since when it has been in that stage; from now on where it is absent."`
	Rejections int           `json:"rejections,omitempty" minimum:"0" maximum:"1000" doc:"How often the buyer has rejected a delivery."`
	License    string        `json:"license,omitempty" maxLength:"512" doc:"Id or code of the licence that was made for it."`
	Note       string        `json:"note,omitempty" maxLength:"512"`
	Offline    bool          `json:"offline,omitempty" doc:"The marketplace is not asked. Else it is, by the outbox, where nothing is said of what was ordered."`
}

// EditOrder changes what is known of an order that the marketplace has not told of.
// What is absent stays; an empty text and 0 are not known.
type EditOrder struct {
	OrderLine
	Offer     *string    `json:"marketplace_product,omitempty" maxLength:"64"`
	Amount    *int       `json:"amount,omitempty" minimum:"0" maximum:"1000000"`
	Customer  *string    `json:"customer,omitempty" maxLength:"256"`
	OrderedAt *time.Time `json:"ordered_at,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	NoEnd     bool       `json:"no_end,omitempty" doc:"It has no end, or none that is known."`
	Note      string     `json:"note,omitempty" maxLength:"512"`
}

// MaxImport is the largest ImportOrders that the daemon reads, in bytes: a thousand
// orders with the longest names and notes, as text or as JSON.
const MaxImport = 4 << 20

// ImportOrders records many orders at once: all, or none where one cannot be.
type ImportOrders struct {
	Orders []AddOrder `json:"orders" minItems:"1" maxItems:"1000"`
	DryRun bool       `json:"dry_run,omitempty" doc:"Nothing is recorded."`
}

// ImportedOrder is what became, or would become, of one of them.
type ImportedOrder struct {
	Order string `json:"order"`
	Line  string `json:"line"`
	Added bool   `json:"added" doc:"It was not known."`
	Error string `json:"error,omitempty" doc:"Why it cannot be recorded."`
}

// ImportedOrders are the orders in the order in which they were sent.
type ImportedOrders struct {
	Orders   []ImportedOrder `json:"orders"`
	Recorded bool            `json:"recorded" doc:"False where one has an error, and in a dry run: then nothing was."`
}

// OrdersDue is how many orders there is something to do about.
type OrdersDue struct {
	Open     int                          `json:"open" doc:"Still wait for somebody."`
	Warned   int                          `json:"warned" doc:"Of them, there is something to do about."`
	Warnings map[license.OrderWarning]int `json:"warnings" doc:"How many have each: deliver, appeal_no_answer, appeal_rejected."`
	Worst    *Order                       `json:"worst" doc:"The one to begin with; null where nothing is to be done."`
}

// OrderLine says which line of an order is meant; both may be absent where the
// order has one line only.
type OrderLine struct {
	Channel string `json:"channel,omitempty" maxLength:"64"`
	Line    string `json:"line,omitempty" maxLength:"64"`
}

// SetStage moves an order to another stage.
type SetStage struct {
	OrderLine
	Stage   license.Stage `json:"stage" maxLength:"32"`
	Note    string        `json:"note,omitempty" maxLength:"512" doc:"Required for rejected, and for a correction."`
	Correct bool          `json:"correct,omitempty" doc:"Takes a wrong entry back: any stage may follow."`
	At      *time.Time    `json:"at,omitempty" doc:"When it happened; now where it is absent."`
}

// LinkOrder says which licence was made for an order; "" takes that back.
type LinkOrder struct {
	OrderLine
	License string `json:"license" maxLength:"512" doc:"Id or code of a licence."`
}

// OrderEdited is an order after a change, and whether there was one.
type OrderEdited struct {
	Order   Order `json:"order"`
	Changed bool  `json:"changed"`
}

// Identify asks for the licence of the device that an identification code names.
type Identify struct {
	OrderLine
	Ref    string `json:"ref" minLength:"1" maxLength:"512" doc:"Id or code of a licence, or id of an order."`
	Device string `json:"device" minLength:"1" maxLength:"5120" doc:"The hardware or system identification code, or the marketplace's device fingerprint."`
}

// Identified is the licence of a device.
type Identified struct {
	License License `json:"license"`
	Install Install `json:"install"`
	Order   *Order  `json:"order" doc:"That it was made for; null where none is linked to the licence."`
	Made    bool    `json:"made" doc:"Just now; else it is the same as before."`
	File    string  `json:"file" doc:"The licence file."`
	SHA256  string  `json:"sha256" doc:"Of the file, in hex."`
}

// Prove asks for a proof of delivery.
type Prove struct {
	OrderLine
	Ref string `json:"ref" minLength:"1" maxLength:"512" doc:"Id or code of a licence, or id of an order."`
}

// Proof is a proof of delivery.
type Proof struct {
	Claims   map[string]any `json:"claims" doc:"What is signed, to read."`
	Delivery string         `json:"delivery" doc:"The signed form: license-delivery+jwt."`
	Keys     string         `json:"keys" doc:"The key set that verifies it."`
}
