package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// What daemons can do to each other that share a database. Each has a store of its
// own; where only one process can have the database open, they share that one's.

const daemons = 3

// several opens one database for several daemons.
func (s suite) several(t *testing.T) []store.Store {
	t.Helper()
	open := s.create(t)
	first := openWith(t, open)
	out := []store.Store{first}
	for len(out) < daemons {
		if s.shared {
			out = append(out, openWith(t, open))
		} else {
			out = append(out, first)
		}
	}
	return out
}

// sharedCounter has all daemons count at once: what each was told adds up.
func (s suite) sharedCounter(t *testing.T) {
	all := s.several(t)
	const workers, rounds = 4, 15
	parallel(daemons*workers, func(w int) {
		for range rounds {
			if err := all[w%daemons].Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return addTo(ctx, tx, "n", 1) }); err != nil {
				t.Error(err)
			}
		}
	})
	for _, st := range all {
		if got := number(t, st, "n"); got != daemons*workers*rounds {
			t.Errorf("counted %d, want %d", got, daemons*workers*rounds)
		}
	}
}

// sharedSeats has all daemons give away the same few seats, by counting those that
// are live: they write different records, after reading the same.
func (s suite) sharedSeats(t *testing.T) {
	all := s.several(t)
	const workers, seats = 8, 5
	put(t, all[0], "lic_1")
	var mu sync.Mutex
	bound := 0
	parallel(daemons*workers, func(w int) {
		err := all[w%daemons].Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			live, err := tx.LiveInstalls(ctx, "lic_1")
			if err != nil {
				return err
			}
			if len(live) >= seats {
				return license.Errorf(license.MachineLimit, "no seat is free")
			}
			_, err = tx.Append(ctx, newEvent(license.ActionActivate, "lic_1"))
			return errors.Join(err, tx.CreateInstall(ctx, newInstall("lic_1", fmt.Sprintf("ins_%02d", w))))
		})
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			bound++
		} else {
			wantReason(t, err, license.MachineLimit)
		}
	})
	if bound != seats {
		t.Errorf("%d installs were told that they have one of %d seats", bound, seats)
	}
	view(t, all[daemons-1], func(ctx context.Context, tx store.Tx) error {
		live, err := tx.LiveInstalls(ctx, "lic_1")
		if len(live) != seats {
			t.Errorf("%d installs have one of %d seats", len(live), seats)
		}
		return err
	})
	wantGapless(t, all[0], seats)
}

// sharedLostUpdate has all daemons write from copies that they read before: of
// each revision one wins.
func (s suite) sharedLostUpdate(t *testing.T) {
	all := s.several(t)
	put(t, all[0], "lic_1")
	const rounds = 6
	for round := range rounds {
		copies := make([]license.License, daemons)
		for d, st := range all {
			copies[d] = getLicense(t, st, "lic_1")
		}
		errs := make([]error, daemons)
		parallel(daemons, func(d int) {
			copies[d].Customer = fmt.Sprintf("round %d, daemon %d", round, d)
			errs[d] = all[d].Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return tx.UpdateLicense(ctx, copies[d]) })
		})
		winner := slices.Index(errs, nil)
		for d, err := range errs {
			if d != winner {
				wantReason(t, err, license.Conflict)
			}
		}
		if winner < 0 {
			t.Fatal("nobody has won")
		}
		for _, st := range all {
			if got := getLicense(t, st, "lic_1"); got.Customer != copies[winner].Customer || got.Revision != int64(round+2) {
				t.Errorf("the licence has customer %q and revision %d, %q has won", got.Customer, got.Revision, copies[winner].Customer)
			}
		}
	}
}

// sharedAudit has all daemons append at once, and some of it undone: there is one
// chain, and each was told the positions of its own.
func (s suite) sharedAudit(t *testing.T) {
	all := s.several(t)
	const workers, rounds = 4, 9
	seen := make([][]int64, daemons*workers)
	parallel(daemons*workers, func(w int) {
		for i := range rounds {
			var seq int64
			err := all[w%daemons].Update(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
				before, err := tx.AuditHead(ctx)
				if err != nil {
					return err
				}
				if seq, err = tx.Append(ctx, newEvent(license.ActionIssue, fmt.Sprint(w))); err != nil {
					return err
				}
				if seq != before.Seq+1 {
					t.Errorf("position %d follows %d", seq, before.Seq)
				}
				if i%3 == 2 {
					return errRefused
				}
				return tx.SetValue(ctx, fmt.Sprint("worker ", w), fmt.Append(nil, seq))
			})
			switch {
			case err == nil:
				seen[w] = append(seen[w], seq)
			case !errors.Is(err, errRefused):
				t.Error(err)
			}
		}
	})
	for _, st := range all {
		wantGapless(t, st, daemons*workers*rounds*2/3)
	}
	for _, e := range allEvents(t, all[0]) {
		var w int
		if _, err := fmt.Sscan(e.License, &w); err != nil || !slices.Contains(seen[w], e.Seq) {
			t.Errorf("position %d is worker %s's, which was not told so", e.Seq, e.License)
		}
	}
}

// sharedSkew has two daemons each look at what the other one writes: of two values
// one at least stays set, whoever comes first.
func (s suite) sharedSkew(t *testing.T) {
	all := s.several(t)
	names := []string{"on call: a", "on call: b"}
	for range 10 {
		for _, name := range names {
			update(t, all[0], func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, name, []byte("yes")) })
		}
		var left [2]bool
		parallel(2, func(d int) {
			err := all[d].Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
				left[d] = false
				if _, err := tx.Value(ctx, names[1-d]); err != nil {
					return err
				}
				left[d] = true
				return tx.SetValue(ctx, names[d], nil)
			})
			if err != nil {
				wantReason(t, err, license.NotFound)
			}
		})
		if left[0] == left[1] {
			t.Fatalf("of two that may not both leave, %v did", left)
		}
	}
}

