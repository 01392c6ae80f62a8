package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

var errTest = errors.New("refused by the test")

func setValue(name string) func(ctx context.Context, tx store.Tx) error {
	return func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, name, []byte("x")) }
}

func hasValue(t *testing.T, s *boltstore.Store, name string) bool {
	t.Helper()
	err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Value(ctx, name)
		return err
	})
	return err == nil
}

// together has all functions run in one group: they queue up while the writer
// is held by a group before them. It works in a bubble, which knows when all
// of them wait. An empty function holds it.
func together(t *testing.T, s *boltstore.Store, fns ...func(ctx context.Context, tx store.Tx) error) []error {
	t.Helper()
	inside, goOn := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		// It fails, so that it does not count as a commit.
		_ = s.Update(t.Context(), func(context.Context, store.Tx) error {
			select {
			case <-inside: // it is run again
			default:
				close(inside)
			}
			<-goOn
			return errTest
		})
	})
	<-inside
	errs := make([]error, len(fns))
	for i, fn := range fns {
		wg.Go(func() {
			errs[i] = errors.New("the goroutine ended")
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("panic: %v", p)
				}
			}()
			errs[i] = s.Update(t.Context(), fn)
		})
		synctest.Wait() // so they queue up in order
	}
	close(goOn)
	wg.Wait()
	return errs
}

// inBubble runs fn in a bubble with a store on a real file.
func inBubble(t *testing.T, fn func(t *testing.T, s *boltstore.Store)) {
	t.Helper()
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) { fn(t, open(t, path)) })
}

func wantErrors(t *testing.T, got []error, want ...string) {
	t.Helper()
	for i, err := range got {
		if fmt.Sprint(err) != want[i] {
			t.Errorf("function %d: error is %v, want %s", i, err, want[i])
		}
	}
}

func TestGroupCommitsOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, s *boltstore.Store) {
		t.Helper()
		var fns []func(context.Context, store.Tx) error
		for i := range 20 {
			fns = append(fns, setValue(fmt.Sprint(i)))
		}
		for _, err := range together(t, s, fns...) {
			if err != nil {
				t.Error(err)
			}
		}
		st := s.Stats()
		if st.Commits != 1 || st.Updates != 20 {
			t.Errorf("%d updates took %d commits", st.Updates, st.Commits)
		}
	})
}

func TestGroupIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, s *boltstore.Store) {
		t.Helper()
		fns := make([]func(context.Context, store.Tx) error, 600)
		for i := range fns {
			fns[i] = setValue(fmt.Sprint(i))
		}
		for _, err := range together(t, s, fns...) {
			if err != nil {
				t.Error(err)
			}
		}
		// The function that holds the writer is in the first group too.
		if st := s.Stats(); st.Commits != 3 || st.Updates != 600 {
			t.Errorf("%d updates took %d commits, want 3", st.Updates, st.Commits)
		}
	})
}

