package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/license"
)

// enforcements are the values of --enforcement.
var enforcements = []string{string(license.EnforceBlock), string(license.EnforceDegrade), string(license.EnforceAdvisory)}

func phaseFlags(instead string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "warn", Usage: "how long before the end the warning begins, a `DURATION` as 60d, " + instead},
		&cli.StringFlag{Name: "grace", Usage: "how long after the end the block comes, a `DURATION` as 30d, " + instead},
		&cli.StringFlag{Name: "enforcement", Usage: "what the block `DOES`, " + instead + ": " + strings.Join(enforcements, ", ")},
		&cli.StringFlag{Name: "lease", Usage: "how long an install may go without calling home, a `DURATION` as 60d or 0s for ever, " + instead},
		&cli.StringFlag{Name: "refresh", Usage: "when an install calls home, a `DURATION` as 12h, " + instead},
	}
}

// readPhases checks what a licence is to have of its own; also lists words that
// stand for something else.
func readPhases(c *cli.Context, also ...string) (adminwire.Phases, error) {
	out := adminwire.Phases{
		Warn: c.String("warn"), Grace: c.String("grace"), Enforcement: license.Enforcement(strings.ToLower(c.String("enforcement"))),
		Lease: c.String("lease"), Refresh: c.String("refresh"),
	}
	for _, d := range []struct{ option, text string }{{"--warn", out.Warn}, {"--grace", out.Grace}, {"--lease", out.Lease}, {"--refresh", out.Refresh}} {
		if !c.IsSet(d.option[2:]) || slices.Contains(also, d.text) {
			continue
		}
		switch v, err := config.ParseDuration(d.text); {
		case err != nil:
			return out, usagef("%s: %v", d.option, err)
		case v < 0:
			return out, usagef("%s must not be negative", d.option)
		case time.Duration(v)%time.Second != 0:
			return out, usagef("%s must be whole seconds", d.option)
		}
	}
	if c.IsSet("enforcement") && !slices.Contains(slices.Concat(enforcements, also), string(out.Enforcement)) {
		return out, usagef("--enforcement %q is none of %s", c.String("enforcement"), strings.Join(slices.Concat(enforcements, also), ", "))
	}
	return out, nil
}

func (p *program) editCommand() *cli.Command {
	var edit adminwire.Edit
	return p.changeCommand(change{
		name: "edit", usage: "change the phases, the leases and the overage of a licence",
		options: "[OPTIONS]",
		description: "What is not given stays. The value product takes away what the licence has of its own, so that it follows its product " +
			"again. Installs get to know of it when they call home next.\n\n" +
			"Examples:\n" +
			"  licensectl edit lic_01k2m3n4p5q6r7s8t9v0w1x2y3 --warn 60d --grace 30d --enforcement degrade\n" +
			"  licensectl edit lic_01k2m3n4p5q6r7s8t9v0w1x2y3 --grace product\n" +
			"  licensectl edit lic_01k2m3n4p5q6r7s8t9v0w1x2y3 --lease 60d --overage 2",
		flags: append(phaseFlags("or product for the product's"),
			&cli.StringFlag{Name: "overage", Usage: "how many machines more are let in, a `NUMBER`, or product for the product's"}),
		check: func(c *cli.Context) (err error) {
			edit = adminwire.Edit{Overage: c.String("overage")}
			if _, bad := strconv.ParseUint(edit.Overage, 10, 31); c.IsSet("overage") && bad != nil && edit.Overage != adminwire.FollowProduct {
				return usagef("--overage %q is neither a number nor product", edit.Overage)
			}
			edit.Phases, err = readPhases(c, adminwire.FollowProduct)
			if err == nil && edit == (adminwire.Edit{}) {
				return usagef("edit needs at least one of --warn, --grace, --enforcement, --lease, --refresh and --overage")
			}
			return err
		},
		do: func(ctx context.Context, _ *cli.Context, admin *adminclient.Client, id string) (adminwire.Edited, error) {
			return admin.Edit(ctx, id, edit)
		},
		done: func(was, now adminwire.License) string {
			return "edited: " + ownText(now) + " (before: " + ownText(was) + ")"
		},
		same: "has these phases already",
	})
}

// ownText says what a licence does around its end, and how many machines more it
// lets in where that is its own.
func ownText(l adminwire.License) string {
	if l.Overage == nil {
		return phasesText(l)
	}
	return phasesText(l) + "; its own overage: " + strconv.Itoa(*l.Overage)
}

// leaseText says how often an install calls home, and how long it goes on without.
func leaseText(p *adminwire.Phases) string {
	if p.Lease == "0s" {
		return "calls home after " + p.Refresh + ", goes on without for ever"
	}
	return "calls home after " + p.Refresh + ", goes on without for " + p.Lease
}

// phasesText says what a licence does around its end, and what of that is its own.
func phasesText(l adminwire.License) string {
	if l.PhasesInForce == nil {
		return "of a product that is not configured any more"
	}
	text := "warns " + l.PhasesInForce.Warn + " before the end, " + l.PhasesInForce.Grace + " of grace, then " + string(l.PhasesInForce.Enforcement)
	var own []string
	for _, o := range []struct {
		name string
		is   bool
	}{{"warn", l.Phases.Warn != ""}, {"grace", l.Phases.Grace != ""}, {"enforcement", l.Phases.Enforcement != ""}} {
		if o.is {
			own = append(own, o.name)
		}
	}
	if l.Phases.Lease != "" || l.Phases.Refresh != "" {
		text += ", " + leaseText(l.PhasesInForce)
		own = append(own, slices.DeleteFunc([]string{"lease", "refresh"}, func(name string) bool {
			return name == "lease" && l.Phases.Lease == "" || name == "refresh" && l.Phases.Refresh == ""
		})...)
	}
	if len(own) > 0 {
		text += "; its own: " + strings.Join(own, ", ")
	}
	return text
}
