package console

import (
	"context"
	"slices"
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/console/page"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

const (
	sectionAudit = "audit"
	pathAudit    = Prefix + sectionAudit
)

// auditData is what the page of the audit log shows.
type auditData struct {
	list

	Events []adminwire.Event
	Chain  []fact // nil for somebody who sees some products only
}

// audit lists the audit log.
func (v *visit) audit() {
	l := v.list(sectionAudit, nil,
		field{Name: "action", Kind: "select", Options: v.actions()}, field{Name: "since_day", Kind: "date"}, field{Name: "license", Kind: "text", Max: 128},
	)
	d := auditData{list: l}
	d.Path, d.Deeds = pathAudit, v.offers(auditDeeds(), func(deed) bool { return len(v.who.Products) == 0 })
	if len(v.who.Products) == 0 {
		st, err := v.api.AuditState(v.ctx())
		if err != nil {
			v.refuse(err)
			return
		}
		d.Chain = v.chain(st)
	}
	o := adminclient.EventOptions{Newest: true, License: v.query("license"), Action: license.Action(v.query("action")), Limit: perPage, Cursor: v.query("cursor")}
	since, err := v.time("since_day", v.query("since_day"))
	if since != nil {
		o.Since = *since
	}
	var page adminwire.EventList
	if err == nil {
		page, err = v.api.Events(v.ctx(), o)
	}
	if err != nil {
		r := newRefusal(v.ctx(), err)
		d.Refused = &r
	}
	d.Events, d.pager = page.Events, v.pager(page.Next)
	v.show("audit", sectionAudit, d)
}

// actions are options for the actions that have a name.
func (v *visit) actions() []option {
	out := []option{}
	for _, key := range v.site.Keys(page.English) {
		if action, ok := strings.CutPrefix(key, "action."); ok {
			out = append(out, option{action, v.text(key)})
		}
	}
	slices.SortFunc(out, func(x, y option) int { return strings.Compare(x.Text, y.Text) })
	return append([]option{{"", v.text("filter.all")}}, out...)
}

// chain is how far the audit log goes, and how far it is signed.
func (v *visit) chain(st adminwire.AuditState) []fact {
	facts := []fact{{Name: "entries", Value: st.Head.Seq, As: "num"}, {Name: "head", Value: st.Head.Hash, As: "code"}}
	if c := st.Checkpoint; c != nil {
		return append(facts, fact{Name: "signed_at", Value: c.At, As: "time"},
			fact{Name: "signed_to", Value: c.Head.Seq, As: "num", Note: v.site.Text(v.r, "audit.behind", st.Head.Seq-c.Head.Seq)})
	}
	return append(facts, fact{Name: "signed_to", Value: v.text("audit.unsigned")})
}

func (v *visit) auditAction() { v.serveOne(auditDeeds()) }

func auditDeeds() []deed {
	return []deed{{
		name: "checkpoint", section: sectionAudit, least: authority.RoleAdmin,
		about: func(v *visit) (subject, error) { return subject{Title: v.text("section.audit"), Back: pathAudit}, nil },
		do: func(ctx context.Context, v *visit, _ subject) (outcome, error) {
			made, err := v.api.Checkpoint(ctx)
			if err != nil || made.Checkpoint == nil {
				return outcome{}, err
			}
			return outcome{Changed: made.Changed, Facts: []fact{
				{Name: "signed_to", Value: made.Checkpoint.Head.Seq, As: "num"}, {Name: "head", Value: made.Checkpoint.Head.Hash, As: "code"},
			}}, nil
		},
	}}
}
