package license

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// State is where a licence stands. It is computed from facts and "now" by
// License.StateAt and never stored.
type State string

// The states, in the order in which StateAt looks for them.
const (
	StateRevoked   State = "revoked"
	StateReleased  State = "released"
	StateSuspended State = "suspended"
	StateExpired   State = "expired"
	StateActive    State = "active"
	StateIssued    State = "issued"
)

// States returns all states in the order of StateAt.
func States() []State {
	return []State{StateRevoked, StateReleased, StateSuspended, StateExpired, StateActive, StateIssued}
}

// ParseState reads a state's name.
func ParseState(s string) (State, error) {
	if st := State(s); slices.Contains(States(), st) {
		return st, nil
	}
	return "", FieldErrorf("state", "there is no state %q", s)
}

// Refusal is the reason with which a request for a licence in state s is
// refused, and empty for the states that refuse nothing.
func (s State) Refusal() Reason {
	switch s {
	case StateRevoked:
		return Revoked
	case StateReleased:
		return Released
	case StateSuspended:
		return Suspended
	case StateExpired:
		return Expired
	case StateActive, StateIssued:
		return ""
	}
	return Internal
}

// Holds is the set of parties that keep a licence suspended.
type Holds uint8

// The parties that can hold a licence. A hold is lifted only by who set it.
const (
	HoldMarketplace Holds = 1 << iota
	HoldMerchant
)

// Names returns the holds' names, sorted, never nil.
func (h Holds) Names() []string {
	names := []string{}
	if h&HoldMarketplace != 0 {
		names = append(names, "marketplace")
	}
	if h&HoldMerchant != 0 {
		names = append(names, "merchant")
	}
	return names
}

// Mode says what a seat of a licence counts.
type Mode string

// The modes: machines, or running installs.
const (
	ModeNode     Mode = "node"
	ModeFloating Mode = "floating"
)

// Sold reports whether a marketplace sold the licence: through its channel, or as
// an instance that a licence issued by hand was linked to.
func (l License) Sold() bool { return l.Channel != ChannelManual || l.Instance != "" }

// ChannelManual is the channel of a licence that the merchant issued itself.
// Every other channel is the name of a marketplace entry.
const ChannelManual = "manual"

// Forever is how "no end" is written wherever an instant is required:
// 9999-12-31T23:59:59Z, 253402300799 seconds since the epoch.
var Forever = time.Unix(253402300799, 0).UTC()

// StoredCode is what is kept of a code: enough to find it and, with the data
// key that lies outside the store, to show it again.
type StoredCode struct {
	Last4  string `json:"last4"`
	Index  []byte `json:"index"`  // keyed digest under which the code is found
	Sealed []byte `json:"sealed"` // encrypted under the data key
}

