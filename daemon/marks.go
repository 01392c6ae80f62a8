package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/marks"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/open"
)

const (
	// marksEvery is how far the marks that are not pressing lag behind the store.
	marksEvery = 5 * time.Second
	// marksOverlap is how many changes may have been noted in another order than
	// they were made in when a process was killed.
	marksOverlap = 1000
	// marksGap is how many changes of other daemons are noted after the fact at a
	// start. Behind more of them the marks begin anew.
	marksGap = 100_000
)

// keptMarks are the marks beside the store. Where other daemons are on the store too,
// each notes what it does itself at once, and what the others do within seconds: any
// of them may be the one that is left.
type keptMarks struct {
	d      *Daemon
	files  *marks.Marks
	shared bool // other daemons may be on the store

	mu      sync.Mutex
	failing string
	at      int64          // up to where the changes of others are noted; changed by run only
	own     map[int64]bool // noted by this process, behind at
	lost    bool           // the store was found to have lost changes
}

// Note notes what this daemon has changed.
func (k *keptMarks) Note(ms []authority.Mark, now bool) {
	if k.shared {
		k.mu.Lock()
		for _, m := range ms {
			if m.Seq > k.at { // else it was passed already, and nobody would take it out again
				k.own[m.Seq] = true
			}
		}
		k.mu.Unlock()
	}
	k.files.Note(ms, now)
}

func (k *keptMarks) report(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.failing = ""
		k.d.log.Warn("the marks beside the store can be written again")
		return
	}
	k.failing = err.Error()
	k.d.log.Error("THE MARKS BESIDE THE STORE CANNOT BE WRITTEN: a store that is restored now cannot be told what it lost; it is tried again", "error", err.Error())
}

func (k *keptMarks) failure() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failing
}

// openMarks opens the marks, which nothing is written to yet.
func (d *Daemon) openMarks(context.Context) (err error) {
	k := &keptMarks{d: d, shared: !open.Exclusive(d.config.Store), own: make(map[int64]bool)}
	if k.files, err = marks.Open(d.config.DataDir, k.report); err != nil {
		return err
	}
	d.marks = k
	d.closers = append(d.closers, func() error { return k.files.Close() })
	return nil
}

// run keeps the marks up to date until ctx ends, and once more then.
func (k *keptMarks) run(ctx context.Context) {
	t := time.NewTicker(marksEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			k.save(context.WithoutCancel(ctx))
			return
		case <-t.C:
			k.save(ctx)
		}
	}
}

// save writes what the store has on disk, and what changes all the time. What
// fails is reported by the marks, or met by everybody else who uses the store.
func (k *keptMarks) save(ctx context.Context) {
	s, err := k.d.markState(ctx)
	if err == nil && k.shared {
		err = k.watch(ctx)
	}
	if err == nil {
		_ = k.files.Save(s) // told to report
	}
}

// errLostChanges is why a daemon ends whose store lacks what it had.
var errLostChanges = errors.New("the store lacks changes that it had: it was put back from a backup, or a standby without them has taken over; " +
	"the daemon ends, and finds out what is missing when it starts again")

// watch looks at what happened to a store that others use too: that it has lost
// changes, that another daemon has found that out, and what the others have done.
func (k *keptMarks) watch(ctx context.Context) error {
	head, has := k.files.State().Head, true
	err := k.d.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		has, err = hasHead(ctx, tx, head)
		return err
	})
	if err != nil {
		return err
	}
	if !has { // the marks stay as they are, and say so at the next start
		k.lose(head)
		return errLostChanges
	}
	changed, err := k.d.authority.LookAtRestore(ctx)
	if err != nil {
		return err
	}
	if changed && k.d.authority.Restoring() {
		k.d.log.Warn("THE DAEMON IS IN RECONCILE MODE: another one has found that the store has lost changes; see licensectl db reconcile status")
	}
	return k.noteOthers(ctx)
}

// lose ends the daemon, once.
func (k *keptMarks) lose(head store.Head) {
	k.mu.Lock()
	told := k.lost
	k.lost = true
	k.mu.Unlock()
	if told {
		return
	}
	k.d.log.Error("THE STORE HAS LOST CHANGES THAT IT HAD; the daemon ends", "marks_position", head.Seq, "marks_at", head.At)
	select {
	case k.d.failed <- errLostChanges:
	default: // it ends already
	}
}

// hasHead reports whether the store has the entry that once was the newest.
func hasHead(ctx context.Context, tx store.Tx, head store.Head) (bool, error) {
	if head.Seq == 0 {
		return true, nil
	}
	e, err := store.EventAt(ctx, tx, head.Seq)
	if err != nil {
		return false, ignore(err, license.NotFound)
	}
	return store.DigestOf(e) == head.Digest, nil
}

