package boltstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

const (
	crashChild  = "BOLTSTORE_TEST_CRASH_CHILD"
	crashRounds = 4
	crashers    = 8 // goroutines that write in the child
)

// TestCrash kills a process that writes, at no particular instant, and looks
// whether what it had been answered is there, and nothing by halves.
func TestCrash(t *testing.T) {
	if path := os.Getenv(crashChild); path != "" {
		crashWrite(t, path)
		return
	}
	path := newPath(t)
	acked := make(map[int64]bool)
	for round := range crashRounds {
		crashRound(t, path, int64(round), 40+37*round, acked)
		crashVerify(t, path, acked)
	}
	if len(acked) < 40*crashRounds {
		t.Errorf("only %d changes were answered", len(acked))
	}
}

// crashRound runs a child until it has been answered enough times, kills it
// and notes every answer that got out.
func crashRound(t *testing.T, path string, round int64, enough int, acked map[int64]bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestCrash$")
	cmd.Env = append(os.Environ(), crashChild+"="+path, "BOLTSTORE_TEST_ROUND="+strconv.FormatInt(round, 10))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); seen++ {
		if seen == enough {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		text, ok := strings.CutPrefix(lines.Text(), "ack ")
		n, err := strconv.ParseInt(strings.TrimSuffix(text, "."), 10, 64)
		if !ok || !strings.HasSuffix(text, ".") {
			continue // cut off by the kill
		}
		if err != nil {
			t.Fatalf("the child says %q", lines.Text())
		}
		acked[n] = true
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
}

// crashWrite writes until it is killed. Each change touches a new licence, one
// that all share, an install, a counter and the audit log; some are undone.
func crashWrite(t *testing.T, path string) {
	t.Helper()
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	round, err := strconv.ParseInt(os.Getenv("BOLTSTORE_TEST_ROUND"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range int64(crashers) {
		wg.Go(func() {
			for i := int64(0); ; i++ {
				n := round*1_000_000 + w*100_000 + i + 1
				err := s.Update(t.Context(), crashChange(n, i%5 == 4))
				if errors.Is(err, errTest) {
					continue
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Printf("ack %d.\n", n)
			}
		})
	}
	wg.Wait()
}

func crashChange(n int64, fails bool) func(ctx context.Context, tx store.Tx) error {
	return func(ctx context.Context, tx store.Tx) error {
		l := benchLicense(n)
		if err := tx.CreateLicense(ctx, l); err != nil {
			return err
		}
		if err := tx.CreateInstall(ctx, license.Install{ID: "ins", LicenseID: l.ID, Answer: make([]byte, 1500)}); err != nil {
			return err
		}
		if _, err := tx.Append(ctx, license.AuditEvent{At: benchTime, Action: license.ActionIssue, License: l.ID}); err != nil {
			return err
		}
		if err := crashJobs(ctx, tx, n, l.ID); err != nil {
			return err
		}
		v, err := tx.Value(ctx, "count")
		if err != nil && !errors.Is(err, license.NotFound) {
			return err
		}
		count, _ := strconv.Atoi(string(v))
		if err := tx.SetValue(ctx, "count", strconv.AppendInt(nil, int64(count+1), 10)); err != nil {
			return err
		}
		if fails {
			return errTest
		}
		return nil
	}
}

// crashJobs adds an order and a job in one of a few lines, and ends or parks
// one that is due.
func crashJobs(ctx context.Context, tx store.Tx, n int64, licenseID string) error {
	j := newJob(fmt.Sprintf("job_%026d", n), fmt.Sprint("key ", n%3), benchTime.Add(time.Duration(n%5)*time.Second))
	j.License = licenseID
	o := license.Order{Channel: "k", ID: licenseID, Line: "1"}
	if err := errors.Join(tx.CreateJob(ctx, j), tx.CreateOrder(ctx, o)); err != nil || n%2 == 0 {
		return err
	}
	due, _, err := tx.DueJobs(ctx, benchTime.Add(time.Minute), 1)
	if err != nil || len(due) != 1 {
		return fmt.Errorf("%d jobs are due, %w", len(due), err)
	}
	if n%3 > 0 {
		return tx.DeleteJob(ctx, due[0])
	}
	return tx.UpdateJob(ctx, parked(due[0]))
}

func crashVerify(t *testing.T, path string, acked map[int64]bool) {
	t.Helper()
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	// Check also finds licences without code, installs without licence, jobs
	// without a turn and gaps.
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		for n := range acked {
			_, err1 := tx.License(ctx, benchLicense(n).ID)
			_, err2 := tx.Order(ctx, "k", benchLicense(n).ID, "1")
			if err := errors.Join(err1, err2); err != nil {
				return fmt.Errorf("change %d was answered: %w", n, err)
			}
		}
		events := make(map[string]int)
		var total int
		for p := (store.Page{Limit: store.MaxPage}); ; {
			list, next, err := tx.Events(ctx, store.EventFilter{}, p)
			if err != nil {
				return err
			}
			for _, e := range list {
				events[e.License]++
				total++
			}
			if p.Cursor = next; next == "" {
				break
			}
		}
		for id, n := range events {
			installs, err := tx.Installs(ctx, id)
			if err != nil || n != 1 || len(installs) != 1 {
				return fmt.Errorf("licence %s has %d events, %d installs, %w", id, n, len(installs), err)
			}
		}
		if v, err := tx.Value(ctx, "count"); err != nil || string(v) != strconv.Itoa(total) {
			return fmt.Errorf("the counter is %s, there are %d events, %w", v, total, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
