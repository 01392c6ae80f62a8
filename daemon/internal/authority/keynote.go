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
	keysNoted    = "keys/noted"
	keysWarned   = "keys/warned"
	keysRotating = "keys/rotating"
	keysRevoked  = "keys/revoked/"
)

var systemKeys = license.Actor{Kind: license.ActorSystem, Name: "keys"}

// notedKeys is what the store knows of the key folder: what changed there since
// is told in the audit log, by one of the daemons, and after a crash by the next.
type notedKeys struct {
	Current string              `json:"current"`
	Anchor  string              `json:"anchor"`
	Seq     int64               `json:"seq"`
	Listed  map[string]keyTimes `json:"listed"`
}

type keyTimes struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// keysNow is what there is to note.
func (a *Authority) keysNow() notedKeys {
	key, set := a.custody.Current()
	n := notedKeys{Current: key.ID, Seq: set.Seq, Listed: make(map[string]keyTimes)}
	if anchors := a.custody.Anchors(); set.Rank < len(anchors) {
		n.Anchor = token.Thumbprint(anchors[set.Rank])
	}
	for _, k := range set.Keys {
		n.Listed[k.ID] = keyTimes{From: k.NotBefore, Until: k.NotAfter}
	}
	return n
}

func (n notedKeys) same(other notedKeys) bool {
	return n.Current == other.Current && n.Seq == other.Seq && n.Anchor == other.Anchor
}

// noteKeys brings what the store knows of the keys up to date: a rotation and an
// installation get their audit events, and the keys that a new set lacks are
// noted as revoked.
func (a *Authority) noteKeys(ctx context.Context, actor license.Actor, now time.Time) error {
	err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		was, err := readValue[notedKeys](ctx, tx, keysNoted)
		if is := a.keysNow(); err == nil && !was.same(is) && !a.older(is, was) {
			err = errChanged
		}
		return err
	})
	if !errors.Is(err, errChanged) {
		return err
	}
	return a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		is := a.keysNow()
		was, err := readValue[notedKeys](ctx, tx, keysNoted)
		if err != nil || was.same(is) || a.older(is, was) {
			return err
		}
		switch {
		case was.Current == "": // the first time
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
		return writeValue(ctx, tx, keysNoted, is)
	})
}

var errChanged = errors.New("the keys have changed")

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
