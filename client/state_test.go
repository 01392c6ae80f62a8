package client_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

func TestStateFileTroubles(t *testing.T) {
	good := func(t *testing.T, s *site) []byte {
		t.Helper()
		check(t, s.activated().Close())
		data, err := os.ReadFile(filepath.Join(s.opts.StateDir, "install.json"))
		check(t, err)
		return data
	}
	set := func(from, to string) func([]byte) []byte {
		return func(d []byte) []byte { return []byte(strings.Replace(string(d), from, to, 1)) }
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		opens  bool
		want   license.Reason
	}{
		"empty object":   {func([]byte) []byte { return []byte("{}") }, true, license.Damaged},
		"cut":            {func(d []byte) []byte { return d[:len(d)/2] }, true, license.Damaged},
		"not JSON":       {func([]byte) []byte { return []byte("\x00\x00\x00\x00") }, true, license.Damaged},
		"floor lowered":  {set(`"floor":17`, `"floor":16`), true, license.Damaged},
		"key exchanged":  {set(`"key":"`, `"key":"A`), true, license.Damaged},
		"newer version":  {func([]byte) []byte { return []byte(`{"format":2,"check":"bmV3","memory":{"product":"cad-pro"}}`) }, false, license.Conflict},
		"other product":  {func([]byte) []byte { d, _ := client.Encode(client.Memory{Product: "viewer"}); return d }, false, license.Conflict},
		"floor far away": {set(`"floor":17`, `"floor":99999917`), true, license.Damaged},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			path := filepath.Join(s.opts.StateDir, "install.json")
			changed := c.change(good(t, s))
			check(t, os.WriteFile(path, changed, 0o600))
			g, err := client.Open(t.Context(), s.opts)
			if !c.opens {
				wantReason(t, err, c.want)
				if now, err := os.ReadFile(path); err != nil || string(now) != string(changed) {
					t.Error("it was touched")
				}
				return
			}
			check(t, err)
			defer func() { _ = g.Close() }()
			if st := g.Status(); st.Usable || st.Reason != license.NoLicense {
				t.Errorf("%+v", st)
			}
			if w := g.Warnings(); len(w) != 1 || !errors.Is(w[0], c.want) || !strings.Contains(w[0].Error(), "activate it again") {
				t.Errorf("warnings %v", w)
			}
			if aside, err := os.ReadFile(path + ".damaged"); err != nil || string(aside) != string(changed) {
				t.Errorf("not set aside: %v", err)
			}
			check(t, g.Activate(t.Context(), code))
			wantLicensed(t, g)
		})
	}
}

// What this process knows survives a file that is spoiled under its feet.
func TestStateFileSpoiledMeanwhile(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	path := filepath.Join(s.opts.StateDir, "install.json")
	check(t, os.WriteFile(path, []byte("x"), 0o600))
	s.clock.add(time.Hour)
	check(t, g.Refresh(t.Context()))
	wantLicensed(t, g)
	if len(g.Warnings()) != 1 {
		t.Errorf("warnings %v", g.Warnings())
	}
	check(t, g.Close())
	wantLicensed(t, s.open())
}

// failing is a Cache that fails when told to.
type failing struct {
	client.MemoryCache
	load, store error
}

func (f *failing) Load() ([]byte, error) {
	if f.load != nil {
		return nil, f.load
	}
	return f.MemoryCache.Load()
}

func (f *failing) Store(data []byte) error {
	if f.store != nil {
		return f.store
	}
	return f.MemoryCache.Store(data)
}

func TestFullDisk(t *testing.T) {
	s := newSite(t)
	c := &failing{}
	s.opts.Cache = c
	g := s.open()
	c.store = errors.New("no space left on device")
	wantReason(t, g.Activate(t.Context(), code), license.ReadOnly)
	if len(s.vendor.seen()) != 0 {
		t.Error("a request was sent that was not stored")
	}
	c.store = nil
	s.vendor.spoil = func(token.Request, *wire.Answer) { c.store = errors.New("no space left on device") }
	wantReason(t, g.Activate(t.Context(), code), license.ReadOnly)
	if g.Status().Usable {
		t.Error("licensed without being stored")
	}
	s.vendor.spoil, c.store = nil, nil
	check(t, g.Activate(t.Context(), code))
	wantLicensed(t, g)
	if seen := s.vendor.seen(); len(seen) != 2 || seen[0].Raw != seen[1].Raw {
		t.Error("not the same bytes")
	}
	c.load = errors.New("input/output error")
	wantReason(t, g.Refresh(t.Context()), license.ReadOnly)
	wantLicensed(t, g)
	_, err := client.Open(t.Context(), s.opts)
	wantReason(t, err, license.ReadOnly)
	c.load = &fs.PathError{Op: "open", Path: "install.json", Err: fs.ErrPermission}
	_, err = client.Open(t.Context(), s.opts)
	wantReason(t, err, license.ReadOnly)
	if !strings.Contains(err.Error(), "another user") {
		t.Errorf("it does not say whose it is: %v", err)
	}
}

func TestReadOnlyFolder(t *testing.T) {
	s := newSite(t)
	blocked := filepath.Join(s.opts.StateDir, "file")
	check(t, os.WriteFile(blocked, nil, 0o600))
	s.opts.StateDir = filepath.Join(blocked, "state") // cannot be made, for root neither
	g, err := client.Open(t.Context(), s.opts)
	if err != nil {
		wantReason(t, err, license.ReadOnly)
		return
	}
	wantReason(t, g.Activate(t.Context(), code), license.ReadOnly)
}

// Two processes that share a folder take over what the other stored.
func TestSharedFolder(t *testing.T) {
	s := newSite(t)
	a := s.activated()
	b := s.open()
	for _, g := range []*client.Guard{a, b, a} {
		s.clock.add(time.Hour)
		check(t, g.Refresh(t.Context()))
	}
	seen := s.vendor.seen()
	for i, want := range []string{"", "jti-1", "jti-2", "jti-3"} {
		if seen[i].Prev != want {
			t.Errorf("request %d names %q as the newest, want %q", i, seen[i].Prev, want)
		}
	}
	check(t, os.Remove(filepath.Join(s.opts.StateDir, "install.json")))
	wantReason(t, a.Refresh(t.Context()), license.NoLicense)
}
