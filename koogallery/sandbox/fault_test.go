package sandbox_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func (m *shop) misbehave(f sandbox.Fault, limit int) {
	m.t.Helper()
	must(m.t, m.s.SetMisbehaviour(sandbox.Misbehaviour{Faults: map[sandbox.Fault]float64{f: 1}, Limit: limit}))
}

func (m *shop) activate(o sandbox.Order) {
	m.t.Helper()
	_, err := m.c.Activate(m.t.Context(), o.Code, time.Time{})
	must(m.t, err)
}

func TestLate(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy(product, 1, year)
	m.misbehave(sandbox.FaultLate, 1)
	must(t, m.s.Freeze(o.Ref()))
	must(t, m.s.Unfreeze(o.Ref())) // waits with it
	m.advance(0)
	if len(m.got) != 0 {
		t.Fatalf("sent at once: %v", m.got)
	}
	m.advance(sandbox.DefaultMaxDelay + time.Second)
	if len(m.got) != 2 || m.got[0].(koogallery.UpdateLicenseCodeStatus).Status != koogallery.StatusFreeze {
		t.Errorf("messages %v", m.got)
	}
	if at := m.s.Deliveries()[0].Attempts[0].At; !at.After(begin) {
		t.Errorf("sent at %v", at)
	}
}

func TestReordered(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy(product, 1, year)
	m.activate(o)
	m.misbehave(sandbox.FaultReordered, 1)
	_, err := m.s.Renew(o.Ref(), year)
	must(t, err)
	_, err = m.s.CancelRenewal(o.Ref())
	must(t, err)
	must(t, m.s.Freeze(o.Ref()))
	m.advance(time.Hour)
	var order []string
	for _, msg := range m.got {
		if r, ok := msg.(koogallery.RefreshLicenseCode); ok {
			order = append(order, string(r.Scene))
			continue
		}
		order = append(order, string(msg.Activity()))
	}
	if want := []string{"UNSUBSCRIBE_RENEWAL_PERIOD", "updateLicenseCodeStatus", "RENEWAL"}; !slices.Equal(order, want) {
		t.Errorf("arrived as %v", order)
	}
	must(t, m.s.Unfreeze(o.Ref())) // keeps its place whatever the probability
	m.misbehave(sandbox.FaultReordered, 0)
	must(t, m.s.Freeze(o.Ref()))
	m.advance(0)
	if got := len(m.got); got != 5 {
		t.Errorf("%d messages", got)
	}
}

func TestRepeated(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy(product, 1, year)
	m.misbehave(sandbox.FaultRepeated, 0)
	must(t, m.s.Freeze(o.Ref()))
	m.advance(0)
	if len(m.got) != 2 || !cmp.Equal(m.got[0], m.got[1]) || m.forms[0] == m.forms[1] || len(m.refused) > 0 {
		t.Errorf("%d messages, refused %v", len(m.got), m.refused)
	}
	if m.state(o).Pending != 0 {
		t.Error("something is pending")
	}
}

func TestLostAnswer(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy("ONLINE", 1, year)
	m.misbehave(sandbox.FaultLostAnswer, 2)
	m.advance(0)
	if c := m.state(o); c.InstanceID != "" || c.Told.At != (time.Time{}) || len(m.got) != 1 {
		t.Errorf("the lost answer was read: %+v", c)
	}
	m.advance(4 * time.Minute)
	c := m.state(o)
	if want := m.got[0].(koogallery.NewInstance).BusinessID; len(m.got) != 3 || c.InstanceID != want {
		t.Errorf("%d messages, instance %q, want %q", len(m.got), c.InstanceID, want)
	}
}

