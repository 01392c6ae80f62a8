package authority

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// AffectedInstall is an install whose licence ends with a key: it is refused, or
// will be, by whoever has heard of the key set without that key.
type AffectedInstall struct {
	Install license.Install
	License license.License
	// KID is the key, and where Guessed is set it follows from when the licence was
	// made, since the record is from before the key was noted.
	KID     string
	Guessed bool
}

// Bounds of one call of AffectedInstalls.
const (
	affectedPage = 50   // licences that are read at once
	affectedScan = 2000 // that one call looks at
)

// AffectedInstalls lists the live installs that must get a new licence because of
// keys that are or would be revoked: those named by kids, or where there are none,
// all that were marked. Of an anchor these are the installs that were not answered
// since a later one took over. Licences that are released or revoked do not count.
//
// It goes through all licences in the order of their ids, at most 2000 for a call,
// so that a page can be empty and not the last; it can also hold some more than
// its limit. An install that is affected by several keys is there once.
func (a *Authority) AffectedInstalls(ctx context.Context, p store.Page, kids ...string) (list []AffectedInstall, next string, err error) {
	keys, err := a.revoked(ctx, kids)
	if err != nil || len(keys) == 0 {
		return nil, "", err
	}
	now := a.now()
	next = p.Cursor
	for scanned := 0; scanned < affectedScan && len(list) < p.Size(); scanned += affectedPage {
		err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
			licenses, after, err := tx.Licenses(ctx, store.Filter{}, store.Page{Limit: affectedPage, Cursor: next})
			if err != nil {
				return err
			}
			for _, l := range licenses {
				if s := l.StateAt(now); s == license.StateReleased || s == license.StateRevoked {
					continue
				}
				installs, err := tx.Installs(ctx, l.ID)
				if err != nil {
					return fmt.Errorf("list installs of %s: %w", l.ID, err)
				}
				list = appendAffected(list, l, installs, keys)
			}
			next = after
			return nil
		})
		if err != nil {
			return nil, "", fmt.Errorf("look for licences that a key has signed: %w", err)
		}
		if next == "" {
			break
		}
	}
	return list, next, nil
}

func appendAffected(list []AffectedInstall, l license.License, installs []license.Install, keys []KeyRevocation) []AffectedInstall {
	for _, i := range installs {
		if i.State != license.InstallLive || i.Answer == nil {
			continue
		}
		at := slices.IndexFunc(keys, func(k KeyRevocation) bool { return k.affects(i) })
		if at >= 0 {
			list = append(list, AffectedInstall{Install: i, License: l, KID: keys[at].KID, Guessed: keys[at].Role != RoleAnchor && i.SignedBy == ""})
		}
	}
	return list
}

// affects reports whether what an install was given last ends with the key. Where
// it is not noted which key that was, any could be that was valid then.
func (r KeyRevocation) affects(i license.Install) bool {
	switch {
	case r.Role == RoleAnchor:
		return !r.Ended() || i.SeenAt.Before(r.EndedAt)
	case i.SignedBy != "":
		return i.SignedBy == r.KID
	}
	end := r.Until
	if r.Ended() && r.EndedAt.Before(end) {
		end = r.EndedAt
	}
	return !i.Dated().Before(r.From) && i.Dated().Before(end)
}

// revoked returns the revocations of kids, also of such that are none yet.
func (a *Authority) revoked(ctx context.Context, kids []string) ([]KeyRevocation, error) {
	marked, err := a.Revocations(ctx)
	if err != nil || len(kids) == 0 {
		return marked, err
	}
	var list []KeyRevocation
	for _, kid := range kids {
		at := slices.IndexFunc(marked, func(r KeyRevocation) bool { return r.KID == kid })
		if at >= 0 {
			list = append(list, marked[at])
			continue
		}
		r, err := a.markOf(kid)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// Lease says until when an affected install that cannot be reached goes on as it
// is, the zero time where that is for ever.
func (i AffectedInstall) Lease() time.Time {
	if i.Install.LeaseUntil.Before(license.Forever) {
		return i.Install.LeaseUntil
	}
	return time.Time{}
}
