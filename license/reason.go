package license

import (
	"errors"
	"fmt"
	"time"
)

// Reason says why something was refused. It is what programs test: the same
// words travel in the "reason" member of a problem answer and come back as the
// same Reason in the client.
//
// A Reason is itself an error, so errors.Is(err, license.NotFound) works on
// every error of this project.
type Reason string

// The reasons, in the order in which the public API lists them. "Code" in a
// name always means the licence code.
const (
	BadRequest             Reason = "bad_request"
	UnknownCode            Reason = "unknown_code"
	UnknownLicense         Reason = "unknown_license"
	WrongProduct           Reason = "wrong_product"
	MachineLimit           Reason = "machine_limit"
	MachineMismatch        Reason = "machine_mismatch"
	MachineWeak            Reason = "machine_weak"
	Suspended              Reason = "suspended"
	Expired                Reason = "expired"
	Released               Reason = "released"
	Revoked                Reason = "revoked"
	NotReceived            Reason = "not_received"
	Replaced               Reason = "replaced"
	CloneDetected          Reason = "clone_detected"
	TransferLimit          Reason = "transfer_limit"
	TrialUsed              Reason = "trial_used" // the machine had its trial of the product
	Replayed               Reason = "replayed"
	Clock                  Reason = "clock"
	RateLimited            Reason = "rate_limited"
	Unauthorized           Reason = "unauthorized"
	Forbidden              Reason = "forbidden"
	NotFound               Reason = "not_found"
	Conflict               Reason = "conflict"
	MarketplaceUnavailable Reason = "marketplace_unavailable"
	ReadOnly               Reason = "read_only"
	Internal               Reason = "internal"
)

// Reasons that never leave the machine on which they arise: a verifier or the
// client gives them, no server answers with them.
const (
	// Forged: the signature, the key or the form of something signed is not right.
	Forged Reason = "forged"
	// Damaged: a file cannot be read as what it should be.
	Damaged Reason = "damaged"
	// NotYetValid: the licence begins later than now.
	NotYetValid Reason = "not_yet_valid"
	// LeaseOver: this install has not called home for longer than its lease.
	LeaseOver Reason = "lease_over"
	// Older: something newer of the same kind has been seen already.
	Older Reason = "older"
	// Unreachable: the licence server did not answer, or not as one.
	Unreachable Reason = "unreachable"
	// NoLicense: this install holds no licence yet.
	NoLicense Reason = "no_license"
)

// Reasons returns every reason that can stand in a problem answer, in the
// order of their declaration. The slice is the caller's.
func Reasons() []Reason {
	return []Reason{
		BadRequest, UnknownCode, UnknownLicense, WrongProduct, MachineLimit, MachineMismatch, MachineWeak,
		Suspended, Expired, Released, Revoked, NotReceived, Replaced, CloneDetected, TransferLimit, TrialUsed, Replayed,
		Clock, RateLimited, Unauthorized, Forbidden, NotFound, Conflict, MarketplaceUnavailable, ReadOnly, Internal,
	}
}

// Error makes a Reason an error, so that it can be the target of errors.Is.
func (r Reason) Error() string { return string(r) }

// Error is a refusal or failure with its Reason.
//
// Detail is for whoever made the request, in plain words and without secrets;
// the wrapped cause is for the log and never leaves the process.
type Error struct {
	Reason     Reason
	Detail     string
	Field      string        // the input that was wrong, with BadRequest
	RetryAfter time.Duration // when trying again makes sense, zero if it does not
	err        error
}

// Errorf makes an Error with a formatted Detail. What the format names must be
// fit for the caller's eyes.
func Errorf(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// FieldErrorf makes a BadRequest error that names the input that was wrong.
func FieldErrorf(field, format string, args ...any) *Error {
	return &Error{Reason: BadRequest, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// WithCause returns a copy of e that wraps cause, which is for the log only.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.err = cause
	return &c
}

// WithRetryAfter returns a copy of e that says when to try again.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// Error returns reason, field, detail and cause in one line, for logs.
func (e *Error) Error() string {
	s := string(e.Reason)
	if e.Field != "" {
		s += " (" + e.Field + ")"
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.err != nil {
		s += ": " + e.err.Error()
	}
	return s
}

// Unwrap lets errors.Is find both the Reason and the cause.
func (e *Error) Unwrap() []error {
	if e.err == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.err}
}

// ReasonOf returns the Reason of err, or Internal when it has none. A nil
// error has the empty Reason.
func ReasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	if r, ok := errors.AsType[Reason](err); ok {
		return r
	}
	return Internal
}
