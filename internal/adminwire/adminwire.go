// Package adminwire is the admin API's form on the wire: paths, requests and
// answers, shared by the daemon's admin listener and by licensectl. Field names
// are part of the contract: what one command prints another accepts.
//
// Times are RFC 3339 in UTC; an absent time is null. Lists are never null.
package adminwire

import (
	"encoding/json"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Paths of the admin API. {id} is a licence id; a code never stands in a path,
// since paths are logged: Lookup turns it into an id.
const (
	Prefix         = "/admin/v1"
	PathOpenAPI    = "/admin/openapi.json"
	PathStatus     = Prefix + "/status"
	PathLicenses   = Prefix + "/licenses"
	PathLookup     = Prefix + "/lookup"
	PathLicense    = Prefix + "/licenses/{id}"
	PathRenew      = Prefix + "/licenses/{id}/renew"
	PathSuspend    = Prefix + "/licenses/{id}/suspend"
	PathResume     = Prefix + "/licenses/{id}/resume"
	PathRevoke     = Prefix + "/licenses/{id}/revoke"
	PathUndoRevoke = Prefix + "/licenses/{id}/undo-revoke"
	PathRelease    = Prefix + "/licenses/{id}/release"
	PathRequests   = Prefix + "/requests"
	PathEvents     = Prefix + "/events"
	PathKeys       = Prefix + "/keys"
	PathAnchors    = Prefix + "/keys/anchors"
	PathRotate     = Prefix + "/keys/rotate"
	PathProposal   = Prefix + "/keys/proposal"
	PathKeySet     = Prefix + "/keys/set"
)

// License is a licence as it is shown.
type License struct {
	ID           string         `json:"id"`
	Code         string         `json:"code,omitempty" doc:"The code in clear, only in the answer that issues it."`
	CodeLast4    string         `json:"code_last4"`
	Product      string         `json:"product"`
	Customer     string         `json:"customer"`
	Channel      string         `json:"channel"`
	Order        string         `json:"order"`
	State        license.State  `json:"state"`
	IssuedAt     *time.Time     `json:"issued_at"`
	ActivatedAt  *time.Time     `json:"activated_at"`
	ExpiresAt    *time.Time     `json:"expires_at" doc:"The end; null for a perpetual licence."`
	ReleasedAt   *time.Time     `json:"released_at"`
	RevokedAt    *time.Time     `json:"revoked_at"`
	RevokeReason string         `json:"revoke_reason,omitempty"`
	Holds        []string       `json:"holds"`
	Machines     int            `json:"machines"`
	Mode         license.Mode   `json:"mode"`
	Features     map[string]any `json:"features"`
	Installs     []Install      `json:"installs"`
	Revision     int64          `json:"revision"`
}

// Install is an install as it is shown.
type Install struct {
	ID          string               `json:"id"`
	State       license.InstallState `json:"state"`
	Seat        string               `json:"seat"`
	Environment string               `json:"environment,omitempty"`
	Bound       []license.Kind       `json:"bound" doc:"The kinds of components that it is bound to."`
	BoundAt     *time.Time           `json:"bound_at"`
	SeenAt      *time.Time           `json:"seen_at"`
	EndedAt     *time.Time           `json:"ended_at"`
	LeaseUntil  *time.Time           `json:"lease_until"`
	Forks       int                  `json:"forks"`
}

// NewLicense gives a licence its shown form, with its state at now.
func NewLicense(l license.License, installs []license.Install, now time.Time) License {
	out := License{
		ID: l.ID, CodeLast4: l.Code.Last4, Product: l.Product, Customer: l.Customer, Channel: l.Channel, Order: l.Order,
		State: l.StateAt(now), IssuedAt: instant(l.IssuedAt), ActivatedAt: instant(l.ActivatedAt),
		ExpiresAt: instant(l.ExpiresAt), ReleasedAt: instant(l.ReleasedAt), RevokedAt: instant(l.RevokedAt),
		RevokeReason: l.RevokeReason, Holds: l.Holds.Names(), Machines: l.Machines, Mode: l.Mode,
		Features: make(map[string]any, len(l.Features)), Installs: make([]Install, 0, len(installs)), Revision: l.Revision,
	}
	for name, f := range l.Features {
		out.Features[name] = f
	}
	for _, i := range installs {
		out.Installs = append(out.Installs, newInstall(i))
	}
	return out
}

func newInstall(i license.Install) Install {
	out := Install{
		ID: i.ID, State: i.State, Seat: i.Seat, Environment: i.Environment, Bound: []license.Kind{},
		BoundAt: instant(i.BoundAt), SeenAt: instant(i.SeenAt), EndedAt: instant(i.EndedAt),
		LeaseUntil: instant(i.LeaseUntil), Forks: i.Chain.Forks,
	}
	if i.Binding.Code != "" {
		out.Bound = append(out.Bound, license.KindCode)
	}
	for _, k := range license.Kinds() {
		if len(i.Binding.Components[k]) > 0 {
			out.Bound = append(out.Bound, k)
		}
	}
	if !i.LeaseUntil.Before(license.Forever) {
		out.LeaseUntil = nil
	}
	return out
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// LicenseList is a page of licences. Next is the cursor of the next page, ""
// at the end.
type LicenseList struct {
	Licenses []License `json:"licenses"`
	Next     string    `json:"next"`
}

// Issue asks for new licences. Exactly one of ExpiresAt, For and Perpetual is
// required; the rest follows the product where it is absent.
type Issue struct {
	Product   string         `json:"product" maxLength:"128"`
	Customer  string         `json:"customer,omitempty" maxLength:"256"`
	Order     string         `json:"order,omitempty" maxLength:"128"`
	ExpiresAt *time.Time     `json:"expires_at,omitempty"`
	For       string         `json:"for,omitempty" doc:"A duration from now, such as 365d or 36h." maxLength:"32"`
	Perpetual bool           `json:"perpetual,omitempty"`
	Machines  int            `json:"machines,omitempty" minimum:"0"`
	Features  map[string]any `json:"features,omitempty" doc:"Name to true, a number or a string; false takes a feature of the product away."`
	Count     int            `json:"count,omitempty" minimum:"0" maximum:"1000"`
}

// Renew asks for another end: an instant, a duration that is counted from the
// later of now and the present end, or none.
type Renew struct {
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	For       string     `json:"for,omitempty" maxLength:"32"`
	Perpetual bool       `json:"perpetual,omitempty"`
}

// Revoke says why.
type Revoke struct {
	Reason string `json:"reason" minLength:"1" maxLength:"512"`
}

// Lookup names a licence by id or by code.
type Lookup struct {
	Ref string `json:"ref" maxLength:"512"`
}

// Edited is a licence after a change, and whether there was one.
type Edited struct {
	License License `json:"license"`
	Changed bool    `json:"changed"`
}

// EventList is a page of the audit log.
type EventList struct {
	Events []Event `json:"events"`
	Next   string  `json:"next"`
}

// Event is an audit event as it is shown.
type Event struct {
	Seq     int64          `json:"seq"`
	At      time.Time      `json:"at"`
	Actor   Actor          `json:"actor"`
	Action  license.Action `json:"action"`
	License string         `json:"license,omitempty"`
	Install string         `json:"install,omitempty"`
	Product string         `json:"product,omitempty"`
	Request string         `json:"request,omitempty"`
	Before  map[string]any `json:"before,omitempty"`
	After   map[string]any `json:"after,omitempty"`
	Note    string         `json:"note,omitempty"`
}

// Actor is who caused an event.
type Actor struct {
	Kind license.ActorKind `json:"kind"`
	Name string            `json:"name,omitempty"`
	Addr string            `json:"addr,omitempty"`
}

// NewEvent gives an audit event its shown form.
func NewEvent(e license.AuditEvent) Event {
	return Event{
		Seq: e.Seq, At: e.At.UTC(), Actor: Actor(e.Actor), Action: e.Action, License: e.License, Install: e.Install,
		Product: e.Product, Request: e.Request, Before: e.Before, After: e.After, Note: e.Note,
	}
}

// Status is how the daemon is doing.
type Status struct {
	Version    string    `json:"version"`
	Now        time.Time `json:"now"`
	StartedAt  time.Time `json:"started_at"`
	Issuer     string    `json:"issuer"`
	Public     string    `json:"public" doc:"Address of the public listener."`
	Ops        string    `json:"ops" doc:"Address of the operations listener."`
	Store      string    `json:"store"`
	StoreBytes int64     `json:"store_bytes"`
	Products   []string  `json:"products"`
	Channels   []string  `json:"channels"`
	Keys       KeyHealth `json:"keys"`
	Ready      bool      `json:"ready"`
}

// KeyHealth is what the keeper of the keys has to know.
type KeyHealth struct {
	Seq            int64     `json:"seq"`
	ExpiresAt      time.Time `json:"expires_at"`
	Current        string    `json:"current"`
	HasNext        bool      `json:"has_next"`
	AnchorsPresent []string  `json:"anchors_present" doc:"Private halves of anchors that lie in the data folder and should be moved offline."`
}

// Key is one key of the key set.
type Key struct {
	ID        string    `json:"kid"`
	Role      string    `json:"role" doc:"current, next or retired"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Private   bool      `json:"private" doc:"Whether the private half is here."`
}

// KeyList is the key set as the daemon holds it.
type KeyList struct {
	Seq       int64     `json:"seq"`
	ExpiresAt time.Time `json:"expires_at"`
	Keys      []Key     `json:"keys"`
}

// Rotated says which key signs from now on.
type Rotated struct {
	Current string `json:"current"`
	Retired string `json:"retired"`
	HasNext bool   `json:"has_next"`
	// Leftover are files that hold private halves of retired keys and could not
	// be destroyed.
	Leftover []string `json:"leftover,omitempty" doc:"Private halves of retired keys that could not be destroyed; remove these files by hand."`
}

// Proposal is an unsigned key set, for an anchor to sign offline.
type Proposal struct {
	KeySet json.RawMessage `json:"key_set"`
}

// KeySet hands a signed key set in.
type KeySet struct {
	Token string `json:"token" maxLength:"65536"`
}
