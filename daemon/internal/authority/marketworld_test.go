package authority_test

import (
	"context"
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
func (m *market) restart() { m.away(0) }

// away has time go by while the daemon is down, which makes many days cheap: one that
// runs looks each minute whether there is something to do.
func (m *market) away(d time.Duration) {
	m.stop()
	time.Sleep(d)
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
