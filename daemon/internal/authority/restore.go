package authority

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// A store that was restored from a backup knows nothing of what was done since.
// Reconcile mode is how it finds out, while it serves: what the marks beside the
// store say is made again at once; new installs draw from a new status list;
// installs that the store does not know are known again by the licences that we
// signed for them; and what is left is listed for the merchant to decide.

// Names of the values that keep the mode. Install ids and licence ids are not
// secret.
const (
	restoreState = "restore/state"
	restoreItems = "restore/item/" // licence / install, or licence / "-"
	restoreLost  = "restore/lost/" // licence / install: its seat is kept for it
	restoreDead  = "restore/dead/" // licence / install: it was ended, and lives no more
)

// restoredReason stands where a reason is asked for and the marks have none.
const restoredReason = "made again after a restore"

var restorer = license.Actor{Kind: license.ActorSystem, Name: "restore"}

// Lost is what is known outside a store of what it has lost.
type Lost struct {
	// Restored is the value store.ValueRestored, nil where it is not there: the
	// file was put back by other means.
	Restored json.RawMessage
	Head     store.Head // of the store
	Mark     store.Head // the newest that was known outside, zero where nothing is
	// Marks are those of the changes that the store does not have.
	Marks []Mark
	// Complete: Marks has all of them.
	Complete bool
	Lists    []license.StatusList // of which only ID and SignedAt are set
	Clock    time.Time            // the newest record, zero where none is known
}

// Restore is how it stands with reconcile mode.
type Restore struct {
	Open       bool            `json:"open"`
	BegunAt    time.Time       `json:"begun_at"`
	FinishedAt time.Time       `json:"finished_at,omitzero"`
	Restored   json.RawMessage `json:"restored,omitzero"`
	Head       store.Head      `json:"head"`     // where the restored store stood
	Mark       store.Head      `json:"mark"`     // where the one before it stood
	Complete   bool            `json:"complete"` // what was lost is known in full
	Lost       int             `json:"lost"`     // changes that the marks name
	Applied    int             `json:"applied"`  // licences that were changed by them
	Adopted    int             `json:"adopted"`  // installs that were known again by their licences
	List       string          `json:"list"`     // the status list that new installs draw from
}

// ItemKind says what there is to decide.
type ItemKind string

// The kinds.
const (
	// ItemLicense: a licence that was issued after the backup, which the store does
	// not have. Its code is unknown. There is nothing to adopt; drop takes note.
	ItemLicense ItemKind = "lost_license"
	// ItemInstall: an install that was bound after the backup and has not called
	// yet. A seat is kept for it, until it calls; drop gives the seat up, and with it
	// the install.
	ItemInstall ItemKind = "lost_install"
	// ItemSeat: an install that was bound after the backup calls, and the licence
	// has no seat for it. Adopt takes it in beyond the limit; drop ends it.
	ItemSeat ItemKind = "no_seat"
	// ItemEdit: a change of a licence of which it is known that it was made, and not
	// what it was. Drop takes note.
	ItemEdit ItemKind = "lost_edit"
)

// Item is something to decide.
type Item struct {
	ID      string         `json:"id"`
	Kind    ItemKind       `json:"kind"`
	License string         `json:"license"`
	Install string         `json:"install,omitzero"`
	Product string         `json:"product,omitzero"`
	At      time.Time      `json:"at"`
	Actions []string       `json:"actions,omitzero"` // what was done to it, oldest first
	Facts   map[string]any `json:"facts,omitzero"`   // what its licence or the marks say
	Seat    string         `json:"seat,omitzero"`
	// Place is that of the install in a status list, where that is known.
	Place license.StatusRef `json:"place,omitzero"`
	Held  string            `json:"held,omitzero"` // the licence that the install presented
}

// restoring is what a running Authority knows of the mode.
type restoring struct {
	open    bool
	begunAt time.Time
	headAt  time.Time
	dead    bool // there are ended installs that the store has no records of
}

