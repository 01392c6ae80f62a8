package authority

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// eraseStep is how many entries one transaction changes.
const eraseStep = 500

// Erasure says why personal data is erased, and of what besides the audit log.
type Erasure struct {
	Reason   string // stays in the log: a number of a request, no name
	Customer bool   // the licence's customer too
}

// Erased says what an erasure did.
type Erased struct {
	License  string
	To       int64 // position up to which the log holds no personal data of it any more
	Entries  int   // from which some was taken out
	Customer bool  // the licence named a customer, and does not any more
	Reason   bool  // it said why it was revoked, and does not any more
	Changed  bool
}

// EraseEvents takes the personal data out of all entries of the audit log that are
// about the licence that ref names, by id or by code, and what was kept elsewhere
// of the same: why it was revoked, from where moves were asked for and what the
// staff wrote about them, and what receivers of webhooks answered to events about
// it. The chain stays whole: an
// entry of its own says up to where, and never what. Where nothing is there to be
// erased nothing is changed.
//
// That entry comes first, so that at no time something is missing that no entry
// speaks of. What is cut off is completed by calling it again.
func (a *Authority) EraseEvents(ctx context.Context, actor license.Actor, ref string, e Erasure) (Erased, error) {
	now, err := a.dated(ctx)
	if err != nil {
		return Erased{}, err
	}
	e.Reason = strings.TrimSpace(e.Reason)
	if e.Reason == "" {
		return Erased{}, license.FieldErrorf("reason", "an erasure needs a reason")
	}
	if err := plain("reason", e.Reason, 512); err != nil {
		return Erased{}, err
	}
	return a.eraseEvents(ctx, actor, ref, e, now)
}

func (a *Authority) eraseEvents(ctx context.Context, actor license.Actor, ref string, e Erasure, now time.Time) (Erased, error) {
	l, _, err := a.License(ctx, ref)
	if err != nil {
		return Erased{}, err
	}
	to, positions, err := a.personalEntries(ctx, l.ID)
	if err != nil {
		return Erased{}, err
	}
	out := Erased{License: l.ID, To: to, Entries: len(positions)}
	for step := 0; step == 0 || step < len(positions); step += eraseStep {
		err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
			if step == 0 {
				if err := beginErasure(ctx, tx, &out, e, license.AuditEvent{At: now, Actor: actor, Action: license.ActionErase}); err != nil {
					return err
				}
			}
			_, err := tx.EraseEvents(ctx, positions[step:min(step+eraseStep, len(positions))]...)
			return err
		})
		if err != nil {
			return Erased{}, fmt.Errorf("erase personal data of %s: %w", l.ID, err)
		}
	}
	return out, nil
}

// beginErasure clears what is kept besides the log, and writes what is erased
// to the log.
func beginErasure(ctx context.Context, tx store.Tx, out *Erased, e Erasure, event license.AuditEvent) error {
	l, err := tx.License(ctx, out.License)
	if err != nil {
		return err
	}
	out.Customer, out.Reason = e.Customer && l.Customer != "", l.RevokeReason != ""
	answers, err := eraseAnswers(ctx, tx, l.ID)
	if err != nil {
		return err
	}
	moves, err := eraseMoves(ctx, tx, l.ID)
	if err != nil {
		return err
	}
	if out.Changed = out.Customer || out.Reason || answers || moves || out.Entries > 0; !out.Changed {
		return nil
	}
	event.License, event.Product = l.ID, l.Product
	event.After = map[string]any{"to": out.To, "entries": out.Entries, "reason": e.Reason}
	cleared := []string{}
	if out.Customer {
		cleared, l.Customer = append(cleared, "customer"), ""
	}
	if out.Reason {
		cleared, l.RevokeReason = append(cleared, "revoke_reason"), ""
	}
	if len(cleared) > 0 {
		event.After["cleared"] = cleared
		if err := tx.UpdateLicense(ctx, l); err != nil {
			return fmt.Errorf("clear what %s says of a person: %w", l.ID, err)
		}
	}
	if _, err := tx.Append(ctx, event); err != nil {
		return fmt.Errorf("audit an erasure: %w", err)
	}
	return nil
}

// personalEntries finds the entries about a licence that hold personal data, and how
// far the log went then.
func (a *Authority) personalEntries(ctx context.Context, id string) (to int64, positions []int64, err error) {
	head, err := a.AuditHead(ctx)
	if err != nil {
		return 0, nil, err
	}
	for p := (Page{Limit: store.MaxPage}); ; {
		lines, next, err := a.EventLines(ctx, EventFilter{License: id}, p)
		if err != nil {
			return 0, nil, fmt.Errorf("look for the entries of %s: %w", id, err)
		}
		for _, raw := range lines {
			line, err := license.ParseAuditLine(raw)
			if err != nil {
				return 0, nil, err
			}
			if line.Personal && line.Seq <= head.Seq {
				positions = append(positions, line.Seq)
			}
		}
		if p.Cursor = next; next == "" {
			return head.Seq, positions, nil
		}
	}
}
