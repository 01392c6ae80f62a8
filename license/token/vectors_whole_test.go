package token_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
)

// runWhole verifies a file as a product does, and judges what is in it.
func runWhole(t *testing.T, v vector) error {
	t.Helper()
	verifier := client.Verifier{Anchors: anchors, Product: v.Product, Issuer: v.Issuer, Keys: v.Minimum}
	l, err := verifier.Verify([]byte(v.Input))
	if err != nil {
		return err
	}
	if v.JTI == "" || v.Now == 0 || v.Usable == nil {
		t.Fatal("the vector does not say enough")
	}
	if l.ID() != v.JTI {
		t.Errorf("jti %q, want %q", l.ID(), v.JTI)
	}
	st := l.Check(time.Unix(v.Now, 0))
	if st.Usable != *v.Usable || st.Phase != v.Phase || st.Reason != v.Why {
		t.Errorf("usable %v, phase %q, why %q; want %v, %q, %q", st.Usable, st.Phase, st.Reason, *v.Usable, v.Phase, v.Why)
	}
	if v.Match != nil {
		if r := license.Match(l.Claims().Binding, license.Fingerprint{Components: v.Components, Code: v.Code}); r.OK != *v.Match {
			t.Errorf("match %v, want %v", r.OK, *v.Match)
		}
	}
	return nil
}

// keySetOf is a key set with these keys, and the licence's issuer.
func keySetOf(anchor string, seq int, keys ...string) string {
	jwks := make([]string, len(keys))
	for i, name := range keys {
		jwks[i] = jwk(name, signedAt.Add(-30*day), signedAt.Add(370*day))
	}
	return forge(anchor, header(anchor, keySetTyp), fmt.Sprintf(`{"iss":"%s","iat":%d,"exp":%d,"seq":%d,"keys":[%s]}`,
		issuer, signedAt.Add(-5*day).Unix(), signedAt.Add(390*day).Unix(), seq, strings.Join(jwks, ",")))
}

func keysBlock(raw string) string { return armor("LICENSE KEYS", raw) }

// wholeVectors are whole files: which key set, which licence and which list of
// several counts, and what that comes to.
func wholeVectors() []vector {
	return append(wholeTrust(), append(wholeStatus(), wholeMachines()...)...)
}

// refusedWhole is a file that is refused, goodWhole one whose licence is good
// an hour after it was signed.
func refusedWhole(name string, reason license.Reason, input string) vector {
	return vector{Name: name, Form: "verify", Input: input, Product: product, Reason: reason}
}

func goodWhole(name, input string) vector {
	return vector{
		Name: name, Form: "verify", Input: input, Product: product,
		JTI: "tok-1", Now: signedAt.Add(time.Hour).Unix(), Phase: license.PhaseValid, Usable: new(true),
	}
}

func (v vector) minimum(raw string) vector { v.Minimum = raw; return v }

