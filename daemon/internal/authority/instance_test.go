package authority_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// pc is a device as the marketplace's client names it.
const pc = "04:7C:16:5E:E3:5D|001B_444A_488B_5CEC.||BFEBFBFF00090672"

// desk is the part of a marketplace that sells instances.
type desk struct {
	mu        sync.Mutex
	orders    map[string]authority.OrderInfo
	delivered map[string][][]byte // by event
	asked     int
	fail      error // of all calls
	lose      bool  // the next delivery arrives, and its answer does not
	hangs     bool  // deliveries are not answered at all
}

func (d *desk) Order(_ context.Context, order, line string) (authority.OrderInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.fail != nil {
		return authority.OrderInfo{}, d.fail
	}
	info, ok := d.orders[order+" "+line]
	if !ok {
		return info, license.Errorf(license.Forbidden, "no such order")
	}
	return info, nil
}

func (d *desk) Deliver(ctx context.Context, event string, file []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.hangs {
		d.mu.Unlock()
		<-ctx.Done()
		d.mu.Lock()
		return ctx.Err()
	}
	if d.fail != nil {
		return d.fail
	}
	d.delivered[event] = append(d.delivered[event], slices.Clone(file))
	if d.lose {
		d.lose = false
		return errUnreachable
	}
	return nil
}

func (d *desk) set(fail error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = fail
}

func (d *desk) hang(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hangs = on
}

func (d *desk) files(event string) [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.delivered[event])
}

func (d *desk) sell(line string, info authority.OrderInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.orders[line] = info
}

func (d *desk) order(line string) authority.OrderInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.orders[line]
}

func (d *desk) loseOne() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lose = true
}

// times is how often it was called.
func (d *desk) times() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

var errUnreachable = license.Errorf(license.MarketplaceUnavailable, "the marketplace does not answer")

// market is a world whose marketplace sells instances and whose outbox runs. It
// lives in a synctest bubble.
type market struct {
	*world
	desk *desk
	n    int

	mu       sync.Mutex
	outcomes []authority.JobOutcome
	stop     func()
}

// inMarket runs fn in a bubble, on an order for two devices of a year.
func inMarket(t *testing.T, fn func(m *market)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, _ := loopWorld(t)
		m := &market{world: w, desk: &desk{orders: map[string]authority.OrderInfo{}, delivered: map[string][][]byte{}}}
		m.desk.sell("CS1 CS1-1", authority.OrderInfo{
			Type: "NEW", Product: "OFFI1", Amount: 2, Customer: "ACME", OrderedAt: m.a.Now(), ExpiresAt: m.a.Now().Add(365 * day),
		})
		w.again(func(o *authority.Options) {
			o.Products[0].MachinesFromAmount = true
			o.Channels[0].Desk = m.desk
		})
		m.run()
		fn(m)
		m.stop()
	})
}

// run starts the outbox.
func (m *market) run() {
	ctx, cancel := context.WithCancel(m.t.Context())
	var running sync.WaitGroup
	a := m.a
	running.Go(func() {
		a.RunOutbox(ctx, func(o authority.JobOutcome) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.outcomes = append(m.outcomes, o)
		})
	})
	stopLists := m.loop()
	m.stop = func() { cancel(); running.Wait(); _ = stopLists() }
	synctest.Wait()
}

// reported is what the outbox said it failed to do.
func (m *market) reported() []authority.JobOutcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.outcomes)
}

// restart is a daemon that ends and starts again on the same store.
func (m *market) restart() {
	m.stop()
	m.again()
	m.run()
}

func (m *market) sent() (time.Time, []byte) {
	m.n++
	return m.a.Now(), fmt.Appendf(nil, "message %d", m.n)
}

func (m *market) buy(order string) string {
	m.t.Helper()
	at, key := m.sent()
	id, err := m.a.NewInstance(m.t.Context(), authority.Purchase{
		Channel: "koogallery", Order: order, Line: order + "-1", Business: fmt.Sprintf("business-%d", m.n), SentAt: at, ReplayKey: key,
	})
	m.must(err, "")
	return id
}

func (m *market) apply(instance, event, device string, edit ...func(*authority.Application)) error {
	m.t.Helper()
	at, key := m.sent()
	app := authority.Application{
		Channel: "koogallery", Instance: instance, Event: event, From: m.a.Now(), Until: m.a.Now().Add(300 * day), SentAt: at, ReplayKey: key,
	}
	if device != "" {
		var err error
		if app.Device, err = license.ParseDevice(device); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, f := range edit {
		f(&app)
	}
	return m.a.Apply(m.t.Context(), app)
}

// say sends a message about an instance.
func (m *market) say(instance string, event license.Event, end time.Time) error {
	m.t.Helper()
	at, key := m.sent()
	_, err := m.a.Message(m.t.Context(), authority.Message{
		Channel: "koogallery", Instance: instance, Event: event, ExpiresAt: end, SentAt: at, ReplayKey: key,
	})
	return err
}

// jobs lists what the outbox has.
func (m *market) jobs() []license.Job {
	m.t.Helper()
	jobs, _, err := m.a.Jobs(m.t.Context(), store.JobFilter{}, store.Page{Limit: store.MaxPage})
	m.must(err, "")
	return jobs
}

// instance returns the licence of an instance.
func (m *market) instance(id string) license.License {
	m.t.Helper()
	all, _, err := m.a.Licenses(m.t.Context(), authority.Filter{Instance: id}, authority.Page{})
	m.must(err, "")
	if len(all) != 1 {
		m.t.Fatalf("%d licences of the instance", len(all))
	}
	return all[0].License
}

// licence reads a licence file that was delivered.
func (m *market) licence(file []byte) token.License {
	m.t.Helper()
	f, err := token.ParseFile(file)
	if err != nil || len(f.Licenses) != 1 || len(f.KeySets) != 1 {
		m.t.Fatalf("delivered: %v, %+v", err, f)
	}
	return m.verify(f.Licenses[0], "cad")
}

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

// A delivery whose answer is lost is made again, with the same licence.
func TestDeliveryAnswerLost(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		m.desk.loseOne()
		m.must(m.apply(id, "event-1", pc), "")
		time.Sleep(time.Hour)
		synctest.Wait()
		files := m.desk.files("event-1")
		if len(files) != 2 || m.licence(files[0]).Raw != m.licence(files[1]).Raw || m.events(license.ActionDeliver) != 1 {
			t.Errorf("delivered %d times, recorded %d", len(files), m.events(license.ActionDeliver))
		}
	})
}

