// Package custody shows a key folder to the use cases as their keeper of keys.
package custody

import (
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/keys"
)

// Ring is a key folder as authority.Custody.
type Ring struct{ *keys.Ring }

var _ authority.Custody = Ring{}

// Keys lists the keys of the set in force, and those made for the next one.
func (c Ring) Keys() []authority.KeyInfo {
	var out []authority.KeyInfo
	for _, k := range c.List() {
		out = append(out, authority.KeyInfo{
			ID: k.KID, Role: string(k.Role), NotBefore: k.NotBefore, NotAfter: k.NotAfter, Private: k.PrivatePresent,
		})
	}
	return out
}

// Standing says what the keeper of the keys has to know at now.
func (c Ring) Standing(now time.Time) authority.KeyStanding {
	h := c.Health(now)
	var lacking []string
	for _, k := range c.List() {
		if k.Role == keys.RoleRetired && k.RetiredAt.IsZero() && !k.PrivatePresent {
			lacking = append(lacking, k.KID)
		}
	}
	return authority.KeyStanding{
		SetUntil: h.ExpiresAt, CurrentSince: h.Since, CurrentUntil: h.CurrentEnd, Next: h.Next, Ahead: h.Ahead, Fault: h.Fault, Leftover: h.Leftover, Lacking: lacking,
	}
}

// Propose makes the next key set, unsigned.
func (c Ring) Propose(now time.Time, revoke ...string) ([]byte, error) {
	return c.ProposeKeySet(now, revoke...)
}

// InForce says which keys are in force by this folder.
func (c Ring) InForce() (authority.KeysInForce, error) { return inForce(c.Ring.Standing()) }

// Stands places this folder against what was noted.
func (c Ring) Stands(k authority.KeysInForce) (int, error) { return c.Ring.Stands(standing(k)) }

// Follow brings the folder in step with what was noted.
func (c Ring) Follow(k authority.KeysInForce) (bool, error) { return c.Ring.Follow(standing(k)) }

// Ends lists the keys whose private halves Follow would destroy.
func (c Ring) Ends(k authority.KeysInForce) ([]string, error) { return c.Ring.Ends(standing(k)) }

// PlanRotation returns what a rotation would put in force.
func (c Ring) PlanRotation(now time.Time) (authority.KeysInForce, error) {
	return inForce(c.Ring.PlanRotation(now))
}

// PlanInstall returns what a signed key set would put in force.
func (c Ring) PlanInstall(raw string, now time.Time) (authority.KeysInForce, error) {
	return inForce(c.Ring.PlanInstall(raw, now))
}

// Sealed returns what a daemon needs to serve with these keys, beside the identity.
func (c Ring) Sealed() (s authority.SealedKeys, err error) {
	b, err := c.Bundle()
	if err != nil {
		return s, err
	}
	k, err := inForce(b.Standing, nil)
	return authority.SealedKeys{InForce: k, Anchors: b.Anchors, DataKey: b.DataKey, Private: b.Private}, err
}

// Bundle is what Sealed has returned, for keys.Unpack.
func Bundle(s authority.SealedKeys) keys.Bundle {
	return keys.Bundle{Standing: standing(s.InForce), Anchors: s.Anchors, DataKey: s.DataKey, Private: s.Private}
}

func inForce(s keys.Standing, err error) (authority.KeysInForce, error) {
	return authority.KeysInForce{Current: s.Current, State: s.State, Set: string(s.Set)}, err
}

func standing(k authority.KeysInForce) keys.Standing {
	return keys.Standing{Current: k.Current, State: k.State, Set: []byte(k.Set)}
}
