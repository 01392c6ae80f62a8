package console

import (
	"context"
	"net/url"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

const (
	sectionOutbox = "outbox"
	pathOutbox    = Prefix + sectionOutbox
	// allJobs stands in the address instead of one job.
	allJobs = "all"
)

// outbox lists what is still to be told to or asked from marketplaces.
func (v *visit) outbox() {
	l := v.list(sectionOutbox, []string{"job", "jobState", "channel", "license", "created_at", "due_at", "failure", "deeds"},
		field{Name: "state", Kind: "select", Options: words(v, "job", "filter.all", license.JobStates())},
		field{Name: "kind", Kind: "select", Options: words(v, "jobKind", "filter.all", license.JobKinds())},
		field{Name: "channel", Kind: "text", Max: 64},
	)
	l.Path, l.Deeds = pathOutbox+"/"+allJobs, v.offers(jobDeeds(), func(d deed) bool { return d.name == "retry-all" })
	page, err := v.api.Jobs(v.ctx(), adminclient.JobOptions{
		State: license.JobState(v.query("state")), Kind: license.JobKind(v.query("kind")), Channel: v.query("channel"), License: v.query("license"),
		Limit: perPage, Cursor: v.query("cursor"),
	})
	acts := v.who.Role.Covers(authority.RoleAdmin) && len(v.who.Products) == 0
	for _, j := range page.Jobs {
		path := pathOutbox + "/" + url.PathEscape(j.ID)
		row := []fact{
			{Value: string(j.Kind), As: "jobKind", Note: j.ID},
			{Value: string(j.State), As: "job", Badge: string(j.State)},
			{Value: j.Channel, As: "channel"},
			{},
			{Value: j.CreatedAt, As: "time"},
			{Value: j.DueAt, As: "time"},
			{Value: j.Failure, Note: v.site.Text(v.r, "outbox.attempts", j.Attempts)},
			{},
		}
		if j.License != "" {
			row[3] = fact{Value: v.text("orders.toLicense"), Link: licensePath(j.License)}
		}
		if acts {
			row[7] = fact{Links: []link{v.deedLink(path+"/retry", "retry"), v.deedLink(path+"/drop", "drop")}}
		}
		l.Table.Rows = append(l.Table.Rows, row)
	}
	v.showList(l, page.Next, err)
}

func (v *visit) jobAction() { v.serveOne(jobDeeds()) }

// jobDeeds is what can be done to what lies in the outbox.
func jobDeeds() []deed {
	of := func(name string, d deed) deed {
		d.name, d.section, d.least = name, sectionOutbox, authority.RoleAdmin
		d.about = func(v *visit) (subject, error) {
			title := v.r.PathValue("job")
			if title == allJobs {
				title = v.text("section.outbox")
			}
			return subject{Title: title, Back: pathOutbox}, nil
		}
		return d
	}
	return []deed{
		of("retry", deed{do: func(ctx context.Context, v *visit, _ subject) (outcome, error) {
			r, err := v.api.RetryJobs(ctx, adminwire.RetryJobs{Jobs: []string{v.r.PathValue("job")}})
			if err != nil || len(r.Jobs) == 0 {
				return outcome{}, err
			}
			return outcome{Changed: r.Retried > 0, Facts: jobFacts(r.Jobs[0])}, nil
		}}),
		of("drop", deed{danger: true, do: func(ctx context.Context, v *visit, _ subject) (outcome, error) {
			j, err := v.api.DropJob(ctx, v.r.PathValue("job"))
			if err != nil {
				return outcome{}, err
			}
			return outcome{Changed: true, Facts: jobFacts(j)}, nil
		}}),
		of("retry-all", deed{do: func(ctx context.Context, v *visit, _ subject) (outcome, error) {
			r, err := v.api.RetryJobs(ctx, adminwire.RetryJobs{AllParked: true})
			if err != nil {
				return outcome{}, err
			}
			return outcome{Changed: r.Retried > 0, Facts: []fact{{Name: "retried", Value: r.Retried, As: "num"}}}, nil
		}}),
	}
}

func jobFacts(j adminwire.Job) []fact {
	return []fact{
		{Name: "job", Value: string(j.Kind), As: "jobKind"},
		{Name: "channel", Value: j.Channel, As: "channel"},
		{Name: "license", Value: j.License, As: "code"},
		{Name: "created_at", Value: j.CreatedAt, As: "time"},
		{Name: "failure", Value: j.Failure},
	}
}
