package authority

import (
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// errNotAsked is the refusal of a dry run that would have to ask a marketplace.
var errNotAsked = license.Errorf(license.Conflict, "this code is not known here; a marketplace may know it, and a dry run asks none")

// wouldRotate says what a rotation would do, or why it would be refused.
func (a *Authority) wouldRotate(now time.Time) (Rotated, error) {
	s := a.custody.Standing(now)
	if s.Next == "" {
		return Rotated{}, license.Errorf(license.Conflict, "there is no next key to rotate to: sign and install a key set that lists one")
	}
	key, _ := a.custody.Current()
	return Rotated{Current: s.Next, Retired: key.ID}, nil
}
