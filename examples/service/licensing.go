package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
)

// licensing is the licence as the rest of the service sees it.
type licensing struct {
	guard   *client.Guard
	log     *slog.Logger
	trouble atomic.Pointer[license.Error] // what is wrong with calling home, nil if nothing
}

// follow logs what happens to the licence, until the guard is closed. What the
// service may do does not hang on it: that is asked of the guard, at each request.
func (l *licensing) follow() {
	for e := range l.guard.Events() {
		if e.Kind == client.EventTrouble || e.Kind == client.EventReached {
			trouble, _ := errors.AsType[*license.Error](e.Err)
			l.trouble.Store(trouble)
		}
		level := slog.LevelInfo
		if e.Err != nil {
			level = slog.LevelWarn
		}
		l.log.Log(context.Background(), level, "licence", "event", e.Kind, "detail", e.String())
	}
}

// licensed answers in place of next where the licence does not let the service run.
func (l *licensing) licensed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		st := l.guard.Status() // from memory: it costs nothing
		if st.Usable {
			next.ServeHTTP(w, r)
			return
		}
		reason, detail := st.Reason, st.String()
		if trouble := l.trouble.Load(); reason == license.NoLicense && trouble != nil {
			reason, detail = trouble.Reason, trouble.Detail // why there is none yet
		}
		l.refuse(w, statusOf(reason), string(reason), detail)
	})
}

// feature answers in place of next where the licence does not include a feature.
func (l *licensing) feature(name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.guard.Feature(name) {
			l.refuse(w, http.StatusPaymentRequired, "not_included", "the licence does not include "+name)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// statusOf says who can do something about it: who buys (402), the merchant or
// who runs this service (403), or nobody but time (503).
func statusOf(reason license.Reason) int {
	switch reason { //nolint:exhaustive // what is not named is for who runs the service
	case license.Expired, license.Released, license.TrialUsed:
		return http.StatusPaymentRequired
	case license.NoLicense, license.NotYetValid, license.LeaseOver, license.MachineLimit, license.Unreachable,
		license.RateLimited, license.MarketplaceUnavailable, license.Internal:
		return http.StatusServiceUnavailable
	default:
		return http.StatusForbidden
	}
}

// refuse answers with a problem document (RFC 9457).
func (l *licensing) refuse(w http.ResponseWriter, status int, reason, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	if status == http.StatusServiceUnavailable {
		const soon = 30
		w.Header().Set("Retry-After", strconv.Itoa(soon))
	}
	l.write(w, status, map[string]any{"title": http.StatusText(status), "status": status, "reason": reason, "detail": detail})
}

// health says how the service and its licence are doing. It is 200 in any case:
// a service that is not licensed is alive, and starting it anew would not help.
func (l *licensing) health(w http.ResponseWriter, _ *http.Request) {
	st := l.guard.Status()
	doc := struct {
		Licensed   bool           `json:"licensed"`
		Phase      license.Phase  `json:"phase"`
		Reason     license.Reason `json:"reason,omitzero"`
		Detail     string         `json:"detail"`
		ExpiresAt  time.Time      `json:"expires_at,omitzero"`
		LeaseUntil time.Time      `json:"lease_until,omitzero"`
		Trouble    license.Reason `json:"trouble,omitzero"`
	}{Licensed: st.Usable, Phase: st.Phase, Reason: st.Reason, Detail: st.String(), ExpiresAt: st.ExpiresAt, LeaseUntil: st.LeaseUntil}
	if trouble := l.trouble.Load(); trouble != nil {
		doc.Trouble = trouble.Reason
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	l.write(w, http.StatusOK, doc)
}

func (l *licensing) write(w http.ResponseWriter, status int, doc any) {
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(doc); err != nil {
		l.log.Info("an answer was not taken", "error", err)
	}
}
