package sandbox_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func TestInstanceLife(t *testing.T) {
	m := newShop(t, sandbox.Options{NotifyOrders: true})
	o, err := m.s.Purchase(t.Context(), sandbox.Purchase{
		Product: "ONLINE", Amount: 2, Period: 30 * 24 * time.Hour, Trial: true,
		Buyer:  sandbox.Buyer{CustomerID: "c1", MobilePhone: koogallery.NewPersonalData("+86 1")},
		Extend: map[string]string{"host": "db1", "area": "north"},
	})
	must(t, err)
	if got := m.state(o); got.Status != sandbox.Issued || got.InstanceID != "" || got.Pending != 1 {
		t.Errorf("before the first attempt: %+v", got)
	}
	m.advance(0)
	c := m.state(o)
	end := begin.Add(30 * 24 * time.Hour)
	if c.Status != sandbox.Alive || c.InstanceID == "" || !c.ExpiresAt.Equal(end) || !c.Trial || !c.Told.ExpiresAt.Equal(end) {
		t.Errorf("after it: %+v", c)
	}
	order, err := m.c.Order(t.Context(), o.ID, o.LineID)
	must(t, err)
	if diff := cmp.Diff(koogallery.Order{
		ID: o.ID, Type: koogallery.OrderTrial, CreateTime: begin,
		Lines: []koogallery.OrderLine{{
			ID: o.LineID, ChargingMode: koogallery.ChargePeriod, ExpireTime: end, PeriodType: koogallery.PeriodMonth, PeriodNumber: 1,
			Products: []koogallery.OrderProduct{{SKUCode: "ONLINE", ProductID: "ONLINE", Amount: 2}},
		}},
		Buyer:  koogallery.Buyer{CustomerID: "c1", MobilePhone: koogallery.NewPersonalData("+86 1")},
		Extend: map[string]string{"host": "db1", "area": "north"},
	}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	_, err = m.s.Renew(o.Ref(), year)
	want(t, err, sandbox.ErrState)
	formal, err := m.s.ConvertTrial(o.Ref(), year)
	must(t, err)
	renewed, err := m.s.RenewAs(o.Ref(), "ONLINE2", year)
	must(t, err)
	changed, err := m.s.RenewChange(koogallery.NewCode(c.InstanceID), "ONLINE", year)
	must(t, err)
	_, err = m.s.CancelRenewal(o.Ref())
	must(t, err)
	must(t, m.s.Freeze(o.Ref()))
	must(t, m.s.Unfreeze(o.Ref()))
	gone, err := m.s.Unsubscribe(renewed.Ref()) // a renewal's order names the purchase too
	must(t, err)
	m.advance(0)

	var got []koogallery.Message
	notified := 0
	for _, msg := range m.got {
		if _, ok := msg.(koogallery.OrderNotify); ok {
			notified++
			continue
		}
		got = append(got, msg)
	}
	refresh := func(scene koogallery.Scene, o sandbox.Order, product string, end time.Time) koogallery.RefreshInstance {
		return koogallery.RefreshInstance{
			Scene: scene, OrderID: o.ID, OrderLineID: o.LineID, InstanceID: c.InstanceID, ProductID: product, ExpireTime: end,
		}
	}
	if diff := cmp.Diff([]koogallery.Message{
		koogallery.NewInstance{OrderID: o.ID, OrderLineID: o.LineID, BusinessID: c.InstanceID},
		refresh(koogallery.SceneTrialToFormal, formal, "", end.Add(year)),
		refresh(koogallery.SceneRenewal, renewed, "ONLINE2", end.Add(2*year)),
		refresh(koogallery.SceneRenewalChange, changed, "ONLINE", end.Add(3*year)),
		refresh(koogallery.SceneUnsubscribeRenewalPeriod, changed, "", end.Add(2*year)),
		koogallery.UpdateInstanceStatus{InstanceID: c.InstanceID, Status: koogallery.StatusFreeze},
		koogallery.UpdateInstanceStatus{InstanceID: c.InstanceID, Status: koogallery.StatusUnfreeze},
		koogallery.ReleaseInstance{InstanceID: c.InstanceID, OrderID: gone.ID, OrderLineID: gone.LineID},
	}, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if notified != 6 || len(m.refused) > 0 {
		t.Errorf("%d orders notified, refused %v", notified, m.refused)
	}
	last := m.state(o)
	if last.Status != sandbox.Released || last.Trial || !last.Told.Released || !last.Told.ExpiresAt.Equal(last.ExpiresAt) || last.Pending != 0 {
		t.Errorf("at the end %+v", last)
	}
	for id, want := range map[string]koogallery.OrderType{
		formal.ID: koogallery.OrderTrialToFormal, renewed.ID: koogallery.OrderRenew,
		changed.ID: koogallery.OrderChange, gone.ID: koogallery.OrderUnsubscribe,
	} {
		if order, err := m.c.Order(t.Context(), id, ""); err != nil || order.Type != want {
			t.Errorf("order is a %s, want %s (%v)", order.Type, want, err)
		}
	}
}

// TestNewInstanceRetries shows the repeats: every one has a business id of its
// own, and after three hours the buyer is refunded.
func TestNewInstanceRetries(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	m.answer = func(msg koogallery.Message) (koogallery.Result, error) {
		if len(m.got) < 4 {
			return koogallery.Result{Code: koogallery.ResultInProgress, InstanceID: "early"}, nil
		}
		return m.usual(msg)
	}
	o := m.buy("ONLINE", 1, year)
	m.advance(6 * time.Minute)
	seen := map[string]bool{}
	for _, msg := range m.got {
		seen[msg.(koogallery.NewInstance).BusinessID] = true
	}
	if c := m.state(o); len(seen) != 4 || c.Status != sandbox.Alive || c.InstanceID == "early" {
		t.Errorf("%d business ids, %+v", len(seen), c)
	}

	m.answer = failing
	m.got = nil
	lost := m.buy("ONLINE", 1, year)
	_, err := m.s.Renew(lost.Ref(), year) // waits behind
	must(t, err)
	m.advance(3 * time.Hour)
	if c := m.state(lost); c.Status != sandbox.Cancelled || len(m.got) != 90 || c.Pending != 0 {
		t.Errorf("%s after %d attempts, %d pending", c.Status, len(m.got), c.Pending)
	}
	if !has(m.events(sandbox.EventOrder), "cancelled and refunded") {
		t.Error("the console does not say so")
	}
	for _, d := range m.s.Deliveries() {
		if d.Code.Equal(lost.Ref()) {
			want(t, m.s.Retry(d.ID), sandbox.ErrState)
		}
	}
	want(t, m.s.Freeze(lost.Ref()), sandbox.ErrState)
}

func TestInstanceViolations(t *testing.T) {
	for name, tt := range map[string]struct {
		answer koogallery.Result
		text   string
	}{
		"blank id":    {koogallery.Result{Code: "000000", InstanceID: " "}, "success without an instanceId"},
		"another's":   {koogallery.Result{Code: "000000", InstanceID: "first"}, "instanceId of another purchase"},
		"another one": {koogallery.Result{Code: "000000", InstanceID: "second"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newShop(t, sandbox.Options{})
			m.answer = func(koogallery.Message) (koogallery.Result, error) {
				return koogallery.Result{Code: "000000", InstanceID: "first"}, nil
			}
			m.buy("ONLINE", 1, year)
			m.advance(0)
			m.answer = func(koogallery.Message) (koogallery.Result, error) { return tt.answer, nil }
			o := m.buy("ONLINE", 1, year)
			m.advance(0)
			violated := has(m.events(sandbox.EventViolation), tt.text) && len(m.events(sandbox.EventViolation)) > 0
			if violated != (tt.text != "") || (m.state(o).Status == sandbox.Alive) == violated {
				t.Errorf("%v, %s", m.events(sandbox.EventViolation), m.state(o).Status)
			}
		})
	}
	// A repeat of the same order line must have the same answer.
	m := newShop(t, sandbox.Options{Misbehaviour: sandbox.Misbehaviour{Faults: map[sandbox.Fault]float64{sandbox.FaultRepeated: 1}}})
	m.answer = func(msg koogallery.Message) (koogallery.Result, error) {
		return koogallery.Result{Code: "000000", InstanceID: msg.(koogallery.NewInstance).BusinessID}, nil
	}
	o := m.buy("ONLINE", 1, year)
	m.advance(0)
	if first := m.got[0].(koogallery.NewInstance).BusinessID; m.state(o).InstanceID != first {
		t.Error("the second answer replaced the first")
	}
	if !has(m.events(sandbox.EventViolation), "another instanceId for the same order line") {
		t.Errorf("violations %v", m.events(sandbox.EventViolation))
	}
}

func (m *shop) apply(o sandbox.Order, device string) sandbox.Application {
	m.t.Helper()
	a, err := m.s.Apply(o.Ref(), sandbox.LicenseRequest{Device: koogallery.NewDeviceFingerprint(device)})
	must(m.t, err)
	m.advance(0)
	return a
}

func (m *shop) application(o sandbox.Order, event string) sandbox.Application {
	m.t.Helper()
	for _, a := range m.state(o).Applications {
		if a.EventID == event {
			return a
		}
	}
	m.t.Fatal("no such application")
	return sandbox.Application{}
}

func TestApplications(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	ctx := t.Context()
	o := m.buy("ONLINE", 2, year)
	m.advance(0)
	const device = "04:7C:16:5E:E3:5D|001B_444A||BFEBFBFF00090672"
	a := m.apply(o, device)
	if diff := cmp.Diff(koogallery.Message(koogallery.GetLicenseAsync{
		InstanceID: m.state(o).InstanceID, EventID: a.EventID, EffectiveTime: begin, ExpireTime: begin.Add(year),
		DeviceFingerprint: koogallery.NewDeviceFingerprint(device),
	}), m.got[len(m.got)-1]); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if got := m.application(o, a.EventID); got.State != sandbox.Accepted || got.Result != "000004" {
		t.Errorf("accepted: %+v", got)
	}
	again, err := m.s.Apply(o.Ref(), sandbox.LicenseRequest{EventID: a.EventID})
	must(t, err)
	m.advance(0)
	if again.EventID != a.EventID || m.got[len(m.got)-1].(koogallery.GetLicenseAsync).EventID != a.EventID {
		t.Error("the repeat has another event")
	}

	text := []byte("short licence")
	must(t, m.c.Upload(ctx, a.EventID, koogallery.Upload{License: text}))
	must(t, m.c.Upload(ctx, a.EventID, koogallery.Upload{License: text}))
	want(t, m.c.Upload(ctx, a.EventID, koogallery.Upload{License: []byte("another")}), koogallery.ErrApplyInvalid)
	got := m.application(o, a.EventID)
	if got.State != sandbox.Fulfilled || got.License.Reveal() != string(text) || got.Uploads != 2 || got.Type != koogallery.UploadCharacters {
		t.Errorf("delivered: %+v", got)
	}
	if !has(m.events(sandbox.EventViolation), "another licence for the same event") {
		t.Error("the other licence was not noticed")
	}

	b := m.apply(o, "another device")
	long := []byte(strings.Repeat("licence ", 200))
	must(t, m.c.Upload(ctx, b.EventID, koogallery.Upload{License: long, FileName: "my.lic"}))
	if got := m.application(o, b.EventID); got.Type != koogallery.UploadFile || got.FileName != "my.lic" || got.License.Reveal() != string(long) {
		t.Errorf("file: %+v", got)
	}
	more := m.apply(o, "a third device")
	want(t, m.c.Upload(ctx, more.EventID, koogallery.Upload{License: text}), koogallery.ErrNoRemainder)
	same := m.apply(o, device) // no device more
	must(t, m.c.Upload(ctx, same.EventID, koogallery.Upload{License: text}))
	must(t, m.s.Deny(more.EventID))
	want(t, m.c.Upload(ctx, more.EventID, koogallery.Upload{License: text}), koogallery.ErrApplyDenied)
	want(t, m.s.Deny(a.EventID), sandbox.ErrState)
	want(t, m.s.Deny("none"), sandbox.ErrUnknownCode)
	want(t, m.c.Upload(ctx, "none", koogallery.Upload{License: text}), koogallery.ErrApplyInvalid)

	blank := m.apply(o, device)
	want(t, m.c.Upload(ctx, blank.EventID, koogallery.Upload{License: []byte(" ")}), koogallery.ErrLicenseFormat)
	must(t, m.s.ReleaseAfterRetention(o.Ref()))
	want(t, m.c.Upload(ctx, blank.EventID, koogallery.Upload{License: text}), koogallery.ErrResourceInvalid)
	_, err = m.s.Apply(o.Ref(), sandbox.LicenseRequest{})
	want(t, err, sandbox.ErrState)
	code := m.buy(product, 1, year)
	_, err = m.s.Apply(code.Ref(), sandbox.LicenseRequest{})
	want(t, err, sandbox.ErrState)
}

// A refusal by the merchant is final; what is no answer is repeated.
func TestRefusedApplications(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy("ONLINE", 1, year)
	m.advance(0)
	for _, code := range []koogallery.ResultCode{"000900", "000901", "000902", "000903"} {
		m.answer = func(koogallery.Message) (koogallery.Result, error) {
			return koogallery.Result{}, &koogallery.ResultError{Code: code, Err: errors.New("no")}
		}
		a := m.apply(o, "d")
		m.advance(time.Hour)
		got := m.application(o, a.EventID)
		if d := m.last(); got.State != sandbox.Refused || got.Result != code || d.State != sandbox.Failed || len(d.Attempts) != 1 {
			t.Errorf("%s: %+v after %d attempts", code, got, len(d.Attempts))
		}
		want(t, m.c.Upload(t.Context(), a.EventID, koogallery.Upload{License: []byte("x")}), koogallery.ErrApplyInvalid)
	}
	m.answer = failing
	a := m.apply(o, "d")
	m.answer = nil
	m.advance(2 * time.Minute)
	if got := m.application(o, a.EventID); got.State != sandbox.Accepted || len(m.last().Attempts) != 2 {
		t.Errorf("%+v", got)
	}
	b, err := m.s.Apply(o.Ref(), sandbox.LicenseRequest{NoExpiry: true})
	must(t, err)
	m.advance(0)
	if got := m.got[len(m.got)-1].(koogallery.GetLicenseAsync); got.EventID != b.EventID || !got.ExpireTime.IsZero() {
		t.Errorf("%+v", got)
	}
}

func TestMockOrders(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	for id, want := range map[string]koogallery.OrderLine{
		"MOCKPERIODYEARNEW":  {ChargingMode: koogallery.ChargePeriod, PeriodType: koogallery.PeriodYear, PeriodNumber: 1, ExpireTime: begin.Add(year)},
		"MOCKONETIMENEW":     {ChargingMode: koogallery.ChargeOneTime},
		"MOCKONDEMANDPKG":    {ChargingMode: koogallery.ChargeOnDemandPackage},
		"MOCKPERIODDAYTRIAL": {ChargingMode: koogallery.ChargePeriod, PeriodType: "day", PeriodNumber: 1, ExpireTime: begin.Add(24 * time.Hour)},
		"MOCKMONTYRENEW":     {ChargingMode: koogallery.ChargePeriod, PeriodType: koogallery.PeriodMonth, PeriodNumber: 1, ExpireTime: begin.Add(30 * 24 * time.Hour)},
	} {
		order, err := m.c.Order(t.Context(), id, id+"-000001")
		must(t, err)
		want.ID = id + "-000001"
		want.Products = []koogallery.OrderProduct{{SKUCode: product, ProductID: product, Amount: 1}}
		if diff := cmp.Diff([]koogallery.OrderLine{want}, order.Lines); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
	for _, id := range []string{"none", "MOCKNOTHING"} {
		var api *koogallery.APIError
		if _, err := m.c.Order(t.Context(), id, ""); !errors.As(err, &api) || api.Retryable() {
			t.Errorf("%s: %v", id, err)
		}
	}
	o := m.buy(product, 1, 0)
	if _, err := m.c.Order(t.Context(), o.ID, "other"); err == nil {
		t.Error("another line was answered")
	}
}
