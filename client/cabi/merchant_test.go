package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

const (
	product   = "cad-pro"
	issuer    = "https://licence.example.com"
	machineID = "3f6d2c0a-cabi-test-machine"
)

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// merchant signs licences as the licence server does. Callers in other
// languages reach it over the network, or by files.
type merchant struct {
	tb      testing.TB
	anchor  ed25519.PublicKey
	keys    string
	signer  token.SigningKey
	arrived chan struct{} // is told of each request where it hangs

	mu      sync.Mutex
	serial  int
	answers map[string]wire.Answer // by digest of the request
	seen    []token.Request
}

func newMerchant(tb testing.TB) *merchant {
	tb.Helper()
	anchor, anchorKey, err := ed25519.GenerateKey(rand.Reader)
	check(tb, err)
	public, key, err := ed25519.GenerateKey(rand.Reader)
	check(tb, err)
	root, err := token.NewSigningKey(anchorKey)
	check(tb, err)
	signer, err := token.NewSigningKey(key)
	check(tb, err)
	now := time.Now()
	keys, err := token.SignKeySet(token.KeySet{
		Issuer: issuer, IssuedAt: now.Add(-24 * time.Hour), ExpiresAt: now.Add(400 * 24 * time.Hour), Seq: 1,
		Keys: []token.Key{{ID: token.Thumbprint(public), Public: public, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(4000 * 24 * time.Hour)}},
	}, root)
	check(tb, err)
	return &merchant{tb: tb, anchor: anchor, keys: keys, signer: signer, answers: map[string]wire.Answer{}}
}

// grant signs a licence for a year.
func (m *merchant) grant(to *token.Request) (string, error) {
	now := time.Now()
	m.serial++
	l := token.License{
		Issuer: issuer, ID: fmt.Sprintf("jti-%d", m.serial), LicenseID: "lic_1", Product: product,
		Dates: license.Schedule{
			Warn: 30 * 24 * time.Hour, Grace: 15 * 24 * time.Hour, Enforcement: license.EnforceBlock,
			Lease: 14 * 24 * time.Hour, Refresh: 24 * time.Hour,
		}.DatesFor(now, time.Time{}, now.Add(365*24*time.Hour)),
		Customer: "Example Ltd", Channel: "manual", CodeLast4: "CDEF", Machines: 1, Mode: license.ModeNode,
		Features: license.Features{"export": license.FeatureOn(), "projects": license.ParseFeature("10"), "tier": license.FeatureText("gold · 金")},
		Binding:  license.Binding{Policy: license.PolicyNone},
	}
	if to != nil {
		l.InstallKey = to.InstallKey
		var err error
		if l.Binding, err = license.Bind(license.PolicyFuzzy, to.Fingerprint); err != nil {
			return "", err
		}
	}
	payload, err := l.Payload()
	if err != nil {
		return "", err
	}
	return token.SignLicense(payload, m.signer)
}

// answer answers a request; the same bytes get the same answer.
func (m *merchant) answer(raw string) (wire.Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, err := token.VerifyRequest(raw)
	if err != nil {
		return wire.Answer{}, err
	}
	switch r.Code.Reveal() {
	case "PLFFFFFFFFFFFFFFFF":
		return wire.Answer{}, license.Errorf(license.UnknownCode, "there is no such code")
	case "PLEEEEEEEEEEEEEEEE":
		return wire.Answer{}, license.Errorf(license.RateLimited, "too many attempts").WithRetryAfter(90 * time.Second)
	}
	if a, ok := m.answers[string(r.Digest)]; ok {
		return a, nil
	}
	m.seen = append(m.seen, r)
	a := wire.Answer{LicenseID: "lic_1", Keys: m.keys}
	if a.Time, err = token.SignTime(token.Time{Issuer: issuer, IssuedAt: time.Now(), InstallID: r.InstallID, Nonce: r.ID}, m.signer); err != nil {
		return a, err
	}
	if r.Op != token.OpDeactivate {
		a.InstallID = r.InstallID
		if a.License, err = m.grant(&r); err != nil {
			return a, err
		}
	}
	m.answers[string(r.Digest)] = a
	return a, nil
}

func (m *merchant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.arrived != nil {
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is seen
		m.arrived <- struct{}{}
		<-r.Context().Done()
		return
	}
	var body wire.Request
	err := json.NewDecoder(r.Body).Decode(&body)
	var a wire.Answer
	if err == nil {
		a, err = m.answer(body.Request)
	}
	if err != nil {
		p := wire.NewProblem(err, "r-1")
		w.Header().Set("Content-Type", wire.TypeProblem)
		w.WriteHeader(p.Status)
		_ = json.NewEncoder(w).Encode(p)
		return
	}
	w.Header().Set("Content-Type", wire.TypeJSON)
	_ = json.NewEncoder(w).Encode(a)
}

// ops are the operations that were asked for since, in order.
func (m *merchant) ops() []token.Op {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ops []token.Op
	for _, r := range m.seen {
		ops = append(ops, r.Op)
	}
	m.seen = nil
	return ops
}

// The whole life of an install, which each caller goes through.
var wholeLife = []token.Op{token.OpActivate, token.OpRefresh, token.OpTransfer, token.OpDeactivate}

func (m *merchant) checkLife() {
	m.tb.Helper()
	if got := m.ops(); !slices.Equal(got, wholeLife) {
		m.tb.Errorf("the merchant was asked for %v, not for %v", got, wholeLife)
	}
}

// counter answers the request files of a caller: at each line "request" there is one in the folder, and
// "answered" says that the answer is there too.
func (m *merchant) counter(dir string, out io.Reader, in io.Writer) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() != "request" {
			return fmt.Errorf("the caller says %q", lines.Text())
		}
		file, err := os.ReadFile(filepath.Join(dir, "request.lic"))
		if err != nil {
			return err
		}
		raw, err := token.ParseRequestFile(file)
		if err != nil {
			return err
		}
		a, err := m.answer(raw)
		if err != nil {
			return err
		}
		answer := token.File{KeySets: []string{a.Keys}, Times: []string{a.Time}}
		if a.License != "" {
			answer.Licenses = []string{a.License}
		}
		err = errors.Join(os.WriteFile(filepath.Join(dir, "answer.lic"), answer.Marshal(), 0o600), os.Remove(filepath.Join(dir, "request.lic")))
		if err != nil {
			return err
		}
		if _, err := io.WriteString(in, "answered\n"); err != nil {
			return err
		}
	}
	return lines.Err()
}

// folder is a folder for a caller: anchors.json and anybody.lic, a licence file
// that any machine may import.
func (m *merchant) folder() string {
	m.tb.Helper()
	dir := m.tb.TempDir()
	anchors, err := token.MarshalAnchors(token.Anchors{m.anchor})
	check(m.tb, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	raw, err := m.grant(nil)
	check(m.tb, err)
	file := token.File{Licenses: []string{raw}, KeySets: []string{m.keys}}.Marshal()
	_, err = (&client.Verifier{Anchors: token.Anchors{m.anchor}, Product: product}).Verify(file)
	check(m.tb, err)
	for name, data := range map[string][]byte{"anchors.json": anchors, "anybody.lic": file} {
		check(m.tb, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	return dir
}
