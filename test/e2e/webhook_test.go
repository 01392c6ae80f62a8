package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// told is what a receiver of webhooks has taken, by licence.
type told struct {
	t    *testing.T
	key  []byte
	grew chan struct{}

	mu     sync.Mutex
	ids    map[string]bool
	doubly int
	types  map[string][]string // without repetitions, in the order in which they came first
}

func (r *told) ServeHTTP(w http.ResponseWriter, rq *http.Request) {
	body, err := io.ReadAll(rq.Body)
	if err != nil {
		return // the daemon was killed
	}
	id := rq.Header.Get("webhook-id")
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(id + "." + rq.Header.Get("webhook-timestamp") + "." + string(body)))
	if got := rq.Header.Get("webhook-signature"); got != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		r.t.Errorf("the signature of %s is %s", id, got)
	}
	var m struct {
		Type string
		Data struct{ License struct{ ID string } }
	}
	if err := json.Unmarshal(body, &m); err != nil {
		r.t.Errorf("%v: %s", err, body)
	}
	r.mu.Lock()
	if r.ids[id] {
		r.doubly++
	} else {
		r.ids[id] = true
		r.types[m.Data.License.ID] = append(r.types[m.Data.License.ID], m.Type)
	}
	r.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
	select {
	case r.grew <- struct{}{}:
	default:
	}
}

// has reports whether all of what is wanted of each licence has come, and what is missing.
func (r *told) has(want map[string][]string) (missing string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, types := range want {
		if got := r.types[id]; len(got) < len(types) {
			return fmt.Sprintf("%s: %v, want %v", id, got, types)
		}
	}
	return ""
}

// check compares what was told, and returns how many were told more than once.
func (r *told) check(want map[string][]string) (doubly int) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.types); diff != "" {
		r.t.Errorf("told (-want +got):\n%s", diff)
	}
	return r.doubly
}

// A daemon that is killed at any moment tells each event that it answered for, in
// the order of its licence, and after it stopped in peace it tells none again.
func TestWebhooksOutlastKills(t *testing.T) {
	const rounds, licenses = 5, 6
	r := &told{t: t, key: []byte(strings.Repeat("k", 32)), grew: make(chan struct{}, 1), ids: make(map[string]bool), types: make(map[string][]string)}
	server := httptest.NewServer(r)
	defer server.Close()
	s := newSite(t, standard+"webhooks:\n  - {name: crm, url: \""+server.URL+"\", secret_file: hook-secret, events: [license.*]}\n")
	s.write("hook-secret", "whsec_"+base64.StdEncoding.EncodeToString(r.key)+"\n")
	p := s.start()
	want := make(map[string][]string)
	await := func() {
		t.Helper()
		deadline := time.After(90 * time.Second)
		for {
			missing := r.has(want)
			if missing == "" {
				return
			}
			select {
			case <-r.grew:
			case <-deadline:
				t.Fatalf("not told of %s\n%s", missing, p.log)
			}
		}
	}
	want[p.issue("cad", 1).ID] = []string{"license.issued"} // the very first thing that happens
	await()
	edit := func(path, id string, in any) {
		t.Helper()
		if err := p.admin(http.MethodPost, strings.Replace(path, "{id}", id, 1), in, &adminwire.Edited{}); err != nil {
			t.Fatal(err)
		}
	}
	for range rounds {
		for range licenses {
			id := p.issue("cad", 1).ID
			edit(adminwire.PathSuspend, id, nil)
			edit(adminwire.PathResume, id, nil)
			edit(adminwire.PathRevoke, id, adminwire.Revoke{Reason: "refund"})
			want[id] = []string{"license.issued", "license.suspended", "license.resumed", "license.revoked"}
		}
		p.kill() // some are told, some are under way, some not read yet
		p = s.start()
	}
	await()
	p.idle() // what was told before the last kill is told again
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	doubly := r.check(want)
	t.Logf("%d events were told twice", doubly)
	p = s.start()
	want[p.issue("cad", 1).ID] = []string{"license.issued"}
	await()
	if again := r.check(want); again != doubly {
		t.Errorf("%d events were told again after the daemon had stopped in peace", again-doubly)
	}
}

// idle waits until no event waits any more.
func (p *process) idle() {
	p.site.t.Helper()
	deadline := time.After(90 * time.Second)
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		var list adminwire.WebhookList
		if err := p.admin(http.MethodGet, adminwire.PathWebhooks, nil, &list); err != nil {
			p.site.t.Fatal(err)
		}
		if list.Webhooks[0].Waiting == 0 {
			return
		}
		select {
		case <-look.C:
		case <-deadline:
			p.site.t.Fatalf("events wait: %+v", list)
		}
	}
}
