package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

func (p *program) webhookCommand() *cli.Command {
	forms := outputFlag(formTable, formJSON)
	return &cli.Command{
		Name: "webhook", Category: "Service", Usage: "see how far other systems have been told about events, and have them told again",
		UsageText: "licensectl webhook COMMAND",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "say how far each has been told", UsageText: "licensectl webhook list",
				Description: "Examples:\n  licensectl webhook list\n  licensectl webhook list -o json",
				Flags:       []cli.Flag{outputFlag(formTable, formJSON, formCSV)}, Action: p.webhookList,
			},
			{
				Name: "test", Usage: "make a test delivery and show its answer", UsageText: "licensectl webhook test NAME",
				Description: "Exits 1 where the receiver does not answer with a status from 200 to 299.\n\nExample:\n  licensectl webhook test crm.example.com",
				Flags:       []cli.Flag{forms}, Action: p.webhookTest,
			},
			{
				Name: "replay", Usage: "have events delivered again, under their ids",
				UsageText: "licensectl webhook replay NAME --since TIME|AGE [--license ID|CODE]\nlicensectl webhook replay NAME --after POSITION [--license ID|CODE]",
				Description: "They come from the audit log, in their order; what happens meanwhile comes after them.\n\n" +
					"Examples:\n  licensectl webhook replay crm.example.com --since 24h\n" +
					"  licensectl webhook replay crm.example.com --after 0 --license lic_01k2m3n4p5q6r7s8t9v0w1x2y3",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "since", Usage: "what happened at `TIME` (2027-01-31, from its beginning, or RFC 3339) or later, or within an age such as 24h or 7d"},
					&cli.Int64Flag{Name: "after", Usage: "what lies behind `POSITION` in the audit log; 0 is all of it"},
					&cli.StringFlag{Name: "license", Usage: "only what is about this licence, by `ID` or code"},
					yesFlag(), forms,
				},
				Action: p.webhookReplay,
			},
			{
				Name: "enable", Usage: "have events sent again, those that waited first", UsageText: "licensectl webhook enable NAME",
				Description: "Also has what waits after a failure tried at once.\n\nExample:\n  licensectl webhook enable crm.example.com",
				Flags:       []cli.Flag{yesFlag(), forms}, Action: p.webhookSwitch("enabled", (*adminclient.Client).EnableWebhook),
			},
			{
				Name: "disable", Usage: "have events wait", UsageText: "licensectl webhook disable NAME",
				Description: "Example:\n  licensectl webhook disable crm.example.com",
				Flags:       []cli.Flag{yesFlag(), forms}, Action: p.webhookSwitch("disabled", (*adminclient.Client).DisableWebhook),
			},
			{
				Name: "skip", Usage: "have events not delivered any more",
				UsageText:   "licensectl webhook skip NAME --subject ID\nlicensectl webhook skip NAME --all",
				Description: "A replay brings them back.\n\nExample:\n  licensectl webhook skip crm.example.com --all",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "subject", Usage: "what waits of this `SUBJECT`, mostly the id of a licence"},
					&cli.BoolFlag{Name: "all", Usage: "everything that has happened up to now"},
					yesFlag(), forms,
				},
				Action: p.webhookSkip,
			},
			{
				Name: "forget", Usage: "remove what is kept of one that is not configured any more", UsageText: "licensectl webhook forget NAME",
				Description: "Example:\n  licensectl webhook forget crm.example.com",
				Flags:       []cli.Flag{yesFlag(), forms}, Action: p.webhookForget,
			},
			{
				Name: "secret", Usage: "make a secret for secret_file", UsageText: "licensectl webhook secret",
				Description: "Asks no daemon.\n\nExample:\n  (umask 077; licensectl webhook secret > secrets/crm)",
				Action: func(c *cli.Context) error {
					if _, err := arguments(c); err != nil {
						return err
					}
					key := make([]byte, 32)
					if _, err := rand.Read(key); err != nil {
						return fmt.Errorf("make a secret: %w", err)
					}
					return p.say("whsec_%s", base64.StdEncoding.EncodeToString(key))
				},
			},
		},
		Action: unknownCommand,
	}
}

const webhookName = "the NAME of a webhook"

