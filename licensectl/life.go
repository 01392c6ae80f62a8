package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// change is a command that changes one licence.
type change struct {
	name, usage, options string
	description          string
	flags                []cli.Flag
	// check reads the command line before anything is asked or called.
	check func(c *cli.Context) error
	// warn is what to ask before a change that destroys; nil for others.
	warn func(l adminwire.License) string
	do   func(ctx context.Context, c *cli.Context, admin *adminclient.Client, id string) (adminwire.Edited, error)
	// done and same say what a change did, and that there was nothing to do.
	done func(was, now adminwire.License) string
	same string
}

func (p *program) changeCommand(h change) *cli.Command {
	usage := "licensectl " + h.name + " ID|CODE"
	if h.options != "" {
		usage += " " + h.options
	}
	return &cli.Command{
		Name: h.name, Category: "Licences", Usage: h.usage, UsageText: usage, Description: h.description,
		Flags:  append(h.flags, yesFlag(), outputFlag(formTable, formJSON)),
		Action: func(c *cli.Context) error { return p.change(c, h) },
	}
}

func (p *program) change(c *cli.Context, h change) error {
	on, err := p.beginOn(c, []string{formTable, formJSON}, func(c *cli.Context) error {
		if h.check != nil {
			if err := h.check(c); err != nil {
				return err
			}
		}
		if h.warn != nil {
			return p.canAsk(c)
		}
		return nil
	})
	if err != nil {
		return err
	}
	was := on.license
	if h.warn != nil {
		if err := p.confirm(c, h.warn(was)); err != nil {
			return err
		}
	}
	edited, err := h.do(c.Context, c, on.admin, was.ID)
	if err != nil {
		return fmt.Errorf("%s %s: %w", h.name, was.ID, err)
	}
	if on.form == formJSON {
		return writeJSON(p.out, edited)
	}
	if !edited.Changed {
		return p.say("%s %s: nothing changed", was.ID, h.same)
	}
	return p.say("%s %s", was.ID, printable(h.done(was, edited.License)))
}

// canAsk refuses early what could not be confirmed later.
func (p *program) canAsk(c *cli.Context) error {
	if c.Bool("yes") || c.Bool("dry-run") || p.interactive {
		return nil
	}
	return usagef("%s destroys something and there is no terminal to ask at; pass --yes", strings.TrimPrefix(commandName(c), "licensectl "))
}

// confirm asks a person, unless --yes was given.
func (p *program) confirm(c *cli.Context, question string) error {
	if c.Bool("yes") || c.Bool("dry-run") {
		return nil
	}
	if err := p.canAsk(c); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.err, "%s [y/N] ", printable(question)) // seen by a person, who answers
	line, err := bufio.NewReader(p.in).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer == "y" || answer == "yes" {
		return nil
	}
	if err != nil && line == "" {
		p.note("")
	}
	return &statusError{status: exitFailed, text: "nothing was changed"}
}

// describe names a licence to somebody who is about to change it.
func describe(l adminwire.License) string {
	text := l.ID + " (" + l.Product
	if l.Customer != "" {
		text += ", " + l.Customer
	}
	return text + ", " + string(l.State) + ", " + count(seatsTaken(l), "machine", "machines") + " in use)"
}

// nowIs says what was done, and the state that followed where it does not go
// without saying.
func nowIs(what string) func(was, now adminwire.License) string {
	return func(_, now adminwire.License) string { return what + "; it is now " + stateText(now) }
}

func plainly(what string) func(was, now adminwire.License) string {
	return func(_, _ adminwire.License) string { return what }
}

