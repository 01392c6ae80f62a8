package browser_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// console is where the pages are made, and notPages are its routes that answer with
// something else.
const console = "../../daemon/internal/console"

var notPages = []string{
	"/console/licenses.csv", "/console/licenses/bulk",
	"/console/restore", "/console/restore/{action}", // they are there after a restore only
}

// Every page that the console has is looked at: each of its routes has a row in
// pageRows.
func TestRoutes(t *testing.T) {
	t.Parallel()
	routes := consoleRoutes(t)
	if !slices.Contains(routes, "/console/licenses/{id}") || !slices.Contains(routes, "/console/sign-in") {
		t.Fatalf("the routes are not read: %q", routes)
	}
	for _, route := range routes {
		if slices.Contains(notPages, route) {
			continue
		}
		if !slices.ContainsFunc(pageRows, func(p pageRow) bool { return serves(route, p.path) }) {
			t.Errorf("no row of pageRows looks at %s", route)
		}
	}
	for route, path := range map[string]string{"/console/{$}": "/console/x", "/console/licenses/{id}": "/console/licenses", "/console/a": "/console/b"} {
		if serves(route, path) {
			t.Errorf("%s is taken for a page of %s", path, route)
		}
	}
}

// serves reports whether a path is one of a route, as http.ServeMux has it.
func serves(route, path string) bool {
	path, _, _ = strings.Cut(path, "?")
	is, want := strings.Split(path, "/"), strings.Split(strings.TrimSuffix(route, "{$}"), "/")
	return slices.EqualFunc(is, want, func(part, pattern string) bool {
		return part == pattern || strings.HasPrefix(pattern, "{") && part != ""
	})
}

// consoleRoutes are the paths of the console's source that are registered for GET.
func consoleRoutes(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(console, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	consts := make(map[string]ast.Expr)
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Names) == len(v.Values) {
				for i, name := range v.Names {
					consts[name.Name] = v.Values[i]
				}
			}
			return true
		})
	}
	var out []string
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text, known := constant(consts, e)
			if path, get := strings.CutPrefix(text, "GET "); known && get {
				out = append(out, path)
				return false
			}
			if strings.HasPrefix(text, "GET ") {
				t.Errorf("a route that cannot be read begins with %q", text)
				return false
			}
			return true
		})
	}
	return out
}

// constant is the text of an expression, or as much of its beginning as is known.
func constant(consts map[string]ast.Expr, e ast.Expr) (text string, known bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.Ident:
		if of := consts[e.Name]; of != nil {
			return constant(consts, of)
		}
	case *ast.BinaryExpr:
		a, first := constant(consts, e.X)
		if !first {
			return a, false
		}
		b, second := constant(consts, e.Y)
		return a + b, second
	}
	return "", false
}
