package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func wantCursorRefused(t *testing.T, err error) {
	t.Helper()
	var e *license.Error
	if !errors.As(err, &e) || e.Reason != license.BadRequest || e.Field != "cursor" {
		t.Errorf("error is %v, want %s for the cursor", err, license.BadRequest)
	}
}

func (s suite) timesExact(t *testing.T) {
	st := s.open(t)
	east := time.FixedZone("east", 5*3600+1800)
	for i, at := range []time.Time{
		time.Unix(0, 0), time.Unix(1, 0), base, time.Unix(1<<31, 0), time.Unix(1<<32+1, 0), license.Forever,
		base.In(east), time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC), time.Date(2016, 12, 31, 23, 59, 59, 0, east),
		time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		id := fmt.Sprintf("lic_%d", i)
		l := newLicense(id)
		l.IssuedAt, l.ActivatedAt, l.ExpiresAt, l.ReleasedAt, l.RevokedAt, l.ForkedAt, l.BackAt = at, at, at, at, at, at, at
		l.Transfers = []time.Time{base, at}
		in := newInstall(id, "ins")
		in.BoundAt, in.SeenAt, in.DatedAt, in.EndedAt, in.LeaseUntil, in.Chain.RequestAt, in.Drifted.At = at, at, at, at, at, at, at
		in.Unproven, in.Forks = license.Unproven{"d": at}, license.Forks{license.ForkChain: {Count: 1, At: at}}
		in.Grants = []license.Grant{{At: at, From: at, Until: at}}
		e := newEvent(license.ActionIssue, id)
		e.At = at
		p := license.Pending{Channel: "k", CodeIndex: []byte(id), ExpiresAt: at, ReleasedAt: at, FirstAt: at, LastAt: at}
		j := newJob(id, "")
		j.CreatedAt, j.DueAt, j.FailedAt, j.ParkedAt = at, at, at, at
		waits := newJob("waits "+id, id)
		waits.DueAt = at
		o := newOrder("k", id, "1")
		o.OrderedAt, o.ExpiresAt, o.SeenAt, o.ReadAt, o.StageAt = at, at, at, at, at
		update(t, st, func(ctx context.Context, tx store.Tx) error {
			_, err := tx.Append(ctx, e)
			return errors.Join(err, tx.CreateLicense(ctx, l), tx.CreateInstall(ctx, in), tx.PutPending(ctx, p),
				tx.CreateJob(ctx, j), tx.CreateJob(ctx, waits), tx.CreateOrder(ctx, o))
		})
		if l.Transfers[1] != at || in.Unproven["d"] != at || in.Forks[license.ForkChain].At != at || in.Grants[0].At != at {
			t.Error("the caller's record was changed")
		}
		view(t, st, func(ctx context.Context, tx store.Tx) error {
			l, err1 := tx.License(ctx, id)
			in, err2 := tx.Install(ctx, id, "ins")
			events, _, err3 := tx.Events(ctx, store.EventFilter{License: id}, store.Page{})
			p, err4 := tx.Pending(ctx, "k", []byte(id))
			j, err5 := tx.Job(ctx, id)
			o, err6 := tx.Order(ctx, "k", id, "1")
			due, next, err7 := tx.DueJobs(ctx, at.Add(-time.Second), 0)
			if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
				return err
			}
			if len(due) > 0 {
				t.Errorf("%d jobs are due before %v", len(due), at)
			}
			want := at.UTC()
			for n, got := range []time.Time{
				l.IssuedAt, l.ActivatedAt, l.ExpiresAt, l.ReleasedAt, l.RevokedAt, l.Transfers[1], l.ForkedAt, l.BackAt,
				in.BoundAt, in.SeenAt, in.DatedAt, in.EndedAt, in.LeaseUntil, in.Chain.RequestAt, in.Drifted.At,
				in.Unproven["d"], in.Forks[license.ForkChain].At,
				in.Grants[0].At, in.Grants[0].From, in.Grants[0].Until,
				events[0].At, p.ExpiresAt, p.ReleasedAt, p.FirstAt, p.LastAt,
				j.CreatedAt, j.DueAt, j.FailedAt, j.ParkedAt, next, o.OrderedAt, o.ExpiresAt, o.SeenAt, o.ReadAt, o.StageAt,
			} {
				if !got.Equal(want) || got.Location() != time.UTC {
					t.Errorf("instant %d of %v came back as %v", n, at, got)
				}
			}
			return nil
		})
		dropJob(t, st, waits.ID)
	}
}