// A marketplace that takes no licence for an application any more, after one that
// it did not answer, has got it. Where every attempt was answered that is a
// failure which somebody has to look at.
func TestDeliveryAnswerLostAndClosed(t *testing.T) {
	t.Parallel()
	closed := license.Errorf(license.Forbidden, "the marketplace refuses").WithCause(authority.ErrNoApplication)
	for _, lost := range []string{"answer", "process", "nothing"} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			inMarket(t, func(m *market) {
				id := m.buy("CS1")
				synctest.Wait()
				switch lost {
				case "answer":
					m.desk.set(errUnreachable)
					m.must(m.apply(id, "event-1", pc), "")
					synctest.Wait()
				case "process":
					m.desk.hang(true)
					m.must(m.apply(id, "event-1", pc), "")
					synctest.Wait()
					m.stop()
					m.desk.hang(false)
					m.again()
				default:
					m.desk.set(closed)
					m.must(m.apply(id, "event-1", pc), "")
					synctest.Wait()
				}
				m.desk.set(closed)
				if lost == "process" {
					m.run()
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if lost == "nothing" {
					if jobs := m.jobs(); len(jobs) != 1 || jobs[0].State() != license.JobParked {
						t.Errorf("nothing was parked: %+v", jobs)
					}
					return
				}
				if jobs := m.jobs(); len(jobs) != 0 || m.events(license.ActionDeliver) != 1 {
					t.Errorf("left over: %+v", jobs)
				}
			})
		})
	}
}

// What the marketplace refuses for good is parked, with the reason, and done when
// the merchant has it tried again.
func TestJobParked(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.set(license.Errorf(license.Forbidden, "License apply has been denied."))
		id := m.buy("CS1")
		synctest.Wait()
		time.Sleep(30 * day)
		synctest.Wait()
		jobs := m.jobs()
		if len(jobs) != 1 || jobs[0].ParkedAt.IsZero() || jobs[0].Attempts != 1 || jobs[0].Failure != "forbidden: License apply has been denied." ||
			m.events(license.ActionJobPark) != 1 || !m.reported()[len(m.reported())-1].Parked {
			t.Fatalf("parked: %+v", jobs)
		}
		m.desk.set(nil)
		if _, err := m.a.RetryJob(m.t.Context(), admin, jobs[0].ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if m.instance(id).Machines != 2 || len(m.jobs()) != 0 || m.events(license.ActionJobRetry) != 1 {
			t.Errorf("left over: %v", m.jobs())
		}
		_, err := m.a.RetryJob(m.t.Context(), admin, jobs[0].ID)
		m.must(err, license.NotFound)
	})
}

// An unreachable marketplace is asked less and less often, and in the end not at
// all.
func TestJobRetries(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.set(errUnreachable)
		_ = m.buy("CS1")
		var asked []int
		for range 5 {
			time.Sleep(6 * time.Hour)
			synctest.Wait()
			asked = append(asked, m.desk.times())
		}
		if asked[0] < 10 || asked[0] > 20 || asked[4] != 20 || len(m.jobs()) != 1 || m.jobs()[0].ParkedAt.IsZero() {
			t.Errorf("asked %v times, %+v", asked, m.jobs())
		}
		if _, err := m.a.DropJob(m.t.Context(), admin, m.jobs()[0].ID); err != nil || len(m.jobs()) != 0 || m.events(license.ActionJobDrop) != 1 {
			t.Errorf("%v, %v", err, m.jobs())
		}
	})
}

// Deliveries of one instance keep their order, those of several do not wait for
// each other.
func TestJobsOfOneInstanceKeepTheirOrder(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.sell("CS2 CS2-1", m.desk.order("CS1 CS1-1"))
		one := m.buy("CS1")
		synctest.Wait()
		m.desk.set(errUnreachable)
		m.must(m.apply(one, "event-1", pc), "")
		synctest.Wait()
		m.must(m.apply(one, "event-2", "HW-2"), "")
		synctest.Wait()
		if asked := m.desk.times(); asked != 2 { // the order, and the first delivery
			t.Errorf("asked %d times", asked)
		}
		m.desk.set(nil)
		two := m.buy("CS2")
		synctest.Wait()
		m.must(m.apply(two, "event-3", pc), "")
		synctest.Wait()
		if len(m.desk.files("event-3")) != 1 || len(m.desk.files("event-2")) != 0 {
			t.Errorf("delivered: %d of the other, %d out of order", len(m.desk.files("event-3")), len(m.desk.files("event-2")))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(m.desk.files("event-1")) != 1 || len(m.desk.files("event-2")) != 1 {
			t.Error("not delivered")
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
