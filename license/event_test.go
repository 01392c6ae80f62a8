package license_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/license"
)

var update = flag.Bool("update", false, "write the table of events in docs anew")

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// in returns a licence that is in state s at now.
func in(s license.State) license.License {
	l := license.License{ID: "lic_1", IssuedAt: now.Add(-10 * day), ActivatedAt: now.Add(-5 * day), ExpiresAt: now.Add(day)}
	switch s {
	case license.StateIssued:
		l.ActivatedAt = time.Time{}
	case license.StateExpired:
		l.ExpiresAt = now
	case license.StateSuspended:
		l.Holds = license.HoldMarketplace
	case license.StateReleased:
		l.ReleasedAt = now.Add(-day)
	case license.StateRevoked:
		l.RevokedAt, l.RevokeReason = now.Add(-time.Hour), "stolen"
	case license.StateActive:
	}
	return l
}

func TestStateAt(t *testing.T) {
	for _, s := range license.States() {
		if got := in(s).StateAt(now); got != s {
			t.Errorf("%s: %s", s, got)
		}
		if got, err := license.ParseState(string(s)); err != nil || got != s {
			t.Errorf("%s: %v", s, err)
		}
	}
	if _, err := license.ParseState("gone"); license.ReasonOf(err) != license.BadRequest {
		t.Errorf("gone: %v", err)
	}
	l := license.License{ActivatedAt: now, ExpiresAt: now.Add(time.Second)}
	if l.StateAt(now) != license.StateActive || l.StateAt(now.Add(time.Second)) != license.StateExpired {
		t.Error("expired begins at expires_at")
	}
	// The first that fits counts: every fact at once, then taken away one by one.
	all := license.License{
		RevokedAt: now, ReleasedAt: now, Holds: license.HoldMerchant | license.HoldMarketplace, ExpiresAt: now, ActivatedAt: now,
	}
	var got []license.State
	for _, undo := range []func(){
		func() {}, func() { all.RevokedAt = time.Time{} }, func() { all.ReleasedAt = time.Time{} }, func() { all.Holds = 0 },
		func() { all.ExpiresAt = time.Time{} }, func() { all.ActivatedAt = time.Time{} },
	} {
		undo()
		got = append(got, all.StateAt(now))
	}
	if diff := cmp.Diff(license.States(), got); diff != "" {
		t.Error(diff)
	}
}

// TestEvents is the table of events, written a second time: a is applied, i
// ignored, r refused, in the order issued, active, expired, suspended,
// released, revoked.
func TestEvents(t *testing.T) {
	columns := []license.State{
		license.StateIssued, license.StateActive, license.StateExpired, license.StateSuspended, license.StateReleased, license.StateRevoked,
	}
	want := map[license.Event]string{
		license.EventActivate:   "aarrrr",
		license.EventRenew:      "aaaarr",
		license.EventEdit:       "aaaarr",
		license.EventSetExpiry:  "aaaaia",
		license.EventSuspend:    "aaaarr",
		license.EventResume:     "aaaarr",
		license.EventFreeze:     "aaaaia",
		license.EventUnfreeze:   "aaaaia",
		license.EventRelease:    "aaaaaa",
		license.EventRevoke:     "aaaara",
		license.EventUndoRevoke: "iiiira",
		license.EventUpgrade:    "aaaarr",
	}
	rules := license.Rules()
	if len(rules) != len(want) {
		t.Errorf("%d rules", len(rules))
	}
	for _, rule := range rules {
		for i, state := range columns {
			verdict := rule.In[state]
			if string(verdict[0]) != want[rule.Event][i:i+1] {
				t.Errorf("%s in %s: %s", rule.Event, state, verdict)
			}
			before := in(state)
			after, changed, err := before.Apply(license.Change{
				Event: rule.Event, At: now, ExpiresAt: now.Add(99 * day), Phases: license.Phases{Warn: new(day)}, Reason: "x", Undo: day,
				Upgrade: license.Upgrade{Product: "another", Machines: 2},
			})
			switch verdict {
			case license.Refuse:
				if changed || license.ReasonOf(err) != state.Refusal() || state.Refusal() == "" && state != license.StateIssued && state != license.StateActive {
					t.Errorf("%s in %s: %v", rule.Event, state, err)
				}
			case license.Ignore:
				if changed || err != nil || cmp.Diff(before, after) != "" {
					t.Errorf("%s in %s: %v %v", rule.Event, state, changed, err)
				}
			case license.Apply:
				if err != nil || changed == (cmp.Diff(before, after) == "") {
					t.Errorf("%s in %s: %v %v", rule.Event, state, changed, err)
				}
			}
		}
	}
	if _, _, err := in(license.StateActive).Apply(license.Change{Event: "vanish"}); license.ReasonOf(err) != license.Internal {
		t.Errorf("an event that there is not: %v", err)
	}
}

func TestEventsNeedNoSecondTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := license.License{ID: "lic_1", IssuedAt: now, ExpiresAt: now.Add(30 * day)}
		at := now
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.IntRange(0, 20*24).Draw(t, "hours")) * time.Hour)
			rule := rapid.SampledFrom(license.Rules()).Draw(t, "rule")
			c := license.Change{
				Event: rule.Event, At: at, Reason: "x", Undo: day,
				ExpiresAt: at.Add(time.Duration(rapid.IntRange(-10, 60).Draw(t, "days")) * day),
				Phases:    license.Phases{Grace: new(time.Duration(rapid.IntRange(0, 3).Draw(t, "grace")) * day)},
			}
			before := l.Clone()
			next, changed, err := l.Apply(c)
			if diff := cmp.Diff(before, l); diff != "" {
				t.Fatalf("%s touched its licence: %s", c.Event, diff)
			}
			if err != nil {
				if changed || cmp.Diff(before, next) != "" {
					t.Fatalf("%s was refused and changed the licence", c.Event)
				}
				continue
			}
			// Once it is expired, renewing as before brings it back; a final state stays.
			if again, changed, err := next.Apply(c); err == nil && (changed || cmp.Diff(next, again) != "") {
				t.Fatalf("%s twice changed the licence twice", c.Event)
			}
			if !before.ReleasedAt.IsZero() && next.ReleasedAt.IsZero() {
				t.Fatal("a release was undone")
			}
			if !before.RevokedAt.IsZero() && next.RevokedAt.IsZero() && c.Event != license.EventUndoRevoke {
				t.Fatalf("%s undid a revocation", c.Event)
			}
			// Each party lifts only its own hold.
			lifted := before.Holds &^ next.Holds
			if lifted&license.HoldMerchant != 0 && c.Event != license.EventResume || lifted&license.HoldMarketplace != 0 && c.Event != license.EventUnfreeze {
				t.Fatalf("%s lifted %v", c.Event, lifted.Names())
			}
			l = next
		}
	})
}

func TestUndoRevoke(t *testing.T) {
	revoked := in(license.StateRevoked)
	undo := license.Change{Event: license.EventUndoRevoke, At: revoked.RevokedAt.Add(day - time.Second), Undo: day}
	l, changed, err := revoked.Apply(undo)
	if err != nil || !changed || !l.RevokedAt.IsZero() || l.RevokeReason != "" {
		t.Errorf("%+v %v", l, err)
	}
	undo.At = revoked.RevokedAt.Add(day)
	if _, _, err := revoked.Apply(undo); license.ReasonOf(err) != license.Revoked {
		t.Errorf("after its window: %v", err)
	}
	// What the marketplace said in between counts once it is undone.
	l, _, err = revoked.Apply(license.Change{Event: license.EventFreeze, At: now})
	if err != nil || l.StateAt(now) != license.StateRevoked {
		t.Errorf("%v", err)
	}
	l, _, err = l.Apply(license.Change{Event: license.EventUndoRevoke, At: now, Undo: day})
	if err != nil || l.StateAt(now) != license.StateSuspended {
		t.Errorf("%v", err)
	}
}

func TestActionsNameEvents(t *testing.T) {
	actions := map[license.Action]bool{
		license.ActionActivate: true, license.ActionRenew: true, license.ActionEdit: true, license.ActionSetExpiry: true, license.ActionSuspend: true,
		license.ActionResume: true, license.ActionFreeze: true, license.ActionUnfreeze: true, license.ActionRelease: true,
		license.ActionRevoke: true, license.ActionUndoRevoke: true, license.ActionUpgrade: true,
	}
	for _, r := range license.Rules() {
		if !actions[license.ActionOf(r.Event)] {
			t.Errorf("%s has no action", r.Event)
		}
		delete(actions, license.ActionOf(r.Event))
	}
	if len(actions) > 0 {
		t.Errorf("actions without an event: %v", actions)
	}
}