func (s suite) timesZero(t *testing.T) {
	st := s.open(t)
	l := newLicense("lic_1")
	l.ActivatedAt, l.ExpiresAt, l.Transfers = time.Time{}, time.Time{}, nil
	in := newInstall("lic_1", "ins")
	in.BoundAt, in.SeenAt, in.DatedAt, in.LeaseUntil, in.Chain = time.Time{}, time.Time{}, time.Time{}, time.Time{}, license.Chain{}
	in.Unproven, in.Drifted, in.Forks = nil, license.Drifted{}, nil
	p := license.Pending{Channel: "k", CodeIndex: []byte("x")}
	j := license.Job{ID: "job_1", DueAt: base}
	o := license.Order{Channel: "k", ID: "x", Line: "1"}
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.CreateLicense(ctx, l), tx.CreateInstall(ctx, in), tx.PutPending(ctx, p), tx.CreateJob(ctx, j), tx.CreateOrder(ctx, o))
	})
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		gotL, err1 := tx.License(ctx, "lic_1")
		gotI, err2 := tx.Install(ctx, "lic_1", "ins")
		gotP, err3 := tx.Pending(ctx, "k", []byte("x"))
		gotJ, err4 := tx.Job(ctx, "job_1")
		gotO, err5 := tx.Order(ctx, "k", "x", "1")
		in.Revision, j.Revision, o.Revision = 1, 1, 1
		wantSame(t, "job", gotJ, j)
		wantSame(t, "order", gotO, o)
		wantSame(t, "licence", gotL, stored(l, 1))
		wantSame(t, "install", gotI, in)
		wantSame(t, "pending", gotP, p)
		for _, at := range []time.Time{gotL.ActivatedAt, gotL.ExpiresAt, gotI.SeenAt, gotI.DatedAt, gotI.Drifted.At, gotL.ForkedAt, gotP.FirstAt, gotJ.ParkedAt, gotO.SeenAt} {
			if !at.IsZero() {
				t.Errorf("a zero time came back as %v", at)
			}
		}
		return errors.Join(err1, err2, err3, err4, err5)
	})
}

// mark takes a message at now, whose mark is kept until then.
func mark(t *testing.T, st store.Store, key string, until, now time.Time) error {
	t.Helper()
	return st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return tx.MarkSeen(ctx, []byte(key), until, now) })
}

// marksOnce checks that a message is its key and its until: neither alone, and
// not the clock at which it comes.
func (s suite) marksOnce(t *testing.T) {
	st := s.open(t)
	for _, m := range []struct {
		key        string
		until, now time.Time
		want       error
	}{
		{"a", base, base, nil},
		{"a", base, base, store.Exists},
		{"a", base, base.Add(-time.Hour), store.Exists},
		{"b", base, base, nil},
		{"A", base, base, nil},
		{"a\x00", base, base, nil},
		{"a", base.Add(time.Second), base, nil}, // another message
		{"a", base.Add(time.Millisecond), base, nil},
		{"a", base.In(time.FixedZone("", 3600)), base, store.Exists},
		{"b", base, base, store.Exists},
		{"late", base.Add(-time.Hour), base, nil}, // it need not be kept at all
	} {
		if err := mark(t, st, m.key, m.until, m.now); !errors.Is(err, m.want) {
			t.Errorf("%q until %v at %v: error is %v, want %v", m.key, m.until, m.now, err, m.want)
		}
	}
	won := atomic.Int32{}
	parallel(16, func(int) {
		err := mark(t, st, "race", base, base)
		if err == nil {
			won.Add(1)
		} else if !errors.Is(err, store.Exists) {
			t.Error(err)
		}
	})
	if won.Load() != 1 {
		t.Errorf("a message was taken %d times", won.Load())
	}
}

