package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// No panic crosses into C: each function that C calls does nothing but what answer, quick or texts
// make of it, which catch one.
func TestPanicsAreCaught(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "export.go", nil, parser.ParseComments)
	check(t, err)
	n := 0
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Doc == nil || !strings.Contains(fn.Doc.List[len(fn.Doc.List)-1].Text, "//export ") || fn.Name.Name == "capiVersion" {
			continue
		}
		n++
		guarded := false
		if r, ok := fn.Body.List[0].(*ast.ReturnStmt); ok && len(fn.Body.List) == 1 && len(r.Results) == 1 {
			if call, ok := r.Results[0].(*ast.CallExpr); ok {
				name, ok := call.Fun.(*ast.Ident)
				guarded = ok && slices.Contains([]string{"answer", "quick", "texts"}, name.Name)
			}
		}
		if !guarded {
			t.Errorf("%s does more than return answer, quick or texts", fn.Name.Name)
		}
	}
	if n < 20 {
		t.Errorf("only %d functions were looked at", n)
	}
}
