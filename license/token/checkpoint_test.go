package token_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

const checkpointType = "audit-checkpoint+jwt"

func checkpointHead() license.AuditHead {
	return license.AuditHead{Seq: 12, Hash: [32]byte{1, 2, 3}}
}

func checkpointPayload() string {
	return fmt.Sprintf(`{"iss":"%s","iat":%d,"seq":12,"hash":"%s"}`, issuer, signedAt.Unix(), checkpointHead().HashText())
}

func TestCheckpoint(t *testing.T) {
	want := token.Checkpoint{Issuer: issuer, IssuedAt: signedAt, Head: checkpointHead()}
	raw, err := token.SignCheckpoint(want, signingKey(t, "current"))
	if err != nil {
		t.Fatal(err)
	}
	if forged := forge("current", header("current", checkpointType), checkpointPayload()); raw != forged {
		t.Errorf("the token is\n%s, want\n%s", raw, forged)
	}
	got, err := token.VerifyCheckpoint(raw, keySet(t))
	if err != nil {
		t.Fatal(err)
	}
	want.Raw, want.KeyID = raw, kidOf("current")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]token.Checkpoint{
		"issuer":   {IssuedAt: signedAt, Head: checkpointHead()},
		"time":     {Issuer: issuer, IssuedAt: time.Unix(-1, 0), Head: checkpointHead()},
		"no entry": {Issuer: issuer, IssuedAt: signedAt},
		"far":      {Issuer: issuer, IssuedAt: signedAt, Head: license.AuditHead{Seq: 1 << 53}},
	} {
		_, err := token.SignCheckpoint(c, signingKey(t, "current"))
		if wantReason(t, err, license.Internal); t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestCheckpointRefused(t *testing.T) {
	head, payload := header("current", checkpointType), checkpointPayload()
	for name, test := range map[string]struct {
		raw  string
		want license.Reason
	}{
		"other type":     {forge("current", header("current", "license+jwt"), payload), license.Forged},
		"other key":      {forge("next", head, payload), license.Forged},
		"removed key":    {forge("removed", header("removed", checkpointType), payload), license.Forged},
		"retired key":    {forge("retired", header("retired", checkpointType), payload), license.Forged},
		"an anchor":      {forge("anchor", header("anchor", checkpointType), payload), license.Forged},
		"other issuer":   {forge("current", head, swap(payload, issuer, "https://evil.example")), license.Forged},
		"hash short":     {forge("current", head, swap(payload, checkpointHead().HashText(), checkpointHead().HashText()[4:])), license.Damaged},
		"hash long":      {forge("current", head, swap(payload, checkpointHead().HashText(), checkpointHead().HashText()+"AAAA")), license.Damaged},
		"hash hex":       {forge("current", head, swap(payload, checkpointHead().HashText(), strings.Repeat("0", 64))), license.Damaged},
		"no hash":        {forge("current", head, `{"iss":"x","iat":1,"seq":12}`), license.Damaged},
		"no position":    {forge("current", head, swap(payload, `"seq":12`, `"seq":0`)), license.Damaged},
		"negative":       {forge("current", head, swap(payload, `"seq":12`, `"seq":-1`)), license.Damaged},
		"a fraction":     {forge("current", head, swap(payload, `"seq":12`, `"seq":1.5`)), license.Damaged},
		"in other case":  {forge("current", head, swap(payload, `"seq":12`, `"seq":12,"Seq":13`)), license.Damaged},
		"member twice":   {forge("current", head, swap(payload, `"seq":12`, `"seq":12,"seq":13`)), license.Damaged},
		"not a token":    {"x", license.Damaged},
		"of another day": {forge("current", head, swap(payload, fmt.Sprint(signedAt.Unix()), fmt.Sprint(signedAt.Add(-40*24*time.Hour).Unix()))), license.Forged},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := token.VerifyCheckpoint(test.raw, keySet(t))
			wantReason(t, err, test.want)
		})
	}
}

func FuzzCheckpoint(f *testing.F) {
	keys := keySet(f)
	f.Add(forge("current", header("current", checkpointType), checkpointPayload()))
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := token.VerifyCheckpoint(raw, keys)
		allowed(t, err, license.Forged, license.Damaged)
		if err == nil && c.Head.Seq < 1 {
			t.Errorf("accepted: %+v", c)
		}
	})
}
