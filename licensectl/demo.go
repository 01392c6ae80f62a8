package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license/token"
)

// demoOptions is what the user asks of the demonstration.
type demoOptions struct {
	keep bool
	form string
}

func (p *program) demoCommand() *cli.Command {
	return &cli.Command{
		Name: "demo", Category: "Service", Usage: "show the whole life of some licences on this machine",
		UsageText: "licensectl demo [--keep]",
		Description: "Runs a stand-in marketplace and a daemon in a temporary folder, sells and issues codes, activates them on this\n" +
			"very machine, verifies offline, renews, freezes, releases and revokes; then sets a clock wrong, exchanges a\n" +
			"network card, copies the machine, licenses one by files alone, steals keys, and unplugs the server; and checks\n" +
			"every outcome.\n" +
			"Needs no configuration and no network; exits 1 where a step does not do what it should.\n\n" +
			"Example:\n  licensectl demo --keep",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "keep", Usage: "keep the folder with everything that was made"},
			outputFlag(formTable, formJSON),
		},
		Action: func(c *cli.Context) error {
			_, f, err := commandLine(c, []string{formTable, formJSON})
			if err != nil {
				return err
			}
			if err := p.demo(c.Context, p, demoOptions{keep: c.Bool("keep"), form: f}); err != nil {
				return &statusError{status: exitFailed, err: err}
			}
			return nil
		},
	}
}

// The demonstration's merchant.
const (
	demoProduct = "cad-pro"
	demoOffer   = "OFFI0001" // what the marketplace calls it
	demoTimeout = time.Minute
	demoYear    = 365 * 24 * time.Hour
)

// demonstration is the state that its steps hand on.
type demonstration struct {
	narrator
	p   *program
	dir string

	market  *sandbox.Sandbox
	daemon  *daemon.Daemon
	log     *os.File
	admin   *adminclient.Client
	anchors token.Anchors
	machine func(context.Context) (fingerprint.Set, error) // nil: as it is
	ahead   atomic.Int64                                   // how far all clocks were set forward

	// The recorded machine, the licence that is used there, its file from before
	// the rotation, and the installed copy.
	field    *fieldMachine
	fieldLic adminwire.License
	copyA    *client.Guard

	manual, bought, plant  *client.Guard
	manualLic, boughtLic   adminwire.License
	manualCode, boughtCode string // what their buyers hold
	order                  sandbox.Order
}

// step is one numbered part of the demonstration. It fails where an outcome is
// not what it should be.
type step struct {
	title string
	run   func(context.Context) error
}

// runDemo runs the demonstration, told or as a document.
func runDemo(ctx context.Context, p *program, o demoOptions) (err error) {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "licensed-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demonstration: %w", err)
	}
	d := &demonstration{narrator: narrator{w: p.out, color: p.colorful}, p: p, dir: dir}
	if o.form == formJSON {
		d.w = io.Discard
	}
	defer func() {
		err = errors.Join(err, d.close())
		if o.form == formJSON {
			err = errors.Join(err, writeJSON(p.out, d.report))
		}
		if o.keep {
			p.note("kept: %s", dir)
			return
		}
		err = errors.Join(err, removeAll(dir))
	}()
	return d.run(ctx)
}

// run does one step after the other, until one fails.
func (d *demonstration) run(ctx context.Context) error {
	started := d.p.now()
	steps := d.steps()
	d.opening(d.dir)
	for i, s := range steps {
		d.heading(i+1, len(steps), s.title)
		if err := s.run(ctx); err != nil {
			d.fail()
			return fmt.Errorf("demo step %d (%s): %w", i+1, s.title, err)
		}
		if d.err != nil {
			return fmt.Errorf("tell the demonstration: %w", d.err)
		}
		d.passed()
	}
	d.closing(len(steps), d.p.now().Sub(started))
	return d.err
}

func (d *demonstration) steps() []step {
	return []step{
		{"a marketplace", d.openMarket},
		{"the licensing server", d.openDaemon},
		{"a code issued by hand", d.issue},
		{"a code bought at the marketplace", d.buy},
		{"this machine", d.lookAtMachine},
		{"activate both codes on this machine", d.activate},
		{"stop the server, verify offline", d.offline},
		{"the buyer renews", d.renew},
		{"the marketplace freezes the code", d.freeze},
		{"the marketplace lifts the freeze", d.unfreeze},
		{"the buyer unsubscribes: release", d.release},
		{"the merchant renews, suspends, resumes and revokes", d.rule},
		{"a machine in the field", d.enterField},
		{"its clock goes wrong", d.wrongClock},
		{"its network card is exchanged", d.changeCard},
		{"somebody copies the whole machine", d.cloneMachine},
		{"suspended, and the status list says so", d.carryList},
		{"a machine without a network", d.carryFiles},
		{"the signing key is rotated", d.rotateKey},
		{"a signing key is stolen", d.loseKey},
		{"the primary anchor is stolen", d.loseAnchor},
		{"the server is unplugged for two weeks", d.unplug},
		{"what the server remembers", d.remember},
	}
}

// close ends what the steps have begun.
func (d *demonstration) close() error {
	var errs []error
	for _, g := range []*client.Guard{d.manual, d.bought, d.copyA, d.plant} {
		if g != nil {
			errs = append(errs, g.Close())
		}
	}
	errs = append(errs, d.stopDaemon())
	if d.market != nil {
		errs = append(errs, d.market.Close())
	}
	if d.log != nil {
		errs = append(errs, d.log.Close())
	}
	return errors.Join(errs...)
}

// startDaemon runs the daemon from its configuration file, at the address that
// it had before where there was one.
func (d *demonstration) startDaemon(ctx context.Context, address string) error {
	o := daemon.Options{ConfigFile: d.path("licensed.yaml"), Logger: slog.New(slog.NewTextHandler(d.logFile(), nil)), Now: d.now}
	if address != "" {
		o.Set = map[string]string{"public.listen": address}
	}
	started, err := daemon.New(ctx, o)
	if err != nil {
		return fmt.Errorf("set up the daemon: %w", err)
	}
	d.daemon = started
	if err := started.Start(); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	d.admin, err = adminclient.New("unix:"+started.AdminSocket(), adminclient.Options{UserAgent: "licensectl-demo"})
	if err != nil {
		return fmt.Errorf("open the admin socket: %w", err)
	}
	return d.market.SetCallback(sandbox.Callback{URL: d.public() + "/marketplace/koogallery"})
}

func (d *demonstration) stopDaemon() error {
	if d.admin != nil {
		d.admin.Close()
		d.admin = nil
	}
	if d.daemon == nil {
		return nil
	}
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := d.daemon.Stop(ctx)
	d.daemon = nil
	if err != nil {
		return fmt.Errorf("stop the daemon: %w", err)
	}
	return nil
}

// now is what clocks show: those of the server, of the marketplace and of the
// machines, but for one that is wrong.
func (d *demonstration) now() time.Time { return d.p.now().Add(time.Duration(d.ahead.Load())) }

// public is the address under which installs and the marketplace reach the daemon.
func (d *demonstration) public() string { return "http://" + d.daemon.Addr() }

func (d *demonstration) path(elem ...string) string {
	return filepath.Join(append([]string{d.dir}, elem...)...)
}

func (d *demonstration) logFile() io.Writer {
	if d.log == nil {
		f, err := os.OpenFile(d.path("daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return io.Discard
		}
		d.log = f
	}
	return d.log
}
