package adminwire

import (
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Paths of what the staff decides about.
const (
	PathTransfers       = Prefix + "/transfers"
	PathTransferApprove = Prefix + "/licenses/{id}/transfers/approve"
	PathTransferDeny    = Prefix + "/licenses/{id}/transfers/deny"
)

// Upgrade makes a licence another one in place: id, code and installs stay. What
// is absent stays as it is; a trial needs an end, and is none any more.
type Upgrade struct {
	Product   string         `json:"product,omitempty" maxLength:"128" doc:"Another product; its features take the place of those of the licence."`
	Features  map[string]any `json:"features,omitempty" doc:"Name to true, a number or a string; false takes a feature away."`
	Machines  int            `json:"machines,omitempty" minimum:"0"`
	ExpiresAt *time.Time     `json:"expires_at,omitempty"`
	For       string         `json:"for,omitempty" doc:"A duration from the later of now and the present end." maxLength:"32"`
	Perpetual bool           `json:"perpetual,omitempty"`
	Force     bool           `json:"force,omitempty" doc:"End live installs that the other product does not accept."`
}

// Transfer is a move of a licence to another machine that the staff decides about.
type Transfer struct {
	ID          string                `json:"id"`
	License     string                `json:"license"`
	State       license.TransferState `json:"state" doc:"waiting, approved or denied."`
	Bound       []license.Kind        `json:"bound" doc:"The kinds of components that the machine shows."`
	Environment string                `json:"environment,omitempty"`
	Addr        string                `json:"addr,omitempty" doc:"Where it was asked from."`
	AskedAt     *time.Time            `json:"asked_at"`
	DecidedAt   *time.Time            `json:"decided_at"`
	Until       *time.Time            `json:"until" doc:"When it is forgotten; of an approval, when that ends."`
	Note        string                `json:"note,omitempty"`
}

// NewTransfer gives a request for a move its form.
func NewTransfer(r license.TransferRequest) Transfer {
	out := Transfer{
		ID: r.ID, License: r.License, State: r.State, Bound: []license.Kind{}, Environment: r.Environment, Addr: r.Addr,
		AskedAt: instant(r.AskedAt), DecidedAt: instant(r.DecidedAt), Until: instant(r.Until), Note: r.Note,
	}
	for _, k := range license.Kinds() {
		if len(r.Binding.Components[k]) > 0 {
			out.Bound = append(out.Bound, k)
		}
	}
	return out
}

// TransferList is a page of such moves.
type TransferList struct {
	Transfers []Transfer `json:"transfers"`
	Next      string     `json:"next"`
}

// DecideTransfer says which move is meant and why; one that is not named is the
// only one that waits.
type DecideTransfer struct {
	Request string `json:"request,omitempty" maxLength:"64" doc:"Id of the request; absent for the only one that waits."`
	Reason  string `json:"reason,omitempty" maxLength:"512"`
}

// Decided is a move after a decision, and whether that has changed anything.
type Decided struct {
	Transfer Transfer `json:"transfer"`
	Changed  bool     `json:"changed"`
}
