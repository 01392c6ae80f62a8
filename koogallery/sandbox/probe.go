package sandbox

import (
	"context"
	"fmt"
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

// Debug sends one debug call (testFlag 1) for a made-up or real code or
// instance, once, and saves it as a case for Probe. The other fields are filled
// with "test". It goes to the address of the first product with that interface,
// or to the common one where there is none.
func (s *Sandbox) Debug(activity koogallery.Activity, code koogallery.Code) (int64, error) {
	iface, ok := interfaceOf(activity)
	if !ok || !validCode(code.Reveal()) {
		return 0, fmt.Errorf("debug %q: %w", activity, ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := debugCase{activity: activity, code: code.Reveal()}
	for _, p := range s.opts.Products {
		if p.Interface == iface {
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
// When a probe fails on MaxFailedDays days in a row the products behind it are
// frozen.
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
			for _, a := range activitiesOf(g.iface) {
				cases = append(cases, debugCase{a, "test", g.owner})
			}
		}
		for _, c := range cases {
			ids = append(ids, s.debug(c, members[g]))
		}
	}
	return ids
}

func activitiesOf(i Interface) []koogallery.Activity {
	switch i {
	case Online:
		return koogallery.InstanceActivities()
	case License1:
		return []koogallery.Activity{
			koogallery.ActivityV1GetLicense, koogallery.ActivityV1RefreshLicense,
			koogallery.ActivityV1ExpireLicense, koogallery.ActivityV1ReleaseLicense,
		}
	case License2:
	}
	return koogallery.LicenseCodeActivities()
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
		f["scene"], f["productId"], f["expireTime"] = string(scene), "test", s.compact(s.now())
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
		f["effectiveTime"] = s.now().Format(instantLayout)
		f["expireTime"] = s.now().Add(oneYear).Format(instantLayout)
	case koogallery.ActivityV1GetLicense:
		f["customerId"], f["orderId"], f["productId"] = "test", "test", "test"
		delete(f, "instanceId")
	case koogallery.ActivityV1RefreshLicense:
		refresh("")
		f["periodType"], f["periodNumber"] = string(koogallery.PeriodYear), "1"
	default: // the other two of licence 1.0
		f["orderId"] = "test"
	}
	if strings.HasSuffix(string(c.activity), "License") { // of 1.0, which has no order lines
		delete(f, "orderLineId")
	}
	return f
}