func TestRefusalDoesNotWrite(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	if err := s.Update(t.Context(), setValue("v")); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, fn := range []func(ctx context.Context, tx store.Tx) error{
		func(context.Context, store.Tx) error { return errTest },
		func(context.Context, store.Tx) error { return nil },
		func(ctx context.Context, tx store.Tx) error { return errors.Join(setValue("w")(ctx, tx), errTest) },
		setValue("v"), // has that value already
	} {
		if err := s.Update(t.Context(), fn); err != nil && !errors.Is(err, errTest) {
			t.Error(err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(before) != string(after) {
		t.Errorf("the file was changed, %v", err)
	}
	if st := s.Stats(); st.Commits != 1 || st.Undone != 2 {
		t.Errorf("stats are %+v", st)
	}
}

// TestUndoInGroup compares a file in which functions that wrote everything
// twice were undone between two others with one in which only those two ran.
// Alone they would be rolled back with their group.
func TestUndoInGroup(t *testing.T) {
	undone := func(ctx context.Context, tx store.Tx) error {
		for n := int64(1); n < 5; n++ { // the first two are there already
			_ = tx.CreateLicense(ctx, benchLicense(n))
			for i := range 2 {
				l, err := tx.License(ctx, benchLicense(n).ID)
				if err != nil {
					return err
				}
				l.Customer = fmt.Sprint(i)
				in := license.Install{ID: fmt.Sprint("ins", n), LicenseID: l.ID, Revision: 1}
				_, appendErr := tx.Append(ctx, license.AuditEvent{At: benchTime, License: l.ID})
				p := license.Pending{Channel: "k", CodeIndex: []byte{byte(n)}, Messages: i}
				if err := errors.Join(tx.UpdateLicense(ctx, l), appendErr, tx.PutPending(ctx, p),
					markAt(ctx, tx, fmt.Append(nil, n, i), benchTime.Add(time.Duration(n*int64(i))*time.Hour)),
					tx.SetValue(ctx, "a", fmt.Append(nil, n, i)), tx.SetValue(ctx, "b", []byte{byte(i)}), tx.SetValue(ctx, "c", nil),
				); err != nil {
					return err
				}
				if err := tx.CreateInstall(ctx, in); err != nil {
					if err := tx.UpdateInstall(ctx, in); err != nil {
						return err
					}
				}
			}
			if err := tx.DeletePending(ctx, "k", []byte{byte(n)}); err != nil {
				return err
			}
		}
		return errTest
	}
	run := func(between ...func(ctx context.Context, tx store.Tx) error) (content map[string]string) {
		path := newPath(t)
		synctest.Test(t, func(t *testing.T) {
			s := open(t, path)
			for n := range int64(2) {
				if err := issue(s, n+1); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
				return errors.Join(setValue("a")(ctx, tx), setValue("c")(ctx, tx), markAt(ctx, tx, []byte("old"), benchTime))
			}); err != nil {
				t.Fatal(err)
			}
			fns := append([]func(ctx context.Context, tx store.Tx) error{setValue("first")}, between...)
			errs := together(t, s, append(fns, func(ctx context.Context, tx store.Tx) error {
				_, err := tx.Append(ctx, license.AuditEvent{At: benchTime})
				return err
			})...)
			for i, err := range errs {
				if wrong := i > 0 && i < len(errs)-1; wrong != errors.Is(err, errTest) || !wrong && err != nil {
					t.Errorf("function %d: error is %v", i, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		content = make(map[string]string)
		edit(t, path, func(tx *bolt.Tx) error {
			return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
				return b.ForEach(func(k, v []byte) error {
					content[fmt.Sprintf("%s %q", name, k)] = string(v)
					return nil
				})
			})
		})
		return content
	}
	if diff := cmp.Diff(run(), run(undone, undone)); diff != "" {
		t.Errorf("what was undone has left traces (-without +with):\n%s", diff)
	}
}

// markAt takes a message whose mark is kept for no longer than it has to be.
func markAt(ctx context.Context, tx store.Tx, key []byte, now time.Time) error {
	return tx.MarkSeen(ctx, key, now, now)
}

func TestPanicInGroup(t *testing.T) {
	inBubble(t, func(t *testing.T, s *boltstore.Store) {
		t.Helper()
		errs := together(t, s, setValue("a"), func(ctx context.Context, tx store.Tx) error {
			_ = setValue("b")(ctx, tx)
			panic("oops")
		}, setValue("c"))
		wantErrors(t, errs, "<nil>", "panic: oops", "<nil>")
		if !hasValue(t, s, "a") || hasValue(t, s, "b") || !hasValue(t, s, "c") {
			t.Error("the wrong functions were undone")
		}
	})
}

// TestGoexitInGroup is what t.Fatal in a function comes to: its caller ends,
// and nobody else notices.
func TestGoexitInGroup(t *testing.T) {
	inBubble(t, func(t *testing.T, s *boltstore.Store) {
		t.Helper()
		errs := together(t, s, setValue("a"), func(ctx context.Context, tx store.Tx) error {
			_ = setValue("b")(ctx, tx)
			runtime.Goexit()
			return nil
		}, setValue("c"))
		wantErrors(t, errs, "<nil>", "the goroutine ended", "<nil>")
		if !hasValue(t, s, "a") || hasValue(t, s, "b") || !hasValue(t, s, "c") {
			t.Error("the wrong functions were undone")
		}
		if err := s.Update(t.Context(), setValue("d")); err != nil {
			t.Error(err)
		}
	})
}

func TestGivenUpWhileWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, s *boltstore.Store) {
		t.Helper()
		inside, goOn := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
				close(inside)
				<-goOn
				return setValue("first")(ctx, tx)
			}); err != nil {
				t.Error(err)
			}
		})
		<-inside
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, errTest)
		defer cancel()
		err := s.Update(ctx, func(context.Context, store.Tx) error {
			t.Error("it was run")
			return nil
		})
		if !errors.Is(err, errTest) {
			t.Errorf("error is %v, want the cause", err)
		}
		close(goOn)
		wg.Wait()
		if !hasValue(t, s, "first") {
			t.Error("the first change is missing")
		}
	})
}

// TestBubble lets days pass between changes to a real file.
func TestBubble(t *testing.T) {
	inBubble(t, func(t *testing.T, s *boltstore.Store) {
		t.Helper()
		ticker := time.NewTicker(24 * time.Hour)
		defer ticker.Stop()
		for n := range int64(30) {
			<-ticker.C
			if err := issue(s, n+1); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestStartStop(t *testing.T) {
	path := newPath(t)
	for n := range int64(25) {
		s, err := boltstore.Open(path, boltstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range int64(4) {
			wg.Go(func() {
				if err := issue(s, n*4+i+1); err != nil && !errors.Is(err, store.ErrClosed) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
					_, _, err := tx.Licenses(ctx, store.Filter{}, store.Page{})
					return err
				})
				if err != nil && !errors.Is(err, store.ErrClosed) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if i > 1 {
					_ = s.Close()
				}
			})
		}
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(t, path).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLongView grows the file far beyond what bbolt maps at first while a View
// is open, which must not hold up the writer.
func TestLongView(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows maps no more than the file")
	}
	s := open(t, newPath(t))
	err := s.View(t.Context(), func(context.Context, store.Tx) error {
		for i := range 8 {
			if err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
				return tx.SetValue(ctx, fmt.Sprint(i), make([]byte, 1<<20))
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
