//go:build unix && !linux

package client_test

import (
	"os"
	"testing"
)

// asNobody reports whether the test is one of a user whom permissions bind.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("permissions do not bind root")
	}
	return true
}
