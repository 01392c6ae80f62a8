package koogallery

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxNesting bounds arrays and objects inside a body. No documented call nests
// deeper than three.
const maxNesting = 16

var (
	errNotJSON     = errors.New("body is not a JSON object")
	errNotUTF8     = errors.New("body is not UTF-8")
	errTooNested   = errors.New("body is nested too deeply")
	errNotFlat     = errors.New("body has a nested value")
	errAfterObject = errors.New("body goes on after the object")
)

type valueKind uint8

const (
	kindNull valueKind = iota
	kindText
	kindNested
)

type field struct {
	key, value string // value is empty unless kind is kindText
	kind       valueKind
}

// payload is a body read once. Signature and meaning are both taken from it, so
// that a body with duplicate names cannot be authenticated in one reading and
// obeyed in another.
type payload struct {
	self   *payload // what Callback holds the address of
	err    error    // the body is not an object; fields are empty
	nested bool     // some value is an object or array, even if replaced by a later one
	fields []field
	inline [12]field // what nearly every callback fits in
}

// lookup returns the last field of that name, since duplicates are read as the
// vendor's map reads them. An absent field is a null.
func (p *payload) lookup(name string) field {
	for _, f := range slices.Backward(p.fields) {
		if f.key == name {
			return f
		}
	}
	return field{}
}

// parsePayload reads one JSON object. Strings keep their meaning, numbers and
// booleans their literal text. A byte order mark in front is skipped, as the
// vendor's parser does. The result is never nil.
func parsePayload(body string) *payload {
	p := &payload{}
	p.self = p
	p.fields = p.inline[:0]
	if p.err = p.read(body); p.err != nil {
		p.fields = nil
	}
	return p
}

func (p *payload) read(body string) error {
	if !utf8.ValidString(body) {
		return errNotUTF8
	}
	sc := scanner{s: strings.TrimPrefix(body, "\ufeff")}
	if !sc.next('{') {
		return errNotJSON
	}
	if !sc.next('}') {
		for {
			f, err := sc.member()
			if err != nil {
				return err
			}
			p.fields = append(p.fields, f)
			p.nested = p.nested || f.kind == kindNested
			if sc.next('}') {
				break
			}
			if !sc.next(',') {
				return errNotJSON
			}
		}
	}
	if sc.blank(); sc.i != len(sc.s) {
		return errAfterObject
	}
	return nil
}

// scanner walks over JSON text which is known to be UTF-8.
type scanner struct {
	s string
	i int
}

func (sc *scanner) blank() {
	for sc.i < len(sc.s) {
		switch sc.s[sc.i] {
		case ' ', '\t', '\n', '\r':
			sc.i++
		default:
			return
		}
	}
}

// next skips blanks and then c, if c is there.
func (sc *scanner) next(c byte) bool {
	sc.blank()
	return sc.here(c)
}

func (sc *scanner) here(c byte) bool {
	if sc.i < len(sc.s) && sc.s[sc.i] == c {
		sc.i++
		return true
	}
	return false
}

func (sc *scanner) literal(word string) bool {
	if strings.HasPrefix(sc.s[sc.i:], word) {
		sc.i += len(word)
		return true
	}
	return false
}

// member reads one name and its value.
func (sc *scanner) member() (f field, err error) {
	sc.blank()
	if f.key, err = sc.text(); err != nil {
		return field{}, err
	}
	if !sc.next(':') {
		return field{}, errNotJSON
	}
	f.value, f.kind, err = sc.value(0)
	return f, err
}

func (sc *scanner) value(depth int) (string, valueKind, error) {
	sc.blank()
	if sc.i == len(sc.s) {
		return "", kindNull, errNotJSON
	}
	switch c := sc.s[sc.i]; {
	case c == '"':
		s, err := sc.text()
		return s, kindText, err
	case c == '-' || isDigit(c):
		s, err := sc.number()
		return s, kindText, err
	case c == '{' || c == '[':
		return "", kindNested, sc.skipNested(depth + 1)
	case sc.literal("true"):
		return "true", kindText, nil
	case sc.literal("false"):
		return "false", kindText, nil
	case sc.literal("null"):
		return "", kindNull, nil
	}
	return "", kindNull, errNotJSON
}