// noteOthers notes the changes behind k.at that this process has not made.
func (k *keptMarks) noteOthers(ctx context.Context) error {
	for {
		var events []license.AuditEvent
		err := k.d.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
			events, _, err = tx.Events(ctx, store.EventFilter{After: k.at}, store.Page{Limit: store.MaxPage})
			return err
		})
		if err != nil || len(events) == 0 {
			return err
		}
		var missing []authority.Mark
		k.mu.Lock()
		for _, e := range events {
			if m, ok := authority.MarkOf(e); ok && !k.own[e.Seq] {
				missing = append(missing, m)
			}
			delete(k.own, e.Seq)
			k.at = e.Seq
		}
		k.mu.Unlock()
		if len(missing) > 0 {
			k.files.Note(missing, true)
		}
	}
}

// markState reads what marks.json says.
func (d *Daemon) markState(ctx context.Context) (s marks.State, err error) {
	err = d.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		s.Lists = nil
		if s.Head, err = store.HeadOf(ctx, tx); err != nil {
			return err
		}
		if s.Clock, err = authority.ClockRecord(ctx, tx); err != nil {
			return err
		}
		lists, err := tx.StatusLists(ctx)
		for _, l := range lists {
			s.Lists = append(s.Lists, marks.List{ID: l.ID, SignedAt: l.SignedAt})
		}
		return err
	})
	return s, err
}

// compareMarks finds out whether the store is the one that the marks are of, and
// begins reconcile mode where it has lost something.
func (d *Daemon) compareMarks(ctx context.Context) error {
	state := d.marks.files.State()
	lines, older, err := d.marks.files.Recent()
	if err != nil {
		return err
	}
	if older { // which mostly need not be read
		same, err := d.sameEnd(ctx, lines, state)
		if err != nil {
			return err
		}
		if same {
			return d.goOn(ctx)
		}
	}
	lines, from, err := d.marks.files.Lines()
	if err != nil {
		return err
	}
	known := from >= 0 || state.Form > 0
	var c comparison
	err = d.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		c, err = compare(ctx, tx, lines, state)
		return err
	})
	if err != nil {
		return fmt.Errorf("compare the store with the marks beside it: %w", err)
	}
	switch {
	case c.onlySigned():
		d.log.Warn("the store was restored from a backup that lacks nothing but signatures over its audit log", "audit_position", c.head.Seq)
		if err = d.authority.NothingLost(ctx, c.head); err == nil {
			c.lost = nil
			err = d.resetMarks(ctx, c, from)
		}
	// A daemon that was not there when the backup was made cannot say that it lacks nothing.
	case c.behind || c.restored != nil && (!known || d.marks.shared && c.mark.Seq < c.head.Seq):
		err = d.beginRestore(ctx, c, from, state)
	case c.restored != nil:
		d.log.Warn("the store was restored from a backup that lacks nothing", "audit_position", c.head.Seq)
		err = d.authority.NothingLost(ctx, c.head)
	}
	if err != nil {
		return err
	}
	return d.goOn(ctx)
}

// sameEnd reports whether the newest marks show by themselves that the store has all
// that the marks know: two histories that part do not meet again. Behind what was
// given up at a restore there have to be more marks than can stand in another order.
func (d *Daemon) sameEnd(ctx context.Context, newest []authority.Mark, state marks.State) (same bool, err error) {
	if len(newest) <= marksOverlap || slices.ContainsFunc(newest, func(m authority.Mark) bool { return m.Past }) {
		return false, nil
	}
	err = d.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		c, err := compare(ctx, tx, newest, state)
		same = !c.behind && c.restored == nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("compare the store with the marks beside it: %w", err)
	}
	return same, nil
}

// goOn begins to keep marks, in reconcile mode where that is open.
func (d *Daemon) goOn(ctx context.Context) error {
	if err := d.authority.LoadRestore(ctx); err != nil {
		return err
	}
	if d.authority.Restoring() {
		d.log.Warn("THE DAEMON IS IN RECONCILE MODE: its store was restored from a backup; see licensectl db reconcile status")
	}
	return d.beginMarks(ctx)
}

// comparison is how a store stands to the marks beside it.
type comparison struct {
	head     store.Head
	mark     store.Head // the newest that the marks know
	restored json.RawMessage
	behind   bool
	kept     []authority.Mark // of changes that the store has
	lost     []authority.Mark // of changes that it does not have
}

