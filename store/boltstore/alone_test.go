package boltstore_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/seed-357fa782/licensed/store/boltstore"
)

// A lone change that cannot begin, because the store is being checked, is given
// up with its caller's ctx and never run.
func TestAloneGivesUpBeforeItBegins(t *testing.T) {
	s, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	release := boltstore.HoldGate(s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Update(ctx, setValue("alone")) }()
	for boltstore.Waiting(s) == 0 {
		runtime.Gosched()
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("given up with %v", err)
	}
	release()
	if hasValue(t, s, "alone") {
		t.Error("it was run all the same")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
