package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Bounds of the outbox.
const (
	jobsAtOnce  = 4                // calls under way at a time, for each marketplace
	jobsLooked  = 256              // due jobs that are looked at in one go
	jobTimeout  = 45 * time.Second // of one call; two addresses, one after the other
	jobLease    = 2 * time.Minute  // a job that nothing was heard of for so long is tried again
	jobAttempts = 20               // tries until a job is parked: a little more than half a day
	jobFirst    = 15 * time.Second // until the second try; doubled for each further one
	jobLongest  = time.Hour        // between two tries
	jobShared   = time.Second      // how long what another daemon has queued may go unnoticed while this one calls
	jobLook     = time.Minute      // how long a clock that is set forward may go unnoticed
	jobStoreBad = time.Minute      // after a failure of the store, at most, where no other daemon is on it
	jobSilent   = 3                // failures in a row after which a marketplace is left alone for a while
	jobCrowd    = 30 * time.Second // by which jobs are put off that others wait behind
	jobSweep    = time.Hour        // between two looks for jobs that a wrong clock has put off
)

// JobOutcome is what came of one try of a job.
type JobOutcome struct {
	Job    license.Job
	Err    error // nil: it is done
	Parked bool  // it is given up until somebody has it tried again
}

// RunOutbox carries out the jobs that are due until ctx ends, several at a time
// for each marketplace, and those of one key in their order. A marketplace that
// does not answer is left alone for longer and longer, and holds nobody up.
// Each outcome that is a failure is given to report, which several goroutines may
// call at once.
//
// Of several daemons on a store one does so at a time, so that what bounds the calls
// holds for all of them together, and no difference of their clocks has one take for
// given up what another is about to do.
//
// While the clock is not trusted nothing is done: when a job is due could not be
// told.
func (a *Authority) RunOutbox(ctx context.Context, report func(JobOutcome)) {
	o := outbox{a: a, report: report, lanes: make(map[string]*lane), turn: a.lease("outbox", leaseFor)}
	defer func() {
		o.working.Wait()
		_ = o.turn.release(ctx) // else another daemon takes over a little later
	}()
	repeat(ctx, a.jobs, func() time.Duration { return o.round(ctx) })
}

// repeat does something at once, then each time that wake says so or the time is
// up that it returned, until ctx ends.
func repeat(ctx context.Context, wake <-chan struct{}, do func() time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		}
		timer.Reset(do())
	}
}

// repeatTelling is repeat, with each failure that is another than the one before given
// to report.
func repeatTelling(ctx context.Context, wake <-chan struct{}, report func(error), do func() (time.Duration, error)) {
	last := ""
	repeat(ctx, wake, func() time.Duration {
		wait, err := do()
		switch {
		case ctx.Err() != nil:
		case err == nil:
			last = ""
		case err.Error() != last:
			last = err.Error()
			report(err)
		}
		return wait
	})
}

// outbox is the loop that carries out jobs.
type outbox struct {
	a       *Authority
	report  func(JobOutcome)
	working sync.WaitGroup
	turn    *lease

	swept  time.Time // when jobs that a wrong clock has put off were looked for
	broken string    // the failure of the store that was reported
	bad    int       // how often in a row it failed

	mu    sync.Mutex
	lanes map[string]*lane // by marketplace
}

// round takes what is due, starts it, and returns when to look again.
func (o *outbox) round(ctx context.Context) time.Duration {
	if _, err := o.a.dated(ctx); err != nil {
		return jobLook // longer than the lease lasts: another daemon, whose clock is right, is to go on
	}
	if o.busy() {
		if _, err := o.turn.hold(ctx); err != nil { // for as long as calls are under way
			return o.failing(ctx, err)
		}
	}
	for {
		taken, next, err := o.take(ctx)
		if err != nil {
			return o.failing(ctx, err)
		}
		o.broken, o.bad = "", 0
		if len(taken) == 0 {
			longest := jobLook
			if o.a.sharedStore && o.busy() {
				longest = jobShared
			}
			if next.IsZero() {
				return longest
			}
			return min(max(next.Sub(o.a.clock()), time.Millisecond), longest)
		}
		for _, j := range taken {
			o.working.Go(func() {
				defer o.a.wakeOutbox()
				o.was(j, o.try(ctx, j))
			})
		}
	}
}

