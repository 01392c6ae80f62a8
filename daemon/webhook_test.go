package daemon_test

import (
	"bytes"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

const (
	hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	nextSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

func (m *merchant) testWebhook(name string) adminwire.WebhookTest {
	m.t.Helper()
	var out adminwire.WebhookTest
	if err := m.admin(http.MethodPost, strings.Replace(adminwire.PathTestWebhook, "{webhook}", name, 1), nil, &out); err != nil {
		m.t.Fatal(err)
	}
	return out
}

// A receiver's certificate is verified, against roots of its own too, and events
// reach it over HTTPS.
func TestWebhookOverTLS(t *testing.T) {
	t.Parallel()
	received := make(chan string, 10)
	receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		received <- r.Header.Get("webhook-id")
	}))
	receiver.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	receiver.StartTLS()
	t.Cleanup(receiver.Close)
	roots := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: receiver.Certificate().Raw}))
	yaml := config + "\nwebhooks:\n" +
		"  - {name: known, url: " + receiver.URL + ", secret_file: hook, ca_file: ca.pem, events: [license.issued]}\n" +
		"  - {name: unknown, url: " + receiver.URL + ", secret_file: hook, events: [keys.rotated]}\n" +
		"  - {name: nobody, url: 'https://127.0.0.1:1/', secret_file: hook, events: [keys.rotated]}\n"
	m := start(t, yaml, map[string]string{"hook": hookSecret, "ca.pem": roots})
	if got := m.testWebhook("known"); !got.OK || got.HTTPStatus != http.StatusOK || !strings.HasPrefix(<-received, "test_") {
		t.Errorf("%+v", got)
	}
	if got := m.testWebhook("unknown"); got.OK || got.HTTPStatus != 0 || !strings.Contains(got.Failure, "certificate") {
		t.Errorf("%+v", got)
	}
	if got := m.testWebhook("nobody"); got.OK || !strings.Contains(got.Failure, "refused") || strings.Contains(got.Failure, "Post") {
		t.Errorf("%+v", got)
	}
	// Events are told from the moment on at which the endpoint has begun, which is
	// when its state can be changed.
	enable := strings.Replace(adminwire.PathEnableWebhook, "{webhook}", "known", 1)
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := m.admin(http.MethodPost, enable, nil, new(adminwire.WebhookEdited))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	var issued adminwire.LicenseList
	if err := m.admin(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: "cad", Perpetual: true}, &issued); err != nil {
		t.Fatal(err)
	}
	if id := <-received; !strings.HasPrefix(id, "evt_") {
		t.Errorf("id %q", id)
	}
	var s adminwire.Status
	if err := m.admin(http.MethodGet, adminwire.PathStatus, nil, &s); err != nil || len(s.Webhooks) != 3 || s.Webhooks[0].Level != adminwire.LevelOK {
		t.Errorf("%+v %v", s.Webhooks, err)
	}
}

// hookLog is what a daemon logs.
type hookLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *hookLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *hookLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Secrets are read again when their files change. One that cannot be read any
// more is logged, and the one before is kept.
func TestWebhookSecretsChange(t *testing.T) {
	t.Parallel()
	signatures := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		signatures <- r.Header.Get("webhook-signature")
	}))
	t.Cleanup(receiver.Close)
	var offset atomic.Int64
	var log hookLog
	yaml := config + "\nwebhooks: [{name: crm, url: " + receiver.URL + ", secret_files: [next, hook]}]\n"
	m := start(t, yaml, map[string]string{"hook": hookSecret, "next": nextSecret + "\n"}, func(o *daemon.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	if got := m.testWebhook("crm"); got.Signatures != 2 || len(strings.Fields(<-signatures)) != 2 {
		t.Errorf("%+v", got)
	}
	// The same secret twice signs the same twice.
	later := func(name, text string) []string {
		t.Helper()
		path := filepath.Join(m.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(offset.Add(int64(10 * time.Second))))
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		if got := m.testWebhook("crm"); !got.OK {
			t.Errorf("%+v", got)
		}
		return strings.Fields(<-signatures)
	}
	if got := later("hook", nextSecret); got[0] != got[1] {
		t.Error("the file was not read again")
	}
	if got := later("hook", "whsec_oops-"+hookSecret); got[0] != got[1] || !strings.Contains(log.String(), "those before are kept") {
		t.Error("the secret before is not kept, or nothing is said")
	}
	if got := later("hook", hookSecret); got[0] == got[1] {
		t.Error("the file was not read again")
	}
	if strings.Contains(log.String(), "MfKQ9r8G") {
		t.Error("the log tells the secret")
	}
}
