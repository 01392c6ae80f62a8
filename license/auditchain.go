package license

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
)

// The audit log is a chain of lines of JSON (docs/audit.md). A line ends with
//
//	,"prev":"…","hash":"…"}                  or
//	,"prev":"…","hash":"…","personal":{…}}
//
// where hash is the SHA-256 of the bytes before the last `,"hash":"`, and prev
// the hash of the line before, of 32 zero bytes for the first, both base64url
// without padding. What can be about a customer's person stands in personal. Of
// it only the digest is chained, as "sealed", so that it can be taken out.

// MaxAuditLine bounds one line of the audit log, in bytes.
const MaxAuditLine = 1 << 20

// AuditSaltLen is how many random bytes the personal data of an entry is
// salted with: the digest of a name alone could be guessed.
const AuditSaltLen = 16

// auditHashLen is the length of a hash in its text form.
const auditHashLen = 43

const (
	auditPrev     = `,"prev":"`
	auditHash     = `,"hash":"`
	auditPersonal = `,"personal":`
)

// AuditHead is how far the audit log goes: the position of an entry, and its
// hash, which stands for that entry and all before it. The zero AuditHead is
// that of the empty log.
type AuditHead struct {
	Seq  int64
	Hash [sha256.Size]byte
}

// String gives a head the form that ParseAuditHead reads, "12:<base64url>".
func (h AuditHead) String() string {
	return strconv.FormatInt(h.Seq, 10) + ":" + h.HashText()
}

// HashText is the hash as the lines write it: base64url, 43 characters.
func (h AuditHead) HashText() string { return auditB64().EncodeToString(h.Hash[:]) }

// ParseAuditHead reads a position and a hash, "12:<base64url>"; what is none is
// BadRequest.
func ParseAuditHead(s string) (AuditHead, error) {
	var h AuditHead
	at, hash, ok := strings.Cut(strings.TrimSpace(s), ":")
	seq, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil || seq < 0 || !decodeHash(&h.Hash, []byte(hash)) || seq == 0 && h.Hash != [sha256.Size]byte{} {
		return AuditHead{}, FieldErrorf("head", "%.80q is not the head of an audit log, which is of the form 12:<43 characters>", s)
	}
	h.Seq = seq
	return h, nil
}

// Seal writes the entry that follows h in the log, without a line break, and
// returns the head that the log has with it. The Seq and Erased of e do not
// count. salt are AuditSaltLen bytes that nobody can guess; they are not
// looked at where the entry holds no personal data.
func (h AuditHead) Seal(e AuditEvent, salt []byte) (line []byte, next AuditHead, err error) {
	if h.Seq < 0 || h.Seq == math.MaxInt64 {
		return nil, h, Errorf(Internal, "no entry can follow position %d of the audit log", h.Seq)
	}
	open, private := e.split()
	var personal []byte
	if private != nil {
		if len(salt) != AuditSaltLen {
			return nil, h, Errorf(Internal, "the salt of an audit entry has %d bytes", len(salt))
		}
		private.Salt = auditB64().EncodeToString(salt)
		if personal, err = json.Marshal(private); err != nil {
			return nil, h, Errorf(Internal, "an audit entry cannot be written").WithCause(err)
		}
		if bytes.Contains(personal, []byte(auditHash)) {
			return nil, h, Errorf(Internal, "an audit entry cannot be written: its personal data has a member called hash")
		}
	}
	open.Seq = h.Seq + 1
	w := auditWriter{b: make([]byte, 0, 512+len(personal))}
	w.event(open)
	if personal != nil {
		w.raw(`,"sealed":"`)
		w.hash(sha256.Sum256(personal))
	}
	w.raw(auditPrev)
	w.hash(h.Hash)
	if w.err != nil {
		return nil, h, Errorf(Internal, "an audit entry cannot be written").WithCause(w.err)
	}
	next = AuditHead{Seq: open.Seq, Hash: sha256.Sum256(w.b)}
	w.raw(auditHash)
	w.hash(next.Hash)
	if personal != nil {
		w.raw(auditPersonal)
		w.b = append(w.b, personal...)
	}
	w.raw("}")
	if len(w.b) > MaxAuditLine {
		return nil, h, Errorf(Internal, "an audit entry has %d bytes, and %d at most are kept", len(w.b), MaxAuditLine)
	}
	return w.b, next, nil
}

