package adminwire

import (
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Paths of the marketplace entries and of the outbox. {channel} is the name of an
// entry, {job} the id of a job.
const (
	PathMarketplace  = Prefix + "/marketplaces/{channel}"
	PathMarketplaces = Prefix + "/marketplaces"
	PathSelfTest     = Prefix + "/marketplaces/{channel}/self-test"
	PathSync         = Prefix + "/marketplaces/{channel}/sync"
	PathJobs         = Prefix + "/jobs"
	PathRetryJobs    = Prefix + "/jobs/retry"
	PathDropJob      = Prefix + "/jobs/{job}/drop"
)

// Levels of a Finding.
const (
	LevelOK   = "ok" // only of a whole: there is none
	LevelNote = "note"
	LevelWarn = "warn"
	LevelFail = "fail"
)

// MarketplaceList is all entries.
type MarketplaceList struct {
	Marketplaces []Marketplace `json:"marketplaces"`
}

// MarketplaceLine is an entry in one line.
type MarketplaceLine struct {
	Channel  string   `json:"channel"`
	Level    string   `json:"level" doc:"ok, note, warn or fail: that of its worst problem."`
	Problems []string `json:"problems" doc:"What is wrong, the worst first."`
}

// Marketplace is how an entry is doing.
type Marketplace struct {
	Channel     string     `json:"channel" doc:"The name of the entry."`
	Level       string     `json:"level" doc:"ok, note, warn or fail: that of its worst problem. With fail it will come to a delisting."`
	At          time.Time  `json:"at"`
	Zone        string     `json:"probe_time_zone" doc:"The zone in which its days begin."`
	FirstProbe  *time.Time `json:"first_probe" doc:"When a probe, or a debug call of the seller console, came first."`
	LastProbe   *time.Time `json:"last_probe"`
	LastMessage *time.Time `json:"last_message" doc:"When a real message came last."`
	BadDays     int        `json:"bad_days" doc:"On how many days in a row up to now probes were refused or missed. After 5 the marketplace freezes trading."`
	Days        []Day      `json:"days" doc:"The last days, at most 14, oldest first."`
	Outbox      Outbox     `json:"outbox"`
	Compared    *Compared  `json:"compared" doc:"The last comparison with the marketplace that came to its end; null where there was none."`
	Comparing   *Compared  `json:"comparing" doc:"The daily comparison that is under way."`
	Orders      *OpenOrder `json:"orders" doc:"The orders that wait for somebody."`
	Problems    []Finding  `json:"problems"`
}

// Finding is something that somebody may have to act on.
type Finding struct {
	Code   string `json:"code"`
	Level  string `json:"level" doc:"note, warn, or fail: left alone, it leads to a delisting."`
	Detail string `json:"detail" doc:"What is wrong."`
	Mend   string `json:"mend" doc:"What to do about it."`
}

// Day is what came in on a day.
type Day struct {
	Day       string         `json:"day"`
	Probes    string         `json:"probes" doc:"ok; half: those of the morning or the afternoon only; refused: at least one; missed; open: none yet today; unknown: before the first ever."`
	Morning   Probes         `json:"morning" doc:"Before noon."`
	Afternoon Probes         `json:"afternoon"`
	Messages  int            `json:"messages" doc:"Real ones."`
	Failed    int            `json:"failed" doc:"Real ones that were not answered with success or 000004."`
	Callbacks []Callbacks    `json:"callbacks" doc:"All that the marketplace has signed, by kind."`
	Doubted   map[string]int `json:"doubted" doc:"What was not taken to be the marketplace's: signature, time, form or copy."`
}

// Probes is how the probes of half a day were answered.
type Probes struct {
	OK      int    `json:"ok"`
	Refused int    `json:"refused"`
	Result  string `json:"result,omitempty" doc:"The result code of the last one that was refused."`
}

// Callbacks is how many callbacks of a kind came.
type Callbacks struct {
	Activity string `json:"activity"`
	Result   string `json:"result"`
	Test     bool   `json:"test" doc:"Probes and debug calls."`
	Count    int    `json:"count"`
}

// Outbox is what is to be told or asked outside.
type Outbox struct {
	Waiting int        `json:"waiting" doc:"1000 means that or more."`
	Parked  int        `json:"parked" doc:"Given up until somebody has them tried again; 1000 means that or more."`
	Oldest  *time.Time `json:"oldest" doc:"Since when the oldest waits."`
}

// OpenOrder is how many orders wait for somebody.
type OpenOrder struct {
	Open     int            `json:"open" doc:"1000 means that or more."`
	Oldest   *time.Time     `json:"oldest" doc:"Since when the one that has not moved for longest is where it is."`
	Warnings map[string]int `json:"warnings" doc:"How many have a warning, by warning."`
}

// Compared is what a comparison of all codes with the marketplace came to.
type Compared struct {
	BegunAt  time.Time  `json:"begun_at"`
	EndedAt  *time.Time `json:"ended_at"`
	Checked  int        `json:"checked" doc:"Codes that were asked about."`
	Repaired int        `json:"repaired" doc:"Licences that were brought to what the marketplace says."`
	Own      int        `json:"own" doc:"Licences whose end the merchant has set: it was left as it is."`
	Failed   int        `json:"failed" doc:"Codes of which the marketplace said nothing that could be believed."`
	Failure  string     `json:"failure,omitempty" doc:"Why, the last time."`
	// Differences are bounded: the numbers count.
	Differences []Difference `json:"differences" doc:"The first hundred of what was repaired, left or not believed."`
}

// Difference is a licence of which the marketplace says something else.
type Difference struct {
	License string         `json:"license"`
	Outcome string         `json:"outcome" doc:"repaired; own: the merchant has set it so; failed: nothing that could be believed was said."`
	Before  map[string]any `json:"before,omitempty"`
	After   map[string]any `json:"after,omitempty" doc:"As the marketplace says."`
	Failure string         `json:"failure,omitempty"`
}

// Sync asks for the next step of a comparison.
type Sync struct {
	Run string `json:"run,omitempty" maxLength:"64" doc:"The run of the answer before; none begins a new comparison."`
}

// Synced is how far a comparison has come.
type Synced struct {
	Channel string       `json:"channel"`
	Run     string       `json:"run"`
	Done    bool         `json:"done"`
	Total   Compared     `json:"total" doc:"Since the comparison began."`
	Step    []Difference `json:"step" doc:"All that this step has found."`
}

// SelfTest is what the marketplace would see of an entry.
type SelfTest struct {
	Channel  string         `json:"channel"`
	OK       bool           `json:"ok"`
	URL      string         `json:"url" doc:"The address that the calls were made for."`
	Listener string         `json:"listener" doc:"The address that was connected to: the daemon's own listener. A proxy in front of it is not tested."`
	TLS      *SelfTestTLS   `json:"tls" doc:"null where the listener speaks plain text."`
	Calls    []SelfTestCall `json:"calls"`
}

// SelfTestTLS is the certificate as a caller sees it.
type SelfTestTLS struct {
	Version  string    `json:"version"`
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"not_after"`
}

// SelfTestCall is one signed debug call.
type SelfTestCall struct {
	Method       string `json:"method"`
	Activity     string `json:"activity"`
	Key          int    `json:"key" doc:"Which of access_key_files has signed it, counted from 1."`
	HTTPStatus   int    `json:"http_status" doc:"0 where there was no answer."`
	Result       string `json:"result" doc:"The result code."`
	Milliseconds int64  `json:"milliseconds"`
	Failure      string `json:"failure,omitempty" doc:"Why the marketplace would not count it as a success."`
}

// Job is a call to a marketplace that is still to be made.
type Job struct {
	ID        string           `json:"id"`
	Kind      license.JobKind  `json:"kind" doc:"order: read an order; deliver: hand a licence over; check: ask about a code; usage: report use."`
	State     license.JobState `json:"state"`
	Channel   string           `json:"channel"`
	License   string           `json:"license"`
	Key       string           `json:"key" doc:"Jobs with one key go one after the other."`
	CreatedAt time.Time        `json:"created_at"`
	DueAt     *time.Time       `json:"due_at" doc:"When it is tried next; null for a parked one."`
	Attempts  int              `json:"attempts"`
	Failure   string           `json:"failure" doc:"Why it failed last."`
	FailedAt  *time.Time       `json:"failed_at"`
	ParkedAt  *time.Time       `json:"parked_at"`
}

// NewJob gives a job its shown form, without what it carries.
func NewJob(j license.Job) Job {
	out := Job{
		ID: j.ID, Kind: j.Kind, State: j.State(), Channel: j.Channel, License: j.License, Key: j.Key, CreatedAt: j.CreatedAt.UTC(),
		Attempts: j.Attempts, Failure: j.Failure, FailedAt: instant(j.FailedAt), ParkedAt: instant(j.ParkedAt),
	}
	if out.State == license.JobWaiting {
		out.DueAt = instant(j.DueAt)
	}
	return out
}

// JobList is a page of jobs.
type JobList struct {
	Jobs []Job  `json:"jobs"`
	Next string `json:"next"`
}

// RetryJobs says which jobs are to be tried again at once: those named, or all
// that were given up.
type RetryJobs struct {
	Jobs      []string `json:"jobs,omitempty" maxItems:"100" doc:"Their ids."`
	AllParked bool     `json:"all_parked,omitempty"`
	Channel   string   `json:"channel,omitempty" maxLength:"64" doc:"With all_parked: only those of this entry."`
}

// RetriedJobs is how many were put back.
type RetriedJobs struct {
	Retried int   `json:"retried"`
	Jobs    []Job `json:"jobs" doc:"Those that were named."`
	More    bool  `json:"more" doc:"There are more that were given up: call again."`
}
