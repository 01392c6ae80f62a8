package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/config"
)

// warnKeySet is how long before its end a key set is worth a warning.
const warnKeySet = 90 * 24 * time.Hour

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
			if f == formJSON {
				err = writeJSON(p.out, s)
			} else {
				err = p.printStatus(s)
			}
			if err == nil && !s.Ready {
				return &statusError{status: exitFailed, text: "the daemon is not ready; its log says why"}
			}
			return err
		},
	}
}

func (p *program) printStatus(s adminwire.Status) error {
	state := "ready"
	if !s.Ready {
		state = "not ready"
	}
	var f fields
	f.add("licensed", s.Version+", "+state)
	f.add("up", fmt.Sprintf("%s, since %s", roughly(s.Now.Sub(s.StartedAt)), when(&s.StartedAt, "")))
	f.add("clock", clockText(s.Now, p.now()))
	f.add("issuer", s.Issuer)
	f.add("public", s.Public)
	f.add("operations", s.Ops)
	f.add("store", s.Store+sizeText(s.StoreBytes))
	f.add("products", strings.Join(s.Products, ", "))
	f.add("channels", strings.Join(s.Channels, ", "))
	f.add("key set", fmt.Sprintf("no. %d, valid until %s", s.Keys.Seq, when(&s.Keys.ExpiresAt, "")))
	f.add("signing key", s.Keys.Current)
	if err := f.write(p.out); err != nil {
		return err
	}
	for _, w := range keyWarnings(s) {
		p.note("warning: %s", w)
	}
	return nil
}

// keyWarnings is what the keeper of the keys should do.
func keyWarnings(s adminwire.Status) (list []string) {
	switch left := s.Keys.ExpiresAt.Sub(s.Now); {
	case left <= 0:
		list = append(list, "the key set has run out; make a new one with licensectl keys keyset --request, --sign and --install")
	case left < warnKeySet:
		list = append(list, fmt.Sprintf("the key set runs out in %s; make a new one with licensectl keys keyset --request, --sign and --install", roughly(left)))
	}
	if !s.Keys.HasNext {
		list = append(list, "there is no next signing key, so the present one cannot be rotated; make a new key set")
	}
	if len(s.Keys.AnchorsPresent) > 0 {
		list = append(list, "private halves of anchors lie beside the daemon; move them offline:\n  "+
			strings.Join(s.Keys.AnchorsPresent, "\n  "))
	}
	return list
}

// clockText is the daemon's time, and how far this machine's is from it.
func clockText(daemon, here time.Time) string {
	text := daemon.UTC().Format(longTime)
	if off := daemon.Sub(here); off.Abs() > time.Minute {
		text += fmt.Sprintf(", %s from the clock here", roughly(off.Abs()))
	}
	return text
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
