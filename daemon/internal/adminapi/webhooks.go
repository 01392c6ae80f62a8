package adminapi

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// Webhooks looks after the endpoints that are told about events.
type Webhooks interface {
	Webhooks(ctx context.Context) ([]adminwire.Webhook, error)
	TestWebhook(ctx context.Context, name string) (adminwire.WebhookTest, error)
	EnableWebhook(ctx context.Context, by license.Actor, name string) (adminwire.WebhookEdited, error)
	DisableWebhook(ctx context.Context, by license.Actor, name string) (adminwire.WebhookEdited, error)
	ReplayWebhook(ctx context.Context, by license.Actor, name string, s adminwire.WebhookSelection) (adminwire.WebhookEdited, error)
	SkipWebhook(ctx context.Context, by license.Actor, name string, s adminwire.WebhookSkip) (adminwire.WebhookEdited, error)
	ForgetWebhook(ctx context.Context, by license.Actor, name string) (adminwire.WebhookEdited, error)
}

// WebhookInput names an endpoint. It is exported as IDInput is.
type WebhookInput struct {
	Webhook string `path:"webhook" maxLength:"64" doc:"Name of an endpoint."`
}

type edited = body[adminwire.WebhookEdited]

// registerWebhooks adds the calls about endpoints.
func registerWebhooks(api huma.API, hooks Webhooks) {
	operation.Register(api, get("webhooks", adminwire.PathWebhooks, "The endpoints that are told about events, and how far they have been told"),
		func(ctx context.Context, _ *empty) (*body[adminwire.WebhookList], error) {
			list, err := hooks.Webhooks(ctx)
			return &body[adminwire.WebhookList]{adminwire.WebhookList{Webhooks: list}}, err
		})
	operation.Register(api, post("test-webhook", adminwire.PathTestWebhook, "Make a test delivery"),
		func(ctx context.Context, in *WebhookInput) (*body[adminwire.WebhookTest], error) {
			t, err := hooks.TestWebhook(ctx, in.Webhook)
			return &body[adminwire.WebhookTest]{t}, err
		})
	for _, change := range []struct {
		id, path, summary string
		do                func(Webhooks, context.Context, license.Actor, string) (adminwire.WebhookEdited, error)
	}{
		{"enable-webhook", adminwire.PathEnableWebhook, "Have events sent again, those that waited first", Webhooks.EnableWebhook},
		{"disable-webhook", adminwire.PathDisableWebhook, "Have events wait", Webhooks.DisableWebhook},
		{"forget-webhook", adminwire.PathForgetWebhook, "Remove what is kept of an endpoint that is not configured any more", Webhooks.ForgetWebhook},
	} {
		operation.Register(api, post(change.id, change.path, change.summary), func(ctx context.Context, in *WebhookInput) (*edited, error) {
			out, err := change.do(hooks, ctx, actor(ctx), in.Webhook)
			return &edited{out}, err
		})
	}
	operation.Register(api, post("replay-webhook", adminwire.PathReplayWebhook, "Have events delivered again, under their ids"),
		func(ctx context.Context, in *struct {
			WebhookInput
			Body adminwire.WebhookSelection
		},
		) (*edited, error) {
			out, err := hooks.ReplayWebhook(ctx, actor(ctx), in.Webhook, in.Body)
			return &edited{out}, err
		})
	operation.Register(api, post("skip-webhook", adminwire.PathSkipWebhook, "Have events not delivered any more"),
		func(ctx context.Context, in *struct {
			WebhookInput
			Body adminwire.WebhookSkip
		},
		) (*edited, error) {
			out, err := hooks.SkipWebhook(ctx, actor(ctx), in.Webhook, in.Body)
			return &edited{out}, err
		})
}
