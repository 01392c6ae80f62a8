package adminapi

import (
	"net/http"
	"testing"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
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