// auditWriter writes the line of an entry up to its hash. It writes what
// encoding/json would, several times faster.
type auditWriter struct {
	b   []byte
	err error
}

func (w *auditWriter) raw(s string) { w.b = append(w.b, s...) }

// hash writes a hash and the quote behind it.
func (w *auditWriter) hash(sum [sha256.Size]byte) {
	w.b = append(auditB64().AppendEncode(w.b, sum[:]), '"')
}

func (w *auditWriter) event(e AuditEvent) {
	w.raw(`{"seq":`)
	w.b = strconv.AppendInt(w.b, e.Seq, 10)
	w.raw(`,"at":"`)
	b, err := e.At.UTC().AppendText(w.b)
	if err != nil {
		w.err = err
		return
	}
	w.b = b
	w.raw(`","actor":{"kind":`)
	w.text(string(e.Actor.Kind))
	w.member("name", e.Actor.Name)
	w.member("addr", e.Actor.Addr)
	w.raw(`},"action":`)
	w.text(string(e.Action))
	w.member("license", e.License)
	w.member("install", e.Install)
	w.member("product", e.Product)
	w.member("request", e.Request)
	w.facts("before", e.Before)
	w.facts("after", e.After)
	w.member("note", e.Note)
}

func (w *auditWriter) member(name, value string) {
	if value != "" {
		w.name(name)
		w.text(value)
	}
}

func (w *auditWriter) name(name string) {
	w.raw(`,"`)
	w.raw(name)
	w.raw(`":`)
}

func (w *auditWriter) facts(name string, facts map[string]any) {
	if facts == nil {
		return
	}
	w.name(name)
	w.value(facts)
}

func (w *auditWriter) value(v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		w.err = err
		return
	}
	w.b = append(w.b, raw...)
}

// text writes a string. Most need no escapes.
func (w *auditWriter) text(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			w.value(s)
			return
		}
	}
	w.b = append(w.b, '"')
	w.raw(s)
	w.b = append(w.b, '"')
}

// auditB64 is base64url without padding, which takes one form only.
func auditB64() *base64.Encoding { return base64.RawURLEncoding.Strict() }

func decodeHash(to *[sha256.Size]byte, text []byte) bool {
	if len(text) != auditHashLen || bytes.ContainsAny(text, "\r\n") {
		return false
	}
	n, err := auditB64().Decode(to[:], text)
	return err == nil && n == sha256.Size
}

// auditPrivate is the personal data of an entry.
type auditPrivate struct {
	Salt   string         `json:"salt"`
	Name   string         `json:"name,omitzero"`
	Addr   string         `json:"addr,omitzero"`
	Before map[string]any `json:"before,omitzero"`
	After  map[string]any `json:"after,omitzero"`
	Note   string         `json:"note,omitzero"`
}

// PersonalFact reports whether the fact of that name, in Before and After of an
// audit event, can be about a customer's person.
func PersonalFact(name string) bool { return name == "customer" }