// skipNested checks an object or array and forgets it.
func (sc *scanner) skipNested(depth int) error {
	if depth > maxNesting {
		return errTooNested
	}
	object := sc.s[sc.i] == '{'
	end := byte(']')
	if object {
		end = '}'
	}
	sc.i++
	if sc.next(end) {
		return nil
	}
	for {
		if object {
			sc.blank()
			if _, err := sc.text(); err != nil {
				return err
			}
			if !sc.next(':') {
				return errNotJSON
			}
		}
		if _, _, err := sc.value(depth); err != nil {
			return err
		}
		if sc.next(end) {
			return nil
		}
		if !sc.next(',') {
			return errNotJSON
		}
	}
}

// number returns the literal as it stands: 1, 1.0 and 1e0 are three texts.
func (sc *scanner) number() (string, error) {
	start := sc.i
	sc.here('-')
	if !sc.here('0') && !sc.digits() {
		return "", errNotJSON
	}
	if sc.here('.') && !sc.digits() {
		return "", errNotJSON
	}
	if sc.here('e') || sc.here('E') {
		if !sc.here('+') {
			sc.here('-')
		}
		if !sc.digits() {
			return "", errNotJSON
		}
	}
	return sc.s[start:sc.i], nil
}

func (sc *scanner) digits() bool {
	start := sc.i
	for sc.i < len(sc.s) && isDigit(sc.s[sc.i]) {
		sc.i++
	}
	return sc.i > start
}

// text reads a string. Without escapes it is a piece of the body, not a copy.
func (sc *scanner) text() (string, error) {
	if !sc.here('"') {
		return "", errNotJSON
	}
	start := sc.i
	for sc.i < len(sc.s) {
		switch c := sc.s[sc.i]; {
		case c == '"':
			s := sc.s[start:sc.i]
			sc.i++
			return s, nil
		case c == '\\':
			return sc.escapedText(start)
		case c < ' ':
			return "", errNotJSON
		default:
			sc.i++
		}
	}
	return "", errNotJSON
}

func (sc *scanner) escapedText(start int) (string, error) {
	out := append(make([]byte, 0, len(sc.s[start:sc.i])+32), sc.s[start:sc.i]...)
	for sc.i < len(sc.s) {
		c := sc.s[sc.i]
		sc.i++
		switch {
		case c == '"':
			return string(out), nil
		case c < ' ':
			return "", errNotJSON
		case c != '\\':
			out = append(out, c)
		default:
			r, err := sc.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return "", errNotJSON
}

// escape reads what follows a backslash. Half a surrogate pair is not text, and
// what a re-serialiser would make of it is undefined, so it is refused.
func (sc *scanner) escape() (rune, error) {
	if sc.i == len(sc.s) {
		return 0, errNotJSON
	}
	c := sc.s[sc.i]
	sc.i++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return sc.unicodeEscape()
	}
	return 0, errNotJSON
}

func (sc *scanner) unicodeEscape() (rune, error) {
	high, ok := sc.hex4()
	if !ok {
		return 0, errNotJSON
	}
	if high < 0xD800 || high > 0xDFFF {
		return high, nil
	}
	if high > 0xDBFF || !sc.literal(`\u`) {
		return 0, errNotJSON
	}
	low, ok := sc.hex4()
	if !ok || low < 0xDC00 || low > 0xDFFF {
		return 0, errNotJSON
	}
	return 0x10000 + (high-0xD800)<<10 + (low - 0xDC00), nil
}

func (sc *scanner) hex4() (rune, bool) {
	if len(sc.s)-sc.i < 4 {
		return 0, false
	}
	var r rune
	for _, c := range []byte(sc.s[sc.i : sc.i+4]) {
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	sc.i += 4
	return r, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
