package daemon

import (
	"context"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// BackUp does what the loop of backups does when it looks.
func (d *Daemon) BackUp(ctx context.Context) time.Duration { return d.backups.step(ctx) }

// Backups is how it stands with them.
func (d *Daemon) Backups() *adminwire.Backups { return d.backups.status(d.now()) }

// SaveMarks does what the loop of the marks does each few seconds.
func (d *Daemon) SaveMarks(ctx context.Context) { d.marks.save(ctx) }

// Failed is told why the daemon ends by itself.
func (d *Daemon) Failed() <-chan error { return d.failed }
