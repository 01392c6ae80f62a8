package console

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

const (
	sectionWebhooks = "webhooks"
	pathWebhooks    = Prefix + sectionWebhooks
	// allSubjects stands in the form instead of one subject.
	allSubjects = "*"
)

func webhookPath(name string) string { return pathWebhooks + "/" + url.PathEscape(name) }

// webhooks lists the endpoints that are told about events.
func (v *visit) webhooks() {
	l := v.list(sectionWebhooks, []string{"webhook", "webhook_state", "waiting", "given_up", "delivered_at", "failure"})
	all, err := v.api.Webhooks(v.ctx())
	for _, w := range all.Webhooks {
		l.Table.Rows = append(l.Table.Rows, []fact{
			{Value: w.Name, Link: webhookPath(w.Name), Note: w.URL},
			{Value: w.State, As: "webhook", Badge: webhookBadge(w.State)},
			waiting(v, w),
			{Value: w.GivenUp, As: "num"},
			{Value: w.DeliveredAt, As: "time"},
			{Value: w.Failure},
		})
	}
	v.showList(l, "", err)
}

func waiting(v *visit, w adminwire.Webhook) fact {
	f := fact{Name: "waiting", Value: w.Waiting, As: "num"}
	if w.WaitingMore {
		f.Note = v.text("keys.orMore")
	}
	return f
}

func webhookBadge(state string) string {
	switch state {
	case adminwire.WebhookDisabled, adminwire.WebhookUnconfigured:
		return "note"
	}
	return state
}

// webhookData is what the page of one endpoint shows.
type webhookData struct {
	W       adminwire.Webhook
	Path    string
	Deeds   []offer
	Facts   []fact
	Held    *table
	More    int // that wait and are not shown
	GivenUp *table
}

// asked is the endpoint that the address names.
func (v *visit) askedWebhook() (adminwire.Webhook, error) {
	all, err := v.api.Webhooks(v.ctx())
	if err != nil {
		return adminwire.Webhook{}, err
	}
	for _, w := range all.Webhooks {
		if w.Name == v.r.PathValue("name") {
			return w, nil
		}
	}
	return adminwire.Webhook{}, license.Errorf(license.NotFound, "there is no webhook endpoint %.64q", v.r.PathValue("name"))
}

// webhook shows one endpoint, what waits for it and what it was not told.
func (v *visit) webhook() {
	w, err := v.askedWebhook()
	if err != nil {
		v.refuse(err)
		return
	}
	d := webhookData{W: w, Path: webhookPath(w.Name), Deeds: v.offers(webhookDeeds(), func(d deed) bool { return webhookOffers(d.name, w.State) })}
	every := func(list []string) string {
		if len(list) == 0 {
			return v.text("webhooks.all")
		}
		return strings.Join(list, ", ")
	}
	d.Facts = []fact{
		{Name: "url", Value: w.URL, As: "code"},
		{Name: "events", Value: every(w.Events)},
		{Name: "products", Value: every(w.Products)},
		{Name: "include", Value: strings.Join(w.Include, ", ")},
		{Name: "position", Value: w.Position, As: "num"},
		waiting(v, w),
		{Name: "oldest_waiting", Value: w.OldestWaiting, As: "time"},
		{Name: "delivered_at", Value: w.DeliveredAt, As: "time"},
		{Name: "failed_at", Value: w.FailedAt, As: "time", Note: w.Failure},
		{Name: "given_up", Value: w.GivenUp, As: "num"},
	}
	if w.DownSince != nil {
		d.Facts = append(d.Facts, fact{Name: "down_since", Value: w.DownSince, As: "time"}, fact{Name: "next_attempt", Value: w.NextAttempt, As: "time"})
	}
	if w.DisabledAt != nil {
		d.Facts = append(d.Facts, fact{Name: "disabled_at", Value: w.DisabledAt, As: "time", Note: w.DisabledReason})
	}
	d.Held = &table{Columns: []string{"subject", "held_events", "attempts", "since", "due_at", "failure", "deeds"}}
	acts := v.who.Role.Covers(authority.RoleAdmin)
	d.More = max(len(w.Held)-perPage, 0)
	for _, h := range w.Held[:min(len(w.Held), perPage)] {
		row := []fact{
			subjectFact(h.Subject),
			{Value: h.Events, As: "num"},
			{Value: h.Attempts, As: "num"},
			{Value: h.Since, As: "time"},
			{Value: h.DueAt, As: "time"},
			{Value: h.Failure},
			{},
		}
		if acts {
			row[6] = fact{Links: []link{v.deedLink(d.Path+"/skip?subject="+url.QueryEscape(h.Subject), "skip")}}
		}
		d.Held.Rows = append(d.Held.Rows, row)
	}
	d.GivenUp = &table{Columns: []string{"event", "subject", "at", "failure"}}
	for _, g := range w.LastGivenUp {
		d.GivenUp.Rows = append(d.GivenUp.Rows, []fact{
			{Value: "#" + strconv.FormatInt(g.Event, 10)}, subjectFact(g.Subject), {Value: g.At, As: "time"}, {Value: g.Failure},
		})
	}
	v.show("webhook", sectionWebhooks, d)
}

