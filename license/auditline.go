package license

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// AuditLine is one line of the audit log, taken apart and not checked:
// AuditHead.Follow does that.
type AuditLine struct {
	Seq      int64
	Action   Action
	License  string
	Prev     [sha256.Size]byte // the hash of the entry before, as the line says
	Hash     [sha256.Size]byte // its own, as it says
	Sealed   bool              // it was written with personal data
	Personal bool              // which is there

	raw      []byte
	hashed   []byte // what Hash is of
	sealed   [sha256.Size]byte
	personal []byte // the object
}

// maxAuditMembers bounds the members of an entry.
const maxAuditMembers = 64

// ParseAuditLine takes a line apart, without its line break. It keeps raw. Members
// that it does not know are skipped where the hash covers them. What is no
// entry is Damaged.
func ParseAuditLine(raw []byte) (AuditLine, error) {
	l := AuditLine{raw: raw}
	switch {
	case len(raw) > MaxAuditLine:
		return l, notAnEntry("longer than %d bytes", MaxAuditLine)
	case len(raw) == 0:
		return l, notAnEntry("empty")
	case !utf8.Valid(raw) || !json.Valid(raw):
		return l, notAnEntry("not JSON")
	case raw[0] != '{' || raw[len(raw)-1] != '}':
		return l, notAnEntry("no object, or not in the form that is written")
	}
	var names [maxAuditMembers][]byte
	count, at := 0, 1
	for at < len(raw) {
		name, value, end, ok := auditMember(raw, at)
		if !ok {
			return l, notAnEntry("not in the form that is written, at byte %d", at)
		}
		for _, other := range names[:count] {
			if bytes.Equal(other, name) {
				return l, notAnEntry("it has two members %s", name)
			}
		}
		if count == maxAuditMembers {
			return l, notAnEntry("it has more than %d members", maxAuditMembers)
		}
		names[count] = name
		count++
		if !l.take(string(name), value, at, count) {
			return l, notAnEntry("its member %s is none of an entry's, or not in its place", name)
		}
		at = end
	}
	switch {
	case l.hashed == nil:
		return l, notAnEntry("it has no hash")
	case l.Action == "":
		return l, notAnEntry("it has no action")
	case l.Personal && !l.Sealed:
		return l, notAnEntry("it has personal data that is not sealed")
	}
	return l, nil
}

func notAnEntry(format string, args ...any) error {
	return Errorf(Damaged, "not an entry of an audit log: "+format, args...)
}

// auditMember reads the member of an object that begins at a byte, and says
// where the next one begins, which is behind the end where there is none. raw is
// valid JSON.
func auditMember(raw []byte, at int) (name, value []byte, next int, ok bool) {
	if at >= len(raw) || raw[at] != '"' {
		return nil, nil, 0, false
	}
	i := at + 1
	for i < len(raw) && (raw[i] >= 'a' && raw[i] <= 'z' || raw[i] == '_') {
		i++
	}
	if i == at+1 || i+2 >= len(raw) || raw[i] != '"' || raw[i+1] != ':' {
		return nil, nil, 0, false
	}
	name = raw[at+1 : i]
	from := i + 2
	end := skipValue(raw, from)
	if end == from || end >= len(raw) || raw[end] != ',' && (raw[end] != '}' || end != len(raw)-1) {
		return nil, nil, 0, false
	}
	return name, raw[from:end], end + 1, true
}

// skipValue returns where the value that begins at a byte ends.
func skipValue(raw []byte, at int) int {
	depth := 0
	for i := at; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return len(raw)
}

