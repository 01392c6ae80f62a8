package token_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

var update = flag.Bool("update", false, "write testdata anew")

// vector is one line of testdata/vectors.json; testdata/README.md says what
// its members mean.
type vector struct {
	Name    string `json:"name"`
	Form    string `json:"form"`
	Input   string `json:"input"`
	Product string `json:"product,omitzero"`
	Issuer  string `json:"issuer,omitzero"`
	Install string `json:"install,omitzero"`
	Nonce   string `json:"nonce,omitzero"`
	URI     string `json:"uri,omitzero"`
	Now     int64  `json:"now,omitzero"`

	Reason   license.Reason `json:"reason"`
	Field    string         `json:"field,omitzero"`
	Phase    license.Phase  `json:"phase,omitzero"`
	Rank     int            `json:"rank,omitzero"`
	Kids     []string       `json:"kids,omitzero"`
	Statuses []int          `json:"statuses,omitzero"`

	// Of a whole file.
	Minimum    string             `json:"minimum,omitzero"`
	Components license.Components `json:"components,omitzero"`
	Code       license.Digest     `json:"code,omitzero"`
	JTI        string             `json:"jti,omitzero"`
	Usable     *bool              `json:"usable,omitzero"`
	Why        license.Reason     `json:"why,omitzero"`
	Match      *bool              `json:"match,omitzero"`
}

type vectorFile struct {
	Anchors json.RawMessage `json:"anchors"`
	Keys    string          `json:"keys"`
	Vectors []vector        `json:"vectors"`
}

func allVectors() []vector {
	var all []vector
	for _, group := range [][]vector{
		licenseVectors(), headerVectors(), licenseFormVectors(), licenseClaimVectors(), phaseVectors(), keySetVectors(), requestVectors(), timeVectors(), listVectors(), fileVectors(), wholeVectors(),
	} {
		all = append(all, group...)
	}
	return all
}

// TestVectors runs every vector, and compares the file that others read with
// what is generated here.
func TestVectors(t *testing.T) {
	all := allVectors()
	seen := make(map[string]bool)
	for _, v := range all {
		if name := v.Form + " " + v.Name; seen[name] {
			t.Errorf("%s stands here twice", name)
		} else {
			seen[name] = true
		}
		t.Run(v.Form+"/"+v.Name, func(t *testing.T) { runVector(t, v) })
	}
	golden(t, "vectors.json", vectorFile{Anchors: anchorsDocument(t), Keys: keySetToken(), Vectors: all})
}

func golden(t *testing.T, name string, v any) {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, buf.Bytes()) {
		t.Errorf("%s is not what is generated here; if that is meant, run the test with -update", path)
	}
}

func anchorsDocument(tb testing.TB) json.RawMessage {
	tb.Helper()
	doc, err := token.MarshalAnchors(anchors)
	if err != nil {
		tb.Fatal(err)
	}
	return doc
}

func runVector(t *testing.T, v vector) {
	t.Helper()
	var err error
	switch v.Form {
	case "license":
		var l token.License
		l, err = token.VerifyLicense(v.Input, keySet(t), token.Expect{Product: v.Product, Issuer: v.Issuer})
		if err == nil && v.Now != 0 {
			if phase := l.Dates.PhaseAt(time.Unix(v.Now, 0)); phase != v.Phase {
				t.Errorf("phase %q, want %q", phase, v.Phase)
			}
		}
	case "keys":
		var ks token.KeySet
		ks, err = token.VerifyKeySet(v.Input, anchors)
		if err == nil {
			kids := []string{}
			for _, k := range ks.Keys {
				kids = append(kids, k.ID)
			}
			if ks.Rank != v.Rank || strings.Join(kids, " ") != strings.Join(v.Kids, " ") {
				t.Errorf("rank %d, keys %v", ks.Rank, kids)
			}
		}
	case "request":
		_, err = token.VerifyRequest(v.Input)
	case "time":
		_, err = token.VerifyTimeFor(v.Input, keySet(t), token.ExpectTime{Issuer: v.Issuer, InstallID: v.Install, Nonce: v.Nonce})
	case "list":
		var l token.StatusList
		l, err = token.VerifyStatusList(v.Input, keySet(t), token.ExpectStatusList{Issuer: v.Issuer, URI: v.URI})
		for i, want := range v.Statuses {
			if got, ok := l.At(i); !ok || int(got) != want {
				t.Errorf("status %d is %d (%v), want %d", i, got, ok, want)
			}
		}
		if got, ok := l.At(l.Len()); ok {
			t.Errorf("beyond the end there is status %d", got)
		}
	case "file":
		_, err = token.ParseFile([]byte(v.Input))
	case "verify":
		err = runWhole(t, v)
	default:
		t.Fatalf("form %q", v.Form)
	}
	wantReason(t, err, v.Reason)
	if e, ok := errors.AsType[*license.Error](err); ok {
		if e.Field != v.Field {
			t.Errorf("field %q, want %q (%v)", e.Field, v.Field, err)
		}
		if e.Detail == "" {
			t.Error("no detail")
		}
		if len(v.Input) > 200 && strings.Contains(err.Error(), v.Input[100:120]) || strings.Contains(err.Error(), ownCode.Reveal()) {
			t.Errorf("the error tells too much: %v", err)
		}
	} else if err != nil {
		t.Errorf("%T: %v", err, err)
	}
}
