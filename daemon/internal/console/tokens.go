package console

import (
	"context"
	"net/url"
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

const (
	sectionTokens = "tokens"
	pathTokens    = Prefix + sectionTokens
)

// tokenList lists the admin tokens.
func (v *visit) tokenList() {
	l := v.list(sectionTokens, []string{"token_name", "role", "products", "token_state", "token_created_at", "expires_at", "last_used", "deeds"})
	l.Path, l.Deeds = pathTokens, v.offers([]deed{createToken()}, nil)
	all, err := v.api.Tokens(v.ctx())
	for _, t := range all.Tokens {
		products := strings.Join(t.Products, ", ")
		if products == "" {
			products = v.text("tokens.all")
		}
		row := []fact{
			{Value: t.Name, Note: t.ID},
			{Value: t.Role, As: "role"},
			{Value: products},
			{Value: t.State, As: "token", Badge: tokenBadge(t.State)},
			{Value: t.CreatedAt, As: "day", Note: t.CreatedBy},
			{Value: t.ExpiresAt, As: "day"},
			{Value: t.LastUsed, As: "time"},
			{},
		}
		if t.State == "live" {
			row[7] = fact{Links: []link{v.deedLink(pathTokens+"/"+url.PathEscape(t.ID)+"/revoke-token", "revoke-token")}}
		}
		l.Table.Rows = append(l.Table.Rows, row)
	}
	v.showList(l, "", err)
}

func tokenBadge(state string) string {
	if state == "live" {
		return "ok"
	}
	return "note"
}

func (v *visit) tokenAction() { v.serveOne([]deed{revokeToken()}) }

func (v *visit) newToken() { createToken().serve(v) }

// createToken makes a token, whose text is shown this once.
func createToken() deed {
	return deed{
		name: "create", section: sectionTokens, least: authority.RoleAdmin,
		about: func(v *visit) (subject, error) {
			return subject{Title: v.text("section.tokens"), Back: pathTokens}, nil
		},
		fields: func(v *visit, _ subject) []field {
			return []field{
				{Name: "token_name", Kind: "text", Required: true, Max: 64},
				{
					Name: "role", Kind: "select", Required: true,
					Options: words(v, "role", "form.choose", []authority.Role{authority.RoleViewer, authority.RoleIssuer, authority.RoleAdmin}),
				},
				{Name: "token_products", Kind: "text", Max: 4096},
				{Name: "valid_for", Kind: "text", Max: 32, Value: "90d"},
			}
		},
		do: func(ctx context.Context, v *visit, _ subject) (outcome, error) {
			products := strings.FieldsFunc(v.form("token_products"), func(r rune) bool { return strings.ContainsRune(", ，、;\t\n", r) })
			t, err := v.api.CreateToken(ctx, adminwire.CreateToken{Name: v.form("token_name"), Role: v.form("role"), Products: products, For: v.form("valid_for")})
			if err != nil {
				return outcome{}, err
			}
			return outcome{Changed: true, Secret: t.Token, Facts: v.tokenFacts(t)}, nil
		},
	}
}

func (v *visit) tokenFacts(t adminwire.Token) []fact {
	products := strings.Join(t.Products, ", ")
	if products == "" {
		products = v.text("tokens.all")
	}
	return []fact{
		{Name: "token_name", Value: t.Name},
		{Name: "role", Value: t.Role, As: "role"},
		{Name: "products", Value: products},
		{Name: "expires_at", Value: t.ExpiresAt, As: "time"},
	}
}

// revokeToken ends a token, and what its sessions may do with it.
func revokeToken() deed {
	return deed{
		name: "revoke-token", section: sectionTokens, least: authority.RoleAdmin, danger: true,
		about: func(v *visit) (subject, error) {
			return subject{Title: v.r.PathValue("token"), Back: pathTokens}, nil
		},
		do: func(ctx context.Context, v *visit, _ subject) (outcome, error) {
			r, err := v.api.RevokeToken(ctx, v.r.PathValue("token"))
			if err != nil {
				return outcome{}, err
			}
			return outcome{Changed: r.Changed, Facts: v.tokenFacts(r.Token)}, nil
		},
	}
}
