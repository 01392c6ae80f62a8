package license_test

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// fuzzed makes a binding and machines out of bytes: each byte adds a digest of
// one kind to one of three machines. Some digests and kinds are not real ones.
func fuzzed(data []byte) [3]license.Fingerprint {
	kinds := append(license.Kinds(), license.KindCode, "tpm")
	var machines [3]license.Fingerprint
	for i := range machines {
		machines[i].Components = license.Components{}
	}
	for i, b := range data {
		kind := kinds[int(b)%len(kinds)]
		d := license.Digest(data[:min(i, 30)])
		if value := int(b) / len(kinds); value%7 != 0 {
			d, _ = license.DigestValue(nil, kind, string(rune('A'+value%7)))
		}
		m := &machines[i%len(machines)]
		m.Components[kind] = append(m.Components[kind], d)
	}
	return machines
}

// FuzzMatch binds, matches and re-binds whatever there is, signed bindings
// included that Bind would not make. Nothing panics, and the rules hold.
func FuzzMatch(f *testing.F) {
	for _, policy := range []string{"exact", "fuzzy", "loose", "none", "fuzzy-9"} {
		f.Add(policy, []byte("a machine, a second and a third one"), int64(0))
	}
	f.Add("fuzzy", []byte{9, 9, 9, 10, 10, 10, 11, 11, 11, 12, 13, 14}, int64(time.Hour))
	f.Add("exact", []byte{10, 10, 12, 12, 12, 21, 13, 13, 22, 15, 15, 15, 14, 23}, int64(license.DefaultDriftWindow))
	f.Add("loose", slices.Repeat([]byte{13, 22, 31, 40}, 20), int64(-1))
	f.Add("fuzzy", []byte{0, 1, 2, 7, 8, 16, 17, 255, 254}, int64(1)<<62)
	f.Add("", []byte{}, int64(0))
	f.Fuzz(func(t *testing.T, policy string, data []byte, wait int64) {
		if len(data) > 1<<10 {
			return
		}
		machines := fuzzed(data)
		signed := license.Binding{Policy: license.Policy(policy), Components: machines[0].Components}
		bindings := []license.Binding{signed}
		b, err := license.Bind(license.Policy(policy), machines[0])
		switch {
		case err == nil:
			bindings = append(bindings, b)
			if !license.Match(b, machines[0]).OK {
				t.Fatalf("what was bound does not match: %+v", b)
			}
		case license.ReasonOf(err) != license.MachineWeak:
			t.Fatal(err)
		}
		for _, b := range bindings {
			var u license.Unproven
			at := now
			for _, fp := range machines {
				ok := license.Match(b, fp).OK
				next, drift := b.Rebind(fp)
				if again, more := next.Rebind(fp); !more.IsZero() || !again.Equal(next) || license.Match(next, fp).OK != ok {
					t.Fatalf("%+v became %+v by %+v, then %+v by %+v", b, next, drift, again, more)
				}
				r := license.DriftBudget{}.Rebind(b, u, fp, at)
				if !ok && !r.Moved || !r.Moved && !r.Binding.Equal(next) || len(r.Unproven) > len(license.Kinds())*license.MaxDigests {
					t.Fatalf("%+v", r)
				}
				b, u, at = r.Binding, r.Unproven, at.Add(time.Duration(wait))
			}
		}
	})
}
