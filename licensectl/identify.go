package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// deviceFlag names the machine that an identification code stands for.
func deviceFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "device", Aliases: []string{"code"}, Usage: usage}
}

func (p *program) identifyCommand() *cli.Command {
	return &cli.Command{
		Name: "identify", Category: "Orders", Usage: "make the licence file for an identification code",
		UsageText: "licensectl identify ORDER|LICENSE --device CODE [-o OUT.lic]",
		Description: "CODE is the hardware or system identification code of the order's supervision page, or the marketplace's\n" +
			"device fingerprint MAC|DISK|BOARD|CPU. LICENSE is the id or the code of a licence. The same CODE gives the same file\n" +
			"again, until the signing key or the licence changes; each other one takes a machine of the licence.\n\n" +
			"Example:\n  licensectl identify CS2211181819B4LVS --device 8F6034E2-60E1 -o license.lic",
		Flags: append([]cli.Flag{
			deviceFlag("the identification `CODE` (required); - reads it from standard input"), fileFlag("licence file"), yesFlag(),
		}, lineFlags()...),
		Action: p.identify,
	}
}

func (p *program) identify(c *cli.Context) error {
	args, err := arguments(c, "an ORDER or the ID or CODE of a LICENSE")
	if err != nil {
		return err
	}
	device, err := p.readDevice(c)
	if err != nil {
		return err
	}
	if device.IsZero() {
		return usagef("identify needs --device CODE; see %s --help", commandName(c))
	}
	if err := noForm(c); err != nil {
		return err
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	made, err := admin.Identify(c.Context, adminwire.Identify{OrderLine: readLine(c), Ref: args[0], Device: device.Reveal()})
	if err != nil {
		return fmt.Errorf("identify: %w", err)
	}
	if c.Bool("dry-run") {
		what := "it is the same licence as before"
		if made.Made {
			what = "a licence would be made"
		}
		return p.say("%s: %s of %s, ends %s", what, made.License.ID, made.License.Product, when(made.License.ExpiresAt, "never"))
	}
	if err := p.writeOutput(c, []byte(made.File), 0o644, "licence file"); err != nil {
		return err
	}
	what := "the same licence as before"
	if made.Made {
		what = "made a licence"
	}
	p.note("%s: %s of %s for %s, ends %s", what, made.License.ID, made.License.Product, made.Install.ID, when(made.License.ExpiresAt, "never"))
	p.note("SHA-256 of the file: %s", made.SHA256)
	if len(made.Install.Bound) == 0 {
		p.note("warning: the product binds its licences to no machine, so this one is good for any")
	}
	return nil
}

// readDevice reads --device; the zero Device is none.
func (p *program) readDevice(c *cli.Context) (license.Device, error) {
	text := c.String("device")
	switch {
	case !c.IsSet("device"):
		return license.Device{}, nil
	case text == "-":
		data, err := readLimited(p.in)
		if err != nil {
			return license.Device{}, fmt.Errorf("read the identification code from standard input: %w", err)
		}
		text = string(data)
	}
	device, err := license.ParseDevice(strings.TrimSpace(text))
	if err != nil {
		if l, ok := errors.AsType[*license.Error](err); ok {
			return device, usagef("--device: %s", l.Detail)
		}
		return device, err
	}
	return device, nil
}