// sharedDraws has all daemons draw from one status list.
func (s suite) sharedDraws(t *testing.T) {
	all := s.several(t)
	first := newList("sl_1")
	first.Next = 0
	update(t, all[0], func(ctx context.Context, tx store.Tx) error { return tx.PutStatusList(ctx, first) })
	const n = 10 * daemons
	drawn := make([]int, n)
	parallel(n, func(k int) {
		if err := all[k%daemons].Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			l, err := tx.LastStatusList(ctx)
			drawn[k] = l.Next
			l.Next++
			return errors.Join(err, tx.PutStatusList(ctx, l))
		}); err != nil {
			t.Error(err)
		}
	})
	slices.Sort(drawn)
	for k, index := range drawn {
		if index != k {
			t.Fatalf("drawn were %v", drawn)
		}
	}
}

// sharedMarks has a message come to all daemons at once: one takes it.
func (s suite) sharedMarks(t *testing.T) {
	all := s.several(t)
	for round := range 8 {
		key := fmt.Sprint("message ", round)
		errs := make([]error, 2*daemons)
		parallel(len(errs), func(k int) { errs[k] = mark(t, all[k%daemons], key, base, base) })
		taken := 0
		for _, err := range errs {
			if err == nil {
				taken++
			} else if !errors.Is(err, store.Exists) {
				t.Error(err)
			}
		}
		if taken != 1 {
			t.Errorf("a message was taken %d times", taken)
		}
	}
}

// sharedJobs has all daemons work off the same jobs: each is taken by one, and those
// of a key in their order.
func (s suite) sharedJobs(t *testing.T) {
	all := s.several(t)
	const n, keys = 36, 4
	var jobs []license.Job
	for i := range n {
		jobs = append(jobs, newJob(fmt.Sprintf("job_%02d", i), fmt.Sprint("key ", i%keys)))
	}
	createJobs(t, all[0], jobs...)
	var mu sync.Mutex
	done := make(map[string][]string) // by key
	parallel(daemons, func(d int) {
		for {
			var taken []license.Job
			err := all[d].Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
				due, next, err := tx.DueJobs(ctx, base, 2)
				taken = due
				for i := range due {
					due[i].DueAt = base.Add(time.Hour)
					err = errors.Join(err, tx.UpdateJob(ctx, due[i]))
					due[i].Revision++
				}
				if len(due) == 0 && !next.IsZero() {
					return errRefused // others are at them
				}
				return err
			})
			switch {
			case errors.Is(err, errRefused):
				continue
			case err != nil:
				t.Error(err)
				return
			case len(taken) == 0:
				return
			}
			for _, j := range taken {
				mu.Lock()
				done[j.Key] = append(done[j.Key], j.ID)
				mu.Unlock()
				if err := all[d].Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return tx.DeleteJob(ctx, j) }); err != nil {
					t.Error(err)
				}
			}
		}
	})
	total := 0
	for key, ids := range done {
		total += len(ids)
		if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
			t.Errorf("key %q: done were %v", key, ids)
		}
	}
	if total != n {
		t.Errorf("%d jobs of %d were done", total, n)
	}
}

// sharedSees checks that what one daemon was told is there is there for all.
func (s suite) sharedSees(t *testing.T) {
	all := s.several(t)
	for i := range 4 * daemons {
		writer, reader := all[i%daemons], all[(i+1)%daemons]
		update(t, writer, func(ctx context.Context, tx store.Tx) error { return addTo(ctx, tx, "n", 1) })
		if got := number(t, reader, "n"); got != i+1 {
			t.Fatalf("another daemon sees %d, want %d", got, i+1)
		}
		update(t, reader, func(ctx context.Context, tx store.Tx) error {
			n, err := readNumber(ctx, tx, "n")
			if n != i+1 {
				t.Errorf("another daemon's change sees %d, want %d", n, i+1)
			}
			return err
		})
	}
}

// sharedCodes has all daemons issue for the same codes: one licence comes of each.
func (s suite) sharedCodes(t *testing.T) {
	all := s.several(t)
	const codes = 8
	errs := make([]error, codes*daemons)
	parallel(len(errs), func(k int) {
		l := newLicense(fmt.Sprintf("lic_%02d", k))
		l.Code.Index = fmt.Appendf(nil, "code %d", k/daemons)
		errs[k] = all[k%daemons].Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return tx.CreateLicense(ctx, l) })
	})
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else if !errors.Is(err, store.Exists) {
			t.Error(err)
		}
	}
	view(t, all[0], func(ctx context.Context, tx store.Tx) error {
		list, _, err := tx.Licenses(ctx, store.Filter{}, store.Page{})
		if len(list) != codes || made != codes {
			t.Errorf("there are %d licences and %d were made, for %d codes", len(list), made, codes)
		}
		return err
	})
}

// sharedClosed has one daemon go: the others work on. It is for those that have others.
func (s suite) sharedClosed(t *testing.T) {
	all := s.several(t)
	update(t, all[0], func(ctx context.Context, tx store.Tx) error { return addTo(ctx, tx, "n", 1) })
	if err := all[0].Close(); err != nil {
		t.Fatal(err)
	}
	update(t, all[1], func(ctx context.Context, tx store.Tx) error { return addTo(ctx, tx, "n", 1) })
	if got := number(t, all[2], "n"); got != 2 {
		t.Errorf("counted %d, want 2", got)
	}
}
