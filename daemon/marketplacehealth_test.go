package daemon_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// A daemon that is not ready while the marketplace's probes are refused is ready
// when they are not any more, also on a day that stays a bad one.
func TestReadyAfterMending(t *testing.T) {
	t.Parallel()
	e := startEntry(t, ", ready_requires_probes: true")
	const refused = `{"activity":"updateLicenseCodeStatus","license":"PL0001","status":"MELT","testFlag":"1"}`
	mended := strings.Replace(refused, "MELT", "FREEZE", 1)
	e.send(accessKey, refused)
	if code, _ := e.ready(); code != http.StatusServiceUnavailable {
		t.Errorf("refused: HTTP %d", code)
	}
	e.pass(7 * time.Hour) // the afternoon
	e.probe()
	if code, _ := e.ready(); code != http.StatusServiceUnavailable {
		t.Errorf("another one succeeds: HTTP %d", code)
	}
	e.send(accessKey, mended)
	if code, text := e.ready(); code != http.StatusOK || !slices.Contains(codes(e.health()), "warn bad_days") {
		t.Errorf("the afternoon's probes succeed: HTTP %d %s, %v", code, text, codes(e.health()))
	}
}

// A product that was taken off sale does not make the daemon unready for good.
func TestReadyOffSale(t *testing.T) {
	t.Parallel()
	e := startEntry(t, ", ready_requires_probes: true")
	e.probe()
	e.pass(20 * 24 * time.Hour)
	if code, text := e.ready(); code != http.StatusOK {
		t.Errorf("off sale for 20 days: HTTP %d %s; %v", code, text, codes(e.health()))
	}
	if h := e.health(); !h.Gone || h.BadDays != 0 {
		t.Errorf("%+v", h)
	}
}

// Calls of the retired interface are refused where it is switched off, and
// somebody learns that they come.
func TestCallsOfV1Off(t *testing.T) {
	t.Parallel()
	e := startEntry(t, "")
	status, _ := e.do(http.MethodGet, "/marketplace/koogallery?activity=getLicense&timeStamp=20260301120000000&authToken=x&testFlag=1", "", "")
	if h := e.health(); status.StatusCode != http.StatusMethodNotAllowed || len(h.Days) != 1 || h.Days[0].Doubted["v1"] != 1 || !slices.Contains(codes(h), "note v1_off") {
		t.Errorf("answered HTTP %d: %+v, %v", status.StatusCode, h.Days, codes(h))
	}
	if status, _ := e.do(http.MethodGet, "/marketplace/koogallery", "", ""); status.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a browser: HTTP %d", status.StatusCode)
	}
	if h := e.health(); h.Days[0].Doubted["v1"] != 1 {
		t.Errorf("a browser counts: %+v", h.Days)
	}
}

// Orders that wait are told by status too, of which doctor makes its line.
func TestStatusTellsOfOrders(t *testing.T) {
	t.Parallel()
	e := startEntry(t, "")
	e.probe()
	if err := e.admin(http.MethodPost, adminwire.PathOrders, map[string]any{"channel": "koogallery", "order": "CS1", "line": "CS1-1", "stage": "to_deliver"}, nil); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		e.pass(12 * time.Hour)
		e.probe()
	}
	if got := codes(e.health()); !slices.Equal(got, []string{"warn orders_to_deliver"}) {
		t.Errorf("%v", got)
	}
	if st := e.status(); st.Marketplaces[0].Level != adminwire.LevelWarn || !strings.Contains(strings.Join(st.Marketplaces[0].Problems, ""), "1 order has waited") {
		t.Errorf("%+v", st.Marketplaces)
	}
}

// The end of the public listener's certificate is told while there is time.
func TestCertificateIsTold(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, 1) // for an hour
	yaml := strings.Replace(config, `public: {listen: "127.0.0.1:0"}`,
		`public: {listen: "127.0.0.1:0", tls: {cert_file: cert.pem, key_file: key.pem}}`, 1)
	yaml += "marketplaces: [{name: koogallery, access_key_files: [access-key]}]\n"
	m := start(t, yaml, map[string]string{"cert.pem": cert, "key.pem": key, "access-key": accessKey})
	var h adminwire.Marketplace
	if err := m.admin(http.MethodGet, adminwire.PathMarketplaces+"/koogallery", nil, &h); err != nil || h.Certificate == nil ||
		!slices.Contains(codes(h), "fail certificate_ends") {
		t.Errorf("%v, %v, %v", err, h.Certificate, codes(h))
	}
}

// A self-test of a given address goes where that points.
func TestSelfTestOfAnAddress(t *testing.T) {
	t.Parallel()
	e := startEntry(t, "")
	test := func(address string) (out adminwire.SelfTest, err *license.Error) {
		err = e.admin(http.MethodPost, strings.Replace(adminwire.PathSelfTest, "{channel}", "koogallery", 1)+"?url="+url.QueryEscape(address), nil, &out)
		return out, err
	}
	for _, address := range []string{"http://" + e.d.Addr(), "http://" + e.d.Addr() + "/", "http://" + e.d.Addr() + "/marketplace/koogallery"} {
		got, err := test(address)
		if err != nil || !got.OK || got.Listener != "" || got.URL != "http://"+e.d.Addr()+"/marketplace/koogallery" {
			t.Errorf("%s: %+v, %v", address, got, err)
		}
	}
	if got, err := test("http://" + e.d.Addr() + "/elsewhere"); err != nil || got.OK {
		t.Errorf("another path: %+v, %v", got, err)
	}
	if h := e.health(); h.LastProbe != nil {
		t.Errorf("it was counted: %+v", h)
	}
	for _, address := range []string{"licence.example.com", "ftp://a/b", "http://", "https://u:p@a/", "https://a/?x=y", "http://%zz"} {
		if _, err := test(address); err == nil || err.Reason != license.BadRequest || err.Field != "url" {
			t.Errorf("%q: %v", address, err)
		}
	}
}
