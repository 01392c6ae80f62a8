package client_test

import (
	"bytes"
	"compress/zlib"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// What follows writes tokens and files with plain crypto and text, as somebody
// does who has nothing of ours.

const (
	licenseTyp = "license+jwt"
	keysTyp    = "license-keys+jwt"
	timeTyp    = "license-time+jwt"
	listTyp    = "statuslist+jwt"
)

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// kidOf is the RFC 7638 thumbprint of a key.
func kidOf(pub ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64url(pub) + `"}`))
	return base64url(sum[:])
}

func header(keyName, typ string) string {
	return fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"typ":%q}`, kidOf(public(keyName)), typ)
}

// jws signs any header over any content.
func jws(keyName, header, payload string) string {
	input := base64url([]byte(header)) + "." + base64url([]byte(payload))
	return input + "." + base64url(ed25519.Sign(key(keyName), []byte(input)))
}

func signed(keyName, typ, payload string) string { return jws(keyName, header(keyName, typ), payload) }

// hs256 signs by what everybody knows.
func hs256(secret []byte, header, payload string) string {
	input := base64url([]byte(strings.Replace(header, "EdDSA", "HS256", 1))) + "." + base64url([]byte(payload))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + base64url(mac.Sum(nil))
}

// unsigned is a token that says that it needs no signature.
func unsigned(alg, header, payload, signature string) string {
	return base64url([]byte(strings.Replace(header, "EdDSA", alg, 1))) + "." + base64url([]byte(payload)) + "." + signature
}

// spki is a public key as a PEM file holds it (RFC 8410), the text that is
// taken for a secret where HS256 is believed.
func spki(pub ed25519.PublicKey) []byte {
	prefix := []byte{0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: append(prefix, pub...)})
}

// withHeader adds members to a header.
func withHeader(header, members string) string {
	return strings.TrimSuffix(header, "}") + "," + members + "}"
}

func jwkOf(pub ed25519.PublicKey) string {
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, base64url(pub))
}

// keysBody is what a key set says that holds the named keys.
func keysBody(seq int, names ...string) string {
	var keys []string
	for _, n := range names {
		keys = append(keys, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q,"kid":%q,"alg":"EdDSA","use":"sig","nbf":%d,"exp":%d}`,
			base64url(public(n)), kidOf(public(n)), epoch.Add(-48*time.Hour).Unix(), epoch.Add(4000*24*time.Hour).Unix()))
	}
	return fmt.Sprintf(`{"iss":%q,"iat":%d,"exp":%d,"seq":%d,"keys":[%s]}`,
		issuer, epoch.Add(-24*time.Hour).Unix(), epoch.Add(400*24*time.Hour).Unix(), seq, strings.Join(keys, ","))
}

// licenseBody is what a licence says that a cheat would like: everything, for ever.
func licenseBody(at time.Time, install ed25519.PublicKey) string {
	never := license.Forever.Unix()
	return fmt.Sprintf(`{"iss":%q,"sub":"lic_1","aud":%q,"jti":"forged-%d","iat":%d,"nbf":%d,"exp":%d,"lic":{"ver":1,`+
		`"features":{"export":true,"projects":99},"machines":9,"mode":"node",`+
		`"phases":{"warn_at":%[6]d,"expires_at":%[6]d,"block_at":%[6]d,"enforcement":"block"},`+
		`"refresh_after":%[6]d,"lease_until":%[6]d,"binding":{"policy":"none"}},`+
		`"status":{"status_list":{"idx":%d,"uri":%q}},"cnf":{"jwk":%s}}`,
		issuer, product, at.Unix(), at.Unix(), at.Unix()-600, never, listIndex, listURI, jwkOf(install))
}

// listBody is what a status list says of which lst is given.
func listBody(at time.Time, lst string) string {
	return fmt.Sprintf(`{"iss":%q,"sub":%q,"iat":%d,"exp":%d,"ttl":900,"status_list":{"bits":2,"lst":%q}}`,
		issuer, listURI, at.Unix(), at.Add(72*time.Hour).Unix(), lst)
}

// lst is statuses as they stand in a list: n bytes, all the same.
func lst(n int, each byte) string {
	var buf bytes.Buffer
	w := zlib.NewWriter(&buf)
	_, _ = w.Write(bytes.Repeat([]byte{each}, n))
	_ = w.Close()
	return base64url(buf.Bytes())
}

func timeBody(at time.Time, install ed25519.PublicKey, nonce string) string {
	return fmt.Sprintf(`{"iss":%q,"iat":%d,"sub":%q,"nonce":%q}`, issuer, at.Unix(), kidOf(install), nonce)
}

