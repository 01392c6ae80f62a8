package adminapi

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// registerMarketplaces adds the calls about marketplace entries and the outbox.
func (s *server) registerMarketplaces(api huma.API) {
	operation.Register(api, get("marketplaces", adminwire.PathMarketplaces, "How all marketplace entries are doing"), s.marketplaces)
	operation.Register(api, get("marketplace", adminwire.PathMarketplace, "How one marketplace entry is doing"), s.marketplace)
	operation.Register(api, post("self-test", adminwire.PathSelfTest, "Send an entry signed debug calls, through the public listener"), s.testEntry)
	operation.Register(api, post("sync", adminwire.PathSync, "Compare the next codes of an entry with what its marketplace says"), s.sync)
	operation.Register(api, get("jobs", adminwire.PathJobs, "What is still to be told to or asked from marketplaces, oldest first"), s.jobs)
	operation.Register(api, post("retry-jobs", adminwire.PathRetryJobs, "Have jobs tried again at once, with all their tries"), s.retryJobs)
	operation.Register(api, post("drop-job", adminwire.PathDropJob, "Give a job up for good: what it was to do is not done"), s.dropJob)
}

// ChannelInput names a marketplace entry. It is exported as IDInput is.
type ChannelInput struct {
	Channel string `path:"channel" maxLength:"64" doc:"Name of a marketplace entry."`
}

func (s *server) marketplaces(ctx context.Context, _ *empty) (*body[adminwire.MarketplaceList], error) {
	out := adminwire.MarketplaceList{Marketplaces: []adminwire.Marketplace{}}
	for _, name := range s.a.Channels() {
		h, err := s.a.Health(ctx, name, true)
		if err != nil {
			return nil, err
		}
		out.Marketplaces = append(out.Marketplaces, shownHealth(h))
	}
	return &body[adminwire.MarketplaceList]{out}, nil
}

func (s *server) marketplace(ctx context.Context, in *ChannelInput) (*body[adminwire.Marketplace], error) {
	h, err := s.a.Health(ctx, in.Channel, true)
	if err != nil {
		return nil, err
	}
	return &body[adminwire.Marketplace]{shownHealth(h)}, nil
}

func (s *server) testEntry(ctx context.Context, in *struct {
	ChannelInput
	URL string `query:"url" maxLength:"512" doc:"The address that is called, as the marketplace has it; none is the daemon's own listener."`
},
) (*body[adminwire.SelfTest], error) {
	t, err := s.selfTest(ctx, in.Channel, in.URL)
	return &body[adminwire.SelfTest]{t}, err
}

func (s *server) sync(ctx context.Context, in *struct {
	ChannelInput
	Body adminwire.Sync
},
) (*body[adminwire.Synced], error) {
	r, err := s.a.SyncNext(ctx, in.Channel, in.Body.Run)
	if err != nil {
		return nil, err
	}
	return &body[adminwire.Synced]{adminwire.Synced{
		Channel: in.Channel, Run: r.Run, Done: r.Done, Total: *shownComparison(&r.Total), Step: shownDifferences(r.Step),
	}}, nil
}

func (s *server) jobs(ctx context.Context, in *struct {
	State   license.JobState `query:"state" maxLength:"16" doc:"waiting or parked."`
	Kind    license.JobKind  `query:"kind" maxLength:"16"`
	Channel string           `query:"channel" maxLength:"64"`
	License string           `query:"license" maxLength:"128" doc:"Id of a licence."`
	PageInput
},
) (*body[adminwire.JobList], error) {
	if in.State != "" && !slices.Contains(license.JobStates(), in.State) {
		return nil, license.FieldErrorf("state", "a job is waiting or parked")
	}
	if in.Kind != "" && !slices.Contains(license.JobKinds(), in.Kind) {
		return nil, license.FieldErrorf("kind", "there is no such kind of job")
	}
	list, next, err := s.a.Jobs(ctx, authority.JobFilter{State: in.State, Kind: in.Kind, Channel: in.Channel, License: in.License},
		in.page())
	if err != nil {
		return nil, err
	}
	out := adminwire.JobList{Jobs: make([]adminwire.Job, 0, len(list)), Next: next}
	for _, j := range list {
		out.Jobs = append(out.Jobs, adminwire.NewJob(j))
	}
	return &body[adminwire.JobList]{out}, nil
}

func (s *server) retryJobs(ctx context.Context, in *body[adminwire.RetryJobs]) (*body[adminwire.RetriedJobs], error) {
	out := adminwire.RetriedJobs{Jobs: []adminwire.Job{}}
	switch b := in.Body; {
	case b.AllParked == (len(b.Jobs) > 0):
		return nil, license.FieldErrorf("jobs", "either jobs or all_parked is given")
	case b.Channel != "" && !b.AllParked:
		return nil, license.FieldErrorf("channel", "it goes with all_parked")
	case b.AllParked:
		var err error
		out.Retried, out.More, err = s.a.RetryParked(ctx, actor(ctx), b.Channel)
		return &body[adminwire.RetriedJobs]{out}, err
	}
	for _, id := range in.Body.Jobs {
		j, err := s.a.RetryJob(ctx, actor(ctx), id)
		if err != nil {
			return nil, jobError(id, err)
		}
		out.Jobs = append(out.Jobs, adminwire.NewJob(j))
		out.Retried++
	}
	return &body[adminwire.RetriedJobs]{out}, nil
}

func (s *server) dropJob(ctx context.Context, in *struct {
	Job string `path:"job" maxLength:"128" doc:"Id of a job."`
},
) (*body[adminwire.Job], error) {
	j, err := s.a.DropJob(ctx, actor(ctx), in.Job)
	if err != nil {
		return nil, jobError(in.Job, err)
	}
	return &body[adminwire.Job]{adminwire.NewJob(j)}, nil
}

