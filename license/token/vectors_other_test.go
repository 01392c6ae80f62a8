package token_test

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/seed-357fa782/licensed/license"
)

const keySetTyp = "license-keys+jwt"

func keySetVectors() []vector {
	p, h := keySetPayload(), header("anchor", keySetTyp)
	current := jwk("current", signedAt.Add(-30*day), signedAt.Add(370*day))
	all := []string{kidOf("current"), kidOf("next"), kidOf("retired")}
	good := func(name, input string, rank int, kids ...string) vector {
		return vector{Name: name, Form: "keys", Input: input, Rank: rank, Kids: kids}
	}
	bad := func(reason license.Reason, name, input string) vector {
		return vector{Name: name, Form: "keys", Input: input, Reason: reason}
	}
	with := func(old, replacement string) string { return forge("anchor", h, swap(p, old, replacement)) }
	inKey := func(old, replacement string) string { return with(current, swap(current, old, replacement)) }
	unknown := `{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"r","alg":"PS256"},{"kty":"OKP","crv":"Ed448","x":"AA"},` +
		`{"kty":"EC","crv":"P-256","x":1,"y":{}},{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"},{},`
	many := strings.Repeat(`{"kty":"new"},`, 61)
	anchorKey := func(name string) string { return jwk(name, signedAt.Add(-30*day), signedAt.Add(370*day)) }
	return []vector{
		good("by the primary anchor", keySetToken(), 0, all...),
		good("by the standby", forge("standby", header("standby", keySetTyp), p), 1, all...),
		good("expired, which blocks nothing", with(fmt.Sprintf(`"exp":%d,"seq"`, signedAt.Add(390*day).Unix()), fmt.Sprintf(`"exp":%d,"seq"`, signedAt.Add(-9*day).Unix())), 0, all...),
		good("with keys of unknown kinds, which are skipped", with(`"keys":[`, `"keys":[`+unknown), 0, all...),
		good("with unknown members", with(`"seq":7`, `"seq":7,"note":{"a":1}`), 0, all...),
		good("with 64 keys", with(`"keys":[`, `"keys":[`+many), 0, all...),
		good("with a key for encryption, which is skipped", inKey(`"use":"sig"`, `"use":"enc"`), 0, all[1:]...),
		good("with a key for another algorithm, which is skipped", inKey(`"alg":"EdDSA"`, `"alg":"ES256"`), 0, all[1:]...),
		good("with a key by the other name of the algorithm", inKey(`"alg":"EdDSA"`, `"alg":"Ed25519"`), 0, all...),
		good("with a key without alg and use", inKey(`"alg":"EdDSA","use":"sig",`, ""), 0, all...),
		good("without any key", forge("anchor", h, p[:strings.Index(p, `"keys"`)]+`"keys":[]}`), 0),
		good("with the standby among the keys, which is skipped", with(current, anchorKey("standby")+","+current), 0, all...),
		good("with its own anchor among the keys, which is skipped", with(current, anchorKey("anchor")+","+current), 0, all...),
		good("by the standby with the primary among the keys, which is skipped",
			forge("standby", header("standby", keySetTyp), swap(p, current, anchorKey("anchor")+","+current)), 1, all...),
		bad(license.Forged, "signed with its own key", forge("current", header("current", keySetTyp), p)),
		bad(license.Forged, "signed with a key from its header", forge("evil", swap(header("evil", keySetTyp), `{"alg"`, `{"jwk":`+jwk("evil", signedAt, signedAt.Add(day))+`,"alg"`), p)),
		bad(license.Forged, "by another under the kid of the anchor", forge("evil", h, p)),
		bad(license.Forged, "kid missing", forge("anchor", swap(h, `"kid":"`+kidOf("anchor")+`",`, ""), p)),
		bad(license.Forged, "typ of a licence", forge("anchor", header("anchor", licenseTyp), p)),
		bad(license.Forged, "alg none", forge("anchor", swap(h, "EdDSA", "none"), p)),
		bad(license.Forged, "HS256 with the anchor", hs256(publicKey("anchor"), swap(h, "EdDSA", "HS256"), p)),
		bad(license.Damaged, "with 65 keys", with(`"keys":[`, `"keys":[{},`+many)),
		bad(license.Damaged, "a key twice", with(`"keys":[`, `"keys":[`+current+",")),
		bad(license.Damaged, "kid of another key", inKey(kidOf("current"), kidOf("evil"))),
		bad(license.Damaged, "kid missing in a key", inKey(`"kid":"`+kidOf("current")+`",`, "")),
		bad(license.Damaged, "nbf missing in a key", inKey(`"nbf"`, `"was"`)),
		bad(license.Damaged, "exp missing in a key", inKey(`"exp"`, `"was"`)),
		bad(license.Damaged, "exp not after nbf in a key", with(current, jwk("current", signedAt, signedAt))),
		bad(license.Damaged, "x too short", inKey(encode(publicKey("current")), encode(publicKey("current")[:31]))),
		bad(license.Damaged, "x too long", inKey(encode(publicKey("current")), encode(append(publicKey("current"), 0)))),
		bad(license.Damaged, "x twice", inKey(`"x":`, `"x":"AA","x":`)),
		bad(license.Damaged, "X too", inKey(`"x":`, `"X":"AA","x":`)),
		bad(license.Damaged, "x twice in a key of unknown kind", with(`"keys":[`, `"keys":[{"kty":"new","x":1,"x":2},`)),
		bad(license.Damaged, "alg null in a key", inKey(`"alg":"EdDSA"`, `"alg":null`)),
		good("with a use that is no text, which is skipped", inKey(`"use":"sig"`, `"use":7`), 0, all[1:]...),
		good("with a key that is no point of the curve, which signs nothing", with(`"keys":[`, `"keys":[`+noPoint()+`,`), 0, append([]string{noPointKid()}, all...)...),
		bad(license.Damaged, "a key that is text", with(`"keys":[`, `"keys":["",`)),
		bad(license.Damaged, "exp before iat", with(fmt.Sprintf(`"exp":%d,"seq"`, signedAt.Add(390*day).Unix()), `"exp":1,"seq"`)),
		bad(license.Damaged, "seq a fraction", with(`"seq":7`, `"seq":7.5`)),
		bad(license.Damaged, "seq negative", with(`"seq":7`, `"seq":-7`)),
		bad(license.Damaged, "seq huge", with(`"seq":7`, `"seq":9007199254740992`)),
		bad(license.Damaged, "seq twice", with(`"seq":7`, `"seq":7,"seq":8`)),
		bad(license.Damaged, "without seq", with(`"seq":7`, `"was":7`)),
		bad(license.Damaged, "without iss", with(`"iss"`, `"was"`)),
		bad(license.Damaged, "without keys", with(`"keys"`, `"was"`)),
		bad(license.Damaged, "without iat", with(`"iat"`, `"was"`)),
		bad(license.Damaged, "truncated", keySetToken()[:len(keySetToken())-3]),
	}
}