// split takes apart what can be about a customer's person; private is nil where
// nothing is. Staff is named for good, with the address that they came from: an
// erasure must not hide who did what. Notes of the system and of a marketplace's
// messages are no free text, but where they say what another system answered.
func (e AuditEvent) split() (open AuditEvent, private *auditPrivate) {
	open = e
	var p auditPrivate
	found := false
	take := func(from, to *string) {
		if *from != "" {
			*to, *from, found = *from, "", true
		}
	}
	switch e.Actor.Kind {
	case ActorAdmin:
	case ActorInstall, ActorMarketplace, ActorSystem:
		take(&open.Actor.Addr, &p.Addr)
	default:
		take(&open.Actor.Addr, &p.Addr)
		take(&open.Actor.Name, &p.Name)
	}
	if e.Actor.Kind != ActorSystem && e.Actor.Kind != ActorMarketplace || e.Action.answered() {
		take(&open.Note, &p.Note)
	}
	open.Before, p.Before = splitFacts(e.Before)
	open.After, p.After = splitFacts(e.After)
	if !found && p.Before == nil && p.After == nil {
		return open, nil
	}
	return open, &p
}

// answered reports whether the note of an action holds what another system has
// answered, which may repeat what it was told.
func (a Action) answered() bool {
	switch a { //nolint:exhaustive // the others say what we did
	case ActionJobPark, ActionJobRetry, ActionJobDrop, ActionWebhookGiveUp, ActionWebhookDisable:
		return true
	}
	return false
}

func splitFacts(facts map[string]any) (open, private map[string]any) {
	found := false
	for name := range facts {
		found = found || PersonalFact(name)
	}
	if !found {
		return facts, nil
	}
	private = make(map[string]any)
	for name, v := range facts {
		if PersonalFact(name) {
			private[name] = v
			continue
		}
		if open == nil {
			open = make(map[string]any, len(facts))
		}
		open[name] = v
	}
	return open, private
}

// join is the other way round.
func (p *auditPrivate) join(e *AuditEvent) {
	e.Actor.Name += p.Name
	e.Actor.Addr += p.Addr
	e.Note += p.Note
	e.Before, e.After = joinFacts(e.Before, p.Before), joinFacts(e.After, p.After)
}

func joinFacts(open, private map[string]any) map[string]any {
	if open == nil {
		return private
	}
	maps.Copy(open, private)
	return open
}

// AuditFaultKind says what is wrong with an audit log.
type AuditFaultKind string

// The kinds of faults.
const (
	AuditDamaged         AuditFaultKind = "damaged"          // the line is not an entry
	AuditTruncated       AuditFaultKind = "truncated"        // the last line is cut off
	AuditEdited          AuditFaultKind = "edited"           // the entry is not what its hash was made of
	AuditMissing         AuditFaultKind = "missing"          // entries before it are not there
	AuditRepeated        AuditFaultKind = "repeated"         // it came before
	AuditOutOfOrder      AuditFaultKind = "out_of_order"     // it stands in another's place
	AuditReplaced        AuditFaultKind = "replaced"         // it does not follow the entry before: one of the two was written anew
	AuditPersonalEdited  AuditFaultKind = "personal_edited"  // its personal data is not what was sealed
	AuditPersonalRemoved AuditFaultKind = "personal_removed" // its personal data is gone, and no audit.erase says so
	AuditBadCheckpoint   AuditFaultKind = "checkpoint"       // what it was signed with does not verify
	AuditOtherHead       AuditFaultKind = "head"             // the log is not the one whose head is known from elsewhere
)

// AuditFault is the first fault of an audit log. It is an error.
type AuditFault struct {
	Kind   AuditFaultKind
	Line   int64 // in the file, from 1; zero where it is none's
	Seq    int64 // position of the entry; zero where it is none's
	Detail string
}

func (f *AuditFault) Error() string {
	var where []string
	if f.Line > 0 {
		where = append(where, fmt.Sprintf("line %d", f.Line))
	}
	if f.Seq > 0 {
		where = append(where, fmt.Sprintf("entry %d", f.Seq))
	}
	if len(where) == 0 {
		return f.Detail
	}
	return strings.Join(where, ", ") + ": " + f.Detail
}

// Unwrap makes errors.Is(err, Damaged) true.
func (f *AuditFault) Unwrap() error { return Damaged }
