package daemon

import (
	"context"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
)

const (
	// clockEvery is how often the clock is looked at while nothing else does.
	clockEvery = time.Minute
	// clockWorth is by how much the clock has to be set for the log to say so.
	clockWorth = 10 * time.Minute
)

// clockLog tells of the clock what somebody may have to look at.
type clockLog struct {
	d       *Daemon
	failing bool
}

// beginClock looks at the clock before anything is served.
func (d *Daemon) beginClock(ctx context.Context) *clockLog {
	l := &clockLog{d: d}
	l.record(ctx)
	return l
}

// keepClock keeps the record of the clock up to date until ctx ends.
func (d *Daemon) keepClock(ctx context.Context, l *clockLog) {
	t := time.NewTicker(clockEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			l.record(ctx)
		}
	}
}

func (l *clockLog) record(ctx context.Context) {
	c, err := l.d.authority.RecordClock(ctx)
	if ctx.Err() != nil {
		return
	}
	if c.Set.Abs() > clockWorth {
		l.d.log.Warn("the clock was set, or the machine was suspended", "by", c.Set.String(), "now", c.Now)
	}
	if err != nil && !l.failing {
		l.d.log.Warn("the record of the clock cannot be kept", "error", err.Error())
	}
	l.failing = err != nil
}

// clockChanged is told when the clock is not trusted any more, and when it is
// again.
func (d *Daemon) clockChanged(c authority.Clock) {
	if c.Trusted() {
		d.log.Warn("the clock is trusted again", "now", c.Now)
		return
	}
	attrs := []any{"state", string(c.State), "now", c.Now, "last_record", c.Record, "key_from", c.KeyMade}
	if c.State == authority.ClockApart {
		attrs = append(attrs, "others_now", c.OthersNow, "others", c.Others, "what", c.Err().Error())
	}
	d.log.Error("THE CLOCK IS NOT TRUSTED: nothing is issued, signed or changed until it is right, or confirmed with "+
		"licensectl doctor --accept-clock", attrs...)
}
