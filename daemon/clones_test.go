package daemon_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

var update = flag.Bool("update", false, "write the table of docs/clones.md anew")

const clonesConfig = `
issuer: http://licence.test
public: {listen: "127.0.0.1:0"}
ops: {listen: ""}
limits: {requests_per_minute: 0}
products:
  - {id: report}
  - {id: refuse-newest, forks: refuse-newest}
  - {id: refuse-both, forks: refuse-both}
  - {id: fixed, transfers: {per_year: 0}}
`

// situation is one of docs/clones.md.
type situation struct {
	name string
	play func(*story)
}

func situations() []situation {
	return []situation{
		{"an answer is lost on the way, and the same request sent again", func(s *story) {
			a := s.first("install")
			a.loseAnswer()
			a.refresh()
			a.refresh()
			a.refresh()
		}},
		{"the memory of a machine is restored from a backup that is one check-in old", func(s *story) {
			a := s.first("install")
			backup := a.memory()
			a.refresh()
			a.restore(backup)
			a.refresh()
			a.refresh()
		}},
		{"a machine is set back to a backup or snapshot that is two check-ins old or older", func(s *story) {
			a := s.first("install")
			backup := a.memory()
			a.refresh()
			a.refresh()
			a.restore(backup)
			a.refresh()
			a.recover()
		}},
		{"a machine is cloned, and both call in turns", func(s *story) {
			a := s.first("original")
			b := a.clone("copy")
			a.refresh()
			b.refresh()
			a.refresh()
			b.refresh()
			a.recover()
		}},
		{"a machine is cloned, and the copy calls twice before the original does", func(s *story) {
			a := s.first("original")
			b := a.clone("copy")
			b.refresh()
			b.refresh()
			a.refresh()
			b.refresh()
			a.recover()
		}},
		{"a machine is cloned, and the original calls twice before the copy does", func(s *story) {
			a := s.first("original")
			b := a.clone("copy")
			a.refresh()
			a.refresh()
			b.refresh()
			a.refresh()
			b.refresh()
			a.recover()
		}},
		{"a machine is cloned before the code is activated on either", func(s *story) {
			a := s.holder("original", "machine-1")
			b := s.holder("copy", "machine-1")
			a.activate()
			b.activate()
			a.refresh()
			b.refresh()
			a.refresh()
		}},
		{"two machines are given one machine id", func(s *story) {
			a, b := s.sharing("first", "second")
			b.refresh()
			a.refresh()
			b.refresh()
			a.recover()
			b.recover()
			a.refresh()
		}},
		{"a machine with an id is repaired, the system installed anew and the code activated again", func(s *story) {
			_, b := s.sharing("before", "after")
			b.refresh()
			b.refresh()
		}},
		{"a copy gives the licence up", func(s *story) {
			a := s.first("original")
			b := a.clone("copy")
			a.refresh()
			a.refresh()
			b.deactivate()
			a.refresh()
		}},
		{"the licence is given up, and a copy that was kept calls", func(s *story) {
			a := s.first("original")
			b := a.clone("copy")
			a.deactivate()
			b.refresh()
			s.wait(24 * time.Hour)
			b.refresh()
			a.activate()
		}},
		{"the licence is transferred, and the old machine is still switched on", func(s *story) {
			a := s.first("old machine")
			b := s.holder("new machine", "machine-2")
			b.transfer()
			a.refresh()
			s.wait(24 * time.Hour)
			a.refresh()
			b.refresh()
		}},
		{"a fourth install on one machine takes the place of the first", func(s *story) {
			a := s.first("first")
			for _, name := range []string{"second", "third", "fourth"} {
				s.holder(name, "machine-1").activate()
			}
			a.refresh()
			s.wait(24 * time.Hour)
			a.refresh()
			a.recover()
		}},
		{"the memory is deleted and the code activated again, up to five times within one lease", func(s *story) {
			a := s.first("install")
			for range 5 {
				a.restore(nil)
				a.activate()
			}
			a.refresh()
		}},
		{"the memory is deleted and the code activated again, for the sixth time within one lease", func(s *story) {
			a := s.first("install")
			for range 5 {
				a.restore(nil)
				a.activate()
			}
			before := a.clone("copy of the sixth")
			a.restore(nil)
			a.activate()
			before.refresh()
			a.recover()
		}},
		{"a request file is handed in and its answer imported before anything else is asked for", func(s *story) {
			a := s.first("install")
			a.importAnswer(a.handIn(a.requestFile()))
			a.refresh()
			a.refresh()
		}},
		{"a request file is handed in after the install has called, and its answer never imported", func(s *story) {
			a := s.first("install")
			file := a.requestFile()
			a.refresh()
			a.handIn(file)
			a.refresh()
			a.recover()
		}},
	}
}

// TestClonesDocument plays every situation with real installs against a real
// daemon under every policy, and compares what came of it with the table in
// docs.
func TestClonesDocument(t *testing.T) {
	c := newClones(t)
	var table strings.Builder
	table.WriteString("\n| situation | policy | who calls, and what each is told | the merchant sees |\n|---|---|---|---|\n")
	for _, s := range situations() {
		var rows []string
		for _, policy := range license.ForkPolicies() {
			st := c.story(t, policy)
			s.play(st)
			rows = append(rows, fmt.Sprintf("%s | %s", st.told(), st.seen()))
		}
		name := s.name
		if all := slices.Compact(slices.Clone(rows)); len(all) == 1 {
			fmt.Fprintf(&table, "| %s | all | %s |\n", name, all[0])
			continue
		}
		for i, policy := range license.ForkPolicies() {
			fmt.Fprintf(&table, "| %s | `%s` | %s |\n", name, policy, rows[i])
			name = ""
		}
	}
	table.WriteString("\n")
	compareTable(t, table.String())
}

