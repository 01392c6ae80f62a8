package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
)

// A game of TestChaos, and how to play a longer one, or one again.
var (
	seed  = flag.Uint64("cluster.seed", 0, "what TestChaos is drawn from; 0 means another one each time")
	lanes = flag.Int("cluster.lanes", 12, "how many licences TestChaos plays with")
	steps = flag.Int("cluster.steps", 30, "how much happens to each")
)

const (
	racers = 100
	seats  = 30
)

// TestChaos plays one script twice: with three daemons on one database, all of
// which are killed again and again, the database for good so that its standby
// takes over; and with one daemon on a file that nothing happens to. Callers
// repeat what was not answered. In the end every answer was the same, and so are
// the records.
func TestChaos(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("the seed is %d: -cluster.seed=%d -cluster.lanes=%d -cluster.steps=%d plays it again", *seed, *seed, *lanes, *steps)

	primary := pgtest.New(t, "-c", "wal_retrieve_retry_interval=50ms")
	standby := primary.Standby(t)
	store, err := pgtest.Hosts(primary.Schema(t), primary, standby)
	if err != nil {
		t.Fatal(err)
	}
	g := &game{t: t, m: newMerchant(t, 3, store), answered: make(chan struct{}, 1)}
	script := g.script(primary, standby)
	chaos := g.play(script)
	quiet := &game{t: t, m: newMerchant(t, 1, ""), answered: make(chan struct{}, 1)}
	calm := quiet.play(nil)
	if t.Failed() {
		return
	}
	for n := range chaos {
		if !reflect.DeepEqual(chaos[n], calm[n]) {
			t.Errorf("lane %d ended as\n%s\nand without chaos as\n%s", n, indent(chaos[n]), indent(calm[n]))
		}
	}
}

func indent(o outcome) string {
	b, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// game is a merchant and what happens to it.
type game struct {
	t        *testing.T
	m        *merchant
	lanes    []*lane
	mu       sync.Mutex
	count    int
	answered chan struct{}
}

func (g *game) told() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count++
	select {
	case g.answered <- struct{}{}:
	default:
	}
}

// event is one thing that breaks.
type event struct {
	name string
	make func() error
}

// script is what breaks, in the order in which it does. The standby takes over
// behind the middle, while daemons die before and after it.
func (g *game) script(primary, standby *pgtest.Cluster) (out []event) {
	r := rand.New(rand.NewPCG(*seed, 1<<32))
	daemons := func(n int) event {
		chosen := r.Perm(len(g.m.daemons))[:n]
		return event{fmt.Sprint("kill the daemons ", chosen), func() error {
			for _, i := range chosen {
				g.m.daemons[i].kill()
			}
			return nil
		}}
	}
	halt := func(what string, halt, start func() error) event {
		return event{what, func() error {
			if err := halt(); err != nil {
				g.t.Log(err) // the guard tells how the server ended
			}
			return start()
		}}
	}
	before := []event{
		daemons(1), daemons(1), daemons(2), daemons(3),
		halt("kill the database and start it again", primary.Kill, primary.Start),
		halt("stop the database and start it again", primary.Stop, primary.Start),
		halt("kill the standby and start it again", standby.Kill, standby.Start),
	}
	after := []event{daemons(1), daemons(2), halt("kill the new database and start it again", standby.Kill, standby.Start), daemons(1)}
	for _, part := range [][]event{before, after} {
		r.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
	}
	out = append(before, halt("kill the database and promote its standby", func() error {
		one := r.IntN(len(g.m.daemons))
		g.m.daemons[one].kill()
		return primary.Kill()
	}, standby.Promote))
	return append(out, after...)
}

// outcome is what there is of a lane in the end, without what is another thing
// each time: times, ids and codes.
type outcome struct {
	Trace    []string
	State    license.State
	Holds    []string
	Machines int
	InUse    int
	Renewed  string // the end, after the first one
	Installs []license.InstallState
	Events   map[license.Action]int
}

// play has everything happen, and returns what came of it.
func (g *game) play(script []event) (out []outcome) {
	t := g.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	for n := range *lanes {
		g.lanes = append(g.lanes, g.m.newLane(*seed, n, g.told))
	}
	begin := time.Now()
	var running sync.WaitGroup
	for _, l := range g.lanes {
		running.Go(func() { l.run(ctx, *steps) })
	}
	var raced string
	running.Go(func() {
		id, done, err := g.m.race(ctx, racers, seats)
		if raced = id; err != nil || done != seats {
			t.Errorf("of %d copies %d have got one of %d seats, %v", racers, done, seats, err)
		}
	})
	over := make(chan struct{})
	go func() {
		running.Wait()
		close(over)
	}()
	g.breaks(script, over)
	<-over
	t.Logf("%d steps in %s", g.count, time.Since(begin).Round(time.Millisecond))
	for _, l := range g.lanes {
		if l.err != nil {
			t.Errorf("lane %d: %v", l.n, l.err)
		}
	}
	if t.Failed() {
		return nil
	}
	g.raced(ctx, raced)
	for _, l := range g.lanes {
		out = append(out, g.outcome(ctx, l))
	}
	g.verify()
	return out
}

