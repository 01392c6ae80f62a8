package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

const (
	// checkpointAfter is how many entries of the audit log, and checkpointEvery how
	// long, are left without a checkpoint.
	checkpointAfter = 10_000
	checkpointEvery = time.Hour
	// checkpointRetry is when one that failed is tried again.
	checkpointRetry = 5 * time.Minute
	// checkpointValue is where the newest one is noted.
	checkpointValue = "audit.checkpoint"
)

// checkpoints counts the entries of the audit log that were written here.
type checkpoints struct {
	entries atomic.Int64
	wake    chan struct{} // holds a token when there are many
}

func (c *checkpoints) wrote(entries int64) {
	if entries == 0 || c.entries.Add(entries) < checkpointAfter {
		return
	}
	c.entries.Store(0)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Checkpoint is the newest signed head of the audit log.
type Checkpoint struct {
	Seq   int64             // position of the entry that holds it, zero where there is none
	At    time.Time         // when it was signed
	Head  license.AuditHead // what it signs
	Token string
}

// checkpointNote is what is kept under checkpointValue.
type checkpointNote struct {
	Seq int64 `json:"seq"`
	At  int64 `json:"at"`
}

// AuditHead returns the head of the audit log.
func (a *Authority) AuditHead(ctx context.Context) (head license.AuditHead, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		head, err = tx.AuditHead(ctx)
		return err
	})
	return head, err
}

// EventLines lists the audit log as it is kept, oldest first: lines of a chain,
// where nothing is left out of it.
func (a *Authority) EventLines(ctx context.Context, f EventFilter, p Page) (lines [][]byte, next string, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		lines, next, err = tx.EventLines(ctx, f, p)
		return err
	})
	return lines, next, err
}

// MakeCheckpoint signs the head of the audit log, and adds what it has signed to the
// log. Where nothing was added since the newest checkpoint that one is returned, and
// changed is false.
func (a *Authority) MakeCheckpoint(ctx context.Context, actor license.Actor) (c Checkpoint, changed bool, err error) {
	now, err := a.dated(ctx)
	if err != nil {
		return Checkpoint{}, false, err
	}
	head, note, err := a.unsigned(ctx)
	if err != nil {
		return Checkpoint{}, false, err
	}
	if head.Seq <= note.Seq || head.Seq == 0 {
		c, err = a.newestCheckpoint(ctx, note)
		return c, false, err
	}
	// It is signed before the transaction: a key may lie in a slow device. Entries
	// that come in between stand between what is signed and its checkpoint.
	s := a.signing()
	if err := s.canSign(now); err != nil {
		return Checkpoint{}, false, err
	}
	raw, err := token.SignCheckpoint(token.Checkpoint{Issuer: s.keys.Issuer, IssuedAt: now, Head: head}, s.key)
	if err != nil {
		return Checkpoint{}, false, fmt.Errorf("sign the audit log: %w", err)
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		changed = false
		newest, err := readCheckpoint(ctx, tx)
		if err != nil {
			return err
		}
		if newest.Seq > note.Seq { // another daemon was faster
			note = newest
			return nil
		}
		last, err := tx.AuditHead(ctx)
		if err != nil {
			return err
		}
		if last.Seq-head.Seq > token.MaxCheckpointGap {
			return license.Errorf(license.Conflict, "the audit log has grown too fast for its checkpoint; try again")
		}
		c = Checkpoint{At: now, Head: head, Token: raw}
		c.Seq, err = tx.Append(ctx, license.AuditEvent{
			At: now, Actor: actor, Action: license.ActionCheckpoint, After: map[string]any{"token": raw, "keys": s.keys.Raw},
		})
		if err != nil {
			return fmt.Errorf("audit a checkpoint: %w", err)
		}
		changed = true
		return writeCheckpoint(ctx, tx, checkpointNote{Seq: c.Seq, At: now.Unix()})
	})
	if err == nil && !changed {
		c, err = a.newestCheckpoint(ctx, note)
	}
	if err != nil {
		return Checkpoint{}, false, err
	}
	return c, changed, nil
}

