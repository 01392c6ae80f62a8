package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// RunHealth writes what was counted once a minute and when ctx ends. A failure
// is given to report, and what could not be written is kept.
func (a *Authority) RunHealth(ctx context.Context, report func(error)) {
	t := time.NewTicker(healthEvery)
	defer t.Stop()
	for {
		a.learnFailing(ctx)
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthWait)
			defer cancel()
			if err := a.SaveHealth(last); err != nil {
				report(err)
			}
			return
		case <-t.C:
			if err := a.SaveHealth(ctx); err != nil && ctx.Err() == nil {
				report(err)
			}
		}
	}
}

// SaveHealth writes what was counted since the last time. Several daemons on one
// store add to the same counts.
func (a *Authority) SaveHealth(ctx context.Context) error {
	b := a.health
	b.settling.Lock()
	defer b.settling.Unlock()
	for left := b.pending != nil; b.next(); left = false {
		if err := a.writeHealth(ctx); err != nil {
			return fmt.Errorf("write what was counted of the marketplaces: %w", err)
		}
		if b.pending = nil; !left {
			break
		}
	}
	return nil
}

// next makes a batch of what was counted, unless one is still to be written. It
// reports whether there is one.
func (b *healthBook) next() bool {
	if b.pending != nil {
		return true
	}
	fresh := make(map[string]*healthRecord)
	for name, c := range b.counters {
		c.mu.Lock()
		if c.fresh != nil {
			fresh[name], c.fresh = c.fresh, nil
		}
		c.mu.Unlock()
	}
	if len(fresh) == 0 {
		return false
	}
	b.batch++
	b.pending = fresh
	return true
}

// writeHealth adds the pending batch to what is kept, once.
func (a *Authority) writeHealth(ctx context.Context) error {
	b := a.health
	now, doubt := a.dated(ctx)
	is := make(map[string]*healthRecord)
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		clear(is)
		for channel, later := range b.pending {
			r, err := readHealth(ctx, tx, channel)
			if err != nil {
				return err
			}
			is[channel] = r
			if !r.begin(b.writer, b.batch) {
				continue // it was written, whatever was said of it
			}
			zone := b.counters[channel].zone
			r.merge(later, zone)
			if doubt == nil {
				r.forget(now.In(zone))
			}
			r.bound()
			if err := writeValue(ctx, tx, healthKey(channel), r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for channel, r := range is {
		b.counters[channel].learn(r)
	}
	return nil
}

// begin notes that a batch is added, and reports whether it was not before.
func (r *healthRecord) begin(writer string, batch uint64) bool {
	i := slices.IndexFunc(r.Written, func(w written) bool { return w.Writer == writer })
	if i >= 0 {
		if r.Written[i].Batch >= batch {
			return false
		}
		r.Written = slices.Delete(r.Written, i, i+1)
	}
	r.Written = append(r.Written, written{writer, batch})
	return true
}

// whole is what is kept of an entry with what is not written yet.
// settling has to be held.
func (b *healthBook) whole(channel string, kept *healthRecord) {
	c := b.counters[channel]
	if pending := b.pending[channel]; pending != nil && kept.begin(b.writer, b.batch) {
		kept.merge(pending, c.zone)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fresh != nil {
		kept.merge(c.fresh, c.zone)
	}
}

// readHealth reads what is kept of an entry. What cannot be read is begun anew:
// it is a count, and must not stop one.
func readHealth(ctx context.Context, tx store.Tx, channel string) (*healthRecord, error) {
	r := &healthRecord{}
	data, err := tx.Value(ctx, healthKey(channel))
	if errors.Is(err, license.NotFound) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(data, r) != nil {
		r = &healthRecord{}
	}
	return r, nil
}
