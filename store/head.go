package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Head is the newest entry of an audit log: where a store stands.
type Head struct {
	Seq    int64     `json:"seq"` // zero where there is none
	At     time.Time `json:"at,omitzero"`
	Digest string    `json:"digest,omitzero"` // see DigestOf
}

// DigestOf is a digest of what of an audit event never changes, also where a
// person's data is erased: base64url of the first 16 bytes of the SHA-256 of its
// position, second, action, licence and install.
func DigestOf(e license.AuditEvent) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%d\n%s\n%s\n%s", e.Seq, e.At.Unix(), e.Action, e.License, e.Install))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// HeadOf returns the newest entry of the audit log.
func HeadOf(ctx context.Context, tx Tx) (Head, error) {
	at, err := tx.AuditHead(ctx)
	if err == nil && at.Seq == 0 {
		return Head{}, nil
	}
	var last license.AuditEvent
	if err == nil {
		last, err = EventAt(ctx, tx, at.Seq)
	}
	if err != nil {
		return Head{}, fmt.Errorf("find the newest entry of the audit log: %w", err)
	}
	return Head{Seq: last.Seq, At: last.At, Digest: DigestOf(last)}, nil
}

// EventAt returns the audit event at a position, or license.NotFound.
func EventAt(ctx context.Context, tx Tx, seq int64) (license.AuditEvent, error) {
	es, _, err := tx.Events(ctx, EventFilter{After: seq - 1}, Page{Limit: 1})
	if err == nil && (len(es) == 0 || es[0].Seq != seq) {
		err = license.Errorf(license.NotFound, "there is no audit event %d", seq)
	}
	if err != nil {
		return license.AuditEvent{}, err
	}
	return es[0], nil
}
