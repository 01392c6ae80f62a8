package elsewhere_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sources = "../../docs/elsewhere"

// programs are the commands that run the vectors, and the example of the page.
type programs struct{ vectors, example []string }

// languages are the verifiers of docs/verify-elsewhere.md: each is made ready to
// run, or says what is missing.
var languages = []struct {
	name  string
	ready func(t *testing.T) (p programs, missing string)
}{
	{"Python", python},
	{"TypeScript", typescript},
	{"Java", java},
}

// inEach runs a test for each language whose runtime is there. In CI all are.
func inEach(t *testing.T, test func(t *testing.T, p programs)) {
	t.Helper()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			p, missing := l.ready(t)
			switch {
			case missing == "":
				test(t, p)
			case os.Getenv("CI") == "true":
				t.Fatal(missing)
			default:
				t.Skip(missing)
			}
		})
	}
}

func python(t *testing.T) (p programs, missing string) {
	t.Helper()
	// The interpreter that comes first need not be the one that Debian's packages are for.
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), name, "-c", "import cryptography").Run() == nil {
			at := func(file string) []string { return []string{name, "-B", filepath.Join(sources, "python", file)} }
			return programs{at("vectors.py"), at("example.py")}, ""
		}
	}
	return p, "Python is missing, or its package cryptography (Debian: python3-cryptography)"
}

// typescript compiles under the strictest settings, with what `make
// elsewhere-tools` installed.
func typescript(t *testing.T) (p programs, missing string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		return p, "Node is missing"
	}
	folder := filepath.Join(sources, "typescript")
	var manifest struct{ Dependencies map[string]string }
	if err := json.Unmarshal([]byte(read(t, filepath.Join(folder, "package.json"))), &manifest); err != nil {
		t.Fatal(err)
	}
	tools, err := filepath.Abs("../../.tools/elsewhere-jose-" + manifest.Dependencies["jose"])
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(tools, "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "jose")); errors.Is(err, os.ErrNotExist) {
		return p, "the npm package jose is missing: `make elsewhere-tools` installs it"
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	compile(t, dir, node, "node_modules/typescript/bin/tsc", "-p", ".")
	at := func(file string) []string { return []string{node, filepath.Join(dir, "dist", file)} }
	return programs{at("vectors.js"), at("example.js")}, ""
}

func java(t *testing.T) (p programs, missing string) {
	t.Helper()
	javac, err := exec.LookPath("javac")
	if err != nil {
		return p, "a JDK is missing (Debian: default-jdk-headless)"
	}
	files, err := filepath.Glob(filepath.Join(sources, "java", "*.java"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Java files (%v)", err)
	}
	dir := t.TempDir()
	compile(t, ".", javac, append([]string{"--release", "17", "-Xlint:all", "-Werror", "-encoding", "UTF-8", "-d", dir}, files...)...)
	at := func(class string) []string {
		return []string{filepath.Join(filepath.Dir(javac), "java"), "-cp", dir, "com.example.licensing." + class}
	}
	return programs{at("Vectors"), at("Example")}, ""
}

func compile(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(name), err, out)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// answer is what became of a question.
type answer struct {
	Reason       string   `json:"reason"`
	JTI          string   `json:"jti,omitzero"`
	Install      string   `json:"install,omitzero"`
	Proven       int64    `json:"proven,omitzero"`
	Usable       bool     `json:"usable,omitzero"`
	Phase        string   `json:"phase,omitzero"`
	Why          string   `json:"why,omitzero"`
	Features     nameList `json:"features,omitempty"`
	RefreshAfter int64    `json:"refresh_after,omitzero"`
	LeaseUntil   int64    `json:"lease_until,omitzero"`
	Match        bool     `json:"match,omitzero"`
	Digest       string   `json:"digest,omitzero"`
	Rank         int      `json:"rank,omitzero"`
	Kids         []string `json:"kids,omitempty"`
	Tokens       []int    `json:"tokens,omitempty"`
	Statuses     []int    `json:"statuses,omitempty"`
	Beyond       *int     `json:"beyond,omitzero"`
}

// nameList is the names of an object's members, sorted.
type nameList []string

func (n *nameList) UnmarshalJSON(data []byte) error {
	var members map[string]any
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	*n = slices.Sorted(maps.Keys(members))
	return nil
}

func (a answer) String() string {
	data, err := json.Marshal(a)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// ask starts a verifier once and has it answer every question.
func ask(t *testing.T, command []string, questions []question) []answer {
	t.Helper()
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	if err := enc.Encode(document); err != nil {
		t.Fatal(err)
	}
	for _, q := range questions {
		if err := enc.Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	answers := make([]answer, 0, len(questions))
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatalf("answer %d is %.200s: %v", len(answers), lines.Text(), err)
		}
		answers = append(answers, a)
	}
	if err != nil || len(answers) != len(questions) {
		t.Fatalf("%d answers to %d questions (%v); the next is %.3000s\n%s", len(answers), len(questions), err,
			asJSON(questions[min(len(answers), len(questions)-1)]), tail(stderr.String()))
	}
	return answers
}

func asJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func tail(s string) string { return strings.TrimSpace(s[max(0, len(s)-3000):]) }
