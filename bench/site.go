package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

const (
	product     = "cad-pro"
	marketplace = "koogallery"
	accessKey   = "access-key-of-the-benchmark"
	soldOrder   = "CS2601010000000001"
	soldProduct = "OFFI1" // the product, as the marketplace calls it
	issuer      = "http://licence.bench"
)

const configuration = `
data_dir: data
issuer: ` + issuer + `
public: {listen: "127.0.0.1:0"}
ops: {listen: ""}
limits: {requests_per_minute: 0}
marketplaces:
  - name: ` + marketplace + `
    access_key_files: [access-key]
products:
  - {id: ` + product + `, name: CAD Pro, marketplace_products: [` + soldProduct + `], features: {export: true, projects: 10}}
`

// asking is the configuration of a site that asks the marketplace's open API;
// settings are those of how it is reached, and more are further ones of the entry.
func asking(settings string, more ...string) string {
	api := "open_api: {" + settings + ", access_key_id_file: access-key, secret_access_key_file: access-key}"
	return strings.Replace(configuration, "[access-key]", strings.Join(append([]string{"[access-key]", api}, more...), "\n    "), 1)
}

// nowhere is where no open API is.
const nowhere = `base_urls: ["https://127.0.0.1:1"]`

// sold is a licence that has been issued and the code of its buyer.
type sold struct {
	id    string
	code  license.Code
	index []byte
	end   time.Time
}

// site is a merchant's folder with a store that every measurement begins with.
type site struct {
	dir     string
	sizes   sizes
	profile string

	ring   *keys.Ring
	fresh  string // the store with licences that nobody has activated
	manual []sold // warm, then requests
	market []sold

	activation *work     // of all manual ones; made when first asked for
	holders    []install // who activated them
}

func newSite(ctx context.Context, dir string, o options) (*site, error) {
	s := &site{dir: dir, sizes: o.sizes, profile: o.profile}
	for name, content := range map[string]string{
		"licensed.yaml":    configuration,
		"unreachable.yaml": asking(nowhere),
		"expiry.yaml":      withoutWarnings,
		"access-key":       accessKey + "\n",
	} {
		if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	// The first start makes keys and store.
	s.fresh = s.path("fresh.db")
	err := s.serve(ctx, s.fresh, "first", func(string) error { return nil })
	if err != nil {
		return nil, err
	}
	if s.ring, err = keys.Open(s.path("data/keys"), keys.Options{}); err != nil {
		return nil, err
	}
	if err := s.sell(ctx); err != nil {
		return nil, fmt.Errorf("issue licences: %w", err)
	}
	return s, nil
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// serve runs the daemon on the store at path while do runs. Several can run,
// each under its own name. It logs as it does by default, into nothing.
func (s *site) serve(ctx context.Context, path, name string, do func(addr string) error) error {
	return s.serveAs(ctx, "licensed.yaml", path, name, do)
}

// serveAs is serve under another configuration.
func (s *site) serveAs(ctx context.Context, conf, path, name string, do func(addr string) error) error {
	return s.serveWith(ctx, conf, path, name, nil, func(d *daemon.Daemon) error { return do(d.Addr()) })
}

// serveWith is serveAs with further settings.
func (s *site) serveWith(ctx context.Context, conf, path, name string, more map[string]string, do func(d *daemon.Daemon) error) (err error) {
	sink, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	set := map[string]string{"store": "bolt:" + path, "admin.socket": s.path(name + ".sock")}
	maps.Copy(set, more)
	if s.ring != nil {
		if set["data_dir"], err = s.dataFor(name); err != nil {
			return err
		}
	}
	d, err := daemon.New(ctx, daemon.Options{
		ConfigFile: s.path(conf), Logger: slog.New(slog.NewTextHandler(sink, nil)), Set: set,
	})
	if err != nil {
		return err
	}
	if err = d.Start(); err == nil {
		err = do(d)
	}
	return errors.Join(err, d.Stop(context.WithoutCancel(ctx)))
}

// dataFor makes a data folder with the site's keys and nothing else. Beside the
// marks of another store a daemon would take its own for one that was restored.
func (s *site) dataFor(name string) (string, error) {
	data := s.path("data-" + name)
	if err := os.RemoveAll(data); err != nil {
		return "", err
	}
	from := s.path("data/keys")
	return data, filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(data, "keys", strings.TrimPrefix(path, from))
		if e.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		content, err := os.ReadFile(path) //nolint:gosec // in a folder of ours
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o600) //nolint:gosec // in a folder of ours
	})
}

// sell writes the licences into the store, half of them issued by the
// merchant and half sold by the marketplace, each with its audit event.
func (s *site) sell(ctx context.Context) (err error) {
	n := s.sizes.warm + s.sizes.requests
	if s.manual, err = s.stock(ctx, s.fresh, 0, n, license.ChannelManual); err != nil {
		return err
	}
	s.market, err = s.stock(ctx, s.fresh, n, n, marketplace)
	return err
}

// stock writes n licences of a channel into the store at path, which is made
// where there is none. The marketplace's codes are numbered from first on.
func (s *site) stock(ctx context.Context, path string, first, n int, channel string) (out []sold, err error) {
	st, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	now := time.Now().UTC().Truncate(time.Second)
	var ids license.IDs
	part := make([]license.License, 0, 500)
	for i := range n {
		l, code, err := s.licence(&ids, now, first+i, channel)
		if err != nil {
			return nil, err
		}
		part, out = append(part, l), append(out, sold{id: l.ID, code: code, index: l.Code.Index, end: l.ExpiresAt})
		if len(part) < cap(part) && i < n-1 {
			continue
		}
		if err := record(ctx, st, part, now); err != nil {
			return nil, err
		}
		part = part[:0]
	}
	return out, nil
}

// licence is one that was issued by hand, or sold by the marketplace and
// activated, for a year from now.
func (s *site) licence(ids *license.IDs, now time.Time, i int, channel string) (l license.License, code license.Code, err error) {
	l = license.License{
		Product: product, Channel: channel, Customer: "Example GmbH", Machines: 1, Mode: license.ModeNode,
		Features: license.Features{"export": license.FeatureOn(), "projects": license.ParseFeature("10")},
		IssuedAt: now, ExpiresAt: now.AddDate(1, 0, 0),
	}
	if channel == license.ChannelManual {
		code, err = license.NewCode(nil)
	} else {
		l.Customer, l.Order, l.ActivatedAt = "", soldOrder, now
		code, err = license.ParseCode(fmt.Sprintf("PL%020d", i))
	}
	if err != nil {
		return l, code, err
	}
	if l.ID, err = ids.New(license.LicensePrefix, now); err != nil {
		return l, code, err
	}
	l.Code = license.StoredCode{Last4: code.Last4(), Index: s.ring.CodeKey().Index(code)}
	l.Code.Sealed, err = s.ring.CodeKey().Seal(code, l.ID)
	return l, code, err
}

func record(ctx context.Context, st store.Store, part []license.License, now time.Time) error {
	return st.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		for _, l := range part {
			if err := tx.CreateLicense(ctx, l); err != nil {
				return err
			}
			_, err := tx.Append(ctx, license.AuditEvent{
				At: now, Actor: license.Actor{Kind: license.ActorAdmin}, Action: license.ActionIssue, License: l.ID, Product: l.Product,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// copyFile copies a file onto the disk, so that its pages are not written back
// while something is measured.
func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}
