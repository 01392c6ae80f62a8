package market

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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
	Transport       http.RoundTripper // nil is the network
}

// Upstream asks the marketplace's open API for the authority.
type Upstream struct {
	client *koogallery.Client
	pace   func(context.Context) error // of a comparison of many codes
}

// NewUpstream checks the options. Nothing is sent.
func NewUpstream(o UpstreamOptions) (*Upstream, error) {
	c, err := koogallery.NewClient(koogallery.ClientOptions{
		AccessKeyID: o.AccessKeyID, SecretAccessKey: koogallery.NewSecretKey(o.SecretAccessKey),
		BaseURLs: o.BaseURLs, ExtraRoots: o.ExtraRoots, Location: o.Location, Now: o.Now, Transport: o.Transport,
	})
	if err != nil {
		return nil, err
	}
	return &Upstream{client: c, pace: koogallery.Pace(queryPause)}, nil
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
	return entitlement(info)
}

// entitlement is what a query says, where it can be believed.
func entitlement(info koogallery.CodeInfo) (authority.Entitlement, error) {
	switch info.Status {
	case koogallery.CodeAlive, koogallery.CodeExpired, koogallery.CodeReleased:
	default:
		return authority.Entitlement{}, upstreamError(fmt.Errorf("%w: the state of a code is %.32q", authority.ErrUnbelievable, string(info.Status)))
	}
	end, err := believable(info.ExpireTime)
	if err != nil {
		return authority.Entitlement{}, upstreamError(err)
	}
	return authority.Entitlement{
		Released: info.Status == koogallery.CodeReleased, Expired: info.Status == koogallery.CodeExpired,
		ExpiresAt: end,
		Product:   info.ProductID, Order: info.OrderID, Amount: int(min(info.Amount, maxAmount)),
	}, nil
}

// queryPause is between two calls of a comparison of many codes.
const queryPause = 200 * time.Millisecond

