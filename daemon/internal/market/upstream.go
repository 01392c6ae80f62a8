package market

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
)

// UpstreamOptions say how the open API is reached; see koogallery.ClientOptions.
// SecretAccessKey is a secret.
type UpstreamOptions struct {
	AccessKeyID     string
	SecretAccessKey string
	BaseURLs        []string
	ExtraRoots      []byte // PEM
	Location        *time.Location
	Now             func() time.Time
}

// Upstream asks the marketplace's open API for the authority.
type Upstream struct {
	client *koogallery.Client
}

// NewUpstream checks the options. Nothing is sent.
func NewUpstream(o UpstreamOptions) (*Upstream, error) {
	c, err := koogallery.NewClient(koogallery.ClientOptions{
		AccessKeyID: o.AccessKeyID, SecretAccessKey: koogallery.NewSecretKey(o.SecretAccessKey),
		BaseURLs: o.BaseURLs, ExtraRoots: o.ExtraRoots, Location: o.Location, Now: o.Now,
	})
	if err != nil {
		return nil, err
	}
	return &Upstream{client: c}, nil
}

// Close drops idle connections.
func (u *Upstream) Close() error {
	u.client.Close()
	return nil
}

// retry is when to come back where the marketplace does not answer.
const retry = 30 * time.Second

// Query returns the authoritative state of a code.
func (u *Upstream) Query(ctx context.Context, code license.Code) (authority.Entitlement, error) {
	info, err := u.client.Query(ctx, koogallery.NewCode(code.Reveal()))
	if err != nil {
		return authority.Entitlement{}, upstreamError(err)
	}
	switch info.Status {
	case koogallery.CodeAlive, koogallery.CodeExpired, koogallery.CodeReleased:
	default: // never believed
		return authority.Entitlement{}, upstreamError(fmt.Errorf("the state of a code is %.32q", string(info.Status)))
	}
	return authority.Entitlement{
		Released: info.Status == koogallery.CodeReleased, Expired: info.Status == koogallery.CodeExpired,
		ExpiresAt: info.ExpireTime,
		Product:   info.ProductID, Order: info.OrderID, Amount: int(min(info.Amount, maxAmount)),
	}, nil
}

// Activate activates a code.
func (u *Upstream) Activate(ctx context.Context, code license.Code) (authority.Entitlement, error) {
	act, err := u.client.Activate(ctx, koogallery.NewCode(code.Reveal()), time.Time{})
	if errors.Is(err, koogallery.ErrAlreadyActive) {
		return authority.Entitlement{}, authority.ErrAlreadyActive
	}
	if err != nil {
		return authority.Entitlement{}, upstreamError(err)
	}
	return authority.Entitlement{
		Unsure: act.Unread, ExpiresAt: act.ExpireTime, Product: act.ProductID, Order: act.OrderID, Amount: int(min(act.Amount, maxAmount)),
	}, nil
}

// maxAmount bounds a quantity to what a licence may hold.
const maxAmount = 1_000_000

func upstreamError(err error) error {
	switch {
	case errors.Is(err, koogallery.ErrNotActivated):
		return authority.ErrNotActivated
	case errors.Is(err, koogallery.ErrUnknownCode), errors.Is(err, koogallery.ErrInvalidParam), errors.Is(err, koogallery.ErrRequestParam):
		return license.Errorf(license.UnknownCode, "this code is not known").WithCause(err)
	case errors.Is(err, koogallery.ErrNotReceived):
		return license.Errorf(license.NotReceived,
			"the buyer has not received this code in the marketplace yet; confirm the receipt there, then try again").
			WithRetryAfter(retry).WithCause(err)
	}
	return license.Errorf(license.MarketplaceUnavailable, "the marketplace does not answer; please try again later").
		WithRetryAfter(retry).WithCause(err)
}
