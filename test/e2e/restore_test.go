package e2e_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// The daemon is killed right after it answered a revocation, and its store is
// replaced by an older file: the revocation holds. The same again where the
// daemon is killed while it makes it hold.
func TestRevocationOutlastsKillAndRestore(t *testing.T) {
	s := newSite(t, standard)
	p := s.start()
	kept, revoked := p.issue("cad", 1), p.issue("cad", 1)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	db := filepath.Join(s.dir, "licensed-data", "licensed.db")
	old, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	p = s.start()
	path := strings.Replace(adminwire.PathRevoke, "{id}", revoked.ID, 1)
	if err := p.admin(http.MethodPost, path, adminwire.Revoke{Reason: "refund"}, &adminwire.Edited{}); err != nil {
		t.Fatal(err)
	}
	p.kill()

	putBack := func() {
		t.Helper()
		if err := os.WriteFile(db, old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	putBack()
	for range 3 { // killed at its start, as far as it had come
		cmd, log := s.command("serve", "--config", s.config)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-log.grew
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
	}
	for range 2 { // the second time the file is put back once more
		p = s.start()
		if l := p.show(revoked.ID); l.State != license.StateRevoked {
			t.Errorf("the revoked licence is %s", l.State)
		}
		if l := p.show(kept.ID); l.State != license.StateIssued {
			t.Errorf("the other licence is %s", l.State)
		}
		var st adminwire.Restore
		if err := p.admin(http.MethodGet, adminwire.PathRestore, nil, &st); err != nil || !st.Open || !st.Complete || st.Applied != 1 {
			t.Errorf("%+v, %v", st, err)
		}
		p.kill()
		putBack()
	}
	if raw, err := os.ReadFile(filepath.Join(s.dir, "licensed-data", "marks.jsonl")); err != nil || bytes.Contains(raw, []byte("LIC-")) {
		t.Errorf("the marks hold a code, %v", err)
	}
}
