package store

import (
	"encoding/json"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// RecordKind says what a Record is.
type RecordKind string

// The kinds of records.
const (
	RecordStatusList  RecordKind = "status_list"  // license.StatusList
	RecordStatusEntry RecordKind = "status_entry" // DumpedEntry
	RecordLicense     RecordKind = "license"      // license.License
	RecordInstall     RecordKind = "install"      // DumpedInstall
	RecordOrder       RecordKind = "order"        // license.Order
	RecordPending     RecordKind = "pending"      // license.Pending
	RecordJob         RecordKind = "job"          // license.Job
	RecordMark        RecordKind = "mark"         // DumpedMark
	RecordValue       RecordKind = "value"        // DumpedValue
	RecordEvent       RecordKind = "event"        // the line that license.AuditHead.Seal wrote, byte for byte
)

// RecordKinds returns all kinds, each after those that it refers to.
func RecordKinds() []RecordKind {
	return []RecordKind{
		RecordStatusList, RecordStatusEntry, RecordLicense, RecordInstall, RecordOrder, RecordPending, RecordJob, RecordMark,
		RecordValue, RecordEvent,
	}
}

// Record is one record, whatever backend keeps it: the JSON of the type that its
// kind names.
type Record struct {
	Kind RecordKind
	Data json.RawMessage
}

// DumpedInstall is an install whose answer, which has to come back byte for
// byte, is not JSON inside JSON.
type DumpedInstall struct {
	license.Install
	Answer []byte `json:"answer,omitzero"`
}

// DumpedEntry is an entry of a status list.
type DumpedEntry struct {
	List    string             `json:"list"`
	Index   int                `json:"index"`
	Status  license.ListStatus `json:"status"`
	FinalAt time.Time          `json:"final_at,omitzero"`
}

// DumpedMark says that a message was taken.
type DumpedMark struct {
	Key   []byte `json:"key"`
	Until int64  `json:"until"` // milliseconds since the epoch
}

// DumpedValue is a small named value.
type DumpedValue struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}
