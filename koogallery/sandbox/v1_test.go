package sandbox_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func TestLicense1Life(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	key := m.s.AccessKey()
	o, err := m.s.Purchase(t.Context(), sandbox.Purchase{
		Product: "OLD", Amount: 3, Period: year,
		Buyer: sandbox.Buyer{CustomerID: "c", CustomerName: koogallery.NewPersonalData("张三"), Email: koogallery.NewPersonalData("a@example.com")},
	})
	must(t, err)
	m.advance(0)
	c := m.state(o)
	end := begin.Add(year)
	if c.Status != sandbox.Alive || c.License.Reveal() != "licence of "+o.ID || c.InstanceID == "" {
		t.Fatalf("%+v", c)
	}
	first := m.got[0].(koogallery.V1GetLicense)
	if diff := cmp.Diff(koogallery.V1GetLicense{
		CustomerID: "c", CustomerName: "张三", BusinessID: c.InstanceID, OrderID: o.ID, SKUCode: "OLD", ProductID: "OLD",
		ExpireTime: end, PeriodType: koogallery.PeriodYear, Amount: 3, PeriodNumber: 1,
	}, first, cmpopts.IgnoreFields(koogallery.V1GetLicense{}, "Email")); diff != "" {
		t.Errorf("getLicense (-want +got):\n%s", diff)
	}
	mail, err := first.Email.Decrypt(key, koogallery.EncryptAES256)
	must(t, err)
	if mail.Reveal() != "a@example.com" {
		t.Error("the address cannot be decrypted")
	}
	// The query of one code takes the instance id of existing goods.
	info, err := m.c.Query(t.Context(), koogallery.NewCode(c.InstanceID))
	must(t, err)
	if info.Status != koogallery.CodeAlive || !info.ExpireTime.Equal(end) {
		t.Errorf("query: %+v", info)
	}

	must(t, m.s.Freeze(o.Ref()))
	want(t, m.s.Unfreeze(o.Ref()), sandbox.ErrState)
	renewed, err := m.s.Renew(o.Ref(), year)
	must(t, err)
	if m.state(o).Frozen {
		t.Error("a renewal leaves it frozen")
	}
	_, err = m.s.CancelRenewal(o.Ref())
	want(t, err, sandbox.ErrState)
	must(t, m.s.Expire(o.Ref()))
	_, err = m.s.Unsubscribe(o.Ref())
	must(t, err)
	m.advance(0)
	if diff := cmp.Diff([]koogallery.Message{
		koogallery.V1ExpireLicense{OrderID: o.ID, InstanceID: c.InstanceID},
		koogallery.V1RefreshLicense{
			OrderID: renewed.ID, InstanceID: c.InstanceID, ExpireTime: end.Add(year), PeriodType: koogallery.PeriodYear, PeriodNumber: 1,
		},
		koogallery.V1ExpireLicense{OrderID: o.ID, InstanceID: c.InstanceID},
		koogallery.V1ReleaseLicense{OrderID: o.ID, InstanceID: c.InstanceID},
	}, m.got[1:]); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if got := m.state(o); got.Status != sandbox.Released || !got.Told.Frozen || !got.Told.Released || !got.Told.ExpiresAt.Equal(end.Add(year)) {
		t.Errorf("%+v", got.Told)
	}
	if got := m.events(sandbox.EventViolation); got != nil {
		t.Errorf("violations %v", got)
	}
}

// getLicense is repeated hourly for three hours, everything else not at all.
func TestLicense1Schedule(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	m.answer = failing
	o := m.buy("OLD", 1, year)
	for hours, want := range []int{1, 2, 3, 4, 4} {
		if hours > 0 {
			m.advance(time.Hour)
		} else {
			m.advance(0)
		}
		if len(m.got) != want {
			t.Errorf("%d attempts after %d hours, want %d", len(m.got), hours, want)
		}
	}
	d := m.last()
	if d.State != sandbox.Failed || m.state(o).Status != sandbox.Issued {
		t.Errorf("%s, %s", d.State, m.state(o).Status)
	}
	m.answer = nil
	must(t, m.s.Retry(d.ID))
	m.advance(0)
	if m.state(o).Status != sandbox.Alive {
		t.Error("the restart did not deliver")
	}
	m.answer = failing
	must(t, m.s.Freeze(o.Ref()))
	m.advance(24 * time.Hour)
	if d := m.last(); d.State != sandbox.Failed || len(d.Attempts) != 1 {
		t.Errorf("%s after %d attempts", d.State, len(d.Attempts))
	}
}

func TestLicense1Literal(t *testing.T) {
	m := newShop(t, sandbox.Options{Products: []sandbox.Product{
		{ID: "OLD", Interface: sandbox.License1, ExpireActivity: "expireInstance", Encryption: koogallery.EncryptAES128},
	}})
	o, err := m.s.Purchase(t.Context(), sandbox.Purchase{
		Product: "OLD", Amount: 1, Buyer: sandbox.Buyer{MobilePhone: koogallery.NewPersonalData("+86 1")},
	})
	must(t, err)
	must(t, m.s.Freeze(o.Ref()))
	m.advance(0)
	q, err := url.ParseQuery(m.forms[len(m.forms)-1])
	must(t, err)
	if q.Get("activity") != "expireInstance" || m.last().State != sandbox.Delivered {
		t.Errorf("activity %q, %s", q.Get("activity"), m.last().State)
	}
	phone, err := m.got[0].(koogallery.V1GetLicense).MobilePhone.Decrypt(m.s.AccessKey(), koogallery.EncryptAES128)
	if err != nil || phone.Reveal() != "+86 1" {
		t.Errorf("128 bits: %v", err)
	}
}

func TestBodySignViolation(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	m.unsigned = true
	o := m.buy("OLD", 1, year)
	m.advance(0)
	d := m.last()
	if d.State != sandbox.Pending || !strings.Contains(d.Attempts[0].Error, "Body-Sign") || m.state(o).InstanceID != "" {
		t.Errorf("%s %+v", d.State, d.Attempts)
	}
	if !has(m.events(sandbox.EventViolation), "Body-Sign") {
		t.Error("no violation")
	}
	m.unsigned = false
	m.advance(time.Hour)
	if m.state(o).Status != sandbox.Alive {
		t.Error("the repeat failed")
	}
}
