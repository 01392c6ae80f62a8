package keys_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func TestInstallRefuses(t *testing.T) {
	r := newRing(t)
	dir := r.Dir()
	old := r.KeySet().Raw
	install(t, r, nextSet(t, r, "primary", made), made)
	install(t, r, r.KeySet().Raw+"\n", made) // the one in force, again
	at := made.Add(day)
	for what, c := range map[string]struct {
		raw    string
		reason license.Reason
	}{
		"an older one": {old, license.Conflict},
		"the same seq": {change(t, r, "primary", func(s *token.KeySet) { s.Seq--; s.ExpiresAt = s.ExpiresAt.Add(day) }), license.Conflict},
		"garbage":      {"garbage", license.BadRequest},
		"a forgery":    {old[:len(old)-20] + strings.Repeat("A", 20), license.BadRequest},
		"other issuer": {change(t, r, "primary", func(s *token.KeySet) { s.Issuer += "/x" }), license.BadRequest},
		"expired":      {change(t, r, "primary", func(s *token.KeySet) { s.ExpiresAt = at }), license.BadRequest},
		"future":       {change(t, r, "primary", func(s *token.KeySet) { s.IssuedAt = at.Add(11 * time.Minute) }), license.Clock},
		"none of ours": {change(t, r, "primary", func(s *token.KeySet) { s.Keys = []token.Key{foreignKey(t)} }), license.Conflict},
		"current over": {change(t, r, "primary", func(s *token.KeySet) { s.Keys[0].NotAfter = at }), license.Conflict},
	} {
		before, state := read(t, filepath.Join(dir, "keyset.jwt")), read(t, filepath.Join(dir, "state.json"))
		if err := r.Install(c.raw, at); license.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v, want %q", what, err, c.reason)
		}
		if !bytes.Equal(before, read(t, filepath.Join(dir, "keyset.jwt"))) || !bytes.Equal(state, read(t, filepath.Join(dir, "state.json"))) {
			t.Errorf("%s: a refused key set changed something", what)
		}
	}
	mustWork(t, open(t, dir), at)
}

func TestStandbyTakesOver(t *testing.T) {
	r := newRing(t)
	stolen := change(t, r, "primary", func(s *token.KeySet) { s.Seq = 1000 })
	if h := r.Health(made); h.Standbys != 1 {
		t.Errorf("%d standbys", h.Standbys)
	}
	install(t, r, stolen, made)
	// A lower seq by a later anchor is newer.
	install(t, r, change(t, r, "standby", func(s *token.KeySet) { s.Seq = 2 }), made)
	for _, r := range []*keys.Ring{r, open(t, r.Dir())} {
		if r.KeySet().Rank != 1 || r.KeySet().Seq != 2 || r.Health(made).Standbys != 0 {
			t.Errorf("in force: %+v", r.KeySet())
		}
		err := r.Install(change(t, r, "primary", func(s *token.KeySet) { s.Seq = 5000 }), made)
		wantReason(t, err, license.Conflict, "for good")
		err = r.Install(nextSet(t, r, "primary", made), made)
		wantReason(t, err, license.Conflict, "for good")
	}
	// Not even by hand.
	write(t, filepath.Join(r.Dir(), "keyset.jwt"), []byte(stolen))
	_, err := keys.Open(r.Dir(), options())
	wantReason(t, err, license.Older, "keyset.jwt")
}

func TestOlderCopyOfTheKeySet(t *testing.T) {
	r := newRing(t)
	old := r.KeySet().Raw
	install(t, r, nextSet(t, r, "primary", made), made)
	write(t, filepath.Join(r.Dir(), "keyset.jwt"), []byte(old))
	_, err := keys.Open(r.Dir(), options())
	wantReason(t, err, license.Older, "keyset.jwt")
	if _, err := r.Reload(); err == nil {
		t.Error("an older key set was read")
	}
	mustWork(t, r, made)
}

func TestRevokeTheCurrentKey(t *testing.T) {
	r := newRing(t)
	first, second := r.KeySet().Keys[0].ID, r.KeySet().Keys[1].ID
	raw := sign(t, r, made)
	set := nextSet(t, r, "primary", made, first)
	mustWork(t, r, made) // nothing has changed yet
	install(t, r, set, made)
	if r.Signing().ID != second || fileExists(t, private(r.Dir(), first)) {
		t.Errorf("%s signs, want %s", r.Signing().ID, second)
	}
	if verify(raw, r.KeySet()) == nil {
		t.Error("what a revoked key has signed still verifies")
	}
	if diff := cmp.Diff([]string{"current", "next"}, roles(r)); diff != "" {
		t.Errorf("roles: -want +got:\n%s", diff)
	}
	mustWork(t, open(t, r.Dir()), made)

	// And now everything.
	ids := []string{r.KeySet().Keys[0].ID, r.KeySet().Keys[1].ID}
	install(t, r, nextSet(t, r, "primary", made, ids...), made)
	if slices.Contains(ids, r.Signing().ID) || r.Health(made).Next == "" {
		t.Error("a revoked key is in use")
	}
	mustWork(t, open(t, r.Dir()), made)
}

