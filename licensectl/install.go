package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func stateFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "state", Value: "./" + defaultState, TakesFile: true,
		Usage: "the `FOLDER` with the install's memory: its key, its licence",
	}
}

// optionalAnchors reads --anchors; the default file may be missing.
func optionalAnchors(c *cli.Context) (token.Anchors, error) {
	if !c.IsSet("anchors") {
		if _, err := os.Stat(c.String("anchors")); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	return loadAnchors(c.String("anchors"))
}

// openInstall opens the memory of an install, without a server.
func (p *program) openInstall(c *cli.Context, product string, anchors token.Anchors) (*client.Guard, error) {
	g, err := client.Open(c.Context, client.Options{
		Anchors: anchors, Product: product, StateDir: c.String("state"), Manual: true, Now: p.now,
	})
	if err != nil {
		return nil, fmt.Errorf("open the install's memory in %s: %w", shown(c.String("state")), err)
	}
	for _, w := range g.Warnings() {
		if len(anchors) > 0 || license.ReasonOf(w) == license.Clock {
			p.note("warning: %s", oneLine(w.Error()))
		}
	}
	return g, nil
}

func (p *program) importCommand() *cli.Command {
	return &cli.Command{
		Name: "import", Category: "Machines without a network", Usage: "take the licence file that answers a request",
		UsageText: "licensectl import FILE.lic [--state DIR] [--anchors F]",
		Description: "Verifies the file and keeps the licence in the install's memory; what does not verify, or is older than\n" +
			"what is held, changes nothing. A status list in the file, or in a file of its own, is taken as well: it tells a\n" +
			"machine without a network what was revoked.\n\n" +
			"Example:\n  licensectl import machine.lic --anchors anchors.json",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "product", Usage: "the product it must be for, by `ID`; default: the one that the file names"},
			stateFlag(), anchorsFlag(), yesFlag(), outputFlag(formTable, formJSON),
		},
		Action: p.importFile,
	}
}

func (p *program) importFile(c *cli.Context) error {
	args, f, err := commandLine(c, []string{formTable, formJSON}, "a licence FILE")
	if err != nil {
		return err
	}
	anchors, err := loadAnchors(c.String("anchors"))
	if err != nil {
		return err
	}
	file, err := p.readInput(args[0], "licence file")
	if err != nil {
		return err
	}
	product := c.String("product")
	if product == "" {
		if parsed, err := token.ParseFile(file); err == nil && len(parsed.Licenses) == 0 {
			return usagef("%s holds no licence that names the product; say with --product whose answer it is", args[0])
		}
		if product, err = productOf(file); err != nil {
			return fmt.Errorf("import %s: %w", args[0], err)
		}
	}
	g, err := p.openInstall(c, product, anchors)
	if err != nil {
		return err
	}
	defer g.Close() //nolint:errcheck // never fails; nothing runs in the background
	was, listed := g.License().ID(), g.Status().ListedAt
	if err := g.Import(file); err != nil {
		return fmt.Errorf("import %s: %w", args[0], err)
	}
	st := g.Status()
	if f == formJSON {
		var v verdict
		v.fill(g.License(), st, g.Explain())
		return writeJSON(p.out, v)
	}
	defer p.noteImported(g, c.String("state"))
	switch id := g.License().ID(); {
	case id == "":
		return p.say("the deactivation is confirmed; %s holds no licence", shown(c.String("state")))
	case id == was && st.ListedAt.After(listed):
		return p.say("%s goes by the status list of %s now: %s", g.License().LicenseID(), when(&st.ListedAt, ""), st)
	case id == was:
		return p.say("%s is held in %s already: nothing changed; %s", g.License().LicenseID(), shown(c.String("state")), st)
	}
	return p.say("%s is held in %s now: %s", g.License().LicenseID(), shown(c.String("state")), st)
}

// noteImported says what comes next.
func (p *program) noteImported(g *client.Guard, state string) {
	lic := g.License()
	if lic == nil {
		p.note("the receipt is redeemed: the request file need not be kept any longer")
		return
	}
	if st := g.Status(); st.LeaseUntil.Before(license.Forever) && lic.InstallID() != "" {
		p.note("it runs until %s; before that, renew it with licensectl request --op refresh --product %s --state %s -o FILE",
			instant(st.LeaseUntil), lic.Product(), shown(state))
	}
}
