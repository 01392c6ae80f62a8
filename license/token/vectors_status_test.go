package token_test

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"strings"

	"github.com/seed-357fa782/licensed/license"
)

const (
	listURI = issuer + "/v1/status/1"
	listTyp = "statuslist+jwt"
)

// exampleList is the example of two bits in the IETF's Token Status List:
// twelve statuses in the bytes c9 44 f9.
const exampleList = "eNo76fITAAPfAgc"

var exampleStatuses = []int{1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3}

func listPayload() string {
	return fmt.Sprintf(`{"iss":"%s","sub":"%s","iat":%d,"exp":%d,"ttl":900,"status_list":{"bits":2,"lst":"%s"}}`,
		issuer, listURI, signedAt.Unix(), signedAt.Add(day).Unix(), exampleList)
}

// deflated is a list of n zero bytes.
func deflated(n int) string {
	var buf bytes.Buffer
	w := zlib.NewWriter(&buf)
	_, _ = w.Write(make([]byte, n))
	_ = w.Close()
	return encode(buf.Bytes())
}

func listVectors() []vector {
	p := listPayload()
	v := func(name, input, uri string, reason license.Reason) vector {
		return vector{Name: name, Form: "list", Input: input, URI: uri, Reason: reason}
	}
	is := func(name, input string, reason license.Reason) vector { return v(name, input, listURI, reason) }
	by := func(key, payload string) string { return forge(key, header(key, listTyp), payload) }
	with := func(old, replaced string) string { return by("current", swap(p, old, replaced)) }
	damaged := func(name, old, replaced string) vector { return is(name, with(old, replaced), license.Damaged) }
	lst := func(name, list string) vector { return damaged(name, exampleList, list) }
	good := is("good", by("current", p), "")
	good.Statuses = exampleStatuses
	elsewhere := is("by another issuer than expected", by("current", p), license.Forged)
	elsewhere.Issuer = "https://else.example"
	whole, _ := strings.CutSuffix(deflated(1<<20), "=")
	return []vector{
		good,
		v("good, of any address", by("current", p), "", ""),
		is("expired long ago, which proves what it says all the same", with(fmt.Sprint(signedAt.Add(day).Unix()), fmt.Sprint(signedAt.Unix()+1)), ""),
		is("with claims that are not known", with(`"ttl"`, `"aggregation_uri":"https://licence.example.com/lists","ttl"`), ""),
		is("as long as a list may be", with(exampleList, whole), ""),
		v("of another address", by("current", p), issuer+"/v1/status/2", license.Forged),
		elsewhere,
		is("under a key that was removed", by("removed", p), license.Forged),
		is("under a retired key, signed after its end", by("retired", p), license.Forged),
		is("under a key of its own", by("install", p), license.Forged),
		is("under the anchor", by("anchor", p), license.Forged),
		is("by another issuer", with(issuer+`","sub`, `https://evil.example","sub`), license.Forged),
		is("typ of a licence", forge("current", header("current", licenseTyp), p), license.Forged),
		is("alg none", encode([]byte(`{"alg":"none","kid":"`+kidOf("current")+`","typ":"`+listTyp+`"}`))+"."+encode([]byte(p))+"."+encode(make([]byte, 64)), license.Forged),
		is("another content under the signature", tampered(by("current", p), p, swap(p, exampleList, deflated(3))), license.Forged),
		damaged("without sub", `"sub"`, `"was"`),
		damaged("without iat", `"iat"`, `"was"`),
		damaged("without exp", `"exp"`, `"was"`),
		damaged("without ttl", `"ttl"`, `"was"`),
		damaged("without status_list", `"status_list"`, `"was"`),
		damaged("without lst", `"lst"`, `"was"`),
		damaged("exp at iat", fmt.Sprint(signedAt.Add(day).Unix()), fmt.Sprint(signedAt.Unix())),
		damaged("exp before iat", fmt.Sprint(signedAt.Add(day).Unix()), fmt.Sprint(signedAt.Unix()-1)),
		damaged("ttl zero", `"ttl":900`, `"ttl":0`),
		damaged("ttl negative", `"ttl":900`, `"ttl":-900`),
		damaged("one bit each", `"bits":2`, `"bits":1`),
		damaged("eight bits each", `"bits":2`, `"bits":8`),
		damaged("bits as text", `"bits":2`, `"bits":"2"`),
		damaged("lst twice", `"lst"`, `"lst":"AA","lst"`),
		damaged("LST too", `"lst"`, `"LST":"AA","lst"`),
		lst("lst not base64url", "eNo7+6fITAAPfAgc"),
		lst("lst with padding", exampleList+"="),
		lst("lst not zlib", "AAAAAAAA"),
		lst("lst cut short", exampleList[:8]),
		lst("lst with a wrong checksum", exampleList[:len(exampleList)-2]+"AA"),
		lst("lst with something after it", "eNo76fITAAPfAgcA"),
		lst("lst empty", ""),
		lst("lst of no statuses", deflated(0)),
		lst("lst that inflates to more than a list may be", deflated(1<<20+1)),
		lst("a zip bomb in lst", deflated(30<<20)),
	}
}

// tampered is a token with another content, its signature as it was.
func tampered(tok, old, replaced string) string {
	return strings.Replace(tok, encode([]byte(old)), encode([]byte(replaced)), 1)
}