// unsigned returns the head of the log, and which entry is the newest checkpoint.
func (a *Authority) unsigned(ctx context.Context) (head license.AuditHead, note checkpointNote, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		if head, err = tx.AuditHead(ctx); err != nil {
			return err
		}
		note, err = readCheckpoint(ctx, tx)
		return err
	})
	return head, note, err
}

// NewestCheckpoint returns the newest checkpoint in the log, zero where there is none.
func (a *Authority) NewestCheckpoint(ctx context.Context) (Checkpoint, error) {
	_, note, err := a.unsigned(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	return a.newestCheckpoint(ctx, note)
}

// newestCheckpoint reads the entry that is the newest checkpoint.
func (a *Authority) newestCheckpoint(ctx context.Context, note checkpointNote) (c Checkpoint, err error) {
	if note.Seq == 0 {
		return Checkpoint{}, nil
	}
	events, _, err := a.Events(ctx, EventFilter{After: note.Seq - 1}, Page{Limit: 1})
	if err != nil {
		return Checkpoint{}, err
	}
	if len(events) == 0 || events[0].Action != license.ActionCheckpoint {
		return Checkpoint{}, license.Errorf(license.Internal, "entry %d of the audit log is not the checkpoint that it was", note.Seq)
	}
	raw, _ := events[0].After["token"].(string)
	signed, err := token.PeekCheckpoint(raw)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read the checkpoint in entry %d of the audit log: %w", note.Seq, err)
	}
	return Checkpoint{Seq: note.Seq, At: signed.IssuedAt, Head: signed.Head, Token: raw}, nil
}

func readCheckpoint(ctx context.Context, tx store.Tx) (checkpointNote, error) {
	var n checkpointNote
	raw, err := tx.Value(ctx, checkpointValue)
	if errors.Is(err, license.NotFound) {
		return n, nil
	}
	if err != nil {
		return n, fmt.Errorf("read which checkpoint is the newest: %w", err)
	}
	if json.Unmarshal(raw, &n) != nil || n.Seq < 0 {
		return checkpointNote{}, nil // the next one puts it right
	}
	return n, nil
}

func writeCheckpoint(ctx context.Context, tx store.Tx, n checkpointNote) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := tx.SetValue(ctx, checkpointValue, raw); err != nil {
		return fmt.Errorf("note a checkpoint: %w", err)
	}
	return nil
}

// checkpointer is who makes checkpoints that nobody asked for.
var checkpointer = license.Actor{Kind: license.ActorSystem, Name: "checkpoint"} //nolint:gochecknoglobals // a constant

// RunCheckpoints signs the audit log after each 10,000 entries, and after an hour in
// which something was added, until ctx ends. An error is given to report when it
// is another than the last; it is tried again in a few minutes.
func (a *Authority) RunCheckpoints(ctx context.Context, report func(error)) {
	began := a.now()
	repeatTelling(ctx, a.checkpoints.wake, report, func() (time.Duration, error) { return a.checkpointDue(ctx, began) })
}

// checkpointDue makes a checkpoint where one is due, and says when to look again.
func (a *Authority) checkpointDue(ctx context.Context, began time.Time) (time.Duration, error) {
	head, note, err := a.unsigned(ctx)
	if err != nil {
		return checkpointRetry, err
	}
	at := began
	if note.Seq > 0 {
		at = time.Unix(note.At, 0)
	}
	open := head.Seq - note.Seq
	if left := at.Add(checkpointEvery).Sub(a.now()); open < checkpointAfter && left > 0 {
		return min(left, checkpointEvery), nil
	}
	if open <= 0 {
		return checkpointEvery, nil
	}
	if _, _, err := a.MakeCheckpoint(ctx, checkpointer); err != nil {
		return checkpointRetry, err
	}
	return checkpointEvery, nil
}

// CloseAudit signs what was added to the audit log since its newest checkpoint. It
// is called when a daemon stops.
func (a *Authority) CloseAudit(ctx context.Context) error {
	_, _, err := a.MakeCheckpoint(ctx, checkpointer)
	return err
}
