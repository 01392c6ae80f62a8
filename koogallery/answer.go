package koogallery

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// CodeStatus is the state of a code in the open API. There is none for frozen
// or not activated.
type CodeStatus string

// The documented states. Another text is passed on as it came.
const (
	CodeAlive    CodeStatus = "ALIVE"
	CodeExpired  CodeStatus = "EXPIRED"
	CodeReleased CodeStatus = "RELEASED"
)

// Activation is what activating a code tells. Each member is zero where the
// answer has none that can be read: the code is active all the same.
type Activation struct {
	Status CodeStatus
	// Unread says that the answer, or the expiry in it, was there and could not
	// be read: a zero ExpireTime then does not mean that there is none.
	Unread bool
	// ExpireTime is only an estimate, in UTC; what Query says decides.
	ExpireTime time.Time
	ProductID  string
	OrderID    string
	// Amount is the order's quantity, 0 where absent or no whole number.
	Amount int64
}

// CodeInfo is the authoritative state of a code. Members but Status are zero
// where the answer has none.
type CodeInfo struct {
	Status CodeStatus
	// ExpireTime in UTC. Zero means that the answer names no expiry, as for a
	// purchase without a period; one that is there and cannot be read is an
	// error instead, so that it is not taken for "never".
	ExpireTime   time.Time
	ActivateTime time.Time // UTC; zero too where it cannot be read
	ProductID    string
	OrderID      string
	// Amount is the order's quantity, 0 where absent or no whole number.
	Amount int64
}

type activateRequest struct {
	License        string `json:"license"`
	RealEffectTime string `json:"real_effect_time,omitempty"`
}

type queryRequest struct {
	License string `json:"license"`
}

func effectTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(compactLayout)
}

// scalar is a JSON string, or the literal text of a number or boolean. Null,
// arrays and objects are empty: answers may be extended in any way.
type scalar string

func (s *scalar) UnmarshalJSON(b []byte) error {
	*s = ""
	switch b[0] {
	case '"':
		var text string
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		*s = scalar(text)
	case 'n', '[', '{':
	default:
		*s = scalar(b)
	}
	return nil
}

// details are the members of a code's description.
type details map[string]scalar

// first returns the first of several spellings that is there and not empty.
func (d details) first(names ...string) string {
	for _, n := range names {
		if d[n] != "" {
			return string(d[n])
		}
	}
	return ""
}

// expiry reads the expiry. For Query the stored pages do not show its name, so
// beside expire_time, which Activate documents, the spellings that other calls
// of the marketplace use or a mapper would make are read, in this order.
func (d details) expiry(loc *time.Location) (time.Time, bool) {
	return readTime(d.first("expire_time", "expireTime", "expire_date", "expireDate", "expired_time", "expiredTime",
		"expiry_time", "expiryTime", "expiration_time", "expirationTime", "expire_at", "expireAt"), loc)
}

func (d details) amount() int64 { return d.number("amount") }

// number is 0 where there is none, or no whole number that is not negative.
func (d details) number(names ...string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(d.first(names...)), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// readTime reads yyyyMMddHHmmss with or without milliseconds, "yyyy-MM-dd
// HH:mm:ss", RFC 3339 and Unix milliseconds (13 digits). An empty text is the
// zero time and fine.
func readTime(s string, loc *time.Location) (time.Time, bool) {
	if s = strings.TrimSpace(s); s == "" {
		return time.Time{}, true
	}
	if t, ok := parseCompact(s, loc); ok {
		return t, true
	}
	if loc == nil {
		loc = time.UTC
	}
	if t, err := time.ParseInLocation(time.DateTime, s, loc); err == nil {
		return t.UTC().Truncate(time.Second), true
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC().Truncate(time.Second), true
	}
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) == 13 && ms > 0 {
		return time.UnixMilli(ms).UTC().Truncate(time.Second), true
	}
	return time.Time{}, false
}

// readActivation reads data.license_code_info, a JSON document inside a string.
// A document that is not wrapped is read as well.
func readActivation(data json.RawMessage, loc *time.Location) Activation {
	var outer struct {
		Info json.RawMessage `json:"license_code_info"`
	}
	_ = json.Unmarshal(data, &outer) // nothing readable leaves zero members
	inner := []byte(outer.Info)
	var text string
	if json.Unmarshal(inner, &text) == nil {
		inner = []byte(text)
	}
	var d details
	malformed := json.Unmarshal(inner, &d) != nil
	expires, readable := d.expiry(loc)
	return Activation{
		Unread:     malformed || !readable,
		Status:     CodeStatus(d.first("status")),
		ExpireTime: expires,
		ProductID:  d.first("product_id", "productId"),
		OrderID:    d.first("order_id", "orderId"),
		Amount:     d.amount(),
	}
}

// codeInfo reads the state of one code. An expiry that is there and cannot be
// read is an error, so that it is not taken for "never".
func (d details) codeInfo(loc *time.Location) (CodeInfo, error) {
	if d.first("status") == "" {
		return CodeInfo{}, &malformedError{"data without a status"}
	}
	expires, ok := d.expiry(loc)
	if !ok {
		return CodeInfo{}, &malformedError{"expiry cannot be read"}
	}
	activated, _ := readTime(d.first("activate_time", "activateTime"), loc)
	return CodeInfo{
		Status:       CodeStatus(d.first("status")),
		ExpireTime:   expires,
		ActivateTime: activated,
		ProductID:    d.first("product_id", "productId"),
		OrderID:      d.first("order_id", "orderId"),
		Amount:       d.amount(),
	}, nil
}

// malformedError is a success whose content cannot be used: ErrUnavailable.
type malformedError struct{ why string }

func (e *malformedError) Error() string { return "marketplace: answer cannot be used: " + e.why }
func (e *malformedError) Unwrap() error { return ErrUnavailable }
