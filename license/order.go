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
	// Made are the licences that the staff had made for identification codes of
	// it, oldest first: the last MaxHistory of them.
	Made []Made `json:"made,omitzero"`
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
	// EnteredAt is when it was entered, where that was later than At.
	EnteredAt time.Time `json:"entered_at,omitzero"`
	// Correct: it took back what had been entered before it, which is Void from
	// then on. Where that led back to a stage in which the order had been, nothing
	// happened at At; it stands in the stage since Since again.
	Correct bool      `json:"correct,omitzero"`
	Since   time.Time `json:"since,omitzero"`
	Void    bool      `json:"void,omitzero"`
}

// Happened reports whether the entry is of something that happened: it was not
// taken back, and does more than to take another back.
func (c StageChange) Happened() bool { return !c.Void && c.Since.IsZero() }

// Made is a licence that the staff had made for an identification code.
type Made struct {
	At      time.Time `json:"at"`
	By      Actor     `json:"by"`
	Install string    `json:"install"` // its id
	// Device is the digest of the code, and Form what it looks like, as
	// Device.String says: whether an opaque code is a hardware or a system code
	// cannot be told.
	Device Digest `json:"device,omitzero"`
	Form   string `json:"form"`
	File   []byte `json:"file"` // SHA-256
}

// WithMade returns o with one more licence made for it.
func (o Order) WithMade(m Made) Order {
	o.Made = append(slices.Clone(o.Made), m)
	o.Made = o.Made[max(0, len(o.Made)-MaxHistory):]
	return o
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
	To    Stage
	At    time.Time // when it is entered
	Since time.Time // when it happened; zero: at At. No later than At, and not before the order
	By    Actor
	Note  string // why; required where the buyer rejected, and for a correction
	// Correct takes an entry back that was wrong: any stage may follow then. Where
	// the order has been in that stage before, it is in it since then again, and
	// what was entered in between is void; a rejection that is taken back does not
	// count. The stage that it is in may be corrected to another Since.
	Correct bool
}

// maxStageNote is the longest note, in bytes.
const maxStageNote = 512

// Move returns the order in another stage, and whether that is a change: the
// stage that it is in already is none. It fails with BadRequest (stage, note, at)
// and with Conflict, where the one stage cannot follow the other, or where a
// rejection follows another one whose note differs: whether that is the same one,
// or a delivery in between was not entered, only the staff knows.
func (o Order) Move(m Move) (Order, bool, error) {
	again := m.To == o.Stage
	if err := o.mayMove(m); err != nil || again && (!m.Correct || m.Since.IsZero() || m.Since.Equal(o.StageAt)) {
		return o, false, err
	}
	entry := StageChange{At: m.At, Stage: m.To, By: m.By, Note: m.Note, Correct: m.Correct}
	if !m.Since.IsZero() && m.Since.Before(m.At) {
		entry.At, entry.EnteredAt = m.Since, m.At
	}
	o.History = slices.Clone(o.History)
	o.Stage = m.To
	back := false
	if m.Correct {
		if o, back = o.takeBack(m.To, again); back && !m.Since.IsZero() {
			back = false // it was not since then, but since another time
			o = o.voidLast()
		}
		if back {
			entry.Since = o.StageAt
		}
	}
	if !back {
		o.StageAt = entry.At
	}
	if m.To == StageRejected && !back {
		o.Rejections++
	}
	o.History = append(o.History, entry)
	o.History = o.History[max(0, len(o.History)-MaxHistory):]
	return o, true, nil
}

// takeBack voids what happened since the order was in a stage, and reports
// whether it ever was; where it was not, and where it is in it again, only what
// happened last is void. StageAt is then when it came into that stage. The history
// of o is its own.
func (o Order) takeBack(to Stage, again bool) (Order, bool) {
	at := -1
	for i, c := range slices.Backward(o.History[:max(0, o.last())]) {
		if c.Happened() && c.Stage == to && !again {
			at = i
			break
		}
	}
	if at < 0 {
		return o.voidLast(), false
	}
	for o.last() > at {
		o = o.voidLast()
	}
	o.StageAt = o.History[at].At
	return o, true
}

// voidLast voids what happened last.
func (o Order) voidLast() Order {
	i := o.last()
	if i < 0 {
		return o
	}
	if o.History[i].Stage == StageRejected {
		o.Rejections = max(o.Rejections-1, 0)
	}
	o.History[i].Void = true
	return o
}

