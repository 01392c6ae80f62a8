package main

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license/token"
)

func (p *program) keysetCommand() *cli.Command {
	return &cli.Command{
		Name: "keyset", Usage: "renew the key set: request it here, sign it offline, install it here",
		UsageText: "licensectl keys keyset --request [-o F]\n" +
			"licensectl keys keyset --sign F --anchor A [--identity I] [--passphrase-file P] [-o G]\n" +
			"licensectl keys keyset --install G\n" +
			"licensectl keys keyset",
		Description: "A set lasts 400 days. Signing needs no daemon and no network, only the files.\n" +
			"Without any of these it prints a summary of the set in force.\n\n" +
			"Example:\n" +
			"  licensectl keys keyset --request -o next.json\n" +
			"  licensectl keys keyset --sign next.json --anchor /media/usb/primary.pem.age -o next.jwt   (offline)\n" +
			"  licensectl keys keyset --install next.jwt",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "request", Usage: "write the next key set, unsigned"},
			&cli.StringFlag{Name: "sign", Usage: "sign the key set in `FILE` with an anchor", TakesFile: true},
			&cli.StringFlag{Name: "anchor", Usage: "the anchor's private half, a `FILE`", TakesFile: true},
			&cli.StringFlag{Name: "identity", Usage: "the `FILE` that opens it; default: identity beside it or in the folder above", TakesFile: true},
			passphraseFlag("opens the identity or the anchor"),
			&cli.StringFlag{Name: "install", Usage: "put the signed key set in `FILE` in force", TakesFile: true},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`; without --request and --sign: print as table, json"},
			yesFlag(),
		},
		Action: p.keyset,
	}
}

func (p *program) keyset(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	given := 0
	for _, is := range []bool{c.Bool("request"), c.IsSet("sign"), c.IsSet("install")} {
		if is {
			given++
		}
	}
	if given > 1 {
		return usagef("keyset takes one of --request, --sign and --install at a time")
	}
	if c.Bool("dry-run") && !c.IsSet("install") {
		return usagef("--dry-run goes with --install")
	}
	if !c.IsSet("sign") {
		for _, name := range []string{"anchor", "identity", "passphrase-file"} {
			if c.IsSet(name) {
				return usagef("--%s goes with --sign", name)
			}
		}
	}
	switch {
	case c.Bool("request"):
		return p.proposeKeySet(c)
	case c.IsSet("sign"):
		return p.signKeySet(c)
	case c.IsSet("install"):
		return p.installKeySet(c)
	}
	return p.showKeySet(c)
}

// keySetForm reads -o where it is not a file.
func keySetForm(c *cli.Context) (string, error) {
	if !c.IsSet("output") {
		return formTable, nil
	}
	return form(c, formTable, formJSON)
}

func (p *program) signKeySet(c *cli.Context) error {
	if c.String("anchor") == "" {
		return usagef("--sign needs --anchor, the file with an anchor's private half")
	}
	pass, err := passphrase(c)
	if err != nil {
		return err
	}
	unsigned, err := p.readInput(c.String("sign"), "unsigned key set")
	if err != nil {
		return err
	}
	set, err := token.ParseUnsignedKeySet(unsigned)
	if err != nil {
		return fmt.Errorf("read the unsigned key set %s: %w", c.String("sign"), err)
	}
	anchor, err := keys.OpenAnchor(c.String("anchor"), keys.AnchorOptions{Identity: c.String("identity"), Passphrase: pass})
	if err != nil {
		return err
	}
	signed, err := anchor.SignKeySet(unsigned, p.now())
	if err != nil {
		return err
	}
	p.note("signed with anchor %s:", anchor.ID())
	p.note("  issuer %s, no. %d, valid until %s, %s", printable(set.Issuer), set.Seq, when(&set.ExpiresAt, ""), count(len(set.Keys), "key", "keys"))
	for _, k := range set.Keys {
		p.note("  key %s until %s", k.ID, when(&k.NotAfter, ""))
	}
	return p.writeOutput(c, []byte(signed+"\n"), 0o644, "signed key set")
}

func (p *program) installKeySet(c *cli.Context) error {
	f, err := keySetForm(c)
	if err != nil {
		return err
	}
	data, err := p.readInput(c.String("install"), "signed key set")
	if err != nil {
		return err
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	before, err := admin.Keys(c.Context)
	if err != nil {
		return err
	}
	after, err := admin.InstallKeySet(c.Context, string(bytes.TrimSpace(data)))
	if err != nil {
		return err
	}
	if n := missing(before, after); n > 0 && !c.Bool("dry-run") {
		p.note("%s ended with it; what comes next: licensectl keys drill", count(n, "key has", "keys have"))
	}
	switch {
	case f == formJSON:
		return writeJSON(p.out, after)
	case before.Seq == after.Seq && before.ExpiresAt.Equal(after.ExpiresAt):
		return p.say("key set no. %d is in force already: nothing changed", after.Seq)
	}
	if c.Bool("dry-run") {
		return p.say("key set no. %d would be in force, valid until %s, and %s would end with it (now: no. %d, until %s)", after.Seq,
			when(&after.ExpiresAt, ""), count(missing(before, after), "key", "keys"), before.Seq, when(&before.ExpiresAt, ""))
	}
	return p.say("key set no. %d is in force, valid until %s (before: no. %d, until %s)", after.Seq, when(&after.ExpiresAt, ""),
		before.Seq, when(&before.ExpiresAt, ""))
}

// missing is how many keys of a key set are not in the one after it.
func missing(before, after adminwire.KeyList) (n int) {
	for _, k := range before.Keys {
		if !slices.ContainsFunc(after.Keys, func(is adminwire.Key) bool { return is.ID == k.ID }) {
			n++
		}
	}
	return n
}

func (p *program) showKeySet(c *cli.Context) error {
	f, err := keySetForm(c)
	if err != nil {
		return err
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	s, err := admin.Status(c.Context)
	if err != nil {
		return err
	}
	list, err := admin.Keys(c.Context)
	if err != nil {
		return err
	}
	if f == formJSON {
		return writeJSON(p.out, list)
	}
	left := list.ExpiresAt.Sub(s.Now)
	roles := map[string]int{}
	for _, k := range list.Keys {
		roles[k.Role]++
	}
	var out fields
	out.add("key set", fmt.Sprintf("no. %d of %s", list.Seq, s.Issuer))
	out.add("valid until", fmt.Sprintf("%s (%s)", when(&list.ExpiresAt, ""), remaining(left)))
	out.add("signing key", s.Keys.Current)
	next := "there: licensectl keys rotate moves to it"
	if s.Keys.Ahead > 1 {
		next = fmt.Sprintf("%d, one after the other: licensectl keys rotate moves to the first", s.Keys.Ahead)
	}
	if !s.Keys.HasNext {
		next = "none"
	}
	out.add("next key", next)
	if s.Keys.RotateAt != nil {
		out.add("rotated by schedule", when(s.Keys.RotateAt, ""))
	}
	out.add("retired", count(roles["retired"], "key", "keys"))
	if err := out.write(p.out); err != nil {
		return err
	}
	for _, w := range keyWarnings(s) {
		p.note("warning: %s", w)
	}
	return nil
}

func remaining(d time.Duration) string {
	if d <= 0 {
		return "it has run out"
	}
	return roughly(d) + " left"
}
