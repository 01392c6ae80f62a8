package client_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// Under the race detector properties are shown by a quarter of the examples,
// unless -rapid.checks says by how many: it slows each down sixfold and finds
// nothing in any, since they run in one goroutine.
func TestMain(m *testing.M) {
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		if err := flag.Set("rapid.checks", "25"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

const (
	product = "cad-pro"
	issuer  = "https://licence.example.com"
	code    = "PL0123456789ABCDEF"

	otherCode = "PLFEDCBA9876543210"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// shared holds what tests make once, by name, and none of them changes.
type shared[T any] struct {
	mu   sync.Mutex
	made map[string]T
}

func (s *shared[T]) get(name string, first func() T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.made[name]
	if !ok {
		if s.made == nil {
			s.made = map[string]T{}
		}
		v = first()
		s.made[name] = v
	}
	return v
}

var (
	keyMade    shared[ed25519.PrivateKey]
	signerMade shared[token.SigningKey]
	setMade    shared[string]
)

// key is a key that is the same in every run.
func key(name string) ed25519.PrivateKey {
	return keyMade.get(name, func() ed25519.PrivateKey {
		seed := sha256.Sum256([]byte("test key " + name))
		return ed25519.NewKeyFromSeed(seed[:])
	})
}

func public(name string) ed25519.PublicKey { return key(name).Public().(ed25519.PublicKey) }

func signer(tb testing.TB, name string) token.SigningKey {
	tb.Helper()
	return signerMade.get(name, func() token.SigningKey {
		k, err := token.NewSigningKey(key(name))
		check(tb, err)
		return k
	})
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func wantReason(tb testing.TB, err error, want license.Reason) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Fatalf("got error %v, want %s", err, want)
	}
}

func anchors() token.Anchors { return token.Anchors{public("anchor-1"), public("anchor-2")} }

// keySet signs a set that holds the named keys.
func keySet(tb testing.TB, anchor string, seq int64, names ...string) string {
	tb.Helper()
	return setMade.get(fmt.Sprintf("%q %d %q", anchor, seq, names), func() string { return signKeySet(tb, anchor, seq, names) })
}

func signKeySet(tb testing.TB, anchor string, seq int64, names []string) string {
	tb.Helper()
	ks := token.KeySet{Issuer: issuer, IssuedAt: epoch.Add(-24 * time.Hour), ExpiresAt: epoch.Add(400 * 24 * time.Hour), Seq: seq}
	for _, n := range names {
		ks.Keys = append(ks.Keys, token.Key{
			ID: token.Thumbprint(public(n)), Public: public(n),
			NotBefore: epoch.Add(-48 * time.Hour), NotAfter: epoch.Add(4000 * 24 * time.Hour),
		})
	}
	raw, err := token.SignKeySet(ks, signer(tb, anchor))
	check(tb, err)
	return raw
}

// machineA and machineB share nothing but the processor.
func machineA() fingerprint.Set {
	return fingerprint.Set{Environment: fingerprint.Metal, Values: map[license.Kind][]string{
		license.KindOS: {"0f1e2d3c4b5a69788796a5b4c3d2e1f0"}, license.KindDisk: {"S3Z9NB0K123456"},
		license.KindMAC: {"3c:7c:3f:11:22:33"}, license.KindCPU: {"Example CPU @ 3.00GHz"},
	}}
}

func machineB() fingerprint.Set {
	return fingerprint.Set{Environment: fingerprint.Metal, Values: map[license.Kind][]string{
		license.KindOS: {"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"}, license.KindDisk: {"WD-WX11A1234567"},
		license.KindMAC: {"3c:7c:3f:99:88:77"}, license.KindCPU: {"Example CPU @ 3.00GHz"},
	}}
}

// claims is a licence as the fake server grants it: a year from issued.
func claims(issued time.Time) token.License {
	return token.License{
		Issuer: issuer, ID: fmt.Sprintf("jti-%d", issued.UnixNano()), LicenseID: "lic_1", Product: product,
		Dates: license.Schedule{
			Warn: 30 * 24 * time.Hour, Grace: 15 * 24 * time.Hour, Enforcement: license.EnforceBlock,
			Lease: 14 * 24 * time.Hour, Refresh: 24 * time.Hour,
		}.DatesFor(issued, time.Time{}, epoch.Add(365*24*time.Hour)),
		Customer: "Example Ltd", Channel: "manual", CodeLast4: "CDEF", Machines: 1, Mode: license.ModeNode,
		Features: license.Features{"export": license.FeatureOn(), "projects": license.ParseFeature("10"), "tier": license.FeatureText("gold")},
		Binding:  license.Binding{Policy: license.PolicyNone},
	}
}

func sign(tb testing.TB, c token.License, keyName string) string {
	tb.Helper()
	payload, err := c.Payload()
	check(tb, err)
	raw, err := token.SignLicense(payload, signer(tb, keyName))
	check(tb, err)
	return raw
}

// bound binds claims to a machine.
func bound(tb testing.TB, c token.License, m fingerprint.Set) token.License {
	tb.Helper()
	b, err := license.Bind(license.PolicyFuzzy, m.Digests(c.Product))
	check(tb, err)
	c.Binding = b
	return c
}

func file(keys string, licenses ...string) []byte {
	return token.File{Licenses: licenses, KeySets: []string{keys}}.Marshal()
}

// vendor is a licence server as a RoundTripper. Its answers are signed with
// the real functions; hooks spoil them.
type vendor struct {
	tb     testing.TB
	keys   string // key set
	signer string // name of the key that signs
	now    func() time.Time

	mu sync.Mutex
	record

	refuse  func(token.Request) error                   // problem instead of an answer
	grant   func(token.Request, *token.License)         // changes what is granted
	spoil   func(token.Request, *wire.Answer)           // changes what is sent
	respond func(*http.Request) (*http.Response, error) // replaces everything
	lose    func(token.Request) bool                    // loses the answer on the way
}

// record is what a vendor remembers.
type record struct {
	requests []token.Request
	answers  map[string]wire.Answer // by digest of the request
	serial   int
	chains   map[string]license.Chain // by install
	forks    int                      // how many installs looked like copies
}

func (r record) clone() record {
	r.requests, r.answers, r.chains = slices.Clone(r.requests), maps.Clone(r.answers), maps.Clone(r.chains)
	return r
}

func newVendor(tb testing.TB, now func() time.Time) *vendor {
	tb.Helper()
	return &vendor{
		tb: tb, keys: keySet(tb, "anchor-1", 1, "sign-1", "sign-2"), signer: "sign-1", now: now,
		record: record{answers: map[string]wire.Answer{}, chains: map[string]license.Chain{}},
	}
}

func (v *vendor) RoundTrip(req *http.Request) (*http.Response, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.respond != nil {
		return v.respond(req)
	}
	var body wire.Request
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		return response(400, wire.TypeProblem, wire.NewProblem(license.FieldErrorf("body", "not JSON"), "r")), nil
	}
	check(v.tb, req.Body.Close())
	a, r, err := v.answer(body.Request)
	if err != nil {
		p := wire.NewProblem(err, "r-1")
		return response(p.Status, wire.TypeProblem, p), nil
	}
	if v.lose != nil && v.lose(r) {
		return nil, errors.New("connection reset by peer")
	}
	if v.spoil != nil {
		v.spoil(r, &a)
	}
	return response(200, wire.TypeJSON, a), nil
}

// answer makes the answer to a request; the same bytes get the same one.
func (v *vendor) answer(raw string) (wire.Answer, token.Request, error) {
	r, err := token.VerifyRequest(raw)
	if err != nil {
		return wire.Answer{}, r, err
	}
	v.requests = append(v.requests, r)
	if v.chains[r.InstallID].Repeats(r.ID, r.Digest) == license.RequestOlder {
		return wire.Answer{}, r, license.Errorf(license.Replayed, "there were newer ones since")
	}
	if a, ok := v.answers[string(r.Digest)]; ok {
		return a, r, nil
	}
	if v.refuse != nil {
		if err := v.refuse(r); err != nil {
			return wire.Answer{}, r, err
		}
	}
	now := v.now()
	t, err := token.SignTime(token.Time{Issuer: issuer, IssuedAt: now, InstallID: r.InstallID, Nonce: r.ID}, signer(v.tb, v.signer))
	check(v.tb, err)
	a := wire.Answer{LicenseID: "lic_1", Keys: v.keys, Time: t}
	if r.Op != token.OpDeactivate {
		c := claims(now)
		v.serial++
		c.ID = fmt.Sprintf("jti-%d", v.serial)
		if held, err := token.PeekLicense(r.License); err == nil {
			c.LicenseID = held.LicenseID
		} else if r.Code.Reveal() == otherCode {
			c.LicenseID = "lic_2"
		}
		c.InstallKey = r.InstallKey
		if c.Binding, err = license.Bind(license.PolicyFuzzy, r.Fingerprint); err != nil {
			return wire.Answer{}, r, err
		}
		if v.grant != nil {
			v.grant(r, &c)
		}
		if v.chains[r.InstallID].Forked(r.Prev) {
			v.forks++
		}
		v.chains[r.InstallID] = v.chains[r.InstallID].Next(c.ID, r.Prev, r.ID, r.Digest, r.IssuedAt)
		a.InstallID, a.License = r.InstallID, sign(v.tb, c, v.signer)
	}
	v.answers[string(r.Digest)] = a
	return a, r, nil
}

func (v *vendor) seen() []token.Request {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.requests)
}

