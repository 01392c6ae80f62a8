package elsewhere_test

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// shop is a merchant with its keys and one product.
type shop struct {
	t       *testing.T
	anchors []token.SigningKey
	key     token.SigningKey
	now     time.Time
}

func newShop(t *testing.T) *shop {
	t.Helper()
	key := func(seed byte) token.SigningKey {
		k, err := token.NewSigningKey(ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(seed), ed25519.SeedSize))))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	return &shop{t: t, anchors: []token.SigningKey{key('a'), key('b')}, key: key('c'), now: time.Now().Truncate(time.Second)}
}

func public(k token.SigningKey) ed25519.PublicKey { return k.Signer.Public().(ed25519.PublicKey) }

// keys is a key set of one of the anchors, with the signing key or without.
func (s *shop) keys(anchor int, seq int64, with bool) string {
	s.t.Helper()
	ks := token.KeySet{Issuer: "https://licence.example.com", IssuedAt: s.now, ExpiresAt: s.now.AddDate(1, 0, 0), Seq: seq}
	key := s.key
	if !with {
		key = s.anchors[1-anchor] // a key, which is left out, since it is an anchor
	}
	ks.Keys = []token.Key{{ID: key.ID, Public: public(key), NotBefore: s.now.AddDate(-1, 0, 0), NotAfter: s.now.AddDate(1, 0, 0)}}
	raw, err := token.SignKeySet(ks, s.anchors[anchor])
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// license is good for a year with a lease of a week, on the machine with the id box-7.
func (s *shop) license(product string) string {
	s.t.Helper()
	salt := license.ProductSalt(product)
	d, _ := license.DigestValue(salt, license.KindCustom, "box-7")
	schedule := license.Schedule{Grace: 24 * time.Hour, Enforcement: license.EnforceBlock, Lease: 7 * 24 * time.Hour, Refresh: 24 * time.Hour}
	l := token.License{
		Issuer: "https://licence.example.com", ID: "tok-1", LicenseID: "lic_1", Product: product,
		Dates:    schedule.DatesFor(s.now, time.Time{}, s.now.AddDate(1, 0, 0)),
		Features: license.Features{"export": license.FeatureOn()},
		Binding:  license.Binding{Policy: license.PolicyFuzzy, Salt: salt, Components: license.Components{license.KindCustom: {d}}},
	}
	payload, err := l.Payload()
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := token.SignLicense(payload, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// runExample runs the example of a language as a product would be run.
func runExample(t *testing.T, command []string) {
	t.Helper()
	s := newShop(t)
	document, err := token.MarshalAnchors(token.Anchors{public(s.anchors[0]), public(s.anchors[1])})
	if err != nil {
		t.Fatal(err)
	}
	good := token.File{Licenses: []string{s.license("cad-pro")}, KeySets: []string{s.keys(0, 5, true)}}
	changed := good
	changed.Licenses = []string{strings.Replace(good.Licenses[0], ".", ".e", 1)}
	newer := token.File{Licenses: good.Licenses, KeySets: []string{s.keys(0, 6, false)}}
	// What was seen some time after now, and some time before the licence.
	seen := func(floor, newest time.Duration, keys string) string {
		return fmt.Sprintf("%d\n%d\n%s", s.now.Add(floor).Unix(), s.now.Add(newest).Unix(), keys)
	}
	const day = 24 * time.Hour
	for _, c := range []struct {
		name, state, machine string
		file                 token.File
		want                 string
		kept                 string // the state afterwards
	}{
		{"good", "", "box-7", good, "licensed: valid export", seen(0, 0, good.KeySets[0])},
		{"good, seen before", seen(-day, -day, s.keys(0, 4, true)), "box-7", good, "licensed: valid export", seen(0, 0, good.KeySets[0])},
		{"another machine", "", "box-8", good, "not licensed: another machine", ""},
		{"another product", "", "box-7", token.File{Licenses: []string{s.license("cad-lite")}, KeySets: good.KeySets}, "not licensed: wrong_product: ", ""},
		{"changed", "", "box-7", changed, "not licensed: forged: ", ""},
		{"older than the licence that was seen last", seen(day, day, good.KeySets[0]), "box-7", good, "not licensed: older ", seen(day, day, good.KeySets[0])},
		{"a floor in the last days of the lease", seen(6*day, 0, ""), "box-7", good, "licensed: grace export", seen(6*day, 0, good.KeySets[0])},
		{"a floor after the lease: the clock was set back", seen(8*day, 0, ""), "box-7", good, "not licensed: lease_over", seen(8*day, 0, good.KeySets[0])},
		{"the key was revoked by a key set seen before", seen(0, 0, newer.KeySets[0]), "box-7", good, "not licensed: forged: ", seen(0, 0, newer.KeySets[0])},
		{"the key is revoked by the file, which is remembered", seen(0, 0, good.KeySets[0]), "box-7", newer, "not licensed: forged: ", seen(0, 0, newer.KeySets[0])},
		{"the primary was ended by the standby, seen before", seen(0, 0, s.keys(1, 1, false)), "box-7", good, "not licensed: forged: ", ""},
	} {
		dir := t.TempDir()
		put := func(name, content string) string {
			file := filepath.Join(dir, name)
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			return file
		}
		state := filepath.Join(dir, "state")
		if c.state != "" {
			put("state", c.state)
		}
		args := append(command[1:len(command):len(command)], put("anchors.json", string(document)), "cad-pro", state, put("product.lic", string(c.file.Marshal())))
		cmd := exec.CommandContext(t.Context(), command[0], args...)
		cmd.Env = append(os.Environ(), "LICENSED_MACHINE_ID="+c.machine)
		out, err := cmd.CombinedOutput()
		got := strings.TrimSpace(string(out))
		if !strings.HasPrefix(got, c.want) || (err == nil) != strings.HasPrefix(c.want, "licensed") {
			t.Errorf("%s: %q (%v), want %q", c.name, got, err, c.want)
		}
		if kept, err := os.ReadFile(state); err != nil || c.kept != "" && string(kept) != c.kept {
			t.Errorf("%s: what is kept is %q (%v), want %q", c.name, kept, err, c.kept)
		}
	}
}
