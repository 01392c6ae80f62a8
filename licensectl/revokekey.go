package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v2"
)

func (p *program) keysRevokeCommand() *cli.Command {
	return &cli.Command{
		Name: "revoke", Usage: "begin to end keys that others may hold: mark them, and write a key set without them",
		UsageText: "licensectl keys revoke KID… [--reason R] [-o F]\n" +
			"licensectl keys revoke --held [--reason R] [-o F]\n" +
			"licensectl keys revoke --withdraw KID",
		Description: "From then on no key set that lists them is proposed or accepted, and no rotation moves to them. Where the key that\n" +
			"signs is among them the next one takes over at once. Writes the next key set, unsigned, without them. Once an\n" +
			"anchor has signed it and it is installed, everything that those keys have signed is refused by every install that\n" +
			"has heard of the new set; installs that call home get a licence under the current key. KID can be an anchor: a set\n" +
			"that the standby signs ends it. licensectl keys drill says at each step what comes next. Key ids are shown by\n" +
			"licensectl keys list.\n\n" +
			"Example:\n" +
			"  licensectl keys revoke 2S3vCkl1yVq0rkPIqBQMjP1O8nxYVnq6sL7KZ0wV9tA --reason \"laptop stolen\" -o next.json\n" +
			"  licensectl keys keyset --sign next.json --anchor /media/usb/primary.pem.age -o next.jwt   (offline)\n" +
			"  licensectl keys keyset --install next.jwt\n" +
			"  licensectl keys drill",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "reason", Value: "not given", Usage: "`WHY`, for the audit log"},
			&cli.BoolFlag{Name: "held", Usage: "all keys whose private halves the daemon holds: its folder, or its machine, was stolen"},
			&cli.StringFlag{Name: "withdraw", Usage: "take the mark from the key `KID`: it was not stolen after all"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`; default: standard output", TakesFile: true},
			yesFlag(),
		},
		Action: p.keysRevoke,
	}
}

func (p *program) keysRevoke(c *cli.Context) error {
	kids := keyNames(c)
	switch {
	case c.IsSet("withdraw") && (len(kids) > 0 || c.Bool("held") || c.IsSet("reason") || c.IsSet("output")):
		return usagef("--withdraw stands alone, with the KID of one key")
	case c.IsSet("withdraw"):
		return p.keepKey(c, c.String("withdraw"))
	case c.Bool("held") && len(kids) > 0:
		return usagef("give either --held or KIDs")
	case !c.Bool("held") && len(kids) == 0:
		return usagef("keys revoke needs the KID of at least one key, as licensectl keys list shows it")
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	if c.Bool("held") {
		list, err := admin.Keys(c.Context)
		if err != nil {
			return err
		}
		kids = heldKeys(list)
	}
	done, err := admin.RevokeKeys(c.Context, c.String("reason"), kids...)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return p.sayWouldMark(done)
	}
	p.noteMarked(done)
	if err := p.proposeKeySet(c); err != nil {
		return fmt.Errorf("the keys are marked, and the next key set is still to be written (licensectl keys keyset --request): %w", err)
	}
	p.note("what comes next, at each step: licensectl keys drill")
	return nil
}

func (p *program) keepKey(c *cli.Context, kid string) error {
	if kid == "" {
		return usagef("--withdraw needs the KID of a key")
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	kept, err := admin.KeepKey(c.Context, kid)
	switch {
	case err != nil:
		return err
	case !kept.Changed:
		return p.say("%s is not being revoked: nothing changed", kept.KID)
	}
	return p.say("%s is not being revoked any more; a key set that is requested from now on lists it", kept.KID)
}

// proposeKeySet writes the next key set, unsigned, without the keys that are being
// revoked.
func (p *program) proposeKeySet(c *cli.Context) error {
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	proposal, err := admin.Proposal(c.Context)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, proposal.KeySet, "", "  "); err != nil {
		return fmt.Errorf("read the daemon's key set: %w", err)
	}
	b.WriteByte('\n')
	if err := p.writeOutput(c, b.Bytes(), 0o644, "unsigned key set"); err != nil {
		return err
	}
	p.note("nothing has changed yet in what verifies: sign it offline with --sign, then hand it in with --install")
	return nil
}
