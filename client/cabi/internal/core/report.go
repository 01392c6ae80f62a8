package core

import (
	"encoding/json"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
)

// report is the form of licensed_status_json.
type report struct {
	Usable       bool                `json:"usable"`
	Text         string              `json:"text"`
	Phase        license.Phase       `json:"phase"`
	Reason       license.Reason      `json:"reason"`
	State        license.State       `json:"state"`
	Enforcement  license.Enforcement `json:"enforcement"`
	Clock        client.ClockState   `json:"clock"`
	RefreshDue   bool                `json:"refresh_due"`
	At           int64               `json:"at"`
	NotBefore    int64               `json:"not_before"`
	WarnAt       int64               `json:"warn_at"`
	ExpiresAt    int64               `json:"expires_at"`
	BlockAt      int64               `json:"block_at"`
	RefreshAfter int64               `json:"refresh_after"`
	LeaseUntil   int64               `json:"lease_until"`
	ListedAt     int64               `json:"listed_at"`
	Features     license.Features    `json:"features"`
	License      *held               `json:"license"`
	Warnings     []warning           `json:"warnings,omitzero"`
}

// held is what a licence says of itself.
type held struct {
	ID        string       `json:"id"` // of this very issue
	LicenseID string       `json:"license_id"`
	InstallID string       `json:"install_id"`
	Product   string       `json:"product"`
	Customer  string       `json:"customer"`
	Order     string       `json:"order"`
	Channel   string       `json:"channel"`
	CodeLast4 string       `json:"code_last4"`
	Machines  int          `json:"machines"`
	Mode      license.Mode `json:"mode"`
	Trial     bool         `json:"trial"`
	IssuedAt  int64        `json:"issued_at"`
}

// warning is one of Guard.Warnings.
type warning struct {
	Code   Code   `json:"code"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

func newReport(s client.Status, l *client.License) report {
	r := report{
		Usable: s.Usable, Text: s.String(), Phase: s.Phase, Reason: s.Reason, State: s.State, Enforcement: s.Enforcement,
		Clock: s.Clock, RefreshDue: s.RefreshDue(), At: Instant(s.At), NotBefore: Instant(s.NotBefore), WarnAt: Instant(s.WarnAt),
		ExpiresAt: Instant(s.ExpiresAt), BlockAt: Instant(s.BlockAt), RefreshAfter: Instant(s.RefreshAfter),
		LeaseUntil: Instant(s.LeaseUntil), ListedAt: Instant(s.ListedAt), Features: s.Features,
	}
	if r.Features == nil {
		r.Features = license.Features{}
	}
	if l != nil {
		c := l.Claims()
		r.License = &held{
			ID: c.ID, LicenseID: c.LicenseID, InstallID: c.InstallID, Product: c.Product, Customer: c.Customer, Order: c.Order,
			Channel: c.Channel, CodeLast4: c.CodeLast4, Machines: c.Machines, Mode: c.Mode, Trial: c.Trial, IssuedAt: Instant(c.Dates.IssuedAt),
		}
	}
	return r
}

// GuardJSON is all that is known of an install.
func GuardJSON(g *client.Guard) (string, error) {
	r := newReport(g.Status(), g.License())
	r.Warnings = []warning{}
	for _, err := range g.Warnings() {
		d := Describe(err)
		r.Warnings = append(r.Warnings, warning{d.Code, d.Reason, d.Detail})
	}
	text, err := json.Marshal(r)
	return string(text), err
}

// LicenseJSON is all that is known of a licence at an instant.
func LicenseJSON(handle uint64, now int64) (string, error) {
	l, ok := licenseOf(handle)
	if !ok {
		return "", UnknownHandle()
	}
	text, err := json.Marshal(newReport(l.Check(instant(now)), l))
	return string(text), err
}
