package client_test

import (
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// none is where a forgery is an authentic thing of the past, and nothing is
// remembered by which it could be told.
const none license.Reason = ""

// refusals are the reasons for which a forgery is refused: by a Verifier that
// has the newest key set compiled in, by Guard.Import, and as the answer of a
// server.
type refusals struct{ verified, imported, answered license.Reason }

var (
	forged  = refusals{license.Forged, license.Forged, license.Forged}
	damaged = refusals{license.Damaged, license.Damaged, license.Damaged}
)

// forgeries are those that succeeded elsewhere, against licences, key sets and
// signed times.
var forgeries = map[string]struct {
	forge func(*attack)
	want  refusals
}{
	"HS256 with the public key": {func(a *attack) {
		a.license = hs256(public("sign-1"), header("sign-1", licenseTyp), a.body())
	}, forged},
	"HS256 with the public key in base64url": {func(a *attack) {
		a.license = hs256([]byte(base64url(public("sign-1"))), header("sign-1", licenseTyp), a.body())
	}, forged},
	"HS256 with the public key in PEM": {func(a *attack) {
		a.license = hs256(spki(public("sign-1")), header("sign-1", licenseTyp), a.body())
	}, forged},
	"HS256 with the anchor, for a key set": {func(a *attack) {
		a.under("stranger", hs256(public("anchor-2"), header("anchor-2", keysTyp), keysBody(8, "stranger")))
	}, forged},
	"alg none": {func(a *attack) {
		a.license = unsigned("none", header("sign-1", licenseTyp), a.body(), "")
	}, forged},
	"alg None, with the signature of another licence": {func(a *attack) {
		a.license = unsigned("None", header("sign-1", licenseTyp), a.body(), a.heldLicense[strings.LastIndexByte(a.heldLicense, '.')+1:])
	}, forged},
	"alg none, for a key set": {func(a *attack) {
		a.under("stranger", unsigned("none", header("anchor-2", keysTyp), keysBody(8, "stranger"), ""))
	}, forged},
	"key taken from the header": {func(a *attack) {
		a.license = jws("stranger", withHeader(header("stranger", licenseTyp), `"jwk":`+jwkOf(public("stranger"))), a.body())
	}, forged},
	"key taken from the header, under a kid that is known": {func(a *attack) {
		a.license = jws("stranger", withHeader(header("sign-1", licenseTyp), `"jwk":`+jwkOf(public("stranger"))), a.body())
	}, forged},
	"key fetched from where the header says": {func(a *attack) {
		a.license = jws("stranger", withHeader(header("stranger", licenseTyp), `"jku":"https://evil.example/jwks.json","x5u":"https://evil.example/x.pem"`), a.body())
	}, forged},
	"key found by a path in kid": {func(a *attack) {
		a.license = jws("stranger", swap(a.t, header("stranger", licenseTyp), kidOf(public("stranger")), "../../../../dev/null"), a.body())
	}, forged},
	"key taken from the header, for a key set": {func(a *attack) {
		a.under("stranger", jws("stranger", withHeader(header("stranger", keysTyp), `"jwk":`+jwkOf(public("stranger"))), keysBody(8, "stranger")))
	}, forged},
	"a bundle signed with its own key": {func(a *attack) {
		a.under("stranger", signed("stranger", keysTyp, keysBody(8, "stranger")))
	}, forged},
	"a bundle under the kid of the anchor": {func(a *attack) {
		a.under("stranger", jws("stranger", header("anchor-2", keysTyp), keysBody(8, "stranger")))
	}, forged},
	"a key set by a signing key": {func(a *attack) {
		a.under("stranger", signed("sign-1", keysTyp, keysBody(8, "stranger")))
	}, forged},
	"a licence by the anchor": {func(a *attack) {
		a.license = signed("anchor-2", licenseTyp, a.body())
	}, forged},
	"a licence under a removed key": {func(a *attack) {
		a.license = signed("stolen", licenseTyp, a.body())
	}, forged},
	"an older key set, and a licence under a key removed since": {func(a *attack) {
		a.under("stolen", a.older)
	}, forged},
	"a set by a demoted anchor": {func(a *attack) {
		a.under("stolen", signed("anchor-1", keysTyp, keysBody(1000, "stolen")))
	}, forged},
	"a licence of another product": {func(a *attack) {
		a.with(`"aud":"`+product+`"`, `"aud":"viewer"`)
	}, refusals{license.WrongProduct, license.WrongProduct, license.WrongProduct}},
	"a licence of other products, one spelt nearly so": {func(a *attack) {
		a.with(`"aud":"`+product+`"`, `"aud":["CAD-PRO","cad-pro ","viewer"]`)
	}, refusals{license.WrongProduct, license.WrongProduct, license.WrongProduct}},
	"a licence of another install": {func(a *attack) {
		a.license = signed("sign-1", licenseTyp, licenseBody(a.now, public("install-x")))
	}, refusals{none, license.MachineMismatch, license.MachineMismatch}},
	"a signature over re-ordered JSON": {func(a *attack) {
		a.license = reordered(a.t, a.license)
	}, forged},
	"a signature over JSON with another blank": {func(a *attack) {
		parts := strings.Split(a.license, ".")
		a.license = parts[0] + "." + base64url([]byte(a.body()+" ")) + "." + parts[2]
	}, forged},
	"a signature made over": {func(a *attack) {
		a.license = resigned(a.t, a.license)
	}, forged},
	"one form for another": {func(a *attack) {
		a.license = a.time
	}, forged},
	"duplicate claims": {func(a *attack) {
		a.with(`"iss":`, `"aud":"viewer","iss":`)
	}, damaged},
	"duplicate claims, one in escapes": {func(a *attack) {
		a.with(`"iss":`, `"\u0061ud":"viewer","iss":`)
	}, damaged},
	"duplicate claims, one in other case": {func(a *attack) {
		a.with(`"machines":9`, `"machines":1,"Machines":9`)
	}, damaged},
	"duplicate header members": {func(a *attack) {
		a.license = jws("sign-1", withHeader(header("sign-1", licenseTyp), `"alg":"none"`), a.body())
	}, damaged},
	"a huge number": {func(a *attack) {
		a.with(`"ver":1`, `"ver":1,"status_max_age":1e400`)
	}, damaged},
	"a huge whole number": {func(a *attack) {
		a.with(`"machines":9`, `"machines":`+strings.Repeat("9", 10000))
	}, damaged},
	"an end after the end of time": {func(a *attack) {
		a.with(`"lease_until":253402300799`, `"lease_until":253402300800`)
	}, damaged},
	"a number that overflows into another": {func(a *attack) {
		a.with(`"idx":5`, `"idx":18446744073709551615`)
	}, damaged},
	"deep nesting": {func(a *attack) {
		a.with(`"ver":1`, `"ver":1,"x":`+nested(20000))
	}, damaged},
	"nesting that is one too deep": {func(a *attack) {
		a.with(`"ver":1`, `"ver":1,"x":`+nested(token.MaxDepth-1))
	}, damaged},
	"deep nesting, never closed": {func(a *attack) {
		a.license = signed("sign-1", licenseTyp, strings.Repeat(`{"lic":`, 5000))
	}, damaged},
	"a truncated token": {func(a *attack) {
		a.license = a.license[:len(a.license)-5]
	}, damaged},
	"a crit header": {func(a *attack) {
		a.license = jws("sign-1", withHeader(header("sign-1", licenseTyp), `"crit":["exp"],"exp":1`), a.body())
	}, damaged},
	"a crit header without a name": {func(a *attack) {
		a.license = jws("sign-1", withHeader(header("sign-1", licenseTyp), `"crit":[]`), a.body())
	}, damaged},
	"a crit header for content that is not encoded": {func(a *attack) {
		a.license = jws("sign-1", withHeader(header("sign-1", licenseTyp), `"b64":false`), a.body())
	}, damaged},
	"an older licence re-imported": {func(a *attack) {
		a.license = a.oldLicense
	}, refusals{none, license.Older, license.Older}},
	"an older licence re-imported with the time of then": {func(a *attack) {
		a.license, a.time, a.keys = a.oldLicense, a.oldTime, a.older
	}, refusals{none, license.Older, license.Forged}},
	"an old signed time": {func(a *attack) {
		a.license, a.time = a.heldLicense, a.oldTime
	}, refusals{none, none, license.Forged}},
	"an old signed time, written for the request": {func(a *attack) {
		a.license, a.time = a.heldLicense, signed("stolen", timeTyp, timeBody(epoch.Add(-time.Hour), a.install, a.nonce))
	}, refusals{none, none, license.Forged}},
	"a signed time re-ordered": {func(a *attack) {
		a.license, a.time = a.heldLicense, reordered(a.t, a.time)
	}, refusals{none, none, license.Forged}},
}

func TestForgeries(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(forgeries)) {
		c := forgeries[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAttack(t, license.StatusValid)
			a.carried()
			before := a.standing(a.guard)

			if a.present(c.forge); proves(a) {
				a.time = "" // no part of the forgery
			}
			a.wantNotVerified(c.want.verified)
			wantRefused(t, a.guard.Import(a.file()), c.want.imported)
			a.wantUnmoved(before)

			floor := time.Unix(before.memory.Floor, 0)
			a.answer(func() {
				if a.present(c.forge); proves(a) {
					floor = a.now
				}
			})
			wantRefused(t, a.guard.Refresh(t.Context()), c.want.answered)
			a.wantProven(before, floor)

			// What is authentic is taken afterwards as it was before.
			a.present(nil)
			check(t, a.guard.Import(a.file()))
			a.wantTaken()
			a.s.clock.add(time.Hour)
			a.now = a.s.clock.now()
			a.answer(func() { a.present(nil) })
			check(t, a.guard.Refresh(t.Context()))
			a.wantTaken()
		})
	}
}

