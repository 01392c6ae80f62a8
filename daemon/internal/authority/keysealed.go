package authority

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// For daemons that are to share their keys through the store it keeps what lies in
// a key folder, sealed as it lies there, but for the identity that opens it and the
// private halves of anchors. Which keys are in force is noted in any case.
const (
	keysData    = "keys/data"    // the data key, sealed
	keysAnchors = "keys/anchors" // public
	keysSealed  = "keys/sealed/" // private halves of signing keys, sealed, by kid
)

// StoredKeys returns the keys that a store keeps for its daemons, or license.NotFound.
func StoredKeys(ctx context.Context, s store.Store) (k SealedKeys, err error) {
	err = s.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		k, err = storedKeys(ctx, tx)
		return err
	})
	return k, err
}

func storedKeys(ctx context.Context, tx store.Tx) (k SealedKeys, err error) {
	if k.DataKey, err = tx.Value(ctx, keysData); err != nil {
		return k, err
	}
	if k.Anchors, err = tx.Value(ctx, keysAnchors); err != nil {
		return k, err
	}
	was, err := readValue[notedKeys](ctx, tx, keysNoted)
	if err != nil {
		return k, err
	}
	if was.InForce == nil {
		return k, license.Errorf(license.NotFound, "the store does not say which keys are in force")
	}
	k.InForce = was.inForce()
	k.Private, err = sealedPrivates(ctx, tx)
	return k, err
}

// StoreKeys has a store keep the keys of its first daemon. It reads the key folder in
// the transaction: at a first start nobody waits for its end.
func StoreKeys(ctx context.Context, tx store.Tx, c Custody) error {
	a := &Authority{custody: c, shareKeys: true}
	is, err := a.keysNow()
	if err != nil {
		return err
	}
	here, err := a.sealedHere()
	if err != nil {
		return err
	}
	if err := writeValue(ctx, tx, keysNoted, is); err != nil {
		return err
	}
	return putSealed(ctx, tx, here)
}

// sealedHere reads what the key folder has for the store, nil where keys are not
// shared there. It is read before a transaction, which holds up all others while it
// runs; who uses it there sees to it that the keys noted are those of before.
func (a *Authority) sealedHere() (*SealedKeys, error) {
	if !a.shareKeys {
		return nil, nil //nolint:nilnil // nothing is shared
	}
	here, err := a.custody.Sealed()
	if err != nil {
		return nil, fmt.Errorf("seal the keys for the store: %w", err)
	}
	return &here, nil
}

func sealedPrivates(ctx context.Context, tx store.Tx) (map[string][]byte, error) {
	all := make(map[string][]byte)
	p := store.Page{Limit: store.MaxPage}
	for {
		values, next, err := tx.Values(ctx, keysSealed, p)
		if err != nil {
			return nil, fmt.Errorf("read the sealed keys: %w", err)
		}
		for _, v := range values {
			all[v.Name[len(keysSealed):]] = v.Data
		}
		if p.Cursor = next; next == "" {
			return all, nil
		}
	}
}

// putSealed keeps in the store what is at hand of the keys and is not there yet.
func putSealed(ctx context.Context, tx store.Tx, here *SealedKeys) error {
	if here == nil {
		return nil
	}
	there, err := sealedPrivates(ctx, tx)
	if err != nil {
		return err
	}
	wrote := false
	for kid, sealed := range here.Private {
		if _, found := there[kid]; !found {
			wrote = true
			if err := tx.SetValue(ctx, keysSealed+kid, sealed); err != nil {
				return fmt.Errorf("keep a sealed key: %w", err)
			}
		}
	}
	for name, data := range map[string][]byte{keysData: here.DataKey, keysAnchors: here.Anchors} {
		if _, err := tx.Value(ctx, name); license.ReasonOf(err) == license.NotFound {
			err = tx.SetValue(ctx, name, data)
			wrote = true
			if err != nil {
				return fmt.Errorf("keep %s: %w", name, err)
			}
		} else if err != nil {
			return err
		}
	}
	if !wrote {
		return nil
	}
	was, err := readValue[notedKeys](ctx, tx, keysNoted)
	if err != nil || was.Current == "" {
		return err
	}
	was.Sealed++
	return writeValue(ctx, tx, keysNoted, was)
}

