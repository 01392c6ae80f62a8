package adminwire

import (
	"encoding/json"
	"time"
)

// Paths of the endpoints that are told about events. {webhook} is the name of one.
const (
	PathWebhooks       = Prefix + "/webhooks"
	PathTestWebhook    = Prefix + "/webhooks/{webhook}/test"
	PathEnableWebhook  = Prefix + "/webhooks/{webhook}/enable"
	PathDisableWebhook = Prefix + "/webhooks/{webhook}/disable"
	PathReplayWebhook  = Prefix + "/webhooks/{webhook}/replay"
	PathSkipWebhook    = Prefix + "/webhooks/{webhook}/skip"
	PathForgetWebhook  = Prefix + "/webhooks/{webhook}/forget"
)

// States of a Webhook.
const (
	WebhookOK           = "ok"
	WebhookHolding      = "holding"  // events of some licences fail, others are delivered
	WebhookDown         = "down"     // nothing is delivered
	WebhookDisabled     = "disabled" // nothing is sent
	WebhookUnconfigured = "unconfigured"
)

// WebhookList is all endpoints.
type WebhookList struct {
	Webhooks []Webhook `json:"webhooks"`
}

// Webhook is an endpoint that is told about events, and how far it has been told.
type Webhook struct {
	Name     string   `json:"name"`
	URL      string   `json:"url"`
	State    string   `json:"state" doc:"ok; holding: events of some licences cannot be delivered, others are; down: nothing can; disabled: nothing is sent; unconfigured: it stands in the configuration no more."`
	Events   []string `json:"events" doc:"The types that it is told of, or groups of them; empty for all."`
	Products []string `json:"products" doc:"The products whose licences it is told of; empty for all."`
	Include  []string `json:"include" doc:"What it is told besides: customer, actor, note."`

	Position      int64      `json:"position" doc:"Up to here in the audit log it has been told, but for what is held."`
	Waiting       int        `json:"waiting" doc:"Events that are still to be delivered."`
	WaitingMore   bool       `json:"waiting_more" doc:"There are more than were counted."`
	OldestWaiting *time.Time `json:"oldest_waiting" doc:"When the oldest of them happened; null where there is none."`

	Held           []WebhookHeld    `json:"held" doc:"Events that wait behind one that failed, or are told again, by subject."`
	DownSince      *time.Time       `json:"down_since"`
	NextAttempt    *time.Time       `json:"next_attempt" doc:"While it is down."`
	DisabledAt     *time.Time       `json:"disabled_at"`
	DisabledReason string           `json:"disabled_reason,omitempty"`
	DeliveredAt    *time.Time       `json:"delivered_at" doc:"The last delivery; written once a second."`
	FailedAt       *time.Time       `json:"failed_at"`
	Failure        string           `json:"failure,omitempty" doc:"The last one."`
	GivenUp        int              `json:"given_up" doc:"How many events were given up."`
	LastGivenUp    []WebhookGivenUp `json:"last_given_up" doc:"The last of them, at most 20."`
}

// WebhookHeld are events of one subject that wait.
type WebhookHeld struct {
	Subject  string     `json:"subject" doc:"Id of a licence, or what else the events have in common, as keys."`
	Events   int        `json:"events" doc:"How many are noted."`
	More     bool       `json:"more" doc:"There may be more of them."`
	First    int64      `json:"first" doc:"Position of the first in the audit log; behind this one where none is noted."`
	Attempts int        `json:"attempts" doc:"That failed in a row."`
	Since    *time.Time `json:"since"`
	DueAt    *time.Time `json:"due_at"`
	Failure  string     `json:"failure,omitempty"`
}

// WebhookGivenUp is an event that could not be delivered.
type WebhookGivenUp struct {
	Event   int64     `json:"event" doc:"Position in the audit log."`
	Subject string    `json:"subject"`
	At      time.Time `json:"at"`
	Failure string    `json:"failure"`
}

// WebhookLine is an endpoint in one line.
type WebhookLine struct {
	Name     string   `json:"name"`
	Level    string   `json:"level" doc:"ok, warn or fail."`
	Problems []string `json:"problems"`
}

// WebhookTest is what came of a test delivery.
type WebhookTest struct {
	Webhook      string          `json:"webhook"`
	URL          string          `json:"url"`
	OK           bool            `json:"ok"`
	ID           string          `json:"id" doc:"The webhook-id that was sent."`
	Signatures   int             `json:"signatures" doc:"How many signatures: one for each secret."`
	HTTPStatus   int             `json:"http_status" doc:"0 where nothing was heard."`
	Milliseconds int64           `json:"milliseconds"`
	Answer       string          `json:"answer,omitempty" doc:"The beginning of the answer."`
	Failure      string          `json:"failure,omitempty"`
	Sent         json.RawMessage `json:"sent" doc:"The message."`
}

// WebhookSelection says which events: exactly one of Since and After. License
// restricts it to one licence.
type WebhookSelection struct {
	Since   *time.Time `json:"since,omitempty" doc:"Those that happened at or after this instant."`
	After   *int64     `json:"after,omitempty" minimum:"0" doc:"Those behind this position in the audit log."`
	License string     `json:"license,omitempty" maxLength:"128" doc:"Only those of this licence, by id."`
}

// WebhookSkip says what is not delivered any more: what waits of one subject, or
// everything up to now.
type WebhookSkip struct {
	Subject string `json:"subject,omitempty" maxLength:"128" doc:"A held subject, mostly the id of a licence."`
	All     bool   `json:"all,omitempty" doc:"Everything that has happened up to now."`
}

// WebhookEdited is an endpoint after a change, and whether there was one.
type WebhookEdited struct {
	Webhook Webhook `json:"webhook"`
	Changed bool    `json:"changed"`
	From    int64   `json:"from,omitempty" doc:"Replay: the events behind this position are delivered again."`
}
