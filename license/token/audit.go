package token

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// AuditVerifier checks an export of the audit log: JSON Lines, as docs/audit.md
// describes them. It reads them as a stream and keeps a few megabytes, and up to
// 256 MiB for entries without their personal data whose erasure comes later.
type AuditVerifier struct {
	// Anchors are who the checkpoints in the log are trusted by. With none the
	// chain is checked and no signature is.
	Anchors Anchors
	// Heads are known from elsewhere: from a checkpoint that was kept, or written
	// down. Each must be in the log. Only by one can a tail that was cut off be found.
	Heads []license.AuditHead
	// Part accepts a log that begins after its first entry. One of Heads may be the
	// entry before it, as of an export that was verified earlier.
	Part bool
	// Progress is told now and then how many entries were read; it may be nil.
	Progress func(entries int64)

	room int64 // for what auditRoom is, where it is not zero
}

// AuditReport is what a sound log holds.
type AuditReport struct {
	Entries     int64
	First       int64             // position of the first entry, zero where there is none
	Head        license.AuditHead // of the last entry
	Erased      int64             // entries whose personal data was taken out, as an audit.erase says
	Checkpoints int64             // of them it is not known whether they verify where there are no anchors
	// Signed is the head that the newest checkpoint signs whose key was not revoked
	// by a later key set in the log, SignedAt when that was. Zero where there is none.
	Signed   license.AuditHead
	SignedAt time.Time
	// Revoked is how many checkpoints are signed by a key that the newest key set
	// in the log does not name any more. They prove nothing by themselves.
	Revoked int64
	// Restores is how many entries say that the store was restored from a backup, and
	// Restored the last of them. There the log goes on from an earlier entry: what was
	// logged between the backup and the restore is not in it.
	Restores int64
	Restored AuditRestore
}

// AuditRestore is what the log says of a restore.
type AuditRestore struct {
	Seq   int64 // position of the entry that says so, zero where there is none
	Until int64 // how far the log went before, as far as the daemon knew
}

const (
	auditRing  = 1 << 16   // hashes that are remembered, so that a checkpoint is compared
	auditRoom  = 256 << 20 // bytes for entries without their personal data for which no audit.erase came yet
	auditID    = 64        // bytes of a licence's id at most
	auditAhead = 1000      // lines in which a missing entry is sought
	auditStep  = 8192      // entries between two looks at ctx
)

// MaxCheckpointGap is how many entries may stand between one and the checkpoint
// that signs its hash, so that a verifier need not remember all.
const MaxCheckpointGap = auditRing - 1

// Verify reads a log to its end or to its first fault, which is a
// *license.AuditFault, and reports what it has found so far.
func (v AuditVerifier) Verify(ctx context.Context, r io.Reader) (AuditReport, error) {
	a := auditRun{
		v: v, lines: lineReader{r: bufio.NewReaderSize(r, 64<<10)},
		missing: make(map[string][]int64), heads: make(map[int64]license.AuditHead), kids: make(map[string]int64),
		signed: make(map[string]Checkpoint), room: cmp.Or(v.room, auditRoom),
	}
	for _, h := range v.Heads {
		if other, twice := a.heads[h.Seq]; twice && other != h {
			return AuditReport{}, license.FieldErrorf("head", "two different heads at entry %d are given", h.Seq)
		}
		a.heads[h.Seq] = h
	}
	err := a.run(ctx)
	return a.report, err
}

// auditRun is one run of an AuditVerifier.
type auditRun struct {
	v      AuditVerifier
	lines  lineReader
	report AuditReport
	head   license.AuditHead
	ring   []license.AuditHead // the newest heads, one in the place of that auditRing before it
	heads  map[int64]license.AuditHead

	missing map[string][]int64 // entries whose personal data is gone, by licence, oldest first
	room    int64              // left for them

	keys   KeySet                // the newest in the log
	signed map[string]Checkpoint // by each key, about the latest entry
	kids   map[string]int64      // checkpoints by each key
}

func (a *auditRun) run(ctx context.Context) error {
	for {
		raw, err := a.lines.next()
		if errors.Is(err, io.EOF) {
			return a.end()
		}
		if err != nil {
			return err
		}
		if err := a.entry(raw); err != nil {
			return err
		}
		if a.report.Entries%auditStep == 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if a.v.Progress != nil {
				a.v.Progress(a.report.Entries)
			}
		}
	}
}

func (a *auditRun) fault(kind license.AuditFaultKind, seq int64, format string, args ...any) error {
	return &license.AuditFault{Kind: kind, Line: a.lines.line, Seq: seq, Detail: fmt.Sprintf(format, args...)}
}

