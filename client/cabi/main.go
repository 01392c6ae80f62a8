// Command cabi is package client as a C shared library, for products that are
// not written in Go. `make cabi` builds it; licensed.h says what its functions
// do, docs/c-library.md how to build, link and ship it.
//
// What the functions mean is written in internal/core, in Go alone. guard.go
// and verify.go carry it over to C, with what export.go and feature.go have for
// both, and licensed.c declares it under the names of licensed.h, so that the C
// compiler compares the two. Both need cgo: without it this is
// a program that does nothing.
package main

func main() {}
