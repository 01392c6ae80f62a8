package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/backup"
	"github.com/seed-357fa782/licensed/store/dump"
)

// machine is a computer with the product on it.
type machine struct {
	m    *merchant
	name string
	dir  string
	g    *client.Guard
}

func (m *merchant) machine(name string) *machine {
	return &machine{m: m, name: name, dir: m.t.TempDir()}
}

// start starts the product, at the address that the daemon has now.
func (x *machine) start() *client.Guard {
	x.m.t.Helper()
	if x.g != nil {
		if err := x.g.Close(); err != nil {
			x.m.t.Error(err)
		}
	}
	data, err := os.ReadFile(filepath.Join(x.m.dir, "licensed-data", "keys", "anchors.json"))
	if err != nil {
		x.m.t.Fatal(err)
	}
	anchors, err := token.ParseAnchors(data)
	if err != nil {
		x.m.t.Fatal(err)
	}
	x.g, err = client.Open(x.m.t.Context(), client.Options{
		Anchors: anchors, Product: "cad", Server: "http://" + x.m.d.Addr(), StateDir: x.dir, HTTPClient: x.m.c, Manual: true,
		Fingerprint: func(context.Context) (fingerprint.Set, error) {
			return fingerprint.Set{Values: map[license.Kind][]string{license.KindDisk: {"disk-" + x.name}, license.KindOS: {"os-" + x.name}}}, nil
		},
	})
	if err != nil {
		x.m.t.Fatal(err)
	}
	x.m.t.Cleanup(func() { _ = x.g.Close() })
	return x.g
}

func (x *machine) activate(code string) error {
	x.m.t.Helper()
	return x.start().Activate(x.m.t.Context(), code)
}

func (x *machine) refresh() error {
	x.m.t.Helper()
	return x.start().Refresh(x.m.t.Context())
}

func (m *merchant) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// change calls the admin API about a licence.
func (m *merchant) post(path, id string, in any) {
	m.t.Helper()
	if err := m.admin(http.MethodPost, strings.Replace(path, "{id}", id, 1), in, nil); err != nil {
		m.t.Fatal(err)
	}
}

func (m *merchant) shown(id string) (l adminwire.License) {
	m.t.Helper()
	if err := m.admin(http.MethodGet, strings.Replace(adminwire.PathLicense, "{id}", id, 1), nil, &l); err != nil {
		m.t.Fatal(err)
	}
	return l
}

func (m *merchant) restore() (r adminwire.Restore, items map[string]adminwire.RestoreItem) {
	m.t.Helper()
	var list adminwire.RestoreItems
	if err := errors.Join(asError(m.admin(http.MethodGet, adminwire.PathRestore, nil, &r)), asError(m.admin(http.MethodGet, adminwire.PathRestoreItems, nil, &list))); err != nil {
		m.t.Fatal(err)
	}
	items = make(map[string]adminwire.RestoreItem)
	for _, i := range list.Items {
		items[i.ID] = i
	}
	return r, items
}

// asError keeps a nil *license.Error from being an error.
func asError(err *license.Error) error {
	if err == nil {
		return nil
	}
	return err
}

