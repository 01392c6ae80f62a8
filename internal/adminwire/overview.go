package adminwire

import (
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// PathOverview is where the Overview is.
const PathOverview = Prefix + "/overview"

// Overview is what somebody looks at first: what needs a human, and how many licences
// there are.
type Overview struct {
	Now          time.Time         `json:"now"`
	Attention    []Attention       `json:"attention" doc:"What needs a human, the worst first."`
	Census       *Census           `json:"census" doc:"How many licences there are; null until they were counted for the first time."`
	Marketplaces []MarketplaceLine `json:"marketplaces"`
}

// Attention is something that needs a human.
type Attention struct {
	Code   AttentionCode `json:"code"`
	Level  string        `json:"level" doc:"note, warn or fail."`
	About  string        `json:"about,omitempty" doc:"The name of what it is about, where there are several: a marketplace entry, a webhook, a daemon, a kind of key warning."`
	Count  int           `json:"count,omitempty" doc:"How many there are, where they are counted."`
	Detail string        `json:"detail" doc:"What is wrong."`
	Page   string        `json:"page" doc:"Where the console shows it."`
	// Command may have words in capitals that stand for something.
	Command string `json:"command" doc:"The command that shows it, or mends it."`
}

// AttentionCode says what needs a human.
type AttentionCode string

// The codes.
const (
	AttentionNotReady    AttentionCode = "not_ready"
	AttentionClock       AttentionCode = "clock"
	AttentionKeys        AttentionCode = "keys"
	AttentionMarketplace AttentionCode = "marketplace"
	AttentionJobs        AttentionCode = "jobs_parked"
	AttentionOrders      AttentionCode = "orders"
	AttentionTransfers   AttentionCode = "transfers"
	AttentionWebhook     AttentionCode = "webhook"
	AttentionReconcile   AttentionCode = "reconcile"
	AttentionMarks       AttentionCode = "marks"
	AttentionBackups     AttentionCode = "backups"
	AttentionDisk        AttentionCode = "disk"
	AttentionStore       AttentionCode = "store"
	AttentionForks       AttentionCode = "forks"
	AttentionClocksApart AttentionCode = "clocks_apart"
)

// AttentionCodes lists them.
func AttentionCodes() []AttentionCode {
	return []AttentionCode{
		AttentionNotReady, AttentionClock, AttentionKeys, AttentionMarketplace, AttentionJobs, AttentionOrders, AttentionTransfers, AttentionWebhook,
		AttentionReconcile, AttentionMarks, AttentionBackups, AttentionDisk, AttentionStore, AttentionForks, AttentionClocksApart,
	}
}

// Census is how many licences there were when they were counted last.
type Census struct {
	CountedAt time.Time       `json:"counted_at" doc:"States and ends are those of this instant."`
	Total     ProductCensus   `json:"total" doc:"All of them, product absent."`
	Products  []ProductCensus `json:"products" doc:"Each product of which there is a licence, by name. One without a name is all those beyond the first hundred."`
	Days      []CensusDay     `json:"days" doc:"The last 90 days, in the time zone of the daemon, the oldest first."`
}

// ProductCensus is how many licences of a product there are.
type ProductCensus struct {
	Product  string                `json:"product,omitempty"`
	Licenses int                   `json:"licenses"`
	States   map[license.State]int `json:"states" doc:"By state; one of which there is none may be absent."`
	Trials   int                   `json:"trials" doc:"Active ones to try the product out."`
	Ending   Ending                `json:"ending" doc:"Active ones that end soon."`
}

// Ending is how many licences end within some days, those within fewer included.
type Ending struct {
	Within7  int `json:"within_7d"`
	Within30 int `json:"within_30d"`
	Within90 int `json:"within_90d"`
}

// CensusDay is what happened on a day, by what the audit log says.
type CensusDay struct {
	Day       string `json:"day" doc:"Such as 2026-03-01."`
	Activated int    `json:"activated" doc:"Licences, for the first time."`
	Bound     int    `json:"bound" doc:"Installs, those of first activations included."`
	Forks     int    `json:"forks" doc:"Signs of copied installs."`
}
