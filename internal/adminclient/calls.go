package adminclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// ListOptions selects licences; zero fields select all.
type ListOptions struct {
	State          license.State
	Product        string
	Customer       string
	Order          string
	Channel        string
	Last4          string
	Forked         bool   // of which a fork was recorded
	Trial          bool   // only trials
	ExpiringWithin string // a duration as "30d"
	Limit          int    // of one page; zero leaves it to the daemon
	Cursor         string // of the page before
}

func (o ListOptions) query() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("state", string(o.State))
	set("product", o.Product)
	set("customer", o.Customer)
	set("order", o.Order)
	set("channel", o.Channel)
	set("last4", o.Last4)
	set("expiring_within", o.ExpiringWithin)
	set("cursor", o.Cursor)
	if o.Forked {
		set("forked", "true")
	}
	if o.Trial {
		set("trial", "true")
	}
	if o.Limit > 0 {
		set("limit", strconv.Itoa(o.Limit))
	}
	return q
}

// EventOptions selects audit events; zero fields select all.
type EventOptions struct {
	License string
	Action  license.Action
	Since   time.Time
	Newest  bool // the newest first
	Limit   int
	Cursor  string
}

func (o EventOptions) query() url.Values {
	q := url.Values{}
	if o.License != "" {
		q.Set("license", o.License)
	}
	if o.Action != "" {
		q.Set("action", string(o.Action))
	}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.UTC().Format(time.RFC3339))
	}
	if o.Newest {
		q.Set("order", adminwire.OrderNewest)
	}
	if o.Cursor != "" {
		q.Set("cursor", o.Cursor)
	}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	return q
}

// Status says how the daemon is doing.
func (c *Client) Status(ctx context.Context) (adminwire.Status, error) {
	return get[adminwire.Status](ctx, c, adminwire.PathStatus, nil)
}

// Overview says what needs a human, and how many licences there are.
func (c *Client) Overview(ctx context.Context) (adminwire.Overview, error) {
	return get[adminwire.Overview](ctx, c, adminwire.PathOverview, nil)
}

// Issue makes licences: all of them or none. Their codes are in the answer,
// this once.
func (c *Client) Issue(ctx context.Context, order adminwire.Issue) (adminwire.LicenseList, error) {
	return post[adminwire.LicenseList](ctx, c, adminwire.PathLicenses, order)
}

// Licenses returns a page of licences, oldest first.
func (c *Client) Licenses(ctx context.Context, o ListOptions) (adminwire.LicenseList, error) {
	return get[adminwire.LicenseList](ctx, c, adminwire.PathLicenses, o.query())
}

// Lookup returns the licence that ref names, by id or by code. The code
// travels in the body.
func (c *Client) Lookup(ctx context.Context, ref string) (adminwire.License, error) {
	return post[adminwire.License](ctx, c, adminwire.PathLookup, adminwire.Lookup{Ref: ref})
}

// License returns the licence with this id.
func (c *Client) License(ctx context.Context, id string) (adminwire.License, error) {
	return get[adminwire.License](ctx, c, withID(adminwire.PathLicense, id), nil)
}

// Renew moves the end of a licence.
func (c *Client) Renew(ctx context.Context, id string, r adminwire.Renew) (adminwire.Edited, error) {
	return post[adminwire.Edited](ctx, c, withID(adminwire.PathRenew, id), r)
}

// Edit changes the phases of a licence.
func (c *Client) Edit(ctx context.Context, id string, e adminwire.Edit) (adminwire.Edited, error) {
	return post[adminwire.Edited](ctx, c, withID(adminwire.PathEdit, id), e)
}

// Suspend sets the merchant's hold.
func (c *Client) Suspend(ctx context.Context, id string) (adminwire.Edited, error) {
	return post[adminwire.Edited](ctx, c, withID(adminwire.PathSuspend, id), nil)
}

// Resume lifts the merchant's hold.
func (c *Client) Resume(ctx context.Context, id string) (adminwire.Edited, error) {
	return post[adminwire.Edited](ctx, c, withID(adminwire.PathResume, id), nil)
}

