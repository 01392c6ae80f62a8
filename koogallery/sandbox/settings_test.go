package sandbox_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

// wire is what a merchant sees of a call before it understands it.
type wire struct {
	body  string
	query url.Values
}

// recorded plays an online purchase, its renewal and an application to a
// merchant who writes down what comes.
func recorded(t *testing.T, d sandbox.Dialect) map[string]wire {
	t.Helper()
	got := map[string]wire{}
	s := merchantSays(t, sandbox.Options{Dialect: d, Products: []sandbox.Product{{ID: "ONLINE", Interface: sandbox.Online}}},
		func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			var m struct{ Activity string }
			_ = json.Unmarshal(body, &m)
			got[m.Activity] = wire{string(body), r.URL.Query()}
			_, _ = io.WriteString(w, `{"resultCode":"000000","instanceId":"i1"}`)
		})
	o, err := s.Buy(t.Context(), "ONLINE", 1, year)
	must(t, err)
	must(t, s.Advance(t.Context(), 0))
	_, err = s.Renew(o.Ref(), year)
	must(t, err)
	_, err = s.Apply(o.Ref(), sandbox.LicenseRequest{Device: koogallery.NewDeviceFingerprint("d")})
	must(t, err)
	must(t, s.Advance(t.Context(), 0))
	return got
}

func TestDialectOfCallbacks(t *testing.T) {
	key := koogallery.NewAccessKey("callback key")
	signs := func(w wire, payload string) bool {
		return w.query.Get("signature") == koogallery.SignCallback(key, w.query.Get("nonce"), w.query.Get("timestamp"), []byte(payload))
	}
	const apply, refresh = "getLicenseAsync", "refreshInstance"
	plain := recorded(t, sandbox.Dialect{})
	if !strings.HasPrefix(plain[apply].body, `{"activity":"getLicenseAsync","deviceFingerprint":"d","effectiveTime":"2026-03-04 05:06:07 z",`) ||
		!signs(plain[apply], plain[apply].body) || !strings.Contains(plain[refresh].body, `"expireTime":"20280303050607"`) {
		t.Errorf("by default %v", plain)
	}
	sample := recorded(t, sandbox.Dialect{BodyOrder: sandbox.BodyOrderSample})
	canonical, err := koogallery.CanonicalPayload([]byte(sample[apply].body))
	must(t, err)
	if !strings.HasPrefix(sample[apply].body, `{"activity":"getLicenseAsync","eventId":"ev`) || !strings.HasSuffix(sample[apply].body, `"deviceFingerprint":"d","testFlag":"0"}`) ||
		!signs(sample[apply], sample[apply].body) || signs(sample[apply], string(canonical)) {
		t.Errorf("as the sample: %v", sample[apply])
	}
	again := recorded(t, sandbox.Dialect{BodyOrder: sandbox.BodyOrderSample, SignedForm: sandbox.SignedFormCanonical})[apply]
	if canonical, err = koogallery.CanonicalPayload([]byte(again.body)); err != nil || !signs(again, string(canonical)) || signs(again, again.body) {
		t.Errorf("the canonical form is signed: %v %v", again, err)
	}
	upper := recorded(t, sandbox.Dialect{SignatureCase: sandbox.SignatureCaseUpper})[refresh]
	if got := upper.query.Get("signature"); got != strings.ToUpper(got) || strings.ToLower(got) != koogallery.SignCallback(key, upper.query.Get("nonce"), upper.query.Get("timestamp"), []byte(upper.body)) {
		t.Errorf("upper case: %s", got)
	}
	if got := recorded(t, sandbox.Dialect{ExpireTime: sandbox.ExpireTime17})[refresh].body; !strings.Contains(got, `"expireTime":"20280303050607000"`) {
		t.Errorf("17 digits: %s", got)
	}
	for form, text := range map[string]string{
		sandbox.LicenseTimeUpper: "2026-03-04 05:06:07 Z", sandbox.LicenseTimeJoined: "2026-03-04 05:06:07z", sandbox.LicenseTimeCompact: "20260304050607",
	} {
		if got := recorded(t, sandbox.Dialect{LicenseTime: form})[apply].body; !strings.Contains(got, `"effectiveTime":"`+text+`"`) {
			t.Errorf("%s: %s", form, got)
		}
	}
}

