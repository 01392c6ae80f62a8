package daemon_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

const marketConfig = config + `
marketplaces:
  - name: koogallery
    access_key_files: [old-key, access-key]
    open_api: {base_urls: ["%s"], ca_file: ca.pem, access_key_id_file: ak, secret_access_key_file: sk}
`

// market is a merchant that sells on a marketplace of its own.
type market struct {
	*merchant
	s *sandbox.Sandbox
}

func startMarket(t *testing.T, edit ...func(*sandbox.Options)) *market {
	t.Helper()
	o := sandbox.Options{Products: []sandbox.Product{{ID: "OFFI1"}}, RetryInterval: time.Hour}
	for _, f := range edit {
		f(&o)
	}
	s, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	m := &market{s: s, merchant: start(t, fmt.Sprintf(marketConfig, s.URL()), map[string]string{
		"access-key": s.AccessKey().Reveal() + "\n", "old-key": "the key before", "ca.pem": string(s.CAPEM()),
		"ak": s.AccessKeyID(), "sk": s.SecretAccessKey().Reveal(),
	})}
	m.listen()
	return m
}

// listen tells the marketplace where the merchant is.
func (m *market) listen() {
	m.t.Helper()
	if err := m.s.SetCallback(sandbox.Callback{URL: "http://" + m.d.Addr() + "/marketplace/koogallery"}); err != nil {
		m.t.Fatal(err)
	}
}

// delivered waits until every callback has arrived.
func (m *market) delivered() {
	m.t.Helper()
	if err := m.s.WaitIdle(m.t.Context()); err != nil {
		m.t.Fatalf("%v: %+v", err, m.s.Deliveries())
	}
}

func (m *market) show(code koogallery.Code) adminwire.License {
	m.t.Helper()
	var l adminwire.License
	if err := m.admin(http.MethodPost, adminwire.PathLookup, adminwire.Lookup{Ref: code.Reveal()}, &l); err != nil {
		m.t.Fatal(err)
	}
	return l
}

// activate activates a code on a machine and returns the reason of a refusal.
func (m *market) activate(code koogallery.Code, machine string) (wire.Answer, license.Reason) {
	m.t.Helper()
	return m.ask(activation(m.t, code.Reveal(), machine))
}

func (m *market) ask(raw string) (wire.Answer, license.Reason) {
	m.t.Helper()
	rs, body := m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, `{"request":"`+raw+`"}`)
	if rs.StatusCode != http.StatusOK {
		return wire.Answer{}, problem(m.t, rs, body).Reason
	}
	var ans wire.Answer
	if err := json.Unmarshal([]byte(body), &ans); err != nil {
		m.t.Fatal(err)
	}
	return ans, ""
}

