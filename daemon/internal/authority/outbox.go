package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Bounds of the outbox.
const (
	jobsAtOnce  = 8                // calls under way at a time
	jobTimeout  = 45 * time.Second // of one call; two addresses, one after the other
	jobLease    = 2 * time.Minute  // a job that nothing was heard of for so long is tried again
	jobAttempts = 20               // tries until a job is parked: a little more than half a day
	jobFirst    = 15 * time.Second // until the second try; doubled for each further one
	jobLongest  = time.Hour        // between two tries
	jobLook     = time.Minute      // how long a clock that is set forward may go unnoticed
	jobRetry    = 5 * time.Second  // after a failure of the store
)

// JobOutcome is what came of one try of a job.
type JobOutcome struct {
	Job    license.Job
	Err    error // nil: it is done
	Parked bool  // it is given up until somebody has it tried again
}

// RunOutbox carries out the jobs that are due until ctx ends, several at a time
// and those of one key in their order. Each outcome that is a failure is given to
// report, which several goroutines may call at once.
func (a *Authority) RunOutbox(ctx context.Context, report func(JobOutcome)) {
	o := outbox{a: a, report: report, slots: make(chan struct{}, jobsAtOnce)}
	defer o.working.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.jobs:
		case <-timer.C:
		}
		timer.Reset(o.round(ctx))
	}
}

// outbox is the loop that carries out jobs.
type outbox struct {
	a       *Authority
	report  func(JobOutcome)
	slots   chan struct{}
	working sync.WaitGroup
}

// round takes what is due, starts it, and returns when to look again.
func (o *outbox) round(ctx context.Context) time.Duration {
	for {
		select {
		case o.slots <- struct{}{}: // one is free
			<-o.slots
		case <-ctx.Done():
			return jobLook
		}
		taken, next, err := o.take(ctx, cap(o.slots)-len(o.slots))
		switch {
		case err != nil && ctx.Err() == nil:
			o.report(JobOutcome{Err: fmt.Errorf("take what is due: %w", err)})
			return jobRetry
		case err != nil:
			return jobLook
		case len(taken) == 0 && next.IsZero():
			return jobLook
		case len(taken) == 0:
			return min(max(next.Sub(o.a.clock()), time.Millisecond), jobLook)
		}
		for _, j := range taken {
			o.slots <- struct{}{}
			o.working.Go(func() {
				defer func() { <-o.slots; o.a.wakeOutbox() }()
				o.try(ctx, j)
			})
		}
	}
}

// take leases what is due, at most so many jobs.
func (o *outbox) take(ctx context.Context, most int) (taken []license.Job, next time.Time, err error) {
	now := o.a.now()
	var due []license.Job
	// Most looks find nothing, and reading does not make the disk sync.
	err = o.a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		due, next, err = tx.DueJobs(ctx, now, max(most, 1))
		return err
	})
	if err != nil || len(due) == 0 || most < 1 {
		return nil, next, err
	}
	err = o.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		taken = nil
		due, _, err := tx.DueJobs(ctx, now, most)
		if err != nil {
			return err
		}
		for _, j := range due {
			j.DueAt, j.Attempts = now.Add(jobLease), j.Attempts+1
			if err := tx.UpdateJob(ctx, j); err != nil {
				return err
			}
			j.Revision++
			taken = append(taken, j)
		}
		return nil
	})
	return taken, next, err
}

// try carries out one job and writes down what came of it.
func (o *outbox) try(ctx context.Context, j license.Job) {
	calling, cancel := context.WithTimeout(ctx, jobTimeout)
	done, err := o.a.carryOut(calling, j)
	cancel()
	if ctx.Err() != nil && err != nil {
		return // stopped: the lease ends, and it is tried again
	}
	out := JobOutcome{Job: j, Err: err}
	if err == nil {
		err = o.a.finish(ctx, j, done)
		out.Err = err
	}
	if err != nil {
		out.Parked, err = o.a.failed(ctx, j, err)
		if err != nil && ctx.Err() == nil {
			o.report(JobOutcome{Job: j, Err: fmt.Errorf("record a failure: %w", err)})
		}
		o.report(out)
	}
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
		return a.checkOne(ctx, j)
	case license.JobUsage:
		return a.reportUsage(ctx, j)
	}
	return nil, errNoWay
}

// finish removes a job that is done, with what it changes. Another one may have
// taken it after its lease had ended: then that one finishes it.
func (a *Authority) finish(ctx context.Context, j license.Job, done effect) error {
	err := a.store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx store.Tx) error {
		if err := tx.DeleteJob(ctx, j); err != nil {
			return err
		}
		if done == nil {
			return nil
		}
		return done(ctx, tx)
	})
	if errors.Is(err, license.Conflict) || errors.Is(err, license.NotFound) {
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
		if parked = !retryable(failure) || j.Attempts >= jobAttempts; parked {
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
