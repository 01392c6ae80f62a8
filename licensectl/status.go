package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/config"
)

func (p *program) statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Category: "Service", Usage: "say how the daemon is doing",
		UsageText: "licensectl status",
		Description: "Exits 1 where the daemon is up but not ready.\n\n" +
			"Examples:\n  licensectl status\n  licensectl --server unix:/var/lib/licensed/admin.sock status -o json",
		Flags: []cli.Flag{outputFlag(formTable, formJSON)},
		Action: func(c *cli.Context) error {
			_, f, admin, err := p.begin(c, []string{formTable, formJSON})
			if err != nil {
				return err
			}
			s, err := admin.Status(c.Context)
			if err != nil {
				return err
			}
			due := p.ordersDue(c.Context, admin)
			if f == formJSON {
				err = writeJSON(p.out, statusReport{s, due})
			} else {
				err = p.printStatus(s, due)
			}
			if err == nil && !s.Ready {
				return &statusError{status: exitFailed, text: "the daemon is not ready: " + cmp.Or(s.NotReady, "its log says why")}
			}
			return err
		},
	}
}

// statusReport is the json form of status.
type statusReport struct {
	adminwire.Status
	Orders *adminwire.OrdersDue `json:"orders"`
}

// ordersDue counts the orders about which there is something to do; nil where the
// daemon cannot say, which keeps nobody from seeing how it is doing.
func (p *program) ordersDue(ctx context.Context, admin *adminclient.Client) *adminwire.OrdersDue {
	due, err := admin.OrdersDue(ctx)
	if err != nil {
		p.note("warning: the orders cannot be counted: %v", err)
		return nil
	}
	return &due
}

// ordersText is what there is to do about orders, "" where that is nothing.
func ordersText(due *adminwire.OrdersDue) string {
	if due == nil || due.Warned == 0 || due.Worst == nil {
		return ""
	}
	text := count(due.Warned, "order needs", "orders need") + " somebody"
	if w := due.Worst.Warnings; len(w) > 0 {
		text += ", first of all " + printable(orderName(*due.Worst)) + ": " + w[len(w)-1].Text
	}
	return text
}

// ordersMend is how to go on about orders.
const ordersMend = "see licensectl order list --warned"

func (p *program) printStatus(s adminwire.Status, due *adminwire.OrdersDue) error {
	state := "ready"
	if !s.Ready {
		state = "not ready"
	}
	var f fields
	f.add("licensed", s.Version+", "+state)
	f.add("up", fmt.Sprintf("%s, since %s", roughly(s.Now.Sub(s.StartedAt)), when(&s.StartedAt, "")))
	f.add("clock", clockText(s, p.now()))
	f.add("issuer", s.Issuer)
	f.add("public", s.Public)
	f.add("operations", s.Ops)
	f.add("store", s.Store+sizeText(s.StoreBytes))
	for _, d := range s.Daemons {
		f.add("daemon", daemonText(d))
	}
	f.add("products", strings.Join(s.Products, ", "))
	f.add("channels", strings.Join(s.Channels, ", "))
	if due != nil && due.Open > 0 {
		f.add("orders", fmt.Sprintf("%d open, %d to be looked at", due.Open, due.Warned))
	}
	if r := s.Restore; r != nil {
		f.add("RECONCILE MODE", fmt.Sprintf("the store was restored as of %s; %d to be decided: licensectl db reconcile list", when(&r.MadeAt, ""), r.Open))
	}
	if s.MarksFailing != "" {
		f.add("MARKS", "cannot be written: "+s.MarksFailing)
	}
	f.add("backups", backupsText(s))
	f.add("key set", fmt.Sprintf("no. %d, valid until %s", s.Keys.Seq, when(&s.Keys.ExpiresAt, "")))
	f.add("signing key", s.Keys.Current)
	if err := f.write(p.out); err != nil {
		return err
	}
	if c := transfersCheck(s); c.Result != checkOK {
		p.note("%s; %s", c.Detail, c.Mend)
	}
	for _, c := range daemonChecks(s) {
		if c.Result != checkOK {
			p.note("warning: %s; %s", c.Detail, c.Mend)
		}
	}
	for _, w := range keyWarnings(s) {
		p.note("warning: %s", w)
	}
	if text := ordersText(due); text != "" {
		p.note("warning: %s; %s", text, ordersMend)
	}
	for _, c := range marketplaceChecks(s) {
		if c.Result != checkOK {
			p.note("warning: marketplace %s; %s", c.Detail, c.Mend)
		}
	}
	for _, c := range webhookChecks(s) {
		if c.Result != checkOK {
			p.note("warning: webhook %s; %s", c.Detail, c.Mend)
		}
	}
	return nil
}

