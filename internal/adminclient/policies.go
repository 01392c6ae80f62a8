package adminclient

import (
	"context"
	"net/url"
	"strconv"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// Upgrade makes a licence another one in place.
func (c *Client) Upgrade(ctx context.Context, id string, u adminwire.Upgrade) (adminwire.Edited, error) {
	return post[adminwire.Edited](ctx, c, withID(adminwire.PathUpgrade, id), u)
}

// TransferOptions select moves to another machine that were asked for.
type TransferOptions struct {
	License string // its id; "" for all
	Limit   int    // of one page; zero leaves it to the daemon
	Cursor  string
}

// Transfers lists the moves to another machine that were asked for.
func (c *Client) Transfers(ctx context.Context, o TransferOptions) (adminwire.TransferList, error) {
	q := url.Values{}
	for name, value := range map[string]string{"license": o.License, "cursor": o.Cursor} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	return get[adminwire.TransferList](ctx, c, adminwire.PathTransfers, q)
}

// ApproveTransfer approves a move to another machine, for one try of it.
func (c *Client) ApproveTransfer(ctx context.Context, id string, d adminwire.DecideTransfer) (adminwire.Decided, error) {
	return post[adminwire.Decided](ctx, c, withID(adminwire.PathTransferApprove, id), d)
}

// DenyTransfer denies a move to another machine.
func (c *Client) DenyTransfer(ctx context.Context, id string, d adminwire.DecideTransfer) (adminwire.Decided, error) {
	return post[adminwire.Decided](ctx, c, withID(adminwire.PathTransferDeny, id), d)
}