func (a *auditRun) entry(raw []byte) error {
	l, err := license.ParseAuditLine(raw)
	switch {
	case err != nil && a.lines.cut:
		return a.fault(license.AuditTruncated, 0, "the file ends in the middle of it")
	case err != nil:
		return a.fault(license.AuditDamaged, 0, "%s", detailOf(err))
	}
	if a.report.First == 0 {
		a.report.First = l.Seq
		if f := a.begin(l); f != nil {
			return f
		}
	}
	next, f := a.head.Follow(l)
	if f != nil {
		return a.closer(f, l)
	}
	a.head = next
	a.remember()
	a.report.Entries++
	a.report.Head = next
	if l.Action == license.ActionRestore {
		a.restored(l)
	}
	if want, known := a.heads[l.Seq]; known && want != next {
		return a.fault(license.AuditOtherHead, l.Seq, "its hash is another than the one that is known from elsewhere: from here back this is not the same log%s", a.whyAnother(l.Seq))
	}
	return a.content(l)
}

// begin takes in what lies before the first entry of a part.
func (a *auditRun) begin(l license.AuditLine) error {
	if !a.v.Part {
		return nil
	}
	if l.Seq > 1 {
		a.head = license.AuditHead{Seq: l.Seq - 1, Hash: l.Prev}
	}
	a.remember()
	if want, known := a.heads[a.head.Seq]; known && want != a.head {
		return a.fault(license.AuditOtherHead, l.Seq, "it does not follow entry %d as that is known from elsewhere", a.head.Seq)
	}
	return nil
}

// restored takes in that the log goes on from an earlier entry.
func (a *auditRun) restored(l license.AuditLine) {
	a.report.Restores++
	a.report.Restored = AuditRestore{Seq: l.Seq, Until: l.Seq - 1}
	if e, err := l.Event(); err == nil {
		if until, ok := e.Before["audit_seq"].(float64); ok && until >= float64(l.Seq) && until < 1<<53 {
			a.report.Restored.Until = int64(until)
		}
	}
}

// whyAnother says what the log itself says of an entry that is another, or not
// there, than is known from elsewhere.
func (a *auditRun) whyAnother(seq int64) string {
	r := a.report.Restored
	if r.Seq == 0 || seq < r.Seq {
		return ""
	}
	return fmt.Sprintf(". By entry %d the store was restored from a backup: what had been logged from there on, up to entry %d at least, "+
		"is only in exports from before", r.Seq, r.Until)
}

// remember keeps the head, and recall returns that at an entry, or another where
// it is not known any more.
func (a *auditRun) remember() {
	if len(a.ring) < auditRing {
		a.ring = append(a.ring, a.head)
		return
	}
	a.ring[a.place(a.head.Seq)] = a.head
}

func (a *auditRun) recall(seq int64) license.AuditHead {
	if n := a.place(seq); n < len(a.ring) {
		return a.ring[n]
	}
	return license.AuditHead{Seq: -1}
}

// place is where in the ring the head at an entry lies: they come one after the other.
func (a *auditRun) place(seq int64) int {
	first := a.report.First
	if a.v.Part {
		first--
	}
	return int(((seq-first)%auditRing + auditRing) % auditRing)
}

// content takes in what an entry says about the log itself.
func (a *auditRun) content(l license.AuditLine) error {
	switch {
	case l.Action == license.ActionCheckpoint:
		return a.checkpoint(l)
	case l.Action == license.ActionErase:
		return a.erase(l)
	case !l.Sealed || l.Personal:
		return nil
	case l.License == "" || len(l.License) > auditID:
		return a.fault(license.AuditPersonalRemoved, l.Seq, "its personal data was removed, and no entry of action %s can say so", license.ActionErase)
	}
	gone, known := a.missing[l.License]
	if a.room -= costOf(1, !known); a.room < 0 {
		return license.Errorf(license.BadRequest, "line %d, entry %d: more entries are without their personal data than can be remembered until an entry of action %s says so",
			a.lines.line, l.Seq, license.ActionErase)
	}
	a.missing[l.License] = append(gone, l.Seq)
	return nil
}

// costOf is how much memory entries take about, of a licence that is new.
func costOf(entries int, newLicense bool) int64 {
	n := int64(entries) * 16
	if newLicense {
		n += 192
	}
	return n
}

// lineOf is where an entry stands: they come one after the other.
func (a *auditRun) lineOf(seq int64) int64 { return seq - a.report.First + 1 }

// closer looks closer at what does not follow the entry before.
func (a *auditRun) closer(f *license.AuditFault, l license.AuditLine) error {
	want := a.head.Seq + 1
	f.Line = a.lines.line
	switch {
	case f.Kind == license.AuditOutOfOrder && a.recall(l.Seq) == l.Head():
		f.Kind, f.Detail = license.AuditRepeated, "it is repeated"
	case f.Kind == license.AuditMissing:
		for range auditAhead {
			raw, err := a.lines.next()
			if err != nil {
				break
			}
			if later, err := license.ParseAuditLine(raw); err == nil && later.Seq == want {
				f.Kind = license.AuditOutOfOrder
				f.Detail = fmt.Sprintf("it is out of order: entry %d, which belongs here, stands in line %d", want, a.lines.line)
				break
			}
		}
	}
	return f
}

