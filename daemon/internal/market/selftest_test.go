package market_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/market"
	"github.com/seed-357fa782/licensed/koogallery"
)

// What the marketplace would not count as a success is told, and why.
func TestSelfTestFinds(t *testing.T) {
	t.Parallel()
	const good = `{"resultCode":"000000","resultMsg":"success.","instanceId":"i"}`
	for name, c := range map[string]struct {
		status int
		body   string
		says   string // "" is a success
	}{
		"good":           {200, good, ""},
		"refused":        {200, `{"resultCode":"000001","resultMsg":"token is invalid"}`, "refused with 000001 token is invalid"},
		"a page":         {200, "<html>maintenance</html>", "no JSON with a resultCode"},
		"no code":        {200, `{}`, "no JSON with a resultCode"},
		"another status": {503, good, "HTTP 503"},
		"a redirect":     {302, "", "HTTP 302"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/marketplace/koogallery" {
					t.Errorf("%s was asked for", r.URL.Path)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer s.Close()
			calls, seen, err := market.SelfTest(t.Context(), market.Options{AccessKeys: []string{"k"}}, market.Route{
				URL: s.URL + "/marketplace/koogallery", Dial: s.Listener.Addr().String(),
			})
			if err != nil || len(calls) != 3 || seen != nil {
				t.Fatalf("%d calls, %v, %v", len(calls), seen, err)
			}
			for _, call := range calls {
				if call.Status != c.status || (call.Failure == "") != (c.says == "") || !strings.Contains(call.Failure, c.says) || call.Lost {
					t.Errorf("%+v", call)
				}
			}
		})
	}
}

// The calls are those that the entry takes, well formed, marked as debug calls,
// and signed with each of its keys.
func TestSelfTestCalls(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	keys := []koogallery.AccessKey{koogallery.NewAccessKey("old"), koogallery.NewAccessKey("new")}
	// Neither handler has a function for real messages: one would not survive.
	post := &koogallery.Handler{
		Verifier:   &koogallery.Verifier{Keys: keys, Now: clock},
		Activities: append(append(koogallery.LicenseCodeActivities(), koogallery.InstanceActivities()...), koogallery.ActivityOrderNotify),
	}
	get := &koogallery.V1Handler{Verifier: &koogallery.V1Verifier{Keys: keys, Now: clock}}
	mux := http.NewServeMux()
	mux.Handle("POST /m", post)
	mux.Handle("GET /m", get)
	s := httptest.NewServer(mux)
	defer s.Close()
	calls, _, err := market.SelfTest(t.Context(), market.Options{AccessKeys: []string{"old", "new"}, Desk: true, V1: true, Now: clock},
		market.Route{URL: s.URL + "/m", Dial: s.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, c := range calls {
		if c.Failure != "" || c.Result != koogallery.ResultOK {
			t.Errorf("%+v", c)
		}
		got[fmt.Sprint(c.Method, " key ", c.Key)]++
	}
	if got["POST key 0"] != 9 || got["POST key 1"] != 1 || got["GET key 0"] != 4 || len(calls) != 14 {
		t.Errorf("%v", got)
	}
}

// The certificate is verified as a caller verifies it.
func TestSelfTestTLS(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := httptest.NewUnstartedServer(&koogallery.Handler{Verifier: &koogallery.Verifier{Keys: []koogallery.AccessKey{koogallery.NewAccessKey("k")}}})
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.StartTLS()
	defer s.Close()
	own := x509.NewCertPool()
	own.AddCert(s.Certificate())
	host, port := "example.com", s.Listener.Addr().String() // the certificate is for that name
	for name, c := range map[string]struct {
		host  string
		roots *x509.CertPool
		now   time.Time
		says  string
	}{
		"good":         {host, own, now, ""},
		"nobody's":     {host, x509.NewCertPool(), now, "signed by nobody that this machine trusts"},
		"another name": {"licence.example.org", own, now, "the certificate is not for licence.example.org"},
		"has run out":  {host, own, now.AddDate(100, 0, 0), "has run out"},
	} {
		calls, seen, err := market.SelfTest(t.Context(), market.Options{AccessKeys: []string{"k"}, Now: func() time.Time { return c.now }},
			market.Route{URL: "https://" + c.host + "/", Dial: port, Roots: c.roots})
		switch {
		case err != nil || len(calls) == 0:
			t.Errorf("%s: %+v, %v", name, calls, err)
		case c.says == "":
			if len(calls) != 3 || calls[0].Failure != "" || seen == nil || seen.Version != "TLS 1.3" || !strings.Contains(strings.Join(seen.Names, " "), host) || seen.NotAfter.IsZero() {
				t.Errorf("%s: %+v, %+v", name, calls, seen)
			}
		case len(calls) != 1 || !calls[0].Lost || !strings.Contains(calls[0].Failure, c.says) || seen != nil:
			t.Errorf("%s: %+v, %+v", name, calls, seen)
		}
	}
}

// A listener that is not there, or speaks plain text, is told in words, and
// without the signed address.
func TestSelfTestNoConnection(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for dial, says := range map[string]string{
		plain.Listener.Addr().String(): "does not speak TLS", gone.Listener.Addr().String(): "there is no connection: ",
	} {
		calls, _, err := market.SelfTest(t.Context(), market.Options{AccessKeys: []string{"k"}}, market.Route{URL: "https://example.com/", Dial: dial})
		if err != nil || len(calls) != 1 || !calls[0].Lost || !strings.Contains(calls[0].Failure, says) || strings.Contains(calls[0].Failure, "signature=") {
			t.Errorf("%+v, %v", calls, err)
		}
	}
	if _, _, err := market.SelfTest(t.Context(), market.Options{AccessKeys: []string{"k"}}, market.Route{URL: "https://%zz/"}); err == nil {
		t.Error("an address that is none was accepted")
	}
}
