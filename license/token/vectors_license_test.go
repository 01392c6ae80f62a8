package token_test

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

const licenseTyp = "license+jwt"

// signed is a licence with these claims, signed as it should be.
func signed(payload string) string { return forge("current", header("current", licenseTyp), payload) }

func licenseVector(name, input string, reason license.Reason) vector {
	return vector{Name: name, Form: "license", Input: input, Product: product, Reason: reason}
}

// forever is the exp of a licence that is never refused for its age.
const forever = `"exp":253402300799`

// expOf is the member exp as it stands in a payload.
func expOf(payload string) string {
	at := strings.Index(payload, `"exp":`)
	return payload[at : at+strings.Index(payload[at:], ",")]
}

// licenseVectors are the licences that are accepted, and those that are
// refused for whom they are from or for.
func licenseVectors() []vector {
	p := licensePayload()
	iat := fmt.Sprintf(`"iat":%d,`, signedAt.Unix())
	at := func(key string, when time.Time) string {
		return forge(key, header(key, licenseTyp), swap(p, iat, fmt.Sprintf(`"iat":%d,`, when.Unix())))
	}
	advisory := func(enforcement, exp string) string {
		return signed(swap(swap(p, `"enforcement":"block"`, `"enforcement":"`+enforcement+`"`), expOf(p), exp))
	}
	others := []vector{
		{Name: "no product expected", Form: "license", Input: licenseToken()},
		{Name: "issuer as expected", Form: "license", Input: licenseToken(), Product: product, Issuer: issuer},
		{Name: "another issuer expected", Form: "license", Input: licenseToken(), Product: product, Issuer: "https://evil.example", Reason: license.Forged},
		{Name: "another product", Form: "license", Input: licenseToken(), Product: "cad-lite", Reason: license.WrongProduct},
		{Name: "another of several products", Form: "license", Input: signed(swap(p, `"aud":"cad-pro"`, `"aud":["a","b"]`)), Product: product, Reason: license.WrongProduct},
	}
	return append(others,
		licenseVector("good", licenseToken(), ""),
		licenseVector("good by the other name of the algorithm", forge("current", swap(header("current", licenseTyp), "EdDSA", "Ed25519"), p), ""),
		licenseVector("good with members in another order and blanks", signed("\t{ "+drop(p[1:len(p)-1], iat)+` , "iat" : `+strconv.FormatInt(signedAt.Unix(), 10)+" } \n"), ""),
		licenseVector("good with unknown members everywhere", forge("current",
			swap(header("current", licenseTyp), `{"alg"`, `{"x5t":1,"cty":["a"],"alg"`),
			swap(swap(swap(p, `"ver":1`, `"ver":1,"later":{"a":[null]}`), `{"iss"`, `{"x":{"y":{}},"iss"`), `"policy":`, `"later":1.5e3,"policy":`)), ""),
		licenseVector("good with unknown kinds of feature values", signed(swap(p, `"tier":"gold"`, `"tier":"gold","a":false,"b":{"c":1},"d":[1],"e":null`)), ""),
		licenseVector("good with unknown kinds of digests", signed(swap(p, `{"disk":[`, `{"tpm":"whatever","disk":[`)), ""),
		licenseVector("good with a critical member that is understood", signed(swap(p, `"ver":1`, `"ver":1,"crit":["status_max_age"],"status_max_age":3600`)), ""),
		licenseVector("good with a status of another mechanism, which is skipped", signed(swap(p, `"lic":{`, `"status":{"identifier_list":{"id":7}},"lic":{`)), ""),
		licenseVector("good with a status list", signed(swap(p, `"lic":{`, `"status":{"status_list":{"idx":3,"uri":"https://licence.example.com/v1/status/1"}},"lic":{"status_max_age":3600,`)), ""),
		licenseVector("good with an array of products", signed(swap(p, `"aud":"cad-pro"`, `"aud":["cad-lite","cad-pro"]`)), ""),
		licenseVector("good without an install key", signed(p[:strings.Index(p, `,"cnf"`)]+"}"), ""),
		licenseVector("good bound to an identification code", signed(p[:strings.Index(p, `"components"`)]+`"code":"`+digest(product, "code", "HW1")+`"}}}`), ""),
		licenseVector("good with critical members that are known", signed(swap(p, `"ver":1`, `"ver":1,"crit":["binding","phases","lease_until","features"]`)), ""),
		licenseVector("good under advisory without an end", advisory("advisory", forever), ""),
		licenseVector("good under degrade without an end", advisory("degrade", forever), ""),
		licenseVector("good with a name written in escapes", signed(swap(p, `"iss"`, `"\u0069ss"`)), ""),
		licenseVector("good under a retired key, signed in its time", at("retired", signedAt.Add(-31*day)), ""),
		licenseVector("good at the first second of its key", at("current", signedAt.Add(-30*day)), ""),
		licenseVector("before the first second of its key", at("current", signedAt.Add(-30*day-time.Second)), license.Forged),
		licenseVector("under a retired key, signed after its time", at("retired", signedAt.Add(-30*day)), license.Forged),
		licenseVector("under a retired key, signed now", at("retired", signedAt), license.Forged),
		licenseVector("under a key that was removed", at("removed", signedAt), license.Forged),
		licenseVector("under an anchor", at("anchor", signedAt), license.Forged),
		licenseVector("by another issuer", signed(swap(p, issuer, "https://evil.example")), license.Forged),
	)
}

