package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

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

func (p *program) requestCommand() *cli.Command {
	return &cli.Command{
		Name: "request", Category: "Machines without a network", Usage: "make a request file on a machine that cannot reach the server",
		UsageText: "licensectl request --product P [--op OP] [--code C] [--from ID] [--state DIR] [-o FILE]",
		Description: "The merchant answers it with licensectl sign; licensectl import takes the answer.\n" +
			"Asked again for the same, it writes the same request until it is answered.\n" +
			"A request to deactivate gives the licence up at once, and is the receipt for it.\n\n" +
			"Example:\n  licensectl request --product demo --code LIC-7ZKQ2-… -o machine.req",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "op", Value: string(client.OpActivate), Usage: "`WHAT` to ask for: activate, refresh, transfer, deactivate"},
			&cli.StringFlag{Name: "product", Usage: "the product's `ID` (required)"},
			&cli.StringFlag{Name: "code", Usage: "the `CODE`, for activate and transfer; without it the merchant gives it to sign"},
			&cli.StringFlag{Name: "from", Usage: "the `INSTALL` whose seat a transfer frees"},
			stateFlag(), anchorsFlag(), fileFlag("request file"), yesFlag(),
		},
		Action: p.request,
	}
}

func (p *program) request(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	if c.String("product") == "" {
		return usagef("request needs --product")
	}
	op := client.Op(strings.ToLower(c.String("op")))
	if op == client.OpDeactivate && p.interactive { // a receipt is kept, so a script need not say --yes
		if err := p.confirm(c, "Give the licence in "+shown(c.String("state"))+" up at once?"); err != nil {
			return err
		}
	}
	// Anchors verify what is held already; the first request needs none.
	anchors, err := optionalAnchors(c)
	if err != nil {
		return err
	}
	g, err := p.openInstall(c, c.String("product"), anchors)
	if err != nil {
		return err
	}
	defer g.Close() //nolint:errcheck // never fails; nothing runs in the background
	file, err := g.Request(c.Context, op, client.RequestOptions{Code: c.String("code"), From: c.String("from")})
	if err != nil {
		return fmt.Errorf("make a request to %s: %w", op, err)
	}
	// It may hold the code.
	if err := p.writeOutput(c, file, 0o600, "request file"); err != nil {
		return err
	}
	if path := c.String("output"); path != "" && path != "-" {
		if op == client.OpDeactivate {
			p.note("this install has no licence any more; hand the file in with licensectl sign %s to free the seat", path)
		} else {
			p.note("answer it with licensectl sign %s -o OUT.lic, and bring that here for licensectl import", path)
		}
	}
	return nil
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
	args, err := arguments(c, "a licence FILE")
	if err != nil {
		return err
	}
	f, err := form(c, formTable, formJSON)
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
