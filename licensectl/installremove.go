package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

func (p *program) installRemoveCommand() *cli.Command {
	return &cli.Command{
		Name: "remove", Usage: "end one installed copy and free its seat",
		UsageText: "licensectl install remove ID|CODE INSTALL [--reason R]",
		Description: "INSTALL is an id that licensectl install list shows, or the beginning of one; put -- before a beginning\n" +
			"that is a dash. The copy learns of it with its next call home, or from the status list, and is blocked then;\n" +
			"it can be activated again with the code.\n\n" +
			"Example:\n  licensectl install remove lic_01k2m3n4p5q6r7s8t9v0w1x2y3 x7Qp --reason 'the laptop was stolen'",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "reason", Usage: "`WHY`, for the audit log"},
			yesFlag(), outputFlag(formTable, formJSON),
		},
		Action: p.installRemove,
	}
}

func (p *program) installRemove(c *cli.Context) error {
	on, err := p.beginOn(c, []string{formTable, formJSON}, p.canAsk, installName)
	if err != nil {
		return err
	}
	l := on.license
	i, err := installNamed("install remove", l, on.args[0])
	if err != nil {
		return err
	}
	if err := p.confirm(c, fmt.Sprintf("End install %s of %s?", i.ID, describe(l))); err != nil {
		return err
	}
	removed, err := on.admin.RemoveInstall(c.Context, l.ID, i.ID, strings.TrimSpace(c.String("reason")))
	switch {
	case err != nil:
		return fmt.Errorf("remove an install of %s: %w", l.ID, err)
	case on.form == formJSON:
		return writeJSON(p.out, removed)
	case !removed.Changed:
		return p.say("install %s has ended already (%s): nothing changed", i.ID, removed.Install.State)
	}
	return p.say("install %s ended; the status list shows it as revoked", i.ID)
}

const installName = "the id of an INSTALL"

// installNamed returns the install whose id begins with prefix. Nothing, as of a
// variable that is not set, names none, also where there is only one.
func installNamed(command string, l adminwire.License, prefix string) (found adminwire.Install, err error) {
	prefix = fromCell(prefix) // as a list in CSV shows it
	if strings.TrimSpace(prefix) == "" {
		return adminwire.Install{}, usagef("%s needs the id of an INSTALL; see licensectl install list %s", command, l.ID)
	}
	for _, i := range l.Installs {
		switch {
		case i.ID == prefix:
			return i, nil
		case !strings.HasPrefix(i.ID, prefix):
		case found.ID != "":
			return adminwire.Install{}, usagef("several installs of %s begin with %s", l.ID, printable(prefix))
		default:
			found = i
		}
	}
	if found.ID == "" {
		return adminwire.Install{}, license.Errorf(license.NotFound, "%s has no install %s", l.ID, printable(prefix))
	}
	return found, nil
}
