package authority_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// A purchase becomes an instance at once, what was bought is read afterwards,
// and a device gets a licence that it can verify from its fingerprint alone.
func TestInstance(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		if id != "business-1" {
			t.Errorf("the instance is %q", id)
		}
		if again := m.buy("CS1"); again != id {
			t.Errorf("the same purchase has the instances %q and %q", id, again)
		}
		synctest.Wait()
		l := m.instance(id)
		if l.Product != "cad" || l.Machines != 2 || l.Order != "CS1" || l.Customer != "ACME" || l.Channel != "koogallery" ||
			!l.ExpiresAt.Equal(m.desk.order("CS1 CS1-1").ExpiresAt) {
			t.Errorf("sold as %+v", l)
		}
		m.must(m.apply(id, "event-1", pc), "")
		synctest.Wait()
		files := m.desk.files("event-1")
		if len(files) != 1 {
			t.Fatalf("delivered %d times", len(files))
		}
		got := m.licence(files[0])
		device, _ := license.ParseDevice(pc)
		other, _ := license.ParseDevice("AA:BB:CC:DD:EE:FF|OTHER||BFEBFBFF00090672")
		switch fp := device.Fingerprint(got.Binding.Salt); {
		case !license.Match(got.Binding, fp).OK, license.Match(got.Binding, other.Fingerprint(got.Binding.Salt)).OK:
			t.Errorf("bound to %+v", got.Binding)
		case got.InstallKey != nil, !got.Dates.LeaseUntil.Equal(got.Dates.Exp), got.Dates.RefreshAfter.Before(got.Dates.Exp):
			t.Errorf("a device that calls nobody is to call: %+v", got.Dates)
		case !got.Dates.ExpiresAt.Equal(m.a.Now().Add(300 * day)), got.LicenseID != l.ID:
			t.Errorf("it ends %s, and is of %s", got.Dates.ExpiresAt, got.LicenseID)
		}
		if len(m.jobs()) != 0 || m.events(license.ActionDeliver) != 1 || m.events(license.ActionIssue) != 1 || len(m.reported()) != 0 {
			t.Errorf("left over: %v, reported: %v", m.jobs(), m.reported())
		}
	})
}

// The same application gets the same licence, however often it is made; another
// one for the same device takes no second place.
func TestApplicationsAreIdempotent(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		for range 3 {
			m.must(m.apply(id, "event-1", pc), "")
			time.Sleep(time.Hour)
			synctest.Wait()
		}
		m.must(m.apply(id, "event-2", pc), "")
		m.must(m.apply(id, "event-3", "HW-CODE-2"), "")
		m.must(m.apply(id, "event-4", "hw-code-2"), "")
		m.must(m.apply(id, "event-1", pc), "")
		m.must(m.apply(id, "event-5", "HW-CODE-3"), license.MachineLimit)
		synctest.Wait()
		files := m.desk.files("event-1")
		if len(files) != 4 {
			t.Fatalf("delivered %d times", len(files))
		}
		for _, f := range files[1:] {
			if a, b := m.licence(files[0]), m.licence(f); a.Raw != b.Raw {
				t.Error("the same application got two licences")
			}
		}
		if a, b := m.licence(files[0]), m.licence(m.desk.files("event-2")[0]); a.Raw == b.Raw {
			t.Error("two applications got one licence")
		}
		if n := len(m.desk.files("event-5")); n != 0 {
			t.Error("a refused application was delivered")
		}
		_, installs := m.license(m.instance(id).ID)
		seats := map[string]bool{}
		for _, i := range installs {
			seats[i.Seat] = true
		}
		if len(installs) != 2 || len(seats) != 2 {
			t.Errorf("%d devices on %d places", len(installs), len(seats))
		}
	})
}

// What an order does not allow is refused with a reason of its own, and nothing
// is made of it.
func TestApplicationsRefused(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		end := m.instance(id).ExpiresAt
		until := func(at time.Time) func(*authority.Application) {
			return func(a *authority.Application) { a.Until = at }
		}
		for name, c := range map[string]struct {
			err  error
			want error
		}{
			"no such instance":      {m.apply("nobody", "e", pc), authority.ErrNoInstance},
			"no device":             {m.apply(id, "e", ""), authority.ErrNeedsDevice},
			"no end":                {m.apply(id, "e", pc, until(time.Time{})), authority.ErrNeedsEnd},
			"ends too late":         {m.apply(id, "e", pc, until(end.Add(2*day))), authority.ErrOutside},
			"begins too late":       {m.apply(id, "e", pc, func(a *authority.Application) { a.From, a.Until = end.Add(day), end.Add(day+time.Hour) }), authority.ErrOutside},
			"ends before it begins": {m.apply(id, "e", pc, func(a *authority.Application) { a.Until = a.From }), license.BadRequest},
			"no event":              {m.apply(id, "a\x00b", pc), license.BadRequest},
		} {
			if !errors.Is(c.err, c.want) {
				t.Errorf("%s: %v, want %v", name, c.err, c.want)
			}
		}
		m.must(m.say(id, license.EventFreeze, time.Time{}), "")
		if err := m.apply(id, "e", pc); !errors.Is(err, authority.ErrOutside) {
			t.Errorf("while frozen: %v", err)
		}
		m.must(m.say(id, license.EventUnfreeze, time.Time{}), "")
		m.must(m.say(id, license.EventRelease, time.Time{}), "")
		m.must(m.apply(id, "e", pc), license.Released)
		m.must(m.say("nobody", license.EventFreeze, time.Time{}), license.UnknownLicense)
		synctest.Wait()
		if _, installs := m.license(m.instance(id).ID); len(installs) != 0 || len(m.jobs()) != 0 || len(m.desk.files("e")) != 0 {
			t.Errorf("made all the same: %v, %v", installs, m.jobs())
		}
	})
}