// marksKept checks that no mark is dropped before its until has passed, be there
// others that are kept for much longer or shorter, and with whatever until they
// come.
func (s suite) marksKept(t *testing.T) {
	st := s.open(t)
	key := func(i int) string { return fmt.Sprintf("key %d", i) }
	until := func(i int) time.Time { // some for a second, some for days
		return base.Add(time.Duration(i)*time.Minute + []time.Duration{time.Second, 10 * time.Minute, 50 * time.Hour}[i%3])
	}
	for i := range 60 {
		now := base.Add(time.Duration(i) * time.Minute)
		if err := mark(t, st, key(i), until(i), now); err != nil {
			t.Fatal(err)
		}
		for k := range i + 1 {
			if until(k).Before(now) {
				continue
			}
			if err := mark(t, st, key(k), until(k), now); !errors.Is(err, store.Exists) {
				t.Fatalf("at %v the mark %d is gone, which is to be kept until %v: %v", now, k, until(k), err)
			}
		}
	}
}

// marksDropped checks that the marks which need not be kept any more go, and not
// all at once.
func (s suite) marksDropped(t *testing.T) {
	const old = 40
	st := s.open(t)
	key := func(i int) string { return fmt.Sprintf("key %d", i) }
	for i := range old {
		if err := mark(t, st, key(i), base, base); err != nil {
			t.Fatal(err)
		}
	}
	later := base.Add(time.Minute)
	gone := func() (n int) {
		t.Helper()
		for i := range old {
			err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
				return errors.Join(tx.MarkSeen(ctx, []byte(key(i)), base, base), errRefused) // which undoes it
			})
			if !errors.Is(err, store.Exists) {
				n++
			}
		}
		return n
	}
	// At their until itself they are kept.
	if err := mark(t, st, "another", later, base); err != nil || gone() != 0 {
		t.Errorf("%v, %d are gone", err, gone())
	}
	if err := mark(t, st, "first", later, later); err != nil || gone() > old/2 {
		t.Errorf("%v, %d of %d are gone at once", err, gone(), old)
	}
	for i := range old {
		if err := mark(t, st, fmt.Sprint("more ", i), later, later); err != nil {
			t.Fatal(err)
		}
	}
	if n := gone(); n != old {
		t.Errorf("%d of %d are gone", n, old)
	}
}

func (s suite) marksUndone(t *testing.T) {
	st := s.open(t)
	err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		if err := tx.MarkSeen(ctx, []byte("a"), base, base); err != nil {
			return err
		}
		if err := expect("again", tx.MarkSeen(ctx, []byte("a"), base, base), store.Exists); err != nil {
			return err
		}
		return errRefused
	})
	if !errors.Is(err, errRefused) {
		t.Fatal(err)
	}
	if err := mark(t, st, "a", base, base); err != nil {
		t.Errorf("the mark of a transaction that was undone is there: %v", err)
	}
}

func (s suite) cancelled(t *testing.T) {
	st := s.open(t)
	cause := errors.New("nobody waits")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	fn := func(context.Context, store.Tx) error {
		t.Error("a function was run whose ctx had ended before")
		return nil
	}
	for _, run := range []func(context.Context, txFunc) error{st.Update, st.View} {
		if err := run(ctx, fn); !errors.Is(err, cause) {
			t.Errorf("error is %v, want the cause", err)
		}
	}

	// One that ends while it waits for another. Backends that run functions at
	// once may have begun it, so it may also have been carried through.
	inside, goOn := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		var once atomic.Bool
		first <- st.Update(context.WithoutCancel(t.Context()), func(ctx context.Context, tx store.Tx) error {
			if once.CompareAndSwap(false, true) {
				close(inside)
				<-goOn
			}
			return addTo(ctx, tx, "first", 1)
		})
	}()
	<-inside
	ctx, cancel = context.WithCancelCause(t.Context())
	second := make(chan error, 1)
	go func() {
		second <- st.Update(ctx, func(ctx context.Context, tx store.Tx) error { return addTo(ctx, tx, "second", 1) })
	}()
	cancel(cause)
	err := <-second
	close(goOn)
	if err != nil && !errors.Is(err, cause) {
		t.Errorf("error is %v, want the cause", err)
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
	if got := number(t, st, "second"); got != 0 && err != nil || got != 1 && err == nil {
		t.Errorf("error is %v and the change was made %d times", err, got)
	}
}

