package token

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// The scanner reads JSON (RFC 8259) once, before anything is decoded, and
// refuses what encoding/json lets pass: a member name that occurs twice in one
// object, a name that differs only in case from one that we know (encoding/json
// would take it for that one), text that is not Unicode, lone surrogates
// (RFC 7493), nesting over MaxDepth. By a shape it also checks that known
// members are there, have their type and are whole numbers within their range.
// What it accepts, encoding/json decodes without an error.

// fault says what is wrong with a token. It names members that we know and
// repeats nothing else of what was read.
type fault struct {
	forged bool   // the signature or the key, not the form
	path   string // the member at fault, "lic.phases.warn_at"
	text   string
}

func malformed(path, text string) *fault { return &fault{path: path, text: text} }
func forgery(text string) *fault         { return &fault{forged: true, text: text} }

// in places a fault under the member name.
func (f *fault) in(name string) *fault {
	if f.path == "" {
		f.path = name
	} else {
		f.path = name + "." + f.path
	}
	return f
}

func (f *fault) String() string {
	if f.path == "" {
		return f.text
	}
	return f.path + ": " + f.text
}

// kinds is a set of JSON types.
type kinds uint8

const (
	kindObject kinds = 1 << iota
	kindArray
	kindText
	kindNumber
	kindBool
	kindNull
)

// shape is what is known of a value. A nil shape is any value.
type shape struct {
	want    kinds   // types that are allowed, 0 for any
	whole   bool    // a number is a whole one from 0 to max, without fraction and exponent
	max     int64   // with whole
	refused bool    // the member must not be there
	members []field // of an object: the names that have a meaning
	elem    *shape  // of an array: its elements
	limit   int     // most members or elements, 0 for any number
}

// field is a member that has a meaning. At most 64 stand in one shape.
type field struct {
	name     string
	required bool
	shape    *shape
}

func (s *shape) find(name []byte) (at int, caseVariant bool) {
	if s == nil {
		return -1, false
	}
	for i := range s.members {
		if string(name) == s.members[i].name {
			return i, false
		}
	}
	for i := range s.members {
		known := s.members[i].name
		// Folding outside ASCII changes the length: U+212A is a k, U+017F an s.
		if len(name) >= len(known) && bytes.EqualFold(name, []byte(known)) {
			return -1, true
		}
	}
	return -1, false
}

type scanner struct {
	data  []byte
	pos   int
	depth int
	names [][]byte // names without a meaning, of the objects that are open
}

// scan checks that data is one JSON object of the given shape.
func scan(data []byte, sh *shape) *fault {
	s := scanner{data: data}
	s.space()
	if s.peek() != '{' {
		return malformed("", "not a JSON object")
	}
	if f := s.value(sh); f != nil {
		return f
	}
	s.space()
	if s.pos != len(s.data) {
		return malformed("", "something follows the JSON object")
	}
	return nil
}

// decode scans data and then decodes it, once, into v, whose JSON names are
// among those of the shape.
func decode(data []byte, sh *shape, v any) *fault {
	if f := scan(data, sh); f != nil {
		return f
	}
	if json.Unmarshal(data, v) != nil {
		return malformed("", "not valid JSON")
	}
	return nil
}

func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

func (s *scanner) broken() *fault { return malformed("", "not valid JSON") }

func (s *scanner) value(sh *shape) *fault {
	got := kindOf(s.peek())
	if got == 0 {
		return s.broken()
	}
	if sh != nil {
		if sh.refused {
			return malformed("", "must be understood, and this version does not know it")
		}
		if sh.want != 0 && sh.want&got == 0 {
			return malformed("", "has the wrong type")
		}
	}
	switch got {
	case kindObject:
		return s.object(sh)
	case kindArray:
		return s.array(sh)
	case kindText:
		_, _, f := s.text()
		return f
	case kindNumber:
		return s.number(sh)
	case kindBool, kindNull:
		return s.literal()
	}
	return s.broken()
}

func kindOf(c byte) kinds {
	switch c {
	case '{':
		return kindObject
	case '[':
		return kindArray
	case '"':
		return kindText
	case 't', 'f':
		return kindBool
	case 'n':
		return kindNull
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return kindNumber
	}
	return 0
}

func (s *scanner) open() *fault {
	s.pos++
	if s.depth++; s.depth > MaxDepth {
		return malformed("", "nested too deeply")
	}
	s.space()
	return nil
}

// next steps over a comma, or over the end of an object or array: more is
// whether another member follows.
func (s *scanner) next(end byte) (more bool, f *fault) {
	s.space()
	switch s.peek() {
	case ',':
		s.pos++
		s.space()
		return true, nil
	case end:
		s.pos++
		s.depth--
		return false, nil
	}
	return false, s.broken()
}

