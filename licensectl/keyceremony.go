package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license/token"
)

func (p *program) keysCeremonyCommand() *cli.Command {
	return &cli.Command{
		Name: "ceremony", Usage: "print a record sheet to read aloud from, compare by, and sign on paper",
		UsageText: "licensectl keys ceremony --dir D\nlicensectl keys ceremony FILE [--anchors F]\n" +
			"licensectl keys ceremony --anchor A [--identity I] [--passphrase-file P] [--anchors F]",
		Description: "With --dir, of the anchors in a key folder; else of a key set, before it is signed or after, which is verified then. With\n" +
			"--anchor, of an anchor whose private half is opened, and signs nothing: the yearly test.\n" +
			"Needs no daemon and no network. Fingerprints are in hexadecimal, four at a time: two people compare them, one\n" +
			"reading from the machine that made them and one from the machine that uses them. docs/key-ceremony.md has the steps.\n\n" +
			"Examples:\n  licensectl keys ceremony --dir ./keys >anchors.txt\n  licensectl keys ceremony next.json\n  licensectl keys ceremony next.jwt --anchors anchors.json",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "the key `FOLDER` whose anchors are recorded", TakesFile: true},
			&cli.StringFlag{Name: "anchor", Usage: "the anchor's private half, a `FILE` that is opened and no more", TakesFile: true},
			&cli.StringFlag{Name: "identity", Usage: "the `FILE` that opens it; default: identity beside it or in the folder above", TakesFile: true},
			passphraseFlag("opens the identity or the anchor"),
			&cli.StringFlag{Name: "anchors", Value: defaultAnchors, Usage: "`FILE` of anchors that verify a signed key set", TakesFile: true},
			outputFlag(formTable, formJSON),
		},
		Action: p.keysCeremony,
	}
}

// ceremonySheet is what keys ceremony prints as JSON.
type ceremonySheet struct {
	File      string        `json:"file,omitempty"`
	SHA256    string        `json:"sha256,omitempty"` // of the file's bytes, in hexadecimal
	SignedBy  string        `json:"signed_by,omitempty"`
	Issuer    string        `json:"issuer,omitempty"`
	Seq       int64         `json:"seq,omitempty"`
	IssuedAt  *time.Time    `json:"issued_at,omitempty"`
	ExpiresAt *time.Time    `json:"expires_at,omitempty"`
	Anchors   []ceremonyKey `json:"anchors,omitempty"`
	Keys      []ceremonyKey `json:"keys,omitempty"`
}

type ceremonyKey struct {
	KID         string     `json:"kid"`
	Fingerprint string     `json:"fingerprint"` // the same as hexadecimal
	Rank        string     `json:"rank,omitempty"`
	NotAfter    *time.Time `json:"not_after,omitempty"`
}

func (p *program) keysCeremony(c *cli.Context) error {
	f, err := form(c, formTable, formJSON)
	if err != nil {
		return err
	}
	dir, anchor := c.String("dir"), c.String("anchor")
	given := c.NArg()
	for _, s := range []string{dir, anchor} {
		if s != "" {
			given++
		}
	}
	if anchor == "" && (c.IsSet("identity") || c.IsSet("passphrase-file")) {
		return usagef("--identity and --passphrase-file go with --anchor")
	}
	var sheet ceremonySheet
	switch {
	case given != 1:
		return usagef("keys ceremony needs one of --dir, --anchor, and a FILE with a key set")
	case anchor != "":
		if sheet, err = openedAnchor(c, anchor); err != nil {
			return err
		}
	case dir != "":
		anchors, err := loadAnchors(filepath.Join(dir, anchorsFile))
		if err != nil {
			return err
		}
		sheet.Anchors = ceremonyAnchors(anchors)
	default:
		if sheet, err = p.sheetOf(c.Args().First(), c.String("anchors")); err != nil {
			return err
		}
	}
	if f == formJSON {
		return writeJSON(p.out, sheet)
	}
	return p.printSheet(sheet)
}

