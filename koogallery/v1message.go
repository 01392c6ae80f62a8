package koogallery

import (
	"strconv"
	"time"
)

// The activities of licence 1.0. The literal of the expiry is not known for
// sure: "expireInstance", which the sibling interface has, is read as
// ActivityV1ExpireLicense too.
const (
	ActivityV1GetLicense     Activity = "getLicense"
	ActivityV1RefreshLicense Activity = "refreshLicense"
	ActivityV1ExpireLicense  Activity = "expireLicense"
	ActivityV1ReleaseLicense Activity = "releaseLicense"
)

// PeriodType is the unit of a subscription.
type PeriodType string

// The documented units. Another text is passed on as it came.
const (
	PeriodYear  PeriodType = "year"
	PeriodMonth PeriodType = "month"
)

// V1GetLicense asks for the licence of a new purchase. The answer has to hold
// a License and an InstanceID, and the same ones for every call with the same
// OrderID. On failure it is repeated hourly for three hours.
type V1GetLicense struct {
	CustomerID   string // the buyer's account
	CustomerName string
	BusinessID   string // another one in every call; that of the first call is advised as the instance's id
	OrderID      string
	SKUCode      string // stays the same over renewals
	ProductID    string
	ExpireTime   time.Time // UTC, an estimate; zero for a purchase without a period
	PeriodType   PeriodType
	Amount       int64 // the quantity; 0 if the call has none

	// The rest of the table is not known for licences; these are read as the
	// sibling interface has them, and empty where that fails.

	PeriodNumber int64
	MobilePhone  PersonalData // usually encrypted, see PersonalData.Decrypt
	Email        PersonalData // usually encrypted
	TestFlag     bool
}

// V1RefreshLicense sets the expiry of an instance after a renewal or the end of
// a trial. If the instance is frozen this ends it: there is no other message
// which does. It is sent once.
type V1RefreshLicense struct {
	OrderID      string // a new order, not that of the purchase
	InstanceID   string
	ProductID    string    // only where the kind of period changed
	ExpireTime   time.Time // UTC, whole seconds
	PeriodType   PeriodType
	PeriodNumber int64
	TestFlag     bool
}

// V1ExpireLicense freezes an instance. It is sent once.
type V1ExpireLicense struct {
	OrderID    string // of the purchase
	InstanceID string
	TestFlag   bool
}

// V1ReleaseLicense ends an instance for good. It is sent once.
type V1ReleaseLicense struct {
	OrderID    string // of the purchase
	InstanceID string
	TestFlag   bool
}

// Activity is ActivityV1GetLicense.
func (V1GetLicense) Activity() Activity { return ActivityV1GetLicense }

// Test is TestFlag.
func (m V1GetLicense) Test() bool { return m.TestFlag }

// Activity is ActivityV1RefreshLicense.
func (V1RefreshLicense) Activity() Activity { return ActivityV1RefreshLicense }

// Test is TestFlag.
func (m V1RefreshLicense) Test() bool { return m.TestFlag }

// Activity is ActivityV1ExpireLicense, whatever the call named it.
func (V1ExpireLicense) Activity() Activity { return ActivityV1ExpireLicense }

// Test is TestFlag.
func (m V1ExpireLicense) Test() bool { return m.TestFlag }

// Activity is ActivityV1ReleaseLicense.
func (V1ReleaseLicense) Activity() Activity { return ActivityV1ReleaseLicense }

// Test is TestFlag.
func (m V1ReleaseLicense) Test() bool { return m.TestFlag }

// ParseV1Message is Parser{}.ParseV1.
func ParseV1Message(call V1Call) (Message, error) { return Parser{}.ParseV1(call) }

// ParseV1 interprets a call of licence 1.0, by the rules of Parse. An empty
// parameter is an absent one.
func (p Parser) ParseV1(call V1Call) (Message, error) {
	if call.body == nil {
		return nil, refuse(ResultInvalidParam, "", ErrPayload)
	}
	r := fieldReader{payload: *call.body, loc: p.Location}
	var msg Message
	switch call.Field("activity") {
	case string(ActivityV1GetLicense):
		msg = decodeV1GetLicense(&r)
	case string(ActivityV1RefreshLicense):
		msg = decodeV1RefreshLicense(&r)
	case string(ActivityV1ExpireLicense), "expireInstance":
		msg = V1ExpireLicense{
			OrderID: r.mandatory("orderId", 64), InstanceID: r.mandatory("instanceId", 64), TestFlag: r.testFlag(),
		}
	case string(ActivityV1ReleaseLicense):
		msg = V1ReleaseLicense{
			OrderID: r.mandatory("orderId", 64), InstanceID: r.mandatory("instanceId", 64), TestFlag: r.testFlag(),
		}
	default:
		return nil, refuse(ResultInvalidParam, "activity", ErrActivity)
	}
	if r.err != nil {
		return nil, r.err
	}
	return msg, nil
}

func decodeV1GetLicense(r *fieldReader) Message {
	m := V1GetLicense{
		CustomerID:   r.mandatory("customerId", 100),
		CustomerName: r.optional("customerName", 64),
		BusinessID:   r.mandatory("businessId", 64),
		OrderID:      r.mandatory("orderId", 64),
		SKUCode:      r.optional("skuCode", 64),
		ProductID:    r.mandatory("productId", 64),
		ExpireTime:   r.optionalInstant("expireTime", 20, r.loc),
		PeriodType:   PeriodType(r.optional("periodType", 10)),
		Amount:       r.number("amount"),
		MobilePhone:  NewPersonalData(r.payload.lookup("mobilePhone").value),
		Email:        NewPersonalData(r.payload.lookup("email").value),
		TestFlag:     r.testFlag(),
	}
	// Not in the known part of the table, so nothing is refused for it.
	if n, err := strconv.ParseUint(r.payload.lookup("periodNumber").value, 10, 31); err == nil {
		m.PeriodNumber = int64(n)
	}
	return m
}

func decodeV1RefreshLicense(r *fieldReader) Message {
	return V1RefreshLicense{
		OrderID:      r.mandatory("orderId", 64),
		InstanceID:   r.mandatory("instanceId", 64),
		ProductID:    r.optional("productId", 64),
		ExpireTime:   r.instant("expireTime", 20, r.loc),
		PeriodType:   PeriodType(r.optional("periodType", 10)),
		PeriodNumber: r.number("periodNumber"),
		TestFlag:     r.testFlag(),
	}
}
