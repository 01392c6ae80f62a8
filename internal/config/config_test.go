package config_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-357fa782/licensed/internal/config"
)

var compare = cmp.Options{
	cmpopts.IgnoreUnexported(config.Config{}),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

var defaultDatabase = config.Database{
	MaxConnections: 16, StatementTimeout: hour / 120, LockTimeout: hour / 360, IdleTimeout: hour / 240, ConnectTimeout: hour / 720,
}

const hour = config.Duration(time.Hour)

func demo() config.Product {
	p := config.NewProduct("demo")
	p.Name = "Demo"
	p.Features = config.Features{"export": true, "projects": json.Number("10")}
	return p
}

func TestDefault(t *testing.T) {
	dir := t.TempDir()
	want := config.Config{
		DataDir:  filepath.Join(dir, "licensed-data"),
		Issuer:   "http://127.0.0.1:8080",
		TimeZone: "UTC",
		Store:    "bolt:" + filepath.Join(dir, "licensed-data", "licensed.db"),
		Public:   config.Public{Listen: "127.0.0.1:8080"},
		Admin:    config.Admin{Socket: filepath.Join(dir, "licensed-data", "admin.sock")},
		Ops:      config.Ops{Listen: "127.0.0.1:9090"},
		Limits:   config.Limits{RequestsPerMinute: 60, UnknownCodesPerMinute: 120},
		Keys:     config.Keys{Share: config.ShareFolder},
		Products: []config.Product{demo()},

		UndoWindow: 24 * hour,
		Backup:     config.Backup{Every: 24 * hour, Keep: config.Keep{Last: 7, Daily: 14, Weekly: 8, Monthly: 12}},
		Database:   defaultDatabase,
	}
	if diff := cmp.Diff(want, config.Default(dir), compare); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}

	// Load without anything is the same, in the working folder.
	t.Chdir(dir)
	got, err := config.Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(mustGetwd(t)), got, compare); diff != "" {
		t.Errorf("loaded (-want +got):\n%s", diff)
	}

	wantProduct := config.Product{
		ID: "x", Machines: config.Machines{Count: 1}, Mode: "node", InstallsPerMachine: 3, FloatingLease: hour / 4,
		Binding: "fuzzy", Lease: 336 * hour, Refresh: 24 * hour,
		Phases:    config.Phases{Warn: 720 * hour, Grace: 360 * hour, Enforcement: "block"},
		Transfers: config.Transfers{PerYear: 3, CoolDown: 24 * hour, Approval: "never", ApprovalFor: 168 * hour},
		Trial:     config.Trial{For: 336 * hour, PerMachine: 1, Remember: 17520 * hour},
		Forks:     "report",
	}
	if diff := cmp.Diff(wantProduct, config.NewProduct("x")); diff != "" {
		t.Errorf("product (-want +got):\n%s", diff)
	}
}