// failing reports a failure of the store once for as long as it lasts, and
// returns when to look again.
func (o *outbox) failing(ctx context.Context, err error) time.Duration {
	if ctx.Err() == nil && err.Error() != o.broken {
		o.broken = err.Error()
		o.report(JobOutcome{Err: fmt.Errorf("take what is due: %w", err)})
	}
	o.bad++
	longest := jobStoreBad
	if o.a.sharedStore { // who has calls under way renews its lease as soon as it can
		longest = leaseFor / 3
	}
	return min(time.Second<<min(o.bad, 10), longest)
}

// take leases what is due and may be tried. What is due for a marketplace that
// is left alone is put off until then, and costs no try. next is when to look
// again where nothing was taken, zero where somebody will say.
func (o *outbox) take(ctx context.Context) (taken []license.Job, next time.Time, err error) {
	now := o.a.now()
	var due []license.Job
	// Most looks find nothing, and reading does not make the disk sync.
	err = o.a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		due, next, err = tx.DueJobs(ctx, now, jobsLooked)
		return err
	})
	if err == nil && now.Sub(o.swept).Abs() >= jobSweep {
		err = o.sweep(ctx, now)
		o.swept = now
	}
	if err == nil && len(due) == 0 && !o.busy() {
		err = o.turn.release(ctx)
	}
	if err != nil || len(due) == 0 {
		return nil, next, err
	}
	switch mine, err := o.turn.hold(ctx); {
	case err != nil:
		return nil, next, err
	case !mine:
		return nil, o.a.clock().Add(jobShared), nil
	}
	start, later := o.choose(due, now)
	if len(start) == 0 && len(later) == 0 {
		return nil, time.Time{}, nil // a call that ends wakes the loop
	}
	taken, err = o.lease(ctx, due, start, later, now)
	switch {
	case errors.Is(err, errLeaseLost):
		return nil, o.a.clock().Add(jobShared), nil
	case err != nil:
		return nil, next, err
	}
	if len(taken) == 0 && len(later) > 0 {
		next = now // others may be behind those
	}
	return taken, next, nil
}

// busy reports whether calls are under way.
func (o *outbox) busy() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.lanes {
		if l.running > 0 {
			return true
		}
	}
	return false
}

// lease writes down what is begun, and what is put off, and returns what is
// begun. Of a job that another daemon has taken meanwhile there is nothing to do.
func (o *outbox) lease(ctx context.Context, due []license.Job, start map[string]bool, later map[string]time.Time, now time.Time) (taken []license.Job, err error) {
	err = o.a.store.Update(o.turn.under(ctx), func(ctx context.Context, tx store.Tx) error {
		taken = nil
		for _, j := range due {
			until, putOff := later[j.ID]
			unsure := j.Unsure // of the attempts before this one
			switch {
			case putOff:
				j.DueAt = until
			case start[j.ID]:
				j.DueAt, j.Attempts, j.Unsure = now.Add(jobLease), j.Attempts+1, true
			default:
				continue
			}
			err := tx.UpdateJob(ctx, j)
			if errors.Is(err, license.Conflict) || errors.Is(err, license.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if start[j.ID] {
				j.Revision, j.Unsure = j.Revision+1, unsure
				taken = append(taken, j)
			}
		}
		return nil
	})
	if err != nil {
		taken = nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, j := range due { // what could not be taken is not under way
		if start[j.ID] && !slices.ContainsFunc(taken, func(t license.Job) bool { return t.ID == j.ID }) {
			o.lanes[j.Channel].running--
		}
	}
	return taken, err
}

// sweep pulls in the jobs that were put off by a clock which was far ahead: no
// pause is longer than this.
func (o *outbox) sweep(ctx context.Context, now time.Time) error {
	longest := now.Add(jobLongest + jobLongest/4 + time.Minute)
	for cursor := ""; ; {
		var page []license.Job
		err := o.a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
			page, cursor, err = tx.Jobs(ctx, store.JobFilter{State: license.JobWaiting}, store.Page{Limit: store.MaxPage, Cursor: cursor})
			return err
		})
		page = slices.DeleteFunc(page, func(j license.Job) bool { return !j.DueAt.After(longest) })
		if err == nil && len(page) > 0 {
			err = o.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
				for _, j := range page {
					j.DueAt = now
					if err := tx.UpdateJob(ctx, j); err != nil && !errors.Is(err, license.Conflict) && !errors.Is(err, license.NotFound) {
						return err
					}
				}
				return nil
			})
		}
		if err != nil || cursor == "" {
			return err
		}
	}
}

