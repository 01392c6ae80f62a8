package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/cabi/internal/core"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// built is where TestMain has things built, once, when the first test asks.
var built string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "cabi")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// need skips the test where a program is missing, but in CI.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the callers of the C library are built on Linux")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skipf("%s is not installed, so the C library is not tested with it", p)
		}
	}
}

// run runs a command to its end.
func run(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// onces are the things that are built once.
var onces = struct {
	mu   sync.Mutex
	done map[string]bool
}{done: map[string]bool{}}

func once(t *testing.T, path string, build func()) string {
	t.Helper()
	onces.mu.Lock()
	defer onces.mu.Unlock()
	if !onces.done[path] {
		build()
		onces.done[path] = true
	}
	return path
}

// library builds the library as it is shipped, and returns the folder. Where it
// is to be checked, it is built with AddressSanitizer, which then sees what the
// Go code does to the memory of C.
func library(t *testing.T, checked bool) string {
	t.Helper()
	name, flags := "plain", ""
	if checked {
		name, flags = "checked", "-asan"
	}
	return once(t, filepath.Join(built, name), func() {
		need(t, "gcc", "make")
		run(t, "../..", "make", "-s", "cabi", "CABI="+filepath.Join(built, name), "CABI_FLAGS="+flags)
	})
}

var sanitizers = []string{"-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"}

// caller builds a caller in C or C++, with AddressSanitizer, for one of the libraries.
func caller(t *testing.T, source string, lib string) string {
	t.Helper()
	compiler := []string{"gcc", "-std=c11", "-pedantic"}
	if filepath.Ext(source) == ".cpp" {
		compiler = []string{"g++", "-std=c++17", "-pedantic"}
	}
	need(t, compiler[0])
	return once(t, filepath.Join(lib, source+".bin"), func() {
		args := slices.Concat(compiler[1:], sanitizers, []string{
			"-Wall", "-Wextra", "-Werror", "-pthread", "-I" + lib, filepath.Join("testdata", source),
			"-L" + lib, "-llicensed", "-Wl,-rpath," + lib, "-o", filepath.Join(lib, source+".bin"),
		})
		run(t, ".", compiler[0], args...)
	})
}

// program is a caller that is ready to run.
type program struct {
	args []string
	env  []string
}

func (p program) command(ctx context.Context, args ...string) *exec.Cmd {
	args = slices.Concat(p.args, args)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "LICENSED_MACHINE_ID="+machineID, "NO_PROXY=127.0.0.1",
		"ASAN_OPTIONS=exitcode=23:detect_leaks=1:detect_stack_use_after_return=1", "UBSAN_OPTIONS=print_stacktrace=1")
	cmd.Env = append(cmd.Env, p.env...)
	return cmd
}

