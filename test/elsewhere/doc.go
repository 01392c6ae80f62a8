// Package elsewhere holds the tests of docs/verify-elsewhere.md: that its verifiers in other
// languages accept and refuse what ours does, on every vector and on mutants of them, and
// that the page shows the code that was tested.
package elsewhere
