package webhook_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/custody"
	"github.com/seed-357fa782/licensed/daemon/internal/webhook"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// BenchmarkDeliver delivers events of as many licences to a receiver behind a
// socket, through the store and with the positions written.
func BenchmarkDeliver(b *testing.B) {
	s, err := boltstore.Open(filepath.Join(b.TempDir(), "bench.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	dir := filepath.Join(b.TempDir(), "keys")
	if _, err := keys.Init(dir, keys.Options{Issuer: issuer}); err != nil {
		b.Fatal(err)
	}
	ring, err := keys.Open(dir, keys.Options{Issuer: issuer})
	if err != nil {
		b.Fatal(err)
	}
	a, err := authority.New(authority.Options{
		Store: s, Custody: custody.Ring{Ring: ring}, Codes: ring.CodeKey(), Products: []license.Product{{ID: "cad", Machines: 1, Mode: license.ModeNode}},
	})
	if err != nil {
		b.Fatal(err)
	}
	var got atomic.Int64
	all := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if got.Add(1) == int64(b.N) {
			close(all)
		}
	}))
	defer receiver.Close()
	if _, err := a.PutWebhook(b.Context(), "crm", authority.WebhookState{}); err != nil {
		b.Fatal(err)
	}
	for left := b.N; left > 0; left -= 1000 {
		if _, err := a.Issue(b.Context(), admin, authority.Order{Product: "cad", Perpetual: true, Count: min(left, 1000)}); err != nil {
			b.Fatal(err)
		}
	}
	sender, err := webhook.New(webhook.Options{
		Authority: a, Issuer: issuer, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Endpoints: []webhook.Endpoint{endpoint(func(e *webhook.Endpoint) { e.URL = receiver.URL })},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	commits := s.Stats().Commits
	b.ResetTimer()
	go func() { defer close(done); sender.Run(ctx) }()
	<-all
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(s.Stats().Commits-commits), "commits")
	stop()
	<-done
}