// try carries out one job and writes down what came of it. It returns what the
// call came to.
func (o *outbox) try(ctx context.Context, j license.Job) error {
	calling, cancel := context.WithTimeout(ctx, jobTimeout)
	done, err := o.a.carryOut(calling, j)
	cancel()
	if ctx.Err() != nil && err != nil {
		return nil // stopped: the lease ends, and it is tried again
	}
	called := err
	if err == nil {
		err = o.a.finish(ctx, j, done)
	}
	if err == nil {
		return nil
	}
	out := JobOutcome{Job: j, Err: err}
	if out.Parked, err = o.a.failed(ctx, j, err); err != nil && ctx.Err() == nil {
		o.report(JobOutcome{Job: j, Err: fmt.Errorf("record a failure: %w", err)})
	}
	o.report(out)
	return called
}

// effect is what a job changes once its call has succeeded.
type effect func(ctx context.Context, tx store.Tx) error

// errNoWay refuses a job that this daemon has no means to carry out.
var errNoWay = license.Errorf(license.Forbidden, "the configuration has no way to do this any more")

// carryOut does what a job says. What it returns is done in the transaction
// that removes the job.
func (a *Authority) carryOut(ctx context.Context, j license.Job) (effect, error) {
	switch j.Kind {
	case license.JobOrder:
		return a.readOrder(ctx, j)
	case license.JobDeliver:
		return a.deliver(ctx, j)
	case license.JobCheck:
		return a.checkSome(ctx, j)
	case license.JobUsage:
		return a.reportUsage(ctx, j)
	}
	return nil, errNoWay
}

// finish removes a job that is done, with what it changes. Another one may have
// taken it after its lease had ended: then that one finishes it.
func (a *Authority) finish(ctx context.Context, j license.Job, done effect) error {
	taken := false
	err := a.store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx store.Tx) error {
		err := tx.DeleteJob(ctx, j)
		if taken = errors.Is(err, license.Conflict) || errors.Is(err, license.NotFound); taken || err != nil {
			return err
		}
		if done == nil {
			return nil
		}
		return done(ctx, tx)
	})
	if taken {
		return nil
	}
	return err
}

// retryable reports whether trying again may help.
func retryable(err error) bool {
	switch license.ReasonOf(err) { //nolint:exhaustive // all others are about what was asked for
	case license.MarketplaceUnavailable, license.ReadOnly, license.Internal, license.Conflict, license.Clock, license.NotReceived:
		return true
	}
	return false
}

// failed writes down why a job failed, and when it is tried again or that it is
// parked.
func (a *Authority) failed(ctx context.Context, j license.Job, failure error) (parked bool, err error) {
	now := a.now()
	err = a.store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx store.Tx) error {
		next := j
		next.Failure, next.FailedAt = failureText(failure), now
		next.Unsure = j.Unsure || license.ReasonOf(failure) == license.MarketplaceUnavailable
		parked = !retryable(failure) || j.Attempts >= jobAttempts
		if parked && j.Kind == license.JobDeliver && license.ReasonOf(failure) == license.Suspended && j.License != "" {
			l, err := tx.License(ctx, j.License)
			if err != nil {
				return fmt.Errorf("read %s: %w", j.License, err)
			}
			parked = l.StateAt(now) == license.StateSuspended // else it was lifted meanwhile, and nobody would come back
		}
		if parked && (j.Kind == license.JobCheck || j.Kind == license.JobUsage) {
			return tx.DeleteJob(ctx, j) // the daily comparison covers it, and the next day's report takes its place
		}
		if parked {
			next.ParkedAt = now
		}
		next.DueAt = now.Add(pause(j))
		if err := tx.UpdateJob(ctx, next); err != nil {
			return err
		}
		if !parked {
			return nil
		}
		return a.auditJob(ctx, tx, license.Actor{Kind: license.ActorSystem, Name: "outbox"}, license.ActionJobPark, next)
	})
	if errors.Is(err, license.Conflict) || errors.Is(err, license.NotFound) {
		return false, nil // another one has it by now
	}
	return parked, err
}

