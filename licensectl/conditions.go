package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
)

// conditions are what a command that changes something can be told about how.
type conditions struct {
	local    bool // it changes files here, and asks no daemon
	dryRun   bool
	key      bool
	revision bool // it changes one licence
}

var (
	ofFiles   = conditions{local: true}
	ofLicense = conditions{dryRun: true, key: true, revision: true}
	ofStore   = conditions{dryRun: true, key: true}
	ofNothing = conditions{}
)

// changing has a row for every command that changes something, which those are that
// accept --yes; a test says which has none.
var changing = map[string]conditions{
	"issue":            ofStore,
	"renew":            ofLicense,
	"edit":             ofLicense,
	"suspend":          ofLicense,
	"resume":           ofLicense,
	"revoke":           ofLicense,
	"undo-revoke":      ofLicense,
	"release":          ofLicense,
	"install remove":   ofLicense,
	"upgrade":          ofLicense,
	"transfer":         ofLicense,
	"transfer approve": ofStore,
	"transfer deny":    ofStore,
	"order add":        ofStore,
	"order edit":       ofStore,
	"order stage":      ofStore,
	"order link":       ofStore,
	"order import":     ofNothing, // it has a dry run of its own, and a row twice changes nothing
	"identify":         ofStore,
	"proof":            ofStore,
	"sign":             {dryRun: true}, // the same request has the same answer
	"import":           ofFiles,
	"request":          ofFiles,
	"keys init":        ofFiles,
	"keys rotate":      ofStore,
	"keys keyset":      {dryRun: true}, // of --install
	"keys revoke":      {dryRun: true}, // marking a key twice marks it once
	"doctor":           {dryRun: true}, // confirming the clock twice confirms it once

	"marketplace sync":         ofNothing, // many steps
	"marketplace outbox retry": ofStore,
	"marketplace outbox drop":  ofStore,

	"audit checkpoint": ofStore,
	"audit erase":      ofStore,
	"webhook replay":   ofStore,
	"webhook enable":   ofStore,
	"webhook disable":  ofStore,
	"webhook skip":     ofStore,
	"webhook forget":   ofStore,

	"db backup":           ofNothing, // it changes nothing
	"db restore":          ofFiles,
	"db reconcile decide": ofStore,
	"db reconcile finish": ofStore,
	"load":                ofFiles,
	"dump":                ofFiles,

	"token create": {dryRun: true}, // its text is shown once
	"token revoke": ofStore,
}

// condition gives the commands below c what the table says.
func condition(path string, c *cli.Command) {
	path = strings.TrimSpace(path + " " + c.Name)
	for _, sub := range c.Subcommands {
		condition(path, sub)
	}
	can := changing[path]
	if can.dryRun {
		c.Flags = append(c.Flags, &cli.BoolFlag{Name: "dry-run", Usage: "have everything checked and decided, and change nothing"})
	}
	if can.key {
		c.Flags = append(c.Flags, &cli.StringFlag{
			Name: "idempotency-key", Usage: "make this change once: again with the same `KEY` it has the same answer",
		})
	}
	if can.revision {
		c.Flags = append(c.Flags, &cli.Int64Flag{
			Name: "revision", Usage: "only if the licence still has the revision `N` that show -o json has shown",
		})
	}
	action := c.Action
	if action == nil || !can.key && !can.revision {
		return
	}
	c.Action = func(c *cli.Context) error {
		if key := c.String("idempotency-key"); key != "" {
			c.Context = adminclient.WithIdempotencyKey(c.Context, key)
		} else if c.IsSet("idempotency-key") {
			return usagef("--idempotency-key is empty")
		}
		if n := c.Int64("revision"); n > 0 {
			c.Context = adminclient.WithRevision(c.Context, n)
		} else if c.IsSet("revision") {
			return usagef("--revision must be 1 or more")
		}
		return action(c)
	}
}