// License is the record of one licence: facts only, whole seconds, UTC.
// A zero time is absent: an absent ExpiresAt is a perpetual licence.
type License struct {
	ID       string     `json:"id"`
	Revision int64      `json:"revision"` // counts changes; a store refuses to overwrite another revision
	Product  string     `json:"product"`
	Channel  string     `json:"channel"`
	Customer string     `json:"customer,omitzero"`
	Order    string     `json:"order,omitzero"`
	Instance string     `json:"instance,omitzero"` // what a marketplace calls the purchase by (online provisioning)
	Code     StoredCode `json:"code"`

	// What was sold. How it is enforced (lease, binding, and phases where the
	// licence has none of its own) follows the product's configuration of the day.
	Machines int      `json:"machines"`
	Mode     Mode     `json:"mode"`
	Features Features `json:"features,omitzero"`
	Phases   Phases   `json:"phases,omitzero"`
	// Overage is Product.Overage for this licence; nil follows the product.
	Overage *int `json:"overage,omitempty"`
	Trial   bool `json:"trial,omitzero"` // it is to try the product out

	IssuedAt    time.Time `json:"issued_at"`
	ActivatedAt time.Time `json:"activated_at,omitzero"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	// OwnEnd: the merchant has set the end of what a marketplace sold. What the
	// marketplace says when it is asked does not change it; a message of a renewal does.
	OwnEnd bool `json:"own_end,omitzero"`
	// SoldUntil is the end that the marketplace gave before the merchant set its
	// own, absent without OwnEnd, and where that is not known or there is none.
	SoldUntil    time.Time `json:"sold_until,omitzero"`
	ReleasedAt   time.Time `json:"released_at,omitzero"`
	RevokedAt    time.Time `json:"revoked_at,omitzero"`
	RevokeReason string    `json:"revoke_reason,omitzero"`
	Holds        Holds     `json:"holds,omitzero"`

	// Terms are the orders about an instance.
	Terms Terms `json:"terms,omitzero"`

	// Heard says how new what a marketplace has said is.
	Heard Heard `json:"heard,omitzero"`

	// Transfers are the moves to another machine within the last year, oldest first.
	Transfers []time.Time `json:"transfers,omitzero"`

	// Noted is which of its ends were recorded as reached, and as near.
	Noted Noted `json:"noted,omitzero"`

	// BackAt is when it last was in good standing again, after having been suspended,
	// revoked or over; absent where it never was.
	BackAt time.Time `json:"back_at,omitzero"`

	// Forks is how many forks were recorded of its installs, and when the last.
	Forks    int       `json:"forks,omitzero"`
	ForkedAt time.Time `json:"forked_at,omitzero"`
}

// Heard is when the newest message of each kind was sent, in milliseconds
// since the epoch. Messages can overtake each other; an older one than what was
// heard has nothing to say.
type Heard struct {
	Expiry int64 `json:"expiry,omitzero"` // about the end
	Hold   int64 `json:"hold,omitzero"`   // freeze or unfreeze
}

// Note takes a message in, sent at the given instant, and reports false where a
// newer one of its kind was heard before. A release is never too old.
func (h *Heard) Note(e Event, sent time.Time) bool {
	var newest *int64
	switch e { //nolint:exhaustive // the other events are in no order
	case EventSetExpiry:
		newest = &h.Expiry
	case EventFreeze, EventUnfreeze:
		newest = &h.Hold
	default:
		return true
	}
	at := sent.UnixMilli()
	if at < *newest {
		return false
	}
	*newest = at
	return true
}

// StateAt computes the state at now; the first that fits counts.
func (l License) StateAt(now time.Time) State {
	switch {
	case !l.RevokedAt.IsZero():
		return StateRevoked
	case !l.ReleasedAt.IsZero():
		return StateReleased
	case l.Holds != 0:
		return StateSuspended
	case !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt):
		return StateExpired
	case !l.ActivatedAt.IsZero():
		return StateActive
	}
	return StateIssued
}

// Clone returns a copy that shares nothing with l.
func (l License) Clone() License {
	l.Code.Index = slices.Clone(l.Code.Index)
	l.Code.Sealed = slices.Clone(l.Code.Sealed)
	l.Features = maps.Clone(l.Features)
	l.Phases = l.Phases.clone()
	l.Transfers = slices.Clone(l.Transfers)
	l.Terms = slices.Clone(l.Terms)
	if l.Overage != nil {
		l.Overage = new(*l.Overage)
	}
	return l
}

// Feature is the value of one feature: true, a number or a string.
// The zero Feature is no feature.
type Feature struct {
	raw string // the JSON text of the value
}

// Features maps a feature's name to its value.
type Features map[string]Feature

// FeatureOn is the value true.
func FeatureOn() Feature { return Feature{raw: "true"} }

// FeatureText is a string value.
func FeatureText(s string) Feature {
	raw, _ := json.Marshal(s) // a string always marshals
	return Feature{raw: string(raw)}
}

// FeatureNumber is a number value, in JSON's notation; it fails on anything else.
func FeatureNumber(literal string) (Feature, error) {
	var n json.Number
	if err := json.Unmarshal([]byte(literal), &n); err != nil || string(n) != literal || len(literal) > 64 {
		return Feature{}, FieldErrorf("features", "%q is not a number", literal)
	}
	return Feature{raw: literal}, nil
}

// ParseFeature reads a value as a person writes it: "true", a number, else text.
func ParseFeature(s string) Feature {
	if s == "true" {
		return FeatureOn()
	}
	if f, err := FeatureNumber(s); err == nil {
		return f
	}
	return FeatureText(s)
}

// On reports whether the feature is there, whatever its value.
func (f Feature) On() bool { return f.raw != "" }

// Number returns a number value.
func (f Feature) Number() (float64, bool) {
	if f.raw == "" || f.raw == "true" || f.raw[0] == '"' {
		return 0, false
	}
	n, err := json.Number(f.raw).Float64()
	return n, err == nil
}

// Text returns a string value.
func (f Feature) Text() (string, bool) {
	var s string
	if f.raw == "" || f.raw[0] != '"' || json.Unmarshal([]byte(f.raw), &s) != nil {
		return "", false
	}
	return s, true
}

// String returns the value as a person writes it.
func (f Feature) String() string {
	if s, ok := f.Text(); ok {
		return s
	}
	return f.raw
}

// MarshalJSON writes the value as it stands in a signed licence.
func (f Feature) MarshalJSON() ([]byte, error) {
	if f.raw == "" {
		return []byte("false"), nil
	}
	return []byte(f.raw), nil
}

// UnmarshalJSON reads a features object and skips values of kinds that this
// version does not know, so that a newer server can send them.
func (fs *Features) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return fmt.Errorf("features: %w", err)
	}
	out := make(Features, len(raw))
	for name, v := range raw {
		text := strings.TrimSpace(string(v))
		switch {
		case text == "true", len(text) > 0 && (text[0] == '"' || text[0] == '-' || text[0] >= '0' && text[0] <= '9'):
			out[name] = Feature{raw: text}
		default:
		}
	}
	*fs = out
	return nil
}
