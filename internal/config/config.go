// Package config reads the daemon's configuration: embedded defaults, a YAML
// file, environment variables and flags, each stronger than the one before.
//
// It is strict. A key that is not known, a value of another type, a second
// document and a value that cannot work are errors, which name the file, the
// line and the key. Everything is optional, and what is absent has the
// default that the fields below state.
package config

import (
	"net/netip"
	"time"
)

// Config is a whole configuration. Get one from [Load] or [Default]: paths in
// it are complete, and what the file leaves out is filled in.
//
// The tag config marks fields that hold paths ("path"), and of these the ones
// whose files are secret ("secret").
type Config struct {
	DataDir string `yaml:"data_dir" config:"path"` // "./licensed-data"
	// Issuer is the iss of everything signed, and base of the status lists' addresses.
	// Default: the address of the public listener, where that is loopback.
	Issuer string `yaml:"issuer"`
	// IssuerGiven says that Issuer was configured and does not just follow from the listener.
	IssuerGiven bool
	// TimeZone is the zone in which a date without a time is meant that staff gives
	// as the end of something: "UTC", or one as "Asia/Shanghai".
	TimeZone string `yaml:"time_zone"`
	// Store is "bolt:PATH" or a postgres:// URL without a password; default "bolt:" and licensed.db in DataDir.
	Store        string        `yaml:"store"`
	Database     Database      `yaml:"database"` // where the store is one
	Public       Public        `yaml:"public"`
	Admin        Admin         `yaml:"admin"`
	Ops          Ops           `yaml:"ops"`
	Keys         Keys          `yaml:"keys"`
	Marketplaces []Marketplace `yaml:"marketplaces"`
	Products     []Product     `yaml:"products"` // one product, "demo"
	Limits       Limits        `yaml:"limits"`
	Activate     Activate      `yaml:"activate"`
	Webhooks     []Webhook     `yaml:"webhooks"`
	UndoWindow   Duration      `yaml:"undo_window"` // how long a revocation can be undone: 24h
	Backup       Backup        `yaml:"backup"`

	src source
}

// PublicIsLoopback reports whether the public listener can be reached from this machine only.
func (c Config) PublicIsLoopback() bool { return isLoopback(c.Public.Listen) }

// Public is the listener for installs, buyers and the marketplace.
type Public struct {
	Listen string `yaml:"listen"` // "127.0.0.1:8080"
	TLS    TLS    `yaml:"tls"`
	// TrustedProxies are the networks whose word about the client's address and TLS is taken.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
}

// Admin is the listener for staff and scripts.
type Admin struct {
	Socket string   `yaml:"socket" config:"path"` // admin.sock in DataDir
	Listen string   `yaml:"listen"`               // none: the socket only
	TLS    AdminTLS `yaml:"tls"`
}

// AdminTLS is TLS of the admin listener.
type AdminTLS struct {
	CertFile string `yaml:"cert_file" config:"path"`
	KeyFile  string `yaml:"key_file" config:"secret"`
	// ClientCAFile holds the certificates that sign those of clients: with it a
	// client needs one, besides its token.
	ClientCAFile string `yaml:"client_ca_file" config:"path"`
}

// Enabled reports whether there is a certificate.
func (t AdminTLS) Enabled() bool { return t.CertFile != "" }

// Ops is the listener for metrics and health.
type Ops struct {
	Listen string `yaml:"listen"` // "127.0.0.1:9090"; empty: none
}

// TLS names a certificate and its key, PEM both; none means plain text.
type TLS struct {
	CertFile string `yaml:"cert_file" config:"path"`
	KeyFile  string `yaml:"key_file" config:"secret"`
}

// Enabled reports whether there is a certificate.
func (t TLS) Enabled() bool { return t.CertFile != "" }

// Keys is about the custody of signing keys, which lie sealed in keys of DataDir.
type Keys struct {
	PassphraseFile string `yaml:"passphrase_file" config:"secret"` // seals the identity; none: it is not sealed
	AnchorsFile    string `yaml:"anchors_file" config:"path"`      // public halves of the anchors; none: those in DataDir
	// IdentityFile is the age identity that opens the keys; none: the one beside them.
	IdentityFile string `yaml:"identity_file" config:"path"`
	// Share says how several daemons on one store come by the keys: "folder", each has
	// them in its DataDir; "store", the store keeps them, sealed.
	Share string `yaml:"share"`
	// AllowAnchorKeys accepts a public listener beyond loopback while the
	// anchors' private halves lie in DataDir.
	AllowAnchorKeys bool `yaml:"allow_anchor_keys"`
	// RotateEvery is for how long a signing key signs before the next one takes its
	// place; 0: until licensectl keys rotate.
	RotateEvery Duration `yaml:"rotate_every"`
	// PKCS11 names a token that holds the private halves of signing keys; none: they
	// are files, sealed, in DataDir.
	PKCS11 PKCS11 `yaml:"pkcs11"`
}

