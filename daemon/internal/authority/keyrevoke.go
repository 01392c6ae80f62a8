package authority

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// KeyRevocation is the end of a key that others may hold. It is marked first:
// from then on no key set that lists it is proposed or installed, and no rotation
// moves to it. It is ended by the installation of a set without it; an anchor, by
// that of one which a later anchor has signed.
type KeyRevocation struct {
	KID     string    `json:"kid"`
	Role    string    `json:"role"` // what it was when it was marked
	Reason  string    `json:"reason"`
	AskedAt time.Time `json:"asked_at"`
	// From and Until are the instants between which what it signed was accepted;
	// zero of an anchor, and of a key that never was in a set.
	From    time.Time `json:"from,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	EndedAt time.Time `json:"ended_at,omitzero"`
	Seq     int64     `json:"seq,omitzero"` // of the set that ended it
}

// Ended reports whether verifiers that have the newest key set refuse the key.
func (r KeyRevocation) Ended() bool { return !r.EndedAt.IsZero() }

// maxRevoked is how many keys can be marked by one call: a key set lists no more.
const maxRevoked = 64

// RevokedKeys says what RevokeKeys has done.
type RevokedKeys struct {
	Keys    []KeyRevocation
	Rotated *Rotated // where the current key was among them and another one took over
}

// RevokeKeys marks keys that others may hold: signing keys of the set in force,
// such as were made for the next set, and anchors. Where the current key is among
// them and the next one is not, the next one takes over at once; else the current
// key goes on signing until a set without it is installed. Marking a key again
// changes nothing.
//
// It refuses a key that is not known with NotFound, and an anchor after which no
// other ranks with Conflict: nothing would be left to end it.
func (a *Authority) RevokeKeys(ctx context.Context, actor license.Actor, reason string, kids ...string) (out RevokedKeys, err error) {
	now, err := a.dated(ctx)
	if err != nil {
		return out, err
	}
	reason = strings.TrimSpace(reason)
	switch {
	case reason == "":
		return out, license.FieldErrorf("reason", "a reason is required")
	case len(kids) == 0 || len(kids) > maxRevoked:
		return out, license.FieldErrorf("keys", "between 1 and %d keys can be revoked at once", maxRevoked)
	}
	if err := plain("reason", reason, 512); err != nil {
		return out, err
	}
	if err := a.noteKeys(ctx, systemKeys, now); err != nil {
		return out, err
	}
	if _, err := a.catchUp(ctx); err != nil {
		return out, err
	}
	var marks []KeyRevocation
	for _, kid := range kids {
		m, err := a.markOf(kid)
		if err != nil {
			return out, err
		}
		m.Reason, m.AskedAt = reason, now
		marks = append(marks, m)
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		out.Keys = nil
		for _, m := range marks {
			r, err := mark(ctx, tx, m, actor)
			if err != nil {
				return fmt.Errorf("mark a key: %w", err)
			}
			out.Keys = append(out.Keys, r)
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	return out, a.leaveMarked(ctx, actor, now, &out)
}

// markOf finds what kind of key is to be marked.
func (a *Authority) markOf(kid string) (KeyRevocation, error) {
	anchors := a.custody.Anchors()
	for i, k := range anchors {
		if token.Thumbprint(k) != kid {
			continue
		}
		if i == len(anchors)-1 {
			return KeyRevocation{}, license.Errorf(license.Conflict,
				"%s is the last anchor: none ranks after it that could end it; ship a product with another one", kid)
		}
		return KeyRevocation{KID: kid, Role: RoleAnchor}, nil
	}
	for _, k := range a.custody.Keys() {
		if k.ID == kid {
			return KeyRevocation{KID: kid, Role: k.Role, From: k.NotBefore, Until: k.NotAfter}, nil
		}
	}
	return KeyRevocation{}, license.Errorf(license.NotFound, "there is no key %s in the key set in force", printable(kid))
}

func mark(ctx context.Context, tx store.Tx, m KeyRevocation, actor license.Actor) (KeyRevocation, error) {
	old, err := readValue[KeyRevocation](ctx, tx, keysRevoked+m.KID)
	if err != nil || old.KID != "" && !old.Ended() {
		return old, err
	}
	if err := writeValue(ctx, tx, keysRevoked+m.KID, m); err != nil {
		return m, err
	}
	_, err = tx.Append(ctx, license.AuditEvent{
		At: m.AskedAt, Actor: actor, Action: license.ActionKeysRevoke, After: map[string]any{"kid": m.KID, "role": m.Role}, Note: m.Reason,
	})
	return m, err
}

// leaveMarked rotates away from a current key that is marked, where that can be.
func (a *Authority) leaveMarked(ctx context.Context, actor license.Actor, now time.Time, out *RevokedKeys) error {
	key, _ := a.custody.Current()
	if !slices.ContainsFunc(out.Keys, func(r KeyRevocation) bool { return r.KID == key.ID && !r.Ended() }) {
		return nil
	}
	next := a.custody.Standing(now).Next
	if next == "" || a.nextIsGood(ctx, now) != nil || slices.ContainsFunc(out.Keys, func(r KeyRevocation) bool { return r.KID == next }) {
		return nil // it goes on until a new set is installed
	}
	if DryRun(ctx) {
		r, err := a.wouldRotate(now)
		out.Rotated = &r
		return err
	}
	r, err := a.rotate(ctx, actor, now)
	if err != nil {
		return fmt.Errorf("the keys are marked, but the signing key could not be rotated: %w", err)
	}
	out.Rotated = &r
	return nil
}

// KeepKey takes the mark from a key that was marked by mistake, and reports whether
// it had one. Once a set without the key is installed it is Conflict: a key that
// verifiers have been told to refuse is refused for good.
func (a *Authority) KeepKey(ctx context.Context, actor license.Actor, kid string) (changed bool, err error) {
	now, err := a.dated(ctx)
	if err != nil {
		return false, err
	}
	if !isName(kid) {
		return false, license.Errorf(license.NotFound, "no key %s is being revoked", printable(kid))
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		changed = false
		r, err := readValue[KeyRevocation](ctx, tx, keysRevoked+kid)
		switch {
		case err != nil || r.KID == "":
			return err
		case r.Ended():
			return license.Errorf(license.Conflict, "the key was ended by key set no. %d; what has been revoked stays so", r.Seq)
		}
		changed = true
		if err := tx.SetValue(ctx, keysRevoked+kid, nil); err != nil {
			return err
		}
		_, err = tx.Append(ctx, license.AuditEvent{At: now, Actor: actor, Action: license.ActionKeysKeep, After: map[string]any{"kid": kid}})
		return err
	})
	return changed, err
}

// isName reports whether s has the letters of a kid.
func isName(s string) bool {
	return len(s) == 43 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// Revocations lists the keys that were marked, those under way first, and of
// either the newest first.
func (a *Authority) Revocations(ctx context.Context) (list []KeyRevocation, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		list, err = readRevocations(ctx, tx)
		return err
	})
	return list, err
}

func readRevocations(ctx context.Context, tx store.Tx) ([]KeyRevocation, error) {
	var list []KeyRevocation
	p := store.Page{Limit: store.MaxPage}
	for {
		values, next, err := tx.Values(ctx, keysRevoked, p)
		if err != nil {
			return nil, fmt.Errorf("read which keys are revoked: %w", err)
		}
		for _, v := range values {
			r, err := parseValue[KeyRevocation](v)
			if err != nil {
				return nil, err
			}
			list = append(list, r)
		}
		if p.Cursor = next; next == "" {
			break
		}
	}
	slices.SortStableFunc(list, func(x, y KeyRevocation) int {
		if x.Ended() != y.Ended() {
			return cmp.Compare(x.EndedAt.Unix(), y.EndedAt.Unix())
		}
		return y.AskedAt.Compare(x.AskedAt)
	})
	return list, nil
}

// endsMarked refuses a key set that would not end what is being ended.
func (a *Authority) endsMarked(ctx context.Context, raw string) error {
	set, err := token.VerifyKeySet(strings.TrimSpace(raw), a.custody.Anchors())
	if err != nil {
		return nil //nolint:nilerr // the custody says it better
	}
	marked, err := a.Revocations(ctx)
	if err != nil {
		return err
	}
	signer := ""
	if anchors := a.custody.Anchors(); set.Rank < len(anchors) {
		signer = token.Thumbprint(anchors[set.Rank])
	}
	for _, r := range marked {
		_, listed := set.Key(r.KID)
		switch {
		case r.Role == RoleAnchor && r.KID == signer:
			return license.Errorf(license.Conflict,
				"the key set is signed by the anchor %s, which is being revoked (%s): have a later anchor sign it", r.KID, r.Reason)
		case listed && set.Raw != a.custody.KeySet().Raw:
			return license.Errorf(license.Conflict,
				"the key set lists %s, which is being revoked (%s): request another one, and have that signed", r.KID, r.Reason)
		}
	}
	return nil
}

// signerOf is the kid of the key that signed the licence in a file, "" where there
// is none.
func signerOf(file []byte) string {
	f, err := token.ParseFile(file)
	if err != nil || len(f.Licenses) == 0 {
		return ""
	}
	l, err := token.PeekLicense(f.Licenses[0])
	if err != nil && !errors.Is(err, license.Damaged) {
		return ""
	}
	return l.KeyID
}