// QueryMany returns the authoritative state of each of the codes, many at a call
// where the marketplace lets us.
func (u *Upstream) QueryMany(ctx context.Context, codes []license.Code) []authority.Queried {
	out := make([]authority.Queried, 0, len(codes))
	each := func(yield func(koogallery.Code) bool) {
		for _, c := range codes {
			if !yield(koogallery.NewCode(c.Reveal())) {
				return
			}
		}
	}
	for r := range u.client.QueryAll(ctx, each, u.pace) {
		var q authority.Queried
		if q.Err = r.Err; q.Err != nil {
			q.Err = upstreamError(q.Err)
		} else {
			q.Entitlement, q.Err = entitlement(r.Info)
		}
		out = append(out, q)
	}
	return out
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

// Order returns a line of an order. Where the order has one line only, that is
// meant, whatever it is called; where it has several and none is named, all of them
// are returned as Lines.
func (u *Upstream) Order(ctx context.Context, order, line string) (authority.OrderInfo, error) {
	o, err := u.client.Order(ctx, order, line)
	if err != nil {
		return authority.OrderInfo{}, deskError(err)
	}
	if line == "" && len(o.Lines) > 1 {
		var info authority.OrderInfo
		for _, l := range o.Lines {
			one, err := orderInfo(o, l)
			if err != nil {
				return info, err
			}
			info.Lines = append(info.Lines, one)
		}
		return info, nil
	}
	l, ok := o.Line(line)
	if !ok && len(o.Lines) == 1 {
		l, ok = o.Lines[0], true
	}
	if !ok {
		return authority.OrderInfo{}, license.Errorf(license.NotFound, "the order has no line %.64q", line)
	}
	return orderInfo(o, l)
}

// orderInfo is what an order says of one of its lines, where it can be believed.
// When it was placed is not known where that cannot be.
func orderInfo(o koogallery.Order, l koogallery.OrderLine) (authority.OrderInfo, error) {
	info := authority.OrderInfo{Type: cut(string(o.Type)), Customer: cut(o.Buyer.CustomerName.Reveal())}
	var err error
	if info.OrderedAt, err = believable(o.CreateTime); err != nil {
		info.OrderedAt, o.CreateTime = time.Time{}, time.Time{}
	}
	info.ByUse = l.ChargingMode == koogallery.ChargeOnDemand || l.ChargingMode == koogallery.ChargeOnDemandPackage
	info.Line, info.Perpetual = cut(l.ID), l.ChargingMode == koogallery.ChargeOneTime && l.ExpireTime.IsZero()
	end := l.ExpireTime
	if end.IsZero() {
		end = periodEnd(o, l)
		info.Estimated = !end.IsZero()
	}
	if info.ExpiresAt, err = believable(end); err != nil {
		return info, license.Errorf(license.MarketplaceUnavailable, "the order cannot be believed").WithCause(fmt.Errorf("%w: %w", authority.ErrUnbelievable, err))
	}
	if len(l.Products) > 0 {
		info.Product, info.Amount = cut(l.Products[0].ProductID), int(min(l.Products[0].Amount, maxAmount))
	}
	return info, nil
}

// periodEnd is the end that follows from when a period was bought first, zero where
// that is not said. A renewal is ordered before the end that it prolongs, so of one
// nothing follows.
func periodEnd(o koogallery.Order, l koogallery.OrderLine) time.Time {
	n, ordered := int(l.PeriodNumber), o.CreateTime
	bought := o.Type == koogallery.OrderNew || o.Type == koogallery.OrderTrial || o.Type == ""
	if !bought || ordered.IsZero() || n < 1 || n > 1200 {
		return time.Time{}
	}
	switch l.PeriodType {
	case koogallery.PeriodYear:
		return ordered.AddDate(n, 0, 0)
	case koogallery.PeriodMonth:
		return ordered.AddDate(0, n, 0)
	}
	return time.Time{}
}

// Deliver uploads a licence file.
func (u *Upstream) Deliver(ctx context.Context, event string, file []byte) error {
	err := u.client.Upload(ctx, event, koogallery.Upload{License: file})
	switch {
	case errors.Is(err, koogallery.ErrApplyInvalid):
		return deskError(fmt.Errorf("%w: %w", authority.ErrNoApplication, err))
	case err != nil:
		return deskError(err)
	}
	return nil
}

// ReportUse reports how many installs of codes were in use within a day.
func (u *Upstream) ReportUse(ctx context.Context, uses []authority.Use) (out authority.UseResult, err error) {
	reports := make([]koogallery.Usage, len(uses))
	for i, use := range uses {
		reports[i] = koogallery.Usage{License: koogallery.NewCode(use.Code.Reveal()), ActiveNum: min(use.Active, koogallery.MaxActiveCount)}
	}
	result, err := u.client.ReportUsage(ctx, reports)
	if err != nil {
		return out, deskError(err)
	}
	out.Unread = result.Unread
	for _, r := range result.Rejected {
		code, err := license.ParseCode(r.Reveal())
		if err != nil { // it was reported as one, so this does not happen
			out.Unread = true
			continue
		}
		out.Refused = append(out.Refused, code)
	}
	return out, nil
}

// deskError tells what may go better another time from what will not. Refused
// keys are not about what was asked: the clock may be wrong, or the keys are
// being exchanged.
func deskError(err error) error {
	if koogallery.Retryable(err) || errors.Is(err, koogallery.ErrUnauthorized) || errors.Is(err, koogallery.ErrPermission) {
		return license.Errorf(license.MarketplaceUnavailable, "the marketplace does not answer").WithCause(answered(err))
	}
	return license.Errorf(license.Forbidden, "the marketplace refuses").WithCause(err)
}

// answered tells apart, of what may go better another time, what was answered at
// all.
func answered(err error) error {
	silent, none := errors.AsType[*koogallery.UnavailableError](err)
	_, refused := errors.AsType[*koogallery.APIError](err)
	switch {
	case none && silent.HTTPStatus == 0, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case none, refused && koogallery.Retryable(err):
		return fmt.Errorf("%w: %w", authority.ErrFailing, err)
	case refused:
		return err // our keys, or our clock: that is about all calls
	}
	return fmt.Errorf("%w: %w", authority.ErrUnbelievable, err)
}

// cut is a text from outside as it may be kept.
func cut(s string) string {
	const most = 256
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
	for len(s) > most {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// believable is an end as it may be kept, where there is one: none before there
// was a marketplace.
func believable(end time.Time) (time.Time, error) {
	switch {
	case end.IsZero():
		return end, nil
	case end.Year() < firstYear:
		return end, fmt.Errorf("%w: an end in the year %d", authority.ErrUnbelievable, end.Year())
	case end.After(license.Forever): // year 9999 in a zone west of UTC
		return license.Forever, nil
	}
	return end, nil
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
