package market

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
)

// CallbacksV1 is the handler of an entry's production address for the GET calls
// of licence 1.0. It answers like Callbacks, and signs every answer.
func CallbacksV1(o Options) http.Handler {
	e, keys := newEntry(o)
	return marked(o.SelfTest, &koogallery.V1Handler{
		Verifier: &koogallery.V1Verifier{Keys: keys, Now: o.Now, Window: o.V1Window},
		Location: o.Location, Answer: e.answerV1, Observe: e.observeV1,
	})
}

func (e *entry) answerV1(ctx context.Context, call koogallery.V1Call, msg koogallery.Message) (koogallery.Result, error) {
	result, err := e.obeyV1(ctx, call, msg)
	if err != nil {
		return koogallery.Result{}, refused(msg, err)
	}
	return result, nil
}

// obeyV1 does what a message of licence 1.0 says.
func (e *entry) obeyV1(ctx context.Context, call koogallery.V1Call, msg koogallery.Message) (koogallery.Result, error) {
	done := koogallery.Result{Code: koogallery.ResultOK}
	// A "+" that was not encoded arrives as a blank; it is the same call.
	token := sha256.Sum256([]byte(strings.ReplaceAll(call.Field("authToken"), " ", "+")))
	m := authority.Message{Channel: e.name, SentAt: call.Time, ReplayKey: token[:]}
	var err error
	switch msg := msg.(type) {
	case koogallery.V1GetLicense:
		return e.sell(ctx, call, msg)
	case koogallery.V1RefreshLicense:
		m.Event, m.Instance, m.Order = license.EventSetExpiry, msg.InstanceID, msg.OrderID
		m.ExpiresAt, err = endOf(msg.ExpireTime)
	case koogallery.V1ExpireLicense:
		m.Event, m.Instance, m.Order = license.EventFreeze, msg.InstanceID, msg.OrderID
	case koogallery.V1ReleaseLicense:
		m.Event, m.Instance, m.Order = license.EventRelease, msg.InstanceID, msg.OrderID
	default:
		err = &koogallery.ResultError{Code: koogallery.ResultInvalidParam, Field: "activity"}
	}
	if err != nil {
		return done, err
	}
	out, err := e.authority.MessageV1(ctx, m)
	if err == nil {
		e.tell(ctx, msg, m, out)
	}
	return done, err
}

// sell answers a purchase with its licence.
func (e *entry) sell(ctx context.Context, call koogallery.V1Call, msg koogallery.V1GetLicense) (koogallery.Result, error) {
	until, err := estimate(msg, call.Time)
	if err != nil {
		return koogallery.Result{}, err
	}
	h, err := e.authority.Sell(ctx, authority.Sale{
		Channel: e.name, Order: msg.OrderID, Business: msg.BusinessID, Product: msg.ProductID, Customer: buyer(msg), CustomerID: msg.CustomerID,
		Amount: msg.Amount, ExpiresAt: until,
	})
	if err != nil {
		return koogallery.Result{}, err
	}
	e.log.LogAttrs(ctx, slog.LevelInfo, "a licence was handed over", slog.String("activity", string(msg.Activity())),
		slog.String("license", h.License), slog.String("instance", h.Instance), slog.Bool("new", h.New))
	return koogallery.Result{
		Code: koogallery.ResultOK, License: koogallery.NewLicenseText(string(h.Text)), InstanceID: h.Instance,
	}, nil
}

// buyer is the name of the customer's account. Mobile number and mail address are
// left encrypted and are not kept: nothing here needs them.
func buyer(msg koogallery.V1GetLicense) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, msg.CustomerName))
}

// Longest terms of a purchase that are believed.
const (
	maxYears  = 100
	maxMonths = 12 * maxYears
)

// estimate is the end that a purchase begins with: as it says or, where it is for
// a period and says none, after that period, so that what was sold for a year is
// never without end. The marketplace's own expiry decides.
func estimate(msg koogallery.V1GetLicense, bought time.Time) (time.Time, error) {
	if !msg.ExpireTime.IsZero() {
		return endOf(msg.ExpireTime)
	}
	bought = bought.Truncate(time.Second)
	n := int(min(max(msg.PeriodNumber, 1), maxMonths+1))
	switch {
	case msg.PeriodType == "":
		return time.Time{}, nil
	case msg.PeriodType == koogallery.PeriodYear && n <= maxYears:
		return bought.AddDate(n, 0, 0), nil
	case msg.PeriodType == koogallery.PeriodMonth && n <= maxMonths:
		return bought.AddDate(0, n, 0), nil
	}
	return time.Time{}, &koogallery.ResultError{Code: koogallery.ResultInvalidParam, Field: "expireTime"}
}
