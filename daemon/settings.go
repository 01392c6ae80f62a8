package daemon

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/market"
	"github.com/seed-357fa782/licensed/daemon/internal/webhook"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store/open"
)

// settings is a configuration with everything that it names read and checked.
// Making them touches nothing, so that checking a configuration and starting
// with it are the same code.
type settings struct {
	products  []license.Product
	channels  []authority.Channel
	entries   []market.Options // but for what only a running daemon has
	upstreams []*market.Upstream
	webhooks  []webhook.Endpoint
	secrets   []*webhookSecrets
	cert      *certificate // nil without TLS
	// adminCert is that of the admin listener, adminClients who signs the
	// certificates of those who may reach it; nil without.
	adminCert    *certificate
	adminClients *x509.CertPool
	passphrase   keys.Passphrase
	anchors      token.Anchors // nil: those in the key folder
}

// prepare reads the configuration and makes its settings.
func prepare(o Options) (config.Config, settings, error) {
	c, err := loadConfig(o)
	if err != nil {
		return config.Config{}, settings{}, err
	}
	s, err := makeSettings(c, o.Now)
	return c, s, err
}

// loadConfig reads the configuration and refuses what this version does not do yet,
// rather than leave it without effect.
func loadConfig(o Options) (config.Config, error) {
	c, err := config.Load(o.ConfigFile, o.Environ, o.Set)
	if err != nil {
		return config.Config{}, &ConfigError{err}
	}
	errs := []error{c.CheckFiles(), checkToken(c)}
	if err := open.Check(c.Store); err != nil {
		errs = append(errs, c.KeyError("store", err))
	}
	if err := errors.Join(errs...); err != nil {
		return config.Config{}, &ConfigError{err}
	}
	return c, nil
}

// makeSettings makes the settings of a configuration, or says in a ConfigError what
// keeps it from working.
func makeSettings(c config.Config, now func() time.Time) (settings, error) {
	var s settings
	var errs []error
	fail := func(key string, err error) {
		if err != nil {
			errs = append(errs, c.KeyError(key, err))
		}
	}
	s.products = products(c, fail)
	fail("products", authority.CheckProducts(s.products))
	for i, m := range c.Marketplaces {
		s.addMarketplace(m, now, func(key string, err error) { fail(fmt.Sprintf("marketplaces[%d].%s", i, key), err) })
	}
	for i, w := range c.Webhooks {
		s.addWebhook(w, func(key string, err error) { fail(fmt.Sprintf("webhooks[%d].%s", i, key), err) })
	}
	if c.Public.TLS.Enabled() {
		s.cert = &certificate{files: c.Public.TLS, now: now}
		_, err := s.cert.get(nil)
		fail("public.tls", err)
	}
	if c.Admin.TLS.Enabled() {
		s.adminCert = &certificate{files: config.TLS{CertFile: c.Admin.TLS.CertFile, KeyFile: c.Admin.TLS.KeyFile}, now: now}
		_, err := s.adminCert.get(nil)
		fail("admin.tls", err)
	}
	if path := c.Admin.TLS.ClientCAFile; path != "" {
		var err error
		s.adminClients, err = readCertificates(path)
		fail("admin.tls.client_ca_file", err)
	}
	if path := c.Keys.PassphraseFile; path != "" {
		secret, err := config.ReadSecret(path)
		if err == nil {
			s.passphrase, err = keys.ParsePassphrase([]byte(secret.Reveal()))
		}
		fail("keys.passphrase_file", err)
	}
	if path := c.Keys.AnchorsFile; path != "" {
		data, err := os.ReadFile(path) //nolint:gosec // the path is the administrator's
		if err == nil {
			s.anchors, err = token.ParseAnchors(data)
		}
		fail("keys.anchors_file", err)
	}
	if err := errors.Join(errs...); err != nil {
		return settings{}, errors.Join(&ConfigError{err}, s.close())
	}
	return s, nil
}

// close drops what the settings hold open.
func (s *settings) close() error {
	var errs []error
	for _, u := range s.upstreams {
		errs = append(errs, u.Close())
	}
	return errors.Join(errs...)
}