func wholeTrust() []vector {
	p, one := licensePayload(), armor("LICENSE", licenseToken())
	iat := fmt.Sprintf(`"iat":%d`, signedAt.Unix())
	second := armor("LICENSE", signed(swap(swap(p, "tok-1", "tok-2"), iat, fmt.Sprintf(`"iat":%d`, signedAt.Unix()+1))))
	sameTime := armor("LICENSE", signed(swap(p, "tok-1", "tok-2")))
	other := armor("LICENSE", signed(swap(p, `"aud":"cad-pro"`, `"aud":"cad-lite"`)))
	evil := armor("LICENSE", forge("evil", header("evil", licenseTyp), p))
	later := goodWhole("the licence issued last counts", second+one+keysBlock(keySetToken()))
	later.JTI = "tok-2"
	lastInFile := goodWhole("the licence issued last counts, wherever it stands", one+second+keysBlock(keySetToken()))
	lastInFile.JTI = "tok-2"
	elsewhere := refusedWhole("another issuer than expected", license.Forged, licenseFile())
	elsewhere.Issuer = "https://else.example"
	return []vector{
		goodWhole("good", licenseFile()),
		goodWhole("good, the key set before the licence", keysBlock(keySetToken())+one),
		goodWhole("good by the key set known before", one).minimum(keySetToken()),
		goodWhole("a newer key set than the one known before", licenseFile()).minimum(keySetOf("anchor", 6, "next")),
		goodWhole("an older key set than the one known before", one+keysBlock(keySetOf("anchor", 6, "next"))).minimum(keySetToken()),
		goodWhole("the same seq as the one known before, which stays", one+keysBlock(keySetOf("anchor", 7, "next"))).minimum(keySetToken()),
		goodWhole("a key set of the standby, which outranks any seq", one+keysBlock(keySetOf("anchor", 99, "next"))+keysBlock(keySetOf("standby", 1, "current"))),
		goodWhole("a key set that does not verify, beside one that does", one+keysBlock(keySetOf("evil", 99, "next"))+keysBlock(keySetToken())),
		goodWhole("a licence for another product beside it", other+one+keysBlock(keySetToken())),
		goodWhole("a forged licence beside it", evil+one+keysBlock(keySetToken())),
		goodWhole("of two licences of one second the first", one+sameTime+keysBlock(keySetToken())),
		later, lastInFile, elsewhere,
		refusedWhole("the key is gone from a newer key set in the file", license.Forged, licenseFile()+keysBlock(keySetOf("anchor", 8, "next"))),
		refusedWhole("the key is gone from the key set known before", license.Forged, licenseFile()).minimum(keySetOf("anchor", 8, "next")),
		refusedWhole("the primary's key set after the standby's was seen", license.Forged, licenseFile()).minimum(keySetOf("standby", 1, "next")),
		refusedWhole("the primary's key set beside the standby's", license.Forged, licenseFile()+keysBlock(keySetOf("standby", 1, "next"))),
		refusedWhole("the key set known before is none", license.Forged, licenseFile()).minimum(keySetOf("evil", 7, "current")),
		refusedWhole("no key set", license.Damaged, one),
		refusedWhole("no key set that verifies", license.Forged, one+keysBlock(keySetOf("evil", 7, "current"))),
		refusedWhole("no licence", license.Damaged, keysBlock(keySetToken())),
		refusedWhole("a licence for another product", license.WrongProduct, other+keysBlock(keySetToken())),
		refusedWhole("a licence for another product and a forged one", license.Forged, other+evil+keysBlock(keySetToken())),
		refusedWhole("a damaged licence and one for another product", license.Damaged, armor("LICENSE", signed("{}"))+other+keysBlock(keySetToken())),
	}
}

// listed is a file with a licence at index idx of the list, and these lists.
func listed(idx int, more string, lists ...string) string {
	p := swap(licensePayload(), `"lic":{`, fmt.Sprintf(`"status":{"status_list":{"idx":%d,"uri":"%s"}},"lic":{%s`, idx, listURI, more))
	file := armor("LICENSE", signed(p)) + keysBlock(keySetToken())
	for _, raw := range lists {
		file += armor("LICENSE STATUS", raw)
	}
	return file
}

// listAt is a status list signed at some time after signedAt, good for a day.
func listAt(after time.Duration, lst string) string {
	iat := signedAt.Add(after)
	p := fmt.Sprintf(`{"iss":"%s","sub":"%s","iat":%d,"exp":%d,"ttl":900,"status_list":{"bits":2,"lst":"%s"}}`,
		issuer, listURI, iat.Unix(), iat.Add(day).Unix(), lst)
	return forge("current", header("current", listTyp), p)
}

