package authority

import (
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// errNotAsked is the refusal of a dry run that would have to ask a marketplace.
var errNotAsked = license.Errorf(license.Conflict, "this code is not known here; a marketplace may know it, and a dry run asks none")

// errNotReadAgain is the refusal of a dry run about a licence that a marketplace has
// to be asked about first.
var errNotReadAgain = license.Errorf(license.Conflict, "the store was restored from a backup, and the marketplace was not asked about this licence since; a dry run asks none")

// wouldRotate says what a rotation would do, or why it would be refused.
func (a *Authority) wouldRotate(now time.Time) (Rotated, error) {
	s := a.custody.Standing(now)
	if s.Next == "" {
		return Rotated{}, license.Errorf(license.Conflict, "there is no next key to rotate to: sign and install a key set that lists one")
	}
	key, _ := a.custody.Current()
	return Rotated{Current: s.Next, Retired: key.ID}, nil
}

// wouldInstall says what an installation would put in force, or why it would be
// refused.
func (a *Authority) wouldInstall(raw string, now time.Time) (InstalledKeys, error) {
	set, current, err := a.custody.TryInstall(raw, now)
	if err != nil {
		return InstalledKeys{}, fmt.Errorf("try a key set: %w", err)
	}
	here := make(map[string]KeyInfo)
	for _, k := range a.custody.Keys() {
		here[k.ID] = k
	}
	out := InstalledKeys{Seq: set.Seq, ExpiresAt: set.ExpiresAt}
	for _, k := range set.Keys {
		info := KeyInfo{ID: k.ID, Role: RoleRetired, NotBefore: k.NotBefore, NotAfter: k.NotAfter, Private: here[k.ID].Private}
		switch {
		case k.ID == current:
			info.Role = RoleCurrent
		case info.Private:
			info.Role = RoleNext
		}
		out.Keys = append(out.Keys, info)
	}
	return out, nil
}
