package sandbox

import (
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

type orderJSON struct {
	OrderID     string `json:"order_id"`
	OrderLineID string `json:"order_line_id"`
	Code        string `json:"code"` // the authorization code, or the order's id where there is none
	Product     string `json:"product"`
	Amount      int64  `json:"amount"`
	Period      string `json:"period,omitempty"`
}

type codeJSON struct {
	Code        string    `json:"code"`
	Interface   Interface `json:"interface"`
	Status      Status    `json:"status"`
	Product     string    `json:"product"`
	Amount      int64     `json:"amount"`
	Period      string    `json:"period,omitempty"`
	Renewals    int       `json:"renewals,omitempty"`
	OrderID     string    `json:"order_id"`
	Received    bool      `json:"received"`
	Frozen      bool      `json:"frozen"`
	BoughtAt    time.Time `json:"bought_at"`
	ActivatedAt time.Time `json:"activated_at,omitzero"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`

	InstanceID   string            `json:"instance_id,omitempty"`
	Trial        bool              `json:"trial,omitempty"`
	License      string            `json:"license,omitempty"`
	Applications []applicationJSON `json:"applications,omitempty"`
	Usage        []usageDayJSON    `json:"usage,omitempty"`
	Sent         *toldJSON         `json:"sent,omitempty"`
	Told         *toldJSON         `json:"told,omitempty"`
	NotTold      []string          `json:"not_told,omitempty"`
	Pending      int               `json:"pending"`
}

type toldJSON struct {
	At        time.Time `json:"at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Frozen    bool      `json:"frozen"`
	Released  bool      `json:"released"`
}

type usageDayJSON struct {
	Day       string `json:"day"`
	Clients   int    `json:"clients"`
	ActiveNum int    `json:"active_num"`
}

type applicationJSON struct {
	Event       string                `json:"event"`
	Device      string                `json:"device,omitempty"`
	EffectiveAt time.Time             `json:"effective_at"`
	ExpiresAt   time.Time             `json:"expires_at,omitzero"`
	State       ApplicationState      `json:"state"`
	Result      koogallery.ResultCode `json:"result_code,omitempty"`
	License     string                `json:"license,omitempty"`
	Type        koogallery.UploadType `json:"type,omitempty"`
	FileName    string                `json:"file_name,omitempty"`
	UploadedAt  time.Time             `json:"uploaded_at,omitzero"`
	Uploads     int                   `json:"uploads"`
}

type productJSON struct {
	Product

	Stopped    bool `json:"stopped"`
	Frozen     bool `json:"frozen"`
	FailedDays int  `json:"failed_days"`
}

type eventJSON struct {
	ID       int64               `json:"id"`
	At       time.Time           `json:"at"`
	Kind     EventKind           `json:"kind"`
	Product  string              `json:"product,omitempty"`
	Code     string              `json:"code,omitempty"`
	Activity koogallery.Activity `json:"activity,omitempty"`
	Delivery int64               `json:"delivery,omitempty"`
	Text     string              `json:"text"`
}

type deliveryJSON struct {
	ID        int64               `json:"id"`
	Product   string              `json:"product,omitempty"`
	Code      string              `json:"code"`
	Activity  koogallery.Activity `json:"activity"`
	What      string              `json:"what,omitempty"`
	Test      bool                `json:"test"`
	CreatedAt time.Time           `json:"created_at"`
	State     DeliveryState       `json:"state"`
	Attempts  []attemptJSON       `json:"attempts"`
}

type attemptJSON struct {
	At         time.Time             `json:"at"`
	HTTPStatus int                   `json:"http_status,omitempty"`
	ResultCode koogallery.ResultCode `json:"result_code,omitempty"`
	ResultMsg  string                `json:"result_msg,omitempty"`
	Meaning    string                `json:"meaning,omitempty"` // of the code, by the tables
	Error      string                `json:"error,omitempty"`
}

// detailJSON is a message with what went over the wire in the latest attempt.
type detailJSON struct {
	deliveryJSON

	Last *exchangeJSON `json:"last,omitempty"`
}

type exchangeJSON struct {
	At      time.Time `json:"at"`
	Request string    `json:"request"`
	Signed  string    `json:"signed"`
	Answer  string    `json:"answer,omitempty"`
}

// buyerRequest is the buyer of a purchase; all members are optional.
type buyerRequest struct {
	CustomerID   string `json:"customer_id"`
	CustomerName string `json:"customer_name"`
	UserID       string `json:"user_id"`
	UserName     string `json:"user_name"`
	MobilePhone  string `json:"mobile_phone"`
	Email        string `json:"email"`
}

// field is the member of that name in JSON, or nil.
func (b *buyerRequest) field(name string) *string {
	return map[string]*string{
		"customer_id": &b.CustomerID, "customer_name": &b.CustomerName, "user_id": &b.UserID,
		"user_name": &b.UserName, "mobile_phone": &b.MobilePhone, "email": &b.Email,
	}[name]
}

// buyerFields are the names of a buyer's members, in their order.
var buyerFields = []string{"customer_id", "customer_name", "user_id", "user_name", "mobile_phone", "email"}

func (b buyerRequest) buyer() Buyer {
	return Buyer{
		CustomerID: b.CustomerID, CustomerName: koogallery.NewPersonalData(b.CustomerName), UserID: b.UserID,
		UserName: koogallery.NewPersonalData(b.UserName), MobilePhone: koogallery.NewPersonalData(b.MobilePhone),
		Email: koogallery.NewPersonalData(b.Email),
	}
}

func orderAnswer(o Order, err error) (any, error) {
	out := orderJSON{
		OrderID: o.ID, OrderLineID: o.LineID, Code: o.Ref().Reveal(), Product: o.Product, Amount: o.Amount,
	}
	if o.Period > 0 {
		out.Period = o.Period.String()
	}
	return out, err
}

func applicationOf(a Application) applicationJSON {
	return applicationJSON{
		a.EventID, a.Device.Reveal(), a.EffectiveAt, a.ExpiresAt, a.State, a.Result,
		a.License.Reveal(), a.Type, a.FileName, a.UploadedAt, a.Uploads,
	}
}

func (s *Sandbox) codesJSON() []codeJSON {
	out := []codeJSON{}
	for _, c := range s.Codes() {
		j := codeJSON{
			Code: c.Code.Reveal(), Interface: c.Interface, Status: c.Status, Product: c.Product, Amount: c.Amount, OrderID: c.OrderID,
			Received: c.Received, Frozen: c.Frozen,
			BoughtAt: c.BoughtAt, ActivatedAt: c.ActivatedAt, ExpiresAt: c.ExpiresAt,
			InstanceID: c.InstanceID, Trial: c.Trial, License: c.License.Reveal(), Pending: c.Pending,
			Renewals: c.Renewals, NotTold: c.NotTold(),
		}
		if c.Period > 0 {
			j.Period = c.Period.String()
		}
		for _, a := range c.Applications {
			j.Applications = append(j.Applications, applicationOf(a))
		}
		for _, u := range c.Usage {
			j.Usage = append(j.Usage, usageDayJSON(u))
		}
		if !c.Sent.At.IsZero() {
			sent := toldJSON(c.Sent)
			j.Sent = &sent
		}
		if !c.Told.At.IsZero() {
			told := toldJSON(c.Told)
			j.Told = &told
		}
		out = append(out, j)
	}
	return out
}

func (s *Sandbox) productsJSON() []productJSON {
	out := []productJSON{}
	for _, p := range s.ProductStates() {
		out = append(out, productJSON(p))
	}
	return out
}

func (s *Sandbox) eventsJSON() []eventJSON {
	out := []eventJSON{}
	for _, e := range s.Events(0) {
		out = append(out, eventJSON{e.ID, e.At, e.Kind, e.Product, e.Code.Reveal(), e.Activity, e.Delivery, e.Text})
	}
	return out
}

func (s *Sandbox) deliveriesJSON() []deliveryJSON {
	out := []deliveryJSON{}
	for _, d := range s.Deliveries() {
		out = append(out, deliveryOf(d))
	}
	return out
}

func deliveryOf(d Delivery) deliveryJSON {
	j := deliveryJSON{
		ID: d.ID, Product: d.Product, Code: d.Code.Reveal(), Activity: d.Activity, What: d.What, Test: d.Test,
		CreatedAt: d.CreatedAt, State: d.State, Attempts: []attemptJSON{},
	}
	for _, a := range d.Attempts {
		j.Attempts = append(j.Attempts, attemptJSON{a.At, a.HTTPStatus, a.ResultCode, a.ResultMsg, a.Meaning(), a.Error})
	}
	return j
}

func detailOf(d Delivery) detailJSON {
	j := detailJSON{deliveryJSON: deliveryOf(d)}
	if e := d.Last; !e.At.IsZero() {
		j.Last = &exchangeJSON{e.At, e.Request.Reveal(), e.Signed.Reveal(), e.Answer.Reveal()}
	}
	return j
}
