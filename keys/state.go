package keys

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// stateVersion is the form of state.json that this package writes and reads.
const stateVersion = 1

// state is what a key folder knows beside its key set: which key is current,
// and the mark below which no key set is accepted any more.
type state struct {
	Version int    `json:"version"`
	Current string `json:"current"` // kid
	// Since is when the current key began to sign, in seconds since the epoch; 0 where
	// an earlier version, which did not note it, wrote the file.
	Since int64 `json:"since,omitempty"`

	// The mark: the newest key set that was ever in force. The anchor is noted by
	// its kid, so that its rank follows a list of anchors that has changed.
	Anchor string   `json:"anchor"`
	Seq    int64    `json:"seq"`
	Digest string   `json:"digest"` // base64url of SHA-256 of the token
	Listed []string `json:"listed"` // kids in it

	Retired []retirement `json:"retired,omitempty"`
	// Destroy are keys whose private half must not be used again and is to be removed.
	Destroy []string `json:"destroy,omitempty"`
}

// retirement notes when a key that is still listed stopped signing.
type retirement struct {
	KID string `json:"kid"`
	At  int64  `json:"at"` // seconds since the epoch
}

func parseState(path string, b []byte) (state, error) {
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return state{}, damaged(path, "it is not what this program writes").WithCause(err)
	}
	if s.Version != stateVersion {
		return state{}, damaged(path, fmt.Sprintf("its version is %d, this program knows %d", s.Version, stateVersion))
	}
	ids := slices.Concat(s.Listed, s.Destroy, []string{s.Current, s.Anchor})
	for _, r := range s.Retired {
		ids = append(ids, r.KID)
	}
	if slices.ContainsFunc(ids, func(k string) bool { return !isKID(k) }) {
		return state{}, damaged(path, "it names a key by what is not a key id")
	}
	if s.Seq < 1 {
		return state{}, damaged(path, "its seq is not positive")
	}
	return s, nil
}

// isKID reports whether s has the form of an RFC 7638 thumbprint by SHA-256; it
// then is also fit for a file name.
func isKID(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == sha256.Size && len(s) == base64.RawURLEncoding.EncodedLen(sha256.Size)
}

func (s state) marshal() ([]byte, error) {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the state of the key folder: %w", err)
	}
	return append(b, '\n'), nil
}

func digest(raw string) string {
	sum := sha256.Sum256([]byte(raw))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func kids(set token.KeySet) []string {
	ids := make([]string, len(set.Keys))
	for i, k := range set.Keys {
		ids[i] = k.ID
	}
	return ids
}

// compare places a verified key set against the mark: above zero when it is
// newer, zero when it is the very one, below when it is older. A later anchor
// is newer whatever the seq.
func (s state) compare(set token.KeySet, anchors token.Anchors) (int, error) {
	rank := slices.IndexFunc(anchors, func(a ed25519.PublicKey) bool { return token.Thumbprint(a) == s.Anchor })
	if rank < 0 {
		return 0, license.Errorf(license.Conflict,
			"the anchor %s, which signed the key set in force, is not among the anchors given", s.Anchor)
	}
	if c := cmp.Or(cmp.Compare(set.Rank, rank), cmp.Compare(set.Seq, s.Seq)); c != 0 {
		return c, nil
	}
	if digest(set.Raw) != s.Digest {
		return 0, license.Errorf(license.Conflict,
			"this is another key set with seq %d than the one in force: a new one needs a higher seq", s.Seq)
	}
	return 0, nil
}

// adopt returns the state after set, which is newer, has come into force.
//
// The current key stays current where the set lists it. Else it has been
// revoked, and the first key of the set whose private half is here takes over.
// Private halves of keys that were listed and are not any more are destroyed.
func (s state) adopt(set token.KeySet, anchors token.Anchors, private []string) (state, error) {
	n := state{
		Version: stateVersion, Anchor: token.Thumbprint(anchors[set.Rank]), Seq: set.Seq, Digest: digest(set.Raw),
		Current: s.Current, Since: s.Since, Listed: kids(set),
	}
	lists := func(kid string) bool { return slices.Contains(n.Listed, kid) }
	for _, kid := range slices.Concat(s.Destroy, s.Listed) {
		if slices.Contains(private, kid) && (slices.Contains(s.Destroy, kid) || !lists(kid)) && !slices.Contains(n.Destroy, kid) {
			n.Destroy = append(n.Destroy, kid)
		}
	}
	for _, r := range s.Retired {
		if lists(r.KID) {
			n.Retired = append(n.Retired, r)
		}
	}
	if lists(n.Current) {
		return n, nil
	}
	i := slices.IndexFunc(n.Listed, func(kid string) bool { return n.usable(kid, private) })
	if i < 0 {
		return state{}, license.Errorf(license.Conflict, "the key set lists no key that this server holds, so nothing could be signed under it")
	}
	n.Current, n.Since = n.Listed[i], set.IssuedAt.Unix()
	return n, nil
}

// usable reports whether the key can sign: its private half is here, and it was
// neither retired nor is to be destroyed.
func (s state) usable(kid string, private []string) bool {
	_, retired := s.retiredAt(kid)
	return !retired && !slices.Contains(s.Destroy, kid) && slices.Contains(private, kid)
}

// rotated returns the state after next has taken the place of the current key.
func (s state) rotated(next string, at time.Time, private []string) state {
	n := s
	n.Current, n.Since = next, at.Unix()
	n.Retired = append(slices.Clone(s.Retired), retirement{KID: s.Current, At: at.Unix()})
	n.Destroy = []string{s.Current}
	for _, kid := range s.Destroy {
		if kid != s.Current && slices.Contains(private, kid) {
			n.Destroy = append(n.Destroy, kid)
		}
	}
	return n
}

func (s state) retiredAt(kid string) (time.Time, bool) {
	for _, r := range s.Retired {
		if r.KID == kid {
			return time.Unix(r.At, 0).UTC(), true
		}
	}
	return time.Time{}, false
}

// since is when the current key began to sign: where that was not noted, the last
// retirement, and else when the key was made.
func (v *view) since() time.Time {
	at := v.state.Since
	if at == 0 {
		for _, r := range v.state.Retired {
			at = max(at, r.At)
		}
	}
	if at != 0 {
		return time.Unix(at, 0).UTC()
	}
	k, _ := v.set.Key(v.current.ID)
	return k.NotBefore.Add(slack)
}

// next returns the key that a rotation moves to, "" where there is none.
func (s state) next(set token.KeySet, private []string) string {
	for _, k := range set.Keys {
		if k.ID != s.Current && s.usable(k.ID, private) {
			return k.ID
		}
	}
	return ""
}

func (f *folder) readState() (state, []byte, error) {
	path := filepath.Join(f.dir, stateFile)
	b, err := readFile(path, public)
	if err != nil {
		return state{}, nil, err
	}
	s, err := parseState(path, b)
	return s, b, err
}

func (f *folder) writeState(s state) error {
	b, err := s.marshal()
	if err != nil {
		return err
	}
	return f.disk.write(filepath.Join(f.dir, stateFile), b, secretPerm)
}
