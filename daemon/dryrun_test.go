package daemon_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// folder is what lies in a folder, by name.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The keys can be tried: what a revocation, its withdrawal and an installation
// would come to is told, or why they would be refused, and nothing moves.
func TestDryRunOfKeys(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	dir := filepath.Join(m.dir, "licensed-data", "keys")
	var proposal adminwire.Proposal
	var list adminwire.KeyList
	m.ok(asError(m.admin(http.MethodPost, adminwire.PathProposal, nil, &proposal)))
	m.ok(asError(m.admin(http.MethodGet, adminwire.PathKeys, nil, &list)))
	anchor, err := keys.OpenAnchor(filepath.Join(dir, "anchors", "primary.pem.age"), keys.AnchorOptions{Identity: filepath.Join(dir, "identity")})
	m.ok(err)
	set, err := anchor.SignKeySet(proposal.KeySet, time.Now())
	m.ok(err)
	byRole := map[string]string{}
	for _, k := range list.Keys {
		byRole[k.Role] = k.ID
	}
	before, events := folder(t, dir), m.events()
	dry := func(path, body string) string {
		t.Helper()
		_, text := m.staff(http.MethodPost, path+"?dry_run=true", body)
		return text
	}
	would := decode[adminwire.KeyList](t, dry(adminwire.PathKeySet, `{"token":"`+set+`"}`))
	roles := map[string]int{}
	for _, k := range would.Keys {
		roles[k.Role]++
	}
	if would.Seq != list.Seq+1 || roles["current"] != 1 || roles["next"] == 0 {
		t.Errorf("%+v", would)
	}
	if p := decode[wire.Problem](t, dry(adminwire.PathKeySet, `{"token":"`+set[:len(set)-8]+`AAAAAAAA"}`)); p.Reason != license.BadRequest {
		t.Errorf("a forged set: %+v", p)
	}
	r := decode[adminwire.KeyRevocations](t, dry(adminwire.PathKeyRevocations, `{"reason":"stolen","keys":["`+byRole["current"]+`"]}`))
	if len(r.Revocations) != 1 || r.Rotated == nil || r.Rotated.Current != byRole["next"] || r.Revocations[0].Signs {
		t.Errorf("%+v", r)
	}
	r = decode[adminwire.KeyRevocations](t, dry(adminwire.PathKeyRevocations, `{"reason":"stolen","keys":["`+byRole["current"]+`","`+byRole["next"]+`"]}`))
	if len(r.Revocations) != 2 || r.Rotated != nil {
		t.Errorf("with the next key: %+v", r)
	}
	m.ok(asError(m.admin(http.MethodPost, adminwire.PathKeyRevocations, adminwire.RevokeKeys{Reason: "lost", Keys: []string{byRole["next"]}}, nil)))
	events = append(events, m.events()[len(events):]...)
	if p := decode[wire.Problem](t, dry(adminwire.PathKeySet, `{"token":"`+set+`"}`)); p.Reason != license.Conflict {
		t.Errorf("a set with a key that is being revoked: %+v", p)
	}
	if k := decode[adminwire.KeyKept](t, dry(strings.Replace(adminwire.PathKeyKeep, "{kid}", byRole["next"], 1), "")); !k.Changed {
		t.Errorf("%+v", k)
	}
	if c := decode[adminwire.CheckpointMade](t, dry(adminwire.PathCheckpoint, "")); !c.Changed || c.Checkpoint == nil || c.Checkpoint.Token != "" {
		t.Errorf("%+v", c)
	}
	if d := cmp.Diff(before, folder(t, dir)); d != "" {
		t.Errorf("the keys have moved (-before +after):\n%s", d)
	}
	if d := cmp.Diff(events, m.events()); d != "" {
		t.Errorf("the audit log changed (-before +after):\n%s", d)
	}
	var revoked adminwire.KeyRevocations
	m.ok(asError(m.admin(http.MethodGet, adminwire.PathKeyRevocations, nil, &revoked)))
	if len(revoked.Revocations) != 1 || revoked.Revocations[0].EndedAt != nil {
		t.Errorf("%+v", revoked)
	}
	// It is as it was told: the mark is taken away, and the set goes in.
	m.must(http.MethodPost, strings.Replace(adminwire.PathKeyKeep, "{kid}", byRole["next"], 1), nil)
	var is adminwire.KeyList
	m.ok(asError(m.admin(http.MethodPost, adminwire.PathKeySet, adminwire.KeySet{Token: set}, &is)))
	if d := cmp.Diff(would, is); d != "" {
		t.Errorf("what was told and what is (-told +is):\n%s", d)
	}
}

// The end of reconcile mode can be tried, however much there is to drop, and so
// can a decision.
func TestDryRunOfReconcile(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	viewer, issuer := m.token("viewer", "viewer").Token, m.token("issuer", "issuer").Token
	copied := m.backup()
	m.must(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: "cad", For: "30d", Count: 450})
	m.goBack(copied)
	before, _ := m.restore()
	if !before.Open || before.ToDecide["lost_license"] != 450 {
		t.Fatalf("%+v", before)
	}
	m.allow(viewer, http.MethodGet, adminwire.PathRestore, "")
	list := decode[adminwire.RestoreItems](t, m.allow(viewer, http.MethodGet, adminwire.PathRestoreItems+"?limit=1", ""))
	m.refuse(license.Forbidden, issuer, http.MethodPost, adminwire.PathRestoreFinish, `{"drop_rest":true}`)
	m.refuse(license.Forbidden, issuer, http.MethodPost, adminwire.PathBackup, "")
	events := m.events()
	dry := func(path, body string) string {
		t.Helper()
		rs, text := m.staff(http.MethodPost, path+"?dry_run=true", body)
		if rs.StatusCode == http.StatusOK && rs.Header.Get(adminwire.HeaderDryRun) != "true" {
			t.Errorf("%s: %s", path, text)
		}
		return text
	}
	if f := decode[adminwire.RestoreFinished](t, dry(adminwire.PathRestoreFinish, `{"drop_rest":true}`)); f.Open || f.Dropped != 450 {
		t.Errorf("%+v", f)
	}
	if p := decode[wire.Problem](t, dry(adminwire.PathRestoreFinish, `{}`)); p.Reason != license.Conflict {
		t.Errorf("%+v", p)
	}
	if i := decode[adminwire.RestoreItem](t, dry(adminwire.PathRestoreDecide, `{"id":"`+list.Items[0].ID+`","decision":"drop"}`)); i.ID != list.Items[0].ID {
		t.Errorf("%+v", i)
	}
	if after, _ := m.restore(); !cmp.Equal(before, after) {
		t.Errorf("a dry run was made: %s", cmp.Diff(before, after))
	}
	if d := cmp.Diff(events, m.events()); d != "" {
		t.Errorf("the audit log changed (-before +after):\n%s", d)
	}
	// With a key it is made once.
	rs, first := m.staff(http.MethodPost, adminwire.PathRestoreFinish, `{"drop_rest":true}`, adminwire.HeaderKey, "f")
	if f := decode[adminwire.RestoreFinished](t, first); rs.StatusCode != http.StatusOK || f.Open || f.Dropped != 450 {
		t.Errorf("HTTP %d: %s", rs.StatusCode, first)
	}
	if _, again := m.staff(http.MethodPost, adminwire.PathRestoreFinish, `{"drop_rest":true}`, adminwire.HeaderKey, "f"); again != first {
		t.Errorf("%s, then %s", first, again)
	}
}
