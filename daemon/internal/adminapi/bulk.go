package adminapi

import (
	"context"
	"errors"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// issueMany makes one licence for each row, or says what is wrong with them.
func (s *server) issueMany(ctx context.Context, in *body[adminwire.BulkIssue]) (*body[adminwire.BulkIssued], error) {
	orders := make([]authority.Order, len(in.Body.Rows))
	var wrong authority.RowErrors
	for i, row := range in.Body.Rows {
		o, err := s.issueOrder(row.Issue())
		if refused, ok := errors.AsType[*license.Error](err); ok {
			wrong = append(wrong, authority.RowError{Row: i, Err: refused})
		} else if err != nil {
			return nil, err
		}
		orders[i] = o
	}
	if len(wrong) > 0 {
		return rowsWrong(wrong), nil
	}
	issued, err := s.a.IssueMany(ctx, actor(ctx), orders)
	if errors.As(err, &wrong) {
		return rowsWrong(wrong), nil
	}
	if err != nil {
		return nil, err
	}
	return &body[adminwire.BulkIssued]{bulkIssued(ctx, issued)}, nil
}

// bulkIssued is the answer that shows what was made, or what would be.
func bulkIssued(ctx context.Context, issued []authority.Issued) adminwire.BulkIssued {
	out := adminwire.BulkIssued{Licenses: make([]adminwire.BulkLicense, 0, len(issued)), Errors: []adminwire.BulkError{}}
	for _, i := range issued {
		l := adminwire.BulkLicense{ID: i.License.ID, Code: i.Code.Reveal()}
		if authority.DryRun(ctx) {
			l.ID, l.Code = "", ""
		}
		if end := i.License.ExpiresAt; !end.IsZero() {
			l.ExpiresAt = &end
		}
		out.Licenses = append(out.Licenses, l)
	}
	return out
}

// rowsWrong is the answer that names rows.
func rowsWrong(wrong authority.RowErrors) *body[adminwire.BulkIssued] {
	out := adminwire.BulkIssued{Licenses: []adminwire.BulkLicense{}, Errors: make([]adminwire.BulkError, 0, len(wrong))}
	for _, w := range wrong {
		out.Errors = append(out.Errors, adminwire.BulkError{
			Row: w.Row, Reason: string(w.Err.Reason), Field: w.Err.Field, Detail: w.Err.Detail,
		})
	}
	return &body[adminwire.BulkIssued]{out}
}