func compare(ctx context.Context, tx store.Tx, lines []authority.Mark, state marks.State) (c comparison, err error) {
	if c.head, err = store.HeadOf(ctx, tx); err != nil {
		return c, err
	}
	if c.restored, err = tx.Value(ctx, store.ValueRestored); err != nil && !errors.Is(err, license.NotFound) {
		return c, err
	}
	has := func(seq int64, digest string) bool {
		if seq > c.head.Seq {
			return false
		}
		e, readErr := store.EventAt(ctx, tx, seq)
		err = errors.Join(err, ignore(readErr, license.NotFound))
		return readErr == nil && store.DigestOf(e) == digest
	}
	err = nil
	own := slices.DeleteFunc(slices.Clone(lines), func(m authority.Mark) bool { return m.Past })
	// Two histories that part do not meet again.
	common := sort.Search(len(own), func(i int) bool { return !has(own[i].Seq, own[i].Digest()) })
	parted := int64(math.MaxInt64)
	if common < len(own) {
		parted, c.behind = own[common].Seq, true
	}
	for _, m := range lines {
		// Behind where the histories part there may be marks of the new one.
		if m.Seq < parted && (!m.Past || m.Seq <= c.head.Seq) || !m.Past && has(m.Seq, m.Digest()) {
			c.kept = append(c.kept, m)
		} else {
			c.lost = append(c.lost, m)
		}
	}
	c.behind = c.behind || len(c.lost) > 0
	c.mark = state.Head
	if len(own) > 0 {
		if last := own[len(own)-1]; last.Seq > c.mark.Seq {
			c.mark = store.Head{Seq: last.Seq, At: last.At, Digest: last.Digest()}
		}
	}
	if state.Head.Seq > 0 && !has(state.Head.Seq, state.Head.Digest) {
		c.behind = true
	}
	return c, err
}

func ignore(err error, reason license.Reason) error {
	if errors.Is(err, reason) {
		return nil
	}
	return err
}

// beginRestore tells the store what it lost, and then has the marks follow it.
// Where that is broken off it is begun again: the marks still say so.
func (d *Daemon) beginRestore(ctx context.Context, c comparison, from int64, state marks.State) error {
	lost := authority.Lost{
		Restored: c.restored, Head: c.head, Mark: c.mark, Marks: c.lost, Clock: state.Clock,
		Complete: from >= 0 && from <= c.head.Seq,
	}
	for _, l := range state.Lists {
		lost.Lists = append(lost.Lists, license.StatusList{ID: l.ID, SignedAt: l.SignedAt})
	}
	d.log.Warn("the store is behind the marks beside it: it was restored from a backup", "store_position", c.head.Seq,
		"marks_position", c.mark.Seq, "changes_known", len(lost.Marks), "known_in_full", lost.Complete)
	if err := d.authority.BeginRestore(ctx, lost); err != nil {
		return err
	}
	// What was lost stays on record, for a store that is put back once more.
	for n := range c.lost {
		c.lost[n].Seq, c.lost[n].Past = c.head.Seq+1, true
	}
	return d.resetMarks(ctx, c, from)
}

// onlySigned reports whether all that a restored store lacks is that the head of
// its audit log was signed, as it is when a daemon stops.
func (c comparison) onlySigned() bool {
	return c.restored != nil && len(c.lost) > 0 && c.mark.Seq-c.head.Seq == int64(len(c.lost)) &&
		!slices.ContainsFunc(c.lost, func(m authority.Mark) bool { return m.Past || m.Action != license.ActionCheckpoint })
}

// resetMarks has the marks follow the store from now on.
func (d *Daemon) resetMarks(ctx context.Context, c comparison, from int64) error {
	head := c.head
	err := d.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		head, err = store.HeadOf(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	if from < 0 {
		from = c.head.Seq
	}
	return d.marks.files.Reset(min(from, c.head.Seq), append(c.kept, c.lost...), head)
}

// beginMarks opens the marks for new ones, and notes what a process that was killed
// did not come to note.
func (d *Daemon) beginMarks(ctx context.Context) error {
	lines, _, err := d.marks.files.Recent()
	if err != nil {
		return err
	}
	k := d.marks
	for _, l := range lines {
		if !l.Past {
			k.own[l.Seq] = true
		}
	}
	var head store.Head
	err = d.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		head, err = store.HeadOf(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	if last := len(lines) - 1; k.shared && last >= 0 && head.Seq-lines[last].Seq > marksGap {
		if err := k.files.Reset(head.Seq, nil, head); err != nil {
			return err
		}
	}
	from, err := k.files.Begin(head.Seq)
	if err != nil {
		return err
	}
	k.at = max(k.files.Newest()-marksOverlap, from)
	err = k.noteOthers(ctx)
	clear(k.own)
	return err
}

// restoreLine is reconcile mode in a line, nil where it is not open.
func (d *Daemon) restoreLine(ctx context.Context) *adminwire.RestoreLine {
	if !d.authority.Restoring() {
		return nil
	}
	st, open, err := d.authority.RestoreStatus(ctx)
	if err != nil {
		return &adminwire.RestoreLine{}
	}
	line := &adminwire.RestoreLine{BegunAt: st.BegunAt, MadeAt: st.Head.At, Complete: st.Complete}
	for _, n := range open {
		line.Open += n
	}
	return line
}
