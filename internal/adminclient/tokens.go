package adminclient

import (
	"context"
	"net/url"
	"strings"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// Tokens returns all tokens, the oldest first.
func (c *Client) Tokens(ctx context.Context) (adminwire.TokenList, error) {
	return get[adminwire.TokenList](ctx, c, adminwire.PathTokens, nil)
}

// CreateToken makes a token. Its text is in the answer, this once.
func (c *Client) CreateToken(ctx context.Context, t adminwire.CreateToken) (adminwire.Token, error) {
	return post[adminwire.Token](ctx, c, adminwire.PathTokens, t)
}

// RevokeToken ends a token at once.
func (c *Client) RevokeToken(ctx context.Context, id string) (adminwire.TokenRevoked, error) {
	path := strings.Replace(adminwire.PathRevokeToken, "{token}", url.PathEscape(id), 1)
	return post[adminwire.TokenRevoked](ctx, c, path, nil)
}

// Self says who calls.
func (c *Client) Self(ctx context.Context) (adminwire.Self, error) {
	return get[adminwire.Self](ctx, c, adminwire.PathSelf, nil)
}