// swap replaces the one occurrence of old.
func swap(tb testing.TB, s, old, with string) string {
	tb.Helper()
	if n := strings.Count(s, old); n != 1 {
		tb.Fatalf("%q occurs %d times in %s", old, n, s)
	}
	return strings.Replace(s, old, with, 1)
}

// reordered is a token with the same signature, whose content says the same
// with its members in another order.
func reordered(tb testing.TB, raw string) string {
	tb.Helper()
	parts := strings.Split(raw, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	check(tb, err)
	var members map[string]json.RawMessage
	check(tb, json.Unmarshal(payload, &members))
	again, err := json.Marshal(members) // in the order of their names
	check(tb, err)
	if bytes.Equal(again, payload) {
		tb.Fatal("the order is the same")
	}
	parts[1] = base64url(again)
	return strings.Join(parts, ".")
}

// resigned is a token whose signature is another one that fits by the bare
// equation: S + L (RFC 8032 section 5.1.7 refuses it).
func resigned(tb testing.TB, raw string) string {
	tb.Helper()
	at := strings.LastIndexByte(raw, '.') + 1
	sig, err := base64.RawURLEncoding.DecodeString(raw[at:])
	check(tb, err)
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(sig[32:])
	slices.Reverse(s)
	s = new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(s)
	return raw[:at] + base64url(append(sig[:32:32], s...))
}

// nested is a value that many arrays stand around.
func nested(deep int) string { return strings.Repeat("[", deep) + strings.Repeat("]", deep) }

// armoured is a block of a licence file.
func armoured(label, raw string) []byte {
	if raw == "" {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: []byte(raw)})
}

// attack is what somebody has who wants to forge: an install with a licence,
// everything that it ever got, every public key, and one signing key that was
// stolen and has been removed from the key set since.
//
// The fields after it are what is presented, to begin with an authentic
// licence, dated now, that the install would take; a row of the tables spoils it.
type attack struct {
	t     *testing.T
	s     *site
	guard *client.Guard
	begin saved

	now                   time.Time
	install               ed25519.PublicKey
	nonce                 string // jti of the request that is answered
	held, older           string // key sets: the newest, and the one before
	oldLicense, oldTime   string // the answer to the activation
	heldLicense, heldList string

	license, keys, list, time string
}

// newAttack is an install whose primary anchor was stolen, too: the standby has
// taken over, and then removed the key "stolen".
func newAttack(t *testing.T, status license.ListStatus) *attack {
	t.Helper()
	a := attackMade.get(fmt.Sprint(status), func() attack { return prepare(t, status) })
	a.t, a.s = t, a.begin.site(t)
	a.s.vendor.grant = func(_ token.Request, c *token.License) { *c = listed(*c) }
	a.guard = halted(a.s.open())
	return &a
}

var attackMade shared[attack]

func prepare(t *testing.T, status license.ListStatus) attack {
	t.Helper()
	a := attack{
		held:  signed("anchor-2", keysTyp, keysBody(7, "sign-1", "sign-2")),
		older: signed("anchor-2", keysTyp, keysBody(6, "stolen", "sign-1", "sign-2")),
	}
	s := newSite(t)
	s.vendor.grant = func(_ token.Request, c *token.License) { *c = listed(*c) }
	var activated wire.Answer
	s.vendor.spoil = func(r token.Request, answer *wire.Answer) {
		answer.Status = statusList(t, s.clock.now(), license.StatusValid)
		if r.Op == token.OpActivate {
			activated = *answer
		}
	}
	s.vendor.keys = a.older
	guard := halted(s.activated())
	s.vendor.keys = a.held
	s.clock.add(time.Hour)
	check(t, guard.Refresh(t.Context()))
	s.clock.add(time.Hour)
	a.heldList = statusList(t, s.clock.now(), status)
	check(t, guard.Import(armoured("LICENSE STATUS", a.heldList)))
	s.clock.add(time.Hour)
	check(t, guard.Close())

	m := readState(t, s)
	if m.Keys != a.held || m.StatusList != a.heldList || m.License == activated.License {
		t.Fatal("the install does not hold what it should")
	}
	a.begin, a.now, a.install = s.save(), s.clock.now(), ed25519.NewKeyFromSeed(m.Key).Public().(ed25519.PublicKey)
	a.oldLicense, a.oldTime, a.heldLicense = activated.License, activated.Time, m.License
	return a
}

