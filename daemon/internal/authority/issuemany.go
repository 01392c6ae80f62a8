package authority

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// RowError is why one row of many cannot be issued.
type RowError struct {
	Row int // from 0
	Err *license.Error
}

// RowErrors are all rows of a call that cannot be issued, in their order. It
// matches license.BadRequest.
type RowErrors []RowError

func (e RowErrors) Error() string {
	var b strings.Builder
	for i, r := range e {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "row %d: %s", r.Row, r.Err.Error())
	}
	return b.String()
}

// Unwrap makes the rows' reasons visible to errors.Is.
func (e RowErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, r := range e {
		errs[i] = r.Err
	}
	return errs
}

// IssueMany makes one licence for each order: all of them in one transaction, or
// none. Orders that cannot be issued are RowErrors, every one of them; an order's
// Count must be zero or one.
func (a *Authority) IssueMany(ctx context.Context, actor license.Actor, orders []Order) ([]Issued, error) {
	if len(orders) == 0 || len(orders) > MaxIssue {
		return nil, license.FieldErrorf("rows", "there must be 1 to %d of them", MaxIssue)
	}
	now, err := a.dated(ctx)
	if err != nil {
		return nil, err
	}
	drafts := make([]license.License, len(orders))
	var wrong RowErrors
	for i, o := range orders {
		if drafts[i], err = a.draft(o, now); err == nil && o.Count > 1 {
			err = license.FieldErrorf("count", "a row makes one licence")
		}
		if refused, ok := errors.AsType[*license.Error](err); ok {
			wrong = append(wrong, RowError{i, refused})
		} else if err != nil {
			return nil, err
		}
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	return a.create(ctx, actor, now, drafts)
}

// create gives drafts their ids and codes and stores them, each with its audit
// event, in one transaction.
func (a *Authority) create(ctx context.Context, actor license.Actor, now time.Time, drafts []license.License) ([]Issued, error) {
	out := make([]Issued, len(drafts))
	for i, l := range drafts {
		var err error
		if out[i], err = a.issueOne(l, now); err != nil {
			return nil, err
		}
	}
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		for _, is := range out {
			if err := tx.CreateLicense(ctx, is.License); err != nil {
				return fmt.Errorf("issue: %w", err)
			}
			_, after := difference(license.License{}, is.License)
			if _, err := tx.Append(ctx, license.AuditEvent{
				At: now, Actor: actor, Action: license.ActionIssue, License: is.License.ID, Product: is.License.Product, After: after,
			}); err != nil {
				return fmt.Errorf("audit an issue: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