// noPoint is a JWK with 32 bytes of which no key can be made: no point of the curve has y = 2.
func noPoint() string {
	x := encode(append([]byte{2}, make([]byte, 31)...))
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":"%s","kid":"%s","nbf":0,"exp":%d}`, x, noPointKid(), signedAt.Add(day).Unix())
}

func noPointKid() string {
	return thumbprint(append([]byte{2}, make([]byte, 31)...))
}

func requestVectors() []vector {
	h := requestHeader("install")
	code, from := `"code":"`+ownCode.Reveal()+`"`, `"from":"`+kidOf("evil")+`"`
	lic := `"license":"` + licenseToken() + `"`
	send := func(payload string) string { return forge("install", h, payload) }
	good := func(name, payload string) vector {
		return vector{Name: name, Form: "request", Input: send(payload)}
	}
	bad := func(name, field, payload string) vector {
		return vector{Name: name, Form: "request", Input: send(payload), Reason: license.BadRequest, Field: field}
	}
	no := func(reason license.Reason, field, name, input string) vector {
		return vector{Name: name, Form: "request", Input: input, Reason: reason, Field: field}
	}
	p := requestPayload("activate", code)
	with := func(old, replacement string) string { return swap(p, old, replacement) }
	mac := digest(product, "mac", "00:16:3E:00:00:01")
	nine := make([]string, 9)
	for i := range nine {
		nine[i] = `"` + digest(product, "mac", fmt.Sprint(i)) + `"`
	}
	typo := ownCode.Reveal()[:len(ownCode.Reveal())-1] + "0"
	if typo == ownCode.Reveal() {
		typo = typo[:len(typo)-1] + "1"
	}
	vectors := []vector{
		good("activate", p),
		good("activate with the code beside the request", requestPayload("activate", "")),
		good("activate with a typed code", with(ownCode.Reveal(), strings.ToLower(strings.ReplaceAll(ownCode.Reveal(), "-", " ")))),
		good("activate with a marketplace's code", with(ownCode.Reveal(), "PL-any thing")),
		good("refresh", requestPayload("refresh", lic)),
		good("transfer", requestPayload("transfer", code)),
		good("transfer from an install", requestPayload("transfer", code+","+from)),
		good("deactivate", requestPayload("deactivate", lic)),
		good("unknown members", with(`"prev":""`, `"prev":"tok-0","later":[{}]`)),
		good("unknown kinds of digests", with(`{"mac"`, `{"tpm":{"a":1},"mac"`)),
		good("no fingerprint", swap(p, fingerprintPayload(), `{}`)),
		good("an unknown environment", with(`"metal"`, `"jail"`)),
		no("", "", "other name of the algorithm", forge("install", swap(h, "EdDSA", "Ed25519"), p)),
		no(license.Unauthorized, "", "signed by another key", forge("evil", h, p)),
		no(license.Unauthorized, "", "kid of another key", forge("install", swap(h, kidOf("install"), kidOf("evil")), p)),
		no(license.Unauthorized, "", "jwk missing", forge("install", header("install", "license-request+jwt"), p)),
		no(license.Unauthorized, "", "jwk with a private key's name only", forge("install", swap(h, `"x":`, `"d":`), p)),
		no(license.Unauthorized, "", "jwk of another curve", forge("install", swap(h, `"crv":"Ed25519"`, `"crv":"X25519"`), p)),
		no(license.Unauthorized, "", "jwk too short", forge("install", swap(h, encode(publicKey("install")), "AAAA"), p)),
		no(license.Unauthorized, "", "alg none", forge("install", swap(h, "EdDSA", "none"), p)),
		no(license.Unauthorized, "", "HS256 with its own key", hs256(publicKey("install"), swap(h, "EdDSA", "HS256"), p)),
		no(license.Unauthorized, "", "typ of a licence", forge("install", swap(h, "license-request+jwt", licenseTyp), p)),
		no(license.BadRequest, "request", "jwk twice", forge("install", swap(h, `"jwk":`, `"jwk":{},"jwk":`), p)),
		no(license.BadRequest, "request", "crit", forge("install", swap(h, `{"alg"`, `{"crit":["b64"],"alg"`), p)),
		no(license.BadRequest, "request", "truncated", send(p)[:len(send(p))-4]),
		no(license.BadRequest, "request", "empty", ""),
		bad("a name twice", "request", with(`"prev":""`, `"prev":"","prev":""`)),
		bad("Op too", "request", with(`"prev":""`, `"prev":"","Op":"deactivate"`)),
		bad("no JSON", "request", p+"}"),
		bad("op unknown", "op", with(`"activate"`, `"steal"`)),
		bad("op in other case", "op", with(`"activate"`, `"Activate"`)),
		bad("jti empty", "jti", with(`"req-1"`, `""`)),
		bad("jti too long", "jti", with(`"req-1"`, `"`+strings.Repeat("x", 129)+`"`)),
		bad("jti not ASCII", "jti", with(`"req-1"`, `"réq"`)),
		bad("iat a fraction", "iat", with(fmt.Sprintf(`"iat":%d`, signedAt.Unix()), `"iat":1.5`)),
		bad("product empty", "product", with(`"product":"cad-pro"`, `"product":""`)),
		bad("prev not ASCII", "prev", with(`"prev":""`, `"prev":"\u0000"`)),
		bad("prev null", "prev", with(`"prev":""`, `"prev":null`)),
		bad("code with a typing error", "code", with(ownCode.Reveal(), typo)),
		bad("code empty", "code", with(ownCode.Reveal(), "")),
		bad("code a number", "code", with(`"`+ownCode.Reveal()+`"`, "1")),
		bad("code in a refresh", "code", requestPayload("refresh", lic+","+code)),
		bad("license missing in a refresh", "license", requestPayload("refresh", "")),
		bad("license empty in a refresh", "license", requestPayload("refresh", `"license":""`)),
		bad("license missing in a deactivate", "license", requestPayload("deactivate", "")),
		bad("license in an activate", "license", requestPayload("activate", lic)),
		bad("from in an activate", "from", requestPayload("activate", from)),
		bad("from not an install id", "from", requestPayload("transfer", code+`,"from":"me"`)),
		bad("fingerprint a text", "fingerprint", swap(p, fingerprintPayload(), `"x"`)),
		bad("components a list", "fingerprint.components", swap(p, fingerprintPayload(), `{"components":[]}`)),
		bad("components in other case", "fingerprint", with(`"components"`, `"Components"`)),
		bad("mac in other case", "fingerprint.components", with(`"mac"`, `"MAC"`)),
		bad("mac a text", "fingerprint.components.mac", with(`["`+mac+`"]`, `"`+mac+`"`)),
		bad("mac a number", "fingerprint.components.mac", with(`["`+mac+`"]`, `[1]`)),
		bad("mac not a digest", "fingerprint.components.mac", with(mac, "00:16:3E:00:00:01")),
		bad("os not a digest", "fingerprint.components.os", with(digest(product, "os", "ABCDEF0123456789"), "")),
		bad("nine of a kind", "fingerprint.components.mac", with(`"`+mac+`"`, strings.Join(nine, ","))),
		bad("code not a digest", "fingerprint.code", with(`"environment"`, `"code":"HW1","environment"`)),
		bad("salt missing", "fingerprint.salt", with(`"salt":"`+salt(product)+`",`, "")),
		bad("salt of another product", "fingerprint.salt", with(salt(product), salt("cad-lite"))),
		bad("salt not base64url", "fingerprint.salt", with(salt(product), "***")),
		bad("environment too long", "fingerprint.environment", with("metal", strings.Repeat("m", 33))),
	}
	for _, member := range []string{"jti", "iat", "op", "product", "prev", "fingerprint"} {
		vectors = append(vectors, bad("without "+member, member, with(`"`+member+`"`, `"was_`+member+`"`)))
	}
	return vectors
}

