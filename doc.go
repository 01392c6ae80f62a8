// Package licensed holds what concerns the repository as a whole: the tests
// of its import rules, its documents and the API that it promises. There is
// nothing to import here; see package client, and the programs cmd/licensed
// and licensectl.
package licensed
