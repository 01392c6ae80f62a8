// Package daemon is the licence server as a program runs it: it reads the
// configuration, opens keys and store, wires the use cases to their listeners,
// serves and stops. cmd/licensed is a thin main over it; tests and the demo
// start it on port 0 and ask Addr.
//
// The package can be imported, and may change in any release.
package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/sweep"
	"github.com/seed-357fa782/licensed/daemon/internal/webhook"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/store"
)

// Options say how a daemon runs. The zero value runs on embedded defaults in
// the working folder: data in ./licensed-data, loopback only, one product,
// demo.
type Options struct {
	ConfigFile string            // YAML; "" for embedded defaults
	Environ    []string          // as os.Environ gives it: LICENSED_… variables; nil for none
	Set        map[string]string // settings that win over everything, by key: "public.listen"
	Logger     *slog.Logger      // nil discards
	Now        func() time.Time  // nil means time.Now
}

// ConfigError is an error of the configuration, as opposed to one of the
// machine that the daemon starts on.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// Daemon is a licence server that has bound its listeners.
type Daemon struct {
	config    config.Config
	settings  settings
	log       *slog.Logger
	now       func() time.Time
	startedAt time.Time

	ring      *keys.Ring
	store     store.Store
	authority *authority.Authority
	webhooks  *webhook.Sender
	servers   []*server
	backups   *backups // nil where none are configured
	marks     *keptMarks

	selfTestMark string // known to this process only; see market.Options

	closers  []func() error // undone in reverse by New's failure and by Stop
	ready    atomic.Bool
	serving  sync.WaitGroup
	cancel   context.CancelFunc // ends what runs beside the servers; nil before Start
	failed   chan error
	stopOnce sync.Once
	stopErr  error
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one default of Now
	}
	return o
}

// CheckConfig does what New does up to the point where it would touch
// anything: it reads and validates the configuration and the files it names.
func CheckConfig(o Options) error {
	_, s, err := prepare(o.withDefaults())
	if err != nil {
		return err
	}
	return s.close()
}

