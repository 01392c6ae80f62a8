package adminapi

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// Every operation says in the table who may call it, and the table names no other.
func TestEveryOperationHasARow(t *testing.T) {
	t.Parallel()
	api := Register(http.NewServeMux(), Options{})
	seen := map[string]bool{}
	for pattern, r := range api.routes {
		a, ok := table[r.id]
		if !ok {
			t.Errorf("%s (%s) has no row in the table of access.go: say who may call it", r.id, pattern)
		}
		seen[r.id] = true
		if a.least == "" {
			t.Errorf("%s names no role", r.id)
		}
		if get := pattern[:4] == "GET "; get && !a.reads {
			t.Errorf("%s is a GET and changes something", r.id)
		}
		if !a.reads && a.least == authority.RoleViewer {
			t.Errorf("a viewer may call %s, which changes something", r.id)
		}
	}
	for id := range table {
		if !seen[id] {
			t.Errorf("there is no operation %s", id)
		}
	}
}

// What has no row is for administrators without a scope, and bears nothing.
func TestNoRow(t *testing.T) {
	t.Parallel()
	api := Register(http.NewServeMux(), Options{})
	r := api.route("POST /admin/v1/new")
	if r.least != authority.RoleAdmin || r.reads || r.scoped || r.tried || r.keyed || r.open {
		t.Errorf("%+v", r)
	}
}

// Every operation that changes something can be tried, or the documents say why
// not.
func TestEveryChangeCanBeTried(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := bytes.Cut(data, []byte("| why it has none |\n"))
	list, _, ended := bytes.Cut(list, []byte("\n\n"))
	if !found || !ended {
		t.Fatal("docs/operations.md has no table of what has no dry run")
	}
	reasons := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| [^|]+ \\| [^|]{4,} \\|$").FindAllSubmatch(list, -1) {
		reasons[string(row[1])] = true
	}
	api := Register(http.NewServeMux(), Options{})
	for path, item := range api.OpenAPI().Paths {
		if item.Post == nil {
			continue
		}
		id, tried := item.Post.OperationID, false
		for _, p := range item.Post.Parameters {
			tried = tried || p.In == "query" && p.Name == adminwire.QueryDryRun
		}
		if writes := !table[id].reads; writes && tried == reasons[id] {
			t.Errorf("%s (POST %s) takes a dry run: %v; docs/operations.md says why it has none: %v", id, path, tried, reasons[id])
		}
		delete(reasons, id)
	}
	for id := range reasons {
		t.Errorf("docs/operations.md says why %s has no dry run, and there is no such change", id)
	}
}
