package authority

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Bounds of tokens.
const (
	// TokenPrefix begins every token, so that programs which look for secrets in
	// places where none belong know one.
	TokenPrefix = "licadm_"
	// DefaultTokenLife is how long a token is valid where nothing else is said.
	DefaultTokenLife = 90 * 24 * time.Hour
	// MaxTokenLife is how long it is at most.
	MaxTokenLife = 400 * 24 * time.Hour
	// MaxTokens is how many there can be that are still shown.
	MaxTokens = 1000

	tokenPrefix   = "token/"
	tokenBytes    = 32
	tokenShown    = 90 * 24 * time.Hour // after its end
	maxTokenName  = 64
	maxTokenScope = 100
)

// Token is what is known of one: not its text, which is shown once.
type Token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	Products  []string  `json:"products,omitzero"` // none: all
	Hash      []byte    `json:"hash"`              // SHA-256 of the text
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by,omitzero"`
	ExpiresAt time.Time `json:"expires_at"`
	LastUsed  time.Time `json:"last_used,omitzero"` // to the hour
	RevokedAt time.Time `json:"revoked_at,omitzero"`
}

// State is live, expired or revoked.
func (t Token) State(now time.Time) string {
	switch {
	case !t.RevokedAt.IsZero():
		return "revoked"
	case !t.ExpiresAt.After(now):
		return "expired"
	}
	return "live"
}

func (t Token) ended() time.Time {
	if !t.RevokedAt.IsZero() {
		return t.RevokedAt
	}
	return t.ExpiresAt
}

// Principal is who calls with it.
func (t Token) Principal() Principal {
	return Principal{ID: t.ID, Name: t.Name, Role: t.Role, Products: slices.Clone(t.Products)}
}

// NewToken says what a token is to be.
type NewToken struct {
	Name     string
	Role     Role
	Products []string
	For      time.Duration // zero: DefaultTokenLife
}

// tokenID names the token with a hash. It says nothing about the text.
func tokenID(hash []byte) string {
	return "tok_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(hash[:10]))
}

// CreateToken makes a token and returns its text, which nothing shows again. A
// principal cannot make one that may do more than itself.
func (a *Authority) CreateToken(ctx context.Context, actor license.Actor, n NewToken) (t Token, text string, err error) {
	now, err := a.dated(ctx)
	if err != nil {
		return Token{}, "", err
	}
	if err := a.checkToken(ctx, &n); err != nil {
		return Token{}, "", err
	}
	var secret [tokenBytes]byte
	if _, err := io.ReadFull(rand.Reader, secret[:]); err != nil {
		return Token{}, "", fmt.Errorf("make a token: %w", err)
	}
	text = TokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	hash := sha256.Sum256([]byte(text))
	t = Token{
		ID: tokenID(hash[:]), Name: n.Name, Role: n.Role, Products: n.Products, Hash: hash[:],
		CreatedAt: now, CreatedBy: actor.Name, ExpiresAt: now.Add(n.For),
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if err := makeRoom(ctx, tx, t, now); err != nil {
			return err
		}
		if err := putToken(ctx, tx, t); err != nil {
			return err
		}
		_, err := tx.Append(ctx, license.AuditEvent{At: now, Actor: actor, Action: license.ActionTokenCreate, After: map[string]any{
			"token": t.ID, "name": t.Name, "role": t.Role, "products": t.Products, "expires_at": instant(t.ExpiresAt),
		}})
		return err
	})
	if err != nil {
		return Token{}, "", fmt.Errorf("create a token: %w", err)
	}
	return t, text, nil
}

// checkToken refuses what cannot be made, and fills in what was left out.
func (a *Authority) checkToken(ctx context.Context, n *NewToken) error {
	if n.Name == "" {
		return license.FieldErrorf("name", "a token needs a name, by which the audit log calls it")
	}
	if err := plain("name", n.Name, maxTokenName); err != nil {
		return err
	}
	if _, err := ParseRole(string(n.Role)); err != nil {
		return err
	}
	if n.For == 0 {
		n.For = DefaultTokenLife
	}
	if n.For < time.Minute || n.For > MaxTokenLife {
		return license.FieldErrorf("for", "a token is valid for at least a minute and at most 400 days")
	}
	if len(n.Products) > maxTokenScope {
		return license.FieldErrorf("products", "a token is for at most %d products; one without any is for all", maxTokenScope)
	}
	n.Products = slices.Compact(slices.Sorted(slices.Values(n.Products)))
	for _, p := range n.Products {
		if _, ok := a.products[p]; !ok {
			return license.FieldErrorf("products", "there is no product %q", printable(p))
		}
	}
	if c := CallOf(ctx); c != nil {
		if !c.Principal.Role.Covers(n.Role) {
			return license.Errorf(license.Forbidden, "a token cannot make one of a higher role than its own")
		}
		if c.Principal.Scoped() && (len(n.Products) == 0 || slices.ContainsFunc(n.Products, func(p string) bool { return !c.Principal.Sees(p) })) {
			return license.Errorf(license.Forbidden, "a token cannot make one for other products than its own")
		}
	}
	return nil
}

