package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/buildinfo"
)

// Where a daemon on embedded defaults keeps its things.
const (
	defaultDataDir = "licensed-data"
	defaultState   = "licensed-client"
)

var (
	defaultServer  = "unix:./" + defaultDataDir + "/admin.sock"
	defaultKeys    = "./" + defaultDataDir + "/keys"
	defaultAnchors = "./" + defaultDataDir + "/keys/anchors.json"
)

// program is everything that a command may touch of its surroundings.
type program struct {
	in       io.Reader
	out, err io.Writer
	// interactive reports whether a person can be asked, colorful whether out is
	// a terminal, and talkative whether progress on err is seen by one.
	interactive, colorful, talkative bool
	getenv                           func(string) string
	now                              func() time.Time
	demo                             func(ctx context.Context, p *program, o demoOptions) error
}

func newProgram() *program {
	terminal := func(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
	return &program{
		in: os.Stdin, out: standardOutput(os.Stdout), err: os.Stderr,
		interactive: terminal(os.Stdin) && terminal(os.Stderr),
		colorful:    terminal(os.Stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		talkative:   terminal(os.Stderr),
		getenv:      os.Getenv,
		now:         time.Now, //nolint:forbidigo // the one default of now
		demo:        runDemo,
	}
}

// run executes a command line and returns the exit status.
func (p *program) run(ctx context.Context, args []string) int {
	var err error
	if len(args) > 1 && args[1] == completeCommand {
		err = p.printSuggestions(args[2:])
	} else {
		app := p.app()
		err = app.RunContext(ctx, reorder(app, args))
	}
	if err == nil {
		return exitDone
	}
	text, status := explain(ctx, err)
	if text != "" {
		p.note("licensectl: %s", text)
	}
	return status
}

func (p *program) app() *cli.App {
	app := &cli.App{
		Name:      "licensectl",
		Usage:     "issue licences, look after them, and verify them offline",
		UsageText: "licensectl [--server S] [--token-file F] COMMAND [OPTIONS] [ARGUMENTS]",
		Description: "S is unix:/path of the daemon's admin socket, or https://host:port of its admin listener.\n" +
			"Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 refused by the licence's state (verify),\n" +
			"4 not found.\n\n" +
			"Examples:\n" +
			"  licensectl demo                                       see the whole life of a licence\n" +
			"  licensectl issue --product demo --for 365d            make a licence, print its code\n" +
			"  licensectl list --state active --expiring-within 30d  who has to renew soon\n" +
			"  licensectl verify customer.lic                        check a licence file, offline",
		Version: buildinfo.Read().String(),
		Flags: []cli.Flag{
			&cli.StringFlag{
				Name: "server", Usage: "the daemon's admin socket or address, `S`", EnvVars: []string{"LICENSECTL_SERVER"},
				Value: defaultServer,
			},
			&cli.StringFlag{
				Name: "token-file", Usage: "`FILE` with the token for an https:// server", EnvVars: []string{"LICENSECTL_TOKEN_FILE"}, TakesFile: true,
			},
			&cli.StringFlag{
				Name: "ca-file", Usage: "`FILE` with the certificates to trust for its own (PEM)", EnvVars: []string{"LICENSECTL_CA_FILE"}, TakesFile: true,
			},
			&cli.StringFlag{
				Name: "cert-file", Usage: "`FILE` with a client certificate for it (PEM)", EnvVars: []string{"LICENSECTL_CERT_FILE"}, TakesFile: true,
			},
			&cli.StringFlag{
				Name: "key-file", Usage: "`FILE` with the key of that certificate", EnvVars: []string{"LICENSECTL_KEY_FILE"}, TakesFile: true,
			},
		},
		Commands: []*cli.Command{
			p.issueCommand(), p.listCommand(), p.showCommand(), p.installCommand(), p.renewCommand(), p.editCommand(), p.upgradeCommand(), p.transferCommand(), p.suspendCommand(), p.resumeCommand(),
			p.revokeCommand(), p.undoRevokeCommand(), p.releaseCommand(), p.orderCommand(), p.identifyCommand(), p.proofCommand(), p.signCommand(),
			p.requestCommand(), p.importCommand(), p.verifyCommand(), p.fingerprintCommand(),
			p.keysCommand(), p.statusCommand(), p.overviewCommand(), p.doctorCommand(), p.auditCommand(), p.tokenCommand(), p.marketplaceCommand(), p.webhookCommand(),
			p.dbCommand(), p.dumpCommand(), p.loadCommand(), p.sandboxCommand(), p.demoCommand(),
			p.completionCommand(), p.manCommand(),
		},
		Reader: p.in, Writer: p.out, ErrWriter: p.err,
		HideHelpCommand: true, DisableSliceFlagSeparator: true,
		Action:         unknownCommand,
		OnUsageError:   badUsage,
		ExitErrHandler: func(*cli.Context, error) {}, // run decides
	}
	for _, c := range app.Commands {
		condition("", c)
		prepare(c)
	}
	app.CustomAppHelpTemplate = appHelp(app)
	return app
}

// prepare gives a command what all have in common.
func prepare(c *cli.Command) {
	c.OnUsageError, c.HideHelpCommand, c.CustomHelpTemplate = badUsage, true, commandHelp(c)
	for _, sub := range c.Subcommands {
		prepare(sub)
	}
}

// unknownCommand answers a group of commands that is called without one of its
// own: with help, or with an error that names what it does not know.
func unknownCommand(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("there is no command %q; see %s --help", c.Args().First(), commandName(c))
	}
	if c.Command != nil && len(c.Lineage()) > 2 {
		return cli.ShowSubcommandHelp(c)
	}
	return cli.ShowAppHelp(c)
}

// badUsage turns a complaint of the flag parser into ours.
func badUsage(c *cli.Context, err error, _ bool) error {
	return usagef("%s; see %s --help", flagComplaint(err), commandName(c))
}

// commandName is the command as the user typed it.
func commandName(c *cli.Context) string {
	if c.Command == nil || c.Command.HelpName == "" {
		return c.App.Name
	}
	return c.Command.HelpName
}

// begin is how a command starts that asks the daemon: it checks the arguments,
// which are named, and the form of the output, and makes the daemon's client.
func (p *program) begin(c *cli.Context, forms []string, names ...string) (args []string, chosen string, admin *adminclient.Client, err error) {
	if args, chosen, err = commandLine(c, forms, names...); err != nil {
		return nil, "", nil, err
	}
	admin, err = p.connect(c)
	return args, chosen, admin, err
}

// connect makes the client for the daemon that the global options name.
func (p *program) connect(c *cli.Context) (*adminclient.Client, error) {
	if c.Bool("dry-run") {
		p.note("a dry run: what follows is what would be, and nothing is changed")
	}
	return p.client(c)
}

// client is connect without a word.
func (p *program) client(c *cli.Context) (*adminclient.Client, error) {
	server := c.String("server")
	if server == "" {
		server = defaultServer
	}
	return adminclient.New(server, adminclient.Options{
		TokenFile: c.String("token-file"), CAFile: c.String("ca-file"), CertFile: c.String("cert-file"), KeyFile: c.String("key-file"),
		DryRun:    c.Bool("dry-run"),
		UserAgent: "licensectl/" + buildinfo.Read().Version,
	})
}

// note says something to the person beside the output proper.
func (p *program) note(format string, args ...any) {
	_, _ = fmt.Fprintf(p.err, format+"\n", args...) // nobody is left to tell
}

// say writes a line of output.
func (p *program) say(format string, args ...any) error {
	_, err := fmt.Fprintf(p.out, format+"\n", args...)
	return err
}

// commandLine checks the arguments of a command and the form of its output.
func commandLine(c *cli.Context, forms []string, names ...string) (args []string, chosen string, err error) {
	if args, err = arguments(c, names...); err != nil {
		return nil, "", err
	}
	if chosen, err = form(c, forms...); err != nil {
		return nil, "", err
	}
	return args, chosen, nil
}

// arguments checks how many arguments there are, and names them where they
// are missing.
func arguments(c *cli.Context, names ...string) ([]string, error) {
	given := c.Args().Slice()
	switch {
	case len(given) < len(names):
		return nil, usagef("%s needs %s; see %s --help", c.Command.Name, names[len(given)], commandName(c))
	case len(given) > len(names):
		return nil, usagef("%s does not know what to do with %q; see %s --help", c.Command.Name, given[len(names)], commandName(c))
	}
	return given, nil
}

// shown is a path as a person wants to see it: relative ones begin with a dot.
func shown(path string) string {
	path = filepath.Clean(path)
	if filepath.IsAbs(path) || path == ".." || len(path) > 2 && path[:3] == ".."+string(filepath.Separator) {
		return path
	}
	return "." + string(filepath.Separator) + path
}
