package adminapi

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// registerRestore adds the calls about reconcile mode.
func (s *server) registerRestore(api huma.API) {
	operation.Register(api, get("restore", adminwire.PathRestore, "How it stands with reconcile mode"), s.restore)
	operation.Register(api, get("restore-items", adminwire.PathRestoreItems, "What there is to decide after a restore, by licence"), s.restoreItems)
	operation.Register(api, post("restore-decide", adminwire.PathRestoreDecide, "Decide about one of them"), s.restoreDecide)
	operation.Register(api, post("restore-finish", adminwire.PathRestoreFinish, "Close reconcile mode"), s.restoreFinish)
}

func shownRestore(st authority.Restore, open map[authority.ItemKind]int) adminwire.Restore {
	out := adminwire.Restore{
		Open: st.Open, BegunAt: shownTime(st.BegunAt), FinishedAt: shownTime(st.FinishedAt), Backup: st.Restored,
		HeadSeq: st.Head.Seq, HeadAt: shownTime(st.Head.At), MarkSeq: st.Mark.Seq, MarkAt: shownTime(st.Mark.At), Complete: st.Complete,
		Lost: st.Lost, Applied: st.Applied, Adopted: st.Adopted, StatusList: st.List, ToDecide: map[string]int{},
	}
	for kind, n := range open {
		out.ToDecide[string(kind)] = n
	}
	return out
}

func shownItem(i authority.Item) adminwire.RestoreItem {
	return adminwire.RestoreItem{
		ID: i.ID, Kind: string(i.Kind), License: i.License, Install: i.Install, Product: i.Product, At: i.At,
		Actions: append([]string{}, i.Actions...), Facts: i.Facts, Proven: i.Held != "",
	}
}

func (s *server) restore(ctx context.Context, _ *empty) (*body[adminwire.Restore], error) {
	st, open, err := s.a.RestoreStatus(ctx)
	return &body[adminwire.Restore]{shownRestore(st, open)}, err
}

func (s *server) restoreItems(ctx context.Context, in *struct{ PageInput }) (*body[adminwire.RestoreItems], error) {
	items, next, err := s.a.RestoreItems(ctx, in.page())
	out := adminwire.RestoreItems{Items: make([]adminwire.RestoreItem, 0, len(items)), Next: next}
	for _, i := range items {
		out.Items = append(out.Items, shownItem(i))
	}
	return &body[adminwire.RestoreItems]{out}, err
}

func (s *server) restoreDecide(ctx context.Context, in *body[adminwire.RestoreDecide]) (*body[adminwire.RestoreItem], error) {
	item, err := s.a.DecideRestore(ctx, actor(ctx), in.Body.ID, authority.Decision(in.Body.Decision))
	return &body[adminwire.RestoreItem]{shownItem(item)}, err
}

func (s *server) restoreFinish(ctx context.Context, in *body[adminwire.RestoreFinish]) (*body[adminwire.RestoreFinished], error) {
	st, dropped, err := s.a.FinishRestore(ctx, actor(ctx), in.Body.DropRest)
	return &body[adminwire.RestoreFinished]{adminwire.RestoreFinished{Restore: shownRestore(st, nil), Dropped: dropped}}, err
}