func (p *program) webhookList(c *cli.Context) error {
	_, f, admin, err := p.begin(c, []string{formTable, formJSON, formCSV})
	if err != nil {
		return err
	}
	list, err := admin.Webhooks(c.Context)
	if err != nil {
		return err
	}
	switch f {
	case formJSON:
		return writeJSON(p.out, list)
	case formCSV:
		return p.webhookCSV(list)
	}
	if len(list.Webhooks) == 0 {
		p.note("no webhooks are configured")
		return nil
	}
	t := newTable("WEBHOOK", "STATE", "POSITION", "WAITING", "HELD", "GIVEN UP", "DELIVERED (UTC)", "~LAST FAILURE")
	for _, w := range list.Webhooks {
		t.add(w.Name, w.State, strconv.FormatInt(w.Position, 10), waitingText(w), strconv.Itoa(len(w.Held)), strconv.Itoa(w.GivenUp), whenShort(w.DeliveredAt, "-"), w.Failure)
	}
	if err := t.flush(p.out); err != nil {
		return err
	}
	for _, w := range list.Webhooks {
		p.webhookNotes(w)
	}
	return nil
}

func waitingText(w adminwire.Webhook) string {
	text := strconv.Itoa(w.Waiting)
	if w.WaitingMore {
		text += "+"
	}
	return text
}

// webhookNotes says what is in the way of an endpoint.
func (p *program) webhookNotes(w adminwire.Webhook) {
	switch w.State {
	case adminwire.WebhookDisabled:
		p.note("%s is disabled since %s: %s; licensectl webhook enable %s", w.Name, when(w.DisabledAt, ""), printable(w.DisabledReason), w.Name)
	case adminwire.WebhookDown:
		p.note("%s: nothing is delivered since %s, the next attempt is at %s", w.Name, when(w.DownSince, ""), when(w.NextAttempt, ""))
	case adminwire.WebhookUnconfigured:
		p.note("%s is not configured; licensectl webhook forget %s removes what is kept of it", w.Name, w.Name)
	}
	const most = 10
	for i, h := range w.Held {
		if i == most {
			p.note("%s: and %s", w.Name, count(len(w.Held)-most, "more subject", "more subjects"))
			break
		}
		more := ""
		if h.More {
			more = " or more"
		}
		p.note("%s: %s waits with %s%s, %s, next at %s: %s", w.Name, printable(h.Subject), count(h.Events, "event", "events"), more,
			count(h.Attempts, "try", "tries"), when(h.DueAt, "once"), printable(h.Failure))
	}
	if len(w.LastGivenUp) > 0 {
		g := w.LastGivenUp[0]
		p.note("%s: event %d of %s was given up at %s; licensectl webhook replay %s --after %d delivers it again", w.Name, g.Event, printable(g.Subject),
			when(&g.At, ""), w.Name, g.Event-1)
	}
}

func (p *program) webhookCSV(list adminwire.WebhookList) error {
	records := [][]string{{"name", "url", "state", "position", "waiting", "oldest_waiting", "held", "given_up", "delivered_at", "failed_at", "failure"}}
	for _, w := range list.Webhooks {
		records = append(records, []string{
			w.Name, w.URL, w.State, strconv.FormatInt(w.Position, 10), strconv.Itoa(w.Waiting), csvTime(w.OldestWaiting), strconv.Itoa(len(w.Held)),
			strconv.Itoa(w.GivenUp), csvTime(w.DeliveredAt), csvTime(w.FailedAt), w.Failure,
		})
	}
	return writeCSV(p.out, records...)
}

func (p *program) webhookTest(c *cli.Context) error {
	args, f, admin, err := p.begin(c, []string{formTable, formJSON}, webhookName)
	if err != nil {
		return err
	}
	t, err := admin.TestWebhook(c.Context, args[0])
	if err != nil {
		return err
	}
	if f == formJSON {
		err = writeJSON(p.out, t)
	} else {
		var list fields
		list.add("sent", string(t.Sent))
		list.add("to", t.URL)
		list.add("webhook-id", t.ID)
		list.add("signatures", strconv.Itoa(t.Signatures))
		status := "nothing"
		if t.HTTPStatus != 0 {
			status = fmt.Sprintf("HTTP %d, after %d ms", t.HTTPStatus, t.Milliseconds)
		}
		list.add("answered", status)
		list.add("answer", t.Answer)
		err = list.write(p.out)
	}
	if err == nil && !t.OK {
		return &statusError{status: exitFailed, text: fmt.Sprintf("the test delivery to %s failed: %s", t.Webhook, printable(t.Failure))}
	}
	return err
}

