package license

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxCode is the longest code that is looked at, in characters. The marketplace's
// own limit is 64 characters (access guide …649167).
const MaxCode = 128

const (
	codePrefix   = "LIC"
	codeRandom   = 24 // characters of 5 bits: 120 random bits
	codeChecks   = 2
	codeLength   = len(codePrefix) + codeRandom + codeChecks
	codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford base32
	codeDomain   = "licensed code v1\n"
)

// Code is an authorization code: the string that a buyer holds. It is a
// secret. It prints as its last four characters only, does not marshal, and
// compares in constant time; Reveal gives the clear text.
//
// The zero Code is no code.
type Code struct {
	_ [0]func() // not comparable with ==
	s string
}

// NewCode makes a code of our own, LIC-XXXXX-XXXXX-XXXXX-XXXXX-XXXXXX, from
// 120 bits of random (crypto/rand when nil).
func NewCode(random io.Reader) (Code, error) {
	if random == nil {
		random = rand.Reader
	}
	var raw [codeRandom]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return Code{}, fmt.Errorf("make a code: %w", err)
	}
	for i, b := range raw {
		raw[i] = codeAlphabet[b&31]
	}
	return Code{s: group(string(raw[:]) + checkChars(string(raw[:])))}, nil
}

// ParseCode reads a code as a person may have typed or pasted it.
//
// What has 29 characters without blanks and dashes and begins with LIC is one
// of ours: case, blanks and dashes do not count, and O, I and L are read as 0,
// 1 and 1. Wrong check characters are a typing error (BadRequest, field
// "code"). Everything else is a marketplace's code: opaque, trimmed, otherwise
// kept as it is.
func ParseCode(s string) (Code, error) {
	if len(s) > 4*MaxCode {
		return Code{}, FieldErrorf("code", "the code is longer than %d characters", MaxCode)
	}
	if !utf8.ValidString(s) {
		return Code{}, FieldErrorf("code", "the code is not text")
	}
	trimmed := strings.TrimSpace(s)
	if trimmed == "" {
		return Code{}, FieldErrorf("code", "the code is empty")
	}
	if bare := strip(trimmed); utf8.RuneCountInString(bare) == codeLength && strings.HasPrefix(bare, codePrefix) {
		return parseOwn(bare[len(codePrefix):])
	}
	if utf8.RuneCountInString(trimmed) > MaxCode {
		return Code{}, FieldErrorf("code", "the code is longer than %d characters", MaxCode)
	}
	if strings.IndexFunc(trimmed, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		return Code{}, FieldErrorf("code", "the code holds a character that cannot be printed")
	}
	return Code{s: trimmed}, nil
}

func parseOwn(body string) (Code, error) {
	var b [codeRandom + codeChecks]byte
	for i := range b {
		c := body[i] // what is not ASCII only makes body longer, and fails below
		switch c {
		case 'O':
			c = '0'
		case 'I', 'L':
			c = '1'
		}
		if strings.IndexByte(codeAlphabet, c) < 0 {
			return Code{}, FieldErrorf("code", "the code holds a character that our codes never have; please check what you typed")
		}
		b[i] = c
	}
	body = string(b[:])
	if subtle.ConstantTimeCompare([]byte(checkChars(body[:codeRandom])), []byte(body[codeRandom:])) != 1 {
		return Code{}, FieldErrorf("code", "the code has a typing error: its check characters do not fit")
	}
	return Code{s: group(body)}, nil
}

// strip removes blanks and dashes of any kind, since mail programs and word
// processors exchange them, and makes ASCII letters upper case.
func strip(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.Is(unicode.Pd, r), r == '\u2212', r == '\u200b', r == '\ufeff', r == '\u00ad':
			return -1
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		}
		return r
	}, s)
}

func group(body string) string {
	return codePrefix + "-" + body[0:5] + "-" + body[5:10] + "-" + body[10:15] + "-" + body[15:20] + "-" + body[20:]
}

// checkChars returns the first ten bits of the digest as two characters.
func checkChars(random string) string {
	sum := sha256.Sum256([]byte(codeDomain + random))
	bits := uint16(sum[0])<<2 | uint16(sum[1])>>6
	return string([]byte{codeAlphabet[bits>>5], codeAlphabet[bits&31]})
}

// IsZero reports whether there is no code.
func (c Code) IsZero() bool { return c.s == "" }

// Own reports whether the code is of our own form, and so not a marketplace's.
func (c Code) Own() bool {
	bare := strip(c.s)
	return len(bare) == codeLength && strings.HasPrefix(bare, codePrefix) && c.s == group(bare[len(codePrefix):])
}

// Reveal returns the clear text in its printed form.
func (c Code) Reveal() string { return c.s }

// Last4 returns the last four characters, which may be shown; of a code that
// is so short that they would give it away, less.
func (c Code) Last4() string {
	n := 4
	if len(c.s) < 2*n {
		n = len(c.s) / 3
	}
	return strings.ToValidUTF8(c.s[len(c.s)-n:], "")
}

// Equal compares in constant time.
func (c Code) Equal(o Code) bool {
	return subtle.ConstantTimeCompare([]byte(c.s), []byte(o.s)) == 1
}

// String returns the code with all but its last four characters hidden.
func (c Code) String() string {
	if c.s == "" {
		return ""
	}
	return "…" + c.Last4()
}

// GoString hides the code from %#v.
func (c Code) GoString() string { return "license.Code(" + c.String() + ")" }

// LogValue hides the code from slog.
func (c Code) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText refuses: a code is written only where somebody called Reveal.
func (c Code) MarshalText() ([]byte, error) {
	return nil, fmt.Errorf("a licence code does not marshal; reveal it where it must be shown")
}
