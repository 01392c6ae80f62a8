package sandbox

import (
	"fmt"
	"slices"
	"strings"
)

// Dialect is how the marketplace speaks where its pages leave that open. Each
// member is one of the values which DialectSettings lists; empty means the
// first. A merchant should work with all of them.
type Dialect struct {
	BodyOrder     string `json:"body_order,omitempty"`
	SignedForm    string `json:"signed_form,omitempty"`
	SignatureCase string `json:"signature_case,omitempty"`
	ExpireTime    string `json:"expire_time,omitempty"`
	LicenseTime   string `json:"license_time,omitempty"`
	OrderExpiry   string `json:"order_expiry,omitempty"`
	CancelOrder   string `json:"cancel_order,omitempty"`
	OrderSuccess  string `json:"order_success,omitempty"`
}

// The values of a Dialect's members, the defaults first.
const (
	BodyOrderSorted = "sorted" // by name
	BodyOrderSample = "sample" // as the printed samples: only that of getLicenseAsync is not sorted

	SignedFormRaw       = "raw"       // the bytes of the body
	SignedFormCanonical = "canonical" // the body parsed, sorted and serialised again, as the vendor's sample does

	SignatureCaseLower = "lower"
	SignatureCaseUpper = "upper"

	ExpireTime14 = "14" // yyyyMMddHHmmss, by the table
	ExpireTime17 = "17" // with milliseconds, by the printed sample of refreshInstance

	LicenseTimeSample  = "sample"  // "2026-03-04 05:06:07 z"
	LicenseTimeUpper   = "upper"   // "2026-03-04 05:06:07 Z"
	LicenseTimeJoined  = "joined"  // "2026-03-04 05:06:07z"
	LicenseTimeCompact = "compact" // "20260304050607"

	OrderExpiryAll      = "all"       // every order of a period has its expireTime
	OrderExpiryNotRenew = "not-renew" // the lines of a RENEW order have none

	CancelOrderRenewal = "renewal" // refreshInstance names the renewal that is cancelled
	CancelOrderOwn     = "own"     // … or the order of the cancellation (UNSUBSCRIBE)

	OrderSuccessMKT = "MKT.0000" // of the sibling usage push
)

// DialectSetting is one member of a Dialect.
type DialectSetting struct {
	Name   string   // as in JSON
	Values []string // the default first
	Any    bool     // any other text of up to 16 characters is allowed too
	About  string
	Page   string // which leaves it open
}

// DialectSettings lists the members of a Dialect.
func DialectSettings() []DialectSetting {
	return []DialectSetting{
		{"body_order", []string{BodyOrderSorted, BodyOrderSample}, false, "order of the members of a callback's body", "…649255 prints an unsorted sample"},
		{"signed_form", []string{SignedFormRaw, SignedFormCanonical}, false, "what is signed where the two differ", "…649248 says body, older pages sort"},
		{"signature_case", []string{SignatureCaseLower, SignatureCaseUpper}, false, "hex digits of the signature", "the samples of …649248 and …649286 differ"},
		{"expire_time", []string{ExpireTime14, ExpireTime17}, false, "digits of expireTime in renewals of 2.0 and online", "table and sample of …649252 differ"},
		{"license_time", []string{LicenseTimeSample, LicenseTimeUpper, LicenseTimeJoined, LicenseTimeCompact}, false, "times of getLicenseAsync", "…649255 has a sample only"},
		{"order_expiry", []string{OrderExpiryAll, OrderExpiryNotRenew}, false, "whether the lines of a RENEW order have an expireTime", "…649350: optional"},
		{"cancel_order", []string{CancelOrderRenewal, CancelOrderOwn}, false, "the order which refreshInstance names for a cancelled renewal", "…649252 and the sibling page differ"},
		{"order_success", []string{OrderSuccessMKT, "000000", "CBC.0000", "92020000"}, true, "resultCode of a successful order query", "…649350 names none"},
	}
}

// field is the member of that name, or nil.
func (d *Dialect) field(name string) *string {
	return map[string]*string{
		"body_order": &d.BodyOrder, "signed_form": &d.SignedForm, "signature_case": &d.SignatureCase, "expire_time": &d.ExpireTime,
		"license_time": &d.LicenseTime, "order_expiry": &d.OrderExpiry, "cancel_order": &d.CancelOrder, "order_success": &d.OrderSuccess,
	}[name]
}

// Get is the member of that name in JSON, or nothing.
func (d Dialect) Get(name string) string {
	if f := d.field(name); f != nil {
		return *f
	}
	return ""
}

// Set sets the member of that name in JSON. It fails with ErrInvalid.
func (d *Dialect) Set(name, value string) error {
	f := d.field(name)
	if f == nil {
		var names []string
		for _, s := range DialectSettings() {
			names = append(names, s.Name)
		}
		return fmt.Errorf("dialect: %q is none of %s: %w", shorten(name, 32), strings.Join(names, ", "), ErrInvalid)
	}
	*f = value
	_, err := d.complete()
	return err
}

// complete checks a dialect and fills in its defaults.
func (d Dialect) complete() (Dialect, error) {
	for _, s := range DialectSettings() {
		f := d.field(s.Name)
		switch {
		case *f == "":
			*f = s.Values[0]
		case slices.Contains(s.Values, *f) || s.Any && characters(*f) <= 16:
		default:
			return d, fmt.Errorf("dialect: %s: %q is none of %s: %w", s.Name, shorten(*f, 32), strings.Join(s.Values, ", "), ErrInvalid)
		}
	}
	return d, nil
}

// Dialect is how the sandbox speaks now, with its defaults.
func (s *Sandbox) Dialect() Dialect {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dialect
}

// SetDialect changes how the sandbox speaks: of signatures and the order of
// members from the next attempt on, of times and orders from the next message.
func (s *Sandbox) SetDialect(d Dialect) error {
	d, err := d.complete()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialect = d
	return nil
}
