package koogallery

import (
	"slices"
	"time"
	"unicode/utf8"
)

// Activity names what a callback is about.
type Activity string

// The activities which ParseMessage knows: licence 2.0.
const (
	ActivityRefreshLicenseCode      Activity = "refreshLicenseCode"
	ActivityUpdateLicenseCodeStatus Activity = "updateLicenseCodeStatus"
	ActivityReleaseLicenseCode      Activity = "releaseLicenseCode"
)

// Message is one of RefreshLicenseCode, UpdateLicenseCodeStatus and
// ReleaseLicenseCode (not pointers to them). Later releases add types.
type Message interface {
	// Activity is the name of the message on the wire.
	Activity() Activity
	// Test reports a debug call or one of the twice-daily probes. If its
	// fields are well formed it must be answered with success and change
	// nothing, even for a code that does not exist.
	Test() bool
}

// Scene is the cause of a RefreshLicenseCode.
type Scene string

// The documented scenes.
const (
	SceneRenewal                  Scene = "RENEWAL"
	SceneUnsubscribeRenewalPeriod Scene = "UNSUBSCRIBE_RENEWAL_PERIOD" // a paid renewal was cancelled
)

// Status is what an UpdateLicenseCodeStatus asks for.
type Status string

// The documented statuses.
const (
	StatusFreeze   Status = "FREEZE"
	StatusUnfreeze Status = "UNFREEZE"
)

// RefreshLicenseCode sets the expiry of a code (access guide …649167). It is by
// value: repeating it changes nothing, and for a cancelled renewal the expiry
// goes back.
type RefreshLicenseCode struct {
	Scene       Scene
	OrderID     string // a new order, not that of the purchase
	OrderLineID string
	License     Code
	ProductID   string    // only where the renewal changed the kind of period
	ExpireTime  time.Time // UTC, whole seconds
	TestFlag    bool
}

// UpdateLicenseCodeStatus freezes a code which expired beyond the grace period,
// or lifts that (access guide …649168).
type UpdateLicenseCodeStatus struct {
	License  Code
	Status   Status
	TestFlag bool
}

// ReleaseLicenseCode ends a code for good (access guide …649169). Releasing it
// again is a success.
type ReleaseLicenseCode struct {
	License     Code
	OrderID     string // the unsubscription's order; empty if the retention period ran out
	OrderLineID string
	TestFlag    bool
}

// Activity is ActivityRefreshLicenseCode.
func (RefreshLicenseCode) Activity() Activity { return ActivityRefreshLicenseCode }

// Test is TestFlag.
func (m RefreshLicenseCode) Test() bool { return m.TestFlag }

// Activity is ActivityUpdateLicenseCodeStatus.
func (UpdateLicenseCodeStatus) Activity() Activity { return ActivityUpdateLicenseCodeStatus }

// Test is TestFlag.
func (m UpdateLicenseCodeStatus) Test() bool { return m.TestFlag }

// Activity is ActivityReleaseLicenseCode.
func (ReleaseLicenseCode) Activity() Activity { return ActivityReleaseLicenseCode }

// Test is TestFlag.
func (m ReleaseLicenseCode) Test() bool { return m.TestFlag }

// activities is the table of everything that can be read. A new activity is a
// type and a line here.
var activities = [...]struct {
	name   Activity
	decode func(r *fieldReader) Message
}{
	{ActivityRefreshLicenseCode, func(r *fieldReader) Message {
		return RefreshLicenseCode{
			Scene:       Scene(r.oneOf("scene", 64, string(SceneRenewal), string(SceneUnsubscribeRenewalPeriod))),
			OrderID:     r.mandatory("orderId", 64),
			OrderLineID: r.mandatory("orderLineId", 64),
			License:     NewCode(r.mandatory("license", 64)),
			ProductID:   r.optional("productId", 64),
			ExpireTime:  r.instant("expireTime", 20),
			TestFlag:    r.testFlag(),
		}
	}},
	{ActivityUpdateLicenseCodeStatus, func(r *fieldReader) Message {
		return UpdateLicenseCodeStatus{
			License:  NewCode(r.mandatory("license", 64)),
			Status:   Status(r.oneOf("status", 32, string(StatusFreeze), string(StatusUnfreeze))),
			TestFlag: r.testFlag(),
		}
	}},
	{ActivityReleaseLicenseCode, func(r *fieldReader) Message {
		return ReleaseLicenseCode{
			License:     NewCode(r.mandatory("license", 64)),
			OrderID:     r.optional("orderId", 64),
			OrderLineID: r.optional("orderLineId", 64),
			TestFlag:    r.testFlag(),
		}
	}},
}

