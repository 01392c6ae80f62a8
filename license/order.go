package license

import (
	"time"
)

// Order is one line of an order at a marketplace, as far as it is known here:
// what the marketplace says of it, and where it stands in the flow of delivery
// and acceptance, of which no interface tells and which the merchant's staff
// records. A marketplace entry, an order's id and a line's id name it together.
type Order struct {
	Channel  string `json:"channel"` // the marketplace entry
	ID       string `json:"id"`      // orderId
	Line     string `json:"line"`    // orderLineId
	Revision int64  `json:"revision"`

	Instance string `json:"instance,omitzero"` // instanceId that was made for it (online provisioning)
	License  string `json:"license,omitzero"`  // the id of the licence that was made for it

	Type      string    `json:"type,omitzero"`    // orderType: NEW, RENEW, …
	Product   string    `json:"product,omitzero"` // the marketplace's product id
	Amount    int       `json:"amount,omitzero"`  // quantity
	Customer  string    `json:"customer,omitzero"`
	OrderedAt time.Time `json:"ordered_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // absent for one without end
	SeenAt    time.Time `json:"seen_at"`             // when it was first heard of
	ReadAt    time.Time `json:"read_at,omitzero"`    // when the marketplace was asked about it last

	Stage      Stage     `json:"stage"`
	StageAt    time.Time `json:"stage_at"` // since when
	Rejections int       `json:"rejections,omitzero"`
}

// Stage is where an order stands in the marketplace's service supervision.
type Stage string

// The stages, in the order in which they are passed.
const (
	StageAwaitingCode Stage = "awaiting_code" // the buyer has not given the identification code yet
	StageToDeliver    Stage = "to_deliver"    // the merchant's turn
	StageDelivered    Stage = "delivered"     // the buyer's turn, to receive or to accept
	StageRejected     Stage = "rejected"      // the buyer wants it delivered again
	StageAccepted     Stage = "accepted"      // done within hours
	StageCompleted    Stage = "completed"
	StageCancelled    Stage = "cancelled" // unsubscribed
)

// Stages returns all stages.
func Stages() []Stage {
	return []Stage{StageAwaitingCode, StageToDeliver, StageDelivered, StageRejected, StageAccepted, StageCompleted, StageCancelled}
}

// Open reports whether an order in the stage still waits for somebody.
func (s Stage) Open() bool { return s != StageCompleted && s != StageCancelled }
