package adminclient

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// Webhooks says how far the endpoints have been told about events.
func (c *Client) Webhooks(ctx context.Context) (adminwire.WebhookList, error) {
	return get[adminwire.WebhookList](ctx, c, adminwire.PathWebhooks, nil)
}

// TestWebhook has a test delivery made.
func (c *Client) TestWebhook(ctx context.Context, name string) (out adminwire.WebhookTest, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: withWebhook(adminwire.PathTestWebhook, name), out: &out, timeout: slowTimeout})
	return out, err
}

// EnableWebhook has events sent again.
func (c *Client) EnableWebhook(ctx context.Context, name string) (adminwire.WebhookEdited, error) {
	return post[adminwire.WebhookEdited](ctx, c, withWebhook(adminwire.PathEnableWebhook, name), nil)
}

// DisableWebhook has events wait.
func (c *Client) DisableWebhook(ctx context.Context, name string) (adminwire.WebhookEdited, error) {
	return post[adminwire.WebhookEdited](ctx, c, withWebhook(adminwire.PathDisableWebhook, name), nil)
}

// ForgetWebhook removes what is kept of an endpoint that is not configured.
func (c *Client) ForgetWebhook(ctx context.Context, name string) (adminwire.WebhookEdited, error) {
	return post[adminwire.WebhookEdited](ctx, c, withWebhook(adminwire.PathForgetWebhook, name), nil)
}

// ReplayWebhook has events delivered again.
func (c *Client) ReplayWebhook(ctx context.Context, name string, s adminwire.WebhookSelection) (out adminwire.WebhookEdited, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: withWebhook(adminwire.PathReplayWebhook, name), in: s, out: &out, timeout: slowTimeout})
	return out, err
}

// SkipWebhook has events not delivered any more.
func (c *Client) SkipWebhook(ctx context.Context, name string, s adminwire.WebhookSkip) (adminwire.WebhookEdited, error) {
	return post[adminwire.WebhookEdited](ctx, c, withWebhook(adminwire.PathSkipWebhook, name), s)
}

func withWebhook(path, name string) string {
	return strings.Replace(path, "{webhook}", url.PathEscape(name), 1)
}
