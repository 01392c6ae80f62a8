package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/custody"
	"github.com/seed-357fa782/licensed/daemon/internal/webhook"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/pipenet"
	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

func TestMain(m *testing.M) {
	teststore.Main()
	goleak.VerifyTestMain(m)
}

const (
	issuer = "https://licence.example.com"
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newer  = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

var admin = license.Actor{Kind: license.ActorAdmin, Name: "jane", Addr: "192.0.2.7"}

// world is a merchant with an authority on a real store, and a receiver.
type world struct {
	t        *testing.T
	a        *authority.Authority
	faults   *faultstore.Store
	options  authority.Options
	receiver *receiver
	net      *pipenet.Listener
	log      *logText
	now      func() time.Time
}

// logText is what was logged.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newWorld makes one. In a bubble its clock is that of the bubble.
func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := teststore.Opener(t)()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := keys.Init(dir, keys.Options{Issuer: issuer, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(dir, keys.Options{Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, faults: faultstore.Wrap(s), receiver: newReceiver(t), net: pipenet.Listen(), log: &logText{}, now: time.Now}
	product := func(id string) license.Product {
		return license.Product{
			ID: id, Machines: 1, Mode: license.ModeNode, InstallsPerMachine: 3, Binding: license.PolicyFuzzy,
			Features:  license.Features{"export": license.FeatureOn()},
			Schedule:  license.Schedule{Enforcement: license.EnforceBlock, Lease: 14 * 24 * time.Hour, Refresh: 24 * time.Hour},
			Transfers: license.TransferPolicy{PerYear: 3},
		}
	}
	w.options = authority.Options{
		Store: w.faults, Custody: custody.Ring{Ring: ring}, Codes: ring.CodeKey(), Products: []license.Product{product("cad"), product("other")},
		Now: func() time.Time { return w.now() },
	}
	w.a = w.authority()
	server := &http.Server{Handler: w.receiver, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(w.net) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) authority() *authority.Authority {
	w.t.Helper()
	a, err := authority.New(w.options)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// endpoint is one that the receiver stands behind.
func endpoint(edit ...func(*webhook.Endpoint)) webhook.Endpoint {
	key, err := webhook.ParseSecret(secret)
	if err != nil {
		panic(err)
	}
	e := webhook.Endpoint{Name: "crm", URL: "http://crm.example.com/hook", Secrets: func() []webhook.Secret { return []webhook.Secret{key} }}
	for _, f := range edit {
		f(&e)
	}
	return e
}

// running is a sender that runs.
type running struct {
	*webhook.Sender
	w    *world
	stop func()
}

// start runs a sender for the endpoints, and waits until it has begun.
func (w *world) start(endpoints ...webhook.Endpoint) *running { return w.startOn(w.a, endpoints...) }

func (w *world) startOn(a *authority.Authority, endpoints ...webhook.Endpoint) *running {
	w.t.Helper()
	return w.run(w.sender(a, endpoints...))
}

func (w *world) sender(a *authority.Authority, endpoints ...webhook.Endpoint) *webhook.Sender {
	w.t.Helper()
	transport := &http.Transport{DialContext: w.net.DialContext, DisableCompression: true}
	s, err := webhook.New(webhook.Options{
		Authority: a, Endpoints: endpoints, Issuer: issuer, Version: "1.0", Now: func() time.Time { return w.now() }, Transport: transport,
		Log: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) run(s *webhook.Sender) *running {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var done sync.WaitGroup
	done.Go(func() { s.Run(ctx) })
	stop := sync.OnceFunc(func() { cancel(); done.Wait() })
	w.t.Cleanup(stop)
	synctest.Wait()
	return &running{Sender: s, w: w, stop: stop}
}

// issue makes a licence.
func (w *world) issue(edit ...func(*authority.Order)) license.License {
	w.t.Helper()
	o := authority.Order{Product: "cad", Customer: "Müller & Söhne", For: 10 * 365 * 24 * time.Hour}
	for _, f := range edit {
		f(&o)
	}
	is, err := w.a.Issue(w.t.Context(), admin, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return is[0].License
}

// append writes into the audit log what the authority does not do here.
func (w *world) append(e license.AuditEvent) {
	w.t.Helper()
	err := w.faults.Update(w.t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Append(ctx, e)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.issue(func(o *authority.Order) { o.Product = "cad" }) // which wakes the sender
}

func (w *world) change(l license.License, event license.Event) {
	w.t.Helper()
	e := authority.Edit{Event: event, For: 24 * time.Hour, Reason: "asked by Jane"}
	if event != license.EventRenew {
		e.For = 0
	}
	if event != license.EventRevoke {
		e.Reason = ""
	}
	if _, _, err := w.a.Edit(w.t.Context(), admin, l.ID, e); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) state(name string) adminwire.Webhook {
	w.t.Helper()
	s, err := webhook.New(webhook.Options{
		Authority: w.a, Endpoints: []webhook.Endpoint{endpoint(func(e *webhook.Endpoint) { e.Name = name })},
		Issuer: issuer, Now: w.now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := s.Webhooks(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return list[0]
}

// delivery is one request that the receiver took or refused.
type delivery struct {
	At         time.Time
	ID         string
	Signatures []string
	Header     http.Header
	Body       []byte

	Type      string
	Timestamp time.Time
	Data      struct {
		Seq     int64
		Action  string
		Actor   map[string]string
		License map[string]any
		Before  map[string]any
		After   map[string]any
		Note    string
	}
}

func (d delivery) license() string { s, _ := d.Data.License["id"].(string); return s }

// receiver takes deliveries. It checks the signature by the words of the
// specification, and knows nothing of the sender's code.
type receiver struct {
	t *testing.T

	mu     sync.Mutex
	tried  []delivery // all
	taken  []delivery // those that were answered 2xx
	behave func(w http.ResponseWriter, r *http.Request, d delivery) int
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	return &receiver{t: t}
}

// answers has the receiver answer as f says, 0 for nothing more.
func (r *receiver) answers(f func(w http.ResponseWriter, r *http.Request, d delivery) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behave = f
}

// status has it answer everything with a status.
func (r *receiver) status(code int) {
	r.answers(func(http.ResponseWriter, *http.Request, delivery) int { return code })
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, rq *http.Request) {
	body, err := io.ReadAll(rq.Body)
	if err != nil {
		return // it was broken off
	}
	d := delivery{
		At: time.Now(), ID: rq.Header.Get("webhook-id"), Signatures: strings.Split(rq.Header.Get("webhook-signature"), " "),
		Header: rq.Header, Body: body,
	}
	if err := verify(secret, rq.Header, body); err != nil {
		r.t.Errorf("delivery %s: %v", d.ID, err)
	}
	if err := json.Unmarshal(body, &d); err != nil {
		r.t.Errorf("delivery %s: %v: %s", d.ID, err, body)
	}
	r.mu.Lock()
	behave := r.behave
	r.tried = append(r.tried, d)
	r.mu.Unlock()
	status := http.StatusNoContent
	if behave != nil {
		status = behave(w, rq, d)
	}
	if status == 0 {
		return
	}
	if status < 300 {
		r.mu.Lock()
		r.taken = append(r.taken, d)
		r.mu.Unlock()
	}
	w.WriteHeader(status)
}

// verify is how a receiver verifies a delivery, against a clock of its own.
func verify(secret string, h http.Header, body []byte) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	at, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		return err
	}
	if off := time.Since(time.Unix(at, 0)).Abs(); off > 5*time.Minute {
		return fmt.Errorf("the timestamp is off by %s", off)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(h.Get("webhook-id") + "." + h.Get("webhook-timestamp") + "." + string(body)))
	want := mac.Sum(nil)
	for s := range strings.SplitSeq(h.Get("webhook-signature"), " ") {
		version, text, _ := strings.Cut(s, ",")
		got, err := base64.StdEncoding.DecodeString(text)
		if version == "v1" && err == nil && hmac.Equal(got, want) {
			return nil
		}
	}
	return fmt.Errorf("no signature fits: %s", h.Get("webhook-signature"))
}

func (r *receiver) all() (tried, taken []delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivery{}, r.tried...), append([]delivery{}, r.taken...)
}

func (r *receiver) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried, r.taken = nil, nil
}

// took are the types that were taken, in their order.
func (r *receiver) took() (out []string) {
	_, taken := r.all()
	for _, d := range taken {
		out = append(out, d.Type)
	}
	return out
}