// last is the place of what happened last in the history, -1 where it holds nothing.
func (o Order) last() int {
	for i, c := range slices.Backward(o.History) {
		if c.Happened() {
			return i
		}
	}
	return -1
}

// mayMove judges a move, also one that changes nothing.
func (o Order) mayMove(m Move) error {
	to, err := ParseStage(string(m.To))
	note := strings.TrimSpace(m.Note)
	switch {
	case err != nil:
		return err
	case len(m.Note) > maxStageNote:
		return FieldErrorf("note", "it is longer than %d bytes", maxStageNote)
	case !printableText(m.Note):
		return FieldErrorf("note", "it holds a character that cannot be printed")
	case m.Correct && note == "":
		return FieldErrorf("note", "a correction needs a note that says why")
	case to == StageRejected && note == "":
		return FieldErrorf("note", "a rejection needs the buyer's reason as its note")
	case to == o.Stage && to == StageRejected && !m.Correct && !o.rejectedFor(note):
		return Errorf(Conflict, "the order is rejected already, for another reason; if it was delivered again since, enter that delivery first")
	case to == o.Stage && !m.Correct:
		return nil
	case !m.Correct && !slices.Contains(o.Stage.Next(), to):
		return Errorf(Conflict, "an order that is %s does not become %s; if an entry was wrong, correct it", o.Stage, to)
	}
	return o.maySince(m)
}

// maySince judges when a move happened. That an order was to be delivered is often
// heard long after it was delivered, so it may lie before that; not before what
// else happened.
func (o Order) maySince(m Move) error {
	heard := o.Stage == StageAwaitingCode || o.Stage == StageToDeliver
	switch {
	case m.Since.IsZero():
		return nil
	case m.Since.After(m.At):
		return FieldErrorf("at", "it lies in the future")
	case m.Since.Before(o.OrderedAt):
		return FieldErrorf("at", "it lies before the order was placed")
	case !m.Correct && !heard && m.Since.Before(o.StageAt):
		return FieldErrorf("at", "it lies before the order was %s", o.Stage)
	}
	return nil
}

// rejectedFor reports whether the order stands rejected for that reason.
func (o Order) rejectedFor(note string) bool {
	for _, c := range slices.Backward(o.History) {
		if c.Stage == StageRejected && c.Happened() {
			return strings.TrimSpace(c.Note) == note
		}
	}
	return true // nobody knows for what
}

// DeliveredAt is when the order was delivered last, zero where it does not stand
// as delivered or is past that, or where nobody entered when it was.
func (o Order) DeliveredAt() time.Time {
	if o.Stage == StageAwaitingCode || o.Stage == StageToDeliver {
		return time.Time{}
	}
	for _, c := range slices.Backward(o.History) {
		if c.Stage == StageDelivered && c.Happened() {
			return c.At
		}
	}
	return time.Time{}
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
	// the merchant may appeal with the proof of delivery. Of an order that only
	// programs delivered it is not known whether the buyer has to answer at all, so
	// that it is not said until somebody of the staff has entered something of it.
	WarnBuyer OrderWarning = "appeal_no_answer"
	// WarnRejections: the buyer has rejected MostRejections deliveries; at the next
	// one the merchant may appeal.
	WarnRejections OrderWarning = "appeal_rejected"
)

// untouched reports whether nobody of the staff has entered anything of it.
func (o Order) untouched() bool {
	return len(o.History) > 0 && !slices.ContainsFunc(o.History, func(c StageChange) bool {
		return c.By.Kind != ActorMarketplace && c.By.Kind != ActorSystem && c.By.Kind != ActorInstall
	})
}

// Warnings returns what there is to be done about the order at now.
func (o Order) Warnings(now time.Time) []OrderWarning {
	var out []OrderWarning
	waits := now.Sub(o.StageAt)
	if o.Stage.Turn() == TurnMerchant && waits > DeliverWithin {
		out = append(out, WarnDeliver)
	}
	if o.Stage == StageDelivered && waits > AcceptWithin && !o.untouched() {
		out = append(out, WarnBuyer)
	}
	if o.Rejections >= MostRejections && (o.Stage == StageRejected || o.Stage == StageDelivered || o.Stage == StageToDeliver) {
		out = append(out, WarnRejections)
	}
	return out
}
