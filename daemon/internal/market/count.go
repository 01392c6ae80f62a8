package market

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
)

// selfTestHeader carries the mark of a self-test.
const selfTestHeader = "Licensed-Self-Test"

type selfTestKey struct{}

// marked remembers of a call that it is one of our own self-test.
func marked(mark string, h http.Handler) http.Handler {
	if mark == "" {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := r.Header.Get(selfTestHeader)
		if given != "" && subtle.ConstantTimeCompare([]byte(given), []byte(mark)) == 1 {
			r = r.WithContext(context.WithValue(r.Context(), selfTestKey{}, true))
		}
		h.ServeHTTP(w, r)
	})
}

// observe counts a call of License 2.0 or online provisioning.
func (e *entry) observe(ctx context.Context, cb koogallery.Callback, result koogallery.Result, err error) {
	e.count(ctx, !cb.Time.IsZero(), func(name string) string {
		text, _ := cb.Field(name) // "" where it cannot be read
		return text
	}, result, err)
}

// observeV1 counts a call of licence 1.0.
func (e *entry) observeV1(ctx context.Context, call koogallery.V1Call, result koogallery.Result, err error) {
	e.count(ctx, !call.Time.IsZero(), call.Field, result, err)
}

func (e *entry) count(ctx context.Context, authentic bool, field func(string) string, result koogallery.Result, err error) {
	if ctx.Value(selfTestKey{}) != nil {
		return
	}
	h := authority.Heard{Channel: e.name}
	switch {
	case errors.Is(err, koogallery.ErrReplayed), errors.Is(err, license.Replayed):
		h.Doubt = authority.DoubtCopy
	case authentic:
		h.Activity, h.Result, h.Test = activityName(field("activity")), string(result.Code), field("testFlag") == "1"
	case errors.Is(err, koogallery.ErrSignature), errors.Is(err, koogallery.ErrSignatureMissing):
		h.Doubt = authority.DoubtSignature
	case errors.Is(err, koogallery.ErrOutsideWindow):
		h.Doubt = authority.DoubtTime
	default:
		h.Doubt = authority.DoubtForm
	}
	e.authority.Count(h)
}

// knownActivities are those that are counted by name.
var knownActivities = slices.Concat(koogallery.LicenseCodeActivities(), koogallery.InstanceActivities(), []koogallery.Activity{
	koogallery.ActivityOrderNotify, koogallery.ActivityV1GetLicense, koogallery.ActivityV1RefreshLicense,
	koogallery.ActivityV1ExpireLicense, koogallery.ActivityV1ReleaseLicense,
})

func activityName(name string) string {
	if slices.Contains(knownActivities, koogallery.Activity(name)) {
		return name
	}
	return "other"
}
