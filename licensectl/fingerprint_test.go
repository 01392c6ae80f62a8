package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

var updateScreens = flag.Bool("update", false, "write testdata/screens anew; read what it shows")

// wantScreens compares what is printed with an archive of screens, by name.
func wantScreens(t *testing.T, path string, got []txtar.File) {
	t.Helper()
	if *updateScreens {
		if err := os.WriteFile(path, txtar.Format(&txtar.Archive{Files: got}), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(archive.Files) != len(got) {
		t.Errorf("%s holds %d screens, and there are %d", path, len(archive.Files), len(got))
	}
	for i, want := range archive.Files {
		want.Data = bytes.ReplaceAll(want.Data, []byte("\r\n"), []byte("\n"))
		if i < len(got) && (want.Name != got[i].Name || !bytes.Equal(want.Data, got[i].Data)) {
			t.Errorf("%s: want\n%s\n%s: got\n%s", want.Name, want.Data, got[i].Name, got[i].Data)
		}
	}
	for _, f := range got {
		for line := range strings.Lines(string(f.Data)) {
			if width(strings.TrimRight(line, "\n")) > maxWidth {
				t.Errorf("%s: wider than a screen: %s", f.Name, line)
			}
		}
	}
}

// someMachine is a machine of words such as "disk:1 disk:2".
func someMachine(environment, words string) fingerprint.Set {
	set := fingerprint.Set{Environment: environment, Values: map[license.Kind][]string{}, Notes: map[license.Kind]string{}}
	for w := range strings.FieldsSeq(words) {
		kind, value, _ := strings.Cut(w, ":")
		set.Values[license.Kind(kind)] = append(set.Values[license.Kind(kind)], "value-"+value)
	}
	return set
}

// TestSurveyScreens: what a person sees of a machine.
func TestSurveyScreens(t *testing.T) {
	const onlyRoot = "only root can read it here, so it is left out"
	const supply = "a container has none of its own; supply a machine id by LICENSED_MACHINE_ID or /etc/licensed/machine-id"
	pc := someMachine(fingerprint.Metal, "os:1 disk:1 disk:2 mac:1 mac:2 cpu:1")
	pc.Notes[license.KindBoard], pc.Notes[license.KindUUID] = onlyRoot, onlyRoot
	container := someMachine(fingerprint.Container, "cpu:1")
	for _, k := range []license.Kind{license.KindOS, license.KindUUID, license.KindDisk, license.KindMAC, license.KindBoard} {
		container.Notes[k] = supply
	}
	supplied := someMachine(fingerprint.Container, "custom:1 cpu:1")
	supplied.Notes = container.Notes
	server := someMachine(fingerprint.Metal, "os:1 mac:1 cpu:1 disk:a disk:b disk:c disk:d disk:e disk:f disk:g disk:h disk:i disk:j")
	var got []txtar.File
	for _, c := range []struct {
		name, product string
		machine       fingerprint.Set
	}{
		{"a PC", "", pc},
		{"a PC, for a product", "cad-pro", pc},
		{"a container", "", container},
		{"a container with an id", "", supplied},
		{"twice the same", "", someMachine(fingerprint.VM, "os:1 os:1 mac:1 mac:1")},
		{"more disks than count", "", server},
		{"one network card", "", someMachine("", "mac:1")},
	} {
		s := newScreen(t, "")
		found := survey(c.machine, c.product)
		found.Advice = strings.ReplaceAll(found.Advice, fingerprint.CustomFile(), "/etc/licensed/machine-id") // it is elsewhere on Windows
		if err := s.printSurvey(found); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.ToUpper(s.out.String()), "VALUE-") {
			t.Errorf("%s shows values", c.name)
		}
		got = append(got, txtar.File{Name: c.name, Data: bytes.Clone(s.out.Bytes())})
	}
	wantScreens(t, "testdata/screens/survey.txtar", got)
}

// TestExplanationScreens: what the support desk sees. The texts are those of
// package client, which tests them.
func TestExplanationScreens(t *testing.T) {
	ends := func(names ...string) []string { return names }
	changed := client.Explanation{
		Policy: license.PolicyFuzzy, Environment: fingerprint.Metal, Weight: 1, Enough: 2,
		Finding: "only mac is the same, which is too little under fuzzy", Advice: "put back what was exchanged",
		Components: []client.ComponentExplanation{
			{Kind: license.KindOS, Outcome: license.OutcomeChanged, Weight: license.WeightStrong, Effect: license.EffectNeither, Bound: ends("7VUw"), Seen: ends("79tw"), Advice: "the operating system was installed anew, or this is another one"},
			{Kind: license.KindUUID, Outcome: license.OutcomeAbsent, Weight: license.WeightStrong, Effect: license.EffectNeither, Bound: ends("pnfA"), Advice: "only root can read it here, so it is left out"},
			{Kind: license.KindDisk, Outcome: license.OutcomeChanged, Weight: license.WeightStrong, Effect: license.EffectNeither, Bound: ends("UvZQ", "v77g"), Seen: ends("EZVA"), Advice: "none of the disks that were bound is here; put one of them back if this is the same machine"},
			{Kind: license.KindMAC, Outcome: license.OutcomeMatch, Weight: license.WeightMedium, Effect: license.EffectFor, Bound: ends("v0Xw"), Seen: ends("v0Xw")},
			{Kind: license.KindBoard, Outcome: license.OutcomeAbsent, Weight: license.WeightMedium, Effect: license.EffectNeither, Bound: ends("ygsg"), Advice: "only root can read it here, so it is left out"},
			{Kind: license.KindCPU, Outcome: license.OutcomeUnbound, Weight: license.WeightNone, Effect: license.EffectNeither, Seen: ends("pyGw"), Advice: "the licence was not bound to it, so it makes no difference"},
		},
	}
	many := client.Explanation{
		OK: true, Policy: license.PolicyExact, Environment: fingerprint.VM, Weight: 4, Enough: 2,
		Finding: "os and disk are the same, which is enough under exact; mac is lost, and no other may be",
		Advice:  "this is the machine that the licence was made for; refresh the licence to bind it to what changed",
		Components: []client.ComponentExplanation{
			{Kind: license.KindOS, Outcome: license.OutcomeMatch, Weight: license.WeightStrong, Effect: license.EffectFor, Bound: ends("7VUw"), Seen: ends("7VUw")},
			{Kind: license.KindDisk, Outcome: license.OutcomeMatch, Weight: license.WeightStrong, Effect: license.EffectFor, Bound: ends("aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff", "gggg", "hhhh"), Seen: ends("aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff", "gggg", "iiii")},
			{Kind: license.KindMAC, Outcome: license.OutcomeChanged, Weight: license.WeightMedium, Effect: license.EffectAgainst, Bound: ends("v0Xw"), Seen: ends("yx_g"), Advice: "none of the network cards that were bound is here; refresh the licence to bind it to what is here now"},
		},
	}
	var got []txtar.File
	for _, c := range []struct {
		name string
		e    client.Explanation
	}{
		{"another machine", changed},
		{"more digests than fit", many},
		{"bound to no machine", client.Explanation{OK: true, Policy: license.PolicyNone, Finding: "the licence is bound to no machine", Advice: "it may be used on any machine"}},
	} {
		s := newScreen(t, "")
		if err := s.printMatch(c.e); err != nil {
			t.Fatal(err)
		}
		first := s.out.String()
		if err := s.printMatch(c.e); err != nil || s.out.String() != first+first {
			t.Errorf("%s: showing it changes it: %v", c.name, err)
		}
		got = append(got, txtar.File{Name: c.name, Data: []byte(first)})
	}
	wantScreens(t, "testdata/screens/explanation.txtar", got)
}

// TestSurveyPolicies: the policies under which a machine could be bound.
func TestSurveyPolicies(t *testing.T) {
	for words, want := range map[string][]license.Policy{
		"":              {},
		"cpu:1":         {},
		"mac:1":         {license.PolicyLoose},
		"mac:1 board:1": {license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose},
		"os:1":          {license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose},
	} {
		s := survey(someMachine(fingerprint.Metal, words), "")
		if !slices.Equal(s.Policies, want) || s.Bindable != (len(want) == 3) || (s.Advice == "") != s.Bindable || s.Components != nil {
			t.Errorf("%q: %+v", words, s)
		}
	}
}

// signedFor writes a licence that is bound as b says, and the anchors that
// vouch for it.
func signedFor(t *testing.T, b license.Binding) (file, anchors string) {
	t.Helper()
	newKey := func() (ed25519.PublicKey, token.SigningKey) {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		key, err := token.NewSigningKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return public, key
	}
	root, anchor := newKey()
	public, signer := newKey()
	const issuer = "https://licence.example.com"
	now := newScreen(t, "").now()
	set, err := token.SignKeySet(token.KeySet{
		Issuer: issuer, IssuedAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour), Seq: 1,
		Keys: []token.Key{{ID: token.Thumbprint(public), Public: public, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}},
	}, anchor)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := token.License{
		Issuer: issuer, ID: "jti", LicenseID: "lic_1", Product: "demo", Machines: 1, Mode: license.ModeNode, Binding: b,
		Dates: license.Schedule{Enforcement: license.EnforceBlock}.DatesFor(now, now, time.Time{}),
	}.Payload()
	if err != nil {
		t.Fatal(err)
	}
	lic, err := token.SignLicense(payload, signer)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, anchors = filepath.Join(dir, "m.lic"), filepath.Join(dir, "anchors.json")
	jwk := fmt.Sprintf(`{"anchors": [{"kty": "OKP", "crv": "Ed25519", "x": %q}]}`, base64.RawURLEncoding.EncodeToString(root))
	for name, data := range map[string][]byte{
		file: token.File{Licenses: []string{lic}, KeySets: []string{set}}.Marshal(), anchors: []byte(jwk),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file, anchors
}

// TestExplainRefusal: a licence that is bound to an id, on a machine that shows
// another one, none, and the right one, whatever else it shows.
func TestExplainRefusal(t *testing.T) {
	b, err := license.Bind(license.PolicyExact, someMachine("", "custom:1").Digests("demo"))
	if err != nil {
		t.Fatal(err)
	}
	end := string(b.Components[license.KindCustom][0][18:])
	file, anchors := signedFor(t, b)
	for _, c := range []struct {
		id, row, finding string
		status           int
	}{
		{"value-1", "custom     match    strong  for      …" + end + "  …" + end, "custom is the same, which is enough under exact", exitDone},
		{"value-2", "custom     changed  strong  against  …" + end + "  …", "the machine id supplied here is another one", exitRefused},
		{" ", "custom     absent   strong  against  …" + end + "  -", "no machine id is supplied", exitRefused},
	} {
		t.Setenv(fingerprint.CustomVariable, c.id)
		s := newScreen(t, "")
		if got := s.run(t.Context(), []string{"licensectl", "fingerprint", "--explain", file, "--anchors", anchors}); got != c.status {
			t.Errorf("%q: exit %d: %s", c.id, got, &s.err)
		}
		for _, want := range []string{c.row, c.finding} {
			if !strings.Contains(s.out.String(), want) {
				t.Errorf("%q: %q is missing in\n%s", c.id, want, &s.out)
			}
		}
		if advised := strings.Contains(s.err.String(), "supply the machine id that the licence was made for"); advised != (c.status == exitRefused) {
			t.Errorf("%q: %s", c.id, &s.err)
		}
		v := newScreen(t, "")
		if got := v.run(t.Context(), []string{"licensectl", "verify", file, "--anchors", anchors}); got != c.status {
			t.Errorf("%q: verify exits %d: %s", c.id, got, &v.err)
		}
		if shown := strings.Contains(v.out.String(), c.row); shown != (c.status == exitRefused) {
			t.Errorf("%q: verify prints\n%s", c.id, &v.out)
		}
	}
}
