package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// The names of values about keys. Of revocations there is one each.
const (
	keysNoted   = "keys/noted"
	keysWarned  = "keys/warned"
	keysRevoked = "keys/revoked/"
)

var systemKeys = license.Actor{Kind: license.ActorSystem, Name: "keys"}

// notedKeys is which keys are in force, as the store says to all daemons: what one
// of them changes is noted here first, in the transaction that tells of it in the
// audit log, and then followed in the key folder of each.
type notedKeys struct {
	Current string              `json:"current"`
	Anchor  string              `json:"anchor"`
	Seq     int64               `json:"seq"`
	Listed  map[string]keyTimes `json:"listed"`
	// InForce is what a key folder can follow; absent where an earlier version noted it.
	InForce *KeysInForce `json:"in_force,omitzero"`
	// Sealed counts the changes of the sealed keys in the store.
	Sealed int64 `json:"sealed,omitzero"`
}

type keyTimes struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// keysNow is what there is to note.
func (a *Authority) keysNow() (notedKeys, error) {
	is, err := a.custody.InForce()
	if err != nil {
		return notedKeys{}, fmt.Errorf("look which keys are in force: %w", err)
	}
	return a.noteOf(is)
}

func (a *Authority) noteOf(is KeysInForce) (notedKeys, error) {
	anchors := a.custody.Anchors()
	set, err := token.VerifyKeySet(is.Set, anchors)
	if err != nil {
		return notedKeys{}, fmt.Errorf("read the key set in force: %w", err)
	}
	n := notedKeys{Current: is.Current, Anchor: token.Thumbprint(anchors[set.Rank]), Seq: set.Seq, Listed: make(map[string]keyTimes), InForce: &is}
	for _, k := range set.Keys {
		n.Listed[k.ID] = keyTimes{From: k.NotBefore, Until: k.NotAfter}
	}
	return n, nil
}

// inForce is what a key folder follows, of a note that has it.
func (n notedKeys) inForce() KeysInForce {
	is := *n.InForce
	is.Current = n.Current
	return is
}

func (n notedKeys) same(other notedKeys) bool {
	return n.Current == other.Current && n.Seq == other.Seq && n.Anchor == other.Anchor
}

// noteKeys notes what the key folder has and the store does not: at the first
// start, where the folder was changed without a daemon, and where the store was
// restored. A folder that is older is not noted.
func (a *Authority) noteKeys(ctx context.Context, actor license.Actor, now time.Time) error {
	was, err := a.noted(ctx)
	if err != nil {
		return err
	}
	if c, err := a.keysStand(was); err != nil || c <= 0 {
		return nil //nolint:nilerr // keysBehind says so
	}
	here, err := a.sealedHere()
	if err != nil {
		return err
	}
	return a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		was, err := readValue[notedKeys](ctx, tx, keysNoted)
		if err != nil {
			return err
		}
		if c, err := a.keysStand(was); err != nil || c <= 0 {
			return nil //nolint:nilerr // another daemon has changed them meanwhile
		}
		is, err := a.keysNow()
		if err != nil {
			return err
		}
		return a.noteChange(ctx, tx, keyChange{was: was, is: is, here: here, actor: actor, now: now})
	})
}

// putInForce notes that plan, which was made when the store said from, is in force. Only
// one of several daemons can; it reports whether plan was not in force before. The key
// folder follows it then; what a crash leaves undone there is done at the next look.
func (a *Authority) putInForce(ctx context.Context, actor license.Actor, now time.Time, from notedKeys, plan KeysInForce) (made bool, err error) {
	is, err := a.noteOf(plan)
	if err != nil {
		return false, err
	}
	here, err := a.sealedHere()
	if err != nil {
		return false, err
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		was, err := readValue[notedKeys](ctx, tx, keysNoted)
		if made = err == nil && !was.same(is); !made {
			return err
		}
		if !was.same(from) {
			return changedMeanwhile()
		}
		c, err := a.keysStand(was)
		switch newer := is.Seq > was.Seq || a.rank(is.Anchor) > a.rank(was.Anchor); {
		case err != nil && !newer:
			return err
		case (err != nil || c < 0) && !newer, a.older(is, was):
			return changedMeanwhile()
		}
		return a.noteChange(ctx, tx, keyChange{was: was, is: is, here: here, actor: actor, now: now})
	})
	if reason := license.ReasonOf(err); reason == license.Internal || reason == license.ReadOnly {
		return a.madeAfterAll(ctx, is, err)
	}
	return made && err == nil, err
}

// madeAfterAll looks whether what was to be noted is, though the store has failed to
// say so, and says what to do where that cannot be told.
func (a *Authority) madeAfterAll(ctx context.Context, is notedKeys, failure error) (made bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyLookTimeout)
	defer cancel()
	noted, err := a.noted(ctx)
	switch {
	case err == nil && noted.same(is):
		return true, nil
	case err == nil && license.ReasonOf(failure) == license.ReadOnly:
		return false, failure // it was not done
	}
	unsure := license.Errorf(license.ReasonOf(failure), "it is not known whether this was done (%s): see in licensectl status which key signs, "+
		"under which key set, before you do it again; if it was done, each daemon follows by itself", detailOf(failure))
	return false, unsure.WithCause(errors.Join(failure, err))
}

