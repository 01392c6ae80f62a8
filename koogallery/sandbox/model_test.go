package sandbox_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

// belief is what a merchant holds to be true of a purchase.
type belief struct {
	Ends     time.Time
	Frozen   bool
	Released bool
	orders   map[string]koogallery.Order // of an instance: purchase and renewals
	undone   map[string]bool             // the renewals that were cancelled
}

// keeper is a merchant which does what the pages ask for and no more: messages
// by value, the query and the order query where order cannot be known, uploads
// until they are answered.
type keeper struct {
	*shop
	held    map[string]*belief // by code or instance id
	uploads map[string]bool    // events to deliver
}

func newKeeper(t *testing.T, seed uint64, faults map[sandbox.Fault]float64) *keeper {
	t.Helper()
	k := &keeper{held: map[string]*belief{}, uploads: map[string]bool{}}
	k.shop = newShop(t, sandbox.Options{
		Seed: seed, NotifyOrders: true, Misbehaviour: sandbox.Misbehaviour{Faults: faults},
		Sleep: func(context.Context, time.Duration) error { return nil },
	})
	k.answer = k.keep
	return k
}

func (k *keeper) of(id string) *belief {
	if k.held[id] == nil {
		k.held[id] = &belief{orders: map[string]koogallery.Order{}, undone: map[string]bool{}}
	}
	return k.held[id]
}

// until repeats a call of the open API while that makes sense.
func (k *keeper) until(call func() error) error {
	var err error
	for range 200 {
		if err = call(); err == nil || !koogallery.Retryable(err) && !unreadable(err) {
			return err
		}
	}
	return err
}

// unreadable are the refusals which the faults make up.
func unreadable(err error) bool {
	api, ok := asAPIError(err)
	return ok && (api.HTTPStatus == 401 || api.Code == "92020777")
}

func (k *keeper) keep(msg koogallery.Message) (koogallery.Result, error) {
	result, err := k.usual(msg)
	switch m := msg.(type) {
	case koogallery.RefreshLicenseCode:
		err = k.ask(m.License)
	case koogallery.UpdateLicenseCodeStatus:
		k.of(m.License.Reveal()).Frozen = m.Status == koogallery.StatusFreeze
	case koogallery.ReleaseLicenseCode:
		k.of(m.License.Reveal()).Released = true
	case koogallery.NewInstance:
		err = k.ordered(result.InstanceID, m.OrderID)
	case koogallery.RefreshInstance:
		if m.Scene == koogallery.SceneUnsubscribeRenewalPeriod {
			k.of(m.InstanceID).undone[m.OrderID] = true
		}
		err = k.ordered(m.InstanceID, m.OrderID)
	case koogallery.UpdateInstanceStatus:
		k.of(m.InstanceID).Frozen = m.Status == koogallery.StatusFreeze
	case koogallery.ReleaseInstance:
		k.of(m.InstanceID).Released = true
	case koogallery.GetLicenseAsync:
		k.uploads[m.EventID] = true
	}
	return result, err
}

// ask reads the authoritative end of a code.
func (k *keeper) ask(code koogallery.Code) error {
	return k.until(func() error {
		info, err := k.c.Query(k.t.Context(), code)
		if err == nil {
			k.of(code.Reveal()).Ends = info.ExpireTime
		}
		return err
	})
}

// ordered takes the end of an instance from its newest order that still counts.
// A cancellation names the renewal which it takes back, so the time at which a
// message arrives, or was signed, tells nothing about what came last.
func (k *keeper) ordered(instance, orderID string) error {
	b := k.of(instance)
	return k.until(func() error {
		order, err := k.c.Order(k.t.Context(), orderID, "")
		if err != nil {
			return err
		}
		b.orders[orderID] = order
		var newest koogallery.Order
		for id, o := range b.orders {
			if !b.undone[id] && o.CreateTime.After(newest.CreateTime) {
				newest = o
			}
		}
		b.Ends = newest.Lines[0].ExpireTime
		return nil
	})
}

