package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// anchorsFile is the public halves in a key folder.
const anchorsFile = "anchors.json"

func (p *program) keysCommand() *cli.Command {
	return &cli.Command{
		Name: "keys", Category: "Signing keys", Usage: "make, look at, rotate, renew and revoke the signing keys",
		UsageText: "licensectl keys COMMAND [OPTIONS]",
		Description: "Anchors are the root keys that products compile in; they stay offline and sign key sets only.\n" +
			"Signing keys sign licences; the daemon holds them.",
		Subcommands: []*cli.Command{
			p.keysInitCommand(), p.keysListCommand(), p.keysRotateCommand(), p.keysRevokeCommand(), p.keysDrillCommand(), p.keysAffectedCommand(), p.keysCeremonyCommand(), p.keysAnchorsCommand(), p.keysetCommand(),
		},
		Action: unknownCommand,
	}
}

func passphraseFlag(what string) cli.Flag {
	return &cli.StringFlag{Name: "passphrase-file", Usage: "`FILE` with the passphrase that " + what, TakesFile: true}
}

// passphrase reads the file that --passphrase-file names.
func passphrase(c *cli.Context) (keys.Passphrase, error) {
	path := c.String("passphrase-file")
	if path == "" {
		return keys.Passphrase{}, nil
	}
	secret, err := config.ReadSecret(path)
	if err != nil {
		return keys.Passphrase{}, usagef("--passphrase-file: %v", err)
	}
	pass, err := keys.ParsePassphrase([]byte(secret.Reveal()))
	if err != nil {
		return keys.Passphrase{}, usagef("--passphrase-file %s: %v", path, err)
	}
	return pass, nil
}

func (p *program) keysInitCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "make anchors, signing keys and data key in a new folder",
		UsageText: "licensectl keys init [--dir D] [--issuer U] [--passphrase-file F]",
		Description: "A daemon makes the same by itself at its first start. With this the anchors can be moved offline before it\n" +
			"ever runs. U is the address under which installs will reach the daemon; it stands in everything signed.\n\n" +
			"Example:\n  licensectl keys init --dir /var/lib/licensed/keys --issuer https://licence.example.com",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Value: defaultKeys, Usage: "the new `FOLDER`: keys in the daemon's data_dir", TakesFile: true},
			&cli.StringFlag{Name: "issuer", Value: config.Default(".").Issuer, Usage: "the issuer's `URL`, as in the daemon's configuration"},
			passphraseFlag("will seal the identity"), yesFlag(), outputFlag(formTable, formJSON),
		},
		Action: p.keysInit,
	}
}

// madeKeys is the json form of keys init.
type madeKeys struct {
	Dir         string   `json:"dir"`
	Issuer      string   `json:"issuer"`
	Anchors     []string `json:"anchors"` // kids, primary first
	Current     string   `json:"current"`
	Next        string   `json:"next"`
	Seq         int64    `json:"seq"`
	ExpiresAt   string   `json:"expires_at"`
	MoveOffline []string `json:"move_offline"`
	CopyOffline string   `json:"copy_offline"`
	Sealed      bool     `json:"sealed"`
}

func (p *program) keysInit(c *cli.Context) error {
	_, f, err := commandLine(c, []string{formTable, formJSON})
	if err != nil {
		return err
	}
	pass, err := passphrase(c)
	if err != nil {
		return err
	}
	if c.String("issuer") == "" {
		return usagef("--issuer must not be empty")
	}
	made, err := keys.Init(c.String("dir"), keys.Options{Issuer: c.String("issuer"), Passphrase: pass, Now: p.now})
	if err != nil {
		return fmt.Errorf("make keys in %s: %w", c.String("dir"), err)
	}
	out := madeKeys{
		Dir: c.String("dir"), Issuer: made.KeySet.Issuer, Current: made.Current, Next: made.Next, Seq: made.KeySet.Seq,
		ExpiresAt:   made.KeySet.ExpiresAt.UTC().Format(time.RFC3339),
		MoveOffline: made.MoveOffline, CopyOffline: made.CopyOffline, Sealed: made.Sealed,
	}
	for _, a := range made.Anchors {
		out.Anchors = append(out.Anchors, token.Thumbprint(a))
	}
	if f == formJSON {
		return writeJSON(p.out, out)
	}
	return p.printMadeKeys(out, made.KeySet.ExpiresAt)
}

func (p *program) printMadeKeys(m madeKeys, expires time.Time) error {
	var f fields
	f.add("made keys in", shown(m.Dir))
	f.add("issuer", m.Issuer)
	for i, kid := range m.Anchors {
		f.add(rankName(i)+" anchor", kid)
	}
	f.add("signing key", m.Current)
	f.add("next key", m.Next)
	f.add("key set", fmt.Sprintf("no. %d, valid until %s", m.Seq, when(&expires, "")))
	if err := f.write(p.out); err != nil {
		return err
	}
	text := "\nMove these files to a medium that is kept offline; the daemon never needs them:\n  " +
		strings.Join(m.MoveOffline, "\n  ") + "\n" +
		"Put a copy of what opens them beside them, else nothing opens them once this folder is lost:\n  " + m.CopyOffline + "\n"
	if m.Sealed {
		text += "It is sealed by the passphrase, which is needed as well: keep it somewhere else.\n"
	}
	return p.say("%sProducts compile in the output of: licensectl keys anchors --dir %s -o json", text, shown(m.Dir))
}

// rankName is what an anchor is called by its place.
func rankName(i int) string {
	switch i {
	case 0:
		return "primary"
	case 1:
		return "standby"
	}
	return fmt.Sprintf("standby %d", i)
}

