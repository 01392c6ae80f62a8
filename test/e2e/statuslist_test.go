package e2e_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
	"github.com/seed-357fa782/licensed/test/internal/program"
)

// another is another implementation of the Token Status List.
type another struct{ node, modules string }

// newAnother finds the npm package that `make test` installs, or skips. In CI
// nothing is skipped.
func newAnother(t *testing.T) another {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("Node is missing: no other implementation of the Token Status List to compare with")
	}
	var manifest struct{ Dependencies map[string]string }
	data, err := os.ReadFile("testdata/interop/package.json")
	if err != nil {
		t.Fatal(err)
	}
	const name = "@sd-jwt/jwt-status-list"
	if err := json.Unmarshal(data, &manifest); err != nil || manifest.Dependencies[name] == "" {
		t.Fatalf("package.json: %v", err)
	}
	modules, err := filepath.Abs("../../.tools/jwt-status-list-" + manifest.Dependencies[name])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "node_modules", filepath.FromSlash(name))); err != nil {
		missing("the npm package %s is missing: `make interop-tools` installs it", name)
	}
	return another{node: node, modules: modules}
}

// run has the other implementation read or write.
func (a another) run(t *testing.T, mode string, in, out any) {
	t.Helper()
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), a.node, "testdata/interop/statuslist.mjs", a.modules, mode)
	cmd.Stdin = bytes.NewReader(data)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	answer, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, &stderr)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		t.Fatalf("node said %.300s: %v", answer, err)
	}
}

// get is the body at a path of the public listener.
func (p *process) get(path string) ([]byte, error) {
	rs, err := http.Get("http://" + p.public + path)
	if err != nil {
		return nil, err
	}
	defer rs.Body.Close()
	if rs.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d at %s", rs.StatusCode, path)
	}
	return io.ReadAll(rs.Body)
}

// listPath is where the list is published whose address a licence names.
func listPath(uri string) string { return strings.TrimPrefix(uri, "http://licence.test") }