// take takes a member in: the count-th, which begins at a byte of the line.
func (l *AuditLine) take(name string, value []byte, at, count int) bool {
	if l.hashed != nil { // nothing but personal data stands behind the hash
		l.Personal, l.personal = true, value
		return name == "personal" && value[0] == '{'
	}
	var err error
	var ok bool
	switch name {
	case "seq":
		l.Seq, err = strconv.ParseInt(string(value), 10, 64)
		return count == 1 && err == nil && l.Seq > 0
	case "action":
		action, ok := textMember(value)
		l.Action = Action(action)
		return ok
	case "license":
		l.License, ok = textMember(value)
		return ok
	case "sealed":
		l.Sealed = true
		return hashMember(&l.sealed, value)
	case "prev":
		return hashMember(&l.Prev, value)
	case "hash":
		l.hashed = l.raw[:at-len(`,`)]
		return hashMember(&l.Hash, value) && bytes.HasSuffix(l.hashed, l.prevMember())
	case "personal":
		return false
	}
	return l.Seq > 0
}

// prevMember is the member that stands before the hash.
func (l *AuditLine) prevMember() []byte {
	w := auditWriter{b: make([]byte, 0, 64)}
	w.raw(auditPrev)
	w.hash(l.Prev)
	return w.b
}

func hashMember(to *[sha256.Size]byte, value []byte) bool {
	return len(value) == auditHashLen+2 && value[0] == '"' && decodeHash(to, value[1:len(value)-1])
}

func textMember(value []byte) (s string, ok bool) {
	if value[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), true
	}
	return s, json.Unmarshal(value, &s) == nil
}

// Raw is the line.
func (l AuditLine) Raw() []byte { return l.raw }

// Head is the head of a log that ends with this entry, as the line says.
func (l AuditLine) Head() AuditHead { return AuditHead{Seq: l.Seq, Hash: l.Hash} }

// Follow checks that l is whole and follows h, and returns its head. Its
// personal data may have been taken out.
func (h AuditHead) Follow(l AuditLine) (AuditHead, *AuditFault) {
	fault := func(kind AuditFaultKind, detail string) (AuditHead, *AuditFault) {
		return h, &AuditFault{Kind: kind, Seq: l.Seq, Detail: detail}
	}
	switch whole := sha256.Sum256(l.hashed) == l.Hash; {
	case !whole:
		return fault(AuditEdited, "it was edited: its content is not what its hash was made of")
	case l.Seq == h.Seq && l.Hash == h.Hash:
		return fault(AuditRepeated, "it is repeated")
	case l.Seq <= h.Seq:
		return fault(AuditOutOfOrder, "it is out of order: it comes after entry "+strconv.FormatInt(h.Seq, 10))
	case l.Seq == h.Seq+2:
		return fault(AuditMissing, "entry "+strconv.FormatInt(h.Seq+1, 10)+" before it is missing")
	case l.Seq > h.Seq+1:
		return fault(AuditMissing, "entries "+strconv.FormatInt(h.Seq+1, 10)+" to "+strconv.FormatInt(l.Seq-1, 10)+" before it are missing")
	case l.Prev != h.Hash:
		return fault(AuditReplaced, "it does not follow the entry before it: one of the two was written anew")
	case l.Personal && sha256.Sum256(l.personal) != l.sealed:
		return fault(AuditPersonalEdited, "its personal data was changed")
	}
	return l.Head(), nil
}

// Erased is the line without its personal data, which its hash does not depend on.
func (l AuditLine) Erased() []byte {
	if !l.Personal {
		return l.raw
	}
	end := len(l.hashed) + len(auditHash) + auditHashLen + len(`"`)
	return append(append(make([]byte, 0, end+1), l.raw[:end]...), '}')
}

// Event is what the entry records.
func (l AuditLine) Event() (AuditEvent, error) {
	var e struct {
		AuditEvent
		Personal *auditPrivate `json:"personal"`
	}
	if err := json.Unmarshal(l.raw, &e); err != nil {
		return AuditEvent{}, notAnEntry("a member has another type").(*Error).WithCause(err) //nolint:errorlint // made just above
	}
	out := e.AuditEvent
	out.At = out.At.UTC()
	if e.Personal != nil {
		e.Personal.join(&out)
	}
	out.Erased = l.Sealed && !l.Personal
	return out, nil
}
