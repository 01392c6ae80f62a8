package adminwire

import (
	"encoding/json"
	"time"
)

// Paths of reconcile mode, in which a store that was restored from a backup finds
// out what it lost.
const (
	PathRestore       = Prefix + "/restore"
	PathRestoreItems  = Prefix + "/restore/items"
	PathRestoreDecide = Prefix + "/restore/decide"
	PathRestoreFinish = Prefix + "/restore/finish"
)

// RestoreLine is reconcile mode in a line.
type RestoreLine struct {
	BegunAt  time.Time `json:"begun_at"`
	MadeAt   time.Time `json:"made_at" doc:"The newest change that the restored store had."`
	Complete bool      `json:"complete" doc:"What was lost is known in full."`
	Open     int       `json:"open" doc:"How much there is to decide."`
}

// Restore is how it stands with reconcile mode.
type Restore struct {
	Open       bool            `json:"open"`
	BegunAt    *time.Time      `json:"begun_at" doc:"Null where no store was ever restored."`
	FinishedAt *time.Time      `json:"finished_at"`
	Backup     json.RawMessage `json:"backup,omitempty" doc:"What licensectl db restore said of the backup; absent where the file was put back by other means."`
	HeadSeq    int64           `json:"head_seq" doc:"The last position of the audit log in the restored store."`
	HeadAt     *time.Time      `json:"head_at"`
	MarkSeq    int64           `json:"mark_seq" doc:"The last position that was known beside the store; 0 where nothing was."`
	MarkAt     *time.Time      `json:"mark_at"`
	Complete   bool            `json:"complete" doc:"What was lost is known in full."`
	Lost       int             `json:"lost" doc:"How many changes the marks beside the store name that it does not have."`
	Applied    int             `json:"applied" doc:"How many licences were changed by them."`
	Adopted    int             `json:"adopted" doc:"How many installs were known again by the licences that they hold."`
	StatusList string          `json:"status_list" doc:"The status list that new installs draw from since."`
	ToDecide   map[string]int  `json:"to_decide" doc:"How much there is to decide, by kind."`
}

// RestoreItem is something to decide.
type RestoreItem struct {
	ID      string         `json:"id"`
	Kind    string         `json:"kind" doc:"lost_license, lost_install, no_seat or lost_edit."`
	License string         `json:"license"`
	Install string         `json:"install,omitempty"`
	Product string         `json:"product,omitempty"`
	At      time.Time      `json:"at" doc:"When it was last changed, or called."`
	Actions []string       `json:"actions" doc:"What was done to it since the backup, oldest first."`
	Facts   map[string]any `json:"facts,omitempty" doc:"What the licence that an install presented says."`
	Proven  bool           `json:"proven" doc:"An install presented a licence that we signed."`
}

// RestoreItems is a page of them.
type RestoreItems struct {
	Items []RestoreItem `json:"items"`
	Next  string        `json:"next"`
}

// RestoreDecide decides about one of them.
type RestoreDecide struct {
	ID       string `json:"id" maxLength:"512"`
	Decision string `json:"decision" enum:"adopt,drop"`
}

// RestoreFinish closes the mode.
type RestoreFinish struct {
	DropRest bool `json:"drop_rest,omitempty" doc:"Drop what is not decided; else it is refused."`
}

// RestoreFinished is the mode as it ended.
type RestoreFinished struct {
	Restore
	Dropped int `json:"dropped"`
}
