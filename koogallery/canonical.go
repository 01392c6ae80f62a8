package koogallery

import (
	"slices"
	"unicode/utf8"
)

// CanonicalPayload returns the form of a body which the vendor's sample project
// signs instead of the bytes received: one flat object of strings with its
// names in UTF-16 code unit order, no blanks, nulls dropped, numbers and
// booleans as strings, and nothing escaped but quotes, backslashes and control
// characters (docs/protocol.md, "What exactly is payload"). The last of several
// equal names wins.
//
// A body which is not a JSON object, is not UTF-8 or holds a nested value has
// no such form; the error says why and never quotes the body.
func CanonicalPayload(body []byte) ([]byte, error) {
	return parsePayload(string(body)).canonical(nil)
}

// canonical appends the canonical form to dst.
func (p *payload) canonical(dst []byte) ([]byte, error) {
	if p.err != nil {
		return nil, p.err
	}
	if p.nested {
		return nil, errNotFlat
	}
	fields := p.fields
	if !slices.IsSortedFunc(fields, compareFields) {
		fields = slices.Clone(fields)
		slices.SortStableFunc(fields, compareFields)
	}
	dst = append(dst, '{')
	first := true
	for i, f := range fields {
		replaced := i+1 < len(fields) && fields[i+1].key == f.key
		if replaced || f.kind == kindNull {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendQuoted(dst, f.key)
		dst = append(dst, ':')
		dst = appendQuoted(dst, f.value)
	}
	return append(dst, '}'), nil
}

func compareFields(a, b field) int { return compareUTF16(a.key, b.key) }

// compareUTF16 orders as Java orders strings. It differs from byte order only
// where a character beyond U+FFFF, in UTF-16 a pair that starts at 0xD800,
// meets one of U+E000 to U+FFFF.
func compareUTF16(a, b string) int {
	for len(a) > 0 && len(b) > 0 {
		if a[0] == b[0] && a[0] < utf8.RuneSelf {
			a, b = a[1:], b[1:]
			continue
		}
		x, n := utf8.DecodeRuneInString(a)
		y, m := utf8.DecodeRuneInString(b)
		if x != y {
			return utf16Rank(x) - utf16Rank(y)
		}
		a, b = a[n:], b[m:]
	}
	return len(a) - len(b)
}

func utf16Rank(r rune) int {
	switch {
	case r < 0xE000:
		return int(r)
	case r > 0xFFFF:
		return int(r)
	default: // after every surrogate pair
		return int(r) + utf8.MaxRune
	}
}

// appendQuoted appends s as a JSON string in the vendor's spelling, which
// encoding/json cannot produce: upper-case digits in \u00XX, and <, >, &,
// U+007F, U+2028 and U+2029 as they are.
func appendQuoted(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(append(dst, s[start:i]...), '\\')
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, c)
		case '\b':
			dst = append(dst, 'b')
		case '\t':
			dst = append(dst, 't')
		case '\n':
			dst = append(dst, 'n')
		case '\f':
			dst = append(dst, 'f')
		case '\r':
			dst = append(dst, 'r')
		default:
			dst = append(dst, 'u', '0', '0', digits[c>>4], digits[c&0xF])
		}
	}
	return append(append(dst, s[start:]...), '"')
}
