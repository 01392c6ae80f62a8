package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
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

// clones is a daemon with one product for each policy, and a clock that all share.
type clones struct {
	*merchant
	anchors token.Anchors

	mu  sync.Mutex
	now time.Time
}

func newClones(t *testing.T) *clones {
	t.Helper()
	dir, err := os.MkdirTemp("", "ld") //nolint:usetesting // a socket's path is short, a test's folder is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "licensed.yaml")
	if err := os.WriteFile(path, []byte(clonesConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &clones{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	c.merchant = &merchant{t: t, dir: dir, c: &http.Client{}}
	if c.d, err = daemon.New(t.Context(), daemon.Options{ConfigFile: path, Logger: slog.New(slog.DiscardHandler), Now: c.clock}); err == nil {
		err = c.d.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.down(); c.c.CloseIdleConnections() })
	var anchors json.RawMessage
	if err := c.admin(http.MethodGet, adminwire.PathAnchors, nil, &anchors); err != nil {
		t.Fatal(err)
	}
	if c.anchors, err = token.ParseAnchors(anchors); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *clones) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clones) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// story is a licence and those who hold it.
type story struct {
	*clones
	t       *testing.T
	product string
	id      string
	code    string
	log     []line
}

type line struct{ who, word string }

const answered = "answered"

func (c *clones) story(t *testing.T, policy license.ForkPolicy) *story {
	t.Helper()
	var out adminwire.LicenseList
	if err := c.admin(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: string(policy), For: "365d"}, &out); err != nil {
		t.Fatal(err)
	}
	l := out.Licenses[0]
	return &story{clones: c, t: t, product: string(policy), id: l.ID, code: l.Code}
}

func (s *story) wait(d time.Duration) { s.pass(d) }

func (s *story) license() adminwire.License {
	s.t.Helper()
	var l adminwire.License
	if err := s.admin(http.MethodGet, strings.Replace(adminwire.PathLicense, "{id}", s.id, 1), nil, &l); err != nil {
		s.t.Fatal(err)
	}
	return l
}

// told is the log as a sentence: who calls, and what each is told.
func (s *story) told() string {
	var out strings.Builder
	for i := 0; i < len(s.log); {
		n := 1
		for i+n < len(s.log) && s.log[i+n] == s.log[i] {
			n++
		}
		switch {
		case i > 0 && s.log[i-1].who == s.log[i].who:
			out.WriteString(", ")
		case i > 0:
			out.WriteString("; ")
			fallthrough
		default:
			out.WriteString(s.log[i].who + ": ")
		}
		out.WriteString(s.log[i].word)
		if n > 1 {
			fmt.Fprintf(&out, " ×%d", n)
		}
		i += n
	}
	return out.String()
}

