package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/license"
)

const boltScheme = "bolt:"

var (
	marketplaceName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	productID       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
)

// maxDuration keeps sums of durations and instants far from overflowing.
const maxDuration = Duration(100 * 366 * 24 * time.Hour)

const (
	maxMachines   = 1_000_000
	maxSocketPath = 100 // what every system allows
)

// Limits of what is written into every licence, which verifiers read up to
// 64 KiB. What an order or an administrator adds comes on top.
const (
	maxName         = 128
	maxFeatures     = 200
	maxFeatureText  = 1 << 10
	maxFeaturesJSON = 16 << 10
)

// validator collects what is wrong with a configuration.
type validator struct {
	src  source
	errs []error
}

func (v *validator) failf(key, format string, args ...any) {
	v.errs = append(v.errs, v.src.err(key, fmt.Errorf(format, args...)))
}

func (v *validator) check(key string, err error) {
	if err != nil {
		v.errs = append(v.errs, v.src.err(key, err))
	}
}

// validate reports everything in a complete configuration that cannot work.
func (c Config) validate() error {
	v := &validator{src: c.src}
	v.issuer(c)
	_, err := ParseZone(c.TimeZone)
	v.check("time_zone", err)
	v.check("store", checkStore(c.Store))
	v.database(c)
	v.backup(c)
	v.listeners(c)
	names := map[string]string{}
	for i, m := range c.Marketplaces {
		key := element("marketplaces", i)
		v.marketplace(key, m)
		v.unique(key+".name", m.Name, names)
	}
	if len(c.Products) == 0 {
		v.failf("products", "at least one product is needed")
	}
	ids, sold := map[string]string{}, map[string]string{}
	for i, p := range c.Products {
		key := element("products", i)
		v.product(key, p)
		v.unique(key+".id", p.ID, ids)
		for j, id := range p.MarketplaceProducts {
			at := element(key+".marketplace_products", j)
			v.notEmpty(at, id)
			v.unique(at, id, sold)
		}
	}
	v.keys(c.Keys)
	v.accepts(c.Products, ids)
	if c.UndoWindow < minUndoWindow || c.UndoWindow > maxUndoWindow {
		v.failf("undo_window", "%s is not between %s and %s", c.UndoWindow, minUndoWindow, maxUndoWindow)
	}
	v.duration("undo_window", c.UndoWindow, true)
	v.within("limits.requests_per_minute", c.Limits.RequestsPerMinute, 0, 1_000_000)
	v.within("limits.unknown_codes_per_minute", c.Limits.UnknownCodesPerMinute, 0, 1_000_000)
	v.activate(c.Activate)
	hooks := map[string]string{}
	for i, w := range c.Webhooks {
		key := element("webhooks", i)
		v.webhook(key, w, ids)
		v.unique(key+".name", w.Name, hooks)
	}
	return errors.Join(v.errs...)
}

// Bounds of keys.rotate_every. A key set lists 64 keys at most, those that were
// retired among them, and lasts 400 days.
const (
	minRotateEvery = Duration(24 * time.Hour)
	maxRotateEvery = Duration(400 * 24 * time.Hour)
)

func (v *validator) keys(k Keys) {
	v.oneOf("keys.share", k.Share, ShareFolder, ShareStore)
	v.duration("keys.rotate_every", k.RotateEvery, false)
	if k.RotateEvery != 0 && (k.RotateEvery < minRotateEvery || k.RotateEvery > maxRotateEvery) {
		v.failf("keys.rotate_every", "%s is not between %s and %s; 0 is by command only", k.RotateEvery, minRotateEvery, maxRotateEvery)
	}
	if !k.PKCS11.Enabled() {
		return
	}
	if !filepath.IsAbs(k.PKCS11.Module) {
		v.failf("keys.pkcs11.module", "%q is not the whole path of a library", k.PKCS11.Module)
	}
	v.notEmpty("keys.pkcs11.token_label", k.PKCS11.TokenLabel)
	v.notEmpty("keys.pkcs11.pin_file", k.PKCS11.PINFile)
	v.within("keys.pkcs11.sessions", k.PKCS11.Sessions, 0, 64)
}

