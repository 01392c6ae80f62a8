package adminclient

import (
	"context"
	"net/http"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// bulkTimeout bounds a call that makes a thousand licences, on a busy daemon.
const bulkTimeout = 2 * time.Minute

// IssueMany makes one licence for each row, or names the rows that are wrong. Where
// key is not empty, the same rows under the same key are issued once, however often
// they are sent.
func (c *Client) IssueMany(ctx context.Context, rows []adminwire.BulkRow, key string) (out adminwire.BulkIssued, err error) {
	if key != "" {
		ctx = WithIdempotencyKey(ctx, key)
	}
	err = c.do(ctx, call{
		method: http.MethodPost, path: adminwire.PathBulk, in: adminwire.BulkIssue{Rows: rows}, out: &out, timeout: bulkTimeout,
	})
	return out, err
}

// MoveOff frees the seat of one machine of a licence for another.
func (c *Client) MoveOff(ctx context.Context, id string, t adminwire.MoveOff) (adminwire.MovedOff, error) {
	return post[adminwire.MovedOff](ctx, c, withID(adminwire.PathTransfer, id), t)
}