// do runs a command of a caller and returns what it prints.
func (p program) do(t *testing.T, args ...string) string {
	t.Helper()
	cmd := p.command(t.Context(), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	if errs.Len() > 0 {
		t.Errorf("%s: it writes to standard error: %s", args[0], errs.String())
	}
	return out.String()
}

// languages are those in which there is a caller.
var languages = []string{"C", "C++", "Python"}

// callerIn is the caller in a language, by the library that is checked.
func callerIn(t *testing.T, language string) program {
	t.Helper()
	switch language {
	case "C":
		return program{args: []string{caller(t, "caller.c", library(t, true))}}
	case "C++":
		return program{args: []string{caller(t, "caller.cpp", library(t, true))}}
	}
	return python(t)
}

// python runs the caller in Python. An interpreter is not built with AddressSanitizer, but with its allocator
// what the module does to blocks of the library is seen. What the interpreter itself leaves behind is no leak of ours.
func python(t *testing.T) program {
	t.Helper()
	need(t, "python3", "gcc")
	lib := library(t, true)
	asan := strings.TrimSpace(string(run(t, ".", "gcc", "-print-file-name=libasan.so")))
	interpreter := strings.TrimSpace(string(run(t, ".", "python3", "-c", "import sys; print(sys.executable)")))
	return program{
		args: []string{interpreter, filepath.Join("testdata", "caller.py"), filepath.Join(lib, "liblicensed.so")},
		env:  []string{"PYTHONPATH=" + lib, "PYTHONDONTWRITEBYTECODE=1", "LD_PRELOAD=" + asan, "ASAN_OPTIONS=exitcode=23:detect_leaks=0"},
	}
}

// What is shipped: the functions of the header and nothing else, in every language.
func TestSurface(t *testing.T) {
	need(t, "gcc", "g++", "make", "nm", "python3")
	lib := library(t, false)
	header, err := os.ReadFile(filepath.Join(lib, "licensed.h"))
	check(t, err)
	var declared []string
	for _, m := range regexp.MustCompile(`(?m)^LICENSED_API [\w ]+[ *](licensed_\w+)\(`).FindAllSubmatch(header, -1) {
		declared = append(declared, string(m[1]))
	}
	slices.Sort(declared)
	var defined []string
	for line := range strings.Lines(string(run(t, ".", "nm", "-D", "--defined-only", filepath.Join(lib, "liblicensed.so")))) {
		f := strings.Fields(line)
		defined = append(defined, f[len(f)-1])
	}
	slices.Sort(defined)
	if !slices.Equal(declared, defined) {
		t.Errorf("the header declares %v\nthe library has %v", declared, defined)
	}
	module, err := os.ReadFile("licensed.py")
	check(t, err)
	var inPython []string
	table := string(module[bytes.Index(module, []byte("_FUNCTIONS = {")):bytes.Index(module, []byte("_loading ="))])
	for _, m := range regexp.MustCompile(`"(\w+)": \(`).FindAllStringSubmatch(table, -1) {
		inPython = append(inPython, "licensed_"+m[1])
	}
	slices.Sort(inPython)
	if !slices.Equal(declared, inPython) {
		t.Errorf("the header declares %v\nlicensed.py has %v", declared, inPython)
	}
	wrapper, err := os.ReadFile("licensed.hpp")
	check(t, err)
	for _, name := range declared {
		if name != "licensed_version" && !regexp.MustCompile(`\b`+name+`\b`).Match(wrapper) {
			t.Errorf("licensed.hpp has no %s", name)
		}
	}
	files, err := os.ReadDir(lib)
	check(t, err)
	var names []string
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".bin") {
			names = append(names, f.Name())
		}
	}
	if want := []string{"liblicensed.so", "licensed.h", "licensed.hpp", "licensed.py"}; !slices.Equal(names, want) {
		t.Errorf("make cabi makes %v, not %v", names, want)
	}
}

// The header is one for every C since 1999, and for C++.
func TestHeader(t *testing.T) {
	for _, args := range [][]string{
		{"gcc", "-std=c99", "-x", "c", "licensed.h"},
		{"gcc", "-std=c11", "-x", "c", "licensed.h"},
		{"g++", "-std=c++11", "-x", "c++", "licensed.h"},
		{"g++", "-std=c++17", "-x", "c++", "licensed.hpp"},
		{"g++", "-std=c++20", "-x", "c++", "licensed.hpp"},
	} {
		t.Run(args[1]+" "+args[4], func(t *testing.T) {
			need(t, args[0])
			source := filepath.Join(t.TempDir(), "include")
			check(t, os.WriteFile(source, []byte("#include \""+args[4]+"\"\n#include \""+args[4]+"\"\n"), 0o600))
			run(t, ".", args[0], args[1], args[2], args[3], "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I.", source)
		})
	}
}

