package koogallery

import (
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Activity names what a callback is about.
type Activity string

// The activities of licence 2.0.
const (
	ActivityRefreshLicenseCode      Activity = "refreshLicenseCode"
	ActivityUpdateLicenseCodeStatus Activity = "updateLicenseCodeStatus"
	ActivityReleaseLicenseCode      Activity = "releaseLicenseCode"
)

// LicenseCodeActivities returns the three activities of licence 2.0, for
// Handler.Activities.
func LicenseCodeActivities() []Activity {
	return []Activity{ActivityRefreshLicenseCode, ActivityUpdateLicenseCodeStatus, ActivityReleaseLicenseCode}
}

// Message is one of these, not a pointer to it: RefreshLicenseCode,
// UpdateLicenseCodeStatus and ReleaseLicenseCode of licence 2.0; NewInstance,
// RefreshInstance, UpdateInstanceStatus, ReleaseInstance and GetLicenseAsync of
// online provisioning; OrderNotify; V1GetLicense, V1RefreshLicense,
// V1ExpireLicense and V1ReleaseLicense of licence 1.0. Later releases may add
// types, so a switch needs a default which refuses.
type Message interface {
	// Activity is the name of the message on the wire.
	Activity() Activity
	// Test reports a debug call or one of the twice-daily probes. If its
	// fields are well formed it must be answered with success and change
	// nothing, even for a code that does not exist.
	Test() bool
}

// Scene is the cause of a RefreshLicenseCode or RefreshInstance.
type Scene string

// The scenes which both have.
const (
	SceneRenewal                  Scene = "RENEWAL"
	SceneUnsubscribeRenewalPeriod Scene = "UNSUBSCRIBE_RENEWAL_PERIOD" // a paid renewal was cancelled
)

// Status is what an UpdateLicenseCodeStatus or UpdateInstanceStatus asks for.
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

// activities is the table of every POST message that can be read. A new
// activity is a type and a line here.
var activities = [...]struct {
	name   Activity
	decode func(r *fieldReader) Message
}{
	{ActivityRefreshLicenseCode, decodeRefreshLicenseCode},
	{ActivityUpdateLicenseCodeStatus, decodeUpdateLicenseCodeStatus},
	{ActivityReleaseLicenseCode, decodeReleaseLicenseCode},
	{ActivityNewInstance, decodeNewInstance},
	{ActivityRefreshInstance, decodeRefreshInstance},
	{ActivityUpdateInstanceStatus, decodeUpdateInstanceStatus},
	{ActivityReleaseInstance, decodeReleaseInstance},
	{ActivityGetLicenseAsync, decodeGetLicenseAsync},
	{ActivityOrderNotify, decodeOrderNotify},
}

func decodeRefreshLicenseCode(r *fieldReader) Message {
	return RefreshLicenseCode{
		Scene:       Scene(r.oneOf("scene", 64, string(SceneRenewal), string(SceneUnsubscribeRenewalPeriod))),
		OrderID:     r.mandatory("orderId", 64),
		OrderLineID: r.mandatory("orderLineId", 64),
		License:     NewCode(r.mandatory("license", 64)),
		ProductID:   r.optional("productId", 64),
		ExpireTime:  r.instant("expireTime", 20, r.loc),
		TestFlag:    r.testFlag(),
	}
}

func decodeUpdateLicenseCodeStatus(r *fieldReader) Message {
	return UpdateLicenseCodeStatus{
		License:  NewCode(r.mandatory("license", 64)),
		Status:   Status(r.oneOf("status", 32, string(StatusFreeze), string(StatusUnfreeze))),
		TestFlag: r.testFlag(),
	}
}

func decodeReleaseLicenseCode(r *fieldReader) Message {
	return ReleaseLicenseCode{
		License:     NewCode(r.mandatory("license", 64)),
		OrderID:     r.optional("orderId", 64),
		OrderLineID: r.optional("orderLineId", 64),
		TestFlag:    r.testFlag(),
	}
}

// Parser turns authentic calls into messages. The zero value is ready.
type Parser struct {
	// Location is where an expireTime is at home that names no zone; nil means
	// UTC. The pages do not say; compare with what Client.Query answers. The
	// times of GetLicenseAsync are documented to be in UTC and stay so.
	Location *time.Location
}

// ParseMessage is Parser{}.Parse.
func ParseMessage(cb Callback) (Message, error) { return Parser{}.Parse(cb) }

// Parse interprets a call of licence 2.0, online provisioning or the order
// notification; ParseV1 is for licence 1.0. Scalars are read as text, so testFlag 0 and "0" are
// one; null is absent; unknown fields are ignored. A *ResultError with 000002
// names the first field, in the order of the documented table, which is
// missing though mandatory, longer than the table allows (in characters), an
// object or array, or none of the documented values. A body which is no object
// and an activity which is not known are 000002 too.
//
// A time is yyyyMMddHHmmss, or 17 digits with milliseconds, which are cut off,
// or "yyyy-MM-dd HH:mm:ss" with or without a z (in either case, with or without
// a blank in front) which stands for UTC. Dates which the calendar does not
// have are refused.
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

// instant reads a time which, if it names no zone, is at home in loc.
func (r *fieldReader) instant(name string, maxLen int, loc *time.Location) time.Time {
	return r.readInstant(name, r.mandatory(name, maxLen), loc)
}

// optionalInstant is the zero time where the field is absent, null or empty.
func (r *fieldReader) optionalInstant(name string, maxLen int, loc *time.Location) time.Time {
	s := r.optional(name, maxLen)
	if s == "" {
		return time.Time{}
	}
	return r.readInstant(name, s, loc)
}

func (r *fieldReader) readInstant(name, s string, loc *time.Location) time.Time {
	t, ok := parseInstant(s, loc)
	if !ok {
		r.fail(name)
	}
	return t
}

// number reads an optional whole number that is not negative; absent is 0.
func (r *fieldReader) number(name string) int64 {
	s := r.optional(name, 18)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		r.fail(name)
		return 0
	}
	return int64(n)
}

// deviceFingerprint is bounded in bytes, and beyond the table: see
// MaxDeviceFingerprint.
func (r *fieldReader) deviceFingerprint() DeviceFingerprint {
	const name = "deviceFingerprint"
	s := r.optional(name, MaxDeviceFingerprint)
	if len(s) > MaxDeviceFingerprint {
		r.fail(name)
		return DeviceFingerprint{}
	}
	return NewDeviceFingerprint(s)
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