// present makes what is presented.
func (a *attack) present(spoil func(*attack)) {
	a.keys, a.list = a.held, ""
	a.license = signed("sign-1", licenseTyp, a.body())
	a.time = signed("sign-1", timeTyp, timeBody(a.now, a.install, a.nonce))
	if spoil != nil {
		spoil(a)
	}
}

func (a *attack) body() string { return licenseBody(a.now, a.install) }

// with signs the licence with a change, by a key that may sign.
func (a *attack) with(old, replaced string) {
	a.license = signed("sign-1", licenseTyp, swap(a.t, a.body(), old, replaced))
}

// under signs everything by a key, and presents it with a key set.
func (a *attack) under(keyName, keys string) {
	a.keys = keys
	a.license = signed(keyName, licenseTyp, a.body())
	a.time = signed(keyName, timeTyp, timeBody(a.now, a.install, a.nonce))
}

func (a *attack) file() []byte {
	return slices.Concat(armoured("LICENSE", a.license), armoured("LICENSE KEYS", a.keys),
		armoured("LICENSE STATUS", a.list), armoured("LICENSE TIME", a.time))
}

// standing is all that an install has, as its product and its disk see it.
type standing struct {
	file   string
	status client.Status
	disk   string
	memory client.Memory
}

func (a *attack) standing(g *client.Guard) standing {
	a.t.Helper()
	disk, err := os.ReadFile(filepath.Join(a.s.opts.StateDir, "install.json"))
	check(a.t, err)
	return standing{string(g.File()), g.Status(), string(disk), readState(a.t, a.s)}
}

// wantUnmoved fails if something has changed, for the next process either.
func (a *attack) wantUnmoved(before standing) {
	a.t.Helper()
	a.wantOnly(before, before.memory, a.standing(a.guard).disk)
}

// wantProven is wantUnmoved after a call of the server, but for the requests that
// wait, and for the floor.
func (a *attack) wantProven(before standing, floor time.Time) {
	a.t.Helper()
	want, is := before.memory, readState(a.t, a.s)
	want.Floor, want.Sent, want.Carried = floor.Unix(), is.Sent, is.Carried
	disk, err := client.Encode(is)
	check(a.t, err)
	a.wantOnly(before, want, string(disk))
}

func (a *attack) wantOnly(before standing, memory client.Memory, disk string) {
	a.t.Helper()
	want, err := client.Encode(memory)
	check(a.t, err)
	if d := cmp.Diff(string(want), disk); d != "" {
		a.t.Errorf("the memory changed: %s", d)
	}
	after := a.standing(a.guard)
	check(a.t, a.guard.Close())
	reopened := halted(a.s.open())
	for name, s := range map[string]standing{"": after, " after a restart": a.standing(reopened)} {
		if s.file != before.file {
			a.t.Errorf("File changed%s", name)
		}
		if d := cmp.Diff(before.status, s.status, cmpopts.IgnoreUnexported(client.Status{}), cmp.AllowUnexported(license.Feature{})); d != "" {
			a.t.Errorf("Status changed%s: %s", name, d)
		}
	}
	a.guard = reopened
}

// proves reports whether the signed time that is presented is authentic and new.
func proves(a *attack) bool {
	return a.time == signed("sign-1", timeTyp, timeBody(a.now, a.install, a.nonce)) && (a.keys == a.held || a.keys == a.older)
}

// wantRefused is wantReason, or that nothing is said.
func wantRefused(tb testing.TB, err error, want license.Reason) {
	tb.Helper()
	if want != none {
		wantReason(tb, err, want)
		return
	}
	check(tb, err)
}

func (a *attack) wantTaken() {
	a.t.Helper()
	if m := readState(a.t, a.s); m.License != a.license || !a.guard.Feature("export") {
		a.t.Errorf("what is authentic was not taken: %s", a.guard.Status())
	}
}

// carried makes a request file, so that there is something to answer.
func (a *attack) carried() {
	a.t.Helper()
	_, err := a.guard.Request(a.t.Context(), client.OpRefresh, client.RequestOptions{})
	check(a.t, err)
	a.nonce = readState(a.t, a.s).Carried.Refresh.ID
}

// answer makes the server answer with what is presented.
func (a *attack) answer(present func()) {
	a.s.vendor.spoil = func(r token.Request, answer *wire.Answer) {
		a.nonce = r.ID
		present()
		*answer = wire.Answer{LicenseID: "lic_1", InstallID: r.InstallID, License: a.license, Keys: a.keys, Status: a.list, Time: a.time}
	}
}
