package client_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func newVerifier() *client.Verifier {
	return &client.Verifier{Anchors: anchors(), Product: product}
}

func TestVerify(t *testing.T) {
	keys := keySet(t, "anchor-1", 3, "sign-1")
	other := claims(epoch.Add(time.Hour))
	other.Product = "viewer"
	good, old := sign(t, claims(epoch), "sign-1"), sign(t, claims(epoch.Add(-time.Hour)), "sign-1")
	f := file(keys, old, sign(t, other, "sign-1"), good, sign(t, claims(epoch.Add(2*time.Hour)), "stolen"))
	v := newVerifier()
	for range 2 { // the second time from memory
		lic, err := v.Verify(f)
		check(t, err)
		if lic.Dates().IssuedAt != epoch || lic.Product() != product || lic.Customer() != "Example Ltd" || lic.LicenseID() != "lic_1" {
			t.Fatalf("got %+v", lic.Claims().Dates)
		}
		all, err := v.VerifyAll(f)
		check(t, err)
		if len(all) != 2 || all[1].Claims().Raw != old {
			t.Fatalf("VerifyAll returned %d licences", len(all))
		}
		all[0] = nil // the caller's
	}
	n, ok := lic(t, v, f).Value("projects").Number()
	if !ok || n != 10 {
		t.Errorf("projects = %v %v", n, ok)
	}
}

func lic(tb testing.TB, v *client.Verifier, f []byte) *client.License {
	tb.Helper()
	l, err := v.Verify(f)
	check(tb, err)
	return l
}

// fields are those of a Verifier, which itself is not to be copied.
type fields struct {
	anchors               token.Anchors
	product, issuer, keys string
}

func TestVerifyRefuses(t *testing.T) {
	keys := keySet(t, "anchor-1", 3, "sign-1")
	good := sign(t, claims(epoch), "sign-1")
	other := claims(epoch)
	other.Product = "viewer"
	forgedBody := func() string {
		parts := strings.Split(good, ".")
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		parts[1] = base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, []byte("Example Ltd"), []byte("Example Inc"), 1))
		return strings.Join(parts, ".")
	}
	rivalIssuer := claims(epoch)
	rivalIssuer.Issuer = "https://rival.example"
	for name, c := range map[string]struct {
		file []byte
		v    fields
		want license.Reason
	}{
		"nothing":                     {nil, fields{}, license.Damaged},
		"text":                        {[]byte("hello"), fields{}, license.Damaged},
		"cut":                         {file(keys, good)[:900], fields{}, license.Damaged},
		"no key set":                  {token.File{Licenses: []string{good}}.Marshal(), fields{}, license.Damaged},
		"keys in the verifier only":   {token.File{Licenses: []string{good}}.Marshal(), fields{keys: keys}, ""},
		"key set by itself":           {file(keySet(t, "sign-2", 3, "sign-1"), good), fields{}, license.Forged},
		"signed by a stranger":        {file(keys, sign(t, claims(epoch), "stranger")), fields{}, license.Forged},
		"signed by the anchor":        {file(keys, sign(t, claims(epoch), "anchor-1")), fields{}, license.Forged},
		"changed":                     {file(keys, forgedBody()), fields{}, license.Forged},
		"another product":             {file(keys, sign(t, other, "sign-1")), fields{}, license.WrongProduct},
		"forged beside other product": {file(keys, sign(t, other, "sign-1"), forgedBody()), fields{}, license.Forged},
		"another issuer":              {file(keys, sign(t, rivalIssuer, "sign-1")), fields{}, license.Forged},
		"not the expected issuer":     {file(keys, good), fields{issuer: "https://else.example"}, license.Forged},
		"older set, key gone since":   {file(keys, good), fields{keys: keySet(t, "anchor-1", 4, "sign-2")}, license.Forged},
		"older set, key still there":  {file(keys, good), fields{keys: keySet(t, "anchor-1", 4, "sign-1", "sign-2")}, ""},
		"demoted anchor":              {file(keySet(t, "anchor-1", 99, "sign-1"), good), fields{keys: keySet(t, "anchor-2", 1, "sign-2")}, license.Forged},
		"standby took over":           {file(keySet(t, "anchor-2", 1, "sign-1"), good), fields{keys: keySet(t, "anchor-1", 99, "sign-2")}, ""},
		"bad minimum":                 {file(keys, good), fields{keys: keySet(t, "stranger", 4, "sign-1")}, license.Forged},
		"a forged set beside":         {token.File{Licenses: []string{good}, KeySets: []string{keySet(t, "stranger", 9, "sign-2"), keys}}.Marshal(), fields{}, ""},
		"no product":                  {file(keys, good), fields{product: "-"}, license.BadRequest},
		"no anchors":                  {file(keys, good), fields{anchors: token.Anchors{}}, license.BadRequest},
		"a short anchor":              {file(keys, good), fields{anchors: token.Anchors{ed25519.PublicKey("short")}}, license.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			v := client.Verifier{Anchors: c.v.anchors, Product: c.v.product, Issuer: c.v.issuer, Keys: c.v.keys}
			if v.Anchors == nil {
				v.Anchors = anchors()
			}
			switch v.Product {
			case "":
				v.Product = product
			case "-":
				v.Product = ""
			}
			l, err := v.Verify(c.file)
			if c.want == "" {
				check(t, err)
				return
			}
			wantReason(t, err, c.want)
			if l != nil {
				t.Error("a licence beside the error")
			}
		})
	}
}

