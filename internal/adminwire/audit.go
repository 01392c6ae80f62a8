package adminwire

import (
	"strconv"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Paths of the audit log's own form.
const (
	PathEventLines = Prefix + "/events/lines"
	PathExport     = Prefix + "/events/export"
	PathEventHead  = Prefix + "/events/head"
	PathCheckpoint = Prefix + "/events/checkpoint"
	PathErase      = Prefix + "/events/erase"
)

// OrderNewest asks for the newest events first.
const OrderNewest = "newest"

// TypeLines is the media type of an export: JSON Lines.
const TypeLines = "application/jsonl"

// EventLines is a page of the audit log as it is kept and exported.
type EventLines struct {
	Lines []string `json:"lines" doc:"Each is one line of the chain, byte for byte, without a line break."`
	Next  string   `json:"next"`
}

// AuditHead stands for the audit log up to an entry.
type AuditHead struct {
	Seq  int64  `json:"seq" doc:"Position of the entry; 0 where the log is empty."`
	Hash string `json:"hash" doc:"Its hash, in base64url."`
}

// NewAuditHead gives a head its shown form.
func NewAuditHead(h license.AuditHead) AuditHead {
	return AuditHead{Seq: h.Seq, Hash: h.HashText()}
}

// String is the form that audit verify --head reads, "12:<base64url>".
func (h AuditHead) String() string { return strconv.FormatInt(h.Seq, 10) + ":" + h.Hash }

// AuditState is how far the audit log goes, and how far it is signed.
type AuditState struct {
	Head       AuditHead   `json:"head"`
	Checkpoint *Checkpoint `json:"checkpoint" doc:"The newest; null where there is none."`
}

// Checkpoint is a signed head of the audit log.
type Checkpoint struct {
	Seq   int64     `json:"seq" doc:"Position of the entry that holds it."`
	At    time.Time `json:"at"`
	Head  AuditHead `json:"head" doc:"What it signs."`
	Token string    `json:"token" doc:"The signed form, audit-checkpoint+jwt."`
}

// CheckpointMade is the newest checkpoint, and whether it was made just now.
type CheckpointMade struct {
	Checkpoint *Checkpoint `json:"checkpoint" doc:"Null where the log is empty."`
	Changed    bool        `json:"changed"`
}

// Erase asks for the personal data of a licence to be taken out of the audit log.
type Erase struct {
	License  string `json:"license" maxLength:"512" doc:"The licence, by id or by code."`
	Reason   string `json:"reason" minLength:"1" maxLength:"512" doc:"Stays in the log for good: the number of a request, no name."`
	Customer bool   `json:"customer,omitempty" doc:"Clear the licence's customer too."`
}

// Erased says what was erased.
type Erased struct {
	License  string `json:"license"`
	To       int64  `json:"to" doc:"Up to which entry the log holds no personal data of this licence any more."`
	Entries  int    `json:"entries" doc:"From how many some was taken out."`
	Customer bool   `json:"customer" doc:"Whether the licence's customer was cleared."`
	Reason   bool   `json:"revoke_reason" doc:"Whether the reason of its revocation was cleared."`
	Changed  bool   `json:"changed"`
}
