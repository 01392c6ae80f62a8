package authority_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// What ended between the application and the delivery is not delivered; what was
// frozen is as soon as it is not any more.
func TestEndedBeforeDelivery(t *testing.T) {
	t.Parallel()
	for _, event := range []license.Event{license.EventRelease, license.EventFreeze, license.EventRevoke} {
		t.Run(string(event), func(t *testing.T) {
			t.Parallel()
			inMarket(t, func(m *market) {
				id := m.buy("CS1")
				synctest.Wait()
				m.desk.set(errUnreachable)
				m.must(m.apply(id, "event-1", pc), "")
				synctest.Wait()
				if event == license.EventRevoke {
					m.must(m.edit(m.instance(id).ID, event), "")
				} else {
					m.must(m.say(id, event, time.Time{}), "")
				}
				m.desk.set(nil)
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if n := len(m.desk.files("event-1")); n != 0 {
					t.Errorf("delivered %d times", n)
				}
				if event != license.EventFreeze {
					return
				}
				time.Sleep(time.Second)
				m.must(m.say(id, license.EventUnfreeze, time.Time{}), "")
				synctest.Wait()
				if n := len(m.desk.files("event-1")); n != 1 || len(m.jobs()) != 0 {
					t.Errorf("delivered %d times after it was lifted, left over: %v", n, m.jobs())
				}
			})
		})
	}
}

// Devices that are like each other in turns do not share one place.
func TestDevicesAreNotChained(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1") // for two devices
		synctest.Wait()
		granted := 0
		for n := 1; n <= 10; n++ {
			one := fmt.Sprintf("04:7C:16:5E:E3:%02X|DISK-%04d||", n, n)
			both := fmt.Sprintf("04:7C:16:5E:E3:%02X,04:7C:16:5E:E3:%02X|DISK-%04d,DISK-%04d||", n, n+1, n, n+1)
			if m.apply(id, fmt.Sprint("one-", n), one) == nil {
				granted++
			}
			time.Sleep(time.Minute)
			_ = m.apply(id, fmt.Sprint("both-", n), both)
			time.Sleep(time.Minute)
		}
		if granted > 2 {
			t.Errorf("an order for 2 devices served %d that share nothing", granted)
		}
	})
}

// A place is taken by a device and not by its applications, also where nothing is
// bound to it, and only while its licence runs.
func TestDevicesPlaces(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.stop()
		m.again(func(o *authority.Options) { o.Products[0].Binding = license.PolicyNone })
		m.run()
		id := m.buy("CS1")
		synctest.Wait()
		short := func(a *authority.Application) { a.Until = m.a.Now().Add(30 * day) }
		for n := range 5 {
			m.must(m.apply(id, fmt.Sprint("start-", n), pc, short), "")
		}
		m.must(m.apply(id, "second", "HW-2", short), "")
		m.must(m.apply(id, "third", "HW-3", short), license.MachineLimit)
		if err := m.apply(id, "over", "HW-2", func(a *authority.Application) { a.From, a.Until = m.a.Now().Add(-2*day), m.a.Now().Add(-day) }); err == nil {
			t.Error("a licence was made that was over already")
		}
		m.away(60 * day) // past the grace of those licences
		m.must(m.apply(id, "third again", "HW-3", short), "")
		m.must(m.apply(id, "first again", pc, short), "")
		m.must(m.apply(id, "second again", "HW-2", short), license.MachineLimit)
		synctest.Wait()
	})
}

// However often a device applies, it is one machine, which can be ended at one
// stroke, with all that it was granted.
func TestDeviceIsOneInstall(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		for n := range 100 {
			m.must(m.apply(id, fmt.Sprint("event-", n), pc), "")
			time.Sleep(time.Minute)
		}
		m.must(m.apply(id, "another", "HW-2"), "")
		synctest.Wait()
		l, installs := m.license(m.instance(id).ID)
		if len(installs) != 2 {
			t.Fatalf("%d installs", len(installs))
		}
		places := make(map[int]bool)
		for n := range 100 {
			got := m.licence(m.desk.files(fmt.Sprint("event-", n))[0])
			places[got.Status.Index] = true
		}
		if len(places) != 1 {
			t.Errorf("%d status places", len(places))
		}
		for _, i := range installs {
			if _, ok := i.Granted("another"); ok {
				continue
			}
			_, _, err := m.a.RemoveInstall(m.t.Context(), license.Actor{Kind: license.ActorAdmin}, l.ID, i.ID, "")
			m.must(err, "")
		}
		m.must(m.apply(id, "event-99", pc), license.Unauthorized)
		m.must(m.apply(id, "returned", pc), "")
		synctest.Wait()
		if back := m.licence(m.desk.files("returned")[0]); places[back.Status.Index] {
			t.Error("a machine that came back has the status place of the one that was ended")
		}
	})
}

