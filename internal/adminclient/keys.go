package adminclient

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// RevokeKeys marks keys that others may hold.
func (c *Client) RevokeKeys(ctx context.Context, reason string, kids ...string) (adminwire.KeyRevocations, error) {
	return post[adminwire.KeyRevocations](ctx, c, adminwire.PathKeyRevocations, adminwire.RevokeKeys{Keys: kids, Reason: reason})
}

// KeyRevocations lists the keys that were marked.
func (c *Client) KeyRevocations(ctx context.Context) (adminwire.KeyRevocations, error) {
	return get[adminwire.KeyRevocations](ctx, c, adminwire.PathKeyRevocations, nil)
}

// KeepKey takes the mark from a key.
func (c *Client) KeepKey(ctx context.Context, kid string) (adminwire.KeyKept, error) {
	return post[adminwire.KeyKept](ctx, c, strings.Replace(adminwire.PathKeyKeep, "{kid}", url.PathEscape(kid), 1), nil)
}

// AffectedOptions selects installs by the key that ends their licence.
type AffectedOptions struct {
	Keys   []string // none: all that were marked
	Limit  int      // of one page; zero leaves it to the daemon
	Cursor string   // of the page before
}

// Affected returns a page of the installs that must get a new licence.
func (c *Client) Affected(ctx context.Context, o AffectedOptions) (adminwire.AffectedList, error) {
	q := url.Values{"key": o.Keys}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Cursor != "" {
		q.Set("cursor", o.Cursor)
	}
	return get[adminwire.AffectedList](ctx, c, adminwire.PathKeyAffected, q)
}