// NothingLost takes note of a store that was restored and lacks nothing.
func (a *Authority) NothingLost(ctx context.Context, head store.Head) error {
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if err := tx.SetValue(ctx, store.ValueRestored, nil); err != nil {
			return err
		}
		_, err := tx.Append(ctx, license.AuditEvent{
			At: a.now(), Actor: restorer, Action: license.ActionRestore,
			After: map[string]any{"audit_seq": head.Seq, "audit_digest": head.Digest, "nothing_lost": true},
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("take note of the restore: %w", err)
	}
	return nil
}

// LoadRestore learns whether reconcile mode is open. It is called once, before
// anything is served, after BeginRestore where that is.
func (a *Authority) LoadRestore(ctx context.Context) error {
	r := &restoring{}
	err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		st, err := readRestore(ctx, tx)
		if err != nil {
			return err
		}
		dead, _, err := tx.Values(ctx, restoreDead, store.Page{Limit: 1})
		*r = restoring{open: st.Open, begunAt: st.BegunAt, headAt: st.Head.At, dead: len(dead) > 0}
		return err
	})
	if err != nil {
		return fmt.Errorf("read how it stands with the restore: %w", err)
	}
	a.restoring.Store(r)
	return nil
}

// LookAtRestore learns whether another daemon on the store has opened reconcile mode,
// or finished it, and reports whether that has changed.
func (a *Authority) LookAtRestore(ctx context.Context) (changed bool, err error) {
	was := a.restoring.Load()
	if err := a.LoadRestore(ctx); err != nil {
		return false, err
	}
	is := a.restoring.Load()
	if was != nil && was.open == is.open && was.begunAt.Equal(is.begunAt) {
		return false, nil
	}
	if is.open {
		a.readAgain.Clear()
	}
	return true, a.LoadStatusLists(ctx)
}

// readRestore returns the zero Restore where there never was one.
func readRestore(ctx context.Context, tx store.Tx) (Restore, error) {
	return readValue[Restore](ctx, tx, restoreState)
}

func writeRestore(ctx context.Context, tx store.Tx, st Restore) error {
	return writeValue(ctx, tx, restoreState, st)
}

// BeginRestore opens reconcile mode and makes again what the marks say. It may be
// repeated where it was broken off: what was made is not made twice.
func (a *Authority) BeginRestore(ctx context.Context, lost Lost) error {
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error { return a.openRestore(ctx, tx, lost) })
	if err != nil {
		return fmt.Errorf("open reconcile mode: %w", err)
	}
	byLicense, order := make(map[string][]Mark), []string{}
	for _, m := range lost.Marks {
		if m.License == "" {
			continue
		}
		if byLicense[m.License] == nil {
			order = append(order, m.License)
		}
		byLicense[m.License] = append(byLicense[m.License], m)
	}
	const batch = 100
	for part := range slices.Chunk(order, batch) {
		err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
			applied := 0
			for _, id := range part {
				changed, err := a.applyMarks(ctx, tx, id, byLicense[id])
				if err != nil {
					return fmt.Errorf("apply the marks of %s: %w", id, err)
				}
				if changed {
					applied++
				}
			}
			now, err := readRestore(ctx, tx)
			if err != nil || applied == 0 {
				return err
			}
			now.Applied += applied
			return writeRestore(ctx, tx, now)
		})
		if err != nil {
			return err
		}
	}
	if err := errors.Join(a.restoreCallKeys(ctx, lost.Marks), a.eraseAgain(ctx, lost.Marks)); err != nil {
		return err
	}
	return a.LoadRestore(ctx)
}

// openRestore writes the state of the mode, the status lists and the clock.
func (a *Authority) openRestore(ctx context.Context, tx store.Tx, lost Lost) error {
	st, err := readRestore(ctx, tx)
	if err != nil || st.Open && st.Mark.Seq == lost.Mark.Seq && st.Mark.Digest == lost.Mark.Digest && lost.Restored == nil {
		return err // it was broken off, and goes on
	}
	now, was := a.now(), st
	st = Restore{
		Open: true, BegunAt: now, Restored: lost.Restored, Head: lost.Head, Mark: lost.Mark, Complete: lost.Complete, Lost: len(lost.Marks),
	}
	if was.Open { // what it was to find out then is still to be found out
		st.Head, st.Complete = was.Head, was.Complete && lost.Complete
		st.Lost, st.Applied, st.Adopted = st.Lost+was.Lost, was.Applied, was.Adopted
	}
	if st.List, err = a.restoreLists(ctx, tx, lost.Lists, now); err != nil {
		return err
	}
	if err := restoreClock(ctx, tx, lost.Clock); err != nil {
		return err
	}
	if err := restoreTokens(ctx, tx, lost, now); err != nil {
		return err
	}
	if err := a.restoreKeys(ctx, tx, lost.Marks); err != nil {
		return err
	}
	if err := restoreWebhooks(ctx, tx, lost); err != nil {
		return err
	}
	for _, ch := range a.channels { // what a marketplace sold is read again, from the beginning
		if err := tx.SetValue(ctx, reconcileKey(ch.Name), nil); err != nil {
			return err
		}
	}
	if err := errors.Join(tx.SetValue(ctx, store.ValueRestored, nil), writeRestore(ctx, tx, st)); err != nil {
		return err
	}
	// The log goes on behind the head that was restored; the entry says what lay
	// between, so that who compares it with an export from before knows why.
	_, err = tx.Append(ctx, license.AuditEvent{
		At: now, Actor: restorer, Action: license.ActionRestore,
		Before: map[string]any{"audit_seq": lost.Mark.Seq, "audit_digest": lost.Mark.Digest, "known": lost.Complete},
		After:  map[string]any{"audit_seq": lost.Head.Seq, "audit_digest": lost.Head.Digest, "status_list": st.List},
	})
	return err
}