const (
	clonesBegin = "<!-- what happens, written by: go test ./daemon -run ClonesDocument -update -->\n"
	clonesEnd   = "<!-- end of table -->\n"
)

func compareTable(t *testing.T, table string) {
	t.Helper()
	const path = "../docs/clones.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	head, rest, ok := strings.Cut(text, clonesBegin)
	have, tail, ok2 := strings.Cut(rest, clonesEnd)
	switch {
	case !ok || !ok2:
		t.Fatalf("%s has no place for the table", path)
	case *update:
		if err := os.WriteFile(path, []byte(head+clonesBegin+table+clonesEnd+tail), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		if diff := cmp.Diff(table, have); diff != "" {
			t.Errorf("the table in %s is not what happens (-happens +written); -update writes it:\n%s", path, diff)
		}
	}
}

// A restored backup of one honest machine recovers, whatever the policy: by
// itself where forks are reported, by its code else. What it holds meanwhile
// works on.
func TestHonestBackupRecovers(t *testing.T) {
	c := newClones(t)
	for _, policy := range license.ForkPolicies() {
		s := c.story(t, policy)
		a := s.first("install")
		backup := a.memory()
		for range 3 {
			a.refresh()
		}
		a.restore(backup)
		a.refresh()
		if st := a.g.Status(); !st.Usable {
			t.Errorf("%s: a refusal took the licence: %+v", policy, st)
		}
		a.recover()
		for range 3 {
			a.refresh()
		}
		if last := s.log[len(s.log)-1]; last.word != answered {
			t.Errorf("%s: in the end: %v", policy, s.told())
		}
		if st := a.g.Status(); !st.Usable {
			t.Errorf("%s: it did not recover: %+v", policy, st)
		}
		if got := s.license(); got.Forks != 1 {
			t.Errorf("%s: %d forks", policy, got.Forks)
		}
	}
}

// An install whose network loses every other answer never looks like a copy.
func TestLostAnswersAreNoForks(t *testing.T) {
	c := newClones(t)
	s := c.story(t, license.ForkRefuseBoth)
	a := s.first("install")
	for n := range 20 {
		if n%2 == 0 {
			a.loseAnswer()
		}
		a.refresh()
		s.wait(time.Duration(n) * time.Hour)
	}
	if got := s.license(); got.Forks != 0 || !a.g.Status().Usable {
		t.Errorf("%d forks: %s", got.Forks, s.told())
	}
}

// A machine whose parts are exchanged is followed, until nothing is left of the
// one that was activated. Even then nobody is locked out on the spot: the refusal
// says why, and what is held works until its lease ends.
func TestMachineChanges(t *testing.T) {
	c := newClones(t)
	s := c.story(t, "fixed")
	h := s.holder("install", "")
	for _, parts := range []string{"os:1 disk:1 mac:aa", "os:1 disk:1 mac:bb", "os:1 disk:1", "os:1 disk:2 mac:bb"} {
		h.shows(parts)
		if h.g.License() == nil {
			h.activate()
		}
		h.refresh()
		if st := h.g.Status(); h.refused || !st.Usable {
			t.Fatalf("with %s: %s, %+v", parts, s.told(), st)
		}
	}
	got := s.license()
	if d := got.Installs[0].Drift; d == nil || d.Count != 2 || d.Unproven != 2 || !slices.Equal(d.Kinds, []license.Kind{license.KindDisk}) {
		t.Errorf("the merchant sees %+v", d)
	}
	h.shows("os:2 disk:2 mac:bb")
	err := h.g.Refresh(t.Context())
	if license.ReasonOf(err) != license.TransferLimit || !strings.Contains(err.Error(), "so much of this machine has changed") ||
		!strings.Contains(err.Error(), "(os, disk, mac)") {
		t.Errorf("refused with %v", err)
	}
	if st := h.g.Status(); !st.Usable {
		t.Errorf("locked out on the spot: %+v", st)
	}
	c.pass(13 * 24 * time.Hour)
	if st := h.g.Status(); !st.Usable || st.Phase != license.PhaseGrace {
		t.Errorf("near the end of the lease: %+v", st)
	}
	c.pass(2 * 24 * time.Hour)
	if st := h.g.Status(); st.Usable || st.Reason != license.LeaseOver {
		t.Errorf("after the lease: %+v", st)
	}
	h.shows("os:1 disk:2 mac:bb") // the machine as it was
	if err := h.g.Refresh(t.Context()); err != nil || !h.g.Status().Usable {
		t.Errorf("%v, %+v", err, h.g.Status())
	}
}

// A refusal because of a fork is 403 on the wire, with its reason.
func TestCloneDetectedOnTheWire(t *testing.T) {
	c := newClones(t)
	s := c.story(t, license.ForkRefuseNewest)
	a := s.first("original")
	b := a.clone("copy")
	b.refresh()
	b.refresh()
	file, err := a.g.Request(t.Context(), client.OpRefresh, client.RequestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rs, body := c.do(http.MethodPost, wire.PathRequests, wire.TypePEM, string(file))
	var p wire.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil || rs.StatusCode != http.StatusForbidden || p.Reason != license.CloneDetected {
		t.Errorf("HTTP %d: %s", rs.StatusCode, body)
	}
}
