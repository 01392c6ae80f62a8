// Package market connects a marketplace entry to the authority: its callbacks
// become messages, its open API becomes the authority's upstream. It
// translates and decides nothing.
package market

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
)

// Options describe one marketplace entry.
type Options struct {
	Name      string // of the entry, and the channel of its licences
	Authority *authority.Authority
	Location  *time.Location // of expireTime; nil is UTC
	Log       *slog.Logger
	Now       func() time.Time // nil is time.Now

	// AccessKeys may have signed a callback; several while one is being
	// exchanged. They are secrets.
	AccessKeys []string
}

// Callbacks is the handler of an entry's production address. It answers with
// HTTP 200 and a result code, always after the change is on disk.
func Callbacks(o Options) http.Handler {
	e := &entry{name: o.Name, authority: o.Authority, log: o.Log.With("marketplace", o.Name), now: o.Now}
	if e.now == nil {
		e.now = time.Now //nolint:forbidigo // the one default of Now
	}
	keys := make([]koogallery.AccessKey, 0, len(o.AccessKeys))
	for _, k := range o.AccessKeys {
		keys = append(keys, koogallery.NewAccessKey(k))
	}
	return &koogallery.Handler{
		Verifier: &koogallery.Verifier{Keys: keys, Now: o.Now},
		Location: o.Location, Handle: e.handle, Report: e.report,
	}
}

type entry struct {
	name      string
	authority *authority.Authority
	log       *slog.Logger
	now       func() time.Time
	strangers tally
}

func (e *entry) handle(ctx context.Context, cb koogallery.Callback, msg koogallery.Message) error {
	m := authority.Message{Channel: e.name, SentAt: cb.Time, ReplayKey: cb.Replay.Signature[:]}
	var code koogallery.Code
	switch msg := msg.(type) {
	case koogallery.RefreshLicenseCode:
		if msg.ExpireTime.Year() < firstYear {
			return &koogallery.ResultError{Code: koogallery.ResultInvalidParam, Field: "expireTime"}
		}
		m.Event, m.ExpiresAt, m.Order, code = license.EventSetExpiry, msg.ExpireTime, msg.OrderID, msg.License
		if m.ExpiresAt.After(license.Forever) { // year 9999 in a zone west of UTC
			m.ExpiresAt = license.Forever
		}
	case koogallery.UpdateLicenseCodeStatus:
		m.Event, code = license.EventFreeze, msg.License
		if msg.Status == koogallery.StatusUnfreeze {
			m.Event = license.EventUnfreeze
		}
	case koogallery.ReleaseLicenseCode:
		m.Event, m.Order, code = license.EventRelease, msg.OrderID, msg.License
	default:
		return &koogallery.ResultError{Code: koogallery.ResultInvalidParam, Field: "activity"}
	}
	var err error
	if m.Code, err = license.ParseCode(code.Reveal()); err != nil {
		return &koogallery.ResultError{Code: koogallery.ResultInvalidParam, Field: "license", Err: err}
	}
	out, err := e.authority.Message(ctx, m)
	if errors.Is(err, license.Replayed) {
		return &koogallery.ResultError{Code: koogallery.ResultAuthFailed, Err: err}
	}
	if err != nil {
		return fmt.Errorf("apply %s: %w", msg.Activity(), err)
	}
	e.tell(ctx, msg, m, out)
	return nil
}

// firstYear is before there was a marketplace: an earlier end is a mistake, and
// the first instant of the calendar would read as no end at all.
const firstYear = 2000

// tell reports what somebody may have to look at.
func (e *entry) tell(ctx context.Context, msg koogallery.Message, m authority.Message, out authority.Outcome) {
	attrs := []slog.Attr{
		slog.String("activity", string(msg.Activity())), slog.String("event", string(m.Event)),
		slog.String("code", m.Code.String()), slog.String("license", out.License),
	}
	switch {
	case out.License == "":
		e.log.LogAttrs(ctx, slog.LevelWarn, "a message about a code that is not known here was recorded", attrs...)
	case out.Late:
		e.log.LogAttrs(ctx, slog.LevelWarn, "a message was ignored: a newer one was heard, or the licence has ended", attrs...)
	default:
		e.log.LogAttrs(ctx, slog.LevelInfo, "marketplace message", append(attrs, slog.Bool("changed", out.Changed))...)
	}
}

// report logs what was refused, and why; the answer does not say. Anybody can
// send what does not verify, so that is told once a minute, with how often.
func (e *entry) report(ctx context.Context, msg koogallery.Message, err error) {
	if err == nil {
		if msg != nil && msg.Test() {
			e.log.InfoContext(ctx, "debug call", "activity", string(msg.Activity()))
		}
		return
	}
	result := koogallery.ResultOf(err).Code
	attrs := []slog.Attr{slog.String("result", string(result)), slog.String("error", err.Error())}
	switch {
	case result == koogallery.ResultInternal:
		e.log.LogAttrs(ctx, slog.LevelError, "callback failed", attrs...)
	case msg != nil:
		e.log.LogAttrs(ctx, slog.LevelWarn, "callback refused", attrs...)
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