// wantNotVerified fails if a Verifier that has the newest key set takes what is
// presented, or one that has none, where it could tell.
func (a *attack) wantNotVerified(want license.Reason) {
	a.t.Helper()
	set, err := token.VerifyKeySet(a.keys, anchors())
	outdated := err == nil && set.Raw != a.held
	for _, known := range []string{a.held, ""} {
		if known == "" && outdated {
			continue // nothing tells a new install that there is a newer one
		}
		v := newVerifier()
		v.Keys = known
		l, err := v.Verify(a.file())
		wantRefused(a.t, err, want)
		if (l == nil) != (err != nil) {
			a.t.Errorf("licence %v and error %v", l, err)
		}
	}
}

// listForgeries are those against a status list, by which an install that was
// revoked would live again: what is wrong with the list by itself, in a file or
// fetched. Beside a licence nothing is said about it.
var listForgeries = map[string]struct {
	list              func(*attack) string
	imported, fetched license.Reason
}{
	"an older status list": {func(a *attack) string {
		return signed("sign-1", listTyp, listBody(epoch.Add(time.Hour), lst(2, 0)))
	}, license.Older, none},
	"HS256 with the public key": {func(a *attack) string {
		return hs256(public("sign-1"), header("sign-1", listTyp), listBody(a.now, lst(2, 0)))
	}, license.Forged, license.Forged},
	"alg none": {func(a *attack) string {
		return unsigned("none", header("sign-1", listTyp), listBody(a.now, lst(2, 0)), "")
	}, license.Forged, license.Forged},
	"key taken from the header": {func(a *attack) string {
		return jws("stranger", withHeader(header("stranger", listTyp), `"jwk":`+jwkOf(public("stranger"))), listBody(a.now, lst(2, 0)))
	}, license.Forged, license.Forged},
	"under a removed key": {func(a *attack) string {
		return signed("stolen", listTyp, listBody(a.now, lst(2, 0)))
	}, license.Forged, license.Forged},
	"re-ordered": {func(a *attack) string { return reordered(a.t, a.heldList) }, license.Forged, license.Forged},
	"of another address": {func(a *attack) string {
		return signed("sign-1", listTyp, swap(a.t, listBody(a.listedAt(), lst(2, 0)), listURI, listURI+"2"))
	}, license.Conflict, license.Conflict},
	"of the same address by another issuer": {func(a *attack) string {
		return signed("sign-1", listTyp, swap(a.t, listBody(a.now, lst(2, 0)), `"iss":"`+issuer, `"iss":"https://rival.example`))
	}, license.Forged, license.Forged},
	"a licence for a list": {func(a *attack) string { return a.heldLicense }, license.Forged, license.Forged},
	"a crit header": {func(a *attack) string {
		return jws("sign-1", withHeader(header("sign-1", listTyp), `"crit":["zip"],"zip":"DEF"`), listBody(a.now, lst(2, 0)))
	}, license.Damaged, license.Damaged},
	"duplicate claims": {func(a *attack) string {
		return signed("sign-1", listTyp, swap(a.t, listBody(a.now, lst(2, 0)), `"lst":`, `"lst":"`+lst(2, 0x55)+`","lst":`))
	}, license.Damaged, license.Damaged},
	"of one bit, by which places shift": {func(a *attack) string {
		return signed("sign-1", listTyp, swap(a.t, listBody(a.now, lst(2, 0)), `"bits":2`, `"bits":1`))
	}, license.Damaged, license.Damaged},
	"a huge number": {func(a *attack) string {
		return signed("sign-1", listTyp, swap(a.t, listBody(a.now, lst(2, 0)), `"ttl":900`, `"ttl":`+strings.Repeat("9", 400)))
	}, license.Damaged, license.Damaged},
	"deep nesting": {func(a *attack) string {
		return signed("sign-1", listTyp, swap(a.t, listBody(a.now, lst(2, 0)), `"ttl":900`, `"ttl":900,"x":`+nested(20000)))
	}, license.Damaged, license.Damaged},
	"truncated": {func(a *attack) string {
		whole := lst(2, 0)
		return signed("sign-1", listTyp, listBody(a.now, whole[:len(whole)-6]))
	}, license.Damaged, license.Damaged},
	"a zip bomb in lst": {func(a *attack) string {
		return signed("sign-1", listTyp, listBody(a.now, bomb()))
	}, license.Damaged, license.Damaged},
}

