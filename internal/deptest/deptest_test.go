package deptest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/internal/deptest"
)

func graph() *deptest.Graph {
	g := &deptest.Graph{GOOS: "plan9", Packages: map[string]*deptest.Package{}}
	add := func(path string, standard bool, imports ...string) {
		g.Packages[path] = &deptest.Package{ImportPath: path, Standard: standard, DepOnly: path != "m/a", Imports: imports}
	}
	add("m/a", false, "m/b", "fmt", "unsafe")
	add("m/b", false, "x.org/lib/sub", "m/a/inner")
	add("m/a/inner", false)
	add("x.org/lib/sub", false, "testing", "C")
	add("fmt", true)
	add("testing", true, "fmt")
	return g
}

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, path string
		want          bool
	}{
		{"m/a", "m/a", true},
		{"m/a", "m/a/b", false},
		{"m/a/...", "m/a", true},
		{"m/a/...", "m/a/b/c", true},
		{"m/a/...", "m/ab", false},
	}
	for _, test := range tests {
		if got := deptest.Match(test.pattern, test.path); got != test.want {
			t.Errorf("Match(%q, %q) = %v", test.pattern, test.path, got)
		}
	}
}

func TestChecks(t *testing.T) {
	g := graph()
	if got := len(g.Named()); got != 1 {
		t.Errorf("%d packages named", got)
	}
	if got := g.CheckAllowed("m/a", []string{"m/...", "x.org/lib/..."}); got != nil {
		t.Errorf("complaints: %q", got)
	}
	want := []string{"plan9: x.org/lib/sub is not on the allow-list (m/a -> m/b -> x.org/lib/sub)"}
	if diff := cmp.Diff(want, g.CheckAllowed("m/a", []string{"m/..."})); diff != "" {
		t.Errorf("allow-list (-want +got):\n%s", diff)
	}
	want = []string{"plan9: testing: for tests (m/a -> m/b -> x.org/lib/sub -> testing)"}
	if diff := cmp.Diff(want, g.CheckBad("m/a", map[string]string{"testing": "for tests", "net": "x"})); diff != "" {
		t.Errorf("bad packages (-want +got):\n%s", diff)
	}
}

func TestLoad(t *testing.T) {
	for _, goos := range []string{"linux", "windows"} {
		g, err := deptest.Load(t.Context(), ".", goos, ".")
		if err != nil {
			t.Fatal(err)
		}
		named := g.Named()
		if len(named) != 1 || !strings.HasSuffix(named[0].ImportPath, "/internal/deptest") {
			t.Fatalf("named: %v", named)
		}
		if !g.Standard("os/exec") || g.Standard(named[0].ImportPath) {
			t.Error("the standard library is not told apart")
		}
		if _, windows := g.Reach(named[0].ImportPath)["internal/syscall/windows"]; windows != (goos == "windows") {
			t.Errorf("%s: the imports are those of another system", goos)
		}
	}
}

func TestLoadMissing(t *testing.T) {
	_, err := deptest.Load(t.Context(), ".", "linux", "./missing")
	if err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("error is %v", err)
	}
}
