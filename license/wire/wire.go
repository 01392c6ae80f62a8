// Package wire is the HTTP protocol between an install and the licence server:
// paths, request and answer bodies, and the problem form of refusals. It knows
// only shapes; docs/ and the OpenAPI document say what the calls mean.
//
// The protocol version is 1. History: 1, the first.
package wire

import (
	"log/slog"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Version of the protocol, as in the paths.
const Version = 1

// Paths of the public API.
const (
	PathRequests    = "/v1/requests"
	PathKeys        = "/v1/keys"
	PathJWKS        = "/.well-known/jwks.json"
	PathStatus      = "/v1/status/{list}"
	PathMarketplace = "/marketplace/{name}"
	PathOpenAPI     = "/openapi.json"
)

// Media types.
const (
	TypeJSON    = "application/json"
	TypePEM     = "application/x-pem-file"
	TypeJWT     = "application/jwt"
	TypeProblem = "application/problem+json"
	// TypeStatusList is the media type of a status list (IETF Token Status List).
	TypeStatusList = "application/statuslist+jwt"
)

// MaxBody is the largest body that either side reads, in bytes.
const MaxBody = 256 << 10

// maxRetryAfter is the longest wait that a problem is believed, in seconds.
const maxRetryAfter = 366 * 24 * 60 * 60

// Request is the body of POST /v1/requests: a signed request, and the code
// where the request itself carries none. Where both are given they must agree.
type Request struct {
	Request string `json:"request" doc:"The signed request: a compact JWS of typ license-request+jwt." maxLength:"65536"`
	Code    string `json:"code,omitempty" doc:"The authorization code, where the request carries none." maxLength:"512"`
}

// BesideCode reads the code that is given beside the request; it is zero where
// there is none.
func (r Request) BesideCode() (license.Code, error) {
	if r.Code == "" {
		return license.Code{}, nil
	}
	return license.ParseCode(r.Code)
}

// LogValue hides the secrets of a request from logs.
func (Request) LogValue() slog.Value { return slog.StringValue("wire.Request{…}") }

// String hides the secrets of a request from logs.
func (Request) String() string { return "wire.Request{…}" }

// GoString hides the secrets of a request from %#v.
func (Request) GoString() string { return "wire.Request{…}" }

// Answer is the answer to a request. After a deactivation License, InstallID
// and Status are empty.
type Answer struct {
	LicenseID string `json:"license_id" doc:"Id of the licence."`
	InstallID string `json:"install_id,omitempty" doc:"Id of the install: the thumbprint of its key."`
	License   string `json:"license,omitempty" doc:"The signed licence: a compact JWS of typ license+jwt."`
	Keys      string `json:"keys" doc:"The signed key set: a compact JWS of typ license-keys+jwt."`
	Status    string `json:"status,omitempty" doc:"The status list of the install: a compact JWS of typ statuslist+jwt."`
	Time      string `json:"time" doc:"The signed time: a compact JWS of typ license-time+jwt."`
}

// Problem is a refusal or failure (RFC 9457). Reason is what programs test.
type Problem struct {
	Type       string         `json:"type" doc:"A URI reference for the kind of problem."`
	Title      string         `json:"title" doc:"The kind of problem in words."`
	Status     int            `json:"status" doc:"The HTTP status."`
	Detail     string         `json:"detail,omitempty" doc:"What is wrong here, for the end user."`
	Reason     license.Reason `json:"reason" doc:"What programs test."`
	RequestID  string         `json:"request_id,omitempty" doc:"Names this request in the server's log."`
	RetryAfter int64          `json:"retry_after,omitempty" doc:"Seconds after which trying again makes sense."`
	Field      string         `json:"field,omitempty" doc:"The input that was wrong."`
}

// NewProblem gives err its form on the wire. An error without a reason gets a
// fixed text, so that nothing internal leaks.
func NewProblem(err error, requestID string) Problem {
	reason := license.ReasonOf(err)
	status := StatusOf(reason)
	p := Problem{Status: status, Reason: reason, RequestID: requestID}
	if status == 500 {
		p.Reason = license.Internal
		p.Detail = "the server failed to handle the request; its log names the cause under the request id"
	} else if e, ok := asError(err); ok {
		p.Detail, p.Field = e.Detail, e.Field
		p.RetryAfter = int64((e.RetryAfter + time.Second - 1) / time.Second)
	}
	p.Type = "urn:licensed:problem:" + string(p.Reason)
	p.Title = strings.ReplaceAll(string(p.Reason), "_", " ")
	return p
}

// Err turns a problem back into the error that it was made from: the same
// reason, detail, field and time to retry, which is a year at most.
func (p Problem) Err() *license.Error {
	e := license.Errorf(p.Reason, "%s", p.Detail).WithRetryAfter(time.Duration(min(max(p.RetryAfter, 0), maxRetryAfter)) * time.Second)
	e.Field = p.Field
	return e
}

// StatusOf maps a reason to the HTTP status of its problem. A reason that is
// not of the wire is 500.
func StatusOf(r license.Reason) int {
	switch r {
	case license.BadRequest:
		return 400
	case license.Unauthorized:
		return 401
	case license.Forbidden, license.WrongProduct, license.MachineLimit, license.MachineMismatch, license.MachineWeak,
		license.Suspended, license.Expired, license.Released, license.Revoked, license.NotReceived, license.Replaced,
		license.CloneDetected, license.TransferLimit, license.TrialUsed:
		return 403
	case license.UnknownCode, license.UnknownLicense, license.NotFound:
		return 404
	case license.Conflict, license.Replayed:
		return 409
	case license.RateLimited:
		return 429
	case license.MarketplaceUnavailable, license.ReadOnly, license.Clock:
		return 503
	case license.Internal, license.Forged, license.Damaged, license.NotYetValid, license.LeaseOver, license.Older,
		license.Unreachable, license.NoLicense:
	}
	return 500
}
