package daemon_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// beside starts another daemon on the database of m, with a copy of its keys and a
// folder of its own.
func (m *merchant) beside() *merchant {
	m.t.Helper()
	dir, err := os.MkdirTemp("", "ld")
	m.ok(err)
	m.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m.ok(fs.WalkDir(os.DirFS(m.dir), ".", func(name string, f fs.DirEntry, err error) error {
		if err != nil || f.IsDir() {
			return errors.Join(err, os.MkdirAll(filepath.Join(dir, name), 0o700))
		}
		if inData := strings.HasPrefix(name, "licensed-data/"); inData && !strings.HasPrefix(name, "licensed-data/keys/") {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(m.dir, name))
		return errors.Join(err, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}))
	other := &merchant{t: m.t, dir: dir, c: &http.Client{}, edit: m.edit, url: m.url}
	other.up()
	m.t.Cleanup(func() { other.down(); other.c.CloseIdleConnections() })
	return other
}

// Two daemons on one database are one to whoever asks: what one has done the other
// knows, and refuses to do again.
func TestTwoDaemons(t *testing.T) {
	t.Setenv(teststore.Env, "postgres")
	m := startMarket(t)
	a, b := m.merchant, m.beside()

	t.Run("installs", func(t *testing.T) {
		l := a.issue()
		x := a.machine("x")
		a.ok(x.activate(l.Code))
		x.m = b
		b.ok(x.start().Refresh(t.Context()))
		if shown := a.shown(l.ID); shown.State != license.StateActive || len(shown.Installs) != 1 {
			t.Errorf("one sees %+v", shown)
		}
		raw := activation(t, l.Code, "y")
		_, first := a.do(http.MethodPost, wire.PathRequests, wire.TypePEM, string(token.MarshalRequestFile(raw)), "Accept", wire.TypePEM)
		rs, again := b.do(http.MethodPost, wire.PathRequests, wire.TypePEM, string(token.MarshalRequestFile(raw)), "Accept", wire.TypePEM)
		if rs.StatusCode != http.StatusOK || again != first {
			t.Errorf("the same request got another answer from the other: HTTP %d: %s", rs.StatusCode, again)
		}
		if shown := b.shown(l.ID); len(shown.Installs) != 2 {
			t.Errorf("the other sees %+v", shown.Installs)
		}
	})

	t.Run("callbacks", func(t *testing.T) {
		order, err := m.s.Buy(t.Context(), "OFFI1", 1, 365*24*time.Hour)
		a.ok(err)
		a.ok(m.s.Receive(order.Code))
		if _, reason := (&market{s: m.s, merchant: b}).activate(order.Code, "m"); reason != "" {
			t.Fatal(reason)
		}
		body := fmt.Sprintf(`{"activity":"updateLicenseCodeStatus","license":%q,"status":"FREEZE","testFlag":"0"}`, order.Code.Reveal())
		q := koogallery.SignedQuery(m.s.AccessKey(), "nonce-of-mine", time.Now(), []byte(body))
		tell := func(to *merchant) koogallery.ResultCode {
			rs, text := to.do(http.MethodPost, "/marketplace/koogallery?"+q.Encode(), "application/json", body)
			if rs.StatusCode != http.StatusOK {
				t.Fatalf("HTTP %d: %s", rs.StatusCode, text)
			}
			return koogallery.ResultCode(decode[map[string]string](t, text)["resultCode"])
		}
		if code := tell(a); code != koogallery.ResultOK {
			t.Fatal(code)
		}
		if l := (&market{s: m.s, merchant: b}).show(order.Code); l.State != license.StateSuspended {
			t.Errorf("the other has it %s", l.State)
		}
		before := a.events()
		if code := tell(b); code != koogallery.ResultAuthFailed {
			t.Errorf("the same bytes again, to the other: %s", code)
		}
		if after := b.events(); len(after) != len(before) {
			t.Errorf("they left %+v", after[len(before):])
		}
	})

	t.Run("staff", func(t *testing.T) {
		key := []string{adminwire.HeaderKey, "order 4711/1"}
		order := `{"product":"cad","for":"365d"}`
		before := len(a.licenses())
		answers := make([]string, 8)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() {
				for {
					rs, text := []*merchant{a, b}[i%2].staff(http.MethodPost, adminwire.PathLicenses, order, key...)
					if rs.StatusCode == http.StatusOK || rs.StatusCode == http.StatusCreated {
						answers[i] = text
						return
					}
					if rs.StatusCode != http.StatusConflict { // the first is still at it
						answers[i] = fmt.Sprintf("HTTP %d: %s", rs.StatusCode, text)
						return
					}
				}
			})
		}
		wg.Wait()
		if slices.Sort(answers); answers[0] != answers[len(answers)-1] || !strings.Contains(answers[0], `"code"`) {
			t.Errorf("one key got several answers: %q", slices.Compact(answers))
		}
		if n := len(b.licenses()); n != before+1 {
			t.Errorf("it made %d licences", n-before)
		}
	})

	t.Run("seats", func(t *testing.T) { raceForSeats(t, a, b) })

	t.Run("status", func(t *testing.T) {
		for _, d := range []*merchant{a, b} {
			list := d.daemons(2)
			if !list[0].Self || list[1].Self || list[0].ID == list[1].ID || list[0].Host == "" || list[1].Version != list[0].Version {
				t.Errorf("%+v", list)
			}
		}
		a.down()
		b.daemons(1) // without waiting until it is silent for long
		a.up()
		b.daemons(2)
	})

	t.Run("the other goes on", func(t *testing.T) {
		l := a.issue()
		a.down()
		x := b.machine("z")
		b.ok(x.activate(l.Code))
		a.up()
		if shown := a.shown(l.ID); shown.State != license.StateActive {
			t.Errorf("the one that was away has it %s", shown.State)
		}
	})
}