// follow has the key folder follow what was put in force.
func (a *Authority) follow(ctx context.Context, plan KeysInForce) error {
	a.keyMu.Lock()
	defer a.keyMu.Unlock()
	_, err := a.custody.Follow(plan)
	if err != nil {
		err = fmt.Errorf("it is noted in the store, and the key folder cannot follow yet, which is tried again: %w", err)
	}
	return errors.Join(err, a.lookAtKeys(context.WithoutCancel(ctx)))
}

func changedMeanwhile() error {
	return license.Errorf(license.Conflict, "another daemon has changed the keys meanwhile: look at them, and do it again if that is still wanted")
}

// rotate moves to the next key.
func (a *Authority) rotate(ctx context.Context, actor license.Actor, now time.Time) (Rotated, error) {
	if err := a.noteKeys(ctx, systemKeys, now); err != nil { // what was in force until now
		return Rotated{}, err
	}
	from, err := a.noted(ctx)
	if err != nil {
		return Rotated{}, err
	}
	was, _ := a.custody.Current()
	plan, err := a.custody.PlanRotation(now)
	made := false
	if err == nil {
		made, err = a.putInForce(ctx, actor, now, from, plan)
	}
	switch {
	case err != nil:
	case made:
		err = a.follow(ctx, plan)
	default:
		err = changedMeanwhile()
	}
	if err != nil {
		return Rotated{}, fmt.Errorf("rotate the signing key: %w", err)
	}
	is := a.custody.Standing(now)
	return Rotated{Current: plan.Current, Retired: was.ID, HasNext: is.Next != "", Leftover: is.Leftover}, nil
}

// keyChange is that other keys are in force.
type keyChange struct {
	was, is notedKeys
	here    *SealedKeys // of sealedHere
	actor   license.Actor
	now     time.Time
}

// noteChange notes a change of the keys, and tells of it in the audit log.
func (a *Authority) noteChange(ctx context.Context, tx store.Tx, c keyChange) (err error) {
	was, is, actor, now := c.was, c.is, c.actor, c.now
	switch {
	case was.Current == "", was.same(is): // the first time
	case was.Seq != is.Seq || was.Anchor != is.Anchor:
		err = noteInstalled(ctx, tx, was, is, actor, now)
	default:
		_, err = tx.Append(ctx, license.AuditEvent{
			At: now, Actor: actor, Action: license.ActionKeysRotate, After: map[string]any{"current": is.Current, "retired": was.Current},
		})
	}
	if err != nil {
		return fmt.Errorf("note a change of the keys: %w", err)
	}
	is.Sealed = was.Sealed
	if err := writeValue(ctx, tx, keysNoted, is); err != nil {
		return err
	}
	return a.endSealed(ctx, tx, c.here, *is.InForce)
}

// noteInstalled notes a new key set, and which keys it has ended.
func noteInstalled(ctx context.Context, tx store.Tx, was, is notedKeys, actor license.Actor, now time.Time) error {
	var ended []string
	for kid := range was.Listed {
		if _, listed := is.Listed[kid]; !listed {
			ended = append(ended, kid)
		}
	}
	slices.Sort(ended)
	marked, err := readRevocations(ctx, tx)
	if err != nil {
		return err
	}
	for _, kid := range ended {
		at := slices.IndexFunc(marked, func(r KeyRevocation) bool { return r.KID == kid })
		r := KeyRevocation{KID: kid, Role: RoleRetired, Reason: "a key set without it was installed", AskedAt: now}
		if at >= 0 {
			r = marked[at]
		}
		if kid == was.Current && at < 0 {
			r.Role = RoleCurrent
		}
		r.From, r.Until, r.EndedAt, r.Seq = was.Listed[kid].From, was.Listed[kid].Until, now, is.Seq
		if err := writeValue(ctx, tx, keysRevoked+kid, r); err != nil {
			return err
		}
	}
	for _, r := range marked {
		gone := r.Role == RolePending && r.EndedAt.IsZero()
		if over := r.Role == RoleAnchor && r.EndedAt.IsZero() && r.KID != is.Anchor && was.Anchor != is.Anchor; over || gone {
			r.EndedAt, r.Seq = now, is.Seq
			if err := writeValue(ctx, tx, keysRevoked+r.KID, r); err != nil {
				return err
			}
		}
	}
	after := map[string]any{"seq": is.Seq}
	if is.Current != was.Current {
		after["current"] = is.Current
	}
	if is.Anchor != was.Anchor {
		after["anchor"] = is.Anchor
	}
	if len(ended) > 0 {
		after["revoked"] = ended
	}
	_, err = tx.Append(ctx, license.AuditEvent{At: now, Actor: actor, Action: license.ActionKeysInstall, After: after})
	return err
}
