package license

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
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
	// History holds the changes of the stage, oldest first: the last MaxHistory of
	// them. The audit log has them all.
	History []StageChange `json:"history,omitzero"`
}

// MaxHistory is how many changes of its stage an order keeps.
const MaxHistory = 32

// StageChange is one entry of the history of an order.
type StageChange struct {
	At    time.Time `json:"at"`
	Stage Stage     `json:"stage"` // from then on
	By    Actor     `json:"by"`
	Note  string    `json:"note,omitzero"`
}

// Stage is where an order stands in the marketplace's service supervision.
type Stage string

// The stages, in the order in which they are passed.
const (
	StageAwaitingCode Stage = "awaiting_code" // the buyer has not given the identification code yet
	StageToDeliver    Stage = "to_deliver"    // the merchant's turn
	StageDelivered    Stage = "delivered"     // the buyer's turn, to receive or to accept
	StageRejected     Stage = "rejected"      // the buyer wants it delivered again
	StageActivated    Stage = "activated"     // its code is in use; the merchant's turn, to upload the proof of delivery
	StageAccepted     Stage = "accepted"      // done within hours
	StageCompleted    Stage = "completed"
	StageCancelled    Stage = "cancelled" // unsubscribed
)

// Stages returns all stages.
func Stages() []Stage {
	return []Stage{
		StageAwaitingCode, StageToDeliver, StageDelivered, StageRejected, StageActivated, StageAccepted, StageCompleted, StageCancelled,
	}
}

// ParseStage reads the name of a stage. It fails with BadRequest, field "stage".
func ParseStage(s string) (Stage, error) {
	if stage := Stage(s); slices.Contains(Stages(), stage) {
		return stage, nil
	}
	var names []string
	for _, stage := range Stages() {
		names = append(names, string(stage))
	}
	return "", FieldErrorf("stage", "there is no such stage; the stages are %s", strings.Join(names, ", "))
}

// Open reports whether an order in the stage still waits for somebody.
func (s Stage) Open() bool { return s != StageCompleted && s != StageCancelled }

// Turn is whose turn it is in a stage.
type Turn string

// Who an order can wait for.
const (
	TurnMerchant    Turn = "merchant"
	TurnBuyer       Turn = "buyer"
	TurnMarketplace Turn = "marketplace"
	TurnNobody      Turn = "nobody"
)

// Turn returns who an order in the stage waits for.
func (s Stage) Turn() Turn {
	switch s {
	case StageToDeliver, StageRejected, StageActivated:
		return TurnMerchant
	case StageAwaitingCode, StageDelivered:
		return TurnBuyer
	case StageAccepted:
		return TurnMarketplace
	case StageCompleted, StageCancelled:
	}
	return TurnNobody
}

// Next returns the stages that can follow one in the flow of supervision. What
// the staff enters is what happened elsewhere, so stages that nobody entered may
// be left out; but nothing can be rejected that was not delivered, and what has
// ended stays so, but for an unsubscription after the completion.
func (s Stage) Next() []Stage {
	switch s {
	case StageAwaitingCode:
		return []Stage{StageToDeliver, StageDelivered, StageActivated, StageAccepted, StageCompleted, StageCancelled}
	case StageToDeliver:
		return []Stage{StageAwaitingCode, StageDelivered, StageActivated, StageAccepted, StageCompleted, StageCancelled}
	case StageDelivered:
		return []Stage{StageRejected, StageActivated, StageAccepted, StageCompleted, StageCancelled}
	case StageRejected:
		return []Stage{StageAwaitingCode, StageToDeliver, StageDelivered, StageActivated, StageAccepted, StageCompleted, StageCancelled}
	case StageActivated:
		return []Stage{StageAccepted, StageCompleted, StageCancelled}
	case StageAccepted:
		return []Stage{StageCompleted, StageCancelled}
	case StageCompleted:
		return []Stage{StageCancelled}
	case StageCancelled:
	}
	return nil
}

// Move is a change of the stage of an order.
type Move struct {
	To   Stage
	At   time.Time
	By   Actor
	Note string // why; required where the buyer rejected, and for a correction
	// Correct takes an entry back that was wrong: any stage may follow then. A
	// rejection that is taken back does not count.
	Correct bool
}

// maxStageNote is the longest note, in bytes.
const maxStageNote = 512

// Move returns the order in another stage, and whether that is a change. It
// fails with BadRequest (stage, note) and, where the one stage cannot follow the
// other, with Conflict.
func (o Order) Move(m Move) (Order, bool, error) {
	to, err := ParseStage(string(m.To))
	switch {
	case err != nil:
		return o, false, err
	case len(m.Note) > maxStageNote:
		return o, false, FieldErrorf("note", "it is longer than %d bytes", maxStageNote)
	case !printableText(m.Note):
		return o, false, FieldErrorf("note", "it holds a character that cannot be printed")
	case to == o.Stage:
		return o, false, nil
	case m.Correct && strings.TrimSpace(m.Note) == "":
		return o, false, FieldErrorf("note", "a correction needs a note that says why")
	case to == StageRejected && strings.TrimSpace(m.Note) == "":
		return o, false, FieldErrorf("note", "a rejection needs the buyer's reason as its note")
	case !m.Correct && !slices.Contains(o.Stage.Next(), to):
		return o, false, Errorf(Conflict, "an order that is %s does not become %s; if an entry was wrong, correct it", o.Stage, to)
	}
	switch {
	case to == StageRejected:
		o.Rejections++
	case m.Correct && o.Stage == StageRejected:
		o.Rejections = max(o.Rejections-1, 0)
	}
	o.Stage, o.StageAt = to, m.At
	o.History = append(slices.Clone(o.History), StageChange{At: m.At, Stage: to, By: m.By, Note: m.Note})
	o.History = o.History[max(0, len(o.History)-MaxHistory):]
	return o, true, nil
}

func printableText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// When an order is looked at as overdue. The marketplace names the five days
// and the three rejections; the day is ours.
const (
	DeliverWithin  = 24 * time.Hour
	AcceptWithin   = 5 * 24 * time.Hour
	MostRejections = 3
)

// OrderWarning is a reason to do something about an order.
type OrderWarning string

// The warnings.
const (
	// WarnDeliver: it has been the merchant's turn for more than DeliverWithin.
	WarnDeliver OrderWarning = "deliver"
	// WarnBuyer: the buyer has not answered a delivery for more than AcceptWithin;
	// the merchant may appeal with the proof of delivery.
	WarnBuyer OrderWarning = "appeal_no_answer"
	// WarnRejections: the buyer has rejected MostRejections deliveries; at the next
	// one the merchant may appeal.
	WarnRejections OrderWarning = "appeal_rejected"
)

// Warnings returns what there is to be done about the order at now.
func (o Order) Warnings(now time.Time) []OrderWarning {
	var out []OrderWarning
	waits := now.Sub(o.StageAt)
	if o.Stage.Turn() == TurnMerchant && waits > DeliverWithin {
		out = append(out, WarnDeliver)
	}
	if o.Stage == StageDelivered && waits > AcceptWithin {
		out = append(out, WarnBuyer)
	}
	if o.Rejections >= MostRejections && (o.Stage == StageRejected || o.Stage == StageDelivered || o.Stage == StageToDeliver) {
		out = append(out, WarnRejections)
	}
	return out
}
