package token

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// AuditVerifier checks an export of the audit log: JSON Lines, as docs/audit.md
// describes them. It reads them as a stream and keeps a few megabytes.
type AuditVerifier struct {
	// Anchors are who the checkpoints in the log are trusted by. With none the
	// chain is checked and no signature is.
	Anchors Anchors
	// Heads are known from elsewhere: from a checkpoint that was kept, or written
	// down. Each must be in the log. Only by one can a tail that was cut off be found.
	Heads []license.AuditHead
	// Part accepts a log that begins after its first entry.
	Part bool
	// Progress is told now and then how many entries were read; it may be nil.
	Progress func(entries int64)
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
}

const (
	auditRing    = 1 << 16 // hashes that are remembered, so that a checkpoint is compared
	auditPending = 1 << 20 // entries without their personal data for which no audit.erase came yet
	auditAhead   = 1000    // lines in which a missing entry is sought
	auditStep    = 8192    // entries between two looks at ctx
)

// MaxCheckpointGap is how many entries may stand between one and the checkpoint
// that signs its hash, so that a verifier need not remember all.
const MaxCheckpointGap = auditRing - 1

// Verify reads a log to its end or to its first fault, which is a
// *license.AuditFault, and reports what it has found so far.
func (v AuditVerifier) Verify(ctx context.Context, r io.Reader) (AuditReport, error) {
	a := auditRun{
		v: v, lines: lineReader{r: bufio.NewReaderSize(r, 64<<10)},
		missing: make(map[string][]auditMissing), heads: make(map[int64]license.AuditHead), kids: make(map[string]int64),
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

	missing map[string][]auditMissing // by licence, oldest first
	pending int

	keys   KeySet // the newest in the log
	signed []Checkpoint
	kids   map[string]int64 // checkpoints by each key
}

// auditMissing is an entry whose personal data is gone.
type auditMissing struct{ line, seq int64 }

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
		if a.v.Part {
			a.head = license.AuditHead{Seq: l.Seq - 1, Hash: l.Prev}
			a.remember()
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
	if want, known := a.heads[l.Seq]; known && want != next {
		return a.fault(license.AuditOtherHead, l.Seq, "its hash is another than the one that is known from elsewhere: from here back this is not the same log")
	}
	return a.content(l)
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
	case l.License == "" || a.pending == auditPending:
		return a.fault(license.AuditPersonalRemoved, l.Seq, "its personal data was removed, and no entry of action %s says so", license.ActionErase)
	}
	a.missing[l.License] = append(a.missing[l.License], auditMissing{a.lines.line, l.Seq})
	a.pending++
	return nil
}

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
	for n < len(gone) && float64(gone[n].seq) <= to {
		n++
	}
	a.pending -= n
	a.report.Erased += int64(n)
	if n < len(gone) {
		a.missing[e.License] = gone[n:]
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
	if len(a.signed) > 0 && a.signed[len(a.signed)-1].KeyID == c.KeyID {
		a.signed = a.signed[:len(a.signed)-1] // of each key the newest counts
	}
	a.signed = append(a.signed, c)
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
	var first *auditMissing
	for _, gone := range a.missing {
		if first == nil || gone[0].seq < first.seq {
			first = &gone[0]
		}
	}
	if first != nil {
		return &license.AuditFault{
			Kind: license.AuditPersonalRemoved, Line: first.line, Seq: first.seq,
			Detail: fmt.Sprintf("its personal data was removed, and no later entry of action %s says so", license.ActionErase),
		}
	}
	for seq := range a.heads {
		switch {
		case seq > a.head.Seq:
			return &license.AuditFault{
				Kind: license.AuditOtherHead, Seq: seq,
				Detail: fmt.Sprintf("it is known from elsewhere, and the log ends with entry %d: its end was cut off", a.head.Seq),
			}
		case seq > 0 && seq < a.report.First:
			return license.FieldErrorf("head", "entry %d, whose hash is known from elsewhere, lies before this part of the log", seq)
		}
	}
	for kid, n := range a.kids {
		if _, ok := a.keys.Key(kid); !ok {
			a.report.Revoked += n
		}
	}
	for _, c := range a.signed {
		if _, ok := a.keys.Key(c.KeyID); ok {
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
