package daemon_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/license"
)

const testDay = 24 * time.Hour

// startAhead starts a daemon whose clock can be set forward.
func startAhead(t *testing.T, yaml string, files map[string]string) (m *merchant, forward func(time.Duration)) {
	t.Helper()
	ahead := new(atomic.Int64)
	m = start(t, yaml, files, func(o *daemon.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	return m, func(d time.Duration) { ahead.Add(int64(d)) }
}

// An install that called home after the backup is not silent because the backup
// does not know that: its lease may run still, and its seat is its own.
func TestRestoreMakesNobodySilent(t *testing.T) {
	t.Parallel()
	m, forward := startAhead(t, strings.Replace(config, "machines: 2,", "machines: 1, lease: 7d, installs: {release_after: 24h},", 1), nil)
	l := m.issue()
	x, y := m.machine("x"), m.machine("y")
	m.ok(x.activate(l.Code))
	copied := m.backup()
	forward(6 * testDay)
	m.ok(x.refresh()) // until the 13th day
	forward(4 * testDay)
	m.goBack(copied)
	wantReason(t, "another machine", y.activate(l.Code), license.MachineLimit)
	if i := m.shown(l.ID).Installs[0]; i.State != license.InstallLive {
		t.Errorf("the install that called four days ago is %s", i.State)
	}
	m.ok(x.refresh())

	// One that does not call for as long as any lease can last is.
	forward(8 * testDay)
	m.ok(y.activate(l.Code))
}

// Floating seats are taken for as long as a lease can run that was granted before
// the restore, by installs that the backup knows and by those that it does not, and
// no longer: who has left long ago keeps nobody out.
func TestRestoreOfFloatingSeats(t *testing.T) {
	t.Parallel()
	m, forward := startAhead(t, strings.Replace(config, "machines: 2,", "machines: 2, mode: floating, floating_lease: 1h,", 1), nil)
	l := m.issue()
	x, y := m.machine("x"), m.machine("y")
	m.ok(x.activate(l.Code)) // of which the backup knows
	copied := m.backup()
	forward(50 * time.Minute)
	m.ok(x.refresh())
	m.ok(y.activate(l.Code)) // of which it does not
	forward(20 * time.Minute)
	m.goBack(copied)
	wantReason(t, "a third while two leases run", m.machine("z").activate(l.Code), license.MachineLimit)
	m.ok(x.refresh())
	m.ok(y.refresh())
	forward(2 * time.Hour)
	m.ok(m.machine("z").activate(l.Code))
}

// Floating installs that came and went after the backup keep no seat for good.
func TestRestoreOfFloatingSeatsThatWereLeft(t *testing.T) {
	t.Parallel()
	m, forward := startAhead(t, strings.Replace(config, "machines: 2,", "machines: 2, mode: floating, floating_lease: 1h,", 1), nil)
	l := m.issue()
	copied := m.backup()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		m.ok(m.machine(name).activate(l.Code))
		forward(50 * time.Minute) // and is closed without a word
	}
	z := m.machine("z")
	m.ok(z.activate(l.Code))
	m.goBack(copied)
	m.ok(z.refresh()) // its lease runs, whoever else has had a seat
	forward(90 * time.Minute)
	m.ok(z.refresh())
	m.ok(m.machine("y").activate(l.Code))
}