// products turns the configured products into those of the domain.
func products(c config.Config, fail func(string, error)) []license.Product {
	var out []license.Product
	for i, p := range c.Products {
		features := make(license.Features, len(p.Features))
		for name, v := range p.Features {
			var err error
			switch v := v.(type) {
			case bool:
				features[name] = license.FeatureOn()
			case string:
				features[name] = license.FeatureText(v)
			default:
				features[name], err = license.FeatureNumber(fmt.Sprint(v))
			}
			fail(fmt.Sprintf("products[%d].features.%s", i, name), err)
		}
		out = append(out, license.Product{
			ID: p.ID, Name: p.Name, MarketplaceProducts: p.MarketplaceProducts, Features: features,
			Machines: p.Machines.Count, MachinesFromAmount: p.Machines.Amount, Mode: license.Mode(p.Mode),
			InstallsPerMachine: p.InstallsPerMachine, FloatingLease: time.Duration(p.FloatingLease),
			Binding: license.Policy(p.Binding),
			Schedule: license.Schedule{
				Warn: time.Duration(p.Phases.Warn), Grace: time.Duration(p.Phases.Grace),
				Enforcement: license.Enforcement(p.Phases.Enforcement),
				Lease:       time.Duration(p.Lease), Refresh: time.Duration(p.Refresh),
			},
			Transfers: license.TransferPolicy{
				PerYear: p.Transfers.PerYear, CoolDown: time.Duration(p.Transfers.CoolDown),
				Approval: license.ApprovalPolicy(p.Transfers.Approval), ApprovalFor: time.Duration(p.Transfers.ApprovalFor),
			},
			Forks: license.ForkPolicy(p.Forks), StatusMaxAge: time.Duration(p.StatusMaxAge),
			Overage: p.Overage.Allow, ReleaseAfter: time.Duration(p.Installs.ReleaseAfter), RenewWithin: time.Duration(p.RenewWithin),
			Trial: license.TrialPolicy{
				For: time.Duration(p.Trial.For), PerMachine: p.Trial.PerMachine, Remember: time.Duration(p.Trial.Remember),
			},
			Accepts: p.Accepts,
		})
	}
	return out
}

// addMarketplace reads the secrets of an entry and makes its upstream.
func (s *settings) addMarketplace(m config.Marketplace, now func() time.Time, fail func(string, error)) {
	location, err := m.Location()
	fail("expire_time_zone", err)
	pattern, err := regexp.Compile(m.CodePattern)
	fail("code_pattern", err)
	entry := market.Options{Name: m.Name, Location: location, Now: now, V1: m.LicenseV1, V1Window: time.Duration(m.LicenseV1Window)}
	for k, path := range m.AccessKeyFiles {
		secret, err := config.ReadSecret(path)
		fail(fmt.Sprintf("access_key_files[%d]", k), err)
		entry.AccessKeys = append(entry.AccessKeys, secret.Reveal())
	}
	s.entries = append(s.entries, entry)
	ch := authority.Channel{Name: m.Name, Pattern: pattern, PerpetualWithoutExpiry: m.PerpetualWithoutExpiry}
	ch.ProbeZone, err = config.ParseZone(m.ProbeTimeZone)
	fail("probe_time_zone", err)
	if m.OpenAPI.Enabled() {
		up, err := upstream(m.OpenAPI, location, now)
		fail("open_api", err)
		if err == nil {
			s.upstreams = append(s.upstreams, up)
			ch.Upstream, ch.Desk = up, up
			if m.Sync.Usage {
				ch.Meter = up
			}
			s.entries[len(s.entries)-1].Desk = true
		}
	}
	if m.Sync.Usage && ch.Meter == nil {
		fail("sync.usage", errors.New("use is reported through open_api, which has no keys"))
	}
	s.channels = append(s.channels, ch)
}

func upstream(c config.OpenAPI, location *time.Location, now func() time.Time) (*market.Upstream, error) {
	id, err := config.ReadSecret(c.AccessKeyIDFile)
	if err != nil {
		return nil, err
	}
	secret, err := config.ReadSecret(c.SecretAccessKeyFile)
	if err != nil {
		return nil, err
	}
	o := market.UpstreamOptions{
		AccessKeyID: id.Reveal(), SecretAccessKey: secret.Reveal(), BaseURLs: c.BaseURLs, Location: location, Now: now,
	}
	if c.CAFile != "" {
		if o.ExtraRoots, err = os.ReadFile(c.CAFile); err != nil {
			return nil, err
		}
	}
	return market.NewUpstream(o)
}