// restoreLists makes the status lists such that no place is drawn twice and no
// date goes back: those that there were are full, those that the store does not
// know are there again, and new installs draw from a new one, whose id is
// returned.
func (a *Authority) restoreLists(ctx context.Context, tx store.Tx, known []license.StatusList, now time.Time) (string, error) {
	newest := ""
	have, err := tx.StatusLists(ctx)
	if err != nil {
		return "", err
	}
	all := make(map[string]license.StatusList)
	for _, l := range have {
		all[l.ID] = l
	}
	for _, k := range known {
		l, ok := all[k.ID]
		if !ok { // installs that were lost show it, so it has to be there to be asked
			l = license.StatusList{ID: k.ID, Length: a.lists.draws.length, Seed: make([]byte, license.StatusSeedLen)}
			source := a.lists.draws.ids.Random
			if source == nil {
				source = rand.Reader
			}
			if _, err := io.ReadFull(source, l.Seed); err != nil {
				return "", err
			}
		}
		if k.SignedAt.After(l.SignedAt) {
			l.SignedAt, l.Digest = k.SignedAt, nil
		}
		all[k.ID] = l
	}
	for id, l := range all {
		l.Next = l.Length
		newest = max(newest, id)
		if err := tx.PutStatusList(ctx, l); err != nil {
			return "", err
		}
		a.lists.add(id)
	}
	l, err := a.lists.draws.newList(newest, now)
	if err != nil {
		return "", err
	}
	return l.ID, tx.PutStatusList(ctx, l)
}

// restoreClock takes the newest record of the clock that is known outside.
func restoreClock(ctx context.Context, tx store.Tx, known time.Time) error {
	rec, found, damaged, err := readRecord(ctx, tx)
	if err != nil || known.IsZero() || found && !damaged && rec.At >= known.Unix() {
		return err
	}
	rec.At = known.Unix()
	return writeRecord(ctx, tx, rec)
}

// ClockRecord is the record of the clock that a store keeps, zero where it keeps
// none that can be read.
func ClockRecord(ctx context.Context, tx store.Tx) (time.Time, error) {
	rec, found, damaged, err := readRecord(ctx, tx)
	if err != nil || !found || damaged {
		return time.Time{}, err
	}
	return time.Unix(rec.At, 0).UTC(), nil
}

const maxItemActions = 50

func newItem(kind ItemKind, licenseID, install string, ms []Mark) Item {
	item := Item{ID: itemID(licenseID, install), Kind: kind, License: licenseID, Install: install}
	for _, m := range ms {
		item.At = m.At
		if m.Product != "" {
			item.Product = m.Product
		}
		if len(item.Actions) < maxItemActions {
			item.Actions = append(item.Actions, string(m.Action))
		}
	}
	return item
}

// itemID is the id of what there is to decide about a licence, or an install of it.
func itemID(licenseID, install string) string {
	if install == "" {
		install = "-"
	}
	return licenseID + "/" + install
}

func putItem(ctx context.Context, tx store.Tx, item Item) error {
	return writeValue(ctx, tx, restoreItems+item.ID, item)
}

func getItem(ctx context.Context, tx store.Tx, id string) (item Item, err error) {
	if strings.Count(id, "/") != 1 {
		return item, license.Errorf(license.NotFound, "there is nothing to decide called %q", printable(id))
	}
	if item, err = findValue[Item](ctx, tx, restoreItems+id); errors.Is(err, license.NotFound) {
		return item, license.Errorf(license.NotFound, "there is nothing to decide called %q", printable(id))
	}
	return item, err
}
