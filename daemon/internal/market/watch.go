package market

import (
	"context"
	"log/slog"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
)

const (
	watchEvery  = time.Minute // between two looks
	watchAgain  = time.Hour   // until the same is told again
	watchOrders = time.Hour   // between two looks at the orders, of which all that are open are read
)

// Watch tells the log what endangers a marketplace entry, once an hour while it
// lasts.
type Watch struct {
	Authority *authority.Authority
	Log       *slog.Logger
	Now       func() time.Time

	told   map[string]time.Time // by entry and problem
	orders map[string]time.Time // by entry, when they were looked at
}

// Run looks once a minute until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		w.Look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Look looks at every entry once.
func (w *Watch) Look(ctx context.Context) {
	if w.told == nil {
		w.told, w.orders = make(map[string]time.Time), make(map[string]time.Time)
	}
	for _, name := range w.Authority.Channels() {
		at, looked := w.orders[name]
		orders := !looked || w.Now().Sub(at).Abs() >= watchOrders
		h, err := w.Authority.Health(ctx, name, orders)
		if err == nil && orders {
			w.orders[name] = w.Now()
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if w.due(name) {
				w.Log.WarnContext(ctx, "there is no telling how a marketplace is doing", "marketplace", name, "error", err.Error())
			}
			continue
		}
		if err := w.Authority.NoteHealth(ctx, h); err != nil && w.due(name+" record") {
			w.Log.WarnContext(ctx, "how a marketplace is doing cannot be recorded; it is tried again", "marketplace", name, "error", err.Error())
		}
		for _, p := range h.Problems {
			if p.Level == authority.LevelNote || !w.due(name+" "+string(p.Code)+" "+string(p.Level)) {
				continue
			}
			level := slog.LevelWarn
			if p.Level == authority.LevelFail {
				level = slog.LevelError
			}
			w.Log.Log(ctx, level, "a marketplace entry has to be looked after", "marketplace", name, "problem", string(p.Code), "detail", p.Detail, "mend", p.Mend)
		}
	}
}

// due reports whether something is to be told now, and notes that it was.
func (w *Watch) due(what string) bool {
	now := w.Now()
	if at, ok := w.told[what]; ok && now.Sub(at).Abs() < watchAgain {
		return false
	}
	w.told[what] = now
	return true
}