// makeRoom refuses a name that a live token has, and one token too many. Those
// that ended long ago are dropped.
func makeRoom(ctx context.Context, tx store.Tx, t Token, now time.Time) error {
	all, err := tokens(ctx, tx)
	if err != nil {
		return err
	}
	left := len(all)
	for _, o := range all {
		live := o.State(now) == "live"
		switch {
		case live && o.Name == t.Name:
			return license.Errorf(license.Conflict, "there is a token %q, %s, already; revoke it, or choose another name", o.Name, o.ID)
		case !live && o.ended().Add(tokenShown).Before(now):
			if err := tx.SetValue(ctx, tokenPrefix+o.ID, nil); err != nil {
				return fmt.Errorf("drop an old token: %w", err)
			}
			if _, err := dropSessions(ctx, tx, o.ID, now); err != nil {
				return err
			}
			left--
		}
	}
	if left >= MaxTokens {
		return license.Errorf(license.Conflict, "there are %d tokens, and more are not kept", MaxTokens)
	}
	return nil
}

func putToken(ctx context.Context, tx store.Tx, t Token) error {
	return writeValue(ctx, tx, tokenPrefix+t.ID, t)
}

func readToken(ctx context.Context, tx store.Tx, id string) (Token, error) {
	return findValue[Token](ctx, tx, tokenPrefix+id)
}

// tokens are all that are kept, by id.
func tokens(ctx context.Context, tx store.Tx) (out []Token, err error) {
	var p Page
	for {
		values, next, err := tx.Values(ctx, tokenPrefix, p)
		if err != nil {
			return nil, fmt.Errorf("list tokens: %w", err)
		}
		for _, v := range values {
			t, err := parseValue[Token](v)
			if err != nil {
				return nil, err
			}
			out = append(out, t)
		}
		if next == "" {
			return out, nil
		}
		p.Cursor = next
	}
}

// Tokens lists the tokens, the oldest first.
func (a *Authority) Tokens(ctx context.Context) (out []Token, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		out, err = tokens(ctx, tx)
		return err
	})
	slices.SortStableFunc(out, func(x, y Token) int { return x.CreatedAt.Compare(y.CreatedAt) })
	return out, err
}

// RevokeToken ends a token at once. It reports false for one that was revoked
// before, and NotFound for one that there is not.
func (a *Authority) RevokeToken(ctx context.Context, actor license.Actor, id string) (t Token, changed bool, err error) {
	now, err := a.dated(ctx)
	if err != nil {
		return Token{}, false, err
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		changed = false
		t, err = readToken(ctx, tx, id)
		if errors.Is(err, license.NotFound) || errors.Is(err, license.BadRequest) {
			return license.Errorf(license.NotFound, "there is no token %q", printable(id))
		}
		if err != nil || !t.RevokedAt.IsZero() {
			return err
		}
		t.RevokedAt, changed = now, true
		if err := putToken(ctx, tx, t); err != nil {
			return err
		}
		if _, err := dropSessions(ctx, tx, t.ID, now); err != nil {
			return err
		}
		return auditTokenRevoke(ctx, tx, now, actor, t)
	})
	if err != nil {
		return Token{}, false, err
	}
	return t, changed, nil
}

func auditTokenRevoke(ctx context.Context, tx store.Tx, now time.Time, actor license.Actor, t Token) error {
	_, err := tx.Append(ctx, license.AuditEvent{
		At: now, Actor: actor, Action: license.ActionTokenRevoke,
		Before: map[string]any{"state": "live"}, After: map[string]any{"token": t.ID, "name": t.Name, "state": "revoked"},
	})
	return err
}

// errBadToken is the answer to every token that is not good: what is wrong with it
// only its owner knows.
func errBadToken() error {
	return license.Errorf(license.Unauthorized, "the token is not known, has expired or was revoked")
}

// Authenticate returns who calls with a token. Whether it is unknown, expired or
// revoked, the work and the error are the same.
func (a *Authority) Authenticate(ctx context.Context, text string) (Principal, error) {
	hash := sha256.Sum256([]byte(text))
	var t Token
	err := a.below.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		t, err = readToken(ctx, tx, tokenID(hash[:]))
		return err
	})
	if err != nil && !errors.Is(err, license.NotFound) {
		return Principal{}, err
	}
	known := t.Hash
	if len(known) != sha256.Size {
		known = make([]byte, sha256.Size)
	}
	same := subtle.ConstantTimeCompare(known, hash[:]) == 1
	now := a.now()
	if !same || t.State(now) != "live" {
		return Principal{}, errBadToken()
	}
	if hour := now.Truncate(time.Hour); t.LastUsed.Before(hour) {
		a.usedToken(ctx, t.ID, hour)
	}
	return t.Principal(), nil
}

// usedToken notes once an hour that a token is in use. Where it cannot be noted
// the call goes on.
func (a *Authority) usedToken(ctx context.Context, id string, hour time.Time) {
	_ = a.below.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		t, err := readToken(ctx, tx, id)
		if err != nil {
			return err
		}
		t.LastUsed = hour
		return putToken(ctx, tx, t)
	})
}
