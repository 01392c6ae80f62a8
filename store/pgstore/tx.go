package pgstore

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// txn is a store.Tx: one function's view of a session that it may share with
// others.
type txn struct {
	d        *session
	writable bool
	ended    bool
	loading  bool // records come with their revisions: PutRecord

	// What the function has written lies in the session's queue from mark on,
	// behind a savepoint, until something of it is sent. Where nothing was, it can
	// be dropped, or kept without the savepoint.
	wrotes bool
	mark   int
	sent   int // of the session, when the savepoint was queued
	head   license.AuditHead

	// What was read or written, so that a record that was read just before it is
	// replaced is not read again.
	licenses map[string]licenseHead
	installs map[installKey]int64
	jobs     map[string]jobHead
	lists    map[string]bool
	values   map[string][]byte
}

var _ store.Tx = (*txn)(nil)

var (
	errEnded    = license.Errorf(license.Internal, "the transaction has ended")
	errViewOnly = license.Errorf(license.Internal, "a View cannot write")
)

func newTxn(d *session, writable bool) *txn { return &txn{d: d, writable: writable, head: d.head} }

// end makes a Tx that outlives its function harmless.
func (t *txn) end() { t.ended = true }

func (t *txn) readable() error {
	if t.ended {
		return errEnded
	}
	return nil
}

func (t *txn) mayWrite() error {
	switch {
	case t.ended:
		return errEnded
	case !t.writable:
		return errViewOnly
	}
	return t.d.failure
}

// put has a statement sent with the next one that returns something, or with the commit.
func (t *txn) put(sql string, args ...any) error {
	if t.d.failure != nil {
		return t.d.failure
	}
	if !t.wrotes {
		t.wrotes, t.mark, t.sent = true, len(t.d.queue), t.d.rounds
		t.d.queue = append(t.d.queue, statement{sql: "savepoint f"})
	}
	t.d.queue = append(t.d.queue, statement{sql, args})
	if len(t.d.queue) >= queueMost {
		t.d.flush()
	}
	return t.d.failure
}

func (t *txn) wrote() bool { return t.wrotes }

// held reports whether nothing of what the function wrote was sent yet.
func (t *txn) held() bool { return t.sent == t.d.rounds }

// keep makes what the function wrote a part of its group.
func (t *txn) keep() {
	switch {
	case !t.wrotes:
	case t.held():
		t.d.queue = slices.Delete(t.d.queue, t.mark, t.mark+1)
	default:
		t.d.queue = append(t.d.queue, statement{sql: "release savepoint f"})
	}
}

// undo takes back what the function wrote.
func (t *txn) undo() {
	t.d.head = t.head
	switch {
	case !t.wrotes:
	case t.held():
		clear(t.d.queue[t.mark:])
		t.d.queue = t.d.queue[:t.mark]
	default:
		t.d.queue = append(t.d.queue[:0], statement{sql: "rollback to savepoint f"}, statement{sql: "release savepoint f"})
	}
}

// maxKey bounds what becomes a part of a key.
const maxKey = 512

// checkKey refuses what cannot be a key, or would not come back as it was.
func checkKey(field, s string) error {
	switch {
	case s == "":
		return license.FieldErrorf(field, "%s is empty", field)
	case len(s) > maxKey:
		return license.FieldErrorf(field, "%s is longer than %d bytes", field, maxKey)
	case !utf8.ValidString(s):
		return license.FieldErrorf(field, "%s is not text", field)
	case strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) >= 0:
		return license.FieldErrorf(field, "%s holds a control character", field)
	}
	return nil
}

func checkBytes(field string, b []byte) error {
	switch {
	case len(b) == 0:
		return license.FieldErrorf(field, "%s is empty", field)
	case len(b) > maxKey:
		return license.FieldErrorf(field, "%s is longer than %d bytes", field, maxKey)
	}
	return nil
}

// canBe reports whether all of these can be parts of keys. What cannot is not
// looked for: the database would refuse it as text.
func canBe(keys ...string) bool {
	for _, s := range keys {
		if s == "" || len(s) > maxKey || !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
			return false
		}
	}
	return true
}

// maxFound is how much of a value stands in a column by which records are found.
// Values that begin alike are told apart by their records.
const maxFound = 64

// found is the part of a value by which records are found, nil where it is empty.
func found(s string) *string {
	if s == "" {
		return nil
	}
	if !utf8.ValidString(s) {
		s = string([]rune(s)) // as it comes back from its record, which is JSON
	}
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if len(s) > maxFound {
		end := maxFound
		for !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	return &s
}
