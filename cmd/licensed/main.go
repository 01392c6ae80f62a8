// Command licensed is the licence server's daemon.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	_ "time/tzdata" // a time zone in the configuration must not depend on the machine

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/buildinfo"
)

// Exit statuses.
const exitFailed, exitUsage = 1, 2

// The heap of the daemon is tiny against what it allocates for each request, so
// the collector runs rarely; the limit keeps it in bounds all the same.
const (
	gcPercent   = 400
	memoryLimit = 256 << 20
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args, os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	err := app(environ, stdout, stderr).RunContext(ctx, args)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "licensed: "+strings.ReplaceAll(err.Error(), "\n", "\nlicensed: "))
	_, usage := errors.AsType[*usageError](err)
	if _, config := errors.AsType[*daemon.ConfigError](err); config || usage {
		return exitUsage
	}
	return exitFailed
}

// usageError is a command line that is wrong.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func app(environ []string, stdout, stderr io.Writer) *cli.App {
	config := &cli.StringFlag{Name: "config", Usage: "configuration `FILE` (YAML); without it embedded defaults in ./licensed-data"}
	set := &cli.StringSliceFlag{Name: "set", Usage: "a setting that wins over the file, as `KEY=VALUE`, such as public.listen=127.0.0.1:8443"}
	level := &cli.StringFlag{Name: "log-level", Value: "info", Usage: "debug, info, warn or error"}
	format := &cli.StringFlag{Name: "log-format", Value: "text", Usage: "text or json"}
	usage := func(_ *cli.Context, err error, _ bool) error { return &usageError{err.Error()} }
	return &cli.App{
		Name: "licensed", Usage: "a merchant's licence server", Version: buildinfo.Version(),
		Writer: stdout, ErrWriter: stderr, HideHelpCommand: true,
		OnUsageError: usage, ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return &usageError{fmt.Sprintf("there is no command %q; see licensed --help", c.Args().First())}
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{
			{
				Name: "serve", Usage: "run the daemon until it is interrupted", OnUsageError: usage,
				Flags: []cli.Flag{config, set, level, format},
				Action: func(c *cli.Context) error {
					o, err := options(c, environ)
					if err != nil {
						return err
					}
					if o.Logger, err = logger(c, stderr); err != nil {
						return err
					}
					tuneMemory(environ)
					return daemon.Run(c.Context, o)
				},
			},
			{
				Name: "check-config", Usage: "read and validate the configuration, and start nothing", OnUsageError: usage,
				Flags: []cli.Flag{config, set},
				Action: func(c *cli.Context) error {
					o, err := options(c, environ)
					if err != nil {
						return err
					}
					if err := daemon.CheckConfig(o); err != nil {
						return err
					}
					_, err = fmt.Fprintln(stdout, "the configuration is right")
					return err
				},
			},
		},
	}
}

func options(c *cli.Context, environ []string) (daemon.Options, error) {
	if c.Args().Present() {
		return daemon.Options{}, &usageError{fmt.Sprintf("%s takes no arguments, and there is %q", c.Command.Name, c.Args().First())}
	}
	o := daemon.Options{ConfigFile: c.String("config"), Environ: environ, Set: make(map[string]string)}
	for _, pair := range c.StringSlice("set") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return o, &usageError{fmt.Sprintf("--set takes KEY=VALUE, not %q", pair)}
		}
		o.Set[key] = value
	}
	return o, nil
}

func logger(c *cli.Context, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, &usageError{fmt.Sprintf("there is no log level %q", c.String("log-level"))}
	}
	o := &slog.HandlerOptions{Level: level}
	switch c.String("log-format") {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, &usageError{fmt.Sprintf("there is no log format %q", c.String("log-format"))}
}

// tuneMemory leaves alone what the administrator set.
func tuneMemory(environ []string) {
	for _, pair := range environ {
		if strings.HasPrefix(pair, "GOGC=") || strings.HasPrefix(pair, "GOMEMLIMIT=") {
			return
		}
	}
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryLimit)
}
