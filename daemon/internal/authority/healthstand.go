package authority

import (
	"strings"
	"time"
)

// resultOK is the marketplace's code for success, as it is counted.
const resultOK = "000000"

// Result codes that judge a call.
const (
	resultParam    = "000002"
	resultUnknown  = "000003"
	resultProgress = "000004"
	resultInternal = "000005"
	resultNone     = "000100" // no free resource
)

// failed reports whether an answer to a real message left undone what it asked
// for. That a device may not have a licence (000900 to 000903) is an answer as
// it is meant.
func failed(result string) bool {
	switch result {
	case resultParam, resultUnknown, resultInternal, resultNone:
		return true
	}
	return false
}

// Standing is how the messages of one activity, or its probes, went last.
type Standing struct {
	Activity string    `json:"activity"`
	Test     bool      `json:"test,omitzero"`
	Last     time.Time `json:"last"`
	Result   string    `json:"result"` // of the last one
	LastOK   time.Time `json:"last_ok,omitzero"`
	// The last one that was refused or failed: when, with which code, and the
	// field that the answer named.
	LastRefused time.Time `json:"last_refused,omitzero"`
	Refusal     string    `json:"refusal,omitzero"`
	Field       string    `json:"field,omitzero"`
	// Since is the first refusal after the last success, and Refused is how many
	// there have been from then on.
	Since   time.Time `json:"since,omitzero"`
	Refused int       `json:"refused,omitzero"`
}

// Failing reports whether the last one was refused or failed.
func (s Standing) Failing() bool { return s.Refused > 0 }

func (r *healthRecord) standing(activity string, test bool) *Standing {
	for i := range r.Standings {
		if s := &r.Standings[i]; s.Activity == activity && s.Test == test {
			return s
		}
	}
	r.Standings = append(r.Standings, Standing{Activity: activity, Test: test})
	return &r.Standings[len(r.Standings)-1]
}

func (s *Standing) heard(h Heard, now time.Time) {
	s.Last, s.Result = now, h.Result
	if h.Test && h.Result == resultOK || !h.Test && !failed(h.Result) {
		s.LastOK, s.Since, s.Refused = now, time.Time{}, 0
		return
	}
	s.LastRefused, s.Refusal, s.Field = now, h.Result, h.Field
	if s.Refused++; s.Since.IsZero() {
		s.Since = now
	}
}

func (s *Standing) merge(later Standing) {
	if !later.Last.Before(s.Last) {
		s.Last, s.Result = later.Last, later.Result
	}
	if !later.LastRefused.IsZero() && !later.LastRefused.Before(s.LastRefused) {
		s.LastRefused, s.Refusal, s.Field = later.LastRefused, later.Refusal, later.Field
	}
	switch {
	case !later.LastOK.Before(s.LastOK) && !later.LastOK.IsZero():
		s.LastOK, s.Since, s.Refused = later.LastOK, later.Since, later.Refused
	default:
		if s.Refused += later.Refused; s.Since.IsZero() {
			s.Since = later.Since
		}
	}
}

// giveUp is how the marketplace goes on with a message that fails.
type giveUp struct {
	after time.Duration // of the first attempt; 0: it makes one only
	sure  bool          // it is documented for this message
	says  string
}

// givesUp returns the published schedule of an activity: licence guide, access
// guide of online provisioning (…649288) and that of licence 1.0. The twin of
// koogallery/sandbox's.
func givesUp(activity string) giveUp {
	switch activity {
	case "newInstance":
		return giveUp{3 * time.Hour, true, "repeated for up to 3 hours, then the order is cancelled and refunded"}
	case "refreshInstance":
		return giveUp{0, true, "sent once, then it waits for a restart in the seller console"}
	case "getLicense":
		return giveUp{3 * time.Hour, true, "repeated hourly for 3 hours, then it waits for a restart in the seller console or a delivery by hand"}
	case "refreshLicense", "expireLicense", "releaseLicense":
		return giveUp{0, true, "sent once, then it waits for a restart in the seller console"}
	case "getLicenseAsync":
		return giveUp{0, false, "how often it is repeated is not documented; the buyer can apply again"}
	}
	return giveUp{2 * time.Hour, true, "repeated 60 times, every 2 minutes, then it waits for a restart in the seller console"}
}

// purchase reports whether an order is lost where messages of the activity fail.
func purchase(activity string) bool { return activity == "newInstance" || activity == "getLicense" }

// fieldText is a field in a sentence.
func fieldText(result, field string) string {
	if field == "" {
		return result
	}
	return result + ": " + field
}

// list joins the first of some things, and says how many more there are.
func list(things []string, most int) string {
	if len(things) <= most {
		return strings.Join(things, "; ")
	}
	return strings.Join(things[:most], "; ") + "; and " + plural(len(things)-most, "more", "more")
}