func TestBadRequests(t *testing.T) {
	for fault, want := range map[sandbox.Fault]error{
		sandbox.FaultHalfRequest: koogallery.ErrSignature,
		sandbox.FaultWrongClock:  koogallery.ErrOutsideWindow,
	} {
		t.Run(string(fault), func(t *testing.T) {
			m := newShop(t, sandbox.Options{})
			o := m.buy(product, 1, year)
			m.misbehave(fault, 1)
			must(t, m.s.Freeze(o.Ref()))
			m.advance(0)
			if len(m.got) != 0 || len(m.refused) != 1 || !errors.Is(m.refused[0], want) {
				t.Errorf("got %v, refused %v", m.got, m.refused)
			}
			m.advance(2 * time.Minute)
			if len(m.got) != 1 || m.last().State != sandbox.Delivered {
				t.Errorf("the repeat: %v", m.got)
			}
		})
	}
}

func TestSlow(t *testing.T) {
	var pauses []time.Duration
	m := newShop(t, sandbox.Options{
		Sleep: func(_ context.Context, d time.Duration) error { pauses = append(pauses, d); return nil },
	})
	o := m.buy(product, 1, year)
	must(t, m.s.SetMisbehaviour(sandbox.Misbehaviour{
		Faults:  map[sandbox.Fault]float64{sandbox.FaultSlowRequest: 1, sandbox.FaultAPISlow: 1},
		SlowFor: 3 * time.Second,
	}))
	m.activate(o)
	must(t, m.s.Freeze(o.Ref()))
	m.advance(0)
	if len(m.got) != 1 || len(m.refused) != 0 {
		t.Errorf("got %v, refused %v", m.got, m.refused)
	}
	if diff := cmp.Diff([]time.Duration{3 * time.Second, 3 * time.Second}, pauses); diff != "" {
		t.Errorf("pauses (-want +got):\n%s", diff)
	}
}

// Each fault of the open API is observed over the wire and without it, and
// tells whether the call was obeyed.
func TestAPIFaults(t *testing.T) {
	for _, tt := range []struct {
		fault  sandbox.Fault
		err    error
		obeyed bool
	}{
		{sandbox.FaultAPIError, nil, false}, // the gateway's own answer: an APIError to repeat
		{sandbox.FaultAPIHTML, koogallery.ErrUnavailable, false},
		{sandbox.FaultAPIUnknownCode, nil, false},
		{sandbox.FaultAPIWrongClock, koogallery.ErrUnauthorized, false},
		{sandbox.FaultAPIHalfAnswer, koogallery.ErrUnavailable, true},
		{sandbox.FaultAPILostAnswer, koogallery.ErrUnavailable, true},
		{sandbox.FaultAPIOtherCertificate, koogallery.ErrUnavailable, false},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			m := newShop(t, sandbox.Options{})
			must(t, m.s.Start(t.Context()))
			overWire := m.s.ClientOptions()
			overWire.RootCAs = m.s.ClientOptions().RootCAs
			for name, c := range map[string]*koogallery.Client{"direct": m.c, "wire": client(t, overWire)} {
				o := m.buy(product, 1, year)
				m.misbehave(tt.fault, 1)
				_, err := c.Activate(t.Context(), o.Code, time.Time{})
				if err == nil || tt.err != nil && !errors.Is(err, tt.err) {
					t.Errorf("%s: %v", name, err)
				}
				if tt.fault == sandbox.FaultAPIUnknownCode && koogallery.Retryable(err) {
					t.Errorf("%s: an unknown code is retryable: %v", name, err)
				}
				if got := m.state(o).Status == sandbox.Alive; got != tt.obeyed {
					t.Errorf("%s: obeyed is %v", name, got)
				}
				if !has(m.events(sandbox.EventFault), string(tt.fault)) {
					t.Errorf("%s: no event of the fault", name)
				}
				_, err = c.Activate(t.Context(), o.Code, time.Time{})
				if tt.obeyed {
					want(t, err, koogallery.ErrAlreadyActive)
				} else {
					must(t, err)
				}
			}
		})
	}
}

// An upload can be accepted though its answer never comes; repeating it is safe.
func TestLostUpload(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy("ONLINE", 1, year)
	m.advance(0)
	a := m.apply(o, "d")
	m.misbehave(sandbox.FaultAPILostAnswer, 1)
	up := koogallery.Upload{License: []byte("licence")}
	err := m.c.Upload(t.Context(), a.EventID, up)
	if !koogallery.Retryable(err) || m.application(o, a.EventID).State != sandbox.Fulfilled {
		t.Errorf("%v", err)
	}
	must(t, m.c.Upload(t.Context(), a.EventID, up))
	if got := m.application(o, a.EventID); got.Uploads != 2 || got.License.Reveal() != "licence" {
		t.Errorf("%+v", got)
	}
}