func (s *scanner) object(sh *shape) *fault {
	if f := s.open(); f != nil {
		return f
	}
	seen := nameSet{s: s, base: len(s.names), shape: sh}
	more := s.peek() != '}'
	if !more {
		s.pos++
		s.depth--
	}
	for n := 1; more; n++ {
		if sh != nil && sh.limit > 0 && n > sh.limit {
			return malformed("", "has too many members")
		}
		f := s.member(&seen)
		if f == nil {
			more, f = s.next('}')
		}
		if f != nil {
			return f
		}
	}
	s.names = s.names[:seen.base]
	return seen.missing()
}

func (s *scanner) member(seen *nameSet) *fault {
	if s.peek() != '"' {
		return s.broken()
	}
	span, plain, f := s.text()
	if f != nil {
		return f
	}
	name := span[1 : len(span)-1]
	if !plain {
		var text string
		if json.Unmarshal(span, &text) != nil {
			return s.broken()
		}
		name = []byte(text)
	}
	at, f := seen.add(name)
	if f != nil {
		return f
	}
	s.space()
	if s.peek() != ':' {
		return s.broken()
	}
	s.pos++
	s.space()
	if at < 0 {
		return s.value(nil)
	}
	known := &seen.shape.members[at]
	if f := s.value(known.shape); f != nil {
		return f.in(known.name)
	}
	return nil
}

func (s *scanner) array(sh *shape) *fault {
	var elem *shape
	limit := 0
	if sh != nil {
		elem, limit = sh.elem, sh.limit
	}
	if f := s.open(); f != nil {
		return f
	}
	if s.peek() == ']' {
		s.pos++
		s.depth--
		return nil
	}
	for n := 1; ; n++ {
		if limit > 0 && n > limit {
			return malformed("", "has too many elements")
		}
		f := s.value(elem)
		more := false
		if f == nil {
			more, f = s.next(']')
		}
		if f != nil || !more {
			return f
		}
	}
}

// text reads a string and returns it with its quotes; plain is whether it
// holds no escapes.
func (s *scanner) text() (span []byte, plain bool, f *fault) {
	start := s.pos
	plain, ascii := true, true
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			span = s.data[start:s.pos]
			if !ascii && !utf8.Valid(span) {
				return nil, false, malformed("", "holds text that is not UTF-8")
			}
			return span, plain, nil
		case c == '\\':
			plain = false
			if f := s.escape(); f != nil {
				return nil, false, f
			}
		case c < 0x20:
			return nil, false, s.broken()
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, false, s.broken()
}

// escape reads what follows a backslash and leaves pos on its last byte.
func (s *scanner) escape() *fault {
	s.pos++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
	default:
		return s.broken()
	}
	r, ok := s.hex4()
	if !ok {
		return s.broken()
	}
	if r < 0xD800 || r > 0xDFFF {
		return nil
	}
	// A high surrogate, then a low one: anything else is no character.
	if r <= 0xDBFF && s.pos+2 < len(s.data) && s.data[s.pos+1] == '\\' && s.data[s.pos+2] == 'u' {
		s.pos += 2
		if low, ok := s.hex4(); ok && low >= 0xDC00 && low <= 0xDFFF {
			return nil
		}
	}
	return malformed("", "holds half a character")
}

// hex4 reads the four digits after the u at pos and leaves pos on the last one.
func (s *scanner) hex4() (r uint32, ok bool) {
	if len(s.data)-s.pos < 5 {
		return 0, false
	}
	for range 4 {
		s.pos++
		c := s.data[s.pos]
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | uint32(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | uint32(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | uint32(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func (s *scanner) number(sh *shape) *fault {
	start := s.pos
	if s.peek() == '-' {
		s.pos++
	}
	whole := s.pos == start
	first := s.pos
	digits := s.digits()
	if digits == 0 || digits > 1 && s.data[first] == '0' {
		return s.broken()
	}
	if s.peek() == '.' {
		whole = false
		s.pos++
		if s.digits() == 0 {
			return s.broken()
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		whole = false
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if s.digits() == 0 {
			return s.broken()
		}
	}
	if sh == nil || !sh.whole {
		return nil
	}
	if !whole {
		return malformed("", "is not a whole number of zero or more")
	}
	n := int64(0)
	for _, c := range s.data[first:s.pos] {
		if n = n*10 + int64(c-'0'); n > sh.max {
			return malformed("", "is out of range")
		}
	}
	return nil
}

func (s *scanner) digits() (n int) {
	for ; s.peek() >= '0' && s.peek() <= '9'; n++ {
		s.pos++
	}
	return n
}

func (s *scanner) literal() *fault {
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
			s.pos += len(word)
			return nil
		}
	}
	return s.broken()
}