func TestDialectOfOrders(t *testing.T) {
	m := newShop(t, sandbox.Options{Dialect: sandbox.Dialect{
		OrderExpiry: sandbox.OrderExpiryNotRenew, CancelOrder: sandbox.CancelOrderOwn, OrderSuccess: "CBC.0000",
	}})
	o := m.buy("ONLINE", 1, year)
	m.advance(0)
	r, err := m.s.Renew(o.Ref(), year)
	must(t, err)
	order, err := m.c.Order(t.Context(), r.ID, r.LineID)
	must(t, err)
	if l := order.Lines[0]; !l.ExpireTime.IsZero() || l.PeriodNumber != 1 {
		t.Errorf("the line of a renewal: %+v", l)
	}
	if order, err = m.c.Order(t.Context(), o.ID, o.LineID); err != nil || order.Lines[0].ExpireTime.IsZero() {
		t.Errorf("the purchase: %+v %v", order, err)
	}
	cancelled, err := m.s.CancelRenewal(o.Ref())
	must(t, err)
	m.advance(0)
	if got := m.got[len(m.got)-1].(koogallery.RefreshInstance); got.OrderID != cancelled.ID || got.Scene != koogallery.SceneUnsubscribeRenewalPeriod {
		t.Errorf("the cancellation names %s, its order is %s", got.OrderID, cancelled.ID)
	}
	status, answer := m.order(o.ID)
	if status != http.StatusOK || !strings.HasPrefix(answer, `{"resultCode":"CBC.0000"`) {
		t.Errorf("%d %s", status, answer)
	}
	must(t, m.s.SetDialect(sandbox.Dialect{}))
	if _, answer = m.order(r.ID); !strings.HasPrefix(answer, `{"resultCode":"MKT.0000"`) || !strings.Contains(answer, `"expireTime"`) {
		t.Errorf("by default %s", answer)
	}
}

// order asks for an order and returns the answer as it comes.
func (m *shop) order(id string) (int, string) {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, "https://mkt.example.com/api/mkp-openapi-public/global/v1/order/query?orderId="+id, http.NoBody)
	must(m.t, err)
	o := m.s.ClientOptions()
	must(m.t, koogallery.SignRequest(req, nil, o.AccessKeyID, o.SecretAccessKey, m.s.Now()))
	resp, err := (&http.Client{Transport: m.s.Transport()}).Do(req)
	must(m.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(m.t, err)
	return resp.StatusCode, string(body)
}

func TestDialectIsChecked(t *testing.T) {
	s := newSandbox(t, sandbox.Options{})
	want(t, s.SetDialect(sandbox.Dialect{BodyOrder: "random"}), sandbox.ErrInvalid)
	want(t, s.SetDialect(sandbox.Dialect{OrderSuccess: strings.Repeat("x", 17)}), sandbox.ErrInvalid)
	if _, err := sandbox.New(sandbox.Options{Products: s.Products(), Dialect: sandbox.Dialect{ExpireTime: "15"}}); !errors.Is(err, sandbox.ErrInvalid) {
		t.Errorf("New: %v", err)
	}
	var d sandbox.Dialect
	for _, setting := range sandbox.DialectSettings() {
		if got := s.Dialect().Get(setting.Name); got != setting.Values[0] {
			t.Errorf("%s is %q", setting.Name, got)
		}
		last := setting.Values[len(setting.Values)-1]
		must(t, d.Set(setting.Name, last))
		if d.Get(setting.Name) != last {
			t.Errorf("%s was not set", setting.Name)
		}
	}
	want(t, d.Set("tongue", "x"), sandbox.ErrInvalid)
	docs, err := os.ReadFile("../../docs/sandbox.md")
	must(t, err)
	for _, setting := range sandbox.DialectSettings() {
		for _, text := range append([]string{setting.Name}, setting.Values...) {
			if !strings.Contains(string(docs), "`"+text+"`") {
				t.Errorf("docs/sandbox.md does not name %s of %s", text, setting.Name)
			}
		}
	}
}

