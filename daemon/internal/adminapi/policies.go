package adminapi

import (
	"context"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// registerPolicies adds what the staff decides about in the life of a licence.
func (s *server) registerPolicies(api huma.API) {
	operation.Register(api, post("upgrade", adminwire.PathUpgrade, "Make a licence another one in place"), s.upgrade)
	operation.Register(api, get("transfers", adminwire.PathTransfers, "List the moves to another machine that were asked for"), s.transfers)
	operation.Register(api, post("approve-transfer", adminwire.PathTransferApprove, "Approve a move to another machine, once"),
		func(ctx context.Context, in *decideInput) (*body[adminwire.Decided], error) {
			return s.decide(ctx, in, true)
		})
	operation.Register(api, post("deny-transfer", adminwire.PathTransferDeny, "Deny a move to another machine"),
		func(ctx context.Context, in *decideInput) (*body[adminwire.Decided], error) {
			return s.decide(ctx, in, false)
		})
}

func (s *server) upgrade(ctx context.Context, in *struct {
	IDInput
	Body adminwire.Upgrade
},
) (*body[adminwire.Edited], error) {
	b := in.Body
	e := authority.Edit{
		Event: license.EventUpgrade, Perpetual: b.Perpetual, Force: b.Force,
		Upgrade: authority.UpgradeTo{Product: b.Product, Machines: b.Machines},
	}
	var err error
	if e.ExpiresAt, e.For, err = s.end(b.ExpiresAt, b.For); err != nil {
		return nil, err
	}
	if e.Upgrade.Features, err = features(b.Features); err != nil {
		return nil, err
	}
	return s.edit(ctx, in.ID, e)
}

func (s *server) transfers(ctx context.Context, in *struct {
	License string `query:"license" maxLength:"128" doc:"Only of this licence, by id."`
	PageInput
},
) (*body[adminwire.TransferList], error) {
	rs, next, err := s.a.TransferRequests(ctx, in.License, in.page())
	if err != nil {
		return nil, err
	}
	out := adminwire.TransferList{Transfers: make([]adminwire.Transfer, 0, len(rs)), Next: next}
	for _, r := range rs {
		out.Transfers = append(out.Transfers, adminwire.NewTransfer(r))
	}
	return &body[adminwire.TransferList]{out}, nil
}

type decideInput struct {
	IDInput
	Body adminwire.DecideTransfer
}

func (s *server) decide(ctx context.Context, in *decideInput, approve bool) (*body[adminwire.Decided], error) {
	r, changed, err := s.a.DecideTransfer(ctx, actor(ctx), in.ID, in.Body.Request, approve, in.Body.Reason)
	if err != nil {
		return nil, err
	}
	return &body[adminwire.Decided]{adminwire.Decided{Transfer: adminwire.NewTransfer(r), Changed: changed}}, nil
}

// overage reads how many machines more a licence lets in, of its own.
func overage(in string) (authority.OverageEdit, error) {
	if in == "" {
		return nil, nil
	}
	if in == adminwire.FollowProduct {
		return func(*int) *int { return nil }, nil
	}
	n, err := strconv.Atoi(in)
	if err != nil {
		return nil, license.FieldErrorf("overage", "it is neither a number nor %s", adminwire.FollowProduct)
	}
	return func(*int) *int { return new(n) }, nil
}