// The numbers in the header are those in Go, and their names those of the reasons.
func TestCodes(t *testing.T) {
	header, err := os.ReadFile("licensed.h")
	check(t, err)
	got := map[int]string{}
	for _, m := range regexp.MustCompile(`\bLICENSED_(OK|ERR_\w+) = (\d+)`).FindAllStringSubmatch(string(header), -1) {
		n, err := strconv.Atoi(m[2])
		check(t, err)
		got[n] = strings.ToLower(strings.TrimPrefix(m[1], "ERR_"))
	}
	var inC strings.Builder
	n := 0
	for code := range core.Code(1000) {
		name := core.NameOf(code)
		if name == "unknown" {
			if got[int(code)] != "" {
				t.Errorf("the header has %s = %d, which Go does not know", got[int(code)], code)
			}
			continue
		}
		n++
		fmt.Fprintf(&inC, "%d %s\n", code, name)
		if got[int(code)] != name {
			t.Errorf("%d is %q in the header, and %q in Go", code, got[int(code)], name)
		}
	}
	if n != len(got) {
		t.Errorf("the header has %d codes, Go has %d", len(got), n)
	}
	c := program{args: []string{caller(t, "caller.c", library(t, false))}}
	if out := c.do(t, "codes"); out != inC.String() {
		t.Errorf("licensed_code_name says\n%s, Go says\n%s", out, inC.String())
	}
}

// Each caller accepts and refuses what the vectors of package token say.
func TestVectors(t *testing.T) {
	dir := t.TempDir()
	n, good := writeVectors(t, dir)
	if good < 40 || n-good < 100 {
		t.Fatalf("only %d files to accept and %d to refuse", good, n-good)
	}
	for _, language := range languages {
		t.Run(language, func(t *testing.T) {
			p := callerIn(t, language)
			if got, want := p.do(t, "vectors", dir), fmt.Sprintf("%d %d\n", n, good); got != want {
				t.Errorf("the caller says %q, not %q", got, want)
			}
		})
	}
}

// writeVectors makes a licence file of each vector that is one, or a licence, and
// says how many there are and how many of them are good.
func writeVectors(t *testing.T, dir string) (n, good int) {
	t.Helper()
	data, err := os.ReadFile("../../license/token/testdata/vectors.json")
	check(t, err)
	var all struct {
		Anchors json.RawMessage
		Keys    string
		Vectors []struct {
			Name, Form, Input, Product, Issuer, Reason, Phase string
			Now                                               int64
		}
	}
	check(t, json.Unmarshal(data, &all))
	check(t, os.WriteFile(filepath.Join(dir, "anchors.json"), all.Anchors, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "keys"), []byte(all.Keys), 0o600))
	anchors, err := token.ParseAnchors(all.Anchors)
	check(t, err)
	phases := map[license.Phase]int32{"": 0}
	for _, p := range []license.Phase{license.PhaseValid, license.PhaseWarning, license.PhaseGrace, license.PhaseBlocked} {
		phases[p] = core.PhaseOf(p)
	}
	var list strings.Builder
	for i, v := range all.Vectors {
		file := []byte(v.Input)
		switch v.Form {
		case "license":
			file = token.File{Licenses: []string{v.Input}, KeySets: []string{all.Keys}}.Marshal()
		case "file":
		default:
			continue
		}
		v.Product = orElse(v.Product, product)
		_, err := (&client.Verifier{Anchors: anchors, Product: v.Product, Issuer: v.Issuer, Keys: all.Keys}).Verify(file)
		// Of a good file only the blocks are read: what is in them may be no licence.
		if want := license.Reason(v.Reason); license.ReasonOf(err) != want && (want != "" || v.Form != "file") {
			t.Errorf("%s %q: %v, and not %q", v.Form, v.Name, err, want)
		}
		n++
		phase := int32(0)
		if err == nil {
			good++
			phase = phases[license.Phase(v.Phase)]
		}
		name := fmt.Sprintf("v%d.lic", i)
		check(t, os.WriteFile(filepath.Join(dir, name), file, 0o600))
		fmt.Fprintln(&list, core.CodeOf(err), phase, v.Now, v.Product, orElse(v.Issuer, "-"), name)
	}
	check(t, os.WriteFile(filepath.Join(dir, "list"), []byte(list.String()), 0o600))
	return n, good
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// An install without a network: each request is a file, and so is each answer.
func TestLifeByFiles(t *testing.T) {
	for _, language := range languages {
		t.Run(language, func(t *testing.T) {
			p := callerIn(t, language)
			m := newMerchant(t)
			dir := m.folder()
			cmd := p.command(t.Context(), "life", dir)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			in, err := cmd.StdinPipe()
			check(t, err)
			out, err := cmd.StdoutPipe()
			check(t, err)
			check(t, cmd.Start())
			served := m.counter(dir, out, in)
			if err := cmd.Wait(); err != nil || served != nil || errs.Len() > 0 {
				t.Fatalf("%v, %v\n%s", err, served, errs.String())
			}
			m.checkLife()
		})
	}
}

