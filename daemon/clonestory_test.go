package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

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
		HTTPClient: &http.Client{Transport: h}, Manual: true,
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