func (v *validator) issuer(c Config) {
	if c.Issuer == "" {
		if !isListen(c.Public.Listen) {
			return // that is the complaint then
		}
		v.failf("issuer", "must be set where public.listen is not loopback, to the address that installs reach, as https://licence.example.com")
		return
	}
	u, err := parseURL(c.Issuer, "http", "https")
	switch {
	case err != nil:
		v.check("issuer", err)
	case strings.HasSuffix(u.Path, "/"):
		v.failf("issuer", "must not end in /")
	}
}

// parseURL takes an absolute URL of one of the schemes, with nothing after its path.
func parseURL(s string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return nil, errors.New("must be set")
	case err != nil || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' }):
		return nil, errors.New("is no URL") // the parser's words would repeat what may hold a password
	case u.User != nil:
		return nil, errors.New("must not hold a user or a password")
	case !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("must be an absolute URL that begins with %s://", strings.Join(schemes, ":// or "))
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return nil, errors.New("must not have a query or a fragment")
	case u.Port() != "" && !isPort(u.Port()):
		return nil, fmt.Errorf("%q is no port", u.Port())
	}
	return u, nil
}

func checkStore(s string) error {
	scheme, rest, found := strings.Cut(s, ":")
	switch {
	case found && scheme == "bolt":
		if rest == "" {
			return errors.New("bolt: must be followed by the path of a file")
		}
		return nil
	case found && (scheme == "postgres" || scheme == "postgresql"):
		u, err := url.Parse(s)
		if err != nil || !strings.HasPrefix(rest, "//") {
			return errors.New("is no URL; write postgres://user@host/database")
		}
		if _, has := u.User.Password(); has || u.Query().Has("password") || u.Query().Has("sslpassword") {
			return errors.New("a password does not belong in the configuration; put it into a file, and name that in database.password_file")
		}
		return nil
	}
	return errors.New("must be bolt:PATH or postgres://user@host/database")
}

func (v *validator) listeners(c Config) {
	v.tls("public.tls", c.Public.TLS)
	v.tls("admin.tls", TLS{CertFile: c.Admin.TLS.CertFile, KeyFile: c.Admin.TLS.KeyFile})
	if c.Admin.TLS.ClientCAFile != "" && !c.Admin.TLS.Enabled() {
		v.failf("admin.tls.client_ca_file", "needs cert_file and key_file: client certificates are part of TLS")
	}
	taken := map[string]string{}
	for _, l := range []struct {
		key, addr string
		required  bool
	}{
		{"public.listen", c.Public.Listen, true},
		{"admin.listen", c.Admin.Listen, false},
		{"ops.listen", c.Ops.Listen, false},
	} {
		switch {
		case l.addr == "" && !l.required:
			continue
		case !isListen(l.addr):
			v.failf(l.key, "%q is no address to listen on; write host:port, as 127.0.0.1:8080 or :8080", l.addr)
			continue
		}
		if !strings.HasSuffix(l.addr, ":0") {
			v.unique(l.key, l.addr, taken)
		}
	}
	if isListen(c.Public.Listen) && !isLoopback(c.Public.Listen) && !c.Public.TLS.Enabled() && len(c.Public.TrustedProxies) == 0 {
		v.failf("public.listen", "%s is reachable from outside in plain text; set public.tls, or public.trusted_proxies where a proxy speaks TLS, or listen on 127.0.0.1", c.Public.Listen)
	}
	if isListen(c.Admin.Listen) && !isLoopback(c.Admin.Listen) && !c.Admin.TLS.Enabled() {
		v.failf("admin.listen", "%s is reachable from outside in plain text, and tokens with it; set admin.tls or listen on 127.0.0.1", c.Admin.Listen)
	}
	if len(c.Admin.Socket) > maxSocketPath {
		v.failf("admin.socket", "%s is longer than the %d bytes that systems allow for a socket; choose another", c.Admin.Socket, maxSocketPath)
	}
}

func (v *validator) tls(key string, t TLS) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		v.failf(key, "cert_file and key_file belong together")
	}
}