// A change moves the amount too, which is what uploads are counted against; its
// cancellation takes it back.
func TestChangeOfTheAmount(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy("ONLINE", 1, year)
	m.advance(0)
	first, second := m.apply(o, "first"), m.apply(o, "second")
	text := koogallery.Upload{License: []byte("l")}
	must(t, m.c.Upload(t.Context(), first.EventID, text))
	want(t, m.c.Upload(t.Context(), second.EventID, text), koogallery.ErrNoRemainder)
	changed, err := m.s.Change(o.Ref(), sandbox.Change{Amount: 2, Product: "ONLINE2", Period: year})
	must(t, err)
	m.advance(0)
	if got := m.got[len(m.got)-1].(koogallery.RefreshInstance); got.Scene != koogallery.SceneRenewalChange || got.OrderID != changed.ID || got.ProductID != "ONLINE2" {
		t.Errorf("message %+v", got)
	}
	order, err := m.c.Order(t.Context(), changed.ID, "")
	must(t, err)
	if order.Type != koogallery.OrderChange || order.Lines[0].Products[0].Amount != 2 || m.state(o).Amount != 2 {
		t.Errorf("order %+v, amount %d", order, m.state(o).Amount)
	}
	must(t, m.c.Upload(t.Context(), second.EventID, text))
	_, err = m.s.CancelRenewal(o.Ref())
	must(t, err)
	if got := m.state(o); got.Amount != 1 || got.Product != "ONLINE" {
		t.Errorf("cancelled: %d × %s", got.Amount, got.Product)
	}
	third := m.apply(o, "third")
	want(t, m.c.Upload(t.Context(), third.EventID, text), koogallery.ErrNoRemainder)
	_, err = m.s.Change(o.Ref(), sandbox.Change{Amount: -1, Period: year})
	want(t, err, sandbox.ErrInvalid)
}

// One order is answered badly and the others well, until that is lifted.
func TestFailOrder(t *testing.T) {
	for _, f := range sandbox.OrderFaults() {
		t.Run(string(f), func(t *testing.T) {
			m := newShop(t, sandbox.Options{})
			bad, good := m.buy("ONLINE", 1, year), m.buy("ONLINE", 1, year)
			must(t, m.s.FailOrder(bad.ID, f))
			for range 2 {
				if _, err := m.c.Order(t.Context(), bad.ID, ""); err == nil {
					t.Error("it is answered well")
				}
				_, err := m.c.Order(t.Context(), good.ID, "")
				must(t, err)
			}
			if !has(m.events(sandbox.EventFault), string(f)) {
				t.Error("no event says so")
			}
			must(t, m.s.FailOrder(bad.ID, ""))
			_, err := m.c.Order(t.Context(), bad.ID, "")
			must(t, err)
		})
	}
	m := newShop(t, sandbox.Options{})
	want(t, m.s.FailOrder("none", sandbox.FaultAPIError), sandbox.ErrUnknownCode)
	want(t, m.s.FailOrder("none", sandbox.FaultLate), sandbox.ErrInvalid)
}

// Five days of failed probes and fifteen of retention pass in minutes where a
// day is one.
func TestShortDays(t *testing.T) {
	m := newShop(t, sandbox.Options{Day: time.Minute, Products: []sandbox.Product{{ID: product}}})
	must(t, m.s.SetProductCallback(product, sandbox.Callback{URL: address, AccessKey: koogallery.NewAccessKey("wrong")}))
	o := m.buy(product, 1, time.Hour)
	m.activate(o)
	for range sandbox.MaxFailedDays {
		m.s.Probe()
		m.s.Probe() // twice a day
		m.advance(time.Minute)
	}
	if p := m.product(product); !p.Frozen || p.FailedDays != sandbox.MaxFailedDays {
		t.Errorf("%+v", p)
	}
	must(t, m.s.Expire(o.Ref()))
	if n := m.s.Lapse(time.Minute); n != 0 {
		t.Error("it lapsed within the grace")
	}
	m.advance(time.Minute)
	if m.s.Lapse(time.Minute); !m.state(o).Frozen {
		t.Errorf("%+v", m.state(o))
	}
	m.advance(14 * time.Minute)
	if m.s.Lapse(time.Minute); m.state(o).Status != sandbox.Expired {
		t.Error("released a day early")
	}
	m.advance(time.Minute)
	if m.s.Lapse(time.Minute); m.state(o).Status != sandbox.Released {
		t.Error("not released after fifteen days")
	}
}