const (
	tableBegin = "<!-- table of license.Rules, written by: go test ./license -run StateMachine -update -->\n"
	tableEnd   = "<!-- end of table -->\n"
)

// TestStateMachineDocument compares the table and the picture in docs with the rules.
func TestStateMachineDocument(t *testing.T) {
	const path = "../docs/state-machine.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	head, rest, ok := strings.Cut(text, tableBegin)
	have, tail, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	var table strings.Builder
	table.WriteString("\n| event | issued | active | expired | suspended | released | revoked | sets |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range license.Rules() {
		fmt.Fprintf(&table, "| `%s` |", r.Event)
		for _, s := range []license.State{"issued", "active", "expired", "suspended", "released", "revoked"} {
			fmt.Fprintf(&table, " %s |", r.In[s])
		}
		fmt.Fprintf(&table, " %s |\n", r.Effect)
	}
	table.WriteString("\n")
	if *update {
		if err := os.WriteFile(path, []byte(head+tableBegin+table.String()+tableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(table.String(), have); diff != "" {
		t.Errorf("the table in %s is not that of the rules; -update writes it: %s", path, diff)
	}
	checkArrows(t, text)
}

// checkArrows walks the arrows of the picture, "active --> suspended: freeze,
// suspend": each event leads there from that state, and every event that
// changes the state has its arrow.
func checkArrows(t *testing.T, text string) {
	t.Helper()
	drawn := make(map[string]bool)
	for line := range strings.Lines(text) {
		from, rest, ok := strings.Cut(strings.TrimSpace(line), " --> ")
		to, causes, ok2 := strings.Cut(rest, ": ")
		if !ok || !ok2 {
			continue
		}
		for cause := range strings.SplitSeq(causes, ", ") {
			drawn[from+" "+cause+" "+to] = true
		}
	}
	for _, s := range license.States() {
		for _, r := range license.Rules() {
			for _, to := range reached(s, r.Event) {
				arrow := fmt.Sprintf("%s %s %s", s, r.Event, to)
				if to != s && !drawn[arrow] {
					t.Errorf("the picture lacks %s", arrow)
				}
				delete(drawn, arrow)
			}
		}
	}
	// The clock is a cause, too, and no event.
	for _, s := range []string{"issued", "active"} {
		if arrow := s + " expires_at expired"; !drawn[arrow] {
			t.Errorf("the picture lacks %s", arrow)
		} else {
			delete(drawn, arrow)
		}
	}
	for arrow := range drawn {
		t.Errorf("the picture has %s, which does not happen", arrow)
	}
}

// reached returns the states that an event leads to from s, whatever else the
// licence's facts are.
func reached(s license.State, e license.Event) []license.State {
	states := make(map[license.State]bool)
	for mask := range 64 {
		var l license.License
		l.IssuedAt = now.Add(-10 * day)
		l.ExpiresAt = now.Add(day)
		if mask&1 != 0 {
			l.ActivatedAt = now.Add(-day)
		}
		if mask&2 != 0 {
			l.ExpiresAt = now.Add(-time.Hour)
		}
		if mask&4 != 0 {
			l.Holds |= license.HoldMarketplace
		}
		if mask&8 != 0 {
			l.Holds |= license.HoldMerchant
		}
		if mask&16 != 0 {
			l.ReleasedAt = now.Add(-time.Hour)
		}
		if mask&32 != 0 {
			l.RevokedAt = now.Add(-time.Hour)
		}
		if l.StateAt(now) != s {
			continue
		}
		for _, end := range []time.Time{now.Add(-time.Minute), now.Add(99 * day)} {
			if next, changed, err := l.Apply(license.Change{Event: e, At: now, ExpiresAt: end, Undo: day}); err == nil && changed {
				states[next.StateAt(now)] = true
			}
		}
	}
	var list []license.State
	for _, to := range license.States() {
		if states[to] {
			list = append(list, to)
		}
	}
	return list
}
