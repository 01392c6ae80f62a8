package adminapi

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// registerKeys adds the calls about the end of keys.
func (s *server) registerKeys(api huma.API) {
	operation.Register(api, get("key-revocations", adminwire.PathKeyRevocations, "The keys that are being revoked, or were"), s.revocations)
	operation.Register(api, post("revoke-keys", adminwire.PathKeyRevocations, "Begin to revoke keys that others may hold"), s.revokeKeys)
	operation.Register(api, post("keep-key", adminwire.PathKeyKeep, "Take back the revocation of a key that is in force still"), s.keepKey)
	operation.Register(api, get("affected", adminwire.PathKeyAffected, "Installs that must get a new licence because of a key, oldest licence first"), s.affected)
}

// KeyInput names a key. It is exported as IDInput is.
type KeyInput struct {
	KID string `path:"kid" maxLength:"64" doc:"Id of a key."`
}

func (s *server) revocations(ctx context.Context, _ *empty) (*body[adminwire.KeyRevocations], error) {
	list, err := s.a.Revocations(ctx)
	if err != nil {
		return nil, err
	}
	return &body[adminwire.KeyRevocations]{adminwire.KeyRevocations{Revocations: s.shownRevocations(list)}}, nil
}

func (s *server) revokeKeys(ctx context.Context, in *body[adminwire.RevokeKeys]) (*body[adminwire.KeyRevocations], error) {
	done, err := s.a.RevokeKeys(ctx, actor(ctx), in.Body.Reason, in.Body.Keys...)
	if err != nil {
		return nil, err
	}
	out := adminwire.KeyRevocations{Revocations: s.shownRevocations(done.Keys)}
	if done.Rotated != nil {
		r := adminwire.Rotated(*done.Rotated)
		out.Rotated = &r
		for i := range out.Revocations { // of a dry run it is not so yet
			out.Revocations[i].Signs = out.Revocations[i].KID == r.Current
		}
	}
	return &body[adminwire.KeyRevocations]{out}, nil
}

func (s *server) shownRevocations(list []authority.KeyRevocation) []adminwire.KeyRevocation {
	current := ""
	for _, k := range s.a.Keys() {
		if k.Role == authority.RoleCurrent {
			current = k.ID
		}
	}
	out := []adminwire.KeyRevocation{}
	for _, r := range list {
		out = append(out, adminwire.KeyRevocation{
			KID: r.KID, Role: r.Role, Reason: r.Reason, AskedAt: r.AskedAt, EndedAt: shownTime(r.EndedAt), Seq: r.Seq, Signs: r.KID == current,
		})
	}
	return out
}

func (s *server) keepKey(ctx context.Context, in *KeyInput) (*body[adminwire.KeyKept], error) {
	changed, err := s.a.KeepKey(ctx, actor(ctx), in.KID)
	return &body[adminwire.KeyKept]{adminwire.KeyKept{KID: in.KID, Changed: changed}}, err
}

func (s *server) affected(ctx context.Context, in *struct {
	Keys []string `query:"key,explode" maxItems:"64" maxLength:"64" doc:"Ids of keys; none: all that are being revoked, or were."`
	PageInput
},
) (*body[adminwire.AffectedList], error) {
	list, next, err := s.a.AffectedInstalls(ctx, in.page(), in.Keys...)
	if err != nil {
		return nil, err
	}
	out := adminwire.AffectedList{Installs: []adminwire.AffectedInstall{}, Next: next}
	for _, a := range list {
		out.Installs = append(out.Installs, adminwire.AffectedInstall{
			InstallID: a.Install.ID, LicenseID: a.License.ID, Product: a.License.Product, Customer: a.License.Customer, Order: a.License.Order,
			Channel: a.License.Channel, KID: a.KID, Guessed: a.Guessed, ByHand: a.Install.ByHand, Environment: a.Install.Environment,
			SeenAt: a.Install.SeenAt, LeaseUntil: shownTime(a.Lease()),
		})
	}
	return &body[adminwire.AffectedList]{out}, nil
}

// KeyWarnings shows warnings about keys.
func KeyWarnings(list []authority.KeyWarning) []adminwire.KeyWarning {
	out := []adminwire.KeyWarning{}
	for _, w := range list {
		out = append(out, adminwire.KeyWarning{Kind: string(w.Kind), Due: shownTime(w.Due), Text: w.Text})
	}
	return out
}