func (p *program) keysListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the signing keys of the key set in force",
		UsageText:   "licensectl keys list",
		Description: "Example:\n  licensectl keys list -o json",
		Flags:       []cli.Flag{outputFlag(formTable, formJSON, formCSV)},
		Action: func(c *cli.Context) error {
			_, f, admin, err := p.begin(c, []string{formTable, formJSON, formCSV})
			if err != nil {
				return err
			}
			list, err := admin.Keys(c.Context)
			if err != nil {
				return err
			}
			return p.printKeys(f, list)
		},
	}
}

func (p *program) printKeys(f string, list adminwire.KeyList) error {
	switch f {
	case formJSON:
		return writeJSON(p.out, list)
	case formCSV:
		records := [][]string{{"kid", "role", "not_before", "not_after", "private"}}
		for _, k := range list.Keys {
			records = append(records, []string{
				k.ID, k.Role, k.NotBefore.UTC().Format(time.RFC3339), k.NotAfter.UTC().Format(time.RFC3339), fmt.Sprint(k.Private),
			})
		}
		return writeCSV(p.out, records...)
	}
	t := newTable("KEY", "ROLE", "FROM (UTC)", "UNTIL (UTC)", "PRIVATE")
	for _, k := range list.Keys {
		private := "gone"
		if k.Private {
			private = "here"
		}
		t.add(k.ID, k.Role, whenShort(&k.NotBefore, ""), whenShort(&k.NotAfter, ""), private)
	}
	if err := t.flush(p.out); err != nil {
		return err
	}
	p.note("key set no. %d, valid until %s", list.Seq, when(&list.ExpiresAt, ""))
	return nil
}

func (p *program) keysRotateCommand() *cli.Command {
	return &cli.Command{
		Name: "rotate", Usage: "sign with the next key from now on, and destroy the present one",
		UsageText: "licensectl keys rotate [--yes]",
		Description: "Needs no anchor. Licences that the present key has signed stay valid, so it does not ask.\n\n" +
			"Example:\n  licensectl keys rotate",
		Flags: []cli.Flag{yesFlag(), outputFlag(formTable, formJSON)},
		Action: func(c *cli.Context) error {
			_, f, admin, err := p.begin(c, []string{formTable, formJSON})
			if err != nil {
				return err
			}
			r, err := admin.Rotate(c.Context)
			if err != nil {
				return err
			}
			for _, path := range r.Leftover {
				p.note("the private half of a retired key could not be destroyed; remove it by hand: %s", path)
			}
			if f == formJSON {
				return writeJSON(p.out, r)
			}
			if !r.HasNext {
				p.note("there is no next key now: make a new key set with licensectl keys keyset --request, --sign and --install")
			}
			return p.say("rotated: %s signs now, %s is retired and its private half destroyed", r.Current, r.Retired)
		},
	}
}

func (p *program) keysAnchorsCommand() *cli.Command {
	return &cli.Command{
		Name: "anchors", Usage: "print the anchors' public halves, to compile into the product",
		UsageText: "licensectl keys anchors [--dir D] -o json",
		Description: "Without --dir the daemon is asked. The json form is what products and licensectl verify read.\n\n" +
			"Example:\n  licensectl keys anchors -o json >anchors.json",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "read the key `FOLDER` instead of asking the daemon", TakesFile: true},
			outputFlag(formTable, formJSON),
		},
		Action: func(c *cli.Context) error {
			_, f, err := commandLine(c, []string{formTable, formJSON})
			if err != nil {
				return err
			}
			anchors, err := p.anchors(c)
			if err != nil {
				return err
			}
			return p.printAnchors(f, anchors)
		},
	}
}

// anchors reads the anchors from --dir, else from the daemon.
func (p *program) anchors(c *cli.Context) (token.Anchors, error) {
	if dir := c.String("dir"); dir != "" {
		return loadAnchors(filepath.Join(dir, anchorsFile))
	}
	admin, err := p.connect(c)
	if err != nil {
		return nil, err
	}
	data, err := admin.Anchors(c.Context)
	if err != nil {
		return nil, err
	}
	anchors, err := token.ParseAnchors(data)
	if err != nil {
		return nil, fmt.Errorf("read the daemon's anchors: %w", err)
	}
	return anchors, nil
}

// loadAnchors reads a file of anchors. One that is not there or cannot be read
// is a wrong configuration.
func loadAnchors(path string) (token.Anchors, error) {
	data, err := readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("there are no anchors at %s; name the output of licensectl keys anchors -o json", shown(path))
	case err != nil:
		return nil, usagef("read the anchors: %v", err)
	}
	anchors, err := token.ParseAnchors(data)
	if err != nil {
		if l, ok := errors.AsType[*license.Error](err); ok {
			return nil, usagef("the anchors in %s cannot be used: %s", shown(path), l.Detail)
		}
		return nil, usagef("the anchors in %s cannot be used: %v", shown(path), err)
	}
	return anchors, nil
}

func (p *program) printAnchors(f string, anchors token.Anchors) error {
	if f == formJSON {
		data, err := token.MarshalAnchors(anchors)
		if err != nil {
			return fmt.Errorf("print the anchors: %w", err)
		}
		return writeJSON(p.out, json.RawMessage(data))
	}
	t := newTable("RANK", "KEY", "PUBLIC HALF")
	for i, a := range anchors {
		k := token.Key{ID: token.Thumbprint(a), Public: a}
		t.add(rankName(i), k.ID, k.JWK().X)
	}
	return t.flush(p.out)
}