// headerVectors are the forgeries that work on the header or the signature.
func headerVectors() []vector {
	h, p, good := header("current", licenseTyp), licensePayload(), licenseToken()
	parts := strings.Split(good, ".")
	forged := func(name, input string) vector { return licenseVector(name, input, license.Forged) }
	with := func(old, replacement string) string { return forge("current", swap(h, old, replacement), p) }
	evil := fmt.Sprintf(`,"jwk":{"kty":"OKP","crv":"Ed25519","x":"%s"}}`, encode(publicKey("evil")))
	return []vector{
		forged("HS256 with the public key", hs256(publicKey("current"), swap(h, "EdDSA", "HS256"), p)),
		forged("HS256 with the public key in base64url", hs256([]byte(encode(publicKey("current"))), swap(h, "EdDSA", "HS256"), p)),
		forged("alg none", encode([]byte(swap(h, "EdDSA", "none")))+"."+parts[1]+"."),
		forged("alg none with a signature", with("EdDSA", "none")),
		forged("alg in other case", with("EdDSA", "eddsa")),
		forged("alg ES256", with("EdDSA", "ES256")),
		forged("alg Ed448", with("EdDSA", "Ed448")),
		forged("alg missing", with(`"alg":"EdDSA",`, "")),
		forged("key from the header", forge("evil", header("evil", licenseTyp)[:len(header("evil", licenseTyp))-1]+evil, p)),
		forged("key from the header under a known kid", forge("evil", h[:len(h)-1]+evil, p)),
		forged("signed by another key under a known kid", forge("evil", h, p)),
		forged("kid of another key of the set", with(kidOf("current"), kidOf("next"))),
		forged("kid missing", with(`"kid":"`+kidOf("current")+`",`, "")),
		forged("kid empty", with(kidOf("current"), "")),
		forged("kid not a thumbprint", with(kidOf("current"), "key-1")),
		forged("typ of a time", with(licenseTyp, "license-time+jwt")),
		forged("typ JWT", with(licenseTyp, "JWT")),
		forged("typ in other case", with(licenseTyp, "License+JWT")),
		forged("typ missing", with(`,"typ":"license+jwt"`, "")),
		licenseVector("alg null", with(`"EdDSA"`, "null"), license.Damaged),
		licenseVector("jwk not an object", with(`{"alg"`, `{"jwk":"x","alg"`), license.Damaged),
		licenseVector("an unknown name twice in the header", with(`{"alg"`, `{"x":1,"x":2,"alg"`), license.Damaged),
		licenseVector("X twice in the jwk of the header", with(`{"alg"`, `{"jwk":{"x":"","X":""},"alg"`), license.Damaged),
		licenseVector("header with blanks and in another order", with(`{"alg":"EdDSA",`, ` { "cty" : "x" , "alg" : "EdDSA" , `), ""),
		licenseVector("alg not text", with(`"EdDSA"`, "1"), license.Damaged),
		licenseVector("crit", with(`{"alg"`, `{"crit":["exp"],"alg"`), license.Damaged),
		licenseVector("crit empty", with(`{"alg"`, `{"crit":[],"alg"`), license.Damaged),
		licenseVector("b64", with(`{"alg"`, `{"b64":false,"alg"`), license.Damaged),
		licenseVector("header with alg twice", with(`{"alg"`, `{"alg":"none","alg"`), license.Damaged),
		licenseVector("header with Alg", with(`{"alg"`, `{"Alg":"none","alg"`), license.Damaged),
		licenseVector("header with kid by a Kelvin sign", with(`{"alg"`, `{"\u212aid":"x","alg"`), license.Damaged),
		licenseVector("header that is an array", forge("current", "["+h+"]", p), license.Damaged),
		forged("content changed", parts[0]+"."+encode([]byte(swap(p, `"machines":2`, `"machines":9`)))+"."+parts[2]),
		forged("content written anew with the old signature", parts[0]+"."+encode([]byte(" "+p))+"."+parts[2]),
		forged("header of another token", encode([]byte(header("next", licenseTyp)))+"."+parts[1]+"."+parts[2]),
		forged("signature changed", parts[0]+"."+parts[1]+"."+flip(parts[2])),
		forged("signature with the order of the curve added", parts[0]+"."+parts[1]+"."+malleable(parts[2])),
		forged("signature all zero", parts[0]+"."+parts[1]+"."+encode(make([]byte, 64))),
		forged("a signed time", forge("current", header("current", "license-time+jwt"), timePayload())),
	}
}

