package core

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
)

// Code is a licensed_code. The numbers are a promise: licensed.h has the same,
// which a test compares.
type Code int32

// What only this library answers.
const (
	OK Code = iota
	ErrArgument
	ErrHandle
	ErrClosed
	ErrMemory
	ErrForked
	ErrFault
	ErrNoValue
	ErrOther
	ErrTimeout
)

// own are the names of the codes that are no reason.
var own = [...]string{"ok", "argument", "handle", "closed", "memory", "forked", "fault", "no_value", "other", "timeout"}

// CodeOfReason is the number of a reason, OK for none, ErrOther for one that is
// not known here.
func CodeOfReason(r license.Reason) Code {
	switch r {
	case "":
		return OK
	case license.BadRequest:
		return 100
	case license.UnknownCode:
		return 101
	case license.UnknownLicense:
		return 102
	case license.WrongProduct:
		return 103
	case license.MachineLimit:
		return 104
	case license.MachineMismatch:
		return 105
	case license.MachineWeak:
		return 106
	case license.Suspended:
		return 107
	case license.Expired:
		return 108
	case license.Released:
		return 109
	case license.Revoked:
		return 110
	case license.NotReceived:
		return 111
	case license.Replaced:
		return 112
	case license.CloneDetected:
		return 113
	case license.TransferLimit:
		return 114
	case license.TrialUsed:
		return 115
	case license.Replayed:
		return 116
	case license.Clock:
		return 117
	case license.RateLimited:
		return 118
	case license.Unauthorized:
		return 119
	case license.Forbidden:
		return 120
	case license.NotFound:
		return 121
	case license.Conflict:
		return 122
	case license.MarketplaceUnavailable:
		return 123
	case license.ReadOnly:
		return 124
	case license.Internal:
		return 125
	case license.Forged:
		return 200
	case license.Damaged:
		return 201
	case license.NotYetValid:
		return 202
	case license.LeaseOver:
		return 203
	case license.Older:
		return 204
	case license.Unreachable:
		return 205
	case license.NoLicense:
		return 206
	}
	return ErrOther
}

// Reasons are all reasons that have a number, those of the protocol first.
func Reasons() []license.Reason {
	return append(license.Reasons(), license.Forged, license.Damaged, license.NotYetValid, license.LeaseOver,
		license.Older, license.Unreachable, license.NoLicense)
}

// NameOf is the name of a code, "unknown" of any other number.
func NameOf(c Code) string {
	if c >= 0 && int(c) < len(own) {
		return own[c]
	}
	for _, r := range Reasons() {
		if CodeOfReason(r) == c {
			return string(r)
		}
	}
	return "unknown"
}

// Failure is an error that is no license.Error: how the library was called, or
// what became of the call.
type Failure struct {
	Code   Code
	Field  string
	Detail string
	Cause  error
}

func (f *Failure) Error() string {
	text := NameOf(f.Code)
	if f.Field != "" {
		text += " (" + f.Field + ")"
	}
	text += ": " + f.Detail
	if f.Cause != nil {
		text += ": " + f.Cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Cause }

func usage(field, detail string) error {
	return &Failure{Code: ErrArgument, Field: field, Detail: field + ": " + detail}
}

// UnknownHandle is the error of a handle that stands for nothing.
func UnknownHandle() error {
	return &Failure{Code: ErrHandle, Detail: "the handle is unknown, or was closed"}
}

// Fault is the error of a panic.
func Fault(recovered any) error {
	return &Failure{
		Code: ErrFault, Detail: "the licence library has a defect; please report it",
		Cause: fmt.Errorf("%w: %v\n%s", errFault, recovered, debug.Stack()),
	}
}

// CodeOf is the code of an error.
func CodeOf(err error) Code {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Code
	}
	return CodeOfReason(license.ReasonOf(err))
}

// Description is what licensed_error says.
type Description struct {
	Code                       Code
	RetryAfter                 int64 // seconds, rounded up
	Reason, Detail, Field, Log string
}

// Describe is what there is to say of an error.
func Describe(err error) Description {
	d := Description{Code: CodeOf(err), Log: err.Error()}
	if f, ok := errors.AsType[*Failure](err); ok {
		d.Reason, d.Detail, d.Field = NameOf(f.Code), f.Detail, f.Field
		return d
	}
	d.Reason = string(license.ReasonOf(err))
	if e, ok := errors.AsType[*license.Error](err); ok {
		d.Detail, d.Field = e.Detail, e.Field
		d.RetryAfter = int64((e.RetryAfter + time.Second - 1) / time.Second)
	}
	if d.Detail == "" {
		d.Detail = d.Log
	}
	return d
}

// PhaseOf is the number of a phase.
func PhaseOf(p license.Phase) int32 {
	switch p {
	case license.PhaseValid:
		return 1
	case license.PhaseWarning:
		return 2
	case license.PhaseGrace:
		return 3
	case license.PhaseBlocked:
	}
	return 4
}

// StateOf is the number of the state of a licence that is held, 0 for none.
func StateOf(s license.State) int32 {
	switch s {
	case license.StateActive:
		return 1
	case license.StateExpired:
		return 2
	case license.StateSuspended:
		return 3
	case license.StateRevoked:
		return 4
	case license.StateIssued, license.StateReleased: // only a server sees these
	}
	return 0
}

// EnforcementOf is the number of an enforcement, 0 for none.
func EnforcementOf(e license.Enforcement) int32 {
	switch e {
	case "":
		return 0
	case license.EnforceDegrade:
		return 2
	case license.EnforceAdvisory:
		return 3
	case license.EnforceBlock:
	}
	return 1
}

// ClockOf is the number of what is known of the clock, 0 for nothing.
func ClockOf(c client.ClockState) int32 {
	switch c {
	case client.ClockOK:
		return 1
	case client.ClockBehind:
		return 2
	case client.ClockAhead:
		return 3
	case client.ClockUnconfirmed:
		return 4
	}
	return 0
}

// Instant is a time as C has it: seconds since the epoch, 0 for none.
func Instant(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