func response(status int, mediaType string, body any) *http.Response {
	data, ok := body.([]byte)
	if !ok {
		data, _ = json.Marshal(body)
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {mediaType}},
		Body: io.NopCloser(bytes.NewReader(data)), ContentLength: int64(len(data)),
	}
}

// clock is a clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: epoch} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// site is one install and the server that it talks to.
type site struct {
	tb      testing.TB
	clock   *clock
	vendor  *vendor
	machine fingerprint.Set
	opts    client.Options
}

func newSite(tb testing.TB) *site {
	tb.Helper()
	s := &site{tb: tb, clock: newClock(), machine: machineA()}
	s.vendor = newVendor(tb, s.clock.now)
	s.opts = client.Options{
		Anchors: anchors(), Product: product, Server: "https://licence.example.com/base/", StateDir: tb.TempDir(),
		Fingerprint: func(context.Context) (fingerprint.Set, error) { return s.machine, nil },
		HTTPClient:  &http.Client{Transport: s.vendor}, Now: s.clock.now, Manual: true,
	}
	return s
}

// open opens the install, anew if it was open before.
func (s *site) open() *client.Guard {
	s.tb.Helper()
	g, err := client.Open(context.Background(), s.opts)
	check(s.tb, err)
	s.tb.Cleanup(func() { _ = g.Close() })
	return g
}

