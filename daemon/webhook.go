package daemon

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/webhook"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/buildinfo"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/store/open"
)

// addWebhook reads the secrets and roots of an endpoint.
func (s *settings) addWebhook(w config.Webhook, fail func(string, error)) {
	secrets := &webhookSecrets{name: w.Name, files: w.Secrets()}
	for i, path := range secrets.files {
		key := fmt.Sprintf("secret_files[%d]", i)
		if w.SecretFile != "" {
			key = "secret_file"
			if i > 0 {
				key = fmt.Sprintf("secret_files[%d]", i-1)
			}
		}
		secret, err := readWebhookSecret(path)
		fail(key, err)
		secrets.last = append(secrets.last, secret)
	}
	secrets.stamps = secrets.modified()
	fail("events", webhook.CheckEvents(w.Events))
	e := webhook.Endpoint{
		Name: w.Name, URL: w.URL, Secrets: secrets.get, Events: w.Events, Products: w.Products, Include: w.Include,
	}
	if w.CAFile != "" {
		var err error
		e.Roots, err = rootsWith(w.CAFile)
		fail("ca_file", err)
	}
	s.webhooks, s.secrets = append(s.webhooks, e), append(s.secrets, secrets)
}

// rootsWith are the roots of the system and those in a file.
func rootsWith(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the path is the administrator's
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return roots, nil
}

func readWebhookSecret(path string) (webhook.Secret, error) {
	text, err := config.ReadSecret(path)
	if err != nil {
		return webhook.Secret{}, err
	}
	secret, err := webhook.ParseSecret(text.Reveal())
	if err != nil {
		return webhook.Secret{}, fmt.Errorf("%s: %w", path, err)
	}
	return secret, nil
}

// webhookSecrets are secrets that are read again when their files change, so
// that one can take the place of another without a restart.
type webhookSecrets struct {
	name  string
	files []string
	log   *slog.Logger // nil: nothing is said
	now   func() time.Time

	mu      sync.Mutex
	checked time.Time
	stamps  []time.Time
	last    []webhook.Secret
}

func (s *webhookSecrets) modified() []time.Time {
	var out []time.Time
	for _, path := range s.files {
		out = append(out, modified(path))
	}
	return out
}

// get returns the secrets. Where a file cannot be read any more that is logged,
// and those at hand are kept.
func (s *webhookSecrets) get() []webhook.Secret {
	const every = 5 * time.Second
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil || s.now().Sub(s.checked).Abs() < every {
		return s.last
	}
	s.checked = s.now()
	stamps := s.modified()
	if slices.EqualFunc(stamps, s.stamps, time.Time.Equal) {
		return s.last
	}
	var list []webhook.Secret
	for _, path := range s.files {
		secret, err := readWebhookSecret(path)
		if err != nil {
			if s.log != nil {
				s.log.Error("the secrets of a webhook cannot be read again; those before are kept", "webhook", s.name, "error", err.Error())
			}
			return s.last
		}
		list = append(list, secret)
	}
	s.last, s.stamps = list, stamps
	return s.last
}

// makeWebhooks makes what tells the endpoints about events.
func (d *Daemon) makeWebhooks(context.Context) error {
	for _, s := range d.settings.secrets {
		s.mu.Lock()
		s.log, s.now = d.log, d.now
		s.mu.Unlock()
	}
	owner := "" // drawn: others may have the store too
	if open.Exclusive(d.config.Store) {
		owner = "daemon" // who follows one that was killed need not wait for its lease
	}
	sender, err := webhook.New(webhook.Options{
		Authority: d.authority, Endpoints: d.settings.webhooks, Issuer: d.ring.KeySet().Issuer, Version: buildinfo.Version(),
		Log: d.log, Now: d.now, Owner: owner,
	})
	if err != nil {
		return &ConfigError{err}
	}
	d.webhooks = sender
	return nil
}

// webhookLines are all endpoints in one line each; that the store does not answer
// is said elsewhere.
func (d *Daemon) webhookLines(ctx context.Context) []adminwire.WebhookLine {
	lines, err := d.webhooks.Lines(ctx)
	if err != nil {
		return []adminwire.WebhookLine{}
	}
	return lines
}
