package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Error is something wrong with one key of a configuration.
type Error struct {
	Where string // the file, the variable or the "command line"; empty: a default
	Line  int    // in the file; zero: not known
	Key   string // as "products[0].machines"; empty: the configuration as a whole
	Err   error
}

// Error writes e as "licensed.yaml:12: products[0].machines: what is wrong".
func (e *Error) Error() string {
	var b strings.Builder
	if e.Where != "" {
		b.WriteString(e.Where)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns what is wrong, without the place.
func (e *Error) Unwrap() error { return e.Err }

// place is where a value was given.
type place struct {
	where string
	line  int
}

// source remembers where each value of a configuration was given.
type source struct {
	file   string // as the user named it; empty: none
	places map[string]place
}

func (s *source) set(key, where string, line int) {
	if s.places == nil {
		s.places = map[string]place{}
	}
	s.places[key] = place{where, line}
}

// err is err at the place of key, or where key was not given, of what is
// around it.
func (s source) err(key string, err error) *Error {
	for k := key; k != ""; k = parent(k) {
		if p, ok := s.places[k]; ok {
			return &Error{p.where, p.line, key, err}
		}
	}
	return &Error{Where: s.file, Key: key, Err: err}
}

// parent cuts the last step off a key: "a[0].b" is in "a[0]", and that in "a".
func parent(key string) string {
	i := strings.LastIndexAny(key, ".[")
	return key[:max(i, 0)]
}

func child(key, name string) string {
	odd := func(r rune) bool { return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	if name == "" || strings.ContainsFunc(name, odd) {
		name = strconv.Quote(name)
	}
	if key == "" {
		return name
	}
	return key + "." + name
}

func element(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }

// KeyError is err with the place in the configuration that it is about, for
// what shows only when the configuration is used, as an occupied port.
func (c Config) KeyError(key string, err error) error {
	return c.src.err(key, err)
}