// subjectFact leads to a licence where the subject of events is one.
func subjectFact(subject string) fact {
	f := fact{Name: "subject", Value: subject, As: "code"}
	if strings.HasPrefix(subject, license.LicensePrefix) {
		f.Link = licensePath(subject)
	}
	return f
}

func webhookOffers(name, state string) bool {
	switch name {
	case "enable":
		return state == adminwire.WebhookDisabled
	case "disable":
		return state != adminwire.WebhookDisabled && state != adminwire.WebhookUnconfigured
	case "forget":
		return state == adminwire.WebhookUnconfigured
	}
	return state != adminwire.WebhookUnconfigured
}

func (v *visit) webhookAction() { v.serveOne(webhookDeeds()) }

// webhookDeeds is what can be done to an endpoint.
func webhookDeeds() []deed {
	of := func(name string, d deed) deed {
		d.name, d.section, d.least = name, sectionWebhooks, authority.RoleAdmin
		d.about = func(v *visit) (subject, error) {
			w, err := v.askedWebhook()
			return subject{Title: w.Name, Back: webhookPath(w.Name), Shown: w}, err
		}
		return d
	}
	plain := func(call func(*adminclient.Client, context.Context, string) (adminwire.WebhookEdited, error)) func(context.Context, *visit, subject) (outcome, error) {
		return func(ctx context.Context, v *visit, _ subject) (outcome, error) {
			e, err := call(v.api, ctx, v.r.PathValue("name"))
			return webhookOutcome(e), err
		}
	}
	forget := of("forget", deed{danger: true, do: func(ctx context.Context, v *visit, s subject) (outcome, error) {
		out, err := plain((*adminclient.Client).ForgetWebhook)(ctx, v, s)
		out.To = pathWebhooks
		return out, err
	}})
	forget.about = func(v *visit) (subject, error) { // it is gone when the form is sent in twice
		return subject{Title: v.r.PathValue("name"), Back: pathWebhooks}, nil
	}
	return []deed{
		of("test", deed{untried: true, do: testWebhook}),
		of("enable", deed{do: plain((*adminclient.Client).EnableWebhook)}),
		of("disable", deed{do: plain((*adminclient.Client).DisableWebhook)}),
		of("replay", deed{fields: func(*visit, subject) []field {
			return []field{{Name: "since_day", Kind: "date"}, {Name: "after", Kind: "number"}, {Name: "only_license", Kind: "text", Max: 128}}
		}, do: replay}),
		of("skip", deed{danger: true, fields: skipFields, do: func(ctx context.Context, v *visit, _ subject) (outcome, error) {
			skip := adminwire.WebhookSkip{Subject: v.form("subject")}
			if skip.Subject == allSubjects {
				skip = adminwire.WebhookSkip{All: true}
			}
			e, err := v.api.SkipWebhook(ctx, v.r.PathValue("name"), skip)
			return webhookOutcome(e), err
		}}),
		forget,
	}
}

func webhookOutcome(e adminwire.WebhookEdited) outcome {
	return outcome{Changed: e.Changed, Facts: []fact{
		{Name: "webhook_state", Value: e.Webhook.State, As: "webhook"}, {Name: "waiting", Value: e.Webhook.Waiting, As: "num"},
	}}
}

func skipFields(v *visit, s subject) []field {
	w, _ := s.Shown.(adminwire.Webhook)
	choice := []option{{"", v.text("form.choose")}}
	asked := v.query("subject")
	for i, h := range w.Held {
		if i >= perPage && h.Subject != asked {
			continue
		}
		choice = append(choice, option{h.Subject, h.Subject})
	}
	return []field{{Name: "subject", Kind: "select", Required: true, Options: append(choice, option{allSubjects, v.text("webhooks.skipAll")})}}
}

func replay(ctx context.Context, v *visit, _ subject) (outcome, error) {
	s := adminwire.WebhookSelection{License: v.form("only_license")}
	var err error
	if s.Since, err = v.instant("since_day"); err != nil {
		return outcome{}, err
	}
	if v.form("after") != "" {
		n, err := v.number("after")
		if err != nil {
			return outcome{}, err
		}
		after := int64(n)
		s.After = &after
	}
	e, err := v.api.ReplayWebhook(ctx, v.r.PathValue("name"), s)
	if err != nil {
		return outcome{}, err
	}
	out := webhookOutcome(e)
	out.Facts = append(out.Facts, fact{Name: "replay_from", Value: e.From, As: "num"})
	return out, nil
}

func testWebhook(ctx context.Context, v *visit, _ subject) (outcome, error) {
	r, err := v.api.TestWebhook(ctx, v.r.PathValue("name"))
	if err != nil {
		return outcome{}, err
	}
	result := fact{Name: "test_result", Value: "delivered", As: "test", Badge: "ok"}
	if !r.OK {
		result.Value, result.Badge = "failed", "fail"
	}
	facts := []fact{
		result,
		{Name: "url", Value: r.URL, As: "code"},
		{Name: "http_status", Value: r.HTTPStatus, As: "num"},
		{Name: "milliseconds", Value: r.Milliseconds, As: "num"},
		{Name: "failure", Value: r.Failure},
		{Name: "answer", Value: r.Answer, As: "code"},
	}
	return outcome{Changed: true, Facts: facts, Calls: &table{Columns: []string{"sent"}, Rows: [][]fact{{{Value: string(r.Sent), As: "code"}}}}}, nil
}
