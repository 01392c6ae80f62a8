// Package deptest reads which package imports which, as the go command sees
// it, and checks rules about it. It is for tests.
package deptest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Package is one package as the go command lists it for one system.
type Package struct {
	ImportPath string
	Dir        string
	Standard   bool // part of the standard library
	DepOnly    bool // not named by the patterns, only imported
	Imports    []string
	Error      *struct{ Err string }
}

// Graph is a set of packages with everything that they import.
type Graph struct {
	GOOS     string
	Packages map[string]*Package // by import path
}

// Load lists the packages that match patterns, and their imports, as they are
// for goos, from folder dir. A package that cannot be read is an error: rules
// about it would be checked on half of its imports.
func Load(ctx context.Context, dir, goos string, patterns ...string) (*Graph, error) {
	args := append([]string{"list", "-e", "-deps", "-json=ImportPath,Dir,Standard,DepOnly,Imports,Error"}, patterns...)
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // G204: the patterns are those of a test
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list for %s: %w\n%s", goos, err, stderr.Bytes())
	}
	g := &Graph{GOOS: goos, Packages: map[string]*Package{}}
	var broken []error
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(Package)
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list for %s: %w", goos, err)
		}
		if p.Error != nil {
			broken = append(broken, fmt.Errorf("%s on %s: %s", p.ImportPath, goos, p.Error.Err))
		}
		g.Packages[p.ImportPath] = p
	}
	return g, errors.Join(broken...)
}

// Named returns the packages that the patterns of Load matched, sorted.
func (g *Graph) Named() []*Package {
	var named []*Package
	for _, path := range slices.Sorted(maps.Keys(g.Packages)) {
		if p := g.Packages[path]; !p.DepOnly {
			named = append(named, p)
		}
	}
	return named
}

// Reach returns everything that root imports, directly or not, without root;
// each package with the chain of imports that leads to it, root first.
func (g *Graph) Reach(root string) map[string][]string {
	chains := map[string][]string{root: {root}}
	for queue := []string{root}; len(queue) > 0; queue = queue[1:] {
		p := g.Packages[queue[0]]
		if p == nil {
			continue // "C" and "unsafe" are no packages
		}
		for _, imported := range p.Imports {
			if _, seen := chains[imported]; !seen {
				chains[imported] = append(slices.Clone(chains[queue[0]]), imported)
				queue = append(queue, imported)
			}
		}
	}
	delete(chains, root)
	return chains
}

// Standard reports whether path is in the standard library.
func (g *Graph) Standard(path string) bool {
	p := g.Packages[path]
	return p == nil || p.Standard
}

// Match reports whether path is named by pattern: a package, or with the
// ending "/..." a package and everything below it.
func Match(pattern, path string) bool {
	prefix, below := strings.CutSuffix(pattern, "/...")
	return path == prefix || below && strings.HasPrefix(path, prefix+"/")
}

// CheckAllowed returns a complaint for each package outside the standard
// library that root reaches and that no pattern names.
func (g *Graph) CheckAllowed(root string, patterns []string) []string {
	var complaints []string
	chains := g.Reach(root)
	for _, path := range slices.Sorted(maps.Keys(chains)) {
		allowed := slices.ContainsFunc(patterns, func(pattern string) bool { return Match(pattern, path) })
		if !allowed && !g.Standard(path) {
			complaints = append(complaints, fmt.Sprintf("%s: %s is not on the allow-list (%s)", g.GOOS, path, chain(chains[path])))
		}
	}
	return complaints
}

// CheckBad returns a complaint for each package that root reaches and that
// bad names, with the reason that stands there.
func (g *Graph) CheckBad(root string, bad map[string]string) []string {
	var complaints []string
	chains := g.Reach(root)
	for _, path := range slices.Sorted(maps.Keys(bad)) {
		if c, found := chains[path]; found {
			complaints = append(complaints, fmt.Sprintf("%s: %s: %s (%s)", g.GOOS, path, bad[path], chain(c)))
		}
	}
	return complaints
}

func chain(paths []string) string { return strings.Join(paths, " -> ") }
