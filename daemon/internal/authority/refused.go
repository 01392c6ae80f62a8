package authority

import (
	"context"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// refusalsKept is how many refused calls of one principal the audit log takes in a
// minute. Further ones are counted with the next: nobody can fill the disk so.
const refusalsKept = 10

// Refusal is a call of the staff that was refused.
type Refusal struct {
	Operation string
	License   string // that it was about, where it names one
	Reason    license.Reason
	Detail    string
}

// refusals counts what was written of each principal.
type refusals struct {
	mu     sync.Mutex
	minute time.Time
	counts map[string]int
	missed map[string]int
}

// most is how many principals are told apart.
const mostRefused = 10_000

// room reports whether the next refusal of a principal is to be written, and how
// many of it were not since.
func (r *refusals) room(id string, now time.Time) (missed int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.minute); age < 0 || age >= time.Minute {
		r.minute, r.counts = now, make(map[string]int)
		if len(r.missed) > mostRefused {
			clear(r.missed)
		}
	}
	if r.counts[id]++; r.counts[id] > refusalsKept || len(r.counts) > mostRefused {
		if r.missed == nil {
			r.missed = make(map[string]int)
		}
		r.missed[id]++
		return 0, false
	}
	missed = r.missed[id]
	delete(r.missed, id)
	return missed, true
}

// RecordRefusal writes into the audit log that a call of p was refused, unless
// there were many such within a minute.
func (a *Authority) RecordRefusal(ctx context.Context, p Principal, actor license.Actor, r Refusal) error {
	now := a.now()
	missed, ok := a.refused.room(p.ID, now)
	if !ok {
		return nil
	}
	after := map[string]any{"operation": r.Operation, "reason": r.Reason}
	if missed > 0 {
		after["unwritten"] = missed
	}
	if p.Role != "" {
		after["role"] = p.Role
	}
	return a.appendBelow(ctx, license.AuditEvent{
		At: now, Actor: actor, Action: license.ActionRefused, License: r.License, After: after, Note: r.Detail,
	})
}

// RecordLockOut writes into the audit log that an address is locked out until an
// instant. The principal of all addresses is one, so there is a bound here too.
func (a *Authority) RecordLockOut(ctx context.Context, addr string, failures int, until time.Time) error {
	now := a.now()
	missed, ok := a.refused.room("lock-out", now)
	if !ok {
		return nil
	}
	after := map[string]any{"failures": failures, "until": instant(until.UTC().Truncate(time.Second))}
	if missed > 0 {
		after["unwritten"] = missed
	}
	return a.appendBelow(ctx, license.AuditEvent{
		At: now, Actor: license.Actor{Kind: license.ActorSystem, Addr: addr}, Action: license.ActionLockedOut, After: after,
	})
}

func (a *Authority) appendBelow(ctx context.Context, e license.AuditEvent) error {
	return a.below.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Append(ctx, e)
		return err
	})
}
