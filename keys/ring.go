package keys

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/license/token"
)

// Ring is an open key folder: the daemon's signer. It is safe for concurrent
// use; reading never waits for a rotation.
//
// Several daemons may share one folder, or have one each. What is in force is then
// noted where all of them see it (Standing), and each calls Reload and Follow at
// least every ten minutes: a key set that is signed after a rotation ends the retired
// key ten minutes after its retirement, and what a daemon signs with it later is
// refused.
type Ring struct {
	redacted
	folder *folder
	codes  *CodeKey

	mu   sync.Mutex // held while the folder is changed or read again
	view atomic.Pointer[view]
}

// Open reads the key folder at dir and checks all of it: permissions, that the
// key set verifies under the anchors and is not older than one that was in force
// before, and that the current key is the one that it says. It needs no
// anchor's private half.
//
// An error has one of these reasons: license.NotFound (no folder, or an empty
// one: time for Init), license.Unauthorized (the passphrase), license.Forbidden
// (permissions), license.Damaged (a file, which is named), license.Older (a key
// set from an old copy), license.Conflict (made for another issuer, or under
// other anchors).
func Open(dir string, o Options) (*Ring, error) { return openWith(disk{}, dir, o) }

func openWith(d disk, dir string, o Options) (*Ring, error) {
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	v, err := o.openVault(dir)
	if err != nil {
		return nil, err
	}
	r := &Ring{folder: newFolder(d, filepath.Clean(dir), o)}
	r.folder.vault = v
	if r.codes, err = r.folder.loadCodeKey(); err != nil {
		return nil, err
	}
	if err := r.read(); err != nil {
		return nil, err
	}
	return r, nil
}

// read loads the folder into the ring, and destroys what a crash has left.
func (r *Ring) read() error {
	v, err := r.folder.load()
	if err != nil {
		return err
	}
	if r.folder.destroy(v) {
		if v, err = r.folder.load(); err != nil {
			return err
		}
	}
	r.view.Store(v)
	return nil
}

// Signing returns the key that signs now.
func (r *Ring) Signing() token.SigningKey { return r.view.Load().current }

// KeySet returns the key set in force, verified, with its token in Raw.
func (r *Ring) KeySet() token.KeySet {
	set := r.view.Load().set
	set.Keys = slices.Clone(set.Keys)
	return set
}

// Current returns the key that signs now together with the key set that lists
// it, which two calls around an installation might not.
func (r *Ring) Current() (token.SigningKey, token.KeySet) {
	v := r.view.Load()
	set := v.set
	set.Keys = slices.Clone(set.Keys)
	return v.current, set
}

// Anchors returns the public halves of the anchors, ranked.
func (r *Ring) Anchors() token.Anchors { return slices.Clone(r.view.Load().anchors) }

// CodeKey returns the key under which codes are found and stored.
func (r *Ring) CodeKey() *CodeKey { return r.codes }

// Dir returns the path of the key folder.
func (r *Ring) Dir() string { return r.folder.dir }

// Reload reads the folder again if another process has changed it, and reports
// whether it had. On an error the ring goes on with what it has.
func (r *Ring) Reload() (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refresh()
}

// refresh does what Reload does, under the lock.
func (r *Ring) refresh() (bool, error) {
	v := r.view.Load()
	same, err := r.folder.holds(v)
	if err != nil || same {
		return false, err
	}
	if err := r.read(); err != nil {
		return false, fmt.Errorf("read the key folder again: %w", err)
	}
	return true, nil
}

// Role is what a signing key is for.
type Role string

// The roles.
const (
	RoleCurrent Role = "current" // signs
	RoleNext    Role = "next"    // a rotation moves to it, to the first one of several
	RoleRetired Role = "retired" // listed for what it has signed
	RolePending Role = "pending" // made for a key set that is not installed yet
)

// KeyInfo describes one signing key.
type KeyInfo struct {
	KID            string    `json:"kid"`
	Role           Role      `json:"role"`
	NotBefore      time.Time `json:"not_before,omitzero"`
	NotAfter       time.Time `json:"not_after,omitzero"`
	RetiredAt      time.Time `json:"retired_at,omitzero"`
	PrivatePresent bool      `json:"private_present"`
}

// List returns the keys of the set in force in its order, then those that were
// made for a set that is not installed yet.
func (r *Ring) List() []KeyInfo {
	v := r.view.Load()
	infos := make([]KeyInfo, 0, len(v.set.Keys)+1)
	for _, k := range v.set.Keys {
		info := KeyInfo{
			KID: k.ID, Role: RoleRetired, NotBefore: k.NotBefore, NotAfter: k.NotAfter,
			PrivatePresent: slices.Contains(v.private, k.ID),
		}
		info.RetiredAt, _ = v.state.retiredAt(k.ID)
		switch {
		case k.ID == v.current.ID:
			info.Role = RoleCurrent
		case v.state.usable(k.ID, v.private):
			info.Role = RoleNext
		}
		infos = append(infos, info)
	}
	for _, kid := range v.pending() {
		infos = append(infos, KeyInfo{KID: kid, Role: RolePending, PrivatePresent: true})
	}
	return infos
}

// Health is what an administrator should know about the keys.
type Health struct {
	Issuer    string    `json:"issuer"`
	Seq       int64     `json:"seq"`
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"`
	DaysLeft  int       `json:"days_left"` // whole days until ExpiresAt, negative afterwards
	Expiring  bool      `json:"expiring"`  // fewer days left than WarnBefore

	Current     string    `json:"current"`                // kid of the key that signs
	CurrentEnd  time.Time `json:"current_end"`            // from then on verifiers refuse what it signs
	Since       time.Time `json:"since"`                  // when it began to sign
	Next        string    `json:"next"`                   // kid of the next key, "" where a rotation is not possible
	Ahead       int       `json:"ahead"`                  // how many rotations are possible before a new key set is needed
	Fault       string    `json:"fault,omitempty"`        // why the current key could not be used when it was used last
	Standbys    int       `json:"standbys"`               // anchors ranked after the one that signed the set in force
	AnchorFiles []string  `json:"anchor_files,omitempty"` // private halves of anchors that lie in the folder
	Leftover    []string  `json:"leftover,omitempty"`     // private halves of retired or revoked keys that could not be removed
}

// Health judges the keys at now.
func (r *Ring) Health(now time.Time) Health {
	v := r.view.Load()
	left := v.set.ExpiresAt.Sub(now)
	h := Health{
		Issuer: v.set.Issuer, Seq: v.set.Seq, IssuedAt: v.set.IssuedAt, ExpiresAt: v.set.ExpiresAt,
		DaysLeft: floorDays(left), Expiring: left < WarnBefore,
		Current: v.current.ID, Next: v.next.ID, Standbys: len(v.anchors) - 1 - v.set.Rank,
		AnchorFiles: r.AnchorPrivatesPresent(), Leftover: r.folder.leftover(v),
	}
	if k, ok := v.set.Key(v.current.ID); ok {
		h.CurrentEnd = k.NotAfter
	}
	h.Since = v.since()
	for _, k := range v.set.Keys {
		if k.ID != v.current.ID && v.state.usable(k.ID, v.private) {
			h.Ahead++
		}
	}
	if err := r.folder.faults.err(); err != nil {
		h.Fault = err.Error()
	}
	return h
}

func floorDays(d time.Duration) int {
	const day = 24 * time.Hour
	n := int(d / day)
	if d%day < 0 {
		n--
	}
	return n
}