// daemons asks m for the daemons on its store until they are so many.
func (m *merchant) daemons(want int) (list []adminwire.DaemonLine) {
	m.t.Helper()
	for start := time.Now(); time.Since(start) < 30*time.Second; {
		var s adminwire.Status
		if err := m.admin(http.MethodGet, adminwire.PathStatus, nil, &s); err != nil {
			m.t.Fatal(err)
		}
		if list = s.Daemons; len(list) == want {
			return list
		}
	}
	m.t.Fatalf("it sees %+v, want %d", list, want)
	return nil
}

// raceForSeats has a hundred machines ask two daemons for the three seats of a licence.
func raceForSeats(t *testing.T, daemons ...*merchant) {
	t.Helper()
	l := daemons[0].issueFor(3)
	requests := make([]string, 100)
	for i := range requests {
		requests[i] = activation(t, l.Code, fmt.Sprintf("machine-%d", i))
	}
	var mu sync.Mutex
	reasons := map[license.Reason]int{}
	var wg sync.WaitGroup
	for i, raw := range requests {
		wg.Go(func() {
			_, reason := (&market{merchant: daemons[i%len(daemons)]}).ask(raw)
			mu.Lock()
			defer mu.Unlock()
			reasons[reason]++
		})
	}
	wg.Wait()
	if want := map[license.Reason]int{"": 3, license.MachineLimit: 97}; !maps.Equal(reasons, want) {
		t.Errorf("a hundred machines for three seats: %v", reasons)
	}
	for _, d := range daemons {
		live := 0
		for _, i := range d.shown(l.ID).Installs {
			if i.State == license.InstallLive {
				live++
			}
		}
		if live != 3 {
			t.Errorf("%d installs are active", live)
		}
	}
}

// issueFor issues a licence for so many machines.
func (m *merchant) issueFor(machines int) adminwire.License {
	m.t.Helper()
	var out adminwire.LicenseList
	if err := m.admin(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: "cad", For: "365d", Machines: machines}, &out); err != nil {
		m.t.Fatal(err)
	}
	return out.Licenses[0]
}