// Revoke ends a licence; it can be undone for a while.
func (c *Client) Revoke(ctx context.Context, id, reason string) (adminwire.Edited, error) {
	return post[adminwire.Edited](ctx, c, withID(adminwire.PathRevoke, id), adminwire.Revoke{Reason: reason})
}

// UndoRevoke takes a revocation back, inside the undo window.
func (c *Client) UndoRevoke(ctx context.Context, id string) (adminwire.Edited, error) {
	return post[adminwire.Edited](ctx, c, withID(adminwire.PathUndoRevoke, id), nil)
}

// Release ends a licence for good.
func (c *Client) Release(ctx context.Context, id string) (adminwire.Edited, error) {
	return post[adminwire.Edited](ctx, c, withID(adminwire.PathRelease, id), nil)
}

// RemoveInstall ends one install of a licence; reason is for the audit log and
// may be empty.
func (c *Client) RemoveInstall(ctx context.Context, id, install, reason string) (adminwire.Removed, error) {
	path := strings.Replace(withID(adminwire.PathRemove, id), "{install}", url.PathEscape(install), 1)
	return post[adminwire.Removed](ctx, c, path, adminwire.Remove{Reason: reason})
}

// Answer answers the request of an install that cannot reach the server
// itself, and returns its licence file.
func (c *Client) Answer(ctx context.Context, r wire.Request) ([]byte, error) {
	var file []byte
	err := c.do(ctx, call{method: http.MethodPost, path: adminwire.PathRequests, in: r, accept: wire.TypePEM, raw: &file})
	return file, err
}

// Request makes the same call and returns what the answer consists of. Of a dry
// run there is no more: what is signed does not leave.
func (c *Client) Request(ctx context.Context, r wire.Request) (wire.Answer, error) {
	return post[wire.Answer](ctx, c, adminwire.PathRequests, r)
}

// Events returns a page of the audit log, oldest first.
func (c *Client) Events(ctx context.Context, o EventOptions) (adminwire.EventList, error) {
	return get[adminwire.EventList](ctx, c, adminwire.PathEvents, o.query())
}

// Keys returns the key set as the daemon holds it.
func (c *Client) Keys(ctx context.Context) (adminwire.KeyList, error) {
	return get[adminwire.KeyList](ctx, c, adminwire.PathKeys, nil)
}

// Anchors returns {"anchors": [JWK, …]}, the public halves to compile in,
// primary first.
func (c *Client) Anchors(ctx context.Context) (json.RawMessage, error) {
	return get[json.RawMessage](ctx, c, adminwire.PathAnchors, nil)
}

// Rotate makes the next key the one that signs.
func (c *Client) Rotate(ctx context.Context) (adminwire.Rotated, error) {
	return post[adminwire.Rotated](ctx, c, adminwire.PathRotate, nil)
}

// Proposal returns the next key set, unsigned, for an anchor to sign offline,
// without the keys whose ids are in revoke.
func (c *Client) Proposal(ctx context.Context, revoke ...string) (out adminwire.Proposal, err error) {
	err = c.do(ctx, call{
		method: http.MethodPost, path: adminwire.PathProposal, query: url.Values{"revoke": revoke}, out: &out,
	})
	return out, err
}

// InstallKeySet hands in a key set that an anchor has signed.
func (c *Client) InstallKeySet(ctx context.Context, signed string) (adminwire.KeyList, error) {
	return post[adminwire.KeyList](ctx, c, adminwire.PathKeySet, adminwire.KeySet{Token: signed})
}

// AcceptClock confirms the daemon's clock, which showed the instant shown.
func (c *Client) AcceptClock(ctx context.Context, shown time.Time) (adminwire.ClockAccepted, error) {
	return post[adminwire.ClockAccepted](ctx, c, adminwire.PathClock, adminwire.AcceptClock{Shown: shown})
}

func withID(path, id string) string { return strings.Replace(path, "{id}", url.PathEscape(id), 1) }

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (out T, err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: path, query: query, out: &out})
	return out, err
}

func post[T any](ctx context.Context, c *Client, path string, in any) (out T, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: path, in: in, out: &out})
	return out, err
}