// backup makes a backup of the running daemon.
func (m *merchant) backup() string {
	m.t.Helper()
	path := filepath.Join(m.t.TempDir(), "copy.backup")
	how := adminwire.PathBackup
	if m.url != "" {
		how = adminwire.PathDump // a database has tools of its own; a dump is as good
	}
	_, text := m.call(http.MethodPost, how)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if m.url != "" {
		return path
	}
	if _, err := backup.Verify(m.t.Context(), path, nil); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// goBack stops the daemon, restores a backup and starts it again.
func (m *merchant) goBack(path string) {
	m.t.Helper()
	m.down()
	m.putBack(path)
	m.up()
}

// putBack puts a backup in the place of the store.
func (m *merchant) putBack(path string) {
	m.t.Helper()
	if m.url == "" {
		_, _, err := backup.Restore(m.t.Context(), path, filepath.Join(m.dir, "licensed-data", "licensed.db"), backup.RestoreOptions{Now: time.Now()})
		m.ok(err)
		return
	}
	teststore.Empty(m.t, m.url)
	f, err := os.Open(path)
	m.ok(err)
	defer f.Close()
	s := m.open()
	_, err = dump.Load(m.t.Context(), s, f, dump.LoadOptions{})
	m.ok(err)
	m.ok(s.Update(m.t.Context(), func(ctx context.Context, tx store.Tx) error {
		head, err := store.HeadOf(ctx, tx)
		m.ok(err)
		note, err := json.Marshal(backup.Restored{At: time.Now(), MadeAt: time.Now(), Version: "v1", Audit: head})
		m.ok(err)
		return tx.SetValue(ctx, store.ValueRestored, note)
	}))
	m.ok(s.Close())
}

func wantReason(t *testing.T, what string, err error, want license.Reason) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

// A backup, a day's work, and a restore: nothing that was ended lives again, no
// seat is given twice, installs that the backup does not know go on, and what
// cannot be known is listed.
func TestRestoreStory(t *testing.T) {
	t.Parallel()
	m := start(t, strings.Replace(config, "machines: 2", "machines: 1", 1), nil)
	revoked, given, held, moved, renewed, chained := m.issue(), m.issue(), m.issue(), m.issue(), m.issue(), m.issue()
	a, b, c, f := m.machine("a"), m.machine("b"), m.machine("c"), m.machine("f")
	m.ok(a.activate(revoked.Code))
	m.ok(b.activate(given.Code))
	m.ok(c.activate(held.Code))
	m.ok(f.activate(chained.Code))
	listBefore := m.shown(revoked.ID).Installs[0].Status.List

	copied := m.backup()

	m.post(adminwire.PathRevoke, revoked.ID, adminwire.Revoke{Reason: "refund"})
	m.ok(b.g.Deactivate(t.Context()))
	m.post(adminwire.PathSuspend, held.ID, nil)
	d, e := m.machine("d"), m.machine("e")
	m.ok(d.activate(moved.Code))
	m.post(adminwire.PathRenew, renewed.ID, adminwire.Renew{For: "100d"})
	end := m.shown(renewed.ID).ExpiresAt
	m.ok(f.refresh())
	m.ok(f.refresh())
	late := m.issue()
	m.ok(e.activate(late.Code))
	seat := m.shown(moved.ID).Installs[0].Seat

	m.goBack(copied)

	var st adminwire.Status
	if err := m.admin(http.MethodGet, adminwire.PathStatus, nil, &st); err != nil || st.Restore == nil || !st.Ready || !st.Restore.Complete {
		t.Fatalf("status %+v, %v", st.Restore, err)
	}
	r, items := m.restore()
	if !r.Open || !r.Complete || r.Applied != 5 || r.Lost == 0 || r.MarkSeq <= r.HeadSeq || len(items) != 2 {
		t.Errorf("restore %+v, items %+v", r, items)
	}
	if i := items[late.ID+"/-"]; i.Kind != "lost_license" || i.Proven || len(i.Actions) != 2 {
		t.Errorf("the lost licence is %+v", i)
	}
	// Nothing that was ended lives again.
	if l := m.shown(revoked.ID); l.State != license.StateRevoked || l.RevokedAt == nil {
		t.Errorf("the revoked licence is %s", l.State)
	}
	wantReason(t, "the revoked licence", a.refresh(), license.Revoked)
	if l := m.shown(given.ID); len(l.Installs) != 1 || l.Installs[0].State != license.InstallDeactivated {
		t.Errorf("the install that was given up is %+v", l.Installs)
	}
	if l := m.shown(held.ID); l.State != license.StateSuspended {
		t.Errorf("the suspended licence is %s", l.State)
	}
	wantReason(t, "the suspended licence", c.refresh(), license.Suspended)
	if l := m.shown(renewed.ID); !l.ExpiresAt.Equal(*end) {
		t.Errorf("the renewed licence ends %s, not %s", l.ExpiresAt, end)
	}
	// No seat is given twice: one that the store does not know of is kept.
	g := m.machine("g")
	wantReason(t, "another machine", g.activate(moved.Code), license.MachineLimit)
	m.ok(d.refresh())
	if l := m.shown(moved.ID); len(l.Installs) != 1 || l.Installs[0].Seat != seat || l.State != license.StateActive || l.Forks != 0 {
		t.Errorf("the licence whose install was lost is %+v", l)
	}
	wantReason(t, "another machine, later", m.machine("h").activate(moved.Code), license.MachineLimit)
	m.ok(d.refresh())
	// Who went on since the backup is no copy.
	m.ok(f.refresh())
	m.ok(f.refresh())
	if l := m.shown(chained.ID); l.Forks != 0 {
		t.Errorf("%d forks were recorded", l.Forks)
	}
	// A licence that is gone cannot be answered about; what its holder shows is kept.
	wantReason(t, "the lost licence", e.refresh(), license.UnknownLicense)
	if st := e.g.Status(); !st.Usable {
		t.Errorf("its holder cannot go on: %+v", st)
	}
	// New installs draw from a new list.
	fresh := m.issue()
	m.ok(m.machine("i").activate(fresh.Code))
	if list := m.shown(fresh.ID).Installs[0].Status.List; list == listBefore || list != r.StatusList {
		t.Errorf("the new install draws from %s, as %s before; the mode says %s", list, listBefore, r.StatusList)
	}

	r, items = m.restore()
	if i := items[late.ID+"/-"]; len(items) != 1 || !i.Proven || i.Facts["customer"] != "ACME" || i.Facts["code_last4"] != late.CodeLast4 || r.Adopted != 1 {
		t.Errorf("adopted %d, items %+v", r.Adopted, items)
	}
	// A restart changes nothing of it.
	m.down()
	m.up()
	if again, items := m.restore(); !again.Open || again.Applied != r.Applied || len(items) != 1 {
		t.Errorf("after a restart: %+v, %+v", again, items)
	}
	if err := m.admin(http.MethodPost, adminwire.PathRestoreFinish, adminwire.RestoreFinish{}, nil); !errors.Is(asError(err), license.Conflict) {
		t.Errorf("finish with something to decide: %v", err)
	}
	if err := m.admin(http.MethodPost, adminwire.PathRestoreDecide, adminwire.RestoreDecide{ID: late.ID + "/-", Decision: "adopt"}, nil); !errors.Is(asError(err), license.Conflict) {
		t.Errorf("adopt a lost licence: %v", err)
	}
	m.post(adminwire.PathRestoreDecide, "", adminwire.RestoreDecide{ID: late.ID + "/-", Decision: "drop"})
	m.post(adminwire.PathRestoreFinish, "", adminwire.RestoreFinish{})
	if r, _ := m.restore(); r.Open || r.FinishedAt == nil {
		t.Errorf("finished: %+v", r)
	}
	m.ok(d.refresh())
	m.ok(f.refresh())
	if err := m.admin(http.MethodPost, adminwire.PathRestoreFinish, adminwire.RestoreFinish{}, nil); !errors.Is(asError(err), license.Conflict) {
		t.Errorf("finish twice: %v", err)
	}
}

// A file that was put back by hand, and one into whose folder no marks came.
func TestRestoreByOtherMeans(t *testing.T) {
	teststore.BoltOnly(t, "it is copied and put back by hand")
	t.Parallel()
	m := start(t, strings.Replace(config, "machines: 2", "machines: 1", 1), nil)
	l := m.issue()
	x := m.machine("x")
	m.ok(x.activate(l.Code))
	db := filepath.Join(m.dir, "licensed-data", "licensed.db")
	m.down()
	old, err := os.ReadFile(db)
	m.ok(err)
	m.up()
	m.ok(x.start().Deactivate(t.Context()))
	m.down()
	m.ok(os.WriteFile(db, old, 0o600))
	m.up()
	if r, _ := m.restore(); !r.Open || !r.Complete || r.Backup != nil {
		t.Errorf("the file that was put back: %+v", r)
	}
	if i := m.shown(l.ID).Installs[0]; i.State != license.InstallDeactivated {
		t.Errorf("the install that was given up is %s", i.State)
	}

	// The newest backup lacks nothing: there is nothing to reconcile.
	m.post(adminwire.PathRestoreFinish, "", adminwire.RestoreFinish{})
	copied := m.backup()
	m.goBack(copied)
	if r, _ := m.restore(); r.Open {
		t.Errorf("a backup that lacks nothing opens the mode: %+v", r)
	}
	// Without marks nobody knows what it lacks.
	m.down()
	for _, name := range []string{"marks.json", "marks.jsonl"} {
		m.ok(os.Remove(filepath.Join(m.dir, "licensed-data", name)))
	}
	m.up()
	if r, _ := m.restore(); r.Open {
		t.Errorf("a store without marks that was not restored: %+v", r)
	}
	m.down()
	for _, name := range []string{"marks.json", "marks.jsonl"} {
		m.ok(os.Remove(filepath.Join(m.dir, "licensed-data", name)))
	}
	m.putBack(copied)
	m.up()
	if r, _ := m.restore(); !r.Open || r.Complete || r.MarkSeq != 0 {
		t.Errorf("a restored store without marks: %+v", r)
	}
}

// An install that was bound after the backup and finds its seat taken is listed,
// and goes on once the merchant adopts it.
func TestRestoreWithoutMarksAndASeatTaken(t *testing.T) {
	t.Parallel()
	m := start(t, strings.Replace(config, "machines: 2", "machines: 1", 1), nil)
	l, other := m.issue(), m.issue()
	copied := m.backup()
	x, y, z := m.machine("x"), m.machine("y"), m.machine("z")
	m.ok(x.activate(l.Code))
	m.ok(z.activate(other.Code))
	m.down()
	for _, name := range []string{"marks.json", "marks.jsonl"} {
		m.ok(os.Remove(filepath.Join(m.dir, "licensed-data", name)))
	}
	m.up()
	m.goBackWithoutMarks(copied)
	m.ok(y.activate(l.Code)) // nobody knows of x
	wantReason(t, "the install without a seat", x.refresh(), license.MachineLimit)
	m.ok(z.refresh()) // has a free seat
	_, items := m.restore()
	if len(items) != 1 {
		t.Fatalf("items %+v", items)
	}
	for id, i := range items {
		if i.Kind != "no_seat" || !i.Proven || i.License != l.ID {
			t.Errorf("the item is %+v", i)
		}
		m.post(adminwire.PathRestoreDecide, "", adminwire.RestoreDecide{ID: id, Decision: "adopt"})
	}
	m.ok(x.refresh())
	m.ok(y.refresh())
	if shown := m.shown(l.ID); len(shown.Installs) != 2 {
		t.Errorf("installs %+v", shown.Installs)
	}
}

func (m *merchant) goBackWithoutMarks(path string) {
	m.t.Helper()
	m.down()
	for _, name := range []string{"marks.json", "marks.jsonl"} {
		m.ok(os.Remove(filepath.Join(m.dir, "licensed-data", name)))
	}
	m.putBack(path)
	m.up()
}