// bomb is 30 MB in 40 KB, which is as much as fits into a token.
var bomb = sync.OnceValue(func() string { return lst(30<<20, 0) })

// listedAt is when the list that is held was signed.
func (a *attack) listedAt() time.Time { return a.now.Add(-time.Hour) }

func TestListForgeries(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(listForgeries)) {
		c := listForgeries[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAttack(t, license.StatusRevoked)
			forged := c.list(a)
			before := a.standing(a.guard)
			if before.status.Reason != license.Revoked {
				t.Fatalf("%s", before.status)
			}
			inFile := func(lists ...string) []byte {
				return append(file(a.held, a.heldLicense), token.File{Statuses: lists}.Marshal()...)
			}
			for _, lists := range [][]string{{a.heldList, forged}, {forged, a.heldList}} {
				if st := lic(t, newVerifier(), inFile(lists...)).Check(a.now); st.Reason != license.Revoked {
					t.Errorf("verified: %s", st)
				}
			}
			wantRefused(t, a.guard.Import(armoured("LICENSE STATUS", forged)), c.imported)
			a.wantUnmoved(before)
			check(t, a.guard.Import(inFile(forged)))
			a.wantUnmoved(before)
			a.s.vendor.respond = func(r *http.Request) (*http.Response, error) {
				if r.URL.Path == "/base"+wire.PathKeys {
					return response(200, wire.TypeJWT, []byte(a.older)), nil
				}
				return response(200, wire.TypeStatusList, []byte(forged)), nil
			}
			wantRefused(t, a.guard.RefreshStatus(t.Context()), c.fetched)
			a.wantUnmoved(before)

			check(t, a.guard.Import(armoured("LICENSE STATUS", signed("sign-1", listTyp, listBody(a.now, lst(2, 0))))))
			wantListed(t, a.guard, none)
		})
	}
}