// story plays the same steps and tells everything that can be seen.
func story(t *testing.T, seed uint64) string {
	t.Helper()
	faults := map[sandbox.Fault]float64{}
	for _, f := range sandbox.Faults() {
		faults[f] = 0.2
	}
	m := newShop(t, sandbox.Options{
		Seed: seed, NotifyOrders: true, Misbehaviour: sandbox.Misbehaviour{Faults: faults},
		Sleep: func(context.Context, time.Duration) error { return nil },
	})
	for range 20 {
		code, instance, old := m.buy(product, 1, year), m.buy("ONLINE", 1, year), m.buy("OLD", 1, year)
		_, _ = m.c.Activate(t.Context(), code.Code, time.Time{})
		for _, o := range []sandbox.Order{code, instance, old} {
			_, err := m.s.Renew(o.Ref(), year)
			must(t, err)
			must(t, m.s.Freeze(o.Ref()))
		}
		a := m.apply(instance, "d")
		_ = m.c.Upload(t.Context(), a.EventID, koogallery.Upload{License: []byte("x")})
		m.advance(time.Hour)
	}
	m.advance(24 * time.Hour)
	var b strings.Builder
	for _, e := range m.s.Events(0) {
		fmt.Fprintln(&b, e.At, e.Kind, e.Product, e.Code.Reveal(), e.Activity, e.Delivery, e.Text)
	}
	for _, c := range m.s.Codes() {
		fmt.Fprintf(&b, "%s %s %s %v %v %+v\n", c.Code.Reveal(), c.InstanceID, c.Status, c.Frozen, c.ExpiresAt, c.Told)
	}
	return b.String()
}

func TestDeterminism(t *testing.T) {
	one := story(t, 42)
	if diff := cmp.Diff(one, story(t, 42)); diff != "" {
		t.Errorf("the same seed told another story (-first +second):\n%s", diff)
	}
	if one == story(t, 43) {
		t.Error("another seed told the same story")
	}
	for _, f := range sandbox.Faults() {
		if !strings.Contains(one, string(f)+": ") {
			t.Errorf("%s never happened", f)
		}
	}
}

func TestMisbehaviourIsChecked(t *testing.T) {
	s := newSandbox(t, sandbox.Options{})
	for name, bad := range map[string]sandbox.Misbehaviour{
		"unknown":  {Faults: map[sandbox.Fault]float64{"rain": 1}},
		"above 1":  {Faults: map[sandbox.Fault]float64{sandbox.FaultLate: 1.1}},
		"negative": {Faults: map[sandbox.Fault]float64{sandbox.FaultLate: -0.1}},
		"limit":    {Limit: -1},
		"skew":     {Skew: -time.Second},
	} {
		if err := s.SetMisbehaviour(bad); !errors.Is(err, sandbox.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.Seed() == 0 {
		t.Error("no seed was drawn")
	}
	want(t, s.Advance(t.Context(), 0), sandbox.ErrState)
}

// TestDirectTransport shows that the transport without a socket is one: bodies
// are closed, hosts do not matter, and the control API is there.
func TestDirectTransport(t *testing.T) {
	s := newSandbox(t, sandbox.Options{})
	hc := &http.Client{Transport: s.Transport()}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://any.example.com/sandbox/v1/codes", http.NoBody)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+s.ControlToken().Reveal())
	resp, err := hc.Do(req)
	must(t, err)
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK || string(body) != `{"codes":[]}`+"\n" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	must(t, s.SetMisbehaviour(sandbox.Misbehaviour{Faults: map[sandbox.Fault]float64{sandbox.FaultAPIOtherCertificate: 1}}))
	_, err = hc.Do(req)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("%v", err)
	}
}
