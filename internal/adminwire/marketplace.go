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
	HalfDays    int        `json:"half_days" doc:"On how many days in a row up to yesterday only the probes of the morning, or only those of the afternoon, came."`
	Gone        bool       `json:"gone" doc:"No probe has come for 13 whole days: the product is off sale, or frozen."`
	Days        []Day      `json:"days" doc:"The last days, at most 14, oldest first."`
	Standings   []Standing `json:"standings" doc:"How the messages of each activity, and its probes, went last."`
	Failing     []Failing  `json:"failing" doc:"Messages that failed and have not succeeded since, by what they are about: the 20 oldest."`
	FailingAll  int        `json:"failing_all" doc:"How many there are; 64 means that or more."`
	LostOrders  int        `json:"lost_orders" doc:"Orders of this month that did not get a licence. After more than 5 the marketplace takes the product down."`
	Usage       *Usage     `json:"usage" doc:"The last report of how much codes are used; null where there was none."`
	Certificate *time.Time `json:"certificate_ends" doc:"When the certificate of the public listener ends; null where it has none of its own."`
	Outbox      Outbox     `json:"outbox"`
	Compared    *Compared  `json:"compared" doc:"The last comparison with the marketplace that came to its end; null where there was none."`
	Comparing   *Compared  `json:"comparing" doc:"The daily comparison that is under way."`
	Orders      *OpenOrder `json:"orders" doc:"The orders that wait for the merchant or the buyer, as they were looked at last."`
	Problems    []Finding  `json:"problems"`
}

// Finding is something that somebody may have to act on.
type Finding struct {
	Code   string `json:"code"`
	Level  string `json:"level" doc:"note, warn, or fail: left alone, it leads to a delisting."`
	Detail string `json:"detail" doc:"What is wrong."`
	Mend   string `json:"mend" doc:"What to do about it."`
}

// Standing is how the messages of an activity, or its probes, went last.
type Standing struct {
	Activity    string     `json:"activity"`
	Test        bool       `json:"test" doc:"Probes and debug calls."`
	Last        time.Time  `json:"last"`
	Result      string     `json:"result" doc:"The result code of the last one."`
	LastOK      *time.Time `json:"last_ok"`
	LastRefused *time.Time `json:"last_refused"`
	Refusal     string     `json:"refusal,omitempty" doc:"The result code of the last one that was refused or failed."`
	Field       string     `json:"field,omitempty" doc:"The field that it named."`
	Refused     int        `json:"refused" doc:"How many were refused or failed since the last success."`
}

// Failing is a message that failed and has not succeeded since.
type Failing struct {
	Activity  string     `json:"activity"`
	Kind      string     `json:"kind" doc:"What it is about: order, instance or code."`
	Name      string     `json:"name" doc:"The order with its line, the instance, or the last characters of the code."`
	Since     time.Time  `json:"since"`
	Last      time.Time  `json:"last"`
	Times     int        `json:"times"`
	Result    string     `json:"result"`
	Field     string     `json:"field,omitempty"`
	GivesUpAt *time.Time `json:"gives_up_at" doc:"When the marketplace stops repeating it; null where that is not documented."`
}

// Usage is what came of the last reports of how much codes are used.
type Usage struct {
	Day        string    `json:"day" doc:"In UTC."`
	At         time.Time `json:"at" doc:"Of the last report."`
	Codes      int       `json:"codes" doc:"That were reported."`
	Refused    int       `json:"refused" doc:"That the marketplace did not take."`
	Unread     bool      `json:"unread" doc:"The marketplace refused codes of which it cannot be read which."`
	Unreadable int       `json:"unreadable" doc:"That could not be reported: they cannot be read here."`
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
	Doubted   map[string]int `json:"doubted" doc:"What was not taken to be the marketplace's: signature, time, form or copy; v1: a call of licence 1.0, which is switched off."`
}

// Probes is how the probes of half a day were answered.
type Probes struct {
	OK      int    `json:"ok"`
	Refused int    `json:"refused"`
	Result  string `json:"result,omitempty" doc:"The result code of the last one that was refused."`
	Field   string `json:"field,omitempty" doc:"The field that it named."`
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
	Parked  int        `json:"parked" doc:"Given up until somebody has them tried again; 1000 means that or more. Reports of use are not among them."`
	Oldest  *time.Time `json:"oldest" doc:"Since when the oldest waits."`
	// ParkedOldest is absent where none was given up.
	ParkedOldest *time.Time `json:"parked_oldest" doc:"When the oldest of those was given up."`
}

// OpenOrder is how many orders wait for the merchant or the buyer.
type OpenOrder struct {
	At       time.Time      `json:"at" doc:"When they were looked at."`
	Open     int            `json:"open"`
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
	Listener string         `json:"listener" doc:"The address that was connected to: the daemon's own listener, so that a proxy in front of it is not tested. Empty where an address was given."`
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