func mustGetwd(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLoadFull(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the expected paths are those of Unix")
	}
	dir := filepath.Join(mustGetwd(t), "testdata")
	got, err := config.Load("testdata/full.yaml", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := config.NewProduct("plain")
	plain.Name = "plain"
	want := config.Config{
		DataDir: dir + "/licensed-data",
		Issuer:  "https://licence.example.com", IssuerGiven: true, TimeZone: "Europe/Berlin",
		Store: "bolt:" + dir + "/licensed-data/licensed.db", Database: defaultDatabase,
		Public: config.Public{
			Listen: "0.0.0.0:8443",
			TLS:    config.TLS{CertFile: dir + "/tls/cert.pem", KeyFile: dir + "/tls/key.pem"},
			TrustedProxies: []netip.Prefix{
				netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("fd00::/8"),
			},
		},
		Admin: config.Admin{Socket: dir + "/licensed-data/admin.sock"},
		Ops:   config.Ops{Listen: "127.0.0.1:9090"},
		Keys: config.Keys{
			AnchorsFile: dir + "/anchors.json", IdentityFile: dir + "/secrets/identity", Share: config.ShareStore, AllowAnchorKeys: true, RotateEvery: 90 * 24 * hour,
			PKCS11: config.PKCS11{
				Module: "/usr/lib/softhsm/libsofthsm2.so", TokenLabel: "licensed", PINFile: dir + "/pin", KeyLabel: "signing", Sessions: 8,
			},
		},
		Marketplaces: []config.Marketplace{{
			Name:           "koogallery",
			AccessKeyFiles: []string{dir + "/secrets/access-key", dir + "/secrets/access-key-next"},
			CodePattern:    "^PL[A-Z0-9]{20}$",
			ExpireTimeZone: "Asia/Shanghai",
			OpenAPI: config.OpenAPI{
				BaseURLs:            []string{"https://gateway.example.com"},
				CAFile:              dir + "/ca.pem",
				AccessKeyIDFile:     dir + "/secrets/ak",
				SecretAccessKeyFile: "/run/secrets/sk",
			},
			LicenseV1: true, LicenseV1Window: hour, PerpetualWithoutExpiry: true, ProbeTimeZone: "Europe/Paris", ReadyRequiresProbes: true,
		}},
		Products: []config.Product{{
			ID: "cad-pro", Name: "CAD Pro", MarketplaceProducts: []string{"OFFI0001", "OFFI0002"},
			Features: config.Features{
				"export": true, "projects": json.Number("10"), "ratio": json.Number("1.5"), "big": json.Number("1e3"),
				"edition": "pro", "version": "2",
			},
			Machines: config.Machines{Amount: true}, Mode: "floating", InstallsPerMachine: 1, FloatingLease: hour / 2,
			Binding: "loose", Lease: 336 * hour, Refresh: 36 * hour, StatusMaxAge: 48 * hour,
			Phases: config.Phases{Enforcement: "degrade"}, Forks: "refuse-newest",
			Transfers: config.Transfers{Approval: "over_limit", ApprovalFor: 72 * hour}, Overage: config.Overage{Allow: 2},
			Installs: config.Installs{ReleaseAfter: 2160 * hour}, RenewWithin: 1440 * hour,
			Trial: config.Trial{For: 720 * hour, PerMachine: 2, Remember: 8760 * hour}, Accepts: []string{"plain"},
		}, plain},
		Limits:     config.Limits{RequestsPerMinute: 10, UnknownCodesPerMinute: 20},
		Activate:   config.Activate{Off: true, Title: "Example Ltd.", Contact: "https://example.com/help/"},
		UndoWindow: 48 * hour,
		Webhooks: []config.Webhook{{
			Name: "crm.example.com", URL: "https://crm.example.com/hook", SecretFile: dir + "/secrets/hook", Events: []string{"license.issued"},
		}, {
			Name: "books", URL: "https://books.example.com/hook", SecretFiles: []string{dir + "/secrets/books", dir + "/secrets/books-next"},
			Events: []string{"license.*", "keys.rotated"}, Products: []string{"cad-pro"}, Include: []string{"customer", "actor", "note"},
			CAFile: dir + "/ca.pem",
		}},
		Backup: config.Backup{
			Dir: filepath.FromSlash("/var/backups/licensed"), Every: 6 * hour, Keep: config.Keep{Last: 4, Daily: 5, Weekly: 6, Monthly: 3},
		},
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if loc, err := got.Marketplaces[0].Location(); err != nil || loc.String() != "Asia/Shanghai" {
		t.Errorf("location is %v, %v", loc, err)
	}
}

// What follows from other keys, and what a file may leave out.
func TestDerived(t *testing.T) {
	tests := []struct {
		name, yaml string
		got        func(c config.Config) string
		want       string
	}{
		{"empty file", "", func(c config.Config) string { return c.Products[0].ID }, "demo"},
		{"comments only", "# nothing\n", func(c config.Config) string { return c.Public.Listen }, "127.0.0.1:8080"},
		{"null section", "public:\nlimits: ~\n", func(c config.Config) string { return c.Public.Listen }, "127.0.0.1:8080"},
		{"byte order mark", "\ufeffissuer: http://h\n", func(c config.Config) string { return c.Issuer }, "http://h"},
		{"line ends of Windows", "issuer: http://h\r\nops: {listen: ''}\r\n", func(c config.Config) string { return c.Issuer + c.Ops.Listen }, "http://h"},
		{"document marks", "---\nissuer: http://h\n...\n", func(c config.Config) string { return c.Issuer }, "http://h"},
		{"store follows the folder", "data_dir: /d\n", func(c config.Config) string { return c.Store }, "bolt:" + filepath.FromSlash("/d/licensed.db")},
		{"socket follows the folder", "data_dir: /d\n", func(c config.Config) string { return c.Admin.Socket }, filepath.FromSlash("/d/admin.sock")},
		{"postgres", "store: postgres://user@host/db\n", func(c config.Config) string { return c.Store }, "postgres://user@host/db"},
		{
			"database", "store: postgresql://user@host/db\ndatabase: {password_file: p, max_connections: 40, statement_timeout: 1m, lock_timeout: 20s, idle_timeout: 10s, connect_timeout: 2s}\n",
			func(c config.Config) string { return fmt.Sprint(c.InDatabase(), c.Database) }, "true {" + filepath.FromSlash("/dir/p") + " 40 1m 20s 10s 2s}",
		},
		{"database by default", "store: postgres://user@host/db\n", func(c config.Config) string { return fmt.Sprint(c.InDatabase(), c.Database) }, "true { 16 30s 10s 15s 5s}"},
		{"issuer follows the listener", "public: {listen: 'localhost:81'}\n", func(c config.Config) string { return c.Issuer }, "http://localhost:81"},
		{"issuer of any port", "public: {listen: '[::1]:0'}\n", func(c config.Config) string { return c.Issuer }, "http://[::1]"},
		{"issuer with TLS", "public: {tls: {cert_file: c, key_file: k}}\n", func(c config.Config) string { return c.Issuer }, "https://127.0.0.1:8080"},
		{"issuer with a path", "issuer: https://h/licences\n", func(c config.Config) string { return c.Issuer }, "https://h/licences"},
		{"issuer given", "issuer: http://127.0.0.1:8080\n", func(c config.Config) string { return fmt.Sprint(c.IssuerGiven, c.PublicIsLoopback()) }, "true true"},
		{
			"listener beyond loopback", "issuer: https://h\npublic: {listen: ':1', trusted_proxies: [10.0.0.1]}\n",
			func(c config.Config) string { return fmt.Sprint(c.PublicIsLoopback()) }, "false",
		},
		{"endless lease", "products: [{id: a, lease: 0, refresh: 90d}]\n", func(c config.Config) string { return c.Products[0].Lease.String() }, "0s"},
		{"longest socket path", "admin: {socket: /" + strings.Repeat("a", 99) + "}\n", func(c config.Config) string { return fmt.Sprint(len(c.Admin.Socket)) }, "100"},
		{
			"most features", "products:\n- id: a\n  name: " + strings.Repeat("a", 128) + "\n  features:\n" + manyFeatures(200, "true"),
			func(c config.Config) string { return fmt.Sprint(len(c.Products[0].Features)) }, "200",
		},
		{"longest feature", "products: [{id: a, features: {x: " + strings.Repeat("y", 1024) + "}}]\n", func(c config.Config) string { return fmt.Sprint(len(c.Products[0].Features)) }, "1"},
		{"feature switched off", "products: [{id: a, features: {x: false}}]\n", func(c config.Config) string { return fmt.Sprint(len(c.Products[0].Features)) }, "0"},
		{
			"marketplace defaults", "marketplaces: [{name: m, access_key_files: [k]}]\n",
			func(c config.Config) string {
				m := c.Marketplaces[0]
				return fmt.Sprint(m.CodePattern, m.ExpireTimeZone, len(m.OpenAPI.BaseURLs), m.Sync.Daily, m.OpenAPI.Enabled(), m.LicenseV1, m.LicenseV1Window, m.PerpetualWithoutExpiry)
			},
			"^[A-Za-z0-9_-]{6,64}$UTC2 true false false 15m false",
		},
		{
			"behind a proxy", "issuer: https://h\npublic: {listen: ':80', trusted_proxies: [10.0.0.1]}\n",
			func(c config.Config) string { return c.Public.TrustedProxies[0].String() }, "10.0.0.1/32",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := config.Parse("licensed.yaml", "/dir", []byte(test.yaml))
			if err != nil {
				t.Fatal(err)
			}
			if got := test.got(c); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func manyFeatures(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "    f%03d: %s\n", i, value)
	}
	return b.String()
}
