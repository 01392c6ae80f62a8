package adminclient

import (
	"context"
	"io"
	"net/http"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// ExportEvents writes the audit log to w as it is kept, or what o selects of it:
// one line for each entry, oldest first. Limit and cursor of o do not count.
func (c *Client) ExportEvents(ctx context.Context, o EventOptions, w io.Writer) error {
	o.Limit, o.Cursor, o.Newest = 0, "", false
	return c.stream(ctx, call{method: http.MethodGet, path: adminwire.PathExport, query: o.query(), accept: adminwire.TypeLines}, w)
}

// AuditState says how far the audit log goes, and how far it is signed.
func (c *Client) AuditState(ctx context.Context) (adminwire.AuditState, error) {
	return get[adminwire.AuditState](ctx, c, adminwire.PathEventHead, nil)
}

// Checkpoint has the audit log signed as it stands.
func (c *Client) Checkpoint(ctx context.Context) (adminwire.CheckpointMade, error) {
	return post[adminwire.CheckpointMade](ctx, c, adminwire.PathCheckpoint, nil)
}

// Erase takes a licence's personal data out of the audit log. It looks through all
// of it.
func (c *Client) Erase(ctx context.Context, e adminwire.Erase) (out adminwire.Erased, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: adminwire.PathErase, in: e, out: &out, timeout: slowTimeout})
	return out, err
}