// PKCS11 names a token, such as a hardware security module.
type PKCS11 struct {
	Module     string `yaml:"module"`                   // the vendor's library, by its whole path
	TokenLabel string `yaml:"token_label"`              // of the token
	PINFile    string `yaml:"pin_file" config:"secret"` // the user's PIN
	KeyLabel   string `yaml:"key_label"`                // that keys get, and by which ours are told from others: "licensed"
	Sessions   int    `yaml:"sessions"`                 // how many signatures are made at a time: 4
}

// How daemons on one store share their keys.
const (
	ShareFolder = "folder"
	ShareStore  = "store"
)

// Enabled reports whether a token is configured.
func (p PKCS11) Enabled() bool { return p != (PKCS11{}) }

// Marketplace is an entry that sends callbacks, to /marketplace/NAME.
type Marketplace struct {
	Name           string   `yaml:"name"`
	AccessKeyFiles []string `yaml:"access_key_files" config:"secret"` // several while a key is being exchanged
	CodePattern    string   `yaml:"code_pattern"`                     // of codes that may be asked upstream at all: "^[A-Za-z0-9_-]{6,64}$"
	ExpireTimeZone string   `yaml:"expire_time_zone"`                 // "UTC"
	OpenAPI        OpenAPI  `yaml:"open_api"`
	Sync           Sync     `yaml:"sync"`
	LicenseV1      bool     `yaml:"license_v1"` // answer the retired GET interface too
	// LicenseV1Window is by how much the time of a call of the retired interface may
	// differ from ours: 15m. No page names a bound.
	LicenseV1Window Duration `yaml:"license_v1_window"`
	// PerpetualWithoutExpiry takes a code that was activated elsewhere, and for
	// which the marketplace names no expiry, as sold without end.
	PerpetualWithoutExpiry bool `yaml:"perpetual_without_expiry"`
	// ProbeTimeZone is where the mornings and afternoons are in which the
	// marketplace probes: "Asia/Shanghai".
	ProbeTimeZone string `yaml:"probe_time_zone"`
	// ReadyRequiresProbes has /readyz fail while probes are refused or missing.
	ReadyRequiresProbes bool `yaml:"ready_requires_probes"`
}

// Location is the zone of the marketplace's expiry times.
func (m Marketplace) Location() (*time.Location, error) { return ParseZone(m.ExpireTimeZone) }

// OpenAPI says how the marketplace is asked.
type OpenAPI struct {
	BaseURLs            []string `yaml:"base_urls"` // the two of the marketplace, in the order tried
	CAFile              string   `yaml:"ca_file" config:"path"`
	AccessKeyIDFile     string   `yaml:"access_key_id_file" config:"secret"`
	SecretAccessKeyFile string   `yaml:"secret_access_key_file" config:"secret"`
}

// Enabled reports whether the marketplace can be asked.
func (o OpenAPI) Enabled() bool { return o.AccessKeyIDFile != "" }

// Sync is about reading the marketplace's state unasked.
type Sync struct {
	Daily bool `yaml:"daily"` // true
	Usage bool `yaml:"usage"` // report once a day how many installs of each code were in use
}

// Product is what is sold.
type Product struct {
	ID                  string    `yaml:"id"`
	Name                string    `yaml:"name"`                 // the id
	MarketplaceProducts []string  `yaml:"marketplace_products"` // productId values of the marketplace
	Features            Features  `yaml:"features"`
	Machines            Machines  `yaml:"machines"`             // 1
	Mode                string    `yaml:"mode"`                 // "node", or "floating"
	InstallsPerMachine  int       `yaml:"installs_per_machine"` // 3
	FloatingLease       Duration  `yaml:"floating_lease"`       // 15m
	Binding             string    `yaml:"binding"`              // "fuzzy", or "exact", "loose", "none"
	Lease               Duration  `yaml:"lease"`                // 336h; 0: for ever
	Refresh             Duration  `yaml:"refresh"`              // 24h
	StatusMaxAge        Duration  `yaml:"status_max_age"`       // how old a status list may be until it counts as a lease run out: 0, as old as may be
	Phases              Phases    `yaml:"phases"`
	Transfers           Transfers `yaml:"transfers"`
	Forks               string    `yaml:"forks"`   // "report", or "refuse-newest", "refuse-both"
	Overage             Overage   `yaml:"overage"` // "refuse", or {allow: N}: so many machines more are let in
	Installs            Installs  `yaml:"installs"`
	RenewWithin         Duration  `yaml:"renew_within"` // how long after its end staff can renew a licence: 0, for ever
	Trial               Trial     `yaml:"trial"`
	Accepts             []string  `yaml:"accepts"` // ids of products whose programs may use a licence of this one
}

// Installs is about installs that are not seen any more.
type Installs struct {
	ReleaseAfter Duration `yaml:"release_after"` // when the seat of one whose lease is over is freed: 0, never
}

