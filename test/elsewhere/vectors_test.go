package elsewhere_test

import (
	"encoding/json"
	"flag"
	"slices"
	"testing"
)

var mutants = flag.Int("mutants", 100, "how many mutants of each form are judged")

// Each verifier says what ours says: reasons, dates and digests included.
func TestVerifiers(t *testing.T) {
	prints := fingerprints(t)
	mutated := mutate(t, *mutants)
	machines := machines(*mutants)
	all := slices.Concat(vectors, prints, mutated, machines)
	inEach(t, func(t *testing.T, p programs) {
		t.Helper()
		same(t, all, ask(t, p.vectors, all))
		t.Run("example", func(t *testing.T) { runExample(t, p.example) })
	})
}

// What is compared with is what the vectors say.
func TestVectors(t *testing.T) {
	if len(vectors) < 400 {
		t.Fatalf("only %d vectors", len(vectors))
	}
	j := newJudgement(t)
	for _, v := range vectors {
		if got := j.of(t, v); got.Reason != v.Reason {
			t.Errorf("%s %s: our own verifier says %q", v.Form, v.Name, got.Reason)
		}
	}
}

func fingerprints(t *testing.T) []question {
	t.Helper()
	var file struct {
		Vectors []struct {
			question
			Digest string
		}
	}
	if err := json.Unmarshal([]byte(read(t, "../../license/token/testdata/fingerprint.json")), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	j := newJudgement(t)
	questions := make([]question, len(file.Vectors))
	for i, v := range file.Vectors {
		questions[i] = v.question
		questions[i].Form = "digest"
		if got := j.of(t, questions[i]).Digest; got != v.Digest {
			t.Fatalf("%s %q: our own digest is %q", v.Kind, v.Value, got)
		}
	}
	return questions
}
