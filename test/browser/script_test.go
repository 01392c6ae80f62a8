package browser_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/license"
)

// Without script somebody signs in, suspends a licence after a look at what that
// changes, and signs out.
func TestWithoutScript(t *testing.T) {
	t.Parallel()
	tl := newTools(t)
	s := newShop(t)
	s.signIn("issuer")
	path := "/console/licenses/" + s.known["{id}"]
	was, err := s.admin.License(t.Context(), s.known["{id}"])
	s.did(was, err)
	if was.State != license.StateActive {
		t.Fatalf("the licence is %s", was.State)
	}
	type page struct {
		step    step
		path    string
		status  int
		heading string
	}
	walk := []page{
		{step{Click: "main button"}, "/console/", http.StatusOK, "Overview"},
		{step{Open: path}, path, http.StatusOK, "cad-pro"},
		{step{Click: `a[href$="/suspend"]`}, path + "/suspend", http.StatusOK, "Suspend"},
		{step{Click: "main form button"}, path + "/suspend", http.StatusOK, "Suspend"},
		{step{Click: "button[value=do]"}, path, http.StatusOK, "cad-pro"},
		{step{Click: `form[action="/console/sign-out"] button`}, "/console/sign-in", http.StatusOK, "Sign in"},
		{step{Open: path}, path, http.StatusUnauthorized, "Sign in"},
	}
	v := visit{Origin: s.console(), Path: "/console/sign-in", Lang: english, Schemes: []string{light}, Width: phone, NoScript: true, Alone: true}
	v.Steps = append(v.Steps, step{Fill: "#token", Value: s.tokens["issuer"]})
	for _, p := range walk {
		v.Steps = append(v.Steps, p.step)
	}
	got := tl.look(t, []visit{v})[0]
	if got.Error != "" || len(got.Steps) != len(walk) {
		t.Fatalf("after %d of %d pages, at %s: %s", len(got.Steps), len(walk), got.URL, got.Error)
	}
	for i, p := range walk {
		g := got.Steps[i]
		at, _, _ := strings.Cut(strings.TrimPrefix(g.URL, s.console()), "?")
		if at != p.path || g.Status != p.status || !strings.Contains(g.Heading, p.heading) {
			t.Errorf("page %d (%s): %s with HTTP %d, headed %q; want %s, %d, %q", i, g.Do, at, g.Status, g.Heading, p.path, p.status, p.heading)
		}
	}
	if len(got.Foreign) > 0 || len(got.Console) > 0 {
		t.Errorf("asked of other hosts: %q; errors: %q", got.Foreign, got.Console)
	}
	now, err := s.admin.License(t.Context(), was.ID)
	s.did(now, err)
	if now.State != license.StateSuspended || now.Revision != was.Revision+1 {
		t.Errorf("the licence is %s, of revision %d after %d", now.State, now.Revision, was.Revision)
	}
}