// What a bomb costs does not follow its size.
func TestBombCostsLittle(t *testing.T) {
	a := newAttack(t, license.StatusValid)
	a.present(func(a *attack) { a.list, a.time = signed("sign-1", listTyp, listBody(a.now, bomb())), "" })
	v := newVerifier()
	for name, read := range map[string]func() error{
		"Verify": func() error { _, err := v.Verify(a.file()); return err },
		"Import": func() error { return a.guard.Import(a.file()) },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		check(t, read())
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 20<<20 {
			t.Errorf("%s allocates %d bytes", name, grown)
		}
	}
}

// A file that is cut anywhere is damaged. Only where it is cut between two
// blocks nobody can tell that there was more, and what is whole in it counts.
func TestTruncatedFiles(t *testing.T) {
	a := newAttack(t, license.StatusValid)
	a.carried()
	a.present(func(a *attack) { a.list = a.heldList })
	before := a.standing(a.guard)
	whole := a.file()
	var enough, enoughHere []int // for anybody, and for who has the key set
	for n := range len(whole) {
		l, err := newVerifier().Verify(whole[:n])
		if err == nil {
			if enough = append(enough, n); l.Claims().Raw != a.license {
				t.Fatalf("cut at %d it is another licence", n)
			}
		} else if l != nil || license.ReasonOf(err) != license.Damaged {
			t.Fatalf("cut at %d: %v %v", n, l, err)
		}
		if f, err := token.ParseFile(whole[:n]); err == nil && len(f.Licenses) > 0 {
			enoughHere = append(enoughHere, n)
			continue
		}
		wantReason(t, a.guard.Import(whole[:n]), license.Damaged)
	}
	a.wantUnmoved(before)
	// From the end of a block, with or without its line break, until the next begins.
	const gap = len("\n-----BEGIN LICENSE STATUS-----")
	if n := len(enough); n == 0 || n > 2*gap || len(enoughHere) > 3*gap || enoughHere[0] != len(armoured("LICENSE", a.license))-1 {
		t.Errorf("cut at %v it verifies, at %v it is a file", enough, enoughHere)
	}
	check(t, a.guard.Import(whole[:enoughHere[0]]))
	a.wantTaken()
}