// Parser turns authentic calls into messages. The zero value is ready.
type Parser struct {
	// Location is where expireTime is at home; nil means UTC. The licence pages
	// do not say; compare with what Client.Query answers.
	Location *time.Location
}

// ParseMessage is Parser{}.Parse.
func ParseMessage(cb Callback) (Message, error) { return Parser{}.Parse(cb) }

// Parse interprets a call. Scalars are read as text, so testFlag 0 and "0" are
// one; null is absent; unknown fields are ignored. A *ResultError with 000002
// names the first field, in the order of the documented table, which is
// missing though mandatory, longer than the table allows (in characters), an
// object or array, or none of the documented values. A body which is no object
// and an activity which is not known are 000002 too.
//
// expireTime is yyyyMMddHHmmss, or 17 digits with milliseconds, which are cut
// off; dates which the calendar does not have are refused.
func (p Parser) Parse(cb Callback) (Message, error) {
	name, err := cb.Field("activity")
	if err != nil {
		return nil, err
	}
	for _, a := range activities {
		if string(a.name) != name {
			continue
		}
		r := fieldReader{payload: *cb.body, loc: p.Location}
		msg := a.decode(&r)
		if r.err != nil {
			return nil, r.err
		}
		return msg, nil
	}
	return nil, refuse(ResultInvalidParam, "activity", ErrActivity)
}

// Field returns a top-level scalar of the body as text, empty if it is absent
// or null: for activities which this package does not know. A body which
// cannot be read, and an object or array in that field, is a *ResultError with
// 000002.
func (cb Callback) Field(name string) (string, error) {
	if cb.body == nil {
		return "", refuse(ResultInvalidParam, "", ErrPayload)
	}
	p := *cb.body
	if p.err != nil {
		return "", refuse(ResultInvalidParam, "", &payloadError{p.err})
	}
	f := p.lookup(name)
	if f.kind == kindNested {
		return "", refuse(ResultInvalidParam, name, ErrField)
	}
	return f.value, nil
}

// payloadError is ErrPayload with the reason.
type payloadError struct{ reason error }

func (e *payloadError) Error() string { return e.reason.Error() }
func (e *payloadError) Unwrap() error { return ErrPayload }

// fieldReader reads the fields of one message and keeps the first refusal.
type fieldReader struct {
	payload *payload
	loc     *time.Location
	err     error
}

func (r *fieldReader) fail(name string) {
	if r.err == nil {
		r.err = refuse(ResultInvalidParam, name, ErrField)
	}
}

// optional reads a field which may be absent, null or empty.
func (r *fieldReader) optional(name string, maxLen int) string {
	f := r.payload.lookup(name)
	if f.kind == kindNested || len(f.value) > maxLen && utf8.RuneCountInString(f.value) > maxLen {
		r.fail(name)
		return ""
	}
	return f.value
}

func (r *fieldReader) mandatory(name string, maxLen int) string {
	s := r.optional(name, maxLen)
	if s == "" {
		r.fail(name)
	}
	return s
}

// oneOf refuses values beyond the documented ones: what an unknown one would
// ask for cannot be guessed, and the refusal shows in the seller console.
func (r *fieldReader) oneOf(name string, maxLen int, values ...string) string {
	s := r.mandatory(name, maxLen)
	if !slices.Contains(values, s) {
		r.fail(name)
		return ""
	}
	return s
}

func (r *fieldReader) instant(name string, maxLen int) time.Time {
	t, ok := parseCompact(r.mandatory(name, maxLen), r.loc)
	if !ok {
		r.fail(name)
	}
	return t
}

// testFlag is true for 1 and false for 0, an empty text and absence. Anything
// else is refused rather than taken for a real call.
func (r *fieldReader) testFlag() bool {
	switch r.optional("testFlag", 2) {
	case "1":
		return true
	case "", "0":
		return false
	}
	r.fail("testFlag")
	return false
}
