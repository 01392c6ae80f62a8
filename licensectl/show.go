package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

func (p *program) showCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Category: "Licences", Usage: "show one licence and its installs",
		UsageText: "licensectl show ID|CODE",
		Description: "Examples:\n" +
			"  licensectl show lic_01k2m3n4p5q6r7s8t9v0w1x2y3\n" +
			"  licensectl show LIC-7ZKQ2-… -o json",
		Flags: []cli.Flag{outputFlag(formTable, formJSON)},
		Action: func(c *cli.Context) error {
			on, err := p.beginOn(c, []string{formTable, formJSON}, nil)
			if err != nil {
				return err
			}
			if on.form == formJSON {
				return writeJSON(p.out, on.license)
			}
			return p.printLicense(on.license)
		},
	}
}

const licenseName = "the ID or CODE of a licence"

// begun is a command about one licence, when that has been found.
type begun struct {
	license adminwire.License
	args    []string // those after the licence
	form    string   // of the output
	admin   *adminclient.Client
}

// beginOn is begin for a command about the licence that its first argument names, and
// names the arguments after it. check, if any, reads the rest of the command line
// before the daemon is asked.
func (p *program) beginOn(c *cli.Context, forms []string, check func(*cli.Context) error, names ...string) (begun, error) {
	args, f, err := commandLine(c, forms, append([]string{licenseName}, names...)...)
	if err != nil {
		return begun{}, err
	}
	if check != nil {
		if err := check(c); err != nil {
			return begun{}, err
		}
	}
	admin, err := p.connect(c)
	if err != nil {
		return begun{}, err
	}
	l, err := lookup(c.Context, admin, args[0])
	if err != nil {
		return begun{}, err
	}
	return begun{license: l, args: args[1:], form: f, admin: admin}, nil
}

// lookup finds the licence that ref names, by id or by code. What names none
// is not found whatever its form, a mistyped code included.
func lookup(ctx context.Context, admin *adminclient.Client, ref string) (adminwire.License, error) {
	l, err := admin.Lookup(ctx, ref)
	switch license.ReasonOf(err) { //nolint:exhaustive // all other reasons stay what they are
	case license.BadRequest, license.UnknownLicense, license.UnknownCode, license.NotFound:
		what := "code"
		if license.IsLicenseID(ref) {
			what = "id " + ref
		}
		return l, notFoundf("there is no licence with this %s; see licensectl list", what)
	}
	return l, err
}

func (p *program) printLicense(l adminwire.License) error {
	var f fields
	f.add("licence", l.ID)
	f.add("code", "…"+l.CodeLast4)
	f.add("product", l.Product)
	f.add("customer", l.Customer)
	f.add("order", l.Order)
	f.add("channel", l.Channel)
	f.add("state", stateText(l))
	f.add("issued", when(l.IssuedAt, ""))
	f.add("activated", when(l.ActivatedAt, "not yet"))
	f.add("ends", when(l.ExpiresAt, "never"))
	f.add("released", when(l.ReleasedAt, ""))
	f.add("revoked", when(l.RevokedAt, ""))
	f.add("machines", machinesText(l))
	f.add("trial", yesText(l.Trial))
	f.add("features", featureText(l.Features))
	f.add("phases", phasesText(l))
	f.add("forks", forksOf(l))
	f.add("activated again", againOf(l))
	f.add("machine changes", changesOf(l))
	if err := f.write(p.out); err != nil {
		return err
	}
	if len(l.Installs) == 0 {
		return nil
	}
	if err := p.say(""); err != nil {
		return err
	}
	t := newTable("INSTALL", "STATE", "SEEN (UTC)", "LEASE ENDS (UTC)")
	for _, i := range l.Installs {
		state := string(i.State)
		if !i.OnMachine() {
			state = string(license.InstallText) + " " + state
		}
		if i.Forks > 0 {
			state += fmt.Sprintf(" (%s)", count(i.Forks, "fork", "forks"))
		}
		t.add(i.ID, state, whenShort(i.SeenAt, ""), whenShort(i.LeaseUntil, "never"))
	}
	return t.flush(p.out)
}

// machinesText says how many machines use a licence, of how many.
func machinesText(l adminwire.License) string {
	text := fmt.Sprintf("%d of %d used (%s)", seatsTaken(l), l.Machines, l.Mode)
	if n := l.OverageInForce; n != nil && *n > 0 {
		text += fmt.Sprintf(", %d more let in", *n)
	}
	if beyond := seatsTaken(l) - l.Machines; beyond > 0 {
		text += fmt.Sprintf(": %d beyond", beyond)
	}
	return text
}

func yesText(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

// stateText is a licence's state and who or what put it there.
func stateText(l adminwire.License) string {
	text := string(l.State)
	if l.State == license.StateSuspended {
		text += " by " + strings.Join(l.Holds, " and ")
	}
	if l.State == license.StateRevoked && l.RevokeReason != "" {
		text += ": " + l.RevokeReason
	}
	return text
}

// featureText lists features in the order of their names.
func featureText(features map[string]any) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(features)) {
		list = append(list, fmt.Sprintf("%s=%v", name, features[name]))
	}
	return strings.Join(list, " ")
}
