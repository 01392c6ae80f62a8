package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/market"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/open"
)

// openKeys opens the key folder, or makes it at the first start.
func (d *Daemon) openKeys(context.Context) error {
	if err := durable.MkdirAll(d.config.DataDir); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	o := keys.Options{Issuer: d.config.Issuer, Now: d.now}
	if path := d.config.Keys.PassphraseFile; path != "" {
		secret, err := config.ReadSecret(path)
		if err != nil {
			return &ConfigError{d.config.KeyError("keys.passphrase_file", err)}
		}
		if o.Passphrase, err = keys.ParsePassphrase([]byte(secret.Reveal())); err != nil {
			return &ConfigError{d.config.KeyError("keys.passphrase_file", err)}
		}
	}
	dir := filepath.Join(d.config.DataDir, "keys")
	if _, err := os.Stat(filepath.Join(dir, "keyset.jwt")); errors.Is(err, fs.ErrNotExist) {
		created, err := keys.Init(dir, o)
		if err != nil {
			return fmt.Errorf("make the keys: %w", err)
		}
		d.log.Warn("this is the first start: keys were made. Move the anchors' private halves to a medium that is kept offline, "+
			"together with a copy of the identity that opens them", "folder", dir, "move", created.MoveOffline, "copy", created.CopyOffline)
	}
	if path := d.config.Keys.AnchorsFile; path != "" {
		data, err := os.ReadFile(path) //nolint:gosec // the path is the administrator's
		if err == nil {
			o.Anchors, err = token.ParseAnchors(data)
		}
		if err != nil {
			return &ConfigError{d.config.KeyError("keys.anchors_file", err)}
		}
	}
	if !d.config.IssuerGiven {
		o.Issuer = "" // then the issuer is that of the keys, however the listener is called today
	}
	ring, err := keys.Open(dir, o)
	if err != nil {
		return fmt.Errorf("open the keys: %w", err)
	}
	d.ring = ring
	health := ring.Health(d.now())
	if health.Expiring {
		d.log.Warn("the key set nears its end; have an anchor sign the next one", "expires_at", health.ExpiresAt, "days_left", health.DaysLeft)
	}
	if len(health.Leftover) > 0 {
		d.log.Warn("private halves of retired keys could not be removed; remove them by hand", "files", health.Leftover)
	}
	if beyond := !d.config.PublicIsLoopback(); beyond && len(ring.AnchorPrivatesPresent()) > 0 && !d.config.Keys.AllowAnchorKeys {
		return &ConfigError{d.config.KeyError("public.listen", fmt.Errorf(
			"a listener beyond loopback is refused while private halves of anchors lie in the data folder (%s): "+
				"move them offline, or set keys.allow_anchor_keys", filepath.Join(dir, "anchors")))}
	}
	return nil
}

// codesCheck is the name of the value that ties a store to its data key.
const codesCheck = "codes.check"

// openStore opens the store and makes sure that its codes can be read with the
// data key at hand.
func (d *Daemon) openStore(ctx context.Context) error {
	s, err := open.Open(ctx, d.config.Store)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	d.store = s
	d.closers = append(d.closers, s.Close)
	want := d.ring.CodeKey().Check()
	var have []byte
	err = s.View(ctx, func(ctx context.Context, tx store.Tx) error {
		have, err = tx.Value(ctx, codesCheck)
		if errors.Is(err, license.NotFound) {
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("read the store: %w", err)
	case have == nil:
		return s.Update(ctx, func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, codesCheck, want) })
	case !bytes.Equal(have, want):
		return fmt.Errorf("the data key in %s is not the one that the store %s was made with; "+
			"put back the keys folder that belongs to it", filepath.Join(d.config.DataDir, "keys"), d.config.Store)
	}
	return nil
}

func (d *Daemon) makeAuthority(context.Context) error {
	products, err := products(d.config)
	if err != nil {
		return &ConfigError{err}
	}
	channels, err := d.channels()
	if err != nil {
		return err
	}
	d.authority, err = authority.New(authority.Options{
		Store: d.store, Custody: custody{d.ring}, Codes: d.ring.CodeKey(),
		Products: products, Channels: channels, Now: d.now,
	})
	return err
}

// products turns the configured products into those of the domain.
func products(c config.Config) ([]license.Product, error) {
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
				if features[name], err = license.FeatureNumber(fmt.Sprint(v)); err != nil {
					return nil, c.KeyError(fmt.Sprintf("products[%d].features.%s", i, name), err)
				}
			}
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
			Transfers: license.TransferPolicy{PerYear: p.Transfers.PerYear, CoolDown: time.Duration(p.Transfers.CoolDown)},
		})
	}
	return out, nil
}

// channels makes the upstream of each marketplace entry.
func (d *Daemon) channels() ([]authority.Channel, error) {
	var out []authority.Channel
	for i, m := range d.config.Marketplaces {
		pattern, err := regexp.Compile(m.CodePattern)
		if err != nil {
			return nil, &ConfigError{d.config.KeyError(fmt.Sprintf("marketplaces[%d].code_pattern", i), err)}
		}
		ch := authority.Channel{Name: m.Name, Pattern: pattern}
		if m.OpenAPI.Enabled() {
			up, err := d.upstream(m)
			if err != nil {
				return nil, &ConfigError{d.config.KeyError(fmt.Sprintf("marketplaces[%d].open_api", i), err)}
			}
			d.closers = append(d.closers, up.Close)
			ch.Upstream = up
		}
		out = append(out, ch)
	}
	return out, nil
}

func (d *Daemon) upstream(m config.Marketplace) (*market.Upstream, error) {
	id, err := config.ReadSecret(m.OpenAPI.AccessKeyIDFile)
	if err != nil {
		return nil, err
	}
	secret, err := config.ReadSecret(m.OpenAPI.SecretAccessKeyFile)
	if err != nil {
		return nil, err
	}
	location, err := m.Location()
	if err != nil {
		return nil, err
	}
	o := market.UpstreamOptions{
		AccessKeyID: id.Reveal(), SecretAccessKey: secret.Reveal(), BaseURLs: m.OpenAPI.BaseURLs, Location: location, Now: d.now,
	}
	if m.OpenAPI.CAFile != "" {
		if o.ExtraRoots, err = os.ReadFile(m.OpenAPI.CAFile); err != nil {
			return nil, err
		}
	}
	return market.NewUpstream(o)
}

// custody shows the authority its side of the keys.
type custody struct{ *keys.Ring }

func (c custody) Keys() []authority.KeyInfo {
	var out []authority.KeyInfo
	for _, k := range c.List() {
		out = append(out, authority.KeyInfo{
			ID: k.KID, Role: string(k.Role), NotBefore: k.NotBefore, NotAfter: k.NotAfter, Private: k.PrivatePresent,
		})
	}
	return out
}

func (c custody) Rotate(now time.Time) (authority.Rotated, error) {
	r, err := c.Ring.Rotate(now)
	return authority.Rotated{Current: r.To, Retired: r.From, HasNext: r.Next != "", Leftover: r.Leftover}, err
}

func (c custody) Propose(now time.Time) ([]byte, error) { return c.ProposeKeySet(now) }
