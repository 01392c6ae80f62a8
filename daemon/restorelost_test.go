package daemon_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// get reads from the admin API.
func (m *merchant) get(path string, out any) {
	m.t.Helper()
	m.ok(asError(m.admin(http.MethodGet, path, nil, out)))
}

// A machine that the staff moved a licence off stays off it, and a change of which
// the marks do not say what it was is listed.
func TestRestoreAfterTheStaffMovedALicence(t *testing.T) {
	t.Parallel()
	m := start(t, strings.Replace(config, "machines: 2", "machines: 1", 1), nil)
	l, up := m.issue(), m.issue()
	x, y := m.machine("x"), m.machine("y")
	m.ok(x.activate(l.Code))
	copied := m.backup()
	m.post(adminwire.PathTransfer, l.ID, adminwire.MoveOff{Reason: "a new machine"})
	m.ok(y.activate(l.Code))
	m.post(adminwire.PathUpgrade, up.ID, adminwire.Upgrade{Machines: 5})

	m.goBack(copied)
	if is := m.shown(l.ID).Installs; len(is) != 1 || is[0].State != license.InstallTransferred {
		t.Errorf("the install that was moved off is %+v", is)
	}
	m.ok(y.refresh())
	if err := x.refresh(); err == nil {
		t.Error("the machine that the licence was moved off goes on")
	}
	wantReason(t, "a third machine", m.machine("z").activate(l.Code), license.MachineLimit)
	_, items := m.restore()
	if i := items[up.ID+"/-"]; len(items) != 1 || i.Kind != "lost_edit" || len(i.Actions) != 1 || i.Actions[0] != "license.upgrade" {
		t.Errorf("items %+v", items)
	}
}