func (k *keeper) deliver() {
	k.t.Helper()
	for event := range k.uploads {
		err := k.until(func() error {
			return k.c.Upload(k.t.Context(), event, koogallery.Upload{License: []byte("licence for " + event)})
		})
		if err == nil || koogallery.Retryable(err) {
			must(k.t, err)
		}
		delete(k.uploads, event)
	}
}

// TestModel plays random lives with every fault, ten thousand steps in all. Afterwards a merchant which
// keeps to the pages believes what the sandbox knows, of every purchase.
func TestModel(t *testing.T) {
	faults := map[sandbox.Fault]float64{}
	for _, f := range sandbox.Faults() {
		faults[f] = 0.15
	}
	for seed := uint64(1); seed <= 25; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			k := newKeeper(t, seed, faults)
			k.play(rand.New(rand.NewPCG(seed, 0)), 400)
			k.compare()
		})
	}
}

func (k *keeper) play(r *rand.Rand, steps int) {
	k.t.Helper()
	var sold []sandbox.Order
	for range steps {
		k.advance(time.Duration(1+r.IntN(600)) * time.Second)
		if len(sold) == 0 || r.IntN(5) == 0 {
			o := k.buy([]string{product, "ONLINE"}[r.IntN(2)], 5, year)
			if sold = append(sold, o); !o.Code.IsZero() {
				_ = k.until(func() error { _, err := k.c.Activate(k.t.Context(), o.Code, time.Time{}); return err })
				must(k.t, k.ask(o.Code))
			}
			continue
		}
		id := sold[r.IntN(len(sold))].Ref()
		// What the state does not allow is no step.
		switch r.IntN(9) {
		case 0, 1:
			_, _ = k.s.Renew(id, 30*24*time.Hour)
		case 2:
			_, _ = k.s.CancelRenewal(id)
		case 3:
			_ = k.s.Freeze(id)
		case 4:
			_ = k.s.Unfreeze(id)
		case 5:
			if r.IntN(4) == 0 {
				_, _ = k.s.Unsubscribe(id)
			}
		case 6, 7:
			_, _ = k.s.Apply(id, sandbox.LicenseRequest{Device: koogallery.NewDeviceFingerprint(fmt.Sprint("device ", r.IntN(4)))})
		case 8:
			k.deliver()
		}
	}
	// The seller restarts what was given up, and the faults end.
	must(k.t, k.s.SetMisbehaviour(sandbox.Misbehaviour{}))
	k.advance(24 * time.Hour)
	for _, d := range k.s.Deliveries() {
		if d.State == sandbox.Failed {
			_ = k.s.Retry(d.ID) // one of a refunded order stays
		}
	}
	k.advance(24 * time.Hour)
	k.deliver()
}

func (k *keeper) compare() {
	k.t.Helper()
	delivered := 0
	for _, c := range k.s.Codes() {
		if c.Status == sandbox.Cancelled {
			continue
		}
		id := c.Code.Reveal()
		if c.Interface == sandbox.Online {
			id = c.InstanceID
		}
		want := belief{Ends: c.ExpiresAt, Frozen: c.Frozen, Released: c.Status == sandbox.Released}
		got := *k.of(id)
		if got.Released && want.Released { // what came last before the end no longer counts
			got.Ends, got.Frozen = want.Ends, want.Frozen
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(belief{})); diff != "" {
			k.t.Errorf("%s %s (-sandbox +merchant):\n%s", c.Interface, c.Status, diff)
		}
		if c.Pending != 0 {
			k.t.Errorf("%d messages are pending", c.Pending)
		}
		for _, a := range c.Applications {
			if a.State == sandbox.Fulfilled {
				delivered++
				if a.License.Reveal() != "licence for "+a.EventID {
					k.t.Error("another licence was delivered")
				}
			} else if c.Status != sandbox.Released {
				k.t.Errorf("an application is %s", a.State)
			}
		}
	}
	if delivered == 0 {
		k.t.Error("no licence was delivered")
	}
	if v := k.events(sandbox.EventViolation); len(v) > 0 {
		k.t.Errorf("violations %v", v)
	}
}
