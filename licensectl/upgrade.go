package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

func (p *program) upgradeCommand() *cli.Command {
	var up adminwire.Upgrade
	var e end
	return p.changeCommand(change{
		name: "upgrade", usage: "make a licence another one in place, or a trial a full one",
		options: "[OPTIONS] [--expires DATE | --for DURATION | --perpetual]",
		description: "Id, code and installs stay, and installs get what is new when they call home next. What is not given stays; another product " +
			"brings its own features. A trial becomes a full licence, and needs an end. Installs of a product that the other one does not accept " +
			"(accepts) keep a licence from moving to it, unless --force ends them.\n\n" +
			"Examples:\n" +
			"  licensectl upgrade lic_01k2m3n4p5q6r7s8t9v0w1x2y3 --feature edition=pro --machines 5\n" +
			"  licensectl upgrade lic_01k2m3n4p5q6r7s8t9v0w1x2y3 --for 365d",
		flags: append([]cli.Flag{
			&cli.StringFlag{Name: "product", Usage: "the other product, by `ID`"},
			&cli.StringSliceFlag{Name: "feature", Usage: "`NAME=VALUE` beside the features that it has: true, a number or text; false takes one away (repeatable)"},
			&cli.IntFlag{Name: "machines", Usage: "`NUMBER` of machines, or of floating seats"},
			&cli.BoolFlag{Name: "force", Usage: "end live installs that the other product does not accept"},
		}, endFlags("the later of now and the present end")...),
		check: func(c *cli.Context) (err error) {
			up = adminwire.Upgrade{Product: c.String("product"), Machines: c.Int("machines"), Force: c.Bool("force")}
			if up.Features, err = parseFeatures(c.StringSlice("feature")); err != nil {
				return err
			}
			ends := c.IsSet("expires") || c.IsSet("for") || c.IsSet("perpetual")
			switch {
			case c.IsSet("machines") && up.Machines < 1:
				return usagef("--machines must be 1 or more")
			case up.Product == "" && len(up.Features) == 0 && up.Machines == 0 && !ends:
				return usagef("upgrade needs at least one of --product, --feature, --machines and an end")
			case !ends:
				return nil
			}
			e, err = p.readEnd(c)
			return err
		},
		do: func(ctx context.Context, c *cli.Context, admin *adminclient.Client, id string) (adminwire.Edited, error) {
			if err := p.settle(ctx, admin, &e); err != nil {
				return adminwire.Edited{}, err
			}
			up.ExpiresAt, up.For, up.Perpetual = e.at, e.in, e.perpetual
			edited, err := admin.Upgrade(ctx, id, up)
			return edited, nameProducts(ctx, admin, err)
		},
		done: func(was, now adminwire.License) string {
			return "upgraded: " + termsText(now) + " (before: " + termsText(was) + ")"
		},
		same: "is that already",
	})
}

// termsText is what a licence is, in one line.
func termsText(l adminwire.License) string {
	text := l.Product
	if l.Trial {
		text = "a trial of " + l.Product
	}
	parts := []string{text, count(l.Machines, "machine", "machines"), lifetime(l)}
	if f := featureText(l.Features); f != "" {
		parts = append(parts, f)
	}
	return fmt.Sprint(strings.Join(parts, ", "))
}
