package adminclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// Restore says how it stands with reconcile mode.
func (c *Client) Restore(ctx context.Context) (out adminwire.Restore, err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: adminwire.PathRestore, out: &out})
	return out, err
}

// RestoreItems lists what there is to decide after a restore: a page of at most
// limit, where that is not 0, behind cursor.
func (c *Client) RestoreItems(ctx context.Context, limit int, cursor string) (out adminwire.RestoreItems, err error) {
	q := url.Values{}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	err = c.do(ctx, call{method: http.MethodGet, path: adminwire.PathRestoreItems, query: q, out: &out})
	return out, err
}

// RestoreDecide decides about one of them.
func (c *Client) RestoreDecide(ctx context.Context, in adminwire.RestoreDecide) (out adminwire.RestoreItem, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: adminwire.PathRestoreDecide, in: in, out: &out})
	return out, err
}

// RestoreFinish closes reconcile mode.
func (c *Client) RestoreFinish(ctx context.Context, in adminwire.RestoreFinish) (out adminwire.RestoreFinished, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: adminwire.PathRestoreFinish, in: in, out: &out})
	return out, err
}