func timeVectors() []vector {
	p, typ := timePayload(), "license-time+jwt"
	v := func(name, input, install, nonce string, reason license.Reason) vector {
		return vector{Name: name, Form: "time", Input: input, Install: install, Nonce: nonce, Reason: reason}
	}
	is := func(name, input string, reason license.Reason) vector {
		return v(name, input, kidOf("install"), "req-1", reason)
	}
	by := func(key, payload string) string { return forge(key, header(key, typ), payload) }
	expecting := func(name, input, issuer string, reason license.Reason) vector {
		w := is(name, input, reason)
		w.Issuer = issuer
		return w
	}
	return []vector{
		is("good", by("current", p), ""),
		v("good, of anybody", by("current", p), "", "", ""),
		expecting("by the expected issuer", by("current", p), issuer, ""),
		expecting("by another issuer than expected", by("current", p), "https://else.example", license.Forged),
		v("for another install", by("current", p), kidOf("evil"), "req-1", license.Forged),
		v("in answer to another request", by("current", p), kidOf("install"), "req-2", license.Forged),
		is("under a key that was removed", by("removed", p), license.Forged),
		is("under a retired key", by("retired", p), license.Forged),
		is("under a key of its own", by("install", p), license.Forged),
		is("by another issuer", by("current", swap(p, issuer, "https://evil.example")), license.Forged),
		is("typ of a licence", forge("current", header("current", licenseTyp), p), license.Forged),
		is("a name twice", by("current", swap(p, `"nonce"`, `"nonce":"req-2","nonce"`)), license.Damaged),
		is("Nonce too", by("current", swap(p, `"nonce"`, `"Nonce":"req-2","nonce"`)), license.Damaged),
		is("without nonce", by("current", swap(p, `"nonce"`, `"was"`)), license.Damaged),
		is("without sub", by("current", swap(p, `"sub"`, `"was"`)), license.Damaged),
		is("without iat", by("current", swap(p, `"iat"`, `"was"`)), license.Damaged),
		is("without iss", by("current", swap(p, `"iss"`, `"was"`)), license.Damaged),
		is("iat negative", by("current", swap(p, `"iat":`, `"iat":-`)), license.Damaged),
		is("sub not an install id", by("current", swap(p, kidOf("install"), "me")), license.Damaged),
	}
}