// jobError names the job that there is not.
func jobError(id string, err error) error {
	if license.ReasonOf(err) == license.NotFound || license.ReasonOf(err) == license.BadRequest {
		return license.Errorf(license.NotFound, "there is no job %.64q; it may be done by now", id)
	}
	return err
}

// MarketplaceLine is the health of an entry in one line.
func MarketplaceLine(h authority.Health) adminwire.MarketplaceLine {
	out := adminwire.MarketplaceLine{Channel: h.Channel, Level: shownLevel(h), Problems: []string{}}
	for _, p := range worstFirst(h.Problems) {
		if p.Level != authority.LevelNote {
			out.Problems = append(out.Problems, p.Detail)
		}
	}
	return out
}

func shownLevel(h authority.Health) string { return cmp.Or(string(h.Level()), adminwire.LevelOK) }

func worstFirst(list []authority.Problem) []authority.Problem {
	rank := map[authority.Level]int{authority.LevelFail: 0, authority.LevelWarn: 1, authority.LevelNote: 2}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b authority.Problem) int { return rank[a.Level] - rank[b.Level] })
	return list
}

func shownHealth(h authority.Health) adminwire.Marketplace {
	out := adminwire.Marketplace{
		Channel: h.Channel, Level: shownLevel(h), At: h.Now, Zone: h.Zone, FirstProbe: shownTime(h.FirstProbe), LastProbe: shownTime(h.LastProbe),
		LastMessage: shownTime(h.LastMessage), BadDays: h.BadDays, HalfDays: h.HalfDays, Gone: h.Gone, Days: make([]adminwire.Day, 0, len(h.Days)),
		Standings: shownStandings(h.Standings), Failing: shownFailing(h.Failing), FailingAll: len(h.Failing), LostOrders: h.Lost,
		Certificate: shownTime(h.Certificate),
		Outbox:      adminwire.Outbox{Waiting: h.Waiting, Parked: h.Parked, Oldest: shownTime(h.Oldest), ParkedOldest: shownTime(h.ParkedOldest)},
		Compared:    shownComparison(h.Compared), Comparing: shownComparison(h.Comparing), Problems: []adminwire.Finding{},
	}
	for _, d := range h.Days {
		out.Days = append(out.Days, shownDay(d))
	}
	if h.Usage != nil {
		u := adminwire.Usage(*h.Usage)
		u.At = u.At.UTC()
		out.Usage = &u
	}
	if o := h.Orders; o != nil {
		out.Orders = &adminwire.OpenOrder{At: o.At, Open: o.Open, Oldest: shownTime(o.Oldest), Warnings: map[string]int{}}
		for w, n := range o.Warnings {
			out.Orders.Warnings[string(w)] = n
		}
	}
	for _, p := range worstFirst(h.Problems) {
		out.Problems = append(out.Problems, adminwire.Finding{Code: string(p.Code), Level: string(p.Level), Detail: p.Detail, Mend: p.Mend})
	}
	return out
}

func shownStandings(list []authority.Standing) []adminwire.Standing {
	out := make([]adminwire.Standing, 0, len(list))
	for _, s := range list {
		out = append(out, adminwire.Standing{
			Activity: s.Activity, Test: s.Test, Last: s.Last.UTC(), Result: s.Result, LastOK: shownTime(s.LastOK), LastRefused: shownTime(s.LastRefused),
			Refusal: s.Refusal, Field: s.Field, Refused: s.Refused,
		})
	}
	return out
}

// mostFailing is how many messages that fail are shown.
const mostFailing = 20

func shownFailing(list []authority.Failing) []adminwire.Failing {
	list = list[:min(len(list), mostFailing)]
	out := make([]adminwire.Failing, 0, len(list))
	for _, f := range list {
		out = append(out, adminwire.Failing{
			Activity: f.Activity, Kind: f.Kind, Name: f.Name, Since: f.Since.UTC(), Last: f.Last.UTC(), Times: f.Times,
			Result: f.Result, Field: f.Field, GivesUpAt: shownTime(f.GivesUpAt()),
		})
	}
	return out
}

func shownDay(d authority.DayHealth) adminwire.Day {
	half := func(p authority.ProbeCount) adminwire.Probes {
		return adminwire.Probes{OK: p.OK, Refused: p.Refused, Result: p.Result, Field: p.Field}
	}
	out := adminwire.Day{
		Day: d.Day, Probes: string(d.Probes), Morning: half(d.Morning), Afternoon: half(d.Afternoon),
		Callbacks: []adminwire.Callbacks{}, Doubted: map[string]int{},
	}
	for _, c := range d.Callbacks {
		out.Callbacks = append(out.Callbacks, adminwire.Callbacks(c))
		if c.Test {
			continue
		}
		out.Messages += c.Count
		if c.Result != "000000" && c.Result != "000004" {
			out.Failed += c.Count
		}
	}
	for kind, n := range d.Doubted {
		out.Doubted[string(kind)] = n
	}
	return out
}

func shownComparison(r *authority.Reconciled) *adminwire.Compared {
	if r == nil {
		return nil
	}
	return &adminwire.Compared{
		BegunAt: r.BegunAt, EndedAt: shownTime(r.EndedAt), Checked: r.Checked, Repaired: r.Repaired, Own: r.Own, Failed: r.Failed,
		Failure: r.Failure, Differences: shownDifferences(r.Differences),
	}
}

func shownDifferences(list []authority.Difference) []adminwire.Difference {
	out := make([]adminwire.Difference, 0, len(list))
	for _, d := range list {
		out = append(out, adminwire.Difference{License: d.License, Outcome: string(d.Outcome), Before: d.Before, After: d.After, Failure: d.Failure})
	}
	return out
}

func shownTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
