package adminclient

import (
	"context"
	"net/http"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// EventLines returns a page of the audit log as it is kept, oldest first.
func (c *Client) EventLines(ctx context.Context, o EventOptions) (adminwire.EventLines, error) {
	return get[adminwire.EventLines](ctx, c, adminwire.PathEventLines, o.query())
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
