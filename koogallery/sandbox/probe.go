package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// DefaultProbeInterval is that of the real marketplace, which probes in the
// morning and in the afternoon. Options.ProbeInterval has no default.
const DefaultProbeInterval = 12 * time.Hour

// debugCase is a saved debug call of the seller console, of a production
// address.
type debugCase struct {
	activity koogallery.Activity
	code     string // licence or instance
	owner    string // see Sandbox.owner
}

// interfaceOf is the interface which has an activity. orderNotify belongs to
// any; no debug case of it is known.
func interfaceOf(a koogallery.Activity) (Interface, bool) {
	switch {
	case isV1(a):
		return License1, true
	case slices.Contains(koogallery.InstanceActivities(), a):
		return Online, true
	case slices.Contains(koogallery.LicenseCodeActivities(), a):
		return License2, true
	}
	return "", false
}

// maxDebug bounds the debug calls and probes that wait, lest a merchant that
// hangs lets them grow without end.
const maxDebug = 200

// Debug sends one debug call (testFlag 1) for a made-up or real code or
// instance, "test" where that is empty, once, and saves it as a case for Probe.
// The other fields are filled with "test". It goes to the address of the first product with that interface,
// or to the common one where there is none. It fails with ErrState where 200
// debug calls wait already.
func (s *Sandbox) Debug(activity koogallery.Activity, code koogallery.Code) (int64, error) {
	return s.DebugProduct("", activity, code)
}

// DebugProduct is Debug at the address of a product, whose interface must have
// the activity.
func (s *Sandbox) DebugProduct(product string, activity koogallery.Activity, code koogallery.Code) (int64, error) {
	iface, ok := interfaceOf(activity)
	if !ok {
		return 0, fmt.Errorf("debug %q: no such activity: %w", shorten(string(activity), 32), ErrInvalid)
	}
	if code.Reveal() == "" {
		code = koogallery.NewCode("test") // as all other fields
	}
	if !validCode(code.Reveal()) {
		return 0, fmt.Errorf("debug %s: the code is longer than %d characters: %w", activity, koogallery.MaxCode, ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.products[product]; product != "" && p == nil {
		return 0, fmt.Errorf("debug %q: %w", product, ErrUnknownProduct)
	} else if p != nil && p.Interface != iface {
		return 0, fmt.Errorf("debug %s of %q, whose interface has it not: %w", activity, product, ErrInvalid)
	}
	if s.debugging >= maxDebug {
		return 0, fmt.Errorf("debug: %d calls wait already: %w", s.debugging, ErrState)
	}
	c := debugCase{activity: activity, code: code.Reveal(), owner: s.owner(product)}
	for _, p := range s.opts.Products {
		if product == "" && p.Interface == iface {
			c.owner = s.owner(p.ID)
			break
		}
	}
	const maxCases = 100
	if len(s.cases) < maxCases && !slices.Contains(s.cases, c) {
		s.cases = append(s.cases, c)
	}
	return s.debug(c, nil), nil
}

// owner names a production address: the product which has it for itself, or
// nothing for the common one. The caller holds s.mu.
func (s *Sandbox) owner(product string) string {
	if s.targets[product] != nil {
		return product
	}
	return ""
}

// Probe replays the saved debug cases as the platform does twice a day, or one
// for each activity of the interface with the code "test" where none was saved:
// for each interface of each production address that a product on sale has.
// Stopped products are skipped. It returns the ids of the deliveries.
//
// When a probe fails on MaxFailedDays days in a row, of Options.Day each, the
// products behind it are frozen.
func (s *Sandbox) Probe() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probe()
}

// probe is Probe; the caller holds s.mu.
func (s *Sandbox) probe() []int64 {
	type group struct {
		iface Interface
		owner string
	}
	var groups []group
	members := make(map[group][]string)
	for _, p := range s.opts.Products {
		if s.products[p.ID].Stopped {
			continue
		}
		g := group{p.Interface, s.owner(p.ID)}
		if members[g] == nil {
			groups = append(groups, g)
		}
		members[g] = append(members[g], p.ID)
	}
	var ids []int64
	for _, g := range groups {
		cases := slices.DeleteFunc(slices.Clone(s.cases), func(c debugCase) bool {
			iface, _ := interfaceOf(c.activity)
			return iface != g.iface || c.owner != g.owner
		})
		if len(cases) == 0 {
			for _, a := range s.activitiesOf(g.iface, members[g]) {
				cases = append(cases, debugCase{a, "test", g.owner})
			}
		}
		for _, c := range cases {
			if s.debugging >= maxDebug {
				s.note(Event{Kind: EventProbe, Activity: c.activity, Text: fmt.Sprintf("not sent: %d debug calls wait already", s.debugging)})
				continue
			}
			ids = append(ids, s.debug(c, members[g]))
		}
	}
	return ids
}

// activitiesOf are those of an interface, of licence 1.0 with the literals which
// the products have for the expiry.
func (s *Sandbox) activitiesOf(i Interface, products []string) []koogallery.Activity {
	switch i {
	case Online:
		return koogallery.InstanceActivities()
	case License1:
		list := []koogallery.Activity{koogallery.ActivityV1GetLicense, koogallery.ActivityV1RefreshLicense}
		for _, id := range products {
			if a := s.products[id].ExpireActivity; !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
		return append(list, koogallery.ActivityV1ReleaseLicense)
	case License2:
	}
	return koogallery.LicenseCodeActivities()
}

// waitStep is the pause between two tries of WaitMerchant.
const waitStep = 250 * time.Millisecond

// WaitMerchant makes debug calls to the common production address until one is
// answered, whatever the answer is, but for a status of 500 and more: that may be
// of a proxy before a merchant which has not started yet. They stand in no list and are saved for no
// probe. When ctx ends first it fails with the reason of the latest try. Without
// an address it fails with ErrState.
func (s *Sandbox) WaitMerchant(ctx context.Context) error {
	for {
		s.mu.Lock()
		t := s.target("")
		if t == nil {
			s.mu.Unlock()
			return fmt.Errorf("wait for the merchant: there is no production address: %w", ErrState)
		}
		p := s.opts.Products[0]
		activity := s.activitiesOf(p.Interface, []string{p.ID})[0]
		c, err := s.prepare(t, s.message(activity, s.debugFields(debugCase{activity: activity, code: "test"})))
		s.mu.Unlock()
		if err != nil {
			return fmt.Errorf("wait for the merchant: %w", err)
		}
		a, _, _ := s.send(ctx, c, s.opts.Now())
		if a.HTTPStatus != 0 && a.HTTPStatus < http.StatusInternalServerError {
			return nil
		}
		timer := time.NewTimer(waitStep)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("wait for the merchant: %w; the latest try: %s", ctx.Err(), a.text())
		case <-s.done:
			timer.Stop()
			return ErrClosed
		}
	}
}

func (s *Sandbox) probeRegularly(ctx context.Context) {
	ticker := time.NewTicker(s.opts.ProbeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.Probe()
		case <-ctx.Done():
			return
		}
	}
}

