package authority

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Bounds of sessions.
const (
	// SessionIdle is how long a session lasts in which nothing is asked for.
	SessionIdle = 30 * time.Minute
	// SessionLife is how long one lasts at most. It ends with its token in any case.
	SessionLife = 12 * time.Hour
	// MaxSessions is how many there can be of one token: one more ends the one that was
	// used least lately.
	MaxSessions = 20

	sessionPrefix = "session/" // then the id of the token, and a hash
	sessionBytes  = 32
	sessionSeen   = time.Minute // how exactly it is noted when one was used
)

// Session is a browser in which a member of the staff has signed in with a token. It
// lies in the store, so any daemon on it knows it; what the browser holds does not.
type Session struct {
	Token     string    `json:"-"` // its id
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at"` // to the minute
	Addr      string    `json:"addr,omitzero"`

	name string // of its value
}

// End is when it ends if nothing more is asked for.
func (s Session) End() time.Time {
	idle, last := s.SeenAt.Add(SessionIdle), s.CreatedAt.Add(SessionLife)
	if last.Before(idle) {
		return last
	}
	return idle
}

func (s Session) live(now time.Time) bool {
	return now.Before(s.End()) && !now.Before(s.CreatedAt.Add(-clockStep))
}

// errNoSession is the answer to every session that is not good.
func errNoSession() error {
	return license.Errorf(license.Unauthorized, "the session has ended; sign in again")
}

// BeginSession begins a session of the token whose text was given to Authenticate, and
// returns what the browser is to hold: that is shown once and kept nowhere.
func (a *Authority) BeginSession(ctx context.Context, p Principal, addr string) (s Session, secret string, err error) {
	var raw [sessionBytes]byte
	if _, err := io.ReadFull(rand.Reader, raw[:]); err != nil {
		return Session{}, "", fmt.Errorf("begin a session: %w", err)
	}
	now := a.now()
	s = Session{Token: p.ID, CreatedAt: now, SeenAt: now, Addr: addr}
	secret = p.ID + "." + base64.RawURLEncoding.EncodeToString(raw[:])
	s.name = sessionName(p.ID, raw[:])
	err = a.below.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if t, err := readToken(ctx, tx, p.ID); errors.Is(err, license.NotFound) || err == nil && t.State(now) != "live" {
			return errBadToken()
		} else if err != nil {
			return err
		}
		if err := roomForSession(ctx, tx, p.ID, now); err != nil {
			return err
		}
		if err := writeValue(ctx, tx, s.name, s); err != nil {
			return err
		}
		_, err := tx.Append(ctx, license.AuditEvent{
			At: now, Actor: license.Actor{Kind: license.ActorAdmin, Name: p.Name, Addr: addr}, Action: license.ActionSessionBegin,
			After: map[string]any{"token": p.ID},
		})
		return err
	})
	if err != nil {
		return Session{}, "", fmt.Errorf("begin a session: %w", err)
	}
	return s, secret, nil
}

func sessionName(token string, secret []byte) string {
	hash := sha256.Sum256(secret)
	return sessionPrefix + token + "/" + hex.EncodeToString(hash[:])
}

// roomForSession drops those of a token that have ended, and the one that was used least
// lately where there are too many.
func roomForSession(ctx context.Context, tx store.Tx, token string, now time.Time) error {
	all, err := sessions(ctx, tx, token)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(x, y Session) int { return y.SeenAt.Compare(x.SeenAt) })
	for i, s := range all {
		if s.live(now) && i < MaxSessions-1 {
			continue
		}
		if err := tx.SetValue(ctx, s.name, nil); err != nil {
			return fmt.Errorf("drop a session: %w", err)
		}
	}
	return nil
}

// sessions are those of a token.
func sessions(ctx context.Context, tx store.Tx, token string) (out []Session, err error) {
	values, err := allValues(ctx, tx, sessionPrefix+token+"/")
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		s, err := parseValue[Session](v)
		if err != nil {
			s = Session{} // it has ended, then
		}
		s.Token, s.name = token, v.Name
		out = append(out, s)
	}
	return out, nil
}

// Session returns whose session a browser holds, by what BeginSession returned. One that
// is not known, has ended, or whose token is not good any more, is Unauthorized.
func (a *Authority) Session(ctx context.Context, secret string) (p Principal, s Session, err error) {
	name, token, ok := readSecret(secret)
	if !ok {
		return Principal{}, Session{}, errNoSession()
	}
	now := a.now()
	err = a.below.View(ctx, func(ctx context.Context, tx store.Tx) error {
		if s, err = findValue[Session](ctx, tx, name); err != nil {
			return err
		}
		t, err := readToken(ctx, tx, token)
		if err == nil && t.State(now) != "live" {
			err = errNoSession()
		}
		p = t.Principal()
		return err
	})
	switch {
	case errors.Is(err, license.NotFound), err == nil && !s.live(now):
		return Principal{}, Session{}, errNoSession()
	case err != nil:
		return Principal{}, Session{}, err
	}
	s.Token, s.name = token, name
	if now.Sub(s.SeenAt) >= sessionSeen {
		s.SeenAt = now
		a.usedSession(ctx, name, now)
	}
	return p, s, nil
}

// readSecret names the value of a session. The name holds a hash of the secret, so
// looking it up tells nothing about one that is nearly right.
func readSecret(secret string) (name, token string, ok bool) {
	token, text, ok := strings.Cut(secret, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(raw) != sessionBytes || len(token) > 64 || strings.ContainsAny(token, "/") || token == "" {
		return "", "", false
	}
	return sessionName(token, raw), token, true
}

// usedSession notes that a session is in use. Where it cannot be noted the call goes on.
func (a *Authority) usedSession(ctx context.Context, name string, now time.Time) {
	_ = a.below.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		s, err := findValue[Session](ctx, tx, name)
		if err != nil || !now.After(s.SeenAt) {
			return err // it was ended meanwhile, which stays so
		}
		s.SeenAt = now
		return writeValue(ctx, tx, name, s)
	})
}

// EndSession ends a session; one that has ended already is no error.
func (a *Authority) EndSession(ctx context.Context, s Session) error {
	return a.below.Update(ctx, func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, s.name, nil) })
}

// EndSessions ends every session of a token, and reports how many there were.
func (a *Authority) EndSessions(ctx context.Context, actor license.Actor, token string) (ended int, err error) {
	now := a.now()
	err = a.below.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if ended, err = dropSessions(ctx, tx, token, now); err != nil {
			return err
		}
		_, err = tx.Append(ctx, license.AuditEvent{
			At: now, Actor: actor, Action: license.ActionSessionEndAll, After: map[string]any{"token": token, "ended": ended},
		})
		return err
	})
	return ended, err
}

// dropSessions takes all sessions of a token away, and reports how many lived.
func dropSessions(ctx context.Context, tx store.Tx, token string, now time.Time) (lived int, err error) {
	all, err := sessions(ctx, tx, token)
	if err != nil {
		return 0, err
	}
	for _, s := range all {
		if err := tx.SetValue(ctx, s.name, nil); err != nil {
			return 0, fmt.Errorf("drop a session: %w", err)
		}
		if s.live(now) {
			lived++
		}
	}
	return lived, nil
}
