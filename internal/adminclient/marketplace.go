package adminclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// slowTimeout bounds a call in which the daemon itself waits for a marketplace,
// or for its own listener.
const slowTimeout = 2 * time.Minute

// Marketplaces says how all marketplace entries are doing.
func (c *Client) Marketplaces(ctx context.Context) (adminwire.MarketplaceList, error) {
	return get[adminwire.MarketplaceList](ctx, c, adminwire.PathMarketplaces, nil)
}

// Marketplace says how one is doing.
func (c *Client) Marketplace(ctx context.Context, channel string) (adminwire.Marketplace, error) {
	return get[adminwire.Marketplace](ctx, c, withChannel(adminwire.PathMarketplace, channel), nil)
}

// SelfTest has signed debug calls sent to an entry, through the daemon's public
// listener or, where one is given, to an address as the marketplace has it.
func (c *Client) SelfTest(ctx context.Context, channel, address string) (out adminwire.SelfTest, err error) {
	k := call{method: http.MethodPost, path: withChannel(adminwire.PathSelfTest, channel), out: &out, timeout: slowTimeout}
	if address != "" {
		k.query = url.Values{"url": {address}}
	}
	err = c.do(ctx, k)
	return out, err
}

// Sync does the next step of a comparison with a marketplace: run is that of the
// step before, "" for a new one.
func (c *Client) Sync(ctx context.Context, channel, run string) (out adminwire.Synced, err error) {
	err = c.do(ctx, call{
		method: http.MethodPost, path: withChannel(adminwire.PathSync, channel), in: adminwire.Sync{Run: run}, out: &out, timeout: slowTimeout,
	})
	return out, err
}

// JobOptions selects jobs of the outbox; zero fields select all.
type JobOptions struct {
	State   license.JobState
	Kind    license.JobKind
	Channel string
	License string // its id
	Limit   int    // of one page; zero leaves it to the daemon
	Cursor  string // of the page before
}

func (o JobOptions) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{
		"state": string(o.State), "kind": string(o.Kind), "channel": o.Channel, "license": o.License, "cursor": o.Cursor,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	return q
}

// Jobs returns a page of the outbox, oldest first.
func (c *Client) Jobs(ctx context.Context, o JobOptions) (adminwire.JobList, error) {
	return get[adminwire.JobList](ctx, c, adminwire.PathJobs, o.query())
}

// RetryJobs has jobs tried again at once.
func (c *Client) RetryJobs(ctx context.Context, r adminwire.RetryJobs) (adminwire.RetriedJobs, error) {
	return post[adminwire.RetriedJobs](ctx, c, adminwire.PathRetryJobs, r)
}

// DropJob gives a job up for good.
func (c *Client) DropJob(ctx context.Context, id string) (adminwire.Job, error) {
	return post[adminwire.Job](ctx, c, strings.Replace(adminwire.PathDropJob, "{job}", url.PathEscape(id), 1), nil)
}

func withChannel(path, channel string) string {
	return strings.Replace(path, "{channel}", url.PathEscape(channel), 1)
}