// A bought code from the order to its end, with a marketplace that signs,
// checks signatures and answers as the real one.
func TestLifeOfABoughtCode(t *testing.T) {
	t.Parallel()
	m := startMarket(t, func(o *sandbox.Options) { o.RequireReceive = true })
	order, err := m.s.Buy(t.Context(), "OFFI1", 1, 365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, reason := m.activate(order.Code, "m"); reason != license.NotReceived {
		t.Fatalf("activated before it was received: %q", reason)
	}
	if err := m.s.Receive(order.Code); err != nil {
		t.Fatal(err)
	}
	if _, reason := m.activate(order.Code, "m"); reason != "" {
		t.Fatal(reason)
	}
	l := m.show(order.Code)
	if want := m.s.Codes()[0].ExpiresAt; l.State != license.StateActive || !l.ExpiresAt.Equal(want) || l.Channel != "koogallery" || l.Order != order.ID {
		t.Fatalf("the marketplace says %v: %+v", want, l)
	}
	first := *l.ExpiresAt
	for _, step := range []struct {
		name  string
		do    func() error
		check func(adminwire.License) bool
		ask   license.Reason
	}{
		{
			"renew", func() error { _, err := m.s.Renew(order.Code, 365*24*time.Hour); return err },
			func(l adminwire.License) bool { return l.ExpiresAt.After(first) }, "",
		},
		{
			"cancel the renewal", func() error { _, err := m.s.CancelRenewal(order.Code); return err },
			func(l adminwire.License) bool { return l.ExpiresAt.Equal(first) }, "",
		},
		{
			"freeze", func() error { return m.s.Freeze(order.Code) },
			func(l adminwire.License) bool { return l.State == license.StateSuspended }, license.Suspended,
		},
		{
			"unfreeze", func() error { return m.s.Unfreeze(order.Code) },
			func(l adminwire.License) bool { return l.State == license.StateActive }, "",
		},
		{
			"unsubscribe", func() error { _, err := m.s.Unsubscribe(order.Code); return err },
			func(l adminwire.License) bool { return l.State == license.StateReleased }, license.Released,
		},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		m.delivered()
		if l := m.show(order.Code); !step.check(l) {
			t.Fatalf("after %s: %+v\n%+v", step.name, l, m.s.Deliveries())
		}
		if _, reason := m.activate(order.Code, "m"); reason != step.ask {
			t.Errorf("an activation after %s is %q, want %q", step.name, reason, step.ask)
		}
	}
	for _, d := range m.s.Deliveries() {
		if len(d.Attempts) != 1 {
			t.Errorf("%s took %d attempts", d.Activity, len(d.Attempts))
		}
	}
}

// Probes with codes that nobody has are answered with success and change nothing.
func TestProbes(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	for _, a := range []koogallery.Activity{
		koogallery.ActivityRefreshLicenseCode, koogallery.ActivityUpdateLicenseCodeStatus, koogallery.ActivityReleaseLicenseCode,
	} {
		if _, err := m.s.Debug(a, koogallery.NewCode("PL-typed-while-debugging")); err != nil {
			t.Fatal(err)
		}
	}
	m.delivered()
	for _, d := range m.s.Deliveries() {
		if d.Attempts[0].ResultCode != koogallery.ResultOK {
			t.Errorf("%s: %+v", d.Activity, d.Attempts)
		}
	}
	var events adminwire.EventList
	if err := m.admin(http.MethodGet, adminwire.PathEvents, nil, &events); err != nil || len(events.Events) != 0 {
		t.Errorf("probes left %+v (%v)", events.Events, err)
	}
}

// While the merchant is away the marketplace goes on; it repeats its messages
// until they are taken, and the end is the same.
func TestMerchantWasAway(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	order, err := m.s.Buy(t.Context(), "OFFI1", 1, 365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, reason := m.activate(order.Code, "m"); reason != "" {
		t.Fatal(reason)
	}
	m.down()
	if _, err := m.s.Renew(order.Code, 365*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := m.s.Freeze(order.Code); err != nil {
		t.Fatal(err)
	}
	m.up()
	m.listen()
	m.s.RetryNow()
	m.delivered()
	if l := m.show(order.Code); l.State != license.StateSuspended || !l.ExpiresAt.Equal(m.s.Codes()[0].ExpiresAt) {
		t.Errorf("after the absence: %+v", l)
	}
}

// A marketplace that does not answer stops new activations and nothing else.
func TestMarketplaceIsDown(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	order, err := m.s.Buy(t.Context(), "OFFI1", 1, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []sandbox.Outage{sandbox.OutageHTML, sandbox.OutageGateway, sandbox.OutageTruncated, sandbox.OutageDrop} {
		if err := m.s.SetOutage(o); err != nil {
			t.Fatal(err)
		}
		if _, reason := m.activate(order.Code, "m"); reason != license.MarketplaceUnavailable {
			t.Errorf("during %s: %q", o, reason)
		}
	}
	l := m.issue()
	if _, reason := m.ask(activation(t, l.Code, "m")); reason != "" {
		t.Errorf("a manual code during an outage: %q", reason)
	}
	if err := m.s.SetOutage(""); err != nil {
		t.Fatal(err)
	}
	if _, reason := m.activate(order.Code, "m"); reason != "" {
		t.Errorf("after the outage: %q", reason)
	}
}

// Callbacks that are not in order get the documented result code with HTTP 200,
// and nothing is changed.
func TestBadCallbacks(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	l := m.issue()
	key := m.s.AccessKey()
	good := `{"activity":"updateLicenseCodeStatus","license":"PL0001","status":"FREEZE"}`
	sign := func(body string) url.Values {
		return koogallery.SignedQuery(key, rand.Text(), time.Now(), []byte(body))
	}
	with := func(v url.Values, name, value string) url.Values { v.Set(name, value); return v }
	old := koogallery.SignedQuery(key, "nonce-1", time.Now().Add(-61*time.Second), []byte(good))
	early := koogallery.SignedQuery(key, "nonce-2", time.Now().Add(65*time.Second), []byte(good))
	for name, c := range map[string]struct {
		query url.Values
		body  string
		want  koogallery.ResultCode
	}{
		"good":              {sign(good), good, koogallery.ResultOK},
		"no signature":      {with(sign(good), "signature", ""), good, koogallery.ResultAuthFailed},
		"wrong key":         {koogallery.SignedQuery(koogallery.NewAccessKey("x"), "n", time.Now(), []byte(good)), good, koogallery.ResultAuthFailed},
		"another body":      {sign(good), strings.Replace(good, "PL0001", "PL0002", 1), koogallery.ResultAuthFailed},
		"old":               {old, good, koogallery.ResultInvalidParam},
		"from the future":   {early, good, koogallery.ResultInvalidParam},
		"no nonce":          {with(sign(good), "nonce", ""), good, koogallery.ResultInvalidParam},
		"unknown activity":  {sign(`{"activity":"melt"}`), `{"activity":"melt"}`, koogallery.ResultInvalidParam},
		"not JSON":          {sign(`{`), `{`, koogallery.ResultInvalidParam},
		"nothing":           {sign(``), ``, koogallery.ResultInvalidParam},
		"nested":            {sign(`{"activity":["x"]}`), `{"activity":["x"]}`, koogallery.ResultInvalidParam},
		"wrong status":      {sign(strings.Replace(good, "FREEZE", "FROZEN", 1)), strings.Replace(good, "FREEZE", "FROZEN", 1), koogallery.ResultInvalidParam},
		"no code":           {sign(`{"activity":"releaseLicenseCode"}`), `{"activity":"releaseLicenseCode"}`, koogallery.ResultInvalidParam},
		"over the limit":    {sign(good), good + strings.Repeat(" ", koogallery.MaxBody), koogallery.ResultInvalidParam},
		"a code of our own": {sign(strings.Replace(good, "PL0001", l.Code, 1)), strings.Replace(good, "PL0001", l.Code, 1), koogallery.ResultOK},
	} {
		rs, body := m.do(http.MethodPost, "/marketplace/koogallery?"+c.query.Encode(), wire.TypeJSON, c.body)
		var r koogallery.Result
		if err := json.Unmarshal([]byte(body), &struct {
			Code *koogallery.ResultCode `json:"resultCode"`
			Msg  *string                `json:"resultMsg"`
		}{&r.Code, &r.Msg}); err != nil {
			t.Fatalf("%s: %s", name, body)
		}
		if rs.StatusCode != http.StatusOK || r.Code != c.want {
			t.Errorf("%s: HTTP %d, %s, want %s", name, rs.StatusCode, body, c.want)
		}
		if name == "good" {
			again, repeated := m.do(http.MethodPost, "/marketplace/koogallery?"+c.query.Encode(), wire.TypeJSON, c.body)
			if again.StatusCode != http.StatusOK || !strings.Contains(repeated, string(koogallery.ResultAuthFailed)) {
				t.Errorf("a copy: HTTP %d, %s", again.StatusCode, repeated)
			}
		}
	}
	var shown adminwire.License
	if err := m.admin(http.MethodPost, adminwire.PathLookup, adminwire.Lookup{Ref: l.ID}, &shown); err != nil || shown.State != license.StateIssued {
		t.Errorf("the marketplace touched a manual licence: %v, %s", err, shown.State)
	}
	var events adminwire.EventList
	if err := m.admin(http.MethodGet, adminwire.PathEvents+"?action=marketplace.unknown_code", nil, &events); err != nil || len(events.Events) != 2 {
		t.Errorf("%d messages were recorded, want 2 (%v)", len(events.Events), err)
	}
}

// A copy of a message is refused after a restart too: what remembers it is on disk.
func TestCopyAfterRestart(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	body := `{"activity":"updateLicenseCodeStatus","license":"PL0001","status":"FREEZE"}`
	q := koogallery.SignedQuery(m.s.AccessKey(), rand.Text(), time.Now(), []byte(body)).Encode()
	for i, want := range []koogallery.ResultCode{koogallery.ResultOK, koogallery.ResultAuthFailed} {
		if _, answer := m.do(http.MethodPost, "/marketplace/koogallery?"+q, wire.TypeJSON, body); !strings.Contains(answer, string(want)) {
			t.Errorf("time %d: %s", i+1, answer)
		}
		m.down()
		m.up()
	}
}

// The forgeries that succeed elsewhere fail here, at the door.
func TestForgedRequests(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	raw := activation(t, l.Code, "m")
	part := strings.Split(raw, ".")
	b64 := base64.RawURLEncoding
	header, err := b64.DecodeString(part[0])
	if err != nil {
		t.Fatal(err)
	}
	none := strings.Replace(string(header), `"EdDSA"`, `"none"`, 1)
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := b64.EncodeToString(ed25519.Sign(other, []byte(part[0]+"."+part[1])))
	for name, raw := range map[string]string{
		"alg none":        b64.EncodeToString([]byte(none)) + "." + part[1] + ".",
		"another's key":   part[0] + "." + part[1] + "." + forged,
		"padding":         part[0] + "." + part[1] + "=." + part[2],
		"trailing text":   raw + "x",
		"two in one":      raw + "." + part[2],
		"newline":         part[0] + "\n." + part[1] + "." + part[2],
		"a licence token": mustLicense(t, m, l.Code),
	} {
		body, err := json.Marshal(wire.Request{Request: raw})
		if err != nil {
			t.Fatal(err)
		}
		rs, text := m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, string(body))
		if p := problem(t, rs, text); p.Reason != license.Unauthorized && p.Reason != license.BadRequest {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// mustLicense is a signed licence, which is no request.
func mustLicense(t *testing.T, m *merchant, code string) string {
	t.Helper()
	rs, body := m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, `{"request":"`+activation(t, code, "m")+`"}`)
	var ans wire.Answer
	if err := json.Unmarshal([]byte(body), &ans); err != nil || rs.StatusCode != http.StatusOK {
		t.Fatal(body)
	}
	if _, err := token.PeekLicense(ans.License); err != nil {
		t.Fatal(err)
	}
	return ans.License
}