// openedAnchor opens an anchor's private half, and finds it among the anchors that
// products compile in.
func openedAnchor(c *cli.Context, path string) (ceremonySheet, error) {
	pass, err := passphrase(c)
	if err != nil {
		return ceremonySheet{}, err
	}
	anchors, err := loadAnchors(c.String("anchors"))
	if err != nil {
		return ceremonySheet{}, err
	}
	a, err := keys.OpenAnchor(path, keys.AnchorOptions{Identity: c.String("identity"), Passphrase: pass, Anchors: anchors})
	if err != nil {
		return ceremonySheet{}, err
	}
	list := ceremonyAnchors(anchors)
	at := slices.IndexFunc(list, func(k ceremonyKey) bool { return k.KID == a.ID() })
	if at < 0 {
		return ceremonySheet{}, fmt.Errorf("%s opens, and %s is none of the anchors in %s", shown(path), a.ID(), shown(c.String("anchors")))
	}
	list[at].Rank += ", its private half opens"
	return ceremonySheet{Anchors: list[at : at+1]}, nil
}

// sheetOf reads a key set, and verifies it where it is signed.
func (p *program) sheetOf(path, anchorsPath string) (ceremonySheet, error) {
	data, err := p.readInput(path, "key set")
	if err != nil {
		return ceremonySheet{}, err
	}
	sum := sha256.Sum256(data)
	sheet := ceremonySheet{File: path, SHA256: hex.EncodeToString(sum[:])}
	var set token.KeySet
	if trimmed := bytes.TrimSpace(data); bytes.HasPrefix(trimmed, []byte("{")) {
		if set, err = token.ParseUnsignedKeySet(data); err != nil {
			return sheet, fmt.Errorf("read the unsigned key set %s: %w", path, err)
		}
	} else {
		anchors, err := loadAnchors(anchorsPath)
		if err != nil {
			return sheet, err
		}
		if set, err = token.VerifyKeySet(string(trimmed), anchors); err != nil {
			return sheet, fmt.Errorf("verify the key set %s: %w", path, err)
		}
		sheet.Anchors = ceremonyAnchors(anchors)
		sheet.SignedBy = sheet.Anchors[set.Rank].KID
	}
	sheet.Issuer, sheet.Seq, sheet.IssuedAt, sheet.ExpiresAt = set.Issuer, set.Seq, &set.IssuedAt, &set.ExpiresAt
	for _, k := range set.Keys {
		sheet.Keys = append(sheet.Keys, ceremonyKey{KID: k.ID, Fingerprint: fingerprintOf(k.ID), NotAfter: &k.NotAfter})
	}
	return sheet, nil
}

func ceremonyAnchors(anchors token.Anchors) (list []ceremonyKey) {
	for i, a := range anchors {
		kid := token.Thumbprint(a)
		list = append(list, ceremonyKey{KID: kid, Fingerprint: fingerprintOf(kid), Rank: rankName(i)})
	}
	return list
}

// fingerprintOf is a kid in hexadecimal.
func fingerprintOf(kid string) string {
	b, err := base64.RawURLEncoding.DecodeString(kid)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(b)
}

// spoken splits a fingerprint into groups of four, on two lines.
func spoken(s string) []string {
	var lines []string
	for len(s) > 0 {
		var groups []string
		for len(groups) < 8 && len(s) > 0 {
			n := min(4, len(s))
			groups, s = append(groups, s[:n]), s[n:]
		}
		lines = append(lines, strings.Join(groups, " "))
	}
	return lines
}

func (p *program) printSheet(s ceremonySheet) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	finger := func(s string) {
		for _, l := range spoken(s) {
			line("      %s", l)
		}
	}
	line("RECORD OF A KEY CEREMONY, printed %s", p.now().UTC().Format(longTime))
	if s.File != "" {
		what := "unsigned"
		if s.SignedBy != "" {
			what = "signed by " + s.SignedBy
		}
		line("\nKey set no. %d of %s, %s", s.Seq, printable(s.Issuer), what)
		line("   made %s, valid until %s", when(s.IssuedAt, ""), when(s.ExpiresAt, ""))
		line("   file %s, SHA-256", shown(s.File))
		finger(s.SHA256)
	}
	for _, group := range []struct {
		name string
		keys []ceremonyKey
	}{{"Anchor", s.Anchors}, {"Key", s.Keys}} {
		for i, k := range group.keys {
			about := k.Rank
			if k.NotAfter != nil {
				about = "until " + when(k.NotAfter, "")
			}
			line("\n%s %d, %s   [ ] read aloud and compared", group.name, i+1, about)
			line("   %s", k.KID)
			finger(k.Fingerprint)
		}
	}
	line("\nPlace                        Begun              Ended")
	line("Machine (serial)             Medium (seal no.)")
	for _, role := range []string{"Leader", "Operator", "Witness"} {
		line("\n%-9s name                                 signature", role)
	}
	_, err := p.out.Write([]byte(b.String()))
	return err
}
