// Package adminwire is the admin API's form on the wire: paths, requests and
// answers, shared by the daemon's admin listener and by licensectl. Field names
// are part of the contract: what one command prints another accepts.
//
// Times are RFC 3339 in UTC; an absent time is null. Lists are never null.
package adminwire

import (
	"encoding/json"
	"strconv"
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
	PathBulk       = Prefix + "/licenses/bulk"
	PathLookup     = Prefix + "/lookup"
	PathLicense    = Prefix + "/licenses/{id}"
	PathRenew      = Prefix + "/licenses/{id}/renew"
	PathEdit       = Prefix + "/licenses/{id}/edit"
	PathSuspend    = Prefix + "/licenses/{id}/suspend"
	PathResume     = Prefix + "/licenses/{id}/resume"
	PathRevoke     = Prefix + "/licenses/{id}/revoke"
	PathUndoRevoke = Prefix + "/licenses/{id}/undo-revoke"
	PathRelease    = Prefix + "/licenses/{id}/release"
	PathUpgrade    = Prefix + "/licenses/{id}/upgrade"
	PathRemove     = Prefix + "/licenses/{id}/installs/{install}/remove"
	PathTransfer   = Prefix + "/licenses/{id}/transfer"
	PathRequests   = Prefix + "/requests"
	PathEvents     = Prefix + "/events"
	PathKeys       = Prefix + "/keys"
	PathAnchors    = Prefix + "/keys/anchors"
	PathRotate     = Prefix + "/keys/rotate"
	PathProposal   = Prefix + "/keys/proposal"
	PathKeySet     = Prefix + "/keys/set"
	PathClock      = Prefix + "/clock/accept"
)

// License is a licence as it is shown.
type License struct {
	ID           string        `json:"id"`
	Code         string        `json:"code,omitempty" doc:"The code in clear, only in the answer that issues it."`
	CodeLast4    string        `json:"code_last4"`
	Product      string        `json:"product"`
	Customer     string        `json:"customer"`
	Channel      string        `json:"channel"`
	Order        string        `json:"order"`
	Instance     string        `json:"instance,omitempty" doc:"What a marketplace calls the purchase by (online provisioning)."`
	State        license.State `json:"state"`
	IssuedAt     *time.Time    `json:"issued_at"`
	ActivatedAt  *time.Time    `json:"activated_at"`
	ExpiresAt    *time.Time    `json:"expires_at" doc:"The end; null for a perpetual licence."`
	OwnEnd       bool          `json:"own_end,omitempty" doc:"The merchant has set the end of what a marketplace sold."`
	ReleasedAt   *time.Time    `json:"released_at"`
	RevokedAt    *time.Time    `json:"revoked_at"`
	RevokeReason string        `json:"revoke_reason,omitempty"`
	Holds        []string      `json:"holds"`
	Machines     int           `json:"machines"`
	InUse        int           `json:"in_use" doc:"How many machines, or floating installs whose lease runs, use it now."`
	Overage      *int          `json:"overage" doc:"How many more than machines are let in, of its own; null follows the product."`
	// OverageInForce is what counts, be it the licence's or the product's.
	OverageInForce *int           `json:"overage_in_force" doc:"How many more are let in; null where its product is not configured any more."`
	Trial          bool           `json:"trial" doc:"It is to try the product out."`
	Mode           license.Mode   `json:"mode"`
	Features       map[string]any `json:"features"`
	Phases         Phases         `json:"phases" doc:"What this licence has of its own; what is absent follows the product."`
	// PhasesInForce is what counts, be it the licence's or the product's.
	PhasesInForce *Phases    `json:"phases_in_force" doc:"What counts for it; null where its product is not configured any more."`
	Forks         int        `json:"forks" doc:"How many forks were recorded of its installs: signs of copies."`
	ForkedAt      *time.Time `json:"forked_at" doc:"When the last was; null where there was none."`
	Installs      []Install  `json:"installs"`
	Revision      int64      `json:"revision"`
}