// The same with a server.
func TestLifeOnline(t *testing.T) {
	for _, language := range languages {
		t.Run(language, func(t *testing.T) {
			p := callerIn(t, language)
			m := newMerchant(t)
			server := httptest.NewServer(m)
			defer server.Close()
			p.do(t, "online", m.folder(), server.URL)
			m.checkLife()
		})
	}
}

// A call that waits for a server ends when the guard is closed, and when its time is over.
func TestHangingServer(t *testing.T) {
	m := newMerchant(t)
	m.arrived = make(chan struct{})
	server := httptest.NewServer(m)
	defer server.Close()
	cmd := program{args: []string{caller(t, "caller.c", library(t, true))}}.command(t.Context(), "hang", m.folder(), server.URL)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	check(t, err)
	check(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for told := false; ; {
		select {
		case <-m.arrived:
			if !told {
				_, err := in.Write([]byte("arrived\n"))
				check(t, err)
				told = true
			}
		case err := <-ended:
			if err != nil || !told {
				t.Fatalf("%v\n%s", err, out.String())
			}
			return
		}
	}
}

func TestBadArguments(t *testing.T) {
	p := program{args: []string{caller(t, "caller.c", library(t, true))}}
	p.do(t, "table", newMerchant(t).folder())
}

func TestThreads(t *testing.T) {
	for _, language := range languages {
		t.Run(language, func(t *testing.T) { callerIn(t, language).do(t, "threads", newMerchant(t).folder()) })
	}
}

// Opening and closing leaves neither files open nor memory behind. The library is the one that is shipped, since
// AddressSanitizer keeps what was freed for a while.
func TestLoops(t *testing.T) {
	p := program{args: []string{caller(t, "caller.c", library(t, false))}, env: []string{"ASAN_OPTIONS=exitcode=23:quarantine_size_mb=1"}}
	var before, after int
	out := p.do(t, "loops", newMerchant(t).folder())
	if _, err := fmt.Sscan(out, &before, &after); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	// 400 rounds that left 64 KiB each, a quarter of what one has in its hands, would come to 25 MiB.
	if after-before > 16<<10 {
		t.Errorf("100 rounds left %d KiB resident, 500 rounds %d KiB", before, after)
	}
}

// A child process that was forked is told that it cannot use the library, and does not hang.
func TestForked(t *testing.T) {
	t.Run("C", func(t *testing.T) {
		program{args: []string{caller(t, "caller.c", library(t, false))}}.do(t, "forked", newMerchant(t).folder())
	})
	t.Run("Python", func(t *testing.T) { python(t).do(t, "forked", newMerchant(t).folder()) })
}

// The figures of docs/c-library.md.
func BenchmarkCalls(b *testing.B) {
	lib := os.Getenv("CABI_MEASURE")
	if lib == "" {
		b.Skip("set CABI_MEASURE to the folder of make cabi")
	}
	bin := filepath.Join(b.TempDir(), "caller")
	out, err := exec.CommandContext(b.Context(), "gcc", "-O2", "-std=c11", "-pthread", "-I"+lib, "testdata/caller.c", "-L"+lib, "-llicensed", "-Wl,-rpath,"+lib, "-o", bin).CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	dir := newMerchant(b).folder()
	for b.Loop() {
		out, err := program{args: []string{bin}}.command(b.Context(), "measure", dir).CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		b.Logf("\n%s", out)
	}
}