// An install whose seat was freed because it was silent does not live again beside
// the one that has its seat.
func TestRestoreAfterASeatWasFreed(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	day := int64(24 * time.Hour)
	m := start(t, strings.Replace(config, "machines: 2,", "machines: 1, lease: 7d, installs: {release_after: 24h},", 1), nil, func(o *daemon.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	l := m.issue()
	x, y := m.machine("x"), m.machine("y")
	m.ok(x.activate(l.Code))
	copied := m.backup()
	m.down()
	ahead.Store(20 * day)
	m.up()
	m.ok(y.activate(l.Code))
	m.goBack(copied)
	live := 0
	for _, i := range m.shown(l.ID).Installs {
		if i.State == license.InstallLive {
			live++
		}
	}
	if live != 0 {
		t.Errorf("%d installs live before the second one has called", live)
	}
	m.ok(y.refresh())
	if err := x.refresh(); err == nil {
		t.Error("the install whose seat was freed goes on")
	}
}

// What was revoked besides licences stays so: tokens, and keys that others may hold.
func TestRestoreOfTokensAndKeys(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	var made adminwire.Token
	m.ok(asError(m.admin(http.MethodPost, adminwire.PathTokens, adminwire.CreateToken{Name: "left", Role: "admin"}, &made)))
	var keys adminwire.KeyList
	m.get(adminwire.PathKeys, &keys)
	next := ""
	for _, k := range keys.Keys {
		if k.Role == "next" {
			next = k.ID
		}
	}
	copied := m.backup()
	m.post(strings.Replace(adminwire.PathRevokeToken, "{token}", made.ID, 1), "", nil)
	m.post(adminwire.PathKeyRevocations, "", adminwire.RevokeKeys{Keys: []string{next}, Reason: "a laptop was stolen"})

	m.goBack(copied)
	var list adminwire.TokenList
	m.get(adminwire.PathTokens, &list)
	if len(list.Tokens) != 1 || list.Tokens[0].State != "revoked" {
		t.Errorf("tokens %+v", list.Tokens)
	}
	var revoked adminwire.KeyRevocations
	m.get(adminwire.PathKeyRevocations, &revoked)
	if len(revoked.Revocations) != 1 || revoked.Revocations[0].KID != next || revoked.Revocations[0].Role != "next" || revoked.Revocations[0].EndedAt != nil {
		t.Errorf("revocations %+v", revoked.Revocations)
	}
	if err := m.admin(http.MethodPost, adminwire.PathRotate, nil, nil); err == nil {
		t.Error("the keys were rotated to one that others may hold")
	}
}

// Personal data that was erased since the backup does not come back.
func TestRestoreAfterAnErasure(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	if m.shown(l.ID).Customer == "" {
		t.Fatal("the licence names no customer")
	}
	copied := m.backup()
	m.post(adminwire.PathErase, "", adminwire.Erase{License: l.ID, Reason: "request 7", Customer: true})
	m.goBack(copied)
	if who := m.shown(l.ID).Customer; who != "" {
		t.Errorf("the customer is %q again", who)
	}
	_, lines := m.call(http.MethodGet, adminwire.PathEventLines)
	if strings.Contains(lines, "ACME") || !strings.Contains(lines, "audit.erase") {
		t.Errorf("the audit log names the customer again: %s", lines)
	}
}

// An install whose seat was given up in reconcile mode is given up for good, also
// in a store that is put back once more.
func TestRestoreTwice(t *testing.T) {
	t.Parallel()
	m := start(t, strings.Replace(config, "machines: 2", "machines: 1", 1), nil)
	l := m.issue()
	copied := m.backup()
	x := m.machine("x")
	m.ok(x.activate(l.Code))
	m.goBack(copied)
	_, items := m.restore()
	for id, i := range items {
		if i.Kind != "lost_install" {
			t.Errorf("item %+v", i)
		}
		m.post(adminwire.PathRestoreDecide, "", adminwire.RestoreDecide{ID: id, Decision: "drop"})
	}
	m.goBack(copied)
	if _, items := m.restore(); len(items) != 0 {
		t.Errorf("what was decided is asked again: %+v", items)
	}
	if err := x.refresh(); err == nil {
		t.Error("the install that was dropped lives again")
	}
	m.ok(m.machine("y").activate(l.Code))
}

// An approval of a move is used once, also where the store has forgotten that.
func TestRestoreAfterAnApprovalWasUsed(t *testing.T) {
	t.Parallel()
	m := start(t, strings.Replace(config, "machines: 2,", "machines: 1, transfers: {approval: always, per_year: 9, cool_down: 0s},", 1), nil)
	l := m.issue()
	x, y := m.machine("x"), m.machine("y")
	m.ok(x.activate(l.Code))
	wantReason(t, "a move without an approval", y.start().Transfer(t.Context(), l.Code, ""), license.TransferLimit)
	m.post(adminwire.PathTransferApprove, l.ID, adminwire.DecideTransfer{})
	copied := m.backup()
	m.ok(y.start().Transfer(t.Context(), l.Code, ""))
	m.goBack(copied)
	var list adminwire.TransferList
	m.get(adminwire.PathTransfers, &list)
	if len(list.Transfers) != 0 {
		t.Errorf("moves %+v", list.Transfers)
	}
}

// A machine that has begun its trial after the backup has had it.
func TestRestoreAfterATrialBegan(t *testing.T) {
	t.Parallel()
	m := start(t, strings.Replace(config, "machines: 2,", "machines: 2, trial: {for: 14d, per_machine: 1, remember: 365d},", 1), nil)
	trial := func() adminwire.License {
		var out adminwire.LicenseList
		m.ok(asError(m.admin(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: "cad", Trial: true}, &out)))
		return out.Licenses[0]
	}
	one, two := trial(), trial()
	copied := m.backup()
	x := m.machine("x")
	m.ok(x.activate(one.Code))
	m.goBack(copied)
	m.ok(x.refresh())
	wantReason(t, "another trial of the machine", m.machine("x").activate(two.Code), license.TrialUsed)
}

// However many marks there are, a store that lacks something is known.
func TestRestoreBehindManyMarks(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	many := func() {
		for range 9 { // of a thousand each are marks of more than a start reads
			m.ok(asError(m.admin(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: "cad", For: "365d", Count: 1000}, nil)))
		}
	}
	first := m.issue()
	many()
	copied := m.backup()
	m.post(adminwire.PathRevoke, first.ID, adminwire.Revoke{Reason: "refund"})
	m.down()
	m.up()
	if r, _ := m.restore(); r.Open {
		t.Errorf("a start of the same store: %+v", r)
	}
	many()
	m.goBack(copied)
	if r, _ := m.restore(); !r.Open || !r.Complete || m.shown(first.ID).State != license.StateRevoked {
		t.Errorf("restored: %+v, and the licence is %s", r, m.shown(first.ID).State)
	}
}

// A store that is put back while reconcile mode is open goes on knowing the installs
// that the first restore lost.
func TestRestoreWhileReconciling(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	m := start(t, strings.Replace(config, "machines: 2", "machines: 1", 1), nil, func(o *daemon.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	l, revoked := m.issue(), m.issue()
	first := m.backup()
	x := m.machine("x")
	m.ok(x.activate(l.Code))
	ahead.Store(int64(time.Hour))
	m.goBack(first)
	head := func() int64 { r, _ := m.restore(); return r.HeadSeq }
	before := head()
	second := m.backup()
	ahead.Store(int64(2 * time.Hour))
	m.post(adminwire.PathRevoke, revoked.ID, adminwire.Revoke{Reason: "refund"})
	m.goBack(second)
	if is := head(); is != before || m.shown(revoked.ID).State != license.StateRevoked {
		t.Errorf("the mode looks back to %d, not %d; the licence is %s", is, before, m.shown(revoked.ID).State)
	}
	m.ok(x.refresh())
	if l := m.shown(l.ID); len(l.Installs) != 1 || l.Forks != 0 {
		t.Errorf("the licence is %+v", l)
	}
}
