package authority

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// Decision is what the merchant decides about an item.
type Decision string

// The decisions; see the kinds of items.
const (
	DecideAdopt Decision = "adopt"
	DecideDrop  Decision = "drop"
)

// Restoring reports whether reconcile mode is open.
func (a *Authority) Restoring() bool {
	r := a.restoring.Load()
	return r != nil && r.open
}

// RestoreStatus says how it stands with reconcile mode, and counts what is to be
// decided, by kind.
func (a *Authority) RestoreStatus(ctx context.Context) (st Restore, open map[ItemKind]int, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		open = make(map[ItemKind]int)
		if st, err = readRestore(ctx, tx); err != nil {
			return err
		}
		for cursor := ""; ; {
			items, next, err := itemPage(ctx, tx, store.Page{Limit: store.MaxPage, Cursor: cursor})
			if err != nil {
				return err
			}
			for _, i := range items {
				open[i.Kind]++
			}
			if cursor = next; next == "" {
				return nil
			}
		}
	})
	if err != nil {
		return Restore{}, nil, fmt.Errorf("read how it stands with the restore: %w", err)
	}
	return st, open, nil
}

func itemPage(ctx context.Context, tx store.Tx, p store.Page) ([]Item, string, error) {
	values, next, err := tx.Values(ctx, restoreItems, p)
	if err != nil {
		return nil, "", err
	}
	items := make([]Item, len(values))
	for n, v := range values {
		if items[n], err = parseValue[Item](v); err != nil {
			return nil, "", err
		}
	}
	return items, next, nil
}

// RestoreItems lists what there is to decide, by licence.
func (a *Authority) RestoreItems(ctx context.Context, p Page) (items []Item, next string, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		items, next, err = itemPage(ctx, tx, p)
		return err
	})
	return items, next, err
}

// DecideRestore carries a decision out. NotFound where there is no such item, and
// Conflict where its kind leaves nothing to adopt.
func (a *Authority) DecideRestore(ctx context.Context, actor license.Actor, id string, d Decision) (Item, error) {
	if d != DecideAdopt && d != DecideDrop {
		return Item{}, license.FieldErrorf("decision", "it is adopt or drop")
	}
	if _, err := a.dated(ctx); err != nil {
		return Item{}, err
	}
	var item Item
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		var err error
		if item, err = getItem(ctx, tx, id); err != nil {
			return err
		}
		return a.decide(ctx, tx, actor, item, d)
	})
	if err != nil {
		return Item{}, fmt.Errorf("decide about %s: %w", id, err)
	}
	return item, nil
}

func (a *Authority) decide(ctx context.Context, tx store.Tx, actor license.Actor, item Item, d Decision) error {
	switch {
	case d == DecideAdopt && item.Kind != ItemSeat:
		return license.Errorf(license.Conflict, "there is nothing to adopt in it: %s", howToGoOn(item.Kind))
	case d == DecideAdopt:
		// It verified when it was presented; only what it says is wanted here.
		held, err := token.PeekLicense(item.Held)
		if err != nil {
			return err
		}
		seat, err := a.ids.New(license.SeatPrefix, a.now())
		if err != nil {
			return err
		}
		if err := a.takeIn(ctx, tx, installOf(held, seat), item.Product, actor, a.now()); err != nil {
			return err
		}
	case item.Install != "":
		if err := a.giveUpLost(ctx, tx, license.Install{LicenseID: item.License, ID: item.Install}, license.InstallRemoved); err != nil {
			return err
		}
	}
	if err := tx.SetValue(ctx, restoreItems+item.ID, nil); err != nil {
		return err
	}
	after := map[string]any{"kind": item.Kind, "decision": d}
	if d == DecideDrop && item.Install != "" {
		after["state"] = license.InstallRemoved // so that it stays ended in a store that is put back once more
	}
	_, err := tx.Append(ctx, license.AuditEvent{
		At: a.now(), Actor: actor, Action: license.ActionRestoreDecide, License: item.License, Install: item.Install, Product: item.Product, After: after,
	})
	return err
}

// howToGoOn says what can be done about an item that cannot be adopted.
func howToGoOn(kind ItemKind) string {
	switch kind {
	case ItemLicense:
		return "issue the licence anew, or have its buyer activate the marketplace's code again; then drop it"
	case ItemInstall:
		return "it is taken in by itself when it calls; drop it to give its seat to somebody else"
	case ItemEdit:
		return "look at the licence and change it again; then drop it"
	case ItemSeat:
	}
	return ""
}

// FinishRestore closes reconcile mode. Where something is still to be decided it
// is refused with Conflict, unless dropRest drops it.
func (a *Authority) FinishRestore(ctx context.Context, actor license.Actor, dropRest bool) (st Restore, dropped int, err error) {
	if _, err := a.dated(ctx); err != nil {
		return Restore{}, 0, err
	}
	for more := true; more; {
		before := dropped
		err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) (err error) {
			dropped = before
			if st, err = readRestore(ctx, tx); err != nil {
				return err
			}
			if !st.Open {
				return license.Errorf(license.Conflict, "the daemon is not in reconcile mode")
			}
			for more = true; more; {
				var n int
				if n, more, err = a.dropItems(ctx, tx, actor, dropRest); err != nil {
					return err
				}
				if dropped += n; more && !DryRun(ctx) { // a dry run is one transaction: the next one would find them all again
					return nil
				}
			}
			return a.closeRestore(ctx, tx, actor, &st, dropped)
		})
		if err != nil {
			return Restore{}, 0, fmt.Errorf("finish reconcile mode: %w", err)
		}
	}
	return st, dropped, a.LoadRestore(ctx)
}

// dropStep is how many items are dropped at a time.
const dropStep = 200

// dropItems drops the next items, and reports how many and whether there are more.
func (a *Authority) dropItems(ctx context.Context, tx store.Tx, actor license.Actor, dropRest bool) (n int, more bool, err error) {
	items, next, err := itemPage(ctx, tx, store.Page{Limit: dropStep})
	if err != nil {
		return 0, false, err
	}
	if len(items) > 0 && !dropRest {
		return 0, false, license.Errorf(license.Conflict, "there is still something to decide; see licensectl db reconcile list, or drop the rest")
	}
	for _, item := range items {
		if err := a.decide(ctx, tx, actor, item, DecideDrop); err != nil {
			return 0, false, err
		}
	}
	return len(items), next != "", nil
}

func (a *Authority) closeRestore(ctx context.Context, tx store.Tx, actor license.Actor, st *Restore, dropped int) error {
	st.Open, st.FinishedAt = false, a.now()
	_, err := tx.Append(ctx, license.AuditEvent{
		At: st.FinishedAt, Actor: actor, Action: license.ActionRestoreFinish,
		After: map[string]any{"applied": st.Applied, "adopted": st.Adopted, "dropped": dropped},
	})
	return errors.Join(err, writeRestore(ctx, tx, *st))
}