func wholeStatus() []vector {
	empty, list := deflated(3), listAt(0, exampleList)
	at := func(after time.Duration, phase license.Phase, why license.Reason, usable bool, v vector) vector {
		v.Now, v.Phase, v.Why, v.Usable = signedAt.Add(after).Unix(), phase, why, &usable
		return v
	}
	blocked := func(name string, why license.Reason, input string) vector {
		return at(time.Hour, license.PhaseBlocked, why, false, goodWhole(name, input))
	}
	const hour = `"status_max_age":3600,`
	under := func(enforcement string, idx int, lists ...string) string {
		p := swap(swap(licensePayload(), `"enforcement":"block"`, `"enforcement":"`+enforcement+`"`), expOf(licensePayload()), forever)
		p = swap(p, `"lic":{`, fmt.Sprintf(`"status":{"status_list":{"idx":%d,"uri":"%s"}},"lic":{`, idx, listURI))
		file := armor("LICENSE", signed(p)) + keysBlock(keySetToken())
		for _, raw := range lists {
			file += armor("LICENSE STATUS", raw)
		}
		return file
	}
	removed := strings.Replace(list, strings.Split(list, ".")[2], strings.Split(forge("removed", header("current", listTyp), listPayload()), ".")[2], 1)
	elsewhere := forge("current", header("current", listTyp), swap(listPayload(), listURI, issuer+"/v1/status/2"))
	month := 15 * day
	return []vector{
		goodWhole("listed as valid", listed(2, "", list)),
		blocked("listed as revoked", license.Revoked, listed(0, "", list)),
		blocked("listed as suspended", license.Suspended, listed(1, "", list)),
		blocked("listed under the value 3, which is revoked too", license.Revoked, listed(3, "", list)),
		goodWhole("an index beyond the end of the list, of which it says nothing", listed(12, "", list)),
		goodWhole("an index far beyond the end of the list", listed(1<<31-1, "", list)),
		blocked("an expired list, which proves what it says", license.Revoked, listed(0, "", listAt(-20*day, exampleList))),
		goodWhole("the newest list counts", listed(0, "", listAt(-time.Hour, exampleList), listAt(0, empty), listAt(-2*time.Hour, exampleList))),
		blocked("the newest list counts, wherever it stands", license.Revoked, listed(0, "", listAt(-time.Hour, empty), list, listAt(-2*time.Hour, empty))),
		goodWhole("a list of another address, which says nothing", listed(0, "", elsewhere)),
		goodWhole("a forged list, which is as good as absent", listed(0, "", removed)),
		goodWhole("a damaged list, which is as good as absent", listed(0, "", listAt(0, "AAAA"))),
		blocked("no list where one is wanted", license.LeaseOver, listed(2, hour)),
		at(-time.Minute, license.PhaseBlocked, license.LeaseOver, false, goodWhole("no list where one is wanted, by a clock that is a little behind", listed(2, hour))),
		goodWhole("a list as fresh as is wanted", listed(2, hour, listAt(30*time.Minute, exampleList))),
		at(time.Hour+15*time.Minute-time.Second, license.PhaseValid, "", true, goodWhole("before the last quarter of a list's age", listed(2, hour, listAt(30*time.Minute, exampleList)))),
		at(time.Hour+15*time.Minute, license.PhaseGrace, "", true, goodWhole("in the last quarter of a list's age", listed(2, hour, listAt(30*time.Minute, exampleList)))),
		at(time.Hour+30*time.Minute, license.PhaseBlocked, license.LeaseOver, false, goodWhole("a list older than is wanted", listed(2, hour, listAt(30*time.Minute, exampleList)))),
		at(day, license.PhaseBlocked, license.LeaseOver, false, goodWhole("a list that has expired, though it might be older", listed(2, `"status_max_age":864000,`, list))),
		blocked("an index beyond the end of a list that is wanted", license.LeaseOver, listed(12, hour, list)),
		goodWhole("a list wanted of no age, which is none", listed(2, `"status_max_age":0,`)),
		at(month, license.PhaseBlocked, license.LeaseOver, true, goodWhole("blocked under degrade", under("degrade", 2, list))),
		at(month, license.PhaseBlocked, license.LeaseOver, true, goodWhole("blocked under advisory", under("advisory", 2, list))),
		blocked("revoked under advisory", license.Revoked, under("advisory", 0, list)),
		blocked("suspended under degrade", license.Suspended, under("degrade", 1, list)),
		at(380*day, license.PhaseBlocked, license.Expired, false, goodWhole("past its end", licenseFile())),
		at(-11*time.Minute, license.PhaseBlocked, license.NotYetValid, false, goodWhole("before its beginning", licenseFile())),
	}
}