// Trial is about licences to try the product out.
type Trial struct {
	For        Duration `yaml:"for"`         // how long one lasts: 14d
	PerMachine int      `yaml:"per_machine"` // how many one machine may have: 1; 0: any number
	Remember   Duration `yaml:"remember"`    // for how long a machine is known to have had one: 730d
}

// Phases is about the time around the end of a licence.
type Phases struct {
	Warn        Duration `yaml:"warn"`        // before the end: 720h
	Grace       Duration `yaml:"grace"`       // after the end: 360h
	Enforcement string   `yaml:"enforcement"` // "block", or "degrade", "advisory"
}

// Transfers limits moves to another machine.
type Transfers struct {
	PerYear  int      `yaml:"per_year"`  // 3; 0: none
	CoolDown Duration `yaml:"cool_down"` // 24h
	// Approval says which moves wait for the staff: "never", "over_limit", "always".
	Approval    string   `yaml:"approval"`
	ApprovalFor Duration `yaml:"approval_for"` // how long an approval can be used: 7d
}

// Limits protects the public listener.
type Limits struct {
	RequestsPerMinute int `yaml:"requests_per_minute"` // refused ones of one client address: 60; 0: no limit
	// UnknownCodesPerMinute bounds what guessing codes makes us ask the marketplaces.
	UnknownCodesPerMinute int `yaml:"unknown_codes_per_minute"` // of all clients: 120; 0: no limit
}

// Webhook is an address that is told about events.
type Webhook struct {
	// Name is what its position is kept under: the host of URL.
	Name string `yaml:"name"`
	// URL is https://, or http:// where its host is loopback.
	URL string `yaml:"url"`
	// SecretFile and SecretFiles name what requests are signed with: "whsec_" and
	// base64. There are several while one takes the place of another.
	SecretFile  string   `yaml:"secret_file" config:"secret"`
	SecretFiles []string `yaml:"secret_files" config:"secret"`
	Events      []string `yaml:"events"`   // types, or groups as license.*; none: all
	Products    []string `yaml:"products"` // whose licences it is told of; none: all
	Include     []string `yaml:"include"`  // what it is told besides: "customer", "actor", "note"
	CAFile      string   `yaml:"ca_file" config:"path"`
}

// Secrets are the paths of all files with secrets, the newest first.
func (w Webhook) Secrets() []string {
	if w.SecretFile == "" {
		return w.SecretFiles
	}
	return append([]string{w.SecretFile}, w.SecretFiles...)
}

// Default is the configuration of a daemon that is started without any, with
// its data below dir.
func Default(dir string) Config {
	c := defaults()
	c.complete(dir)
	return c
}

// NewProduct is a product with the defaults.
func NewProduct(id string) Product {
	p := Product{ID: id}
	p.setDefaults()
	return p
}

// defaults is what stands in a configuration before anything is read. What
// depends on other fields is filled in by complete.
func defaults() Config {
	demo := NewProduct("demo")
	demo.Name = "Demo"
	demo.Features = Features{"export": true, "projects": number("10")}
	return Config{
		DataDir:  "licensed-data",
		TimeZone: "UTC",
		Public:   Public{Listen: "127.0.0.1:8080"},
		Ops:      Ops{Listen: "127.0.0.1:9090"},
		Products: []Product{demo},
		Limits:   Limits{RequestsPerMinute: 60, UnknownCodesPerMinute: 120},
		Keys:     Keys{Share: ShareFolder},

		UndoWindow: Duration(24 * time.Hour),
		Backup:     defaultBackup(),
		Database:   defaultDatabase(),
	}
}

func (p *Product) setDefaults() {
	p.Machines = Machines{Count: 1}
	p.Mode = "node"
	p.InstallsPerMachine = 3
	p.FloatingLease = Duration(15 * time.Minute)
	p.Binding = "fuzzy"
	p.Lease = Duration(336 * time.Hour)
	p.Refresh = Duration(24 * time.Hour)
	p.Phases = Phases{Warn: Duration(720 * time.Hour), Grace: Duration(360 * time.Hour), Enforcement: "block"}
	p.Transfers = Transfers{PerYear: 3, CoolDown: Duration(24 * time.Hour), Approval: "never", ApprovalFor: Duration(7 * 24 * time.Hour)}
	p.Trial = Trial{For: Duration(14 * 24 * time.Hour), PerMachine: 1, Remember: Duration(730 * 24 * time.Hour)}
	p.Forks = "report"
}

func (m *Marketplace) setDefaults() {
	m.CodePattern = "^[A-Za-z0-9_-]{6,64}$"
	m.ExpireTimeZone = "UTC"
	m.ProbeTimeZone = "Asia/Shanghai"
	m.LicenseV1Window = Duration(15 * time.Minute)
	m.OpenAPI.BaseURLs = []string{"https://mkt.myhuaweicloud.com", "https://mkt.myhuaweicloud.cn"}
	m.Sync.Daily = true
}