// armor is a PEM block, written out.
func armor(label, content string) string {
	text := base64.StdEncoding.EncodeToString([]byte(content))
	var b strings.Builder
	b.WriteString("-----BEGIN " + label + "-----\n")
	for len(text) > 64 {
		b.WriteString(text[:64] + "\n")
		text = text[64:]
	}
	b.WriteString(text + "\n-----END " + label + "-----\n")
	return b.String()
}

func licenseFile() string {
	return armor("LICENSE", licenseToken()) + armor("LICENSE KEYS", keySetToken()) +
		armor("LICENSE TIME", forge("current", header("current", "license-time+jwt"), timePayload()))
}

func everyLine(s, before, after string) string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	return before + strings.Join(lines, after+"\n"+before) + after + "\n"
}

func fileVectors() []vector {
	good := func(name, input string) vector { return vector{Name: name, Form: "file", Input: input} }
	bad := func(name, input string) vector {
		return vector{Name: name, Form: "file", Input: input, Reason: license.Damaged}
	}
	f, one := licenseFile(), armor("LICENSE", licenseToken())
	body := strings.Split(one, "\n")
	return []vector{
		good("as we write it", f),
		good("licence only", one),
		good("licence last", armor("LICENSE KEYS", keySetToken())+one),
		good("several of each", f+f),
		good("with a status list", f+armor("LICENSE STATUS", keySetToken())),
		good("text around", "Dear customer,\n\nhere is your licence:\n"+f+"\nRegards\n-- \nSales -----BEGIN nothing\n"),
		good("unknown blocks", armor("CERTIFICATE", "x")+"-----BEGIN LICENSE EXTRA-----\n!!!\n-----END LICENSE EXTRA-----\n-----BEGIN OPEN\n"+f),
		good("CRLF", strings.ReplaceAll(f, "\n", "\r\n")),
		good("old Macintosh line ends", strings.ReplaceAll(f, "\n", "\r")),
		good("byte order mark", "\ufeff"+f),
		good("indented", everyLine(f, "    ", "")),
		good("indented with tabs and no-break spaces", everyLine(f, "\t\u00a0", "")),
		good("blanks at line ends", everyLine(f, "", "  \t")),
		good("quoted", everyLine(f, "> > ", " ")),
		good("quoted without blanks", everyLine(f, ">", "")),
		good("signed mail", strings.NewReplacer("-----BEGIN", "- -----BEGIN", "-----END", "- -----END").Replace(f)),
		good("blank lines between", strings.ReplaceAll(f, "\n", "\n\n")),
		good("zero-width spaces and marks of quotation", everyLine(f, "\u200b| ", "\ufeff")),
		bad("a request that is cut short beside a licence", f+"-----BEGIN LICENSE REQUEST-----\nAAAA\n"),
		bad("a blank within a line", strings.Replace(f, "Z", "Z ", 1)),
		good("no final newline", strings.TrimSuffix(f, "\n")),
		good("the answer to a deactivation, without a licence", armor("LICENSE KEYS", keySetToken())+
			armor("LICENSE TIME", forge("current", header("current", "license-time+jwt"), timePayload()))),
		good("keys only", armor("LICENSE KEYS", keySetToken())),
		bad("empty", ""),
		bad("text", "no licence here"),
		bad("a request", armor("LICENSE REQUEST", licenseToken())),
		bad("a bare token", licenseToken()),
		bad("no end", strings.Join(body[:len(body)-2], "\n")+"\n"),
		bad("another end", strings.Replace(one, "END LICENSE", "END LICENSE KEYS", 1)),
		bad("a line missing", strings.Join(append(append([]string{}, body[:2]...), body[3][:10]+body[3][11:]), "\n")+"\n"+strings.Join(body[4:], "\n")),
		bad("not base64", swap(one, body[2], strings.Repeat("*", len(body[2])))),
		bad("stray bits at the end of a block", "-----BEGIN LICENSE-----\nYS5iLmN=\n-----END LICENSE-----\n"),
		good("the same without stray bits, since blocks are all that is read", "-----BEGIN LICENSE-----\nYS5iLmM=\n-----END LICENSE-----\n"),
		bad("not a token", armor("LICENSE", "hello, world")),
		bad("block empty", armor("LICENSE", "")),
	}
}