// endSealed brings the sealed keys in the store in step with what is in force: it
// adds those that are at hand, and destroys those that are in force no more.
func (a *Authority) endSealed(ctx context.Context, tx store.Tx, here *SealedKeys, is KeysInForce) error {
	if here == nil {
		return nil
	}
	if err := putSealed(ctx, tx, here); err != nil {
		return err
	}
	ended, err := a.custody.Ends(is)
	if err != nil {
		return err
	}
	for _, kid := range ended {
		if err := tx.SetValue(ctx, keysSealed+kid, nil); err != nil {
			return fmt.Errorf("destroy a sealed key: %w", err)
		}
	}
	return nil
}

// takeSealed takes from the store the private halves that are not here. One that is
// damaged there keeps nobody from the others: it is noted, and told as long as it is
// so and is not here.
func (a *Authority) takeSealed(ctx context.Context) error {
	there, err := a.sealed(ctx)
	if err != nil {
		return err
	}
	damaged := make(map[string]string)
	for _, kid := range slices.Sorted(maps.Keys(there)) {
		switch _, err := a.custody.TakePrivate(kid, there[kid]); {
		case license.ReasonOf(err) == license.Damaged:
			damaged[kid] = detailOf(err)
		case err != nil:
			return fmt.Errorf("take a key from the store: %w", err)
		}
	}
	a.sealedDamaged.Store(&damaged)
	return nil
}

// damagedSealed are the private halves that the store keeps and that could not be
// taken, with what is wrong with them, by kid.
func (a *Authority) damagedSealed() map[string]string {
	if d := a.sealedDamaged.Load(); d != nil {
		return *d
	}
	return nil
}

// sealedWarnings warn of private halves that could not be taken and are not here.
func (a *Authority) sealedWarnings() (list []KeyWarning) {
	damaged := a.damagedSealed()
	for _, kid := range slices.Sorted(maps.Keys(damaged)) {
		here := slices.ContainsFunc(a.custody.Keys(), func(k KeyInfo) bool { return k.ID == kid && k.Private })
		if !here {
			list = append(list, KeyWarning{Kind: KeyWarnSealed, Text: fmt.Sprintf(
				"a key cannot be taken from the store, which keeps it for all daemons, and is not in the key folder here: %s", damaged[kid])})
		}
	}
	return list
}

// settleSealed puts into the store the private halves that are here and not there,
// as where keys are shared since today, and destroys there what was retired or
// revoked here: a backup has brought it back.
func (a *Authority) settleSealed(ctx context.Context, was notedKeys) error {
	here, err := a.sealedHere()
	if err != nil {
		return err
	}
	there, err := a.sealed(ctx)
	damaged := a.damagedSealed() // which others may be able to read
	maps.DeleteFunc(there, func(kid string, _ []byte) bool { _, bad := damaged[kid]; return bad })
	if err != nil || sameNames(here.Private, there) {
		return err
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		now, err := readValue[notedKeys](ctx, tx, keysNoted)
		if err != nil || now.Sealed != was.Sealed || !now.same(was) {
			return err // there is something new again
		}
		there, err := sealedPrivates(ctx, tx)
		if err != nil {
			return err
		}
		for kid := range there {
			_, kept := here.Private[kid]
			if _, bad := damaged[kid]; kept || bad {
				continue
			}
			if err := tx.SetValue(ctx, keysSealed+kid, nil); err != nil {
				return err
			}
		}
		return putSealed(ctx, tx, here)
	})
	if err != nil {
		return fmt.Errorf("share the sealed keys: %w", err)
	}
	return nil
}

func sameNames(a, b map[string][]byte) bool {
	return maps.EqualFunc(a, b, func([]byte, []byte) bool { return true })
}

func (a *Authority) sealed(ctx context.Context) (there map[string][]byte, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		there, err = sealedPrivates(ctx, tx)
		return err
	})
	return there, err
}