// A device whose licence has run out, and whose place another took, does not get
// it back past the number of machines, by whatever way.
func TestDeviceComesBackToFullInstance(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1") // for two devices
		synctest.Wait()
		short := func(a *authority.Application) { a.Until = m.a.Now().Add(30 * day) }
		m.must(m.apply(id, "one", "HW-1", short), "")
		m.away(60 * day)
		m.must(m.apply(id, "two", "HW-2"), "")
		m.must(m.apply(id, "three", "HW-3"), "")
		synctest.Wait()
		m.must(m.apply(id, "one again", "HW-1"), license.MachineLimit)
		device, err := license.ParseDevice("HW-1")
		m.must(err, "")
		_, err = m.a.Identify(m.t.Context(), license.Actor{Kind: license.ActorAdmin}, authority.Identification{
			Ref: authority.OrderRef{ID: m.instance(id).ID}, Device: device,
		})
		m.must(err, license.MachineLimit)
		m.must(m.apply(id, "one", "HW-1"), "") // the same again is the same again
		synctest.Wait()
		if files := m.desk.files("one"); len(files) != 2 || m.licence(files[0]).Raw != m.licence(files[1]).Raw {
			t.Errorf("delivered %d times, or another licence", len(files))
		}
	})
}

// A longer licence that a device holds keeps its place, though it was granted a
// shorter one since.
func TestDeviceKeepsPlaceOfLongerLicence(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		m.must(m.apply(id, "long", "HW-1"), "")
		m.must(m.apply(id, "short", "HW-1", func(a *authority.Application) { a.Until = m.a.Now().Add(day) }), "")
		m.away(60 * day)
		m.must(m.apply(id, "two", "HW-2"), "")
		m.must(m.apply(id, "three", "HW-3"), license.MachineLimit)
		synctest.Wait()
	})
}

// Applications without a device: their places come free when they have run out.
func TestPlacesWithoutADevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := loopWorld(t)
		m := &market{world: w, desk: &desk{orders: map[string]authority.OrderInfo{}, delivered: map[string][][]byte{}}}
		m.desk.sell("CS1 CS1-1", authority.OrderInfo{
			Type: "NEW", Product: "OFFI1", Amount: 1, Customer: "ACME", OrderedAt: m.a.Now(), ExpiresAt: m.a.Now().Add(800 * day),
		})
		w.again(func(o *authority.Options) {
			o.Products[0].MachinesFromAmount = true
			o.Products[0].Binding = license.PolicyNone
			o.Channels[0].Desk = m.desk
		})
		m.run()
		defer func() { m.stop() }()
		id := m.buy("CS1")
		synctest.Wait()
		m.must(m.apply(id, "event-1", "", func(a *authority.Application) { a.Until = m.a.Now().Add(2 * day) }), "")
		m.away(40 * day) // past the grace of the first, which was for two days
		synctest.Wait()
		m.must(m.apply(id, "event-2", ""), "")
		m.must(m.apply(id, "event-3", ""), license.MachineLimit)
		synctest.Wait()
	})
}

// An application that is repeated gets the licence that it was granted, though
// the device was granted others since and the terms have changed.
func TestRepeatedApplicationAfterAChange(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		m.must(m.apply(id, "event-1", pc), "")
		time.Sleep(time.Hour)
		end := m.instance(id).ExpiresAt
		m.desk.sell("CS2 CS2-1", authority.OrderInfo{Type: "CHANGE", Product: "OFFI1", Amount: 5, OrderedAt: m.a.Now(), ExpiresAt: end})
		m.refresh(id, "CS2", end, false)
		m.must(m.apply(id, "event-2", pc), "")
		time.Sleep(time.Hour)
		m.must(m.apply(id, "event-1", pc), "")
		m.must(m.apply(id, "event-2", pc), "")
		synctest.Wait()
		one, two := m.desk.files("event-1"), m.desk.files("event-2")
		if len(one) != 2 || len(two) != 2 {
			t.Fatalf("delivered %d and %d times", len(one), len(two))
		}
		if a, b := m.licence(one[0]), m.licence(one[1]); a.Raw != b.Raw || a.Machines != 2 {
			t.Errorf("the first application got %+v and %+v", a, b)
		}
		if a, b := m.licence(two[0]), m.licence(two[1]); a.Raw != b.Raw || a.Machines != 5 {
			t.Errorf("the second application got %+v and %+v", a, b)
		}
	})
}