func isListen(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !isPort(port) {
		return false
	}
	if host == "" {
		return true
	}
	if strings.Contains(host, ":") {
		_, err := netip.ParseAddr(host)
		return err == nil
	}
	return !strings.ContainsFunc(host, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil && (s == "0" || s[0] != '0')
}

// isLoopback reports whether an address to listen on can be reached from this machine only.
func isLoopback(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !isPort(port) {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (v *validator) marketplace(key string, m Marketplace) {
	if !marketplaceName.MatchString(m.Name) {
		v.failf(key+".name", "%q is no name for an address; use up to 63 of a-z, 0-9 and -, not - first", m.Name)
	}
	if m.Name == license.ChannelManual {
		v.failf(key+".name", "%q stands for the codes that you make yourself; choose another name", m.Name)
	}
	if len(m.AccessKeyFiles) == 0 {
		v.failf(key+".access_key_files", "at least one file with an access key is needed")
	}
	for i, f := range m.AccessKeyFiles {
		v.notEmpty(element(key+".access_key_files", i), f)
	}
	if _, err := regexp.Compile(m.CodePattern); err != nil {
		v.failf(key+".code_pattern", "is no regular expression: %w", err)
	}
	_, err := m.Location()
	v.check(key+".expire_time_zone", err)
	_, err = ParseZone(m.ProbeTimeZone)
	v.check(key+".probe_time_zone", err)
	if m.LicenseV1Window < minV1Window || m.LicenseV1Window > maxV1Window {
		v.failf(key+".license_v1_window", "%s is not between %s and %s", m.LicenseV1Window, minV1Window, maxV1Window)
	}

	api, at := m.OpenAPI, key+".open_api"
	if len(api.BaseURLs) == 0 {
		v.failf(at+".base_urls", "at least one URL is needed")
	}
	for i, base := range api.BaseURLs {
		_, err := parseURL(base, "https")
		v.check(element(at+".base_urls", i), err)
	}
	if (api.AccessKeyIDFile == "") != (api.SecretAccessKeyFile == "") {
		v.failf(at, "access_key_id_file and secret_access_key_file belong together")
	}
}

// The calls of the retired interface hold nothing that names a single one, so
// who has seen one can repeat it for as long as the window. The authority keeps
// the marks of such calls for more than twice the longest (markKeptV1).
const (
	minV1Window = Duration(time.Minute)
	maxV1Window = Duration(24 * time.Hour)
)

// minStatusMaxAge keeps an install usable whose status list was published and
// cached as long as either may take, and which misses one or two.
const minStatusMaxAge = Duration(time.Hour)

func (v *validator) product(key string, p Product) {
	if !productID.MatchString(p.ID) {
		v.failf(key+".id", "%q is no product id; use up to 63 of A-Z, a-z, 0-9, dot, - and _, a letter or digit first", p.ID)
	}
	v.text(key+".name", p.Name, maxName)
	v.features(key+".features", p.Features)
	if !p.Machines.Amount {
		v.within(key+".machines", p.Machines.Count, 1, maxMachines)
	}
	v.oneOf(key+".mode", p.Mode, "node", "floating")
	v.within(key+".installs_per_machine", p.InstallsPerMachine, 1, 1000)
	v.oneOf(key+".binding", p.Binding, "exact", "fuzzy", "loose", "none")
	v.duration(key+".floating_lease", p.FloatingLease, true)
	v.duration(key+".lease", p.Lease, false)
	v.duration(key+".refresh", p.Refresh, true)
	if p.Lease > 0 && p.Refresh >= p.Lease {
		v.failf(key+".refresh", "%s is not before the end of the lease, %s: an install would be blocked before it calls home", p.Refresh, p.Lease)
	}
	v.duration(key+".phases.warn", p.Phases.Warn, false)
	v.duration(key+".phases.grace", p.Phases.Grace, false)
	v.duration(key+".status_max_age", p.StatusMaxAge, false)
	if p.StatusMaxAge > 0 && p.StatusMaxAge < minStatusMaxAge {
		v.failf(key+".status_max_age", "%s is less than %s: a list is published anew every 15 minutes and kept by caches for as long", p.StatusMaxAge, minStatusMaxAge)
	}
	v.oneOf(key+".phases.enforcement", p.Phases.Enforcement, "block", "degrade", "advisory")
	v.within(key+".transfers.per_year", p.Transfers.PerYear, 0, 1_000_000)
	v.duration(key+".transfers.cool_down", p.Transfers.CoolDown, false)
	v.oneOf(key+".forks", p.Forks, "report", "refuse-newest", "refuse-both")
	v.policies(key, p)
}

// minReleaseAfter keeps an install that is off for a weekend from losing its seat.
const minReleaseAfter = Duration(24 * time.Hour)

// Bounds of the undo window. Until it is over a revocation shows as a suspension.
const (
	minUndoWindow = Duration(time.Minute)
	maxUndoWindow = Duration(30 * 24 * time.Hour)
)

// policies checks what applies in the life of a product's licences.
func (v *validator) policies(key string, p Product) {
	v.oneOf(key+".transfers.approval", p.Transfers.Approval, "never", "over_limit", "always")
	v.duration(key+".transfers.approval_for", p.Transfers.ApprovalFor, true)
	v.within(key+".overage.allow", p.Overage.Allow, 0, maxMachines)
	v.duration(key+".installs.release_after", p.Installs.ReleaseAfter, false)
	if d := p.Installs.ReleaseAfter; d > 0 && d < minReleaseAfter {
		v.failf(key+".installs.release_after", "%s is less than %s; 0 is never", d, minReleaseAfter)
	}
	v.duration(key+".renew_within", p.RenewWithin, false)
	v.duration(key+".trial.for", p.Trial.For, true)
	v.within(key+".trial.per_machine", p.Trial.PerMachine, 0, license.MaxTrialLicenses)
	v.duration(key+".trial.remember", p.Trial.Remember, true)
}

// accepts checks the products whose programs may use licences of another one.
func (v *validator) accepts(products []Product, ids map[string]string) {
	for i, p := range products {
		seen := map[string]string{}
		for j, id := range p.Accepts {
			at := element(element("products", i)+".accepts", j)
			switch {
			case id == p.ID:
				v.failf(at, "%s accepts its own programs anyway", id)
			case ids[id] == "":
				v.failf(at, "there is no product %q", id)
			}
			v.unique(at, id, seen)
		}
	}
}

func (v *validator) features(key string, f Features) {
	if len(f) > maxFeatures {
		v.failf(key, "has %d entries, and may have %d", len(f), maxFeatures)
	}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if text, ok := f[name].(string); ok {
			v.text(child(key, name), text, maxFeatureText)
		}
	}
	if data, err := json.Marshal(f); err != nil || len(data) > maxFeaturesJSON {
		v.failf(key, "has %d bytes in a licence, and may have %d", len(data), maxFeaturesJSON)
	}
}

// text demands what can stand in a licence.
func (v *validator) text(key, s string, limit int) {
	switch {
	case len(s) > limit:
		v.failf(key, "has %d bytes, and may have %d", len(s), limit)
	case !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError):
		v.failf(key, "is not UTF-8 text")
	case strings.ContainsFunc(s, unicode.IsControl):
		v.failf(key, "holds a control character")
	}
}

func (v *validator) notEmpty(key, s string) {
	if s == "" {
		v.failf(key, "the entry is empty")
	}
}

// unique complains where value, given at key, is in seen, and notes it there.
func (v *validator) unique(key, value string, seen map[string]string) {
	if first, ok := seen[value]; ok && value != "" {
		v.failf(key, "%s is %s already", value, first)
		return
	}
	seen[value] = key
}

func (v *validator) within(key string, n, low, high int) {
	if n < low || n > high {
		v.failf(key, "%d is not between %d and %d", n, low, high)
	}
}

func (v *validator) oneOf(key, s string, known ...string) {
	if !slices.Contains(known, s) {
		v.failf(key, "%q is not one of %s", s, strings.Join(known, ", "))
	}
}

// duration demands whole seconds, because every instant that it leads to is one.
func (v *validator) duration(key string, d Duration, positive bool) {
	switch {
	case d < 0:
		v.failf(key, "%s is negative", d)
	case d == 0 && positive:
		v.failf(key, "must be more than 0")
	case d > maxDuration:
		v.failf(key, "%s is more than a hundred years", d)
	case time.Duration(d)%time.Second != 0:
		v.failf(key, "%s is not in whole seconds", d)
	}
}
