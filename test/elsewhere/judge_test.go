package elsewhere_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// question is a vector of license/token/testdata, or a mutant of one.
type question struct {
	Name string `json:"name,omitzero"`
	Form string `json:"form"`

	Input      string             `json:"input"`
	Bytes      []byte             `json:"bytes,omitzero"` // of a file that is not text, in place of Input
	Product    string             `json:"product,omitzero"`
	Issuer     string             `json:"issuer,omitzero"`
	Install    string             `json:"install,omitzero"`
	Nonce      string             `json:"nonce,omitzero"`
	URI        string             `json:"uri,omitzero"`
	Minimum    string             `json:"minimum,omitzero"`
	Now        *int64             `json:"now,omitzero"`
	Components license.Components `json:"components,omitzero"`
	Code       license.Digest     `json:"code,omitzero"`

	Binding *binding `json:"binding,omitzero"` // of the form match
	Salt    string   `json:"salt"`             // of the form digest, with the next two
	Kind    string   `json:"kind"`
	Value   string   `json:"value"`

	Reason string `json:"reason"` // what the vector wants
}

type binding struct {
	Policy     license.Policy     `json:"policy"`
	Components license.Components `json:"components,omitzero"`
	Code       license.Digest     `json:"code,omitzero"`
}

// document is what all questions are judged under.
var document struct {
	Anchors json.RawMessage `json:"anchors"`
	Keys    string          `json:"keys"`
}

// vectors are the questions of license/token/testdata/vectors.json, without the
// requests, which only a server verifies.
var vectors []question