// debug queues a debug call. Those of one code keep their order.
func (s *Sandbox) debug(c debugCase, products []string) int64 {
	d := s.message(c.activity, s.debugFields(c))
	d.Code, d.queue = koogallery.NewCode(c.code), "debug\n"+c.code
	d.owner, d.probed = c.owner, products
	d.What = cmp.Or(d.fields["scene"], d.fields["status"])
	return s.push(d)
}

func (s *Sandbox) debugFields(c debugCase) map[string]string {
	f := map[string]string{"testFlag": "1"}
	if iface, _ := interfaceOf(c.activity); iface == License2 {
		f["license"] = c.code
	} else {
		f["instanceId"] = c.code
	}
	orders := func() { f["orderId"], f["orderLineId"] = "test", "test" }
	refresh := func(scene koogallery.Scene) {
		orders()
		f["scene"], f["productId"], f["expireTime"] = string(scene), "test", s.expireText(s.now())
	}
	switch c.activity { //nolint:exhaustive // orderNotify has no debug case
	case koogallery.ActivityRefreshLicenseCode, koogallery.ActivityRefreshInstance:
		refresh(koogallery.SceneRenewal)
	case koogallery.ActivityUpdateLicenseCodeStatus, koogallery.ActivityUpdateInstanceStatus:
		f["status"] = string(koogallery.StatusFreeze)
	case koogallery.ActivityReleaseLicenseCode, koogallery.ActivityReleaseInstance:
		orders()
	case koogallery.ActivityNewInstance:
		orders()
		delete(f, "instanceId")
	case koogallery.ActivityGetLicenseAsync:
		f["eventId"], f["deviceFingerprint"] = "test", "test"
		f["effectiveTime"] = s.instant(s.now())
		f["expireTime"] = s.instant(s.now().Add(oneYear))
	case koogallery.ActivityV1GetLicense:
		f["customerId"], f["orderId"], f["productId"] = "test", "test", "test"
		delete(f, "instanceId")
	case koogallery.ActivityV1RefreshLicense:
		refresh("")
		f["expireTime"] = s.compact(s.now())
		f["periodType"], f["periodNumber"] = string(koogallery.PeriodYear), "1"
	default: // the other two of licence 1.0
		f["orderId"] = "test"
	}
	if strings.HasSuffix(string(c.activity), "License") { // of 1.0, which has no order lines
		delete(f, "orderLineId")
	}
	return f
}
