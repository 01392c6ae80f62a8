package koogallery

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// What the open API refuses, for errors.Is (access guide …649195; of uploads
// …649352).
var (
	// ErrInternal is 92020001, CBC.0999 or 91381036; the same call may succeed
	// later.
	ErrInternal = errors.New("marketplace: internal error")
	// ErrInvalidParam is 92020002 or CBC.0101, and what this package refuses to
	// send.
	ErrInvalidParam = errors.New("marketplace: invalid parameter")
	// ErrAlreadyActive is 92020003: the code's state does not allow it. To
	// Activate it nearly always means that the code is active already, perhaps
	// by a call whose answer was lost: Query tells.
	ErrAlreadyActive = errors.New("marketplace: state does not allow this (already active)")
	// ErrNotReceived is 92020004: the buyer has to receive the code first.
	ErrNotReceived = errors.New("marketplace: buyer has not received the code")
	// ErrUnknownCode is 92020005.
	ErrUnknownCode = errors.New("marketplace: authorization code does not exist")
	// ErrNotActivated is 92020011: only active codes can be queried.
	ErrNotActivated = errors.New("marketplace: authorization code is not activated")
	// ErrInvalidBatch is 92020020: a batch holds an invalid code.
	ErrInvalidBatch = errors.New("marketplace: batch holds an invalid code")
	// ErrUnauthorized is any refusal of AK/SK or signature, which a wrong clock
	// causes too: HTTP 401, a gateway code APIGW…, CBC.0150, or 403 of an older
	// edition.
	ErrUnauthorized = errors.New("marketplace: not authorized")
	// ErrRequestParam is 95000001.
	ErrRequestParam = errors.New("marketplace: request parameter does not fit its pattern")
	// ErrRequestMethod is 95000002.
	ErrRequestMethod = errors.New("marketplace: request method not supported")
	// ErrRequestContentType is 95000003.
	ErrRequestContentType = errors.New("marketplace: content type not supported")
	// ErrRequestUnreadable is 95000004.
	ErrRequestUnreadable = errors.New("marketplace: request message is not readable")
	// ErrResourceInvalid is 91381033 of an upload: the licence resource is not
	// valid.
	ErrResourceInvalid = errors.New("marketplace: licence resource is not valid")
	// ErrApplyInvalid is 91381034 of an upload: there is no such application,
	// or none any more.
	ErrApplyInvalid = errors.New("marketplace: licence application is not valid")
	// ErrNoRemainder is 91381035 of an upload: the period has no amount left.
	ErrNoRemainder = errors.New("marketplace: licence period has no amount left")
	// ErrLicenseFormat is 91381037 of an upload.
	ErrLicenseFormat = errors.New("marketplace: licence format is not valid")
	// ErrApplyDenied is 91381038 of an upload.
	ErrApplyDenied = errors.New("marketplace: licence application was denied")
	// ErrPermission is 91380150 of an upload: the account lacks the role.
	ErrPermission = errors.New("marketplace: role has no permission")
	// ErrBatchUnusable means that the marketplace does not have a call for
	// several codes, or not in the shape which this package knows: use the one
	// for single codes.
	ErrBatchUnusable = errors.New("marketplace: call for several codes is not usable")
	// ErrNotAnswered means that the answer about several codes tells nothing
	// about this one that can be believed: use the call for single codes.
	ErrNotAnswered = errors.New("marketplace: answer does not tell about this code")
	// ErrUnavailable means that no usable answer came: no connection, an
	// untrusted certificate, a redirect, a gateway's 5xx or 429, HTML, half a
	// body. Whether the call took effect is not known.
	ErrUnavailable = errors.New("marketplace: unavailable")
)

// codeOK is the error_code of success.
const codeOK = "92020000"

// APIError is an answer of the marketplace or its gateway that is not success.
// Unwrap gives the Err… variable that fits, if one does.
type APIError struct {
	HTTPStatus int
	Code       string // error_code
	Msg        string // error_msg, with the codes of the call taken out
	RequestID  string // for the marketplace's support; often empty
}