// Another implementation reads the daemon's list as it is meant: the signature
// verifies, and each of its places says what became of that install.
func TestStatusListReadByAnother(t *testing.T) {
	t.Parallel()
	js := newAnother(t)
	p := newSite(t, standard).start()
	want := map[string]int{}
	path := ""
	for n := range 24 {
		l := p.issue("cad", 1)
		i, err := program.NewInstall("cad", fmt.Sprint("machine-", n))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := i.Activation(l.Code)
		if err != nil {
			t.Fatal(err)
		}
		ans, err := p.send(http.DefaultClient, raw, "")
		if err != nil {
			t.Fatal(err)
		}
		held, err := token.PeekLicense(ans.License)
		if err != nil {
			t.Fatal(err)
		}
		path = listPath(held.Status.URI)
		if n%4 == 0 {
			continue
		}
		step := []struct {
			path   string
			body   any
			status int
		}{
			1: {adminwire.PathSuspend, struct{}{}, 2},
			2: {adminwire.PathRelease, struct{}{}, 1},
			3: {adminwire.PathRevoke, map[string]string{"reason": "test"}, 2}, // it can still be undone
		}[n%4]
		if err := p.admin(http.MethodPost, strings.Replace(step.path, "{id}", l.ID, 1), step.body, &adminwire.Edited{}); err != nil {
			t.Fatalf("%s: %v", step.path, err)
		}
		want[fmt.Sprint(held.Status.Index)] = step.status
	}
	jwks, err := p.get(wire.PathJWKS)
	if err != nil {
		t.Fatal(err)
	}
	type reading struct {
		Header  map[string]string `json:"header"`
		Payload struct {
			Issuer  string         `json:"iss"`
			Subject string         `json:"sub"`
			TTL     int            `json:"ttl"`
			List    map[string]int `json:"status_list"`
		} `json:"payload"`
		Length int            `json:"length"`
		Marked map[string]int `json:"marked"`
	}
	var got reading
	for end := time.Now().Add(30 * time.Second); !maps.Equal(got.Marked, want) && time.Now().Before(end); {
		list, err := p.get(path)
		if err != nil {
			t.Fatal(err)
		}
		got = reading{}
		js.run(t, "read", map[string]any{"token": string(list), "jwks": json.RawMessage(jwks)}, &got)
	}
	if diff := cmp.Diff(want, got.Marked); diff != "" {
		t.Errorf("the other implementation reads (+), the facts are (-):\n%s", diff)
	}
	if got.Length != license.StatusListLength || got.Header["typ"] != "statuslist+jwt" || got.Payload.Subject != "http://licence.test"+path ||
		got.Payload.TTL != 900 || got.Payload.List["bits"] != 2 {
		t.Errorf("the other implementation reads %+v", got)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

// checkStatuses compares the published lists of a daemon that has just started
// with all facts: no place was given twice, and what happened to an install or
// its licence shows, and nothing else.
func (p *process) checkStatuses(t *testing.T) {
	t.Helper()
	want := make(map[adminwire.StatusPlace]license.ListStatus)
	lists := make(map[string]bool)
	for cursor := ""; ; {
		var page adminwire.LicenseList
		if err := p.admin(http.MethodGet, adminwire.PathLicenses+"?limit=1000&cursor="+cursor, nil, &page); err != nil {
			t.Fatal(err)
		}
		for _, l := range page.Licenses {
			for _, i := range l.Installs {
				if i.Status == nil {
					t.Fatalf("install %s has no place", i.ID)
				}
				if _, twice := want[*i.Status]; twice {
					t.Errorf("place %+v was given twice", *i.Status)
				}
				lists[i.Status.List] = true
				switch {
				case i.State != license.InstallLive:
					want[*i.Status] = license.StatusRevoked
				case l.State == license.StateSuspended:
					want[*i.Status] = license.StatusSuspended
				default:
					want[*i.Status] = license.StatusValid
				}
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	for id := range lists {
		raw, err := p.get(strings.Replace(wire.PathStatus, "{list}", id, 1))
		if err != nil {
			t.Fatal(err)
		}
		keys, err := p.get(wire.PathKeys)
		if err != nil {
			t.Fatal(err)
		}
		anchors, err := os.ReadFile(filepath.Join(p.site.dir, "licensed-data/keys/anchors.json"))
		if err != nil {
			t.Fatal(err)
		}
		as, err := token.ParseAnchors(anchors)
		if err != nil {
			t.Fatal(err)
		}
		set, err := token.VerifyKeySet(string(keys), as)
		if err != nil {
			t.Fatal(err)
		}
		list, err := token.VerifyStatusList(string(raw), set, token.ExpectStatusList{})
		if err != nil {
			t.Fatal(err)
		}
		for index := range list.Len() {
			place := adminwire.StatusPlace{List: id, Index: index}
			if got, _ := list.At(index); got != want[place] {
				t.Errorf("place %+v is listed as %d, and the facts say %d", place, got, want[place])
			}
		}
	}
}

// And what the other implementation writes is read by ours.
func TestStatusListWrittenByAnother(t *testing.T) {
	t.Parallel()
	js := newAnother(t)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.NewSigningKey(private)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	set := token.KeySet{Issuer: "x", Keys: []token.Key{{ID: key.ID, Public: public, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}}}
	for _, length := range []int{4, 1000, license.StatusListLength} {
		marked := map[int]int{0: 1, length - 1: 2}
		for range length / 50 {
			marked[rand.IntN(length)] = 1 + rand.IntN(3)
		}
		var out struct {
			List string `json:"lst"`
		}
		js.run(t, "write", map[string]any{"length": length, "marked": marked}, &out)
		raw, err := token.SignStatusList(token.StatusList{
			Issuer: "x", URI: "x/1", IssuedAt: now, ExpiresAt: now.Add(time.Hour), TTL: time.Minute, List: out.List,
		}, key)
		if err != nil {
			t.Fatal(err)
		}
		l, err := token.VerifyStatusList(raw, set, token.ExpectStatusList{})
		if err != nil {
			t.Fatal(err)
		}
		for index := range length {
			if got, ok := l.At(index); !ok || int(got) != marked[index] {
				t.Fatalf("place %d of %d is read as %d, want %d", index, length, got, marked[index])
			}
		}
	}
}
