package adminapi

import (
	"context"
	"io"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// WholeStore hands out everything that the store holds.
type WholeStore interface {
	Backup(ctx context.Context, w io.Writer) error
	Dump(ctx context.Context, w io.Writer) error
}

// registerStore adds the calls about the whole store. Whoever takes a copy of it
// is written down before the first byte leaves.
func (s *server) registerStore(api huma.API, whole WholeStore) {
	copied := func(action license.Action, write func(context.Context, io.Writer) error) func(context.Context, *empty, io.Writer) error {
		return func(ctx context.Context, _ *empty, w io.Writer) error {
			if err := s.a.Copied(ctx, actor(ctx), action); err != nil {
				return err
			}
			return write(ctx, w)
		}
	}
	operation.RegisterStream(api, post("backup", adminwire.PathBackup, "A backup of the store, made while it serves"),
		adminwire.TypeBackup, copied(license.ActionBackup, func(ctx context.Context, w io.Writer) error { return whole.Backup(ctx, w) }))
	operation.RegisterStream(api, post("dump", adminwire.PathDump, "Every record of the store, as text"),
		adminwire.TypeDump, copied(license.ActionDump, func(ctx context.Context, w io.Writer) error { return whole.Dump(ctx, w) }))
}