// malleable adds the order of the curve's group to the second half of a signature, which a
// verifier that does not look would take for the same (RFC 8032 section 5.1.7).
func malleable(sig string) string {
	raw, err := decodeSegment(sig)
	if err != nil {
		panic(err)
	}
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	half := slices.Clone(raw[32:])
	slices.Reverse(half)
	half = new(big.Int).Add(new(big.Int).SetBytes(half), order).FillBytes(half)
	slices.Reverse(half)
	return encode(append(raw[:32:32], half...))
}

// flip changes the first character, which holds six bits of the signature.
func flip(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

// licenseFormVectors are tokens and JSON that are not as they must be.
func licenseFormVectors() []vector {
	h, p, good := header("current", licenseTyp), licensePayload(), licenseToken()
	parts := strings.Split(good, ".")
	damaged := func(name, input string) vector { return licenseVector(name, input, license.Damaged) }
	with := func(old, replacement string) string { return signed(swap(p, old, replacement)) }
	nested := func(n int) string {
		return signed(swap(p, `{"iss"`, `{"x":`+strings.Repeat("[", n-1)+strings.Repeat("]", n-1)+`,"iss"`))
	}
	std := base64.RawStdEncoding.EncodeToString([]byte(swap(p, "CS1", "CS??>>~~")))
	stray := parts[2][:85] + string(rune(parts[2][85]+1)) // 64 bytes leave four bits unused
	return []vector{
		damaged("empty", ""),
		damaged("two parts", parts[0]+"."+parts[1]),
		damaged("four parts", good+"."),
		damaged("five parts, as of encryption", good+"."+parts[0]+"."+parts[1]),
		damaged("truncated in the signature", good[:len(good)-7]),
		damaged("truncated in the content", good[:len(good)/2]),
		damaged("truncated to the header", parts[0]),
		damaged("signature missing", parts[0]+"."+parts[1]+"."),
		damaged("signature of 65 bytes", parts[0]+"."+parts[1]+"."+encode(make([]byte, 65))),
		damaged("padding", good+"=="),
		damaged("stray bits in the last character", parts[0]+"."+parts[1]+"."+stray),
		damaged("line break within", good[:300]+"\n"+good[300:]),
		damaged("carriage return within", good[:300]+"\r"+good[300:]),
		damaged("line break at the end", good+"\n"),
		damaged("blank before", " "+good),
		damaged("plain base64 in the content", parts[0]+"."+std+"."+parts[2]),
		damaged("longer than 64 KiB", signed(swap(p, `{"iss"`, `{"x":"`+strings.Repeat("x", 64<<10)+`","iss"`))),
		damaged("content empty", signed("")),
		damaged("content an array", signed("["+p+"]")),
		damaged("content null", signed("null")),
		damaged("something after the content", signed(p+"{}")),
		damaged("zero byte after the content", signed(p+"\x00")),
		damaged("comma at the end of an object", with(`,"cnf"`, `,,"cnf"`)),
		damaged("single quotes", with(`"iss"`, `'iss'`)),
		damaged("comment", with(`"iss"`, `/**/"iss"`)),
		damaged("not UTF-8", with("Ärzte", "\xc4rzte")),
		damaged("name not UTF-8", with(`{"iss"`, "{\"\xff\":1,\"iss\"")),
		damaged("byte order mark", signed("\ufeff"+p)),
		damaged("no-break space between", with(`{"iss"`, "{\u00a0\"iss\"")),
		damaged("NaN", with(`{"iss"`, `{"x":NaN,"iss"`)),
		damaged("Infinity", with(`{"iss"`, `{"x":-Infinity,"iss"`)),
		damaged("a number with a plus", with(`{"iss"`, `{"x":+1,"iss"`)),
		damaged("a number that begins with its point", with(`{"iss"`, `{"x":.5,"iss"`)),
		damaged("a number that ends with its point", with(`{"iss"`, `{"x":5.,"iss"`)),
		damaged("a hexadecimal number", with(`{"iss"`, `{"x":0x10,"iss"`)),
		damaged("digits of another script", with(`{"iss"`, `{"x":1٣,"iss"`)),
		licenseVector("good with numbers that nothing can hold", with(`{"iss"`, `{"x":[1e999,-0,0.5E-400,`+strings.Repeat("9", 5000)+`],"iss"`), ""),
		licenseVector("good with names that mean something to a language", with(`"export":true`, `"export":true,"__proto__":true,"constructor":1,"toString":"x"`), ""),
		damaged("a name that means something to a language twice", with(`"export":true`, `"export":true,"__proto__":true,"__proto__":1`)),
		licenseVector("good with a character in two halves", with("Ärzte", `\ud83d\ude00`), ""),
		damaged("two halves the wrong way round", with("Ärzte", `\ude00\ud83d`)),
		damaged("half a character in a name", with(`{"iss"`, `{"\ud800":1,"iss"`)),
		damaged("half a character in what is unknown", with(`{"iss"`, `{"x":["\udc00"],"iss"`)),
		damaged("a surrogate in UTF-8", with("Ärzte", "\xed\xa0\x80")),
		damaged("half a character", with("Ärzte", `\ud800`)),
		damaged("half a character and another", with("Ärzte", `\ud800\u0041`)),
		damaged("control character in a text", with("Ärzte", "\x01")),
		damaged("unknown escape", with("Ärzte", `\x41`)),
		damaged("iss twice", with(`{"iss"`, `{"iss":"https://evil.example","iss"`)),
		damaged("iss twice, once in escapes", with(`{"iss"`, `{"\u0069ss":"https://evil.example","iss"`)),
		damaged("Iss too", with(`{"iss"`, `{"Iss":"https://evil.example","iss"`)),
		damaged("ISS instead", with(`"iss"`, `"ISS"`)),
		damaged("iss with a long s", with(`{"iss"`, `{"iſs":"https://evil.example","iss"`)),
		damaged("lic twice", with(`"lic":`, `"lic":{},"lic":`)),
		damaged("machines twice", with(`"machines":2`, `"machines":2,"machines":9`)),
		damaged("Machines too", with(`"machines":2`, `"machines":2,"Machines":9`)),
		damaged("block_at in other case", with(`"block_at"`, `"Block_At"`)),
		damaged("policy twice", with(`"policy":"fuzzy"`, `"policy":"fuzzy","policy":"none"`)),
		damaged("Mac beside mac", with(`{"disk"`, `{"Mac":[],"disk"`)),
		damaged("a feature twice", with(`"export":true`, `"export":true,"export":99`)),
		damaged("a name twice in what is unknown", with(`{"iss"`, `{"x":[{"a":1,"b":2,"a":3}],"iss"`)),
		damaged("a name twice among many", with(`{"iss"`, `{"x":{`+manyNames(40)+`,"n7":1},"iss"`)),
		damaged("X twice in cnf", with(`"cnf":{"jwk":{`, `"cnf":{"jwk":{"X":"",`)),
		licenseVector("good with many names", with(`{"iss"`, `{"x":{`+manyNames(40)+`},"iss"`), ""),
		licenseVector("good with names that differ in case and mean nothing", with(`"export":true`, `"export":true,"Export":true`), ""),
		licenseVector("good nested 16 deep", nested(16), ""),
		damaged("nested 17 deep", nested(17)),
		damaged("nested 10000 deep", nested(10000)),
		damaged("never closed", signed(strings.Repeat(`{"x":`, 16))),
		damaged("header nested 17 deep", forge("current", swap(h, `{"alg"`, `{"x":`+strings.Repeat("[", 16)+strings.Repeat("]", 16)+`,"alg"`), p)),
	}
}

func manyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(`"n%d":%d`, i, i)
	}
	return strings.Join(names, ",")
}

