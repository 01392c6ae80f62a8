package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
)

func (p *program) keysRevokeCommand() *cli.Command {
	return &cli.Command{
		Name: "revoke", Usage: "begin to end a key that others may hold: write a key set without it",
		UsageText: "licensectl keys revoke KID… [-o F]",
		Description: "Writes the next key set, unsigned, without the keys named. Once an anchor has signed it and it is installed,\n" +
			"everything that those keys have signed is refused by every install that has heard of the new set; installs\n" +
			"that call home get a licence under the current key. Where the key that signs now is the one to end, rotate\n" +
			"first. Key ids are shown by licensectl keys list.\n\n" +
			"Example:\n" +
			"  licensectl keys rotate\n" +
			"  licensectl keys revoke 2S3vCkl1yVq0rkPIqBQMjP1O8nxYVnq6sL7KZ0wV9tA -o next.json\n" +
			"  licensectl keys keyset --sign next.json --anchor /media/usb/primary.pem.age -o next.jwt   (offline)\n" +
			"  licensectl keys keyset --install next.jwt",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`; default: standard output", TakesFile: true},
			yesFlag(),
		},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return usagef("keys revoke needs the KID of at least one key, as licensectl keys list shows it")
			}
			return p.proposeKeySet(c, c.Args().Slice()...)
		},
	}
}

// proposeKeySet writes the next key set, unsigned, without the keys to revoke.
func (p *program) proposeKeySet(c *cli.Context, revoke ...string) error {
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	held, err := admin.Keys(c.Context)
	if err != nil {
		return err
	}
	proposal, err := admin.Proposal(c.Context, revoke...)
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
	for _, k := range held.Keys {
		if k.Role == "current" && slices.Contains(revoke, k.ID) {
			p.note("%s is the key that signs now, and goes on signing until the new set is installed: "+
				"rotate first (licensectl keys rotate), then revoke it", k.ID)
		}
	}
	p.note("nothing has changed yet: sign it offline with --sign, then hand it in with --install")
	return nil
}
