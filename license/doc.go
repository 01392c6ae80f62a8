// Package license is the domain of licensed: what a licence is, which state
// its facts put it in, which events may change it, what a code looks like and
// when a machine is the one that a licence was bound to.
//
// Everything here is pure. There is no clock, no input or output and no
// context: callers pass "now" and get an answer, so a rule about licences can
// be read, tested and trusted in one place by the server and by the shipped
// product alike. The package imports nothing but the standard library and
// follows semantic versioning.
//
// Words are those of the project's glossary: a licence (identifier: License)
// holds facts, its State is computed from them, an Install is one installed
// copy of the software, a Fingerprint is a set of machine components and a
// Binding is what of it a licence was tied to.
package license
