package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// receivers stand behind the webhooks of scripts, one for each.
type receivers struct{ byFolder sync.Map }

// hookReceiver answers with a status, and keeps what it was sent.
type hookReceiver struct {
	mu       sync.Mutex
	status   int
	received []string
	grew     chan struct{}
}

func (r *hookReceiver) ServeHTTP(w http.ResponseWriter, rq *http.Request) {
	var m struct {
		Type string
		Data struct{ License struct{ ID string } }
	}
	if err := json.NewDecoder(rq.Body).Decode(&m); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status < 300 {
		r.received = append(r.received, fmt.Sprintf("%s %s %s\n", rq.Header.Get("webhook-id"), m.Type, m.Data.License.ID))
	}
	select {
	case r.grew <- struct{}{}:
	default:
	}
	w.WriteHeader(r.status)
	_, _ = w.Write([]byte("so says the receiver"))
}

// command is receiver start|status N|wait N|forget. start writes the address into
// licensed.yaml, in the place of RECEIVER; wait wants just N deliveries taken, and
// writes them to the file received.
func (rs *receivers) command(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: receiver start|status N|wait N|forget")
	}
	work := ts.Getenv("WORK")
	if args[0] == "start" {
		r := &hookReceiver{status: http.StatusOK, grew: make(chan struct{}, 1)}
		s := httptest.NewServer(r)
		ts.Defer(s.Close)
		rs.byFolder.Store(work, r)
		path := filepath.Join(work, "licensed.yaml")
		text := strings.ReplaceAll(ts.ReadFile("licensed.yaml"), "RECEIVER", s.URL)
		ts.Check(os.WriteFile(path, []byte(text), 0o600))
		return
	}
	kept, ok := rs.byFolder.Load(work)
	if !ok {
		ts.Fatalf("receiver start comes first")
	}
	r := kept.(*hookReceiver)
	n := 0
	if len(args) > 1 {
		var err error
		n, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	switch args[0] {
	case "status":
		r.mu.Lock()
		r.status = n
		r.mu.Unlock()
	case "forget":
		r.mu.Lock()
		r.received = nil
		r.mu.Unlock()
	case "wait":
		deadline := time.NewTimer(30 * time.Second)
		defer deadline.Stop()
		for {
			r.mu.Lock()
			got := append([]string{}, r.received...)
			r.mu.Unlock()
			if len(got) >= n {
				if len(got) > n {
					ts.Fatalf("%d deliveries, want %d:\n%s", len(got), n, strings.Join(got, ""))
				}
				ts.Check(os.WriteFile(filepath.Join(work, "received"), []byte(strings.Join(got, "")), 0o600))
				return
			}
			select {
			case <-r.grew:
			case <-deadline.C:
				ts.Fatalf("%d deliveries, want %d:\n%s", len(got), n, strings.Join(got, ""))
			}
		}
	default:
		ts.Fatalf("receiver does not know %s", args[0])
	}
}

// waitFor runs a command until its output matches: what it shows is written a
// little after it has happened.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: wait-for TEXT command [args]")
	}
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			ts.Fatalf("%s does not show %q", args[1], args[0])
		}
	}
}

// The endpoints that are wrong are named, each once.
func TestWebhookChecks(t *testing.T) {
	t.Parallel()
	s := adminwire.Status{Webhooks: []adminwire.WebhookLine{
		{Name: "a", Level: adminwire.LevelOK},
		{Name: "b", Level: adminwire.LevelWarn, Problems: []string{"it lags", "it gave up"}},
		{Name: "c", Level: adminwire.LevelFail, Problems: []string{"disabled"}},
	}}
	want := []check{
		{"webhook", checkOK, "a is told about events", ""},
		{"webhook", checkWarn, "b: it lags; it gave up", "see licensectl webhook list"},
		{"webhook", checkFail, "c: disabled", "see licensectl webhook list"},
	}
	if got := webhookChecks(s); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v", got)
	}
}