func (s suite) carriedThrough(t *testing.T) {
	st := s.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := st.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		cancel()
		if ctx.Err() != nil {
			t.Error("the ctx of a function has ended that had begun")
		}
		return addTo(ctx, tx, "n", 1)
	})
	if err != nil {
		t.Errorf("error is %v", err)
	}
	if got := number(t, st, "n"); got != 1 {
		t.Errorf("the change was made %d times", got)
	}
}

func (s suite) reopen(t *testing.T) {
	open := s.create(t)
	st := openWith(t, open)
	prepare(t, st)
	update(t, st, writeEverything)
	before, events := getLicense(t, st, "lic_1"), allEvents(t, st)
	job, order := getJob(t, st, "job_4"), getOrder(t, st, "1")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = openWith(t, open)
	wantSame(t, "licence", getLicense(t, st, "lic_1"), before)
	wantSame(t, "events", allEvents(t, st), events)
	wantSame(t, "job", getJob(t, st, "job_4"), job)
	wantSame(t, "order", getOrder(t, st, "1"), order)
	wantDue(t, st, base, time.Time{}, "job_2")
	if err := mark(t, st, "m2", base.Add(2*time.Minute), base); !errors.Is(err, store.Exists) {
		t.Errorf("the mark is gone: %v", err)
	}
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Append(ctx, newEvent(license.ActionRelease, "lic_1"))
		return err
	})
	wantGapless(t, st, len(events)+1)
}

func (s suite) closed(t *testing.T) {
	st := s.open(t)
	put(t, st, "lic_1")
	for range 2 {
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, run := range []func(context.Context, txFunc) error{st.Update, st.View} {
		err := run(t.Context(), func(context.Context, store.Tx) error { return errRefused })
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("error is %v", err)
		}
	}
	st.Stats() // must not panic
}

// closeWhileWriting closes a store under load: every change that was answered
// with success is there afterwards, and no other.
func (s suite) closeWhileWriting(t *testing.T) {
	open := s.create(t)
	st, err := open()
	if err != nil {
		t.Fatal(err)
	}
	var done atomic.Int64
	const workers = 16
	closing := make(chan struct{})
	go func() {
		<-closing
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	parallel(workers, func(w int) {
		for i := 0; ; i++ {
			if w == 0 && i == 5 {
				close(closing)
			}
			err := st.Update(context.WithoutCancel(t.Context()), func(ctx context.Context, tx store.Tx) error {
				return addTo(ctx, tx, "n", 1)
			})
			if errors.Is(err, store.ErrClosed) {
				if w == 0 && i < 5 {
					t.Error("closed too early")
				}
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			done.Add(1)
		}
	})
	if err := st.Close(); err != nil { // waits for the other one
		t.Error(err)
	}
	if got := number(t, openWith(t, open), "n"); int64(got) != done.Load() {
		t.Errorf("%d changes are there, %d were answered", got, done.Load())
	}
}

func (s suite) stats(t *testing.T) {
	st := s.open(t)
	before := st.Stats()
	for i := range 5 {
		_ = st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			if i == 2 {
				return errRefused
			}
			return addTo(ctx, tx, "n", 1)
		})
	}
	after := st.Stats()
	got := []int64{after.Commits - before.Commits, after.Updates - before.Updates, after.Undone - before.Undone, after.Failed - before.Failed}
	if want := []int64{4, 4, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("commits, updates, undone, failed are %v, want %v", got, want)
	}
	if after.SizeBytes < 0 {
		t.Errorf("size is %d", after.SizeBytes)
	}
}
