package market

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

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

// observe counts a call of License 2.0 or online provisioning, and tells the log
// of what is refused.
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
	h := authority.Heard{Channel: e.name}
	switch {
	case errors.Is(err, koogallery.ErrReplayed), errors.Is(err, license.Replayed):
		h.Doubt = authority.DoubtCopy
	case authentic:
		h.Activity, h.Result, h.Test = activityName(field("activity")), string(result.Code), field("testFlag") == "1"
		if refusal, ok := errors.AsType[*koogallery.ResultError](err); ok {
			h.Field = refusal.Field
		}
		if !h.Test && (err != nil || e.authority.Tracks(e.name)) {
			h.About = subject(h.Activity, field)
		}
	case errors.Is(err, koogallery.ErrSignature), errors.Is(err, koogallery.ErrSignatureMissing):
		h.Doubt = authority.DoubtSignature
	case errors.Is(err, koogallery.ErrOutsideWindow):
		h.Doubt = authority.DoubtTime
	default:
		h.Doubt = authority.DoubtForm
	}
	if ctx.Value(selfTestKey{}) == nil {
		e.authority.Count(h)
	}
	e.report(ctx, h, authentic, err)
}

// subject is what a message is about: the order of a purchase or of a note about
// one, else the instance or the code that it changes.
func subject(activity string, field func(string) string) (s authority.Subject) {
	switch koogallery.Activity(activity) { //nolint:exhaustive // all others change something that was bought before
	case koogallery.ActivityNewInstance, koogallery.ActivityOrderNotify, koogallery.ActivityV1GetLicense:
		if s.Order = field("orderId"); s.Order != "" && field("orderLineId") != "" {
			s.Order += " " + field("orderLineId")
		}
		return s
	}
	if code, err := license.ParseCode(field("license")); err == nil {
		s.Code = code
		return s
	}
	if s.Instance = field("instanceId"); s.Instance == "" {
		s.Order = field("orderId")
	}
	return s
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

// report logs what was refused, and why; the answer does not say. What the
// marketplace has signed is told with its activity, result code and field, once a
// minute for each of these, so that its repeats do not flood the log; what it has
// not signed anybody can send, and is told once a minute as a whole.
func (e *entry) report(ctx context.Context, h authority.Heard, authentic bool, err error) {
	if err == nil {
		if h.Test {
			e.log.InfoContext(ctx, "probe or debug call: nothing was changed", "activity", h.Activity)
		}
		return
	}
	result := koogallery.ResultOf(err).Code
	attrs := []slog.Attr{slog.String("result", string(result)), slog.String("error", err.Error())}
	if authentic {
		activity := h.Activity
		if activity == "" { // of a copy
			activity = "unknown"
		}
		attrs = append([]slog.Attr{slog.String("activity", activity)}, attrs...)
		if h.Field != "" {
			attrs = append(attrs, slog.String("field", h.Field))
		}
		if h.Test {
			attrs = append(attrs, slog.Bool("test", true))
		}
	}
	switch {
	case authentic && result == koogallery.ResultInternal:
		e.log.LogAttrs(ctx, slog.LevelError, "callback failed", attrs...)
	case authentic:
		if n, due := e.refusals.count(refusedKind{h.Activity, string(result), h.Field, h.Test}, e.now()); due {
			e.log.LogAttrs(ctx, slog.LevelWarn, "callback refused", append(attrs, slog.Int("since_last", n))...)
			return
		}
		e.log.LogAttrs(ctx, slog.LevelDebug, "callback refused", attrs...)
	default:
		e.log.LogAttrs(ctx, slog.LevelDebug, "callback refused", attrs...)
		if n, due := e.strangers.count(e.now()); due {
			e.log.LogAttrs(ctx, slog.LevelWarn, "callbacks are refused", append(attrs, slog.Int("since_last", n))...)
		}
	}
}

// tally counts what is told about only once a minute.
type tally struct {
	mu   sync.Mutex
	told time.Time
	n    int
}

func (t *tally) count(now time.Time) (n int, due bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	if now.Sub(t.told).Abs() < time.Minute {
		return 0, false
	}
	n, t.n, t.told = t.n, 0, now
	return n, true
}

// refusedKind is what refusals have in common that are told once a minute.
type refusedKind struct {
	activity, result, field string
	test                    bool
}

// maxRefusedKinds bounds the kinds that are told apart; who has a key could
// invent no more activities than there are, nor fields.
const maxRefusedKinds = 256

// tallies are one tally for each kind.
type tallies struct {
	mu sync.Mutex
	of map[refusedKind]*tally
}

func (t *tallies) count(kind refusedKind, now time.Time) (n int, due bool) {
	t.mu.Lock()
	if t.of == nil || t.of[kind] == nil && len(t.of) >= maxRefusedKinds {
		t.of = make(map[refusedKind]*tally)
	}
	one := t.of[kind]
	if one == nil {
		one = &tally{}
		t.of[kind] = one
	}
	t.mu.Unlock()
	return one.count(now)
}

// V1Off counts the GET calls of licence 1.0 that come to entries which do not
// take them, by the path of each, so that somebody learns that a product is still
// sold over them. They are unread; next refuses them.
func V1Off(a *authority.Authority, off map[string]string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			// A browser is not meant.
			if name, ok := off[r.URL.Path]; ok && r.URL.Query().Has("activity") {
				a.Count(authority.Heard{Channel: name, Doubt: authority.DoubtV1})
			}
		}
		next.ServeHTTP(w, r)
	})
}