// Install is an install as it is shown.
type Install struct {
	ID          string               `json:"id"`
	State       license.InstallState `json:"state"`
	Kind        license.InstallKind  `json:"kind,omitempty" doc:"text: the licence in the text that a purchase was answered with, which is on no machine and counts for none; else absent."`
	Seat        string               `json:"seat" doc:"Installs on one machine share one; empty where it is on none."`
	Environment string               `json:"environment,omitempty"`
	Bound       []license.Kind       `json:"bound" doc:"The kinds of components that it is bound to."`
	BoundAt     *time.Time           `json:"bound_at"`
	SeenAt      *time.Time           `json:"seen_at"`
	EndedAt     *time.Time           `json:"ended_at"`
	LeaseUntil  *time.Time           `json:"lease_until"`
	Forks       int                  `json:"forks" doc:"How many forks were recorded of it."`
	ForkKinds   []Fork               `json:"fork_kinds" doc:"The same by kind."`
	Drift       *Drift               `json:"drift" doc:"How its binding followed its machine; null where it did not have to."`
	// Reactivation counts within one lease up to when it was bound.
	Reactivation int `json:"reactivation" doc:"How often its machine had been activated again within one lease when it was bound, this time included."`
	// Status is its place in the status lists.
	Status *StatusPlace `json:"status" doc:"Its place in the status lists; null for an install of before there were any."`
}

// OnMachine is license.Install.OnMachine.
func (i Install) OnMachine() bool { return license.Install{Kind: i.Kind, Seat: i.Seat}.OnMachine() }

// StatusPlace is the place of an install in the status lists.
type StatusPlace struct {
	List  string `json:"list" doc:"Id of the list, the last part of its address."`
	Index int    `json:"index"`
}

// Fork is how often forks of one kind were recorded of an install.
type Fork struct {
	Kind  license.ForkKind `json:"kind" doc:"chain: two lines of one install; retired: seen again after its end; reactivated: activated again too often; shared: another machine uses its seat."`
	Count int              `json:"count"`
	At    time.Time        `json:"at" doc:"When the last was."`
}

// Drift is how the binding of an install followed its machine.
type Drift struct {
	Count    int            `json:"count" doc:"How often it was bound anew."`
	At       time.Time      `json:"at" doc:"The last time."`
	Kinds    []license.Kind `json:"kinds" doc:"What was bound anew then."`
	Unproven int            `json:"unproven" doc:"How many parts are so new that they do not prove yet that it is the same machine."`
}

// NewLicense gives a licence its shown form, with its state at now.
func NewLicense(l license.License, installs []license.Install, now time.Time) License {
	out := License{
		ID: l.ID, CodeLast4: l.Code.Last4, Product: l.Product, Customer: l.Customer, Channel: l.Channel, Order: l.Order, Instance: l.Instance, OwnEnd: l.OwnEnd,
		State: l.StateAt(now), IssuedAt: instant(l.IssuedAt), ActivatedAt: instant(l.ActivatedAt),
		ExpiresAt: instant(l.ExpiresAt), ReleasedAt: instant(l.ReleasedAt), RevokedAt: instant(l.RevokedAt),
		RevokeReason: l.RevokeReason, Holds: l.Holds.Names(), Machines: l.Machines, Mode: l.Mode,
		InUse: l.SeatsTaken(installs, now), Overage: l.Overage, Trial: l.Trial,
		Features: make(map[string]any, len(l.Features)), Forks: l.Forks, ForkedAt: instant(l.ForkedAt),
		Installs: make([]Install, 0, len(installs)), Revision: l.Revision,
	}
	if l.Phases.Warn != nil {
		out.Phases.Warn = duration(*l.Phases.Warn)
	}
	if l.Phases.Grace != nil {
		out.Phases.Grace = duration(*l.Phases.Grace)
	}
	if l.Phases.Lease != nil {
		out.Phases.Lease = duration(*l.Phases.Lease)
	}
	if l.Phases.Refresh != nil {
		out.Phases.Refresh = duration(*l.Phases.Refresh)
	}
	out.Phases.Enforcement = l.Phases.Enforcement
	for name, f := range l.Features {
		out.Features[name] = f
	}
	for _, i := range installs {
		out.Installs = append(out.Installs, NewInstall(i))
	}
	return out
}

