package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

func (p *program) tokenCommand() *cli.Command {
	return &cli.Command{
		Name: "token", Category: "Service", Usage: "let staff and scripts reach the daemon over the network",
		UsageText: "licensectl token create|list|revoke [OPTIONS]",
		Description: "A token is what --token-file holds for an https:// server. Its role says what it may do: a viewer looks at\n" +
			"everything but codes, an issuer makes licences and looks after them, an admin does all. On the socket no token is needed.",
		Subcommands: []*cli.Command{p.tokenCreateCommand(), p.tokenListCommand(), p.tokenRevokeCommand()},
		Action:      unknownCommand,
	}
}

func (p *program) tokenCreateCommand() *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "make a token, and print it this once",
		UsageText: "licensectl token create --name N --role R [OPTIONS]",
		Description: "The daemon keeps a digest of the token only: what is not written down now is lost.\n\n" +
			"Examples:\n" +
			"  licensectl token create --name reseller --role issuer --product cad-pro --write p.token\n" +
			"  licensectl token create --name auditor --role viewer --for 7d",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "what the audit log calls whoever uses it, `NAME` (required)"},
			&cli.StringFlag{Name: "role", Usage: "`ROLE` (required): viewer, issuer, admin"},
			&cli.StringSliceFlag{Name: "product", Usage: "only for the product with this `ID` (repeatable; default: all)"},
			&cli.StringFlag{Name: "for", Value: "90d", Usage: "how `LONG` it is valid, at most 400d"},
			&cli.StringFlag{Name: "write", TakesFile: true, Usage: "write it to a new `FILE` that only you can read, instead of printing it"},
			yesFlag(), outputFlag(formTable, formJSON),
		},
		Action: p.tokenCreate,
	}
}

func (p *program) tokenCreate(c *cli.Context) error {
	create := adminwire.CreateToken{
		Name: strings.TrimSpace(c.String("name")), Role: c.String("role"), Products: c.StringSlice("product"), For: c.String("for"),
	}
	switch {
	case create.Name == "":
		return usagef("token create needs --name")
	case create.Role == "":
		return usagef("token create needs --role: viewer, issuer or admin")
	}
	_, f, admin, err := p.begin(c, []string{formTable, formJSON})
	if err != nil {
		return err
	}
	path := c.String("write")
	var file *os.File
	if path != "" && !c.Bool("dry-run") { // before the token is made: afterwards it could not be shown again
		file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return usagef("%s exists; a token is written to a new file", shown(path))
		}
		if err != nil {
			return usagef("--write: %v", err)
		}
	}
	made, err := admin.CreateToken(c.Context, create)
	if err != nil {
		if file != nil {
			err = errors.Join(err, file.Close(), os.Remove(path))
		}
		return fmt.Errorf("create a token: %w", err)
	}
	if file != nil {
		if err := writeToken(file, made.Token); err != nil {
			return fmt.Errorf("token %s was made and could not be written; revoke it: %w", made.ID, err)
		}
		made.Token = ""
	}
	if f == formJSON {
		return writeJSON(p.out, made)
	}
	var rows fields
	rows.add("token", made.Token)
	if file != nil {
		rows.add("written to", shown(path))
	}
	rows.add("id", made.ID)
	rows.add("name", made.Name)
	rows.add("role", made.Role)
	rows.add("products", productsOf(made))
	rows.add("expires", when(&made.ExpiresAt, ""))
	if err := rows.write(p.out); err != nil {
		return err
	}
	if made.Token != "" {
		p.note("the token is not shown again")
	}
	return nil
}

func writeToken(file *os.File, text string) error {
	_, err := file.WriteString(text + "\n")
	return errors.Join(err, file.Sync(), file.Close())
}

func productsOf(t adminwire.Token) string {
	if len(t.Products) == 0 {
		return "all"
	}
	return strings.Join(t.Products, ", ")
}

func (p *program) tokenListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the tokens, oldest first", UsageText: "licensectl token list [OPTIONS]",
		Description: "Those that have ended are shown for another 90 days.\n\nExample:\n  licensectl token list -o json",
		Flags:       []cli.Flag{outputFlag(formTable, formJSON, formCSV)},
		Action: func(c *cli.Context) error {
			_, f, admin, err := p.begin(c, []string{formTable, formJSON, formCSV})
			if err != nil {
				return err
			}
			list, err := admin.Tokens(c.Context)
			if err != nil {
				return fmt.Errorf("list tokens: %w", err)
			}
			return p.printTokens(f, list)
		},
	}
}

func (p *program) printTokens(f string, list adminwire.TokenList) error {
	switch f {
	case formJSON:
		return writeJSON(p.out, list)
	case formCSV:
		records := [][]string{{"id", "name", "role", "products", "state", "created_at", "created_by", "expires_at", "last_used", "revoked_at"}}
		for _, t := range list.Tokens {
			records = append(records, []string{
				t.ID, t.Name, t.Role, strings.Join(t.Products, " "), t.State, csvTime(&t.CreatedAt), t.CreatedBy, csvTime(&t.ExpiresAt),
				csvTime(t.LastUsed), csvTime(t.RevokedAt),
			})
		}
		return writeCSV(p.out, records...)
	}
	t := newTable("TOKEN", "~NAME", "ROLE", "~PRODUCTS", "STATE", "EXPIRES (UTC)", "LAST USED")
	for _, k := range list.Tokens {
		t.add(k.ID, k.Name, k.Role, productsOf(k), k.State, whenShort(&k.ExpiresAt, ""), whenShort(k.LastUsed, "never"))
	}
	return t.flush(p.out)
}

func (p *program) tokenRevokeCommand() *cli.Command {
	return &cli.Command{
		Name: "revoke", Usage: "end a token at once", UsageText: "licensectl token revoke ID",
		Description: "Whoever uses it is refused from the next call on. It cannot be undone: make another one.\n\n" +
			"Example:\n  licensectl token revoke tok_mzxw6ytboi4tkmrq",
		Flags:  []cli.Flag{yesFlag(), outputFlag(formTable, formJSON)},
		Action: p.tokenRevoke,
	}
}

func (p *program) tokenRevoke(c *cli.Context) error {
	args, f, admin, err := p.begin(c, []string{formTable, formJSON}, "the ID of a token")
	if err != nil {
		return err
	}
	if err := p.canAsk(c); err != nil {
		return err
	}
	t, err := tokenNamed(c, admin, args[0])
	if err != nil {
		return err
	}
	if err := p.confirm(c, fmt.Sprintf("Revoke token %s (%s, %s)?", t.ID, t.Name, t.Role)); err != nil {
		return err
	}
	done, err := admin.RevokeToken(c.Context, t.ID)
	switch {
	case err != nil:
		return fmt.Errorf("revoke token %s: %w", t.ID, err)
	case f == formJSON:
		return writeJSON(p.out, done)
	case !done.Changed:
		return p.say("token %s was revoked before: nothing changed", t.ID)
	}
	return p.say("token %s (%s) is revoked", t.ID, t.Name)
}

// tokenNamed returns the token with an id.
func tokenNamed(c *cli.Context, admin *adminclient.Client, id string) (adminwire.Token, error) {
	list, err := admin.Tokens(c.Context)
	if err != nil {
		return adminwire.Token{}, fmt.Errorf("list tokens: %w", err)
	}
	for _, t := range list.Tokens {
		if t.ID == id {
			return t, nil
		}
	}
	return adminwire.Token{}, notFoundf("there is no token %s; see licensectl token list", printable(id))
}