// activated is an open install that holds a licence.
func (s *site) activated() *client.Guard {
	s.tb.Helper()
	g := s.open()
	check(s.tb, g.Activate(context.Background(), code))
	if st := g.Status(); !st.Usable {
		s.tb.Fatalf("not usable after activation: %s", st)
	}
	return g
}

// saved is how a site stood at one time: others begin there, so that not each
// has to come there by itself. Nothing in it changes.
type saved struct {
	at     time.Time
	keys   string
	record record
	files  map[string][]byte // of its StateDir
}

// save needs every product of the site closed.
func (s *site) save() saved {
	s.tb.Helper()
	k := saved{at: s.clock.now(), keys: s.vendor.keys, record: s.vendor.clone(), files: map[string][]byte{}}
	entries, err := os.ReadDir(s.opts.StateDir)
	check(s.tb, err)
	for _, e := range entries {
		k.files[e.Name()], err = os.ReadFile(filepath.Join(s.opts.StateDir, e.Name()))
		check(s.tb, err)
	}
	return k
}

// site is another site that stands there, without hooks.
func (k saved) site(tb testing.TB) *site {
	tb.Helper()
	s := newSite(tb)
	s.clock.t, s.vendor.keys, s.vendor.record = k.at, k.keys, k.record.clone()
	for name, data := range k.files {
		check(tb, os.WriteFile(filepath.Join(s.opts.StateDir, name), data, 0o600))
	}
	return s
}
