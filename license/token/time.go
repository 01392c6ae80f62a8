package token

import (
	"encoding/json"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

type timeClaims struct {
	Issuer   string `json:"iss"`
	IssuedAt int64  `json:"iat"`
	Subject  string `json:"sub"`
	Nonce    string `json:"nonce"`
}

// SignTime signs the time with which a request is answered. Raw of t does not
// count.
func SignTime(t Time, key SigningKey) (string, error) {
	if f := t.check(); f != nil {
		return "", formTime.unsignable(f)
	}
	payload, err := json.Marshal(timeClaims{
		Issuer: t.Issuer, IssuedAt: t.IssuedAt.Unix(), Subject: t.InstallID, Nonce: t.Nonce,
	})
	if err != nil {
		return "", license.Errorf(license.Internal, "the signed time was not signed").WithCause(err)
	}
	return formTime.sign(payload, key, "")
}

// VerifyTime checks a signed time: signed by a key of the set that was valid
// at its iat, issued by the set's issuer, for this install and in answer to
// the request with the jti nonce.
//
// An empty installID or nonce is not compared. A time that was checked so is
// authentic, and may be old or somebody else's: it proves that its instant has
// passed and may raise a floor, never lower one.
//
// The reasons are Forged, also for a time that answers another request, and
// Damaged.
func VerifyTime(raw string, keys KeySet, installID, nonce string) (Time, error) {
	return VerifyTimeFor(raw, keys, ExpectTime{InstallID: installID, Nonce: nonce})
}

// ExpectTime is what a verifier wants a signed time to be. What is "" is not
// compared.
type ExpectTime struct {
	Issuer    string // iss, beyond being the key set's
	InstallID string // sub
	Nonce     string // jti of the request that it answers
}

// VerifyTimeFor is VerifyTime that compares the issuer as well.
func VerifyTimeFor(raw string, keys KeySet, want ExpectTime) (Time, error) {
	t, f := verifyTime(raw, keys)
	switch {
	case f != nil:
	case want.Issuer != "" && t.Issuer != want.Issuer:
		f = forgery("its issuer is not the expected one")
	case want.InstallID != "" && t.InstallID != want.InstallID:
		f = forgery("it is for another install")
	case want.Nonce != "" && t.Nonce != want.Nonce:
		f = forgery("it answers another request")
	}
	if f != nil {
		return Time{}, formTime.err(f)
	}
	return t, nil
}

func verifyTime(raw string, keys KeySet) (Time, *fault) {
	e, f := formTime.open(raw)
	if f != nil {
		return Time{}, f
	}
	key, f := keys.signer(e)
	if f != nil {
		return Time{}, f
	}
	var c timeClaims
	if f := decode(e.payload, timeShape, &c); f != nil {
		return Time{}, f
	}
	t := Time{
		Issuer: c.Issuer, IssuedAt: time.Unix(c.IssuedAt, 0).UTC(), InstallID: c.Subject, Nonce: c.Nonce, Raw: raw,
	}
	if f := t.check(); f != nil {
		return Time{}, f
	}
	if t.Issuer != keys.Issuer {
		return Time{}, forgery("its issuer is not that of the key set")
	}
	return t, key.validAt(t.IssuedAt)
}

// check judges what a time says, whoever made it.
func (t Time) check() *fault {
	f := checkName("iss", t.Issuer, maxIssuer)
	if f == nil {
		f = checkInstants(stamp{"iat", t.IssuedAt})
	}
	if f == nil && !isThumbprint(t.InstallID) {
		f = malformed("sub", "is not an install id")
	}
	if f == nil {
		f = checkID("nonce", t.Nonce)
	}
	return f
}