func (p *program) renewCommand() *cli.Command {
	var e end
	return p.changeCommand(change{
		name: "renew", usage: "move the end of a licence", options: "(--expires DATE | --for DURATION | --perpetual) [--force]",
		description: "Example:\n  licensectl renew lic_01k2m3n4p5q6r7s8t9v0w1x2y3 --for 365d",
		flags: append(endFlags("the later of now and the present end"),
			&cli.BoolFlag{Name: "force", Usage: "also longer after the end than the product lets it"}),
		check: func(c *cli.Context) (err error) {
			e, err = p.readEnd(c)
			return err
		},
		do: func(ctx context.Context, c *cli.Context, admin *adminclient.Client, id string) (adminwire.Edited, error) {
			if err := p.settle(ctx, admin, &e); err != nil {
				return adminwire.Edited{}, err
			}
			return admin.Renew(ctx, id, adminwire.Renew{ExpiresAt: e.at, For: e.in, Perpetual: e.perpetual, Force: c.Bool("force")})
		},
		done: func(was, now adminwire.License) string {
			return fmt.Sprintf("renewed: it ends %s (before: %s)", when(now.ExpiresAt, "never"), when(was.ExpiresAt, "never"))
		},
		same: "has this end already",
	})
}

func (p *program) suspendCommand() *cli.Command {
	return p.changeCommand(change{
		name: "suspend", usage: "suspend a licence until it is resumed",
		description: "Sets the merchant's hold; a marketplace's hold stands beside it.\n\n" +
			"Example:\n  licensectl suspend lic_01k2m3n4p5q6r7s8t9v0w1x2y3",
		do: func(ctx context.Context, _ *cli.Context, admin *adminclient.Client, id string) (adminwire.Edited, error) {
			return admin.Suspend(ctx, id)
		},
		done: plainly("suspended"), same: "is suspended by the merchant already",
	})
}

func (p *program) resumeCommand() *cli.Command {
	return p.changeCommand(change{
		name: "resume", usage: "lift the merchant's hold of a suspended licence",
		description: "A marketplace's hold is lifted by the marketplace only.\n\n" +
			"Example:\n  licensectl resume lic_01k2m3n4p5q6r7s8t9v0w1x2y3",
		do: func(ctx context.Context, _ *cli.Context, admin *adminclient.Client, id string) (adminwire.Edited, error) {
			return admin.Resume(ctx, id)
		},
		done: nowIs("resumed"), same: "is not suspended by the merchant",
	})
}

func (p *program) revokeCommand() *cli.Command {
	return p.changeCommand(change{
		name: "revoke", usage: "end a licence that was misused; can be undone for a while", options: "--reason R",
		description: "Example:\n  licensectl revoke lic_01k2m3n4p5q6r7s8t9v0w1x2y3 --reason 'code was published'",
		flags:       []cli.Flag{&cli.StringFlag{Name: "reason", Usage: "`WHY`, for the audit log (required)"}},
		check: func(c *cli.Context) error {
			if strings.TrimSpace(c.String("reason")) == "" {
				return usagef("revoke needs --reason")
			}
			return nil
		},
		warn: func(l adminwire.License) string { return "Revoke " + describe(l) + "?" },
		do: func(ctx context.Context, c *cli.Context, admin *adminclient.Client, id string) (adminwire.Edited, error) {
			return admin.Revoke(ctx, id, strings.TrimSpace(c.String("reason")))
		},
		done: plainly("revoked; licensectl undo-revoke takes it back while the undo window is open"), same: "is revoked already",
	})
}

func (p *program) undoRevokeCommand() *cli.Command {
	return p.changeCommand(change{
		name: "undo-revoke", usage: "take a revocation back, inside the undo window",
		description: "Example:\n  licensectl undo-revoke lic_01k2m3n4p5q6r7s8t9v0w1x2y3",
		do: func(ctx context.Context, _ *cli.Context, admin *adminclient.Client, id string) (adminwire.Edited, error) {
			return admin.UndoRevoke(ctx, id)
		},
		done: nowIs("not revoked any more"), same: "is not revoked",
	})
}

func (p *program) releaseCommand() *cli.Command {
	return p.changeCommand(change{
		name: "release", usage: "end a licence for good, as after a cancelled order",
		description: "A released licence does not come back.\n\nExample:\n  licensectl release lic_01k2m3n4p5q6r7s8t9v0w1x2y3",
		warn:        func(l adminwire.License) string { return "Release " + describe(l) + " for good?" },
		do: func(ctx context.Context, _ *cli.Context, admin *adminclient.Client, id string) (adminwire.Edited, error) {
			return admin.Release(ctx, id)
		},
		done: plainly("released for good"), same: "is released already",
	})
}
