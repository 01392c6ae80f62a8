package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

var begin = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// shop is a merchant of all interfaces in this process, with a manual sandbox
// before it. answers replaces what it says to the next calls.
type shop struct {
	t *testing.T
	s *sandbox.Sandbox
	c *koogallery.Client

	got       []koogallery.Message // real ones that were answered by serve
	instances map[string]string    // by order line
	answer    func(koogallery.Message) (koogallery.Result, error)
	refused   []error // by the verifier or the parser
	unsigned  bool    // leave Body-Sign out
	forms     []string
}

func newShop(t *testing.T, opts sandbox.Options) *shop {
	t.Helper()
	m := &shop{t: t, instances: map[string]string{}}
	key := koogallery.NewAccessKey("callback key")
	opts.Manual, opts.Now = true, func() time.Time { return begin }
	opts.Callback = sandbox.Callback{URL: address, AccessKey: key}
	opts.CallbackTransport = inProcess{http.HandlerFunc(m.serve)}
	if opts.Products == nil {
		opts.Products = []sandbox.Product{
			{ID: product},
			{ID: "ONLINE", Interface: sandbox.Online},
			{ID: "ONLINE2", Interface: sandbox.Online},
			{ID: "OLD", Interface: sandbox.License1},
		}
	}
	if opts.Seed == 0 {
		opts.Seed = 1
	}
	m.s = newSandbox(t, opts)
	o := m.s.ClientOptions()
	o.BaseURLs, o.RootCAs, o.Transport = []string{"https://mkt.example.com"}, nil, m.s.Transport()
	m.c = client(t, o)
	return m
}

func (m *shop) serve(w http.ResponseWriter, r *http.Request) {
	key := m.s.AccessKey()
	m.forms = append(m.forms, r.URL.RawQuery)
	report := func(_ context.Context, msg koogallery.Message, err error) {
		if msg == nil {
			m.refused = append(m.refused, err)
		}
	}
	if r.Method == http.MethodGet {
		h := koogallery.V1Handler{
			Verifier: &koogallery.V1Verifier{Keys: []koogallery.AccessKey{key}, Now: m.s.Now}, Report: report,
			Answer: func(_ context.Context, _ koogallery.V1Call, msg koogallery.Message) (koogallery.Result, error) {
				return m.obey(msg)
			},
		}
		rec := httptest.NewRecorder()
		if h.ServeHTTP(rec, r); m.unsigned {
			_, _ = rec.Body.WriteTo(w)
			return
		}
		w.Header().Set("Body-Sign", rec.Header().Get("Body-Sign"))
		_, _ = rec.Body.WriteTo(w)
		return
	}
	h := koogallery.Handler{
		Verifier: &koogallery.Verifier{Keys: []koogallery.AccessKey{key}, Now: m.s.Now}, Report: report,
		Activities: append(append(koogallery.LicenseCodeActivities(), koogallery.InstanceActivities()...), koogallery.ActivityOrderNotify),
		Answer: func(_ context.Context, _ koogallery.Callback, msg koogallery.Message) (koogallery.Result, error) {
			return m.obey(msg)
		},
	}
	h.ServeHTTP(w, r)
}

func (m *shop) obey(msg koogallery.Message) (koogallery.Result, error) {
	m.got = append(m.got, msg)
	if m.answer != nil {
		return m.answer(msg)
	}
	return m.usual(msg)
}

func (m *shop) usual(msg koogallery.Message) (koogallery.Result, error) {
	result := koogallery.Result{Code: koogallery.ResultOK}
	switch msg := msg.(type) {
	case koogallery.NewInstance:
		if m.instances[msg.OrderLineID] == "" {
			m.instances[msg.OrderLineID] = msg.BusinessID
		}
		result.InstanceID = m.instances[msg.OrderLineID]
	case koogallery.V1GetLicense:
		if m.instances[msg.OrderID] == "" {
			m.instances[msg.OrderID] = msg.BusinessID
		}
		result.InstanceID, result.License = m.instances[msg.OrderID], koogallery.NewLicenseText("licence of "+msg.OrderID)
	case koogallery.GetLicenseAsync:
		result.Code = koogallery.ResultInProgress
	}
	return result, nil
}

func (m *shop) buy(product string, amount int64, period time.Duration) sandbox.Order {
	m.t.Helper()
	o, err := m.s.Buy(m.t.Context(), product, amount, period)
	must(m.t, err)
	return o
}

func (m *shop) advance(d time.Duration) {
	m.t.Helper()
	must(m.t, m.s.Advance(m.t.Context(), d))
}

func (m *shop) state(o sandbox.Order) sandbox.CodeState {
	m.t.Helper()
	c, err := m.s.State(o.Ref())
	must(m.t, err)
	return c
}

func (m *shop) last() sandbox.Delivery {
	ds := m.s.Deliveries()
	return ds[len(ds)-1]
}

// events are the texts of one kind.
func (m *shop) events(kind sandbox.EventKind) []string {
	var out []string
	for _, e := range m.s.Events(0) {
		if e.Kind == kind {
			out = append(out, e.Text)
		}
	}
	return out
}

func has(texts []string, part string) bool {
	return strings.Contains(strings.Join(texts, "\n"), part)
}

func failing(msg koogallery.Message) (koogallery.Result, error) {
	return koogallery.Result{}, fmt.Errorf("no answer to %s", msg.Activity())
}

func asAPIError(err error) (*koogallery.APIError, bool) {
	return errors.AsType[*koogallery.APIError](err)
}