// erase takes in which entries have lost their personal data for good.
func (a *auditRun) erase(l license.AuditLine) error {
	e, err := l.Event()
	if err != nil {
		return a.fault(license.AuditDamaged, l.Seq, "it cannot be read")
	}
	to, ok := e.After["to"].(float64)
	if !ok || e.License == "" || !(to < float64(l.Seq)) {
		return a.fault(license.AuditDamaged, l.Seq, "it does not say what was erased")
	}
	gone := a.missing[e.License]
	n := 0
	for n < len(gone) && float64(gone[n]) <= to {
		n++
	}
	if n == 0 {
		return nil
	}
	a.report.Erased += int64(n)
	a.room += costOf(n, n == len(gone))
	if n < len(gone) {
		a.missing[e.License] = slices.Clone(gone[n:])
	} else {
		delete(a.missing, e.License)
	}
	return nil
}

// checkpoint verifies what signs the log up to an entry before.
func (a *auditRun) checkpoint(l license.AuditLine) error {
	a.report.Checkpoints++
	if len(a.v.Anchors) == 0 {
		return nil
	}
	bad := func(format string, args ...any) error {
		return a.fault(license.AuditBadCheckpoint, l.Seq, "its checkpoint does not verify: "+format, args...)
	}
	e, err := l.Event()
	if err != nil {
		return bad("it cannot be read")
	}
	raw, _ := e.After["token"].(string)
	set, _ := e.After["keys"].(string)
	if set != a.keys.Raw {
		keys, err := VerifyKeySet(set, a.v.Anchors)
		switch {
		case err != nil:
			return bad("%s", detailOf(err))
		case a.keys.Newer(keys):
			return bad("its key set is older than one before it")
		}
		a.keys = keys
	}
	c, err := VerifyCheckpoint(raw, a.keys)
	if err != nil {
		return bad("%s", detailOf(err))
	}
	switch known := a.recall(c.Head.Seq); {
	case c.Head.Seq >= l.Seq:
		return bad("it is about entry %d, which comes later", c.Head.Seq)
	case c.Head.Seq+1 < a.report.First:
		return nil // about what lies before this part
	case known.Seq != c.Head.Seq:
		return bad("it is about entry %d, too far back", c.Head.Seq)
	case known.Hash != c.Head.Hash:
		return bad("entry %d has another hash than it says", c.Head.Seq)
	}
	if c.Head.Seq > a.signed[c.KeyID].Head.Seq {
		a.signed[c.KeyID] = c
	}
	a.kids[c.KeyID]++
	return nil
}

func detailOf(err error) string {
	if e, ok := errors.AsType[*license.Error](err); ok {
		return e.Detail
	}
	return err.Error()
}

// end judges what only the end can tell.
func (a *auditRun) end() error {
	first := int64(0)
	for _, gone := range a.missing {
		if first == 0 || gone[0] < first {
			first = gone[0]
		}
	}
	if first > 0 {
		return &license.AuditFault{
			Kind: license.AuditPersonalRemoved, Line: a.lineOf(first), Seq: first,
			Detail: fmt.Sprintf("its personal data was removed, and no later entry of action %s says so", license.ActionErase),
		}
	}
	for seq := range a.heads {
		switch {
		case seq > a.head.Seq:
			return &license.AuditFault{
				Kind: license.AuditOtherHead, Seq: seq,
				Detail: fmt.Sprintf("it is known from elsewhere, and the log ends with entry %d: its end was cut off%s", a.head.Seq, a.whyAnother(seq)),
			}
		case seq > 0 && seq < a.report.First-1:
			return license.FieldErrorf("head", "entry %d, whose hash is known from elsewhere, lies before this part of the log", seq)
		}
	}
	for kid, n := range a.kids {
		if _, ok := a.keys.Key(kid); !ok {
			a.report.Revoked += n
		}
	}
	for _, c := range a.signed {
		if _, ok := a.keys.Key(c.KeyID); ok && c.Head.Seq > a.report.Signed.Seq {
			a.report.Signed, a.report.SignedAt = c.Head, c.IssuedAt
		}
	}
	return nil
}

// lineReader reads lines of a bounded length.
type lineReader struct {
	r    *bufio.Reader
	buf  []byte
	line int64 // number of the last one
	cut  bool  // it has no line break
}

// next returns a line without its break, which is good until the next call.
func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read the log after line %d: %w", l.line, err)
		}
		whole := err == nil
		if len(l.buf) == 0 && whole {
			l.line++
			return trimBreak(part), nil
		}
		l.buf = append(l.buf, part...)
		switch {
		case errors.Is(err, io.EOF) && len(l.buf) == 0:
			return nil, io.EOF
		case whole || errors.Is(err, io.EOF) || len(l.buf) > license.MaxAuditLine+2:
			l.line++
			l.cut = !whole && errors.Is(err, io.EOF)
			return trimBreak(l.buf), nil
		}
	}
}

func trimBreak(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}