// breaks has one thing break after the other, each when so much more was answered
// that the script ends with the steps.
func (g *game) breaks(script []event, over <-chan struct{}) {
	for n, e := range script {
		for want := (*lanes) * (*steps) * (n + 1) / (len(script) + 2); ; {
			g.mu.Lock()
			enough := g.count >= want
			g.mu.Unlock()
			if enough {
				break
			}
			select {
			case <-g.answered:
				continue
			case <-over:
			}
			if !g.t.Failed() && !g.failed() {
				g.t.Errorf("everything was over before it came to this: %s", e.name)
			}
			return
		}
		begin := time.Now()
		if err := e.make(); err != nil {
			g.t.Errorf("%s: %v", e.name, err)
		}
		g.t.Logf("after %d steps: %s, in %s", (*lanes)*(*steps)*(n+1)/(len(script)+2), e.name, time.Since(begin).Round(time.Millisecond))
	}
}

func (g *game) failed() bool {
	return slices.ContainsFunc(g.lanes, func(l *lane) bool { return l.err != nil })
}

// raced checks who has the seats of the race.
func (g *game) raced(ctx context.Context, id string) {
	l, events := g.shown(ctx, id)
	begun, bound := events[license.ActionActivate], events[license.ActionBind] // the first begins its use
	if len(l.Installs) != seats || l.InUse != seats || begun != 1 || bound != seats-1 {
		g.t.Errorf("of %d seats %d have an install and %d are in use, %d begun, %d bound", seats, len(l.Installs), l.InUse, begun, bound)
	}
}

// shown is a licence, and how often what happened to it.
func (g *game) shown(ctx context.Context, id string) (l adminwire.License, events map[license.Action]int) {
	g.t.Helper()
	err := g.m.manage(ctx, http.MethodGet, strings.Replace(adminwire.PathLicense, "{id}", id, 1), "", nil, &l)
	if err != nil {
		g.t.Fatal(err)
	}
	events = make(map[license.Action]int)
	for cursor := ""; ; {
		var page adminwire.EventList
		q := url.Values{"license": {id}, "limit": {"1000"}, "cursor": {cursor}}
		if err := g.m.manage(ctx, http.MethodGet, adminwire.PathEvents+"?"+q.Encode(), "", nil, &page); err != nil {
			g.t.Fatal(err)
		}
		for _, e := range page.Events {
			events[e.Action]++
		}
		if cursor = page.Next; cursor == "" {
			return l, events
		}
	}
}

// outcome compares a lane with what is recorded of it, and returns what is there.
func (g *game) outcome(ctx context.Context, l *lane) outcome {
	is, events := g.shown(ctx, l.id)
	out := outcome{Trace: l.trace, State: is.State, Holds: is.Holds, Machines: is.Machines, InUse: is.InUse, Events: events}
	if len(is.Installs) != len(l.installs) {
		g.t.Errorf("lane %d: %d copies were activated and %d are there", l.n, len(l.installs), len(is.Installs))
	}
	for n, i := range l.installs {
		at := slices.IndexFunc(is.Installs, func(k adminwire.Install) bool { return k.ID == i.Key.ID })
		if at < 0 {
			g.t.Errorf("lane %d: copy %d was activated and is not there", l.n, n)
			continue
		}
		out.Installs = append(out.Installs, is.Installs[at].State)
		if i.ended || is.State != license.StateActive || is.Installs[at].State != license.InstallLive {
			continue
		}
		if answer, err := g.m.send(ctx, i.last); err != nil || answer.License != i.held {
			g.t.Errorf("lane %d: copy %d is not answered as it was: %v", l.n, n, err)
		}
	}
	if !l.isBought() {
		if l.renewed > 0 && is.ExpiresAt != nil {
			out.Renewed = is.ExpiresAt.Sub(firstEnd).String()
		}
		return out
	}
	state, err := g.m.market.State(l.bought.Ref())
	if err != nil {
		g.t.Fatal(err)
	}
	if is.ExpiresAt == nil || !is.ExpiresAt.Equal(state.ExpiresAt) || slices.Contains(is.Holds, "marketplace") != state.Frozen || is.Order != l.bought.ID {
		g.t.Errorf("lane %d: the merchant has %+v, and the marketplace %+v", l.n, is, state)
	}
	out.Renewed = fmt.Sprint(state.Renewals)
	for _, e := range g.m.market.Events(0) {
		if e.Kind == sandbox.EventViolation {
			g.t.Errorf("%s: %s", e.Product, e.Text)
		}
	}
	return out
}

// verify has the audit log verified by the tool for that, at each daemon.
func (g *game) verify() {
	for _, d := range g.m.daemons {
		d.await()
		cmd := exec.Command(filepath.Join(bin, "licensectl"), "--server", "unix:"+d.socket(), "audit", "verify", "-o", "json")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir}
		said, err := cmd.Output()
		var verdict struct {
			Whole   bool
			Entries int64
		}
		if err := errors.Join(err, json.Unmarshal(said, &verdict)); err != nil || !verdict.Whole || verdict.Entries < int64(*lanes) {
			g.t.Errorf("the audit log: %v: %s", err, said)
		}
	}
}