func TestRevokeARetiredKey(t *testing.T) {
	r := newRing(t)
	raw := sign(t, r, made)
	first := r.Signing().ID
	rotate(t, r, made)
	install(t, r, nextSet(t, r, "primary", made, first), made)
	if verify(raw, r.KeySet()) == nil {
		t.Error("what a revoked key has signed still verifies")
	}
	mustWork(t, open(t, r.Dir()), made)
	_, err := r.ProposeKeySet(made, first)
	wantReason(t, err, license.NotFound, first)
}

func TestProposal(t *testing.T) {
	r := newRing(t)
	at := made.Add(300 * day)
	unsigned, err := r.ProposeKeySet(at)
	if err != nil {
		t.Fatal(err)
	}
	set, err := token.ParseUnsignedKeySet(unsigned)
	if err != nil {
		t.Fatal(err)
	}
	want := r.KeySet()
	want.Seq, want.IssuedAt, want.ExpiresAt, want.Raw = 2, at, at.Add(400*day), ""
	for i := range want.Keys {
		want.Keys[i].NotAfter = at.Add(800 * day)
	}
	if diff := cmp.Diff(want, set); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	// After a rotation a key is made, once, and waits sealed.
	rotate(t, r, at)
	first, err := r.ProposeKeySet(at)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"retired", "current", "pending"}, roles(r)); diff != "" {
		t.Errorf("roles: -want +got:\n%s", diff)
	}
	if set, err = token.ParseUnsignedKeySet(first); err != nil {
		t.Fatal(err)
	}
	if nbf := set.Keys[1].NotBefore; len(set.Keys) != 3 || !nbf.Equal(at.Add(-10*time.Minute)) {
		t.Errorf("%d keys, the new one valid from %s", len(set.Keys), nbf)
	}
	second, err := open(t, r.Dir()).ProposeKeySet(at)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(first), string(second)); diff != "" {
		t.Errorf("proposed again: -first +second:\n%s", diff)
	}
	_, err = r.Rotate(at)
	wantReason(t, err, license.Conflict) // not before it is installed
}

func TestProposalIsBounded(t *testing.T) {
	r := newRing(t)
	install(t, r, change(t, r, "primary", func(s *token.KeySet) {
		for len(s.Keys) < 64 {
			s.Keys = append(s.Keys, foreignKey(t))
		}
	}), made)
	rotate(t, r, made) // the new next key would be one too many
	_, err := r.ProposeKeySet(made)
	wantReason(t, err, license.Conflict, "65 keys")
	if _, err := r.ProposeKeySet(made, r.KeySet().Keys[63].ID); err != nil {
		t.Error(err)
	}
}

func TestSignKeySetRefusesNonsense(t *testing.T) {
	r := newRing(t)
	a := anchor(t, r.Dir(), "primary")
	for what, edit := range map[string]func(*token.KeySet){
		"no issuer":         func(s *token.KeySet) { s.Issuer = "" },
		"seq":               func(s *token.KeySet) { s.Seq = 0 },
		"no keys":           func(s *token.KeySet) { s.Keys = nil },
		"expired":           func(s *token.KeySet) { s.ExpiresAt = made },
		"ends before":       func(s *token.KeySet) { s.ExpiresAt = s.IssuedAt },
		"not reached":       func(s *token.KeySet) { s.IssuedAt = made.Add(time.Hour) },
		"valid now":         func(s *token.KeySet) { s.Keys = s.Keys[:1]; s.Keys[0].NotBefore = made.Add(time.Second) },
		"the anchor itself": func(s *token.KeySet) { s.Keys[1].Public, s.Keys[1].ID = a.Public(), a.ID() },
	} {
		set := r.KeySet()
		edit(&set)
		unsigned, err := set.MarshalUnsigned()
		if err != nil {
			continue // it cannot even be written
		}
		if raw, err := a.SignKeySet(unsigned, made); err == nil {
			t.Errorf("%s: signed %s", what, raw)
		} else if reason := license.ReasonOf(err); reason != license.BadRequest && reason != license.Clock {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, text := range []string{"", "{}", r.KeySet().Raw, "null", "[]"} {
		_, err := a.SignKeySet([]byte(text), made)
		wantReason(t, err, license.BadRequest)
	}
}
