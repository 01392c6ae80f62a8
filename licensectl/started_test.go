package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// concurrent are the commands in whose process several things run at once: those that
// open a store, a sandbox or a daemon themselves, and those that start goroutines.
var concurrent = []string{"audit", "db", "demo", "doctor", "sandbox"}

// started returns a folder with the licensectl that scripts start. Under the race
// detector it has the commands in which that can find something run with it, and
// the others, a thousand of them, without: their start alone would take
// ten times as long. The daemon that they call runs in this process.
// Elsewhere there is nothing to return.
func started(t *testing.T) string {
	t.Helper()
	info, ok := debug.ReadBuildInfo()
	if !ok || !slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) || runtime.GOOS == "windows" {
		return ""
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"with", "without", "bin"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(self, filepath.Join(dir, "with/licensectl")); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "without"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build licensectl: %v\n%s", err, out)
	}
	words := `*" ` + strings.Join(concurrent, ` "*|*" `) + ` "*`
	script := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in %s) exec '%s/with/licensectl' \"$@\" ;; esac\nexec '%s/without/licensectl' \"$@\"\n", words, dir, dir)
	if err := os.WriteFile(filepath.Join(dir, "bin/licensectl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "bin")
}

// Goroutines are started where the commands that are named run, and nowhere else.
func TestConcurrentCommands(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			starts := false
			switch n := n.(type) {
			case *ast.GoStmt:
				starts = true
			case *ast.SelectorExpr:
				starts = n.Sel.Name == "Go" || n.Sel.Name == "AfterFunc"
			}
			if starts && !slices.ContainsFunc(concurrent, func(c string) bool { return strings.HasPrefix(file, c) }) {
				t.Errorf("%s starts a goroutine: name its command among those that scripts run under the race detector", file)
			}
			return true
		})
	}
}
