package authority

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// How daemons on a store know of each other.
const (
	daemonPrefix = "daemons/"
	daemonBeat   = 10 * time.Second // how often one writes that it is alive
	daemonLook   = 2 * time.Second  // how often it looks at the others
	daemonGone   = time.Minute      // how long one is silent until the others drop it
	daemonDoubt  = 15 * time.Second // how long the time counts of one that was never seen to write
	daemonLeave  = 5 * time.Second  // how long a stopping one tries to take its record away
	maxDropped   = 100              // that are dropped in one transaction
	maxHostName  = 253
	maxHosts     = 5           // that are named
	commitTakes  = time.Second // between the time that is written and the commit of it
)

// DaemonSeen is a daemon on the store, as another one knows it.
type DaemonSeen struct {
	ID        string // another one each time that it is started
	Host      string
	Version   string
	StartedAt time.Time
	SeenAt    time.Time // when it last wrote that it is alive, by its own clock
	Self      bool
	// Ahead is by how much at least its clock is ahead of that of the one that tells,
	// negative where it is behind, and zero where no difference can be seen.
	Ahead time.Duration
}

// daemonRecord is a daemon as it is stored.
type daemonRecord struct {
	Host      string    `json:"host"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
	Beat      int64     `json:"beat"`
	// Clock is how the clock stands by which SeenAt is, where it is not trusted.
	Clock ClockState `json:"clock,omitzero"`
}

// members knows which daemons are on a store. Each writes a counter on; who does not
// for a minute, by the uptime of the others, is dropped by them. What all together
// may do is divided by how many there are.
type members struct {
	store  store.Store
	id     string
	clock  func() time.Time
	uptime func() time.Duration
	share  func(daemons int)
	guard  *guard // is told what time the others show

	looking sync.Mutex // held while the others are looked at

	mu       sync.Mutex
	self     daemonRecord
	wrote    bool // since it began, at wroteAt
	wroteAt  time.Duration
	looked   bool // since it began, at lookedAt
	lookedAt time.Duration
	others   map[string]*member // by id
}

// member is another daemon.
type member struct {
	data  []byte // as it is stored, so that one of another version counts, too
	is    daemonRecord
	still time.Duration // for how long it was seen to stand still
	ahead time.Duration
	at    time.Duration // uptime at which it was seen with what is in is
	moved bool          // it was seen to write
	left  bool          // it is not stored any more
}

func newMembers(o Options, a *Authority) *members {
	return &members{
		store: o.Store, id: a.owner, clock: a.clock, uptime: a.guard.uptime, share: a.shareAmong, guard: a.guard, others: make(map[string]*member),
		self: daemonRecord{Host: cut(o.Host, maxHostName), Version: printable(o.Version), StartedAt: a.now(), SeenAt: a.now()},
	}
}

func cut(s string, most int) string { return s[:min(len(s), most)] }

// RunDaemons shows the other daemons on the store that this one is alive, and looks
// which there are, until ctx ends. A failure is reported when it begins. It returns
// at once where no other daemon can be on the store.
func (a *Authority) RunDaemons(ctx context.Context, report func(error)) {
	if !a.sharedStore {
		return
	}
	repeatTelling(ctx, nil, report, func() (time.Duration, error) { return daemonLook, a.members.turn(ctx) })
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), daemonLeave)
	defer cancel()
	_ = a.members.leave(leaving) // else the others drop it in a minute
}

// Daemons are those on the store, this one first: none where no other one can be.
func (a *Authority) Daemons() []DaemonSeen {
	if !a.sharedStore {
		return nil
	}
	return a.members.list()
}

// shareAmong divides what all daemons together may do among so many.
func (a *Authority) shareAmong(daemons int) {
	a.gate.shareAmong(daemons)
}

// turn looks at the others, drops who is gone, and writes that this one is alive
// where that is due.
func (m *members) turn(ctx context.Context) error {
	gone, err := m.look(ctx)
	if err != nil {
		return fmt.Errorf("look which daemons are on the store: %w", err)
	}
	if _, err := m.guard.look(ctx); err != nil {
		return fmt.Errorf("judge the clock for the other daemons: %w", err)
	}
	now, next := m.uptime(), m.self // which this loop alone changes
	if len(gone) == 0 && m.wrote && now-m.wroteAt < daemonBeat && m.goesOn(now) {
		return nil
	}
	err = m.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		for _, v := range gone {
			if err := drop(ctx, tx, v); err != nil {
				return err
			}
		}
		next.SeenAt, next.Beat = m.clock().UTC(), m.self.Beat+1
		next.Clock = m.guard.ownState(next.SeenAt)
		return writeValue(ctx, tx, daemonPrefix+m.id, next)
	})
	if err != nil {
		return fmt.Errorf("tell the other daemons on the store of this one: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.self, m.wrote, m.wroteAt = next, true, now
	return nil
}

// goesOn reports whether the clock is as the others know it.
func (m *members) goesOn(uptime time.Duration) bool {
	now := m.clock()
	step := now.Sub(m.self.SeenAt) - (uptime - m.wroteAt)
	return step.Abs() < daemonBeat && m.self.Clock == m.guard.ownState(now)
}

// drop takes a value away, where it is the one that was seen.
func drop(ctx context.Context, tx store.Tx, seen store.Value) error {
	is, err := tx.Value(ctx, seen.Name)
	switch {
	case errors.Is(err, license.NotFound):
		return nil
	case err == nil && bytes.Equal(is, seen.Data):
		err = tx.SetValue(ctx, seen.Name, nil)
	}
	if err != nil {
		return fmt.Errorf("drop %s: %w", printable(seen.Name), err)
	}
	return nil
}

// look takes in what the store says of the others, and returns who is gone.
func (m *members) look(ctx context.Context) (gone []store.Value, err error) {
	m.looking.Lock()
	defer m.looking.Unlock()
	began := m.uptime()
	var found []store.Value
	err = m.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		found, err = allValues(ctx, tx, daemonPrefix)
		return err
	})
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now, uptime := m.clock(), m.uptime()
	// Who has not looked for long, as while the database was away, has not seen that
	// the others stood still meanwhile.
	passed := min(began-m.lookedAt, daemonBeat)
	there := make(map[string]*member, len(found))
	for _, v := range found {
		id := v.Name[len(daemonPrefix):]
		if id == m.id {
			continue
		}
		is, known := m.others[id]
		switch {
		case !known:
			is = &member{moved: m.looked}
			is.take(v, uptime)
		case bytes.Equal(is.data, v.Data):
			is.still += passed
		default:
			is.moved = true
			is.take(v, uptime)
			is.compare(now, uptime-m.lookedAt)
		}
		is.left = false
		if is.still >= daemonGone && len(gone) < maxDropped {
			gone = append(gone, v)
		}
		there[id] = is
	}
	for id, is := range m.others { // what they showed counts on: they may be back in a moment
		if _, found := there[id]; !found && is.still+passed < daemonGone {
			is.still, is.left = is.still+passed, true
			there[id] = is
		}
	}
	m.others, m.looked, m.lookedAt = there, true, began
	m.share(m.live())
	m.guard.others.Store(m.newest(uptime))
	return gone, nil
}

// meet has the others looked at once, before anything is judged by them.
func (m *members) meet(ctx context.Context) error {
	_, err := m.look(ctx)
	return err
}

// take notes a record that is new. One that cannot be read is a daemon all the same.
func (is *member) take(v store.Value, uptime time.Duration) {
	is.data, is.still, is.at = v.Data, 0, uptime
	is.is, _ = parseValue[daemonRecord](v)
}

// counts reports whether the time that a daemon has written counts: it trusts its
// clock, and may be alive. What one that was killed has left is never seen to change.
func (is *member) counts() bool {
	switch {
	case is.is.SeenAt.IsZero(), is.is.Clock != "":
		return false
	case is.moved:
		return is.still < daemonGone
	}
	return is.still < daemonDoubt
}

// newest is the newest time that another daemon shows, nil where none counts. It is
// rounded down, as what it is compared with.
func (m *members) newest(uptime time.Duration) *othersShow {
	o := othersShow{uptime: uptime, unheard: true}
	var hosts []string
	for id, is := range m.others {
		if !is.counts() {
			continue
		}
		if at := is.is.SeenAt.Truncate(time.Second).Add(uptime - is.at); len(hosts) == 0 || at.After(o.at) {
			o.at = at
		}
		o.unheard = o.unheard && !is.moved
		hosts = append(hosts, printable(cmp.Or(is.is.Host, id)))
	}
	if len(hosts) == 0 {
		return nil
	}
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	if more := len(hosts) - maxHosts; more > 0 {
		hosts = append(hosts[:maxHosts], fmt.Sprintf("and %d more", more))
	}
	o.hosts = strings.Join(hosts, ", ")
	return &o
}

// compare finds out how the clock of a daemon differs, which has written its time
// within the time that has passed, and now at the latest.
func (is *member) compare(now time.Time, passed time.Duration) {
	least := is.is.SeenAt.Sub(now)
	most := least + passed + commitTakes
	switch {
	case is.is.SeenAt.IsZero():
		is.ahead = 0
	case least > 0:
		is.ahead = least
	default:
		is.ahead = min(most, 0)
	}
}

// there reports whether it is on the store still.
func (is *member) there() bool { return !is.left && is.still < daemonGone }

// live is how many daemons there are, with this one.
func (m *members) live() int {
	n := 1
	for _, is := range m.others {
		if is.there() {
			n++
		}
	}
	return n
}

func (m *members) list() []DaemonSeen {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := func(id string, r daemonRecord) DaemonSeen {
		return DaemonSeen{
			ID: id, Host: cut(r.Host, maxHostName), Version: printable(r.Version),
			StartedAt: r.StartedAt.UTC().Truncate(time.Second), SeenAt: r.SeenAt.UTC().Truncate(time.Second),
		}
	}
	self := seen(m.id, m.self)
	self.Self = true
	var others []DaemonSeen
	for id, is := range m.others {
		if is.there() {
			d := seen(id, is.is)
			d.Ahead = is.ahead
			others = append(others, d)
		}
	}
	slices.SortFunc(others, func(a, b DaemonSeen) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID)) })
	return append([]DaemonSeen{self}, others...)
}

// leave takes the record of this daemon away.
func (m *members) leave(ctx context.Context) error {
	return m.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		return tx.SetValue(ctx, daemonPrefix+m.id, nil)
	})
}

// allValues are those of a prefix, by name.
func allValues(ctx context.Context, tx store.Tx, prefix string) (all []store.Value, err error) {
	p := store.Page{Limit: store.MaxPage}
	for {
		values, next, err := tx.Values(ctx, prefix, p)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", prefix, err)
		}
		all = append(all, values...)
		if next == "" {
			return all, nil
		}
		p.Cursor = next
	}
}