// pause is how long a job waits after a failed try: twice as long each time,
// spread by a quarter so that what failed together does not come back together.
// The spread follows from the job, so that it can be told.
func pause(j license.Job) time.Duration {
	d := jobLongest
	if n := j.Attempts - 1; n < 10 {
		d = min(jobFirst<<max(n, 0), jobLongest)
	}
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s %d", j.ID, j.Attempts)
	return (d*3/4 + d*time.Duration(h.Sum32()%1000)/2000).Truncate(time.Second)
}

// failureText is a failure as it is kept and shown.
func failureText(err error) string {
	const most = 500
	s := strings.ToValidUTF8(err.Error(), "")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func (a *Authority) auditJob(ctx context.Context, tx store.Tx, actor license.Actor, action license.Action, j license.Job) error {
	after := map[string]any{"job": j.ID, "kind": j.Kind, "attempts": j.Attempts}
	if j.Key != "" {
		after["key"] = j.Key
	}
	_, err := tx.Append(ctx, license.AuditEvent{
		At: a.now(), Actor: actor, Action: action, License: j.License, After: after, Note: j.Failure,
	})
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	return nil
}

// enqueue writes a job that is due at once.
func (a *Authority) enqueue(ctx context.Context, tx store.Tx, j license.Job, payload any) error {
	now := a.now()
	id, err := a.ids.New(license.JobPrefix, now)
	if err != nil {
		return err
	}
	if payload != nil {
		if j.Payload, err = json.Marshal(payload); err != nil {
			return fmt.Errorf("write a job: %w", err)
		}
	}
	j.ID, j.CreatedAt = id, now
	if j.DueAt.IsZero() {
		j.DueAt = now
	}
	if err := tx.CreateJob(ctx, j); err != nil {
		return fmt.Errorf("write a job: %w", err)
	}
	return nil
}

// wakeOutbox has the outbox look for what is due.
func (a *Authority) wakeOutbox() {
	select {
	case a.jobs <- struct{}{}:
	default:
	}
}

// Jobs lists what is to be told or asked outside, oldest first.
func (a *Authority) Jobs(ctx context.Context, f store.JobFilter, p store.Page) (jobs []license.Job, next string, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		jobs, next, err = tx.Jobs(ctx, f, p)
		return err
	})
	return jobs, next, err
}

// CountJobs says how much there is to do.
func (a *Authority) CountJobs(ctx context.Context) (c store.JobCounts, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		c, err = tx.CountJobs(ctx)
		return err
	})
	return c, err
}

// RetryJob has a job tried again at once, with all its tries, parked or not.
func (a *Authority) RetryJob(ctx context.Context, actor license.Actor, id string) (j license.Job, err error) {
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if j, err = tx.Job(ctx, id); err != nil {
			return err
		}
		j.DueAt, j.Attempts, j.ParkedAt = a.now(), 0, time.Time{}
		if err := tx.UpdateJob(ctx, j); err != nil {
			return err
		}
		j.Revision++
		return a.auditJob(ctx, tx, actor, license.ActionJobRetry, j)
	})
	if err == nil {
		a.wakeOutbox()
	}
	return j, err
}

// DropJob gives a job up for good: what it was to do is not done.
func (a *Authority) DropJob(ctx context.Context, actor license.Actor, id string) (j license.Job, err error) {
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if j, err = tx.Job(ctx, id); err != nil {
			return err
		}
		if err := tx.DeleteJob(ctx, j); err != nil {
			return err
		}
		return a.auditJob(ctx, tx, actor, license.ActionJobDrop, j)
	})
	return j, err
}