// While the marketplace is down an instance is made all the same, and what
// comes meanwhile waits in its order.
func TestInstanceWhileMarketplaceIsDown(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.set(errUnreachable)
		id := m.buy("CS1")
		m.must(m.apply(id, "event-1", pc), "")
		end := m.a.Now().Add(500 * day)
		m.must(m.say(id, license.EventSetExpiry, end), "")
		synctest.Wait()
		if n := len(m.jobs()); n != 2 || len(m.reported()) == 0 || m.desk.times() != 1 {
			t.Fatalf("%d jobs, %d reports, asked %d times", n, len(m.reported()), m.desk.times())
		}
		m.restart()
		m.desk.set(nil)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if l := m.instance(id); !l.ExpiresAt.Equal(end) {
			t.Errorf("it ends %s, though a message said %s", l.ExpiresAt, end)
		}
		if n := len(m.desk.files("event-1")); n != 1 || len(m.jobs()) != 0 {
			t.Errorf("delivered %d times, left over: %v", n, m.jobs())
		}
	})
}

// Nobody activates an instance as a code by its id.
func TestInstanceIsNoCode(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		code, err := license.ParseCode(id)
		m.must(err, "")
		m.must(m.install("machine").activate(code), license.UnknownCode)
	})
}

// A renewal sets the end that its order says, is no delivery that somebody waits
// for, and counts by when it was made, not by when it was heard of.
func TestRenewalsByTheirOrders(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		first := m.instance(id).ExpiresAt
		ends := make(map[string]time.Time)
		for n, order := range []string{"CS2", "CS3"} {
			ends[order] = first.Add(time.Duration(n+1) * 100 * day)
			m.desk.sell(order+" "+order+"-1", authority.OrderInfo{
				Type: "RENEW", Product: "OFFI1", Amount: 2, OrderedAt: m.a.Now().Add(time.Duration(n+1) * time.Hour), ExpiresAt: ends[order],
			})
		}
		renewed := func(order string, undone bool) {
			at, key := m.sent()
			_, err := m.a.Message(m.t.Context(), authority.Message{
				Channel: "koogallery", Instance: id, Event: license.EventSetExpiry, ExpiresAt: ends[order], Order: order, Line: order + "-1", Undone: undone,
				SentAt: at, ReplayKey: key,
			})
			m.must(err, "")
			time.Sleep(time.Second)
			synctest.Wait()
		}
		renewed("CS3", false)
		renewed("CS2", false) // a retry of the older one, signed later
		if got := m.instance(id).ExpiresAt; !got.Equal(ends["CS3"]) {
			t.Errorf("it ends %s, want %s", got, ends["CS3"])
		}
		renewed("CS3", true)
		if got := m.instance(id).ExpiresAt; !got.Equal(ends["CS2"]) {
			t.Errorf("after the cancellation it ends %s, want %s", got, ends["CS2"])
		}
		open, _, err := m.a.Orders(m.t.Context(), authority.OrderFilter{Open: true}, authority.Page{})
		if err != nil || len(open) != 1 || open[0].ID != "CS1" {
			t.Errorf("open orders: %+v, %v", open, err)
		}
	})
}

// An order that was notified is read and kept.
func TestNotice(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		at, key := m.sent()
		n := authority.Notice{Channel: "koogallery", Order: "CS1", Line: "CS1-1", SentAt: at, ReplayKey: key}
		m.must(m.a.Notice(m.t.Context(), n), "")
		m.must(m.a.Notice(m.t.Context(), n), license.Replayed)
		synctest.Wait()
		var orders []license.Order
		err := m.store.View(m.t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
			orders, _, err = tx.Orders(ctx, store.OrderFilter{}, store.Page{})
			return err
		})
		if err != nil || len(orders) != 1 || orders[0].Product != "OFFI1" || orders[0].Amount != 2 || orders[0].License != "" ||
			orders[0].Stage != license.StageToDeliver || m.events(license.ActionOrderAdd) != 1 {
			t.Errorf("%+v, %v", orders, err)
		}
	})
}