func TestMain(m *testing.M) {
	if err := load(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func load() error {
	data, err := os.ReadFile("../../license/token/testdata/vectors.json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return err
	}
	var file struct{ Vectors []question }
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	for _, v := range file.Vectors {
		if v.Form != "request" {
			vectors = append(vectors, v)
		}
	}
	return nil
}

// judgement is what our own verifier makes of questions.
type judgement struct {
	anchors token.Anchors
	keys    token.KeySet
}

func newJudgement(t *testing.T) judgement {
	t.Helper()
	anchors, err := token.ParseAnchors(document.Anchors)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := token.VerifyKeySet(document.Keys, anchors)
	if err != nil {
		t.Fatal(err)
	}
	return judgement{anchors, keys}
}

func (j judgement) of(t *testing.T, q question) answer {
	t.Helper()
	a, err := j.answer(q)
	if err != nil {
		return answer{Reason: string(license.ReasonOf(err))}
	}
	return a
}

func (j judgement) answer(q question) (a answer, err error) {
	switch q.Form {
	case "license":
		return j.license(q)
	case "verify":
		return j.whole(q)
	case "keys":
		ks, err := token.VerifyKeySet(q.Input, j.anchors)
		for _, k := range ks.Keys {
			a.Kids = append(a.Kids, k.ID)
		}
		a.Rank = ks.Rank
		return a, err
	case "list":
		l, err := token.VerifyStatusList(q.Input, j.keys, token.ExpectStatusList{Issuer: q.Issuer, URI: q.URI})
		for i := range min(l.Len(), 64) {
			status, _ := l.At(i)
			a.Statuses = append(a.Statuses, int(status))
		}
		return a, err
	case "time":
		at, err := token.VerifyTimeFor(q.Input, j.keys, token.ExpectTime{Issuer: q.Issuer, InstallID: q.Install, Nonce: q.Nonce})
		a.Proven = at.IssuedAt.Unix()
		return a, err
	case "file":
		f, err := token.ParseFile(q.file())
		a.Tokens = []int{len(f.Licenses), len(f.KeySets), len(f.Statuses), len(f.Times)}
		return a, err
	case "match":
		b := license.Binding{Policy: q.Binding.Policy, Components: q.Binding.Components, Code: q.Binding.Code}
		a.Match = license.Match(b, license.Fingerprint{Components: q.Components, Code: q.Code}).OK
		return a, nil
	case "digest":
		salt, err := base64.RawURLEncoding.DecodeString(q.Salt)
		d, _ := license.DigestValue(salt, license.Kind(q.Kind), q.Value)
		a.Digest = string(d)
		return a, err
	}
	return a, fmt.Errorf("form %q", q.Form)
}

func (q question) file() []byte {
	if q.Bytes != nil {
		return q.Bytes
	}
	return []byte(q.Input)
}

// license is about one licence by itself: what a status list would say is left to whole.
func (j judgement) license(q question) (a answer, err error) {
	l, err := token.VerifyLicense(q.Input, j.keys, token.Expect{Product: q.Product, Issuer: q.Issuer})
	if err != nil || q.Now == nil {
		return answer{JTI: l.ID, Install: l.InstallID}, err
	}
	v := client.Verifier{Anchors: j.anchors, Product: l.Product, Keys: document.Keys}
	held, err := v.Verify(token.File{Licenses: []string{q.Input}}.Marshal())
	if err != nil {
		return a, err
	}
	a = standing(held.Check(time.Unix(*q.Now, 0)))
	a.JTI, a.Install = l.ID, l.InstallID
	return a, nil
}

func (j judgement) whole(q question) (a answer, err error) {
	v := client.Verifier{Anchors: j.anchors, Product: q.Product, Issuer: q.Issuer, Keys: q.Minimum}
	l, err := v.Verify(q.file())
	if err != nil {
		return a, err
	}
	if q.Now != nil {
		a = standing(l.Check(time.Unix(*q.Now, 0)))
	}
	a.JTI = l.ID()
	a.Match = license.Match(l.Claims().Binding, license.Fingerprint{Components: q.Components, Code: q.Code}).OK
	a.Proven, err = j.proven(q, l.Dates().IssuedAt)
	return a, err
}

// proven is the newest date of all that is authentic in a file, whose licence
// was issued at iat.
func (j judgement) proven(q question, iat time.Time) (int64, error) {
	f, err := token.ParseFile(q.file())
	if err != nil {
		return 0, err
	}
	var newest token.KeySet
	sets := f.KeySets
	if q.Minimum != "" {
		sets = append([]string{q.Minimum}, sets...)
	}
	for _, raw := range sets {
		ks, err := token.VerifyKeySet(raw, j.anchors)
		if err == nil && (q.Issuer == "" || ks.Issuer == q.Issuer) && (newest.Raw == "" || ks.Newer(newest)) {
			newest = ks
		}
	}
	last := max(newest.IssuedAt.Unix(), iat.Unix())
	for _, raw := range f.Statuses {
		if l, err := token.VerifyStatusList(raw, newest, token.ExpectStatusList{Issuer: q.Issuer}); err == nil {
			last = max(last, l.IssuedAt.Unix())
		}
	}
	for _, raw := range f.Times {
		if at, err := token.VerifyTimeFor(raw, newest, token.ExpectTime{Issuer: q.Issuer}); err == nil {
			last = max(last, at.IssuedAt.Unix())
		}
	}
	return last, nil
}

func standing(s client.Status) answer {
	return answer{
		Usable: s.Usable, Phase: string(s.Phase), Why: string(s.Reason), Features: slices.Sorted(maps.Keys(s.Features)),
		RefreshAfter: s.RefreshAfter.Unix(), LeaseUntil: s.LeaseUntil.Unix(),
	}
}

// same reports answers that differ from ours.
func same(t *testing.T, questions []question, got []answer) {
	t.Helper()
	j := newJudgement(t)
	wrong := 0
	for i, q := range questions {
		want := j.of(t, q).String()
		if got[i].String() == want {
			continue
		}
		if wrong++; wrong <= 5 {
			t.Errorf("%s %s:\n got %s\nwant %s\n of %s", q.Form, q.Name, got[i], want, q.readable())
		}
	}
	if wrong > 5 {
		t.Errorf("and %d more", wrong-5)
	}
}

// readable shows what is in a token where it can be seen.
func (q question) readable() string {
	if q.Bytes != nil {
		return fmt.Sprintf("%.300q … %.300q", q.Bytes, q.Bytes[max(0, len(q.Bytes)-300):])
	}
	out := asJSON(q)
	if header, payload, _, ok := parts(q.Input); ok {
		q.Input = ""
		out = fmt.Sprintf("%q %q %s", header, payload, asJSON(q))
	}
	return fmt.Sprintf("%.6000s", out)
}
