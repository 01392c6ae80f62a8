package daemon

import (
	"context"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
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

// NoteMark notes a change as the authority does.
func (d *Daemon) NoteMark(m authority.Mark) { d.marks.Note([]authority.Mark{m}, false) }

// OwnMarks is how many noted changes are kept until they are met in the store.
func (d *Daemon) OwnMarks() int {
	d.marks.mu.Lock()
	defer d.marks.mu.Unlock()
	return len(d.marks.own)
}
