package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminclient"
)

// build builds a program of this module and returns where it lies.
func (s *site) build(ctx context.Context, pkg, name string) (string, error) {
	path := s.path(name + ".exe")                                                                                // a name that every system runs
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, module+"/"+pkg) //nolint:gosec // our own packages
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")                                                              // as the programs are built
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
}

const module = "github.com/seed-357fa782/licensed"

// process is the daemon as a merchant runs it: a process of its own.
type process struct {
	cmd    *exec.Cmd
	server string // of the admin API
	public string // address of the public listener

	ended   chan struct{} // closed when it has
	failure error         // how it ended, then
}

// Bounds of a process.
const (
	startTimeout = time.Minute
	stopTimeout  = 40 * time.Second // a little more than it gives itself
	lookEvery    = 20 * time.Millisecond
)

// launch runs the daemon on the store at path while do runs. Unlike the bench's
// own settings, those of the program itself count for its memory.
func (s *site) launch(ctx context.Context, program, conf, path, name string, do func(*process) error) error {
	return s.launchWith(ctx, program, conf, name, []string{"store=bolt:" + path}, do)
}

// launchOn runs the daemon on the store that a URL names, with a data folder of
// its own, while do runs.
func (s *site) launchOn(ctx context.Context, program, url, name string, do func(*process) error) error {
	data, err := s.dataFor(name)
	if err != nil {
		return err
	}
	return s.launchWith(ctx, program, "licensed.yaml", name, []string{"store=" + url, "data_dir=" + data}, do)
}

func (s *site) launchWith(ctx context.Context, program, conf, name string, set []string, do func(*process) error) (err error) {
	log, err := os.Create(s.path(name + ".log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	socket := s.path(name + ".sock")
	args := []string{"serve", "--config", s.path(conf), "--set", "admin.socket=" + socket}
	for _, pair := range set {
		args = append(args, "--set", pair)
	}
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // built above
	cmd.Env, cmd.Stdout, cmd.Stderr = plainEnviron(os.Environ()), log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{cmd: cmd, server: "unix:" + socket, ended: make(chan struct{})}
	go func() {
		p.failure = cmd.Wait()
		close(p.ended)
	}()
	if err = p.serves(ctx); err == nil {
		err = do(p)
	}
	if err = errors.Join(err, p.stop()); err != nil {
		said, _ := os.ReadFile(log.Name())
		err = fmt.Errorf("%w\n%s", err, said[max(0, len(said)-4096):])
	}
	return err
}

// plainEnviron is an environment without what would set a daemon, or its memory,
// otherwise than it is set by itself.
func plainEnviron(environ []string) (out []string) {
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if name != "GOGC" && name != "GOMEMLIMIT" && name != "GODEBUG" && !strings.HasPrefix(name, "LICENSED_") {
			out = append(out, pair)
		}
	}
	return out
}

// serves waits until the daemon answers.
func (p *process) serves(ctx context.Context) error {
	admin, err := adminclient.New(p.server, adminclient.Options{})
	if err != nil {
		return err
	}
	defer admin.Close()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	late := time.After(startTimeout)
	for {
		status, err := admin.Status(ctx)
		if err == nil && status.Ready {
			p.public = status.Public
			return nil
		}
		select {
		case <-look.C:
		case <-p.ended:
			return errors.New("the daemon has ended")
		case <-late:
			return fmt.Errorf("the daemon does not serve: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stop ends the daemon as an administrator does, where the system has a way.
func (p *process) stop() error {
	kill := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	err := p.cmd.Process.Signal(os.Interrupt)
	if err == nil || errors.Is(err, os.ErrProcessDone) {
		<-p.ended
		return p.failure
	}
	// Windows has no such signal, and what is killed does not end well.
	_ = p.cmd.Process.Kill()
	<-p.ended
	return nil
}

// watch looks at the memory of the process until the function that it returns is
// called, and that says what it held at most. All is zero where the system does
// not tell.
func (p *process) watch() func() memory {
	stop, ended := make(chan struct{}), make(chan memory)
	go func() {
		look := time.NewTicker(lookEvery)
		defer look.Stop()
		var most memory
		for {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
			if err == nil {
				if m, err := parseMemory(string(status)); err == nil {
					most = most.most(m)
				}
			}
			select {
			case <-look.C:
			case <-stop:
				ended <- most
				return
			}
		}
	}()
	return func() memory {
		close(stop)
		return <-ended
	}
}
