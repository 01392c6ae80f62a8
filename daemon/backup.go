package daemon

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/buildinfo"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/backup"
	"github.com/seed-357fa782/licensed/store/dump"
)

const (
	// backupPause is after each block of a copy, so that it takes no more than a part
	// of a processor and of the disk.
	backupPause = 12 * time.Millisecond
	// backupRetry is when a backup that failed is tried again, at the latest.
	backupRetry = 15 * time.Minute
)

// pause waits a little, so that others come to their turn.
func pause(ctx context.Context) {
	t := time.NewTimer(backupPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// wholeStore hands the store out, for the admin API.
type wholeStore struct {
	store store.Store
	now   func() time.Time
}

func (w wholeStore) Backup(ctx context.Context, out io.Writer) error {
	_, err := backup.Write(ctx, w.store, out, backup.Options{Version: buildinfo.Version(), Now: w.now(), Pause: pause})
	return err
}

func (w wholeStore) Dump(ctx context.Context, out io.Writer) error {
	_, err := dump.Write(ctx, w.store, out, dump.Options{Version: buildinfo.Version(), Now: w.now()})
	return err
}

// backups makes the backups that are configured.
type backups struct {
	d     *Daemon
	dir   string
	every time.Duration
	keep  backup.Keep

	mu       sync.Mutex
	files    []backup.File // newest first
	next     time.Time
	failure  string
	failedAt time.Time
}

func (d *Daemon) newBackups() *backups {
	c := d.config.Backup
	if !c.Enabled() {
		return nil
	}
	return &backups{d: d, dir: c.Dir, every: time.Duration(c.Every), keep: backup.Keep(c.Keep)}
}

// run makes a backup whenever the newest has reached its age, until ctx ends.
func (b *backups) run(ctx context.Context) {
	for {
		wait := b.step(ctx)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// step makes a backup if one is due, and returns when to look again.
func (b *backups) step(ctx context.Context) time.Duration {
	now := b.d.now().UTC().Truncate(time.Second)
	files, err := backup.List(b.dir)
	if err == nil && (len(files) == 0 || now.Sub(files[0].At).Abs() >= b.every) {
		if err = b.make(ctx, now); err == nil {
			files, err = b.tidy()
		}
	}
	if ctx.Err() != nil {
		return b.every
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.next, b.failure, b.failedAt = now.Add(min(b.every, backupRetry)), err.Error(), now
		if files != nil {
			b.files = files
		}
		b.d.log.Error("A BACKUP CANNOT BE MADE; it is tried again", "folder", b.dir, "again_at", b.next, "error", err.Error())
	} else {
		b.files, b.next, b.failure, b.failedAt = files, files[0].At.Add(b.every), "", time.Time{}
	}
	return max(b.next.Sub(now), time.Second)
}

// make makes one backup. It counts once it has its name, and it gets that once
// it was read back and every record of it checked.
func (b *backups) make(ctx context.Context, now time.Time) error {
	if err := durable.MkdirAll(b.dir); err != nil {
		return err
	}
	size := b.d.store.Stats().SizeBytes
	if free, _, err := durable.Space(b.dir); err == nil && free < uint64(size)+uint64(size)/10 {
		return fmt.Errorf("there are %d MiB free in %s, and the store has %d MiB", free>>20, b.dir, size>>20)
	}
	path := filepath.Join(b.dir, backup.Name(now))
	m, err := backup.WriteFile(ctx, b.d.store, path, backup.Options{Version: buildinfo.Version(), Now: now, Pause: pause})
	if err != nil {
		return err
	}
	b.d.log.Info("a backup was made and verified", "file", path, "bytes", m.Size, "licences", m.Records["licenses"], "audit_position", m.Audit.Seq)
	return nil
}

// tidy removes the backups that need not be kept. It is called when a new good
// one is there, so the last good one stays whatever happens.
func (b *backups) tidy() ([]backup.File, error) {
	files, err := backup.List(b.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range b.keep.Surplus(files) {
		if err := durable.Remove(f.Path); err != nil {
			return files, err
		}
		b.d.log.Info("an old backup was removed", "file", f.Path)
	}
	return backup.List(b.dir)
}

// status is how it stands with the backups.
func (b *backups) status(now time.Time) *adminwire.Backups {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &adminwire.Backups{Dir: b.dir, Every: b.d.config.Backup.Every.String(), Kept: len(b.files), Failure: b.failure}
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	s.Next, s.FailedAt = at(b.next), at(b.failedAt)
	if len(b.files) > 0 {
		newest := b.files[0]
		s.Last, s.LastFile, s.Bytes = &newest.At, newest.Path, newest.Size
	}
	s.Late = !b.next.IsZero() && (s.Last == nil || now.Sub(*s.Last) > b.every+b.every/2)
	return s
}