// keyWarnings is what the keeper of the keys should do.
func keyWarnings(s adminwire.Status) (list []string) {
	for _, c := range keyChecks(s) {
		if c.Result != checkOK {
			list = append(list, c.Detail+"; "+c.Mend)
		}
	}
	return list
}

// clockText is the daemon's time, how far this machine's is from it, and what
// the daemon thinks of it.
func clockText(s adminwire.Status, here time.Time) string {
	text := s.Now.UTC().Format(longTime)
	if off := s.Now.Sub(here); off.Abs() > time.Minute {
		text += fmt.Sprintf(", %s from the clock here", roughly(off.Abs()))
	}
	if s.Clock.State != "" && s.Clock.State != adminwire.Trusted {
		text += ", NOT TRUSTED: " + clockOff(s.Clock)
	}
	return text
}

// clockOff says why a clock is not trusted.
func clockOff(c adminwire.Clock) string {
	switch {
	case c.State == adminwire.Apart && c.OthersNow != nil:
		return fmt.Sprintf("%s ahead of the other daemons on the store (%s), which show %s", roughly(c.Now.Sub(*c.OthersNow)), oneLine(c.Others), when(c.OthersNow, ""))
	case c.KeyFrom != nil && c.Now.Before(*c.KeyFrom):
		return "before the signing key was made, " + when(c.KeyFrom, "")
	case c.LastRecord == nil:
		return "its last record cannot be read"
	case c.Now.Before(*c.LastRecord):
		return fmt.Sprintf("%s before its last record, %s", roughly(c.LastRecord.Sub(c.Now)), when(c.LastRecord, ""))
	}
	return fmt.Sprintf("%s past its last record, %s", roughly(c.Now.Sub(*c.LastRecord)), when(c.LastRecord, ""))
}

func sizeText(n int64) string {
	switch {
	case n <= 0:
		return ""
	case n < 1<<20:
		return fmt.Sprintf(", %d KiB", (n+1023)>>10)
	case n < 1<<30:
		return fmt.Sprintf(", %.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf(", %.1f GiB", float64(n)/(1<<30))
}

// roughly shows a duration with two units at most.
func roughly(d time.Duration) string {
	switch {
	case d >= 7*24*time.Hour:
		d = d.Truncate(24 * time.Hour)
	case d >= 48*time.Hour:
		d = d.Truncate(time.Hour)
	case d >= time.Hour:
		d = d.Truncate(time.Minute)
	default:
		d = d.Truncate(time.Second)
	}
	return config.Duration(d).String()
}

// backupsText says in a line how it stands with the backups.
func backupsText(s adminwire.Status) string {
	b := s.Backups
	switch {
	case b == nil:
		return "none are made by schedule (backup.dir)"
	case b.Failure != "":
		return "FAILED: " + b.Failure + "; the last good one is of " + when(b.Last, "never")
	case b.Last == nil:
		return "none yet, in " + b.Dir
	case b.Late:
		return "LATE: the last one is of " + when(b.Last, "")
	}
	return fmt.Sprintf("%d in %s, the last one of %s%s", b.Kept, b.Dir, when(b.Last, ""), sizeText(b.Bytes))
}
