package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// No panic crosses into C: each function that C calls does nothing but what answer, quick or texts
// make of it, which catch one.
func TestPanicsAreCaught(t *testing.T) {
	files, err := filepath.Glob("*.go")
	check(t, err)
	n := 0
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		check(t, err)
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Doc == nil || !strings.Contains(fn.Doc.List[len(fn.Doc.List)-1].Text, "//export ") || fn.Name.Name == "capiVersion" {
				continue
			}
			if n++; !guarded(fn) {
				t.Errorf("%s does more than return answer, quick or texts", fn.Name.Name)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d functions were looked at", n)
	}
}

func guarded(fn *ast.FuncDecl) bool {
	r, ok := fn.Body.List[0].(*ast.ReturnStmt)
	if !ok || len(fn.Body.List) != 1 || len(r.Results) != 1 {
		return false
	}
	call, ok := r.Results[0].(*ast.CallExpr)
	if !ok {
		return false
	}
	name, ok := call.Fun.(*ast.Ident)
	return ok && slices.Contains([]string{"answer", "quick", "texts"}, name.Name)
}
