package clienttest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/clienttest"
	"github.com/seed-357fa782/licensed/license"
)

var (
	feature  = cmp.Comparer(func(a, b license.Feature) bool { return a.String() == b.String() && a.On() == b.On() })
	instants = []time.Time{clienttest.Epoch, time.Date(1999, 12, 31, 23, 59, 59, 5, time.UTC), time.Date(2061, 7, 28, 0, 0, 0, 0, time.FixedZone("", 3600))}
)

// What a sample says of itself is what package client makes of its file.
func TestLicenses(t *testing.T) {
	t.Parallel()
	for _, now := range instants {
		for _, s := range clienttest.Licenses(now) {
			t.Run(now.Format(time.DateOnly)+" "+string(s.Kind), func(t *testing.T) {
				t.Parallel()
				v := client.Verifier{Anchors: clienttest.Anchors(), Product: s.Product}
				l, err := v.Verify(s.File)
				if license.ReasonOf(err) != s.Refused {
					t.Fatalf("verified with %v, want %q", err, s.Refused)
				}
				if err != nil {
					if s.Usable || s.Reason != s.Refused || s.Matches || s.Features != nil {
						t.Errorf("refused, and yet %+v", s)
					}
					return
				}
				set, err := s.Machine.Fingerprint(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got := l.Match(set).OK; got != s.Matches {
					t.Errorf("matches: %t", got)
				}
				st := l.Check(s.Now)
				if st.State != s.State || st.Phase != s.Phase || st.Reason != s.Blocked || st.Enforcement != s.Enforcement {
					t.Errorf("is %+v, want %+v", st, s)
				}
			})
		}
	}
}

// What a sample says of itself is what a guard that imports it says.
func TestLicensesImported(t *testing.T) {
	t.Parallel()
	for _, s := range clienttest.Licenses(clienttest.Epoch) {
		t.Run(string(s.Kind), func(t *testing.T) {
			t.Parallel()
			g, err := client.Open(t.Context(), client.Options{
				Anchors: clienttest.Anchors(), Product: s.Product, Cache: &client.MemoryCache{}, Fingerprint: s.Machine.Fingerprint,
				Now: func() time.Time { return s.Now },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			err = g.Import(s.File)
			if s.Refused != "" || !s.Matches {
				if !errors.Is(err, s.Reason) {
					t.Errorf("imported with %v, want %s", err, s.Reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			st := g.Status()
			if st.Usable != s.Usable || st.Reason != s.Reason {
				t.Errorf("is %s (%s), want %+v", st, st.Reason, s)
			}
			if d := cmp.Diff(s.Features, st.Features, feature); d != "" {
				t.Errorf("features:\n%s", d)
			}
		})
	}
}

// Files are the same in every run: what a product compares does not change.
func TestLicensesAreDeterministic(t *testing.T) {
	t.Parallel()
	again := clienttest.Licenses(clienttest.Epoch)
	for i, s := range clienttest.Licenses(clienttest.Epoch) {
		if string(again[i].File) != string(s.File) {
			t.Errorf("%s: another file", s.Kind)
		}
	}
}

func TestMaker(t *testing.T) {
	t.Parallel()
	machine := clienttest.NewMachine("mine")
	s := clienttest.Maker{Product: "cad-pro", Machine: machine, Features: clienttest.Features("seats=3")}.Of(clienttest.Good)
	v := client.Verifier{Anchors: clienttest.Anchors(), Product: "cad-pro"}
	l, err := v.Verify(s.File)
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := l.Value("seats").Number(); !ok || n != 3 || l.Value("export").On() {
		t.Errorf("features %v", l.Claims().Features)
	}
	set, _ := machine.Fingerprint(t.Context())
	if !l.Match(set).OK {
		t.Error("it is not for the machine that was named")
	}
	defer func() {
		if recover() == nil {
			t.Error("made a licence of a kind that there is not")
		}
	}()
	clienttest.Maker{}.Of("gold")
}

// The ids by which a release finds these anchors never change.
func TestAnchors(t *testing.T) {
	t.Parallel()
	parsed, err := client.ParseAnchors(clienttest.AnchorsJSON())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(clienttest.Anchors(), parsed); d != "" {
		t.Error(d)
	}
	want := []string{clienttest.AnchorID, clienttest.StandbyID}
	for i, a := range parsed {
		if !clienttest.IsTestAnchor(a) {
			t.Errorf("anchor %d is not known as one of tests", i)
		}
		if got := thumbprint(a); got != want[i] {
			t.Errorf("anchor %d has the id %s, want %s", i, got, want[i])
		}
	}
	if clienttest.IsTestAnchor(make([]byte, 32)) {
		t.Error("another key counts as one of tests")
	}
}