// seen is what the merchant sees of the installs.
func (s *story) seen() string {
	l := s.license()
	counts, states := map[license.ForkKind]int{}, map[license.InstallState]int{}
	for _, i := range l.Installs {
		states[i.State]++
		for _, f := range i.ForkKinds {
			counts[f.Kind] += f.Count
		}
	}
	var out []string
	total := 0
	for _, kind := range license.ForkKinds() {
		if n := counts[kind]; n > 0 {
			out, total = append(out, fmt.Sprintf("%d `%s`", n, kind)), total+n
		}
	}
	if len(out) == 0 {
		out = []string{"no fork"}
	}
	if total != l.Forks {
		s.t.Errorf("%s: the licence says %d forks, its installs %d", s.product, l.Forks, total)
	}
	var installs []string
	for _, state := range license.InstallStates() {
		if n := states[state]; n > 0 {
			installs = append(installs, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(out, ", ") + "; installs: " + strings.Join(installs, ", ")
}

// holder is one copy of the product with its memory.
type holder struct {
	s       *story
	name    string
	machine string
	cache   *client.MemoryCache
	g       *client.Guard
	parts   map[license.Kind][]string // what the machine shows; nil is a system and a disk of its name
	lose    bool                      // the next answer
	refused bool                      // the last time
}

// shows makes the machine one of these parts, such as "os:1 disk:2".
func (h *holder) shows(parts string) {
	h.parts = make(map[license.Kind][]string)
	for p := range strings.FieldsSeq(parts) {
		kind, value, _ := strings.Cut(p, ":")
		h.parts[license.Kind(kind)] = append(h.parts[license.Kind(kind)], p+"-"+value)
	}
}

func (s *story) holder(name, machine string) *holder {
	s.t.Helper()
	h := &holder{s: s, name: name, machine: machine, cache: &client.MemoryCache{}}
	h.open()
	return h
}

// first is a holder that has activated the code.
func (s *story) first(name string) *holder {
	s.t.Helper()
	h := s.holder(name, "machine-1")
	h.activate()
	if h.refused {
		s.t.Fatalf("the first activation was refused: %s", s.told())
	}
	s.log = nil
	return h
}

// sharing activates the code on two machines that have nothing but a machine id
// in common.
func (s *story) sharing(first, second string) (a, b *holder) {
	a, b = s.holder(first, ""), s.holder(second, "")
	a.shows("custom:1 os:1 disk:1 mac:aa")
	b.shows("custom:1 os:2 disk:2 mac:bb")
	a.activate()
	b.activate()
	return a, b
}

func (h *holder) open() {
	h.s.t.Helper()
	g, err := client.Open(h.s.t.Context(), client.Options{
		Anchors: h.s.anchors, Product: h.s.product, Server: "http://" + h.s.d.Addr(), Cache: h.cache, Now: h.s.clock,
		HTTPClient: &http.Client{Transport: h},
		Fingerprint: func(context.Context) (fingerprint.Set, error) {
			values := h.parts
			if values == nil {
				values = map[license.Kind][]string{license.KindOS: {"os-" + h.machine}, license.KindDisk: {"disk-" + h.machine}}
			}
			return fingerprint.Set{Environment: fingerprint.VM, Values: values}, nil
		},
	})
	if err != nil {
		h.s.t.Fatal(err)
	}
	h.g = g
	h.s.t.Cleanup(func() { _ = g.Close() })
}

// RoundTrip loses the answer where it is told to.
func (h *holder) RoundTrip(rq *http.Request) (*http.Response, error) {
	rs, err := http.DefaultTransport.RoundTrip(rq)
	if err == nil && h.lose && rq.URL.Path == wire.PathRequests {
		h.lose = false
		return nil, errors.Join(errors.New("the connection was reset"), rs.Body.Close())
	}
	return rs, err
}

func (h *holder) loseAnswer() { h.lose = true }

// memory is what a backup or a clone of the machine takes along.
func (h *holder) memory() []byte {
	h.s.t.Helper()
	data, err := h.cache.Load()
	if err != nil {
		h.s.t.Fatal(err)
	}
	return data
}

func (h *holder) restore(memory []byte) {
	h.s.t.Helper()
	_ = h.g.Close()
	h.cache = &client.MemoryCache{}
	if memory != nil {
		if err := h.cache.Store(memory); err != nil {
			h.s.t.Fatal(err)
		}
	}
	h.open()
}

func (h *holder) clone(name string) *holder {
	h.s.t.Helper()
	c := &holder{s: h.s, name: name, machine: h.machine}
	c.cache = &client.MemoryCache{}
	if err := c.cache.Store(h.memory()); err != nil {
		h.s.t.Fatal(err)
	}
	c.open()
	return c
}

// is notes what a call came to. Time passes between calls.
func (h *holder) is(what string, err error) {
	word := answered
	switch reason := license.ReasonOf(err); reason { //nolint:exhaustive // all others are what was told
	case "":
	case license.Unreachable:
		word = "no answer"
	default:
		word = "`" + string(reason) + "`"
	}
	h.refused = err != nil && word != "no answer"
	h.s.log = append(h.s.log, line{h.name + what, word})
	h.s.pass(time.Hour)
}

func (h *holder) refresh()    { h.is("", h.g.Refresh(h.s.t.Context())) }
func (h *holder) activate()   { h.is(" by its code", h.g.Activate(h.s.t.Context(), h.s.code)) }
func (h *holder) transfer()   { h.is(" transfers", h.g.Transfer(h.s.t.Context(), h.s.code, "")) }
func (h *holder) deactivate() { h.is(" gives up", h.g.Deactivate(h.s.t.Context())) }

// recover activates again where the last call was refused.
func (h *holder) recover() {
	if h.refused {
		h.activate()
		h.refresh()
	}
}

func (h *holder) requestFile() []byte {
	h.s.t.Helper()
	file, err := h.g.Request(h.s.t.Context(), client.OpRefresh, client.RequestOptions{})
	if err != nil {
		h.s.t.Fatal(err)
	}
	return file
}

// handIn has the merchant's staff answer a request file.
func (h *holder) handIn(file []byte) []byte {
	h.s.t.Helper()
	request, err := token.ParseRequestFile(file)
	if err != nil {
		h.s.t.Fatal(err)
	}
	var ans wire.Answer
	var failure error
	if err := h.s.admin(http.MethodPost, adminwire.PathRequests, wire.Request{Request: request}, &ans); err != nil {
		failure = err
	}
	h.is("'s file handed in", failure)
	f := token.File{Licenses: []string{ans.License}, KeySets: []string{ans.Keys}, Times: []string{ans.Time}}
	return f.Marshal()
}

func (h *holder) importAnswer(file []byte) { h.is(" imports", h.g.Import(file)) }