// A Verifier whose fields changed does not answer from what it remembers.
func TestVerifierForgets(t *testing.T) {
	f := file(keySet(t, "anchor-1", 3, "sign-1"), sign(t, claims(epoch), "sign-1"))
	v := newVerifier()
	lic(t, v, f)
	v.Product = "viewer"
	_, err := v.Verify(f)
	wantReason(t, err, license.WrongProduct)
	v.Product, v.Anchors[0] = product, public("stranger")
	_, err = v.Verify(f)
	wantReason(t, err, license.Forged)
	v = newVerifier()
	lic(t, v, f)
	f[len(f)/2]++ // the caller's buffer, used again
	if _, err := v.Verify(f); err == nil {
		t.Error("changed bytes verified")
	}
}

func TestVerifyConcurrently(t *testing.T) {
	keys := keySet(t, "anchor-1", 3, "sign-1")
	var files [][]byte
	for i := range 4 {
		files = append(files, file(keys, sign(t, claims(epoch.Add(time.Duration(i)*time.Hour)), "sign-1")))
	}
	v := newVerifier()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 20 {
				at := (i + n) % len(files)
				l, err := v.Verify(files[at])
				if err != nil || !l.Dates().IssuedAt.Equal(epoch.Add(time.Duration(at)*time.Hour)) {
					t.Errorf("file %d: %v %v", at, l, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestCheck(t *testing.T) {
	day := 24 * time.Hour
	end := epoch.Add(365 * day)
	given := func(e license.Enforcement, lease time.Duration) *client.License {
		c := claims(epoch)
		c.Dates = license.Schedule{Warn: 30 * day, Grace: 15 * day, Enforcement: e, Lease: lease, Refresh: day}.DatesFor(epoch, time.Time{}, end)
		return lic(t, newVerifier(), file(keySet(t, "anchor-1", 1, "sign-1"), sign(t, c, "sign-1")))
	}
	type want struct {
		usable  bool
		state   license.State
		phase   license.Phase
		reason  license.Reason
		feature bool
		due     bool
	}
	active, expired := license.StateActive, license.StateExpired
	for _, c := range []struct {
		name string
		lic  *client.License
		at   time.Time
		want want
	}{
		{"none", nil, epoch, want{false, "", license.PhaseBlocked, license.NoLicense, false, false}},
		{"fresh", given("block", 0), epoch, want{true, active, license.PhaseValid, "", true, false}},
		{"due", given("block", 0), epoch.Add(day), want{true, active, license.PhaseValid, "", true, true}},
		{"before nbf", given("block", 0), epoch.Add(-601 * time.Second), want{false, active, license.PhaseBlocked, license.NotYetValid, false, false}},
		{"warning", given("block", 0), end.Add(-30 * day), want{true, active, license.PhaseWarning, "", true, true}},
		{"grace", given("block", 0), end, want{true, expired, license.PhaseGrace, "", true, true}},
		{"blocked", given("block", 0), end.Add(15 * day), want{false, expired, license.PhaseBlocked, license.Expired, false, true}},
		{"degraded", given("degrade", 0), end.Add(15 * day), want{true, expired, license.PhaseBlocked, license.Expired, false, true}},
		{"advised", given("advisory", 0), end.Add(15 * day), want{true, expired, license.PhaseBlocked, license.Expired, true, true}},
		{"lease grace", given("block", 20*day), epoch.Add(15 * day), want{true, active, license.PhaseGrace, "", true, true}},
		{"lease over", given("block", 20*day), epoch.Add(20 * day), want{false, active, license.PhaseBlocked, license.LeaseOver, false, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.lic.Check(c.at)
			got := want{s.Usable, s.State, s.Phase, s.Reason, s.Feature("export"), s.RefreshDue()}
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if s.String() == "" || s.Feature("nothing") || s.Value("nothing").On() {
				t.Error("nothing became something")
			}
		})
	}
}

func TestStatusSays(t *testing.T) {
	l := lic(t, newVerifier(), file(keySet(t, "anchor-1", 1, "sign-1"), sign(t, claims(epoch), "sign-1")))
	for at, want := range map[time.Duration]string{
		0:                    "licensed until 2027-03-01 12:00 UTC",
		13 * 24 * time.Hour:  "licensed, but must reach the licence server; usable until 2026-03-15 12:00 UTC",
		14 * 24 * time.Hour:  "not licensed: nothing has been heard from the licence server for too long",
		-24 * time.Hour:      "not licensed: the licence begins on 2026-03-01 11:50 UTC, and it is 2026-02-28 12:00 UTC",
		500 * 24 * time.Hour: "not licensed: the licence has expired",
	} {
		if got := l.Check(epoch.Add(at)).String(); got != want {
			t.Errorf("at %v: %q, want %q", at, got, want)
		}
	}
}

// A licence that is asked although there is none answers no and does not panic.
func TestNoLicense(t *testing.T) {
	var l *client.License
	for _, l := range []*client.License{l, {}} {
		s := l.Check(epoch)
		if s.Usable || s.Feature("export") || l.Value("export").On() || l.ID() != "" || l.Match(machineA()).OK || l.Explain(machineA()).OK {
			t.Errorf("no licence grants something: %+v", s)
		}
		_ = l.Claims()
	}
}

func TestMatchAndExplain(t *testing.T) {
	l := lic(t, newVerifier(), file(keySet(t, "anchor-1", 1, "sign-1"), sign(t, bound(t, claims(epoch), machineA()), "sign-1")))
	if !l.Match(machineA()).OK || l.Match(machineB()).OK {
		t.Fatal("match")
	}
	m := machineA()
	m.Values[license.KindMAC] = []string{"3c:7c:3f:99:88:77"}
	delete(m.Values, license.KindDisk)
	m.Notes = map[license.Kind]string{license.KindDisk: "no disk has a serial"}
	m.Values[license.KindCustom] = []string{"asset-17"}
	e := l.Explain(m)
	if !e.OK {
		t.Errorf("drift refused: %+v", e)
	}
	got := map[license.Kind]license.Outcome{}
	for _, c := range e.Components {
		got[c.Kind] = c.Outcome
		for _, end := range append(c.Bound, c.Seen...) {
			if len(end) != 4 {
				t.Errorf("%s shows %q", c.Kind, end)
			}
		}
		if (c.Advice == "") != (c.Outcome == license.OutcomeMatch) {
			t.Errorf("%s %s: advice %q", c.Kind, c.Outcome, c.Advice)
		}
	}
	want := map[license.Kind]license.Outcome{
		license.KindCustom: license.OutcomeUnbound, license.KindOS: license.OutcomeMatch, license.KindDisk: license.OutcomeAbsent,
		license.KindMAC: license.OutcomeChanged, license.KindCPU: license.OutcomeMatch,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if e := l.Explain(machineB()); e.OK || e.Advice == "" {
		t.Errorf("another machine: %+v", e)
	}
	for _, m := range []fmt.Stringer{machineA(), l} {
		if s := fmt.Sprintf("%v %+v %#v", m, m, m); strings.Contains(strings.ToLower(s), "3c:7c") || strings.Contains(s, l.Claims().Raw) {
			t.Errorf("prints %s", s)
		}
	}
}

func TestClaimsAreCopies(t *testing.T) {
	l := lic(t, newVerifier(), file(keySet(t, "anchor-1", 1, "sign-1"), sign(t, bound(t, claims(epoch), machineA()), "sign-1")))
	c := l.Claims()
	delete(c.Features, "export")
	c.Binding.Salt[0]++
	c.Binding.Components[license.KindOS][0] = "x"
	if !l.Value("export").On() || !l.Match(machineA()).OK {
		t.Error("the licence changed with its copy")
	}
}

func TestParseAnchors(t *testing.T) {
	data, err := token.MarshalAnchors(anchors())
	check(t, err)
	got, err := client.ParseAnchors(data)
	check(t, err)
	if d := cmp.Diff(anchors(), got); d != "" {
		t.Error(d)
	}
	_, err = client.ParseAnchors([]byte("{}"))
	wantReason(t, err, license.Damaged)
}

func TestNoAllocations(t *testing.T) {
	l := lic(t, newVerifier(), file(keySet(t, "anchor-1", 1, "sign-1"), sign(t, claims(epoch), "sign-1")))
	g := newSite(t).activated()
	for name, f := range map[string]func(){
		"Check":                func() { _ = l.Check(epoch) },
		"Check blocked":        func() { _ = l.Check(epoch.Add(10000 * time.Hour)) },
		"License.Value":        func() { _ = l.Value("projects") },
		"Check.Feature":        func() { _ = l.Check(epoch).Feature("export") },
		"Guard.Status":         func() { _ = g.Status() },
		"Guard.Feature":        func() { _ = g.Feature("export") },
		"Guard.Feature absent": func() { _ = g.Feature("import") },
		"Guard.Value":          func() { _ = g.Value("tier") },
		"Guard.License":        func() { _ = g.License() },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func FuzzVerify(f *testing.F) {
	keys := keySet(f, "anchor-1", 3, "sign-1")
	good := sign(f, bound(f, claims(epoch), machineA()), "sign-1")
	f.Add(file(keys, good))
	f.Add([]byte("-----BEGIN LICENSE-----\nAAAA\n-----END LICENSE-----\n"))
	f.Add(file("a.b.c", good))
	f.Add([]byte(good))
	v := newVerifier()
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := v.Verify(data)
		if (err == nil) == (l == nil) {
			t.Fatalf("licence %v and error %v", l, err)
		}
		if err != nil {
			if r := license.ReasonOf(err); r == license.Internal || r == "" {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		if l.Claims().Raw != good {
			t.Error("a licence verified that was never signed")
		}
		_, _ = l.Check(epoch), l.Explain(machineB())
	})
}

// bare is what verifying costs at least: one signature, base64, one decode.
func bare(tb testing.TB, raw string, pub ed25519.PublicKey) {
	tb.Helper()
	head, rest, _ := strings.Cut(raw, ".")
	body, sig64, _ := strings.Cut(rest, ".")
	if _, err := base64.RawURLEncoding.DecodeString(head); err != nil {
		tb.Fatal(err)
	}
	sig, err := base64.RawURLEncoding.DecodeString(sig64)
	check(tb, err)
	if !ed25519.Verify(pub, []byte(raw[:len(head)+1+len(body)]), sig) {
		tb.Fatal("signature")
	}
	payload, err := base64.RawURLEncoding.DecodeString(body)
	check(tb, err)
	var c struct {
		Iss, Sub, Aud, Jti string
		Iat, Nbf, Exp      int64
		Lic                struct {
			Ver                            int
			Customer, Order, Channel, Mode string
			Features                       map[string]any
			Machines                       int
			Phases                         map[string]any
			RefreshAfter                   int64 `json:"refresh_after"`
			LeaseUntil                     int64 `json:"lease_until"`
			Binding                        struct {
				Policy, Salt string
				Components   map[string][]string
			}
		}
		Cnf struct{ JWK struct{ Kty, Crv, X string } }
	}
	check(tb, json.Unmarshal(payload, &c))
}

func benchClaims(tb testing.TB) string {
	tb.Helper()
	c := bound(tb, claims(epoch), machineA())
	c.InstallKey = public("install")
	return sign(tb, c, "sign-1")
}

func BenchmarkBareVerify(b *testing.B) {
	raw, pub := benchClaims(b), public("sign-1")
	b.ReportAllocs()
	for b.Loop() {
		bare(b, raw, pub)
	}
}

// unseen returns two files that take turns, so that neither was the last one.
func unseen(tb testing.TB) func() []byte {
	tb.Helper()
	keys := keySet(tb, "anchor-1", 3, "sign-1")
	first := benchClaims(tb)
	files := [2][]byte{file(keys, first), append([]byte("Your licence\n"), file(keys, first)...)}
	return func() []byte {
		files[0], files[1] = files[1], files[0]
		return files[0]
	}
}

// BenchmarkVerify verifies files that were not seen before; their key set was.
func BenchmarkVerify(b *testing.B) {
	next, v := unseen(b), newVerifier()
	b.ReportAllocs()
	for b.Loop() {
		lic(b, v, next())
	}
}

// BenchmarkVerifyRatio alternates the two and reports the median of the
// ratios: at most 1.25 is wanted.
func BenchmarkVerifyRatio(b *testing.B) {
	next, v := unseen(b), newVerifier()
	raw, pub := benchClaims(b), public("sign-1")
	const batch = 50
	var ratios []float64
	for b.Loop() {
		begin := time.Now()
		for range batch {
			bare(b, raw, pub)
		}
		middle := time.Now()
		for range batch {
			lic(b, v, next())
		}
		ratios = append(ratios, float64(time.Since(middle))/float64(middle.Sub(begin)))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}

func BenchmarkVerifyAgain(b *testing.B) {
	f := file(keySet(b, "anchor-1", 3, "sign-1"), benchClaims(b))
	v := newVerifier()
	b.ReportAllocs()
	for b.Loop() {
		lic(b, v, f)
	}
}

func BenchmarkFeature(b *testing.B) {
	g := newSite(b).activated()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !g.Feature("export") {
				b.Fail()
			}
		}
	})
}
