package koogallery

import "time"

// The activities of online provisioning, and the order notification.
const (
	ActivityNewInstance          Activity = "newInstance"
	ActivityRefreshInstance      Activity = "refreshInstance"
	ActivityUpdateInstanceStatus Activity = "updateInstanceStatus"
	ActivityReleaseInstance      Activity = "releaseInstance"
	ActivityGetLicenseAsync      Activity = "getLicenseAsync"
	ActivityOrderNotify          Activity = "orderNotify"
)

// InstanceActivities returns the five activities of online provisioning, for
// Handler.Activities.
func InstanceActivities() []Activity {
	return []Activity{
		ActivityNewInstance, ActivityRefreshInstance, ActivityUpdateInstanceStatus, ActivityReleaseInstance, ActivityGetLicenseAsync,
	}
}

// Scenes which only a RefreshInstance has.
const (
	SceneTrialToFormal Scene = "TRIAL_TO_FORMAL"
	SceneRenewalChange Scene = "RENEWAL_CHANGE" // from the newer page of the sibling interface
)

// NewInstance creates an instance for a purchase (access guide …649251). The
// answer has to hold an InstanceID, and the same one for every call with the
// same OrderID and OrderLineID. Product, quantity and dates come from
// Client.Order.
type NewInstance struct {
	OrderID     string
	OrderLineID string
	BusinessID  string // another one in every call, repeats included; that of the first call is advised as the instance's id
	TestFlag    bool
}

// RefreshInstance sets the expiry of an instance (access guide …649252). It is
// by value: repeating it changes nothing, and for a cancelled renewal the
// expiry goes back.
type RefreshInstance struct {
	Scene       Scene
	OrderID     string // of the conversion or renewal, or of the renewal that is cancelled
	OrderLineID string
	InstanceID  string
	ProductID   string    // only where the kind of period changes
	ExpireTime  time.Time // UTC, whole seconds
	TestFlag    bool
}

// UpdateInstanceStatus freezes an instance or lifts that (access guide
// …649253).
type UpdateInstanceStatus struct {
	InstanceID string
	Status     Status
	TestFlag   bool
}

// ReleaseInstance ends an instance for good (access guide …649254). Releasing
// it again is a success.
type ReleaseInstance struct {
	InstanceID  string
	OrderID     string // the unsubscription's order, if that is the cause
	OrderLineID string
	TestFlag    bool
}

// GetLicenseAsync asks for a licence of an instance, for one device if
// DeviceFingerprint is set (access guide …649255). The answer holds no licence:
// Client.Upload delivers it with the EventID, usually later than the answer
// ResultInProgress.
//
// Calls with the same InstanceID, EventID and DeviceFingerprint are one
// application and get one licence. A merchant refuses what the order does not
// allow with ResultQuotaUsed, ResultOutsidePeriod, ResultExpiryRequired (a
// period product without an ExpireTime) and ResultDeviceRequired.
type GetLicenseAsync struct {
	InstanceID        string
	EventID           string
	EffectiveTime     time.Time         // UTC, whole seconds
	ExpireTime        time.Time         // UTC, whole seconds; zero if the call has none
	DeviceFingerprint DeviceFingerprint // may be empty
	TestFlag          bool
}

// OrderNotify tells that an order was paid, renewed, changed or unsubscribed;
// Client.Order reads it. It is optional and open to every kind of product.
type OrderNotify struct {
	OrderID     string
	OrderLineID string
	TestFlag    bool
}

// Activity is ActivityNewInstance.
func (NewInstance) Activity() Activity { return ActivityNewInstance }

// Test is TestFlag.
func (m NewInstance) Test() bool { return m.TestFlag }

// Activity is ActivityRefreshInstance.
func (RefreshInstance) Activity() Activity { return ActivityRefreshInstance }

// Test is TestFlag.
func (m RefreshInstance) Test() bool { return m.TestFlag }

// Activity is ActivityUpdateInstanceStatus.
func (UpdateInstanceStatus) Activity() Activity { return ActivityUpdateInstanceStatus }

// Test is TestFlag.
func (m UpdateInstanceStatus) Test() bool { return m.TestFlag }

// Activity is ActivityReleaseInstance.
func (ReleaseInstance) Activity() Activity { return ActivityReleaseInstance }

// Test is TestFlag.
func (m ReleaseInstance) Test() bool { return m.TestFlag }

// Activity is ActivityGetLicenseAsync.
func (GetLicenseAsync) Activity() Activity { return ActivityGetLicenseAsync }

// Test is TestFlag.
func (m GetLicenseAsync) Test() bool { return m.TestFlag }

// Activity is ActivityOrderNotify.
func (OrderNotify) Activity() Activity { return ActivityOrderNotify }

// Test is TestFlag.
func (m OrderNotify) Test() bool { return m.TestFlag }

func decodeNewInstance(r *fieldReader) Message {
	return NewInstance{
		OrderID:     r.mandatory("orderId", 64),
		OrderLineID: r.mandatory("orderLineId", 64),
		BusinessID:  r.mandatory("businessId", 64),
		TestFlag:    r.testFlag(),
	}
}

func decodeRefreshInstance(r *fieldReader) Message {
	return RefreshInstance{
		Scene: Scene(r.oneOf("scene", 64, string(SceneTrialToFormal), string(SceneRenewal),
			string(SceneUnsubscribeRenewalPeriod), string(SceneRenewalChange))),
		OrderID:     r.mandatory("orderId", 64),
		OrderLineID: r.mandatory("orderLineId", 64),
		InstanceID:  r.mandatory("instanceId", 64),
		ProductID:   r.optional("productId", 64),
		ExpireTime:  r.instant("expireTime", 20, r.loc),
		TestFlag:    r.testFlag(),
	}
}

func decodeUpdateInstanceStatus(r *fieldReader) Message {
	return UpdateInstanceStatus{
		InstanceID: r.mandatory("instanceId", 64),
		Status:     Status(r.oneOf("status", 32, string(StatusFreeze), string(StatusUnfreeze))),
		TestFlag:   r.testFlag(),
	}
}

func decodeReleaseInstance(r *fieldReader) Message {
	return ReleaseInstance{
		InstanceID:  r.mandatory("instanceId", 64),
		OrderID:     r.optional("orderId", 64),
		OrderLineID: r.optional("orderLineId", 64),
		TestFlag:    r.testFlag(),
	}
}

// decodeGetLicenseAsync reads both times in UTC, which the table states,
// whatever Parser.Location is.
func decodeGetLicenseAsync(r *fieldReader) Message {
	return GetLicenseAsync{
		InstanceID:        r.mandatory("instanceId", 64),
		EffectiveTime:     r.instant("effectiveTime", 32, nil),
		ExpireTime:        r.optionalInstant("expireTime", 32, nil),
		EventID:           r.mandatory("eventId", 64),
		DeviceFingerprint: r.deviceFingerprint(),
		TestFlag:          r.testFlag(),
	}
}

// decodeOrderNotify does not insist on the order line: no table of this message
// is known, only a sample.
func decodeOrderNotify(r *fieldReader) Message {
	return OrderNotify{
		OrderID:     r.mandatory("orderId", 64),
		OrderLineID: r.optional("orderLineId", 64),
		TestFlag:    r.testFlag(),
	}
}