// NewInstall gives an install its form.
func NewInstall(i license.Install) Install {
	out := Install{
		ID: i.ID, State: i.State, Seat: i.Seat, Environment: i.Environment, Bound: []license.Kind{},
		BoundAt: instant(i.BoundAt), SeenAt: instant(i.SeenAt), EndedAt: instant(i.EndedAt),
		LeaseUntil: instant(i.LeaseUntil), Forks: i.Forks.Total(), ForkKinds: []Fork{}, Reactivation: i.Reactivation,
	}
	if !i.OnMachine() {
		out.Kind = license.InstallText
	}
	for _, kind := range license.ForkKinds() {
		if f := i.Forks[kind]; f.Count > 0 {
			out.ForkKinds = append(out.ForkKinds, Fork{Kind: kind, Count: f.Count, At: f.At.UTC()})
		}
	}
	if d := i.Drifted; d.Count > 0 {
		out.Drift = &Drift{Count: d.Count, At: d.At.UTC(), Kinds: d.Kinds, Unproven: len(i.Unproven)}
	}
	if i.Status != (license.StatusRef{}) {
		out.Status = &StatusPlace{List: i.Status.List, Index: i.Status.Index}
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

// Phases are about the time around the end of a licence, and about its leases.
type Phases struct {
	Warn        string              `json:"warn,omitempty" maxLength:"32" doc:"How long before the end the warning begins, such as 30d."`
	Grace       string              `json:"grace,omitempty" maxLength:"32" doc:"How long after the end the block comes, such as 15d."`
	Enforcement license.Enforcement `json:"enforcement,omitempty" maxLength:"16" doc:"What the block means: block, degrade or advisory."`
	Lease       string              `json:"lease,omitempty" maxLength:"32" doc:"How long an install may go without calling home, such as 60d; 0s for ever."`
	Refresh     string              `json:"refresh,omitempty" maxLength:"32" doc:"When it should call home, such as 12h."`
}

// FollowProduct is the value with which an Edit takes away what a licence has of
// its own.
const FollowProduct = "product"

// NewPhases gives the phases of a schedule their shown form.
func NewPhases(s license.Schedule) *Phases {
	return &Phases{
		Warn: duration(s.Warn), Grace: duration(s.Grace), Enforcement: s.Enforcement, Lease: duration(s.Lease), Refresh: duration(s.Refresh),
	}
}

// duration writes whole days as days.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return d.String()
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
	Phases    Phases         `json:"phases,omitzero" doc:"Instead of those of the product."`
	Count     int            `json:"count,omitempty" minimum:"0" maximum:"1000"`
	Overage   *int           `json:"overage,omitempty" minimum:"0" maximum:"1000000" doc:"How many machines more are let in, instead of the product's."`
	Trial     bool           `json:"trial,omitempty" doc:"To try the product out. Without an end it lasts as long as the product says."`
}

// Renew asks for another end: an instant, a duration that is counted from the
// later of now and the present end, or none.
type Renew struct {
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	For       string     `json:"for,omitempty" maxLength:"32"`
	Perpetual bool       `json:"perpetual,omitempty"`
	Force     bool       `json:"force,omitempty" doc:"Also longer after the end than the product lets it."`
}

// Edit asks for other phases, or another overage. What is absent stays;
// FollowProduct takes away what the licence has of its own.
type Edit struct {
	Phases  Phases `json:"phases,omitzero"`
	Overage string `json:"overage,omitempty" maxLength:"16" doc:"How many machines more are let in, or product."`
}

// Revoke says why.
type Revoke struct {
	Reason string `json:"reason" minLength:"1" maxLength:"512"`
}

// Remove says why an install is ended.
type Remove struct {
	Reason string `json:"reason,omitempty" maxLength:"512"`
}

// Removed is an install after it was to be ended, and whether it was just now.
type Removed struct {
	Install Install `json:"install"`
	Changed bool    `json:"changed"`
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
	Erased  bool           `json:"erased,omitempty" doc:"Personal data was taken out of it."`
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
		Product: e.Product, Request: e.Request, Before: e.Before, After: e.After, Note: e.Note, Erased: e.Erased,
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
	// StoreFindings is what a database that is the store says of itself.
	StoreFindings []StoreFinding `json:"store_findings" doc:"What the database says of itself; null where the store is a file."`
	// Daemons are those on the store, the one that answers first.
	Daemons  []DaemonLine `json:"daemons" doc:"The daemons on the database, the one that answers first; null where the store is a file."`
	Products []string     `json:"products"`
	Channels []string     `json:"channels"`
	Keys     KeyHealth    `json:"keys"`
	Clock    Clock        `json:"clock"`
	TimeZone string       `json:"time_zone" doc:"The zone in which a date without a time is meant."`
	DataDir  string       `json:"data_dir" doc:"The data folder, on the daemon's machine."`
	Disk     *Disk        `json:"disk" doc:"The disk of the data folder; null where it is not known."`
	Ready    bool         `json:"ready"`
	NotReady string       `json:"not_ready,omitempty" doc:"Why requests cannot be answered."`
	// Marketplaces holds the entries in one line each.
	Marketplaces []MarketplaceLine `json:"marketplaces"`
	// Webhooks holds the endpoints that are told about events in one line each.
	Webhooks []WebhookLine `json:"webhooks"`
	// TransfersWaiting is how many moves to another machine the staff has to decide about.
	TransfersWaiting int `json:"transfers_waiting" doc:"How many moves to another machine wait for the staff."`
	// Restore is there while the daemon is in reconcile mode.
	Restore      *RestoreLine `json:"restore" doc:"Reconcile mode, in which a restored store finds out what it lost; null where it is not open."`
	MarksFailing string       `json:"marks_failing,omitempty" doc:"Why the marks beside the store cannot be written."`
	Backups      *Backups     `json:"backups" doc:"The backups that the daemon makes by itself; null where none are configured."`
}

// StoreFinding is something about the database that is the store.
type StoreFinding struct {
	Level  string `json:"level" doc:"ok, warn or fail."`
	Detail string `json:"detail"`
	Mend   string `json:"mend,omitempty" doc:"What to do about it."`
}

// DaemonLine is a daemon on the store. It is gone when it has stopped, or written
// nothing for a minute.
type DaemonLine struct {
	ID         string    `json:"id" doc:"Another one each time that the daemon is started."`
	Host       string    `json:"host" doc:"Name of its machine."`
	Version    string    `json:"version"`
	StartedAt  time.Time `json:"started_at" doc:"By its own clock, as seen_at."`
	SeenAt     time.Time `json:"seen_at" doc:"When it last wrote that it is alive, which it does every 10 seconds."`
	Self       bool      `json:"self" doc:"It is the one that answers."`
	ClockAhead int64     `json:"clock_ahead_ms" doc:"By how many milliseconds at least its clock is ahead of that of the one that answers, negative: behind; 0 where no difference can be seen."`
}

// Clock is how the daemon's clock stands to the newest change that was made
// under a clock that it trusted, and to those of the other daemons on its store.
type Clock struct {
	State      string     `json:"state" doc:"trusted, behind or ahead of the last record, or apart: ahead of all other daemons on the store; nothing is signed unless it is trusted."`
	Now        time.Time  `json:"now"`
	LastRecord *time.Time `json:"last_record"`
	KeyFrom    *time.Time `json:"key_from" doc:"From when on the signing key is valid; before, nothing can be confirmed."`
	OthersNow  *time.Time `json:"others_now,omitempty" doc:"Apart: what the other daemons on the store show."`
	Others     string     `json:"others,omitempty" doc:"Apart: the hosts where they run, with commas in between."`
}

// Trusted is the Clock.State in which the daemon signs, Apart the one in which other
// daemons on its store have another time.
const (
	Trusted = "trusted"
	Apart   = "apart"
)

// AcceptClock confirms the clock that an administrator was shown.
type AcceptClock struct {
	Shown time.Time `json:"shown" doc:"What the clock showed; where it has been set since, the answer is a conflict."`
}

// ClockAccepted is the clock before and after it was confirmed.
type ClockAccepted struct {
	Before  Clock `json:"before"`
	After   Clock `json:"after"`
	Changed bool  `json:"changed"`
}

// Disk is the space on a disk, in bytes.
type Disk struct {
	Free  uint64 `json:"free" doc:"What the daemon may still use."`
	Total uint64 `json:"total"`
}

// KeyHealth is what the keeper of the keys has to know.
type KeyHealth struct {
	Seq          int64     `json:"seq"`
	ExpiresAt    time.Time `json:"expires_at"`
	Current      string    `json:"current"`
	CurrentUntil time.Time `json:"current_until" doc:"From then on verifiers refuse what the current key signs."`
	CurrentSince time.Time `json:"current_since" doc:"When the current key began to sign."`
	HasNext      bool      `json:"has_next"`
	Ahead        int       `json:"ahead" doc:"How many rotations are possible before an anchor has to sign a new set."`
	// RotateAt is null where keys are rotated by command only.
	RotateAt       *time.Time   `json:"rotate_at" doc:"When the signing key is rotated by schedule; null: by command only."`
	Warnings       []KeyWarning `json:"warnings" doc:"What about the keys somebody has to see to."`
	Fault          string       `json:"fault,omitempty" doc:"Why the signing key could not be used when it was used last."`
	Standbys       int          `json:"standbys" doc:"How many anchors rank after the one that signed the set in force."`
	Leftover       []string     `json:"leftover,omitempty" doc:"Private halves of retired keys that could not be destroyed; remove these files by hand."`
	AnchorsPresent []string     `json:"anchors_present" doc:"Private halves of anchors that lie in the data folder and should be moved offline."`
}

// Key is one key of the key set.
type Key struct {
	ID        string    `json:"kid"`
	Role      string    `json:"role" doc:"current, next, retired, or pending: made for a set that is not installed yet"`
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