func (p *program) webhookReplay(c *cli.Context) error {
	args, f, admin, err := p.begin(c, []string{formTable, formJSON}, webhookName)
	if err != nil {
		return err
	}
	var sel adminwire.WebhookSelection
	switch given := c.IsSet("since"); {
	case given == c.IsSet("after"):
		return usagef("replay needs --since or --after, and not both; see %s --help", commandName(c))
	case given:
		at, err := p.readSince(c, c.String("since"))
		if err != nil {
			return err
		}
		sel.Since = &at
	default:
		after := c.Int64("after")
		if after < 0 {
			return usagef("--after must be 0 or more")
		}
		sel.After = &after
	}
	if ref := c.String("license"); ref != "" {
		l, err := admin.Lookup(c.Context, ref)
		if err != nil {
			return err
		}
		sel.License = l.ID
	}
	done, err := admin.ReplayWebhook(c.Context, args[0], sel)
	switch {
	case err != nil:
		return err
	case f == formJSON:
		return writeJSON(p.out, done)
	case !done.Changed:
		return p.say("%s: all of that is still to be delivered, or there is none: nothing changed", done.Webhook.Name)
	case sel.License != "":
		return p.say("%s: the events of %s behind position %d are delivered again", done.Webhook.Name, sel.License, done.From)
	}
	return p.say("%s: the events behind position %d are delivered again: %s", done.Webhook.Name, done.From, waitingText(done.Webhook))
}

// webhookSwitch changes an endpoint by a call that needs its name only.
func (p *program) webhookSwitch(done string, call func(*adminclient.Client, context.Context, string) (adminwire.WebhookEdited, error)) cli.ActionFunc {
	return func(c *cli.Context) error {
		args, f, admin, err := p.begin(c, []string{formTable, formJSON}, webhookName)
		if err != nil {
			return err
		}
		edited, err := call(admin, c.Context, args[0])
		switch {
		case err != nil:
			return err
		case f == formJSON:
			return writeJSON(p.out, edited)
		case !edited.Changed:
			return p.say("%s is %s already: nothing changed", edited.Webhook.Name, done)
		}
		return p.say("%s is %s: %s", edited.Webhook.Name, done, waitingCount(edited.Webhook))
	}
}

func waitingCount(w adminwire.Webhook) string {
	if w.WaitingMore {
		return fmt.Sprintf("more than %d events wait", w.Waiting)
	}
	return count(w.Waiting, "event waits", "events wait")
}

func (p *program) webhookSkip(c *cli.Context) error {
	skip := adminwire.WebhookSkip{Subject: c.String("subject"), All: c.Bool("all")}
	if skip.All == (skip.Subject != "") {
		return usagef("skip needs --subject or --all; see %s --help", commandName(c))
	}
	what := "everything that has happened up to now"
	if !skip.All {
		what = "what waits of " + printable(skip.Subject)
	}
	return p.webhookDestroy(c, "Not deliver "+what+" to %s?", func(admin *adminclient.Client, name string) (adminwire.WebhookEdited, error) {
		return admin.SkipWebhook(c.Context, name, skip)
	}, "%s: it is not delivered any more")
}

func (p *program) webhookForget(c *cli.Context) error {
	return p.webhookDestroy(c, "Forget how far %s has been told?", func(admin *adminclient.Client, name string) (adminwire.WebhookEdited, error) {
		return admin.ForgetWebhook(c.Context, name)
	}, "%s is forgotten; one of this name begins anew")
}

func (p *program) webhookDestroy(c *cli.Context, ask string, do func(*adminclient.Client, string) (adminwire.WebhookEdited, error), said string) error {
	args, f, admin, err := p.begin(c, []string{formTable, formJSON}, webhookName)
	if err != nil {
		return err
	}
	if err := p.canAsk(c); err != nil {
		return err
	}
	if err := p.confirm(c, fmt.Sprintf(ask, printable(args[0]))); err != nil {
		return err
	}
	edited, err := do(admin, args[0])
	switch {
	case err != nil:
		return err
	case f == formJSON:
		return writeJSON(p.out, edited)
	case !edited.Changed:
		return p.say("%s: there was nothing: nothing changed", edited.Webhook.Name)
	}
	return p.say(said, edited.Webhook.Name)
}

// webhookChecks are how the endpoints are doing.
func webhookChecks(s adminwire.Status) []check {
	var list []check
	for _, w := range s.Webhooks {
		c := check{Name: "webhook", Result: checkOK, Detail: w.Name + " is told about events"}
		if len(w.Problems) > 0 {
			c.Detail, c.Mend = w.Name+": "+strings.Join(w.Problems, "; "), "see licensectl webhook list"
		}
		if slices.Contains([]string{checkWarn, checkFail}, w.Level) {
			c.Result = w.Level
		}
		list = append(list, c)
	}
	return list
}