// wholeMachines are machines before a licence. The licence of the tests binds a
// disk, two network cards and a system.
func wholeMachines() []vector {
	disk, mac, system := license.Digest(digest(product, "disk", "WD-123")), license.Digest(digest(product, "mac", "00:16:3E:00:00:02")), license.Digest(digest(product, "os", "ABCDEF0123456789"))
	strange := license.Digest(digest(product, "os", "ANOTHER"))
	of := func(kinds ...any) license.Components {
		c := license.Components{}
		for i := 0; i < len(kinds); i += 2 {
			kind := kinds[i].(license.Kind)
			c[kind] = append(c[kind], kinds[i+1].(license.Digest))
		}
		return c
	}
	many := func(own license.Digest) []license.Digest {
		out := []license.Digest{own}
		for i := range 12 {
			out = append(out, license.Digest(encode([]byte{byte(i), 15: 0})))
		}
		return out
	}
	machine := func(name, policy string, ok bool, c license.Components) vector {
		p := swap(licensePayload(), `"policy":"fuzzy"`, `"policy":"`+policy+`"`)
		v := goodWhole(name, armor("LICENSE", signed(p))+keysBlock(keySetToken()))
		v.Components, v.Match = c, &ok
		return v
	}
	two := func(name string, ok bool, c license.Components) vector {
		p := swap(licensePayload(), `"policy":"fuzzy"`, `"policy":"exact"`)
		mac := fmt.Sprintf(`"mac":["%s","%s"],`, digest(product, "mac", "00:16:3E:00:00:01"), digest(product, "mac", "00:16:3E:00:00:02"))
		v := goodWhole(name, armor("LICENSE", signed(drop(p, mac)))+keysBlock(keySetToken()))
		v.Components, v.Match = c, &ok
		return v
	}
	typed := func(name, code string, ok bool) vector {
		p := licensePayload()
		p = p[:strings.Index(p, `"components"`)] + `"code":"` + digest(product, "code", "HW1") + `"}}}`
		v := goodWhole(name, armor("LICENSE", signed(p))+keysBlock(keySetToken()))
		v.Match = &ok
		if code != "" {
			v.Code = license.Digest(digest(product, "code", code))
		}
		return v
	}
	return []vector{
		machine("fuzzy: the disk", "fuzzy", true, of(license.KindDisk, disk)),
		machine("fuzzy: a network card is not enough", "fuzzy", false, of(license.KindMAC, mac)),
		machine("fuzzy: the system, other disks", "fuzzy", true, of(license.KindOS, system, license.KindDisk, strange)),
		machine("fuzzy: another machine", "fuzzy", false, of(license.KindOS, strange, license.KindDisk, strange, license.KindMAC, strange)),
		machine("fuzzy: nothing to compare", "fuzzy", false, nil),
		machine("fuzzy: the digest of another kind", "fuzzy", false, of(license.KindOS, disk)),
		machine("fuzzy: one of many that counts", "fuzzy", true, license.Components{license.KindDisk: append(many(disk)[:8:8], strange)[:8]}),
		machine("fuzzy: one of many beyond the eight that count", "fuzzy", false, license.Components{license.KindDisk: many(disk)}),
		machine("loose: a network card", "loose", true, of(license.KindMAC, mac)),
		machine("exact: all", "exact", true, of(license.KindDisk, disk, license.KindMAC, mac, license.KindOS, system)),
		machine("exact: one kind changed", "exact", true, of(license.KindDisk, strange, license.KindMAC, mac, license.KindOS, system)),
		machine("exact: one kind changed and one absent", "exact", false, of(license.KindDisk, strange, license.KindOS, system)),
		machine("exact: two kinds absent", "exact", false, of(license.KindOS, system)),
		two("exact: one of two kinds changed", false, of(license.KindDisk, strange, license.KindOS, system)),
		two("exact: one of two kinds absent", true, of(license.KindOS, system)),
		machine("none: any machine", "none", true, of(license.KindOS, strange)),
		machine("a policy that is not known", "fuzzy-9", false, of(license.KindDisk, disk, license.KindMAC, mac, license.KindOS, system)),
		typed("the identification code", "HW1", true),
		typed("another identification code", "HW2", false),
		typed("no identification code", "", false),
	}
}