// New reads the configuration, opens keys and store and binds the listeners.
// It serves nothing yet. What it has opened is closed again where it fails.
func New(ctx context.Context, o Options) (_ *Daemon, err error) {
	o = o.withDefaults()
	c, s, err := prepare(o)
	if err != nil {
		return nil, err
	}
	d := &Daemon{
		config: c, settings: s, log: o.Logger, now: o.Now, startedAt: o.Now().UTC().Truncate(time.Second),
		failed: make(chan error, 8), closers: []func() error{s.close}, selfTestMark: rand.Text(),
	}
	d.backups = d.newBackups()
	defer func() {
		if err != nil {
			err = errors.Join(err, d.unwind())
		}
	}()
	for _, step := range []func(context.Context) error{d.openStore, d.openKeys, d.openMarks, d.makeAuthority, d.compareMarks, d.makeWebhooks, d.listen} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Start serves. It returns at once.
func (d *Daemon) Start() error {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	clock := d.beginClock(ctx)
	d.serving.Go(func() { d.keepClock(ctx, clock) })
	if err := d.webhooks.Begin(ctx); err != nil {
		d.log.Error("a webhook cannot begin; it is tried again, and not told of what happens until then", "error", err.Error())
	}
	for _, s := range d.servers {
		d.serving.Go(func() {
			if err := s.serve(); err != nil {
				d.failed <- fmt.Errorf("serve %s: %w", s.name, err)
			}
		})
	}
	d.serving.Go(func() {
		d.authority.RunStatusLists(ctx, func(err error) {
			d.log.Error("status lists cannot be published; the last ones are served", "error", err.Error())
		})
	})
	d.serving.Go(func() { d.authority.RunOutbox(ctx, d.reportJob) })
	d.serving.Go(func() { d.authority.RunKeys(ctx, d.reportKeys) })
	d.serving.Go(func() {
		d.authority.RunDaemons(ctx, func(err error) {
			d.log.Warn("the daemons beside this one cannot be seen, or this one not by them; it is tried again", "error", err.Error())
		})
	})
	d.serving.Go(func() { d.authority.RunCheckpoints(ctx, d.reportCheckpoint) })
	d.serving.Go(func() {
		d.authority.RunCensus(ctx, func(err error) {
			d.log.Warn("the licences cannot be counted for the overview; it is tried again", "error", err.Error())
		})
	})
	d.serving.Go(func() { d.webhooks.Run(ctx) })
	d.startWatch(ctx)
	sweeper := &sweep.Sweeper{Authority: d.authority, Log: d.log, Now: d.now}
	d.serving.Go(func() { sweeper.Run(ctx) })
	d.serving.Go(func() { d.marks.run(ctx) })
	if d.backups != nil {
		d.serving.Go(func() { d.backups.run(ctx) })
	}
	for _, m := range d.config.Marketplaces {
		if m.Sync.Daily && m.OpenAPI.Enabled() {
			d.serving.Go(func() { d.authority.RunReconcile(ctx, m.Name, d.reportReconciled) })
		}
		if m.Sync.Usage {
			d.serving.Go(func() {
				d.authority.RunUsage(ctx, m.Name, func(err error) {
					d.log.Error("the use of a marketplace's codes cannot be reported", "marketplace", m.Name, "error", err.Error())
				})
			})
		}
	}
	d.ready.Store(true)
	where := []any{"public", d.Addr(), "ops", d.OpsAddr(), "admin", d.AdminSocket()}
	if addr := d.AdminAddr(); addr != "" {
		where = append(where, "admin_tcp", addr)
	}
	d.log.Info("licensed is serving", append(where, "issuer", d.ring.KeySet().Issuer)...)
	return nil
}

// reportReconciled logs what the daily comparison with a marketplace came to.
func (d *Daemon) reportReconciled(r authority.Reconciled, err error) {
	if err != nil {
		d.log.Warn("the codes of a marketplace cannot be compared with what it says; it is tried again", "marketplace", r.Channel, "error", err.Error())
		return
	}
	level := slog.LevelInfo
	if r.Repaired > 0 || r.Failed > 0 {
		level = slog.LevelWarn
	}
	d.log.Log(context.Background(), level, "all codes of a marketplace were compared with what it says", "marketplace", r.Channel,
		"checked", r.Checked, "repaired", r.Repaired, "end_set_by_merchant", r.Own, "failed", r.Failed, "last_failure", r.Failure)
}

// reportJob logs what the outbox failed to do.
func (d *Daemon) reportJob(o authority.JobOutcome) {
	attrs := []any{
		"job", o.Job.ID, "kind", o.Job.Kind, "marketplace", o.Job.Channel, "license", o.Job.License,
		"attempts", o.Job.Attempts, "error", o.Err.Error(),
	}
	switch {
	case o.Job.ID == "":
		d.log.Error("the outbox cannot be read", "error", o.Err.Error())
	case o.Parked:
		d.log.Error("a call to the marketplace was given up; see licensectl marketplace outbox", attrs...)
	default:
		d.log.Warn("a call to the marketplace failed and is tried again", attrs...)
	}
}

func (d *Daemon) reportCheckpoint(err error) {
	d.log.Warn("the audit log cannot be signed; what was added since its last checkpoint is held by its hashes only", "error", err.Error())
}

// Stop answers what is under way, until ctx ends, and closes everything. It
// can be called more than once.
func (d *Daemon) Stop(ctx context.Context) error {
	d.stopOnce.Do(func() {
		d.ready.Store(false)
		var errs []error
		for _, s := range d.servers {
			errs = append(errs, s.shutdown(ctx))
		}
		if d.cancel != nil {
			d.cancel()
		}
		d.serving.Wait()
		if d.cancel != nil {
			if err := d.authority.CloseAudit(context.WithoutCancel(ctx)); err != nil {
				d.reportCheckpoint(err)
			}
		}
		errs = append(errs, d.unwind())
		d.stopErr = errors.Join(errs...)
		d.log.Info("licensed has stopped")
	})
	return d.stopErr
}

// stopTimeout is how long Run lets requests under way finish.
const stopTimeout = 30 * time.Second

// Run is New, Start, and Stop when ctx ends or a listener fails.
func Run(ctx context.Context, o Options) error {
	d, err := New(ctx, o)
	if err != nil {
		return err
	}
	if err := d.Start(); err != nil {
		return errors.Join(err, d.Stop(context.WithoutCancel(ctx)))
	}
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-d.failed:
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(failure, d.Stop(stopping))
}

// Addr is the address of the public listener, host:port.
func (d *Daemon) Addr() string { return d.addr(publicListener) }

// OpsAddr is the address of the operations listener, "" where there is none.
func (d *Daemon) OpsAddr() string { return d.addr(opsListener) }

// AdminSocket is the path of the admin socket.
func (d *Daemon) AdminSocket() string { return d.config.Admin.Socket }

func (d *Daemon) addr(name string) string {
	for _, s := range d.servers {
		if s.name == name {
			return s.listener.Addr().String()
		}
	}
	return ""
}

// unwind closes what was opened, last first.
func (d *Daemon) unwind() error {
	var errs []error
	for _, closer := range slices.Backward(d.closers) {
		errs = append(errs, closer())
	}
	d.closers = nil
	return errors.Join(errs...)
}