// licenseClaimVectors are claims that are missing or hold what they must not.
func licenseClaimVectors() []vector {
	p := licensePayload()
	damaged := func(name, input string) vector { return licenseVector(name, input, license.Damaged) }
	with := func(old, replacement string) string { return signed(swap(p, old, replacement)) }
	iat := strconv.FormatInt(signedAt.Unix(), 10)
	whole := func(name, value string) vector {
		return damaged("iat "+name, with(`"iat":`+iat, `"iat":`+value))
	}
	date := func(member string, d time.Duration) string {
		return fmt.Sprintf(`"%s":%d`, member, signedAt.Add(d).Unix())
	}
	vectors := []vector{
		whole("a fraction", iat+".0"), whole("with an exponent", "1e9"), whole("huge", "1e400"), whole("of many digits", strings.Repeat("9", 400)),
		whole("negative", "-1"), whole("minus zero", "-0"), whole("after the year 9999", "253402300800"), whole("text", `"`+iat+`"`), whole("null", "null"),
		whole("true", "true"), whole("with a zero before", "0"+iat), whole("an array", "["+iat+"]"),
		damaged("another version", with(`"ver":1`, `"ver":2`)),
		damaged("version 0", with(`"ver":1`, `"ver":0`)),
		damaged("version as text", with(`"ver":1`, `"ver":"1"`)),
		damaged("a critical member that is not known", with(`"ver":1`, `"ver":1,"crit":["binding","dongle"]`)),
		damaged("a critical member in other case", with(`"ver":1`, `"ver":1,"crit":["Binding"]`)),
		damaged("a status list without an index", with(`"lic":{`, `"status":{"status_list":{"uri":"https://licence.example.com/v1/status/1"}},"lic":{`)),
		damaged("a status list without an address", with(`"lic":{`, `"status":{"status_list":{"idx":0}},"lic":{`)),
		damaged("a status list with an empty address", with(`"lic":{`, `"status":{"status_list":{"idx":0,"uri":""}},"lic":{`)),
		damaged("a status list with a negative index", with(`"lic":{`, `"status":{"status_list":{"idx":-1,"uri":"https://licence.example.com/v1/status/1"}},"lic":{`)),
		damaged("a status list with two indexes", with(`"lic":{`, `"status":{"status_list":{"idx":1,"idx":2,"uri":"https://licence.example.com/v1/status/1"}},"lic":{`)),
		damaged("a critical member that is not one of lic", with(`"ver":1`, `"ver":1,"crit":["status"]`)),
		damaged("crit not a list", with(`"ver":1`, `"ver":1,"crit":"binding"`)),
		damaged("no audience", with(`"aud":"cad-pro"`, `"aud":[]`)),
		damaged("audience a number", with(`"aud":"cad-pro"`, `"aud":["cad-pro",1]`)),
		damaged("issuer empty", with(`"iss":"`+issuer+`"`, `"iss":""`)),
		damaged("issuer with a character that cannot be printed", with(`"iss":"`+issuer, `"iss":"`+issuer+`\u0007`)),
		damaged("issuer with a right-to-left mark", with(`"iss":"`+issuer, `"iss":"`+issuer+`\u202e`)),
		damaged("issuer with the replacement character", with(`"iss":"`+issuer, `"iss":"`+issuer+`\ufffd`)),
		damaged("issuer with a no-break space", with(`"iss":"`+issuer, `"iss":"`+issuer+`\u00a0`)),
		damaged("licence id too long", with(`"lic_01"`, `"`+strings.Repeat("x", 257)+`"`)),
		licenseVector("good with a licence id as long as it may be", with(`"lic_01"`, `"`+strings.Repeat("é", 128)+`"`), ""),
		damaged("one of several products empty", with(`"aud":"cad-pro"`, `"aud":["cad-pro",""]`)),
		damaged("65 products", with(`"aud":"cad-pro"`, `"aud":["cad-pro"`+strings.Repeat(`,"x"`, 64)+`]`)),
		damaged("crit with 65 names", with(`"ver":1`, `"ver":1,"crit":["binding"`+strings.Repeat(`,"phases"`, 64)+`]`)),
		damaged("version as a fraction", with(`"ver":1`, `"ver":1.0`)),
		damaged("trial as text", with(`"ver":1`, `"ver":1,"trial":"true"`)),
		damaged("status null", with(`"lic":{`, `"status":null,"lic":{`)),
		damaged("65 kinds of digests", with(`{"disk"`, `{`+manyNames(62)+`,"disk"`)),
		damaged("a salt too long", with(`"salt":"`+salt(product), `"salt":"`+encode(make([]byte, 65)))),
		damaged("a status list with an address too long", with(`"lic":{`, `"status":{"status_list":{"idx":0,"uri":"https://licence.example.com/`+strings.Repeat("x", 2304)+`"}},"lic":{`)),
		damaged("jti empty", with(`"tok-1"`, `""`)),
		damaged("jti with a blank", with(`"tok-1"`, `"tok 1"`)),
		damaged("jti too long", with(`"tok-1"`, `"`+strings.Repeat("x", 129)+`"`)),
		damaged("warn_at after expires_at", with(date("warn_at", 335*day), date("warn_at", 365*day+time.Second))),
		damaged("expires_at after block_at", with(date("expires_at", 365*day), date("expires_at", 380*day+time.Second))),
		damaged("block_at after exp", with(date("block_at", 380*day), date("block_at", 380*day+time.Second))),
		damaged("lease_until after exp", with(date("lease_until", 14*day), date("lease_until", 380*day+time.Second))),
		licenseVector("good with all dates the same", signed(swap(swap(swap(swap(p, date("warn_at", 335*day), date("warn_at", 380*day)),
			date("expires_at", 365*day), date("expires_at", 380*day)), date("lease_until", 14*day), date("lease_until", 380*day)), date("refresh_after", day), date("refresh_after", 380*day))), ""),
		damaged("an end under advisory", with(`"enforcement":"block"`, `"enforcement":"advisory"`)),
		damaged("an end under degrade", with(`"enforcement":"block"`, `"enforcement":"degrade"`)),
		damaged("an end a second early under degrade", signed(swap(swap(p, `"enforcement":"block"`, `"enforcement":"degrade"`), expOf(p), `"exp":253402300798`))),
		damaged("an enforcement that is not known", with(`"enforcement":"block"`, `"enforcement":"beg"`)),
		licenseVector("good with a policy that is not known", with(`"policy":"fuzzy"`, `"policy":"fuzzy-9"`), ""),
		damaged("no policy", with(`"policy":"fuzzy"`, `"policy":""`)),
		damaged("a digest too short", with(digest(product, "disk", "WD-123"), "abc")),
		damaged("a digest with line breaks", with(digest(product, "disk", "WD-123"), `AAAAAAAAAAAAAAAAAAAA\n\n`)),
		damaged("a digest with stray bits", with(digest(product, "disk", "WD-123"), strings.Repeat("A", 21)+"B")),
		damaged("digests not a list", with(`["`+digest(product, "disk", "WD-123")+`"]`, `"`+digest(product, "disk", "WD-123")+`"`)),
		damaged("no salt", with(`"salt":"`+salt(product)+`",`, "")),
		damaged("salt padded", with(salt(product), salt(product)+"==")),
		damaged("features a list", with(`"features":{"export":true,"projects":10,"tier":"gold"}`, `"features":["export"]`)),
		damaged("257 features", with(`"features":{"export":true,"projects":10,"tier":"gold"}`, `"features":{`+manyNames(257)+`}`)),
		licenseVector("good with 256 features", with(`"features":{"export":true,"projects":10,"tier":"gold"}`, `"features":{`+manyNames(256)+`}`), ""),
		damaged("machines negative", with(`"machines":2`, `"machines":-2`)),
		damaged("install key too short", with(encode(publicKey("install")), "AAAA")),
		damaged("install key of another curve", with(`"crv":"Ed25519"`, `"crv":"X25519"`)),
		damaged("install key with nbf as text", with(`"cnf":{"jwk":{`, `"cnf":{"jwk":{"nbf":"1",`)),
		damaged("cnf without a jwk", with(`"cnf":{"jwk"`, `"cnf":{"jkt"`)),
	}
	for _, member := range []string{
		"iss", "sub", "aud", "jti", "iat", "nbf", "exp", "lic", "ver", "phases", "warn_at", "expires_at", "block_at", "enforcement",
		"refresh_after", "lease_until", "binding", "policy",
	} {
		vectors = append(vectors, damaged("without "+member, with(`"`+member+`"`, `"was_`+member+`"`)))
	}
	return vectors
}

