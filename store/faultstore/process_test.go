package faultstore_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
	"github.com/seed-357fa782/licensed/store/faultstore"
	"github.com/seed-357fa782/licensed/store/storetest"
)

// A process that is not killed is held to the contract like any store.
func TestProcessIsAStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		t.Helper()
		path := filepath.Join(t.TempDir(), "licensed.db")
		return func() (store.Store, error) {
			s, err := boltstore.Open(path, boltstore.Options{})
			if err != nil {
				return nil, err
			}
			return faultstore.NewProcess(s), nil
		}
	})
}

// A process that is killed on one side of a commit has made the change or not;
// in either case it is told that it failed, and nothing that it does later is
// done.
func TestProcessKilledAtACommit(t *testing.T) {
	for _, side := range []bool{false, true} {
		s := open(t)
		p := faultstore.NewProcess(s)
		sides := 0
		p.OnUpdate(func(_ context.Context, committed bool) {
			if sides++; committed == side {
				p.Kill()
			}
		})
		if err := set(p, "first"); !errors.Is(err, faultstore.ErrKilled) || !errors.Is(err, license.ReadOnly) {
			t.Errorf("committed %v: error is %v", side, err)
		}
		ran := false
		err := p.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			ran = true
			return tx.SetValue(ctx, "second", []byte("x"))
		})
		if !errors.Is(err, faultstore.ErrKilled) || ran {
			t.Errorf("committed %v: a dead process: ran %v, error is %v", side, ran, err)
		}
		err = p.View(t.Context(), func(context.Context, store.Tx) error { ran = true; return nil })
		if !errors.Is(err, faultstore.ErrKilled) || ran {
			t.Errorf("committed %v: a dead process reads: ran %v, error is %v", side, ran, err)
		}
		p.Wait()
		if has(t, s, "first") != side || has(t, s, "second") || sides != map[bool]int{false: 1, true: 2}[side] {
			t.Errorf("committed %v: it has happened %v after %d sides", side, has(t, s, "first"), sides)
		}
		if err := set(faultstore.NewProcess(s), "third"); err != nil || !has(t, s, "third") {
			t.Errorf("committed %v: the next process: %v", side, err)
		}
	}
}

// What is under way when a process is killed by somebody else is not committed,
// and Wait waits until that is certain.
func TestProcessKilledWithin(t *testing.T) {
	s := open(t)
	p := faultstore.NewProcess(s)
	within, killed, waited := make(chan struct{}), make(chan struct{}), make(chan struct{})
	done, read := make(chan error, 1), make(chan error, 1)
	go func() {
		done <- p.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			close(within)
			<-killed
			return tx.SetValue(ctx, "late", []byte("x"))
		})
	}()
	<-within
	go func() {
		read <- p.View(t.Context(), func(context.Context, store.Tx) error { <-killed; return nil })
	}()
	p.Kill()
	go func() { p.Wait(); close(waited) }()
	select {
	case <-waited:
		t.Error("it was waited for nothing, and a transaction was open")
	default:
	}
	close(killed)
	<-waited
	if err := <-done; !errors.Is(err, faultstore.ErrKilled) || has(t, s, "late") {
		t.Errorf("error is %v, and it has happened %v", err, has(t, s, "late"))
	}
	if err := <-read; !errors.Is(err, faultstore.ErrKilled) {
		t.Errorf("what was read when it was killed came back: %v", err)
	}
}

// A function that refuses is told what it said, and nobody looks at a commit
// that there is not.
func TestProcessOwnErrorComesFirst(t *testing.T) {
	own := errors.New("refused")
	p := faultstore.NewProcess(open(t))
	p.OnUpdate(func(context.Context, bool) { t.Error("there is no commit to look at") })
	if err := p.Update(t.Context(), func(context.Context, store.Tx) error { return own }); !errors.Is(err, own) {
		t.Errorf("error is %v", err)
	}
}
