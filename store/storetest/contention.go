package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// parallel runs fn with 0 to n-1 at once and waits.
func parallel(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

func readNumber(ctx context.Context, tx store.Tx, name string) (int, error) {
	raw, err := tx.Value(ctx, name)
	if errors.Is(err, license.NotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(raw))
}

func addTo(ctx context.Context, tx store.Tx, name string, n int) error {
	v, err := readNumber(ctx, tx, name)
	if err != nil {
		return err
	}
	return tx.SetValue(ctx, name, strconv.AppendInt(nil, int64(v+n), 10))
}

func number(t *testing.T, st store.Store, name string) (n int) {
	t.Helper()
	view(t, st, func(ctx context.Context, tx store.Tx) (err error) {
		n, err = readNumber(ctx, tx, name)
		return err
	})
	return n
}

func (s suite) counter(t *testing.T) {
	st := s.open(t)
	const workers, rounds = 16, 10
	parallel(workers, func(int) {
		for range rounds {
			err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return addTo(ctx, tx, "n", 1) })
			if err != nil {
				t.Error(err)
			}
		}
	})
	if got := number(t, st, "n"); got != workers*rounds {
		t.Errorf("counted %d, want %d", got, workers*rounds)
	}
}

// lostUpdate lets all write from the same copy, read before: one wins.
func (s suite) lostUpdate(t *testing.T) {
	st := s.open(t)
	put(t, st, "lic_1")
	l := getLicense(t, st, "lic_1")
	const workers = 16
	errs := make([]error, workers)
	parallel(workers, func(i int) {
		mine := l.Clone()
		mine.Customer = fmt.Sprint(i)
		errs[i] = st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return tx.UpdateLicense(ctx, mine) })
	})
	winner := ""
	for i, err := range errs {
		switch {
		case err == nil && winner == "":
			winner = fmt.Sprint(i)
		case err == nil:
			t.Errorf("both %s and %d have won", winner, i)
		default:
			wantReason(t, err, license.Conflict)
		}
	}
	if got := getLicense(t, st, "lic_1"); got.Customer != winner || got.Revision != 2 {
		t.Errorf("licence has customer %q and revision %d, %q has won", got.Customer, got.Revision, winner)
	}
}

// writeSkew lets all count the installs of a licence and add one while a seat
// is free. They write different records, so only serializable transactions
// keep the limit.
func (s suite) writeSkew(t *testing.T) {
	st := s.open(t)
	put(t, st, "lic_1")
	const workers, seats = 24, 3
	var mu sync.Mutex
	bound := 0
	parallel(workers, func(i int) {
		err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			installs, err := tx.Installs(ctx, "lic_1")
			if err != nil {
				return err
			}
			if len(installs) >= seats {
				return license.Errorf(license.MachineLimit, "no seat is free")
			}
			return tx.CreateInstall(ctx, newInstall("lic_1", fmt.Sprintf("ins_%02d", i)))
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
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		installs, err := tx.Installs(ctx, "lic_1")
		if len(installs) != seats {
			t.Errorf("%d installs have one of %d seats", len(installs), seats)
		}
		return err
	})
}

// transfers moves amounts between accounts while readers add them up.
func (s suite) transfers(t *testing.T) {
	st := s.open(t)
	const accounts, each, workers, rounds = 5, 100, 8, 15
	name := func(i int) string { return fmt.Sprintf("account-%d", i%accounts) }
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for i := range accounts {
			if err := addTo(ctx, tx, name(i), each); err != nil {
				return err
			}
		}
		return nil
	})
	move := func(from, to int) error {
		return st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			if err := addTo(ctx, tx, name(from), -1); err != nil {
				return err
			}
			if from%4 == 3 {
				return errRefused
			}
			return addTo(ctx, tx, name(to), 1)
		})
	}
	sum := func() {
		err := st.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
			total := 0
			for i := range accounts {
				n, err := readNumber(ctx, tx, name(i))
				if err != nil {
					return err
				}
				total += n
			}
			if total != accounts*each {
				return fmt.Errorf("the accounts add up to %d, want %d", total, accounts*each)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	parallel(workers, func(w int) {
		for i := range rounds {
			if err := move(w+i, w*i+1); err != nil && !errors.Is(err, errRefused) {
				t.Error(err)
			}
			sum()
		}
	})
	sum()
}

func (s suite) auditContended(t *testing.T) {
	st := s.open(t)
	const workers, rounds = 12, 8
	seen := make([][]int64, workers)
	parallel(workers, func(w int) {
		for i := range rounds {
			var seq int64
			err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
				if seq, err = tx.Append(ctx, newEvent(license.ActionIssue, fmt.Sprint(w))); err != nil {
					return err
				}
				if i%2 == 1 {
					return errRefused
				}
				return nil
			})
			if err == nil {
				seen[w] = append(seen[w], seq)
			}
		}
	})
	wantGapless(t, st, workers*rounds/2)
	owner := map[int64]string{}
	for _, e := range allEvents(t, st) {
		owner[e.Seq] = e.License
	}
	for w, seqs := range seen {
		for i, seq := range seqs {
			if owner[seq] != fmt.Sprint(w) || i > 0 && seq <= seqs[i-1] {
				t.Errorf("worker %d was told positions %v; %d is %s's", w, seqs, seq, owner[seq])
			}
		}
	}
}
