package license

import (
	"slices"
	"time"
)

// ApprovalPolicy says which moves of a licence to another machine wait for the
// merchant's staff.
type ApprovalPolicy string

// The approval policies.
const (
	ApproveNever     ApprovalPolicy = "never"      // a move beyond the limits is refused
	ApproveOverLimit ApprovalPolicy = "over_limit" // a move beyond the limits waits
	ApproveAlways    ApprovalPolicy = "always"     // every move waits
)

// ApprovalPolicies returns all of them.
func ApprovalPolicies() []ApprovalPolicy {
	return []ApprovalPolicy{ApproveNever, ApproveOverLimit, ApproveAlways}
}

// MaxTransferRequests is how many moves of one licence are kept for the staff.
const MaxTransferRequests = 8

// transferKept is for how long a request that nobody uses any more is kept: as
// long as it waits, or after it was denied.
const transferKept = 30 * 24 * time.Hour

// TransferState says where a request for a move stands.
type TransferState string

// The states of a request. One that was used is gone.
const (
	TransferWaiting  TransferState = "waiting"
	TransferApproved TransferState = "approved"
	TransferDenied   TransferState = "denied"
)

// TransferRequest is a move of a licence to another machine that the merchant's
// staff decides about.
type TransferRequest struct {
	ID          string        `json:"id"`
	License     string        `json:"license"`
	State       TransferState `json:"state"`
	Binding     Binding       `json:"binding"` // what the machine would be bound to
	Environment string        `json:"environment,omitzero"`
	Addr        string        `json:"addr,omitzero"` // where it was asked from
	AskedAt     time.Time     `json:"asked_at"`
	DecidedAt   time.Time     `json:"decided_at,omitzero"`
	Until       time.Time     `json:"until"` // when it is forgotten, and an approval ends
	Note        string        `json:"note,omitzero"`
}

// TransferRequests are those of one licence, oldest first.
type TransferRequests []TransferRequest

// Standing returns those that are not forgotten at now.
func (rs TransferRequests) Standing(now time.Time) TransferRequests {
	return slices.DeleteFunc(slices.Clone(rs), func(r TransferRequest) bool { return !now.Before(r.Until) })
}

// Of returns the place of the request for a machine, or -1.
func (rs TransferRequests) Of(fp Fingerprint) int {
	return slices.IndexFunc(rs, func(r TransferRequest) bool { return Match(r.Binding, fp).OK })
}

// Ask returns rs with one more request that waits. Where as many as may be are
// there, the one that was denied first makes room; where none was denied it is
// refused with TransferLimit.
func (rs TransferRequests) Ask(r TransferRequest, now time.Time) (TransferRequests, error) {
	if len(rs) >= MaxTransferRequests {
		rs = slices.Clone(rs)
		if at := rs.firstDenied(); at >= 0 {
			rs = slices.Delete(rs, at, at+1)
		}
	}
	if len(rs) >= MaxTransferRequests {
		return rs, Errorf(TransferLimit, "%d moves of this licence to another machine wait for the vendor already", len(rs))
	}
	r.State, r.AskedAt, r.Until = TransferWaiting, now, now.Add(transferKept)
	return append(slices.Clone(rs), r), nil
}

func (rs TransferRequests) firstDenied() int {
	first := -1
	for at, r := range rs {
		if r.State == TransferDenied && (first < 0 || r.DecidedAt.Before(rs[first].DecidedAt)) {
			first = at
		}
	}
	return first
}

// Decide approves or denies the request at a place.
func (rs TransferRequests) Decide(at int, approve bool, p TransferPolicy, note string, now time.Time) TransferRequests {
	out := slices.Clone(rs)
	r := &out[at]
	r.State, r.DecidedAt, r.Until, r.Note = TransferDenied, now, now.Add(transferKept), note
	if approve {
		r.State, r.Until = TransferApproved, now.Add(p.approvalFor())
	}
	return out
}

func (p TransferPolicy) approvalFor() time.Duration {
	if p.ApprovalFor > 0 {
		return p.ApprovalFor
	}
	return 7 * 24 * time.Hour
}

// Approves reports whether a move of l at now has to be approved, given that the
// policy allows it itself, or why it does not.
func (p TransferPolicy) Approves(limit error) bool {
	switch p.Approval {
	case ApproveAlways:
		return true
	case ApproveOverLimit:
		return ReasonOf(limit) == TransferLimit
	case ApproveNever, "":
	}
	return false
}

// Refused is what a machine is told whose request for a move was not approved.
func (r TransferRequest) Refused() *Error {
	switch r.State {
	case TransferDenied:
		return Errorf(TransferLimit, "the vendor has refused to move this licence to this machine")
	case TransferWaiting, TransferApproved:
	}
	return Errorf(TransferLimit, "the move of this licence to this machine waits for the vendor's approval, asked for at %s; try again when it was given",
		r.AskedAt.UTC().Format(time.RFC3339))
}

// Moved records a move to another machine at now, whatever the policy says of it.
func (l License) Moved(now time.Time) License {
	next, _ := l.Transfer(TransferPolicy{PerYear: len(l.Transfers) + 1}, now)
	return next
}
