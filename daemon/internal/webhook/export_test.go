package webhook

import (
	"net/http"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Signature is the signature header of one secret.
func Signature(s Secret, id string, at time.Time, body []byte) string {
	return signatures([]Secret{s}, id, at, body)
}

// Untold and Known say what becomes of an action.
func Untold(a license.Action) bool { return untold[a] }

// Known reports whether an action has a type.
func Known(a license.Action) bool { return types[a] != "" }

// ReadRetryAfter and ShownText are what is made of what a receiver answers.
var (
	ReadRetryAfter = retryAfter
	ShownText      = shownText
)

// Transport is the way to an endpoint.
func Transport() *http.Transport { return newTransport(nil) }

// ShownLicense is a licence as it is told.
type ShownLicense = shownLicense