// phaseVectors say where a good licence stands at some instants. Its lease is
// the only thing that ends within the first year.
func phaseVectors() []vector {
	var vectors []vector
	p := licensePayload()
	lease := fmt.Sprintf(`"lease_until":%d`, signedAt.Add(14*day).Unix())
	leaseless := signed(swap(p, lease, fmt.Sprintf(`"lease_until":%d`, signedAt.Add(380*day).Unix())))
	for _, c := range []struct {
		name  string
		input string
		at    time.Duration
		phase license.Phase
	}{
		{"before nbf", leaseless, -10*time.Minute - time.Second, license.PhaseBlocked},
		{"at nbf", leaseless, -10 * time.Minute, license.PhaseValid},
		{"before warn_at", leaseless, 335*day - time.Second, license.PhaseValid},
		{"at warn_at", leaseless, 335 * day, license.PhaseWarning},
		{"at expires_at", leaseless, 365 * day, license.PhaseGrace},
		{"before block_at", leaseless, 380*day - time.Second, license.PhaseGrace},
		{"at block_at", leaseless, 380 * day, license.PhaseBlocked},
		{"before the last quarter of the lease", licenseToken(), 252*time.Hour - time.Second, license.PhaseValid},
		{"in the last quarter of the lease", licenseToken(), 252 * time.Hour, license.PhaseGrace},
		{"at lease_until", licenseToken(), 14 * day, license.PhaseBlocked},
	} {
		v := licenseVector("phase "+c.name, c.input, "")
		v.Now, v.Phase = signedAt.Add(c.at).Unix(), c.phase
		vectors = append(vectors, v)
	}
	return vectors
}
