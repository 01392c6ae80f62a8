package koogallery

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxResultMsg is the longest resultMsg which the marketplace takes, in
// characters.
const MaxResultMsg = 255

// ResultCode is the six-digit code of an answer to a callback (licence guide,
// result codes; online-provisioning guide …649288).
type ResultCode string

// The documented result codes. The last five belong to online provisioning.
const (
	ResultOK             ResultCode = "000000"
	ResultAuthFailed     ResultCode = "000001" // signature missing or wrong, or a copy
	ResultInvalidParam   ResultCode = "000002"
	ResultUnknownCode    ResultCode = "000003" // authorization code (or instance) does not exist
	ResultInProgress     ResultCode = "000004" // for getLicenseAsync; for others it is not documented how the platform goes on
	ResultInternal       ResultCode = "000005"
	ResultNoResource     ResultCode = "000100" // newInstance
	ResultQuotaUsed      ResultCode = "000900" // getLicenseAsync: quota of the order in force is used up
	ResultOutsidePeriod  ResultCode = "000901" // getLicenseAsync: outside the order's validity period
	ResultExpiryRequired ResultCode = "000902" // getLicenseAsync: a period licence needs an expiry
	ResultDeviceRequired ResultCode = "000903" // getLicenseAsync: fingerprint or hardware code is required
)

// Text is the message which goes with a code: the vendor's own for the first
// six. A code which is not documented has that of ResultInternal.
func (c ResultCode) Text() string {
	switch c {
	case ResultOK:
		return "success."
	case ResultAuthFailed:
		return "token is invalid"
	case ResultInvalidParam:
		return "param is invalid"
	case ResultUnknownCode:
		return "instance is invalid"
	case ResultInProgress:
		return "request is processing"
	case ResultNoResource:
		return "no free resource"
	case ResultQuotaUsed:
		return "license quota is used up"
	case ResultOutsidePeriod:
		return "outside the validity period of the order"
	case ResultExpiryRequired:
		return "expireTime is required"
	case ResultDeviceRequired:
		return "deviceFingerprint is required"
	case ResultInternal:
	}
	return "other inner error"
}

// Result is the answer to a callback.
type Result struct {
	Code ResultCode
	// Msg replaces the code's own text. It is shown in the seller console, so
	// keep internals out of it. Cut after MaxResultMsg characters.
	Msg string
	// License is the licence which a getLicense of licence 1.0 answers with.
	License LicenseText
	// InstanceID is the merchant's id for a purchase, up to MaxInstanceID
	// characters. Only newInstance, and getLicense of licence 1.0, answer with
	// one.
	InstanceID string
}

// MaxInstanceID is the longest instance id in characters.
const MaxInstanceID = 64

// AppendJSON appends {"resultCode":"000000","resultMsg":"success."} to dst. A
// Result without a code is ResultInternal: success has to be said.
func (r Result) AppendJSON(dst []byte) []byte {
	if r.Code == "" {
		r.Code = ResultInternal
	}
	if r.Msg == "" {
		r.Msg = r.Code.Text()
	}
	dst = append(dst, `{"resultCode":`...)
	dst = appendQuoted(dst, string(r.Code))
	dst = append(dst, `,"resultMsg":`...)
	dst = appendQuoted(dst, cutText(strings.ToValidUTF8(r.Msg, "\ufffd"), MaxResultMsg))
	if !r.License.IsZero() {
		dst = append(dst, `,"license":`...)
		dst = appendQuoted(dst, strings.ToValidUTF8(r.License.Reveal(), "\ufffd"))
	}
	if r.InstanceID != "" {
		dst = append(dst, `,"instanceId":`...)
		dst = appendQuoted(dst, strings.ToValidUTF8(r.InstanceID, "\ufffd"))
	}
	return append(dst, '}')
}

// MarshalJSON is AppendJSON: it is the answer itself, a licence in clear
// included.
func (r Result) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }

// WriteResult answers a callback: always HTTP 200, even for a refusal, because
// the platform reads the code in the body.
func WriteResult(w http.ResponseWriter, r Result) error {
	return writeJSON(w, r.AppendJSON(make([]byte, 0, 128)))
}

func writeJSON(w http.ResponseWriter, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(body) //nolint:gosec // JSON under its own media type is no page
	return err
}

// Why a call was refused, for counters and logs: each fits errors.Is on an
// error of Verifier or Parser. On the wire only the result code shows.
var (
	ErrTimestamp        = errors.New("timestamp missing or malformed")       // 000002
	ErrOutsideWindow    = errors.New("timestamp outside the window")         // 000002
	ErrNonce            = errors.New("nonce missing or malformed")           // 000002
	ErrRepeated         = errors.New("query parameter repeated")             // 000002
	ErrSignatureMissing = errors.New("signature missing")                    // 000001
	ErrSignature        = errors.New("signature does not fit")               // 000001
	ErrAmbiguous        = errors.New("parameters can be read in two ways")   // 000002, licence 1.0
	ErrReplayed         = errors.New("request was seen before")              // 000001
	ErrPayload          = errors.New("body cannot be read")                  // 000002
	ErrActivity         = errors.New("activity missing or unknown")          // 000002
	ErrField            = errors.New("field missing, malformed or too long") // 000002
)

// ResultError is a refusal with the code which answers it.
type ResultError struct {
	Code  ResultCode
	Field string // the field or query parameter at fault, if it is one
	// Err is the reason, for the log: it never holds a value of the request and
	// never reaches the answer.
	Err error
}

// Error names code, field and reason, and no value of the request.
func (e *ResultError) Error() string {
	s := string(e.Code) + " " + e.Code.Text()
	if e.Field != "" {
		s += ": " + e.Field
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the reason.
func (e *ResultError) Unwrap() error { return e.Err }

// ResultOf turns the outcome of a call into its answer: nil is success, a
// ResultError is its code with the field named, everything else is
// ResultInternal with the fixed text.
func ResultOf(err error) Result {
	if err == nil {
		return Result{Code: ResultOK}
	}
	var re *ResultError
	if !errors.As(err, &re) {
		return Result{Code: ResultInternal}
	}
	r := Result{Code: re.Code}
	if re.Field != "" && re.Code != ResultAuthFailed {
		r.Msg = re.Code.Text() + ": " + re.Field
	}
	return r
}

// completed is r, or an error where r names no code or is a success without what
// the answer to msg must hold.
func completed(msg Message, r Result) (Result, error) {
	needsID, needsLicense := false, false
	switch msg.(type) {
	case NewInstance:
		needsID = true
	case V1GetLicense:
		needsID, needsLicense = true, true
	}
	success := r.Code == ResultOK
	switch {
	case r.Code == "":
		return Result{}, fmt.Errorf("answer to %s: no result code", msg.Activity())
	case utf8.RuneCountInString(r.InstanceID) > MaxInstanceID:
		return Result{}, fmt.Errorf("answer to %s: InstanceID is longer than %d characters", msg.Activity(), MaxInstanceID)
	case success && needsID && r.InstanceID == "":
		return Result{}, fmt.Errorf("answer to %s: success needs an InstanceID", msg.Activity())
	case success && needsLicense && r.License.IsZero():
		return Result{}, fmt.Errorf("answer to %s: success needs a License", msg.Activity())
	}
	return r, nil
}

func refuse(code ResultCode, field string, reason error) error {
	return &ResultError{Code: code, Field: field, Err: reason}
}

// cutText keeps the first n characters of s.
func cutText(s string, n int) string {
	if len(s) <= n || utf8.RuneCountInString(s) <= n {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