// Error shows all four.
func (e *APIError) Error() string {
	s := fmt.Sprintf("marketplace answered %s (HTTP %d)", e.Code, e.HTTPStatus)
	if e.Code == "" {
		s = fmt.Sprintf("marketplace answered HTTP %d", e.HTTPStatus)
	}
	if e.Msg != "" {
		s += ": " + e.Msg
	}
	if e.RequestID != "" {
		s += " [request " + e.RequestID + "]"
	}
	return s
}

// Unwrap classifies the error: by its code, and by the HTTP status only where
// the code is the gateway's, of an older edition, or unknown.
func (e *APIError) Unwrap() error {
	if e.Code == "92020001" && e.HTTPStatus == http.StatusForbidden {
		return ErrUnauthorized // older edition: 403/92020001 "Unauthorized"
	}
	if kind, known := apiErrors[e.Code]; known {
		return kind
	}
	return e.byStatus()
}

var apiErrors = map[string]error{
	"92020001": ErrInternal,
	"92020002": ErrInvalidParam,
	"92020003": ErrAlreadyActive,
	"92020004": ErrNotReceived,
	"92020005": ErrUnknownCode,
	"92020011": ErrNotActivated,
	"92020020": ErrInvalidBatch,
	"95000001": ErrRequestParam,
	"95000002": ErrRequestMethod,
	"95000003": ErrRequestContentType,
	"95000004": ErrRequestUnreadable,
	// Uploads.
	"CBC.0101": ErrInvalidParam,
	"CBC.0150": ErrUnauthorized,
	"CBC.0999": ErrInternal,
	"91380150": ErrPermission,
	"91381033": ErrResourceInvalid,
	"91381034": ErrApplyInvalid,
	"91381035": ErrNoRemainder,
	"91381036": ErrInternal,
	"91381037": ErrLicenseFormat,
	"91381038": ErrApplyDenied,
}

func (e *APIError) byStatus() error {
	gateway := strings.HasPrefix(e.Code, "APIGW")
	switch s := e.HTTPStatus; {
	case s >= 500 || s == http.StatusTooManyRequests:
		return ErrUnavailable
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed:
		return nil // no such interface: neither the key's fault nor passing
	case s == http.StatusUnauthorized || s == http.StatusForbidden || gateway:
		return ErrUnauthorized
	}
	return nil
}

// Retryable reports whether the same call may succeed later with nobody doing
// anything. ErrNotReceived is not: it waits for the buyer.
func (e *APIError) Retryable() bool {
	kind := e.Unwrap()
	return kind == ErrInternal || kind == ErrUnavailable //nolint:errorlint // Unwrap returns the variables themselves
}

// UnavailableError is a call to one base URL which brought no usable answer.
type UnavailableError struct {
	Host       string
	HTTPStatus int   // 0 if no answer came at all
	Err        error // what went wrong; never holds the answer's content
}

// Error names host, status and cause.
func (e *UnavailableError) Error() string {
	if e.HTTPStatus == 0 {
		return fmt.Sprintf("marketplace %s: %v", e.Host, e.Err)
	}
	return fmt.Sprintf("marketplace %s: HTTP %d: %v", e.Host, e.HTTPStatus, e.Err)
}

// Unwrap gives ErrUnavailable and the cause.
func (e *UnavailableError) Unwrap() []error { return []error{ErrUnavailable, e.Err} }

// Retryable is true.
func (e *UnavailableError) Retryable() bool { return true }

// Retryable reports whether the call that failed with err may succeed later
// with nobody doing anything: ErrUnavailable and ErrInternal, but not
// ErrBatchUnusable.
func Retryable(err error) bool {
	if errors.Is(err, ErrBatchUnusable) {
		return false
	}
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInternal)
}

// batchUnusableError is ErrBatchUnusable with the reason.
type batchUnusableError struct{ err error }

func (e *batchUnusableError) Error() string {
	return "call for several codes is not usable: " + e.err.Error()
}

func (e *batchUnusableError) Unwrap() []error { return []error{ErrBatchUnusable, e.err} }
