package adminwire

import "time"

// Paths of what is done with the whole store.
const (
	PathBackup = Prefix + "/store/backup"
	PathDump   = Prefix + "/store/dump"
)

// Media types of what is done with the whole store.
const (
	TypeBackup = "application/vnd.licensed.backup"
	TypeDump   = "application/jsonl"
)

// Backups is how it stands with the backups that the daemon makes by itself.
type Backups struct {
	Dir      string     `json:"dir"`
	Every    string     `json:"every" doc:"A duration such as 24h."`
	Last     *time.Time `json:"last" doc:"When the newest good one was made; null where there is none."`
	LastFile string     `json:"last_file,omitempty"`
	Bytes    int64      `json:"bytes,omitempty" doc:"The size of the newest."`
	Kept     int        `json:"kept" doc:"How many there are."`
	Next     *time.Time `json:"next" doc:"When the next one is made, or tried."`
	Late     bool       `json:"late" doc:"The newest is older than it should be by half an interval and more."`
	Failure  string     `json:"failure,omitempty" doc:"Why the last attempt failed; absent where it did not."`
	FailedAt *time.Time `json:"failed_at"`
}
