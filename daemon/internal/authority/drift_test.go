package authority_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// parts is what a machine shows, such as "os:1 disk:2 mac:3".
func parts(product, words string) license.Fingerprint {
	fp := license.Fingerprint{Salt: license.ProductSalt(product), Components: license.Components{}, Environment: "metal"}
	for w := range strings.FieldsSeq(words) {
		kind, value, _ := strings.Cut(w, ":")
		k := license.Kind(kind)
		d, _ := license.DigestValue(fp.Salt, k, value)
		fp.Components[k] = append(fp.Components[k], d)
	}
	return fp
}

func on(words string) func(*token.Request) {
	return func(r *token.Request) { r.Fingerprint = parts(r.Product, words) }
}

func (i *install) activateOn(c license.Code, words string) error {
	i.w.t.Helper()
	_, err := i.send(i.request(token.OpActivate, withCode(c), on(words)))
	return err
}

func (i *install) refreshOn(words string) error {
	i.w.t.Helper()
	_, err := i.send(i.request(token.OpRefresh, on(words)))
	return err
}

func (w *world) moves(id string) int {
	w.t.Helper()
	l, _ := w.license(id)
	return len(l.Transfers)
}

func (w *world) wantMoves(id string, want int) {
	w.t.Helper()
	if got := w.moves(id); got != want {
		w.t.Errorf("%d moves, want %d", got, want)
	}
}

// binds checks what the licence held is bound to.
func (i *install) binds(words string) {
	i.w.t.Helper()
	if diff := cmp.Diff(parts(i.product, words).Components, i.held.Binding.Components); diff != "" {
		i.w.t.Errorf("bound to something else than %s:\n%s", words, diff)
	}
}

// A new network card is bound at the next check-in, and the old one is let go.
func TestDriftNewCard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("")
	w.must(i.activateOn(is.Code, "os:1 disk:1 mac:1"), "")
	w.must(i.refreshOn("os:1 disk:1 mac:1"), "")
	if n := w.events(license.ActionDrift); n != 0 {
		t.Fatalf("%d drifts of a machine that stays as it is", n)
	}
	w.must(i.refreshOn("os:1 disk:1"), "") // while the card is out
	i.binds("os:1 disk:1 mac:1")
	w.must(i.refreshOn("os:1 disk:1 mac:2"), "")
	i.binds("os:1 disk:1 mac:2")
	got := w.one(is.License.ID)
	want := license.Drifted{Count: 1, At: w.clock(), Kinds: []license.Kind{license.KindMAC}}
	if diff := cmp.Diff(want, got.Drifted); diff != "" || len(got.Unproven) != 1 || w.moves(is.License.ID) != 0 {
		t.Errorf("%+v\n%s", got, diff)
	}
	raw := i.request(token.OpRefresh, on("os:1 disk:1 mac:2 board:1"))
	first, err := i.send(raw)
	w.must(err, "")
	again, err := i.send(raw)
	if err != nil || first != again {
		t.Errorf("the same request has another answer: %v", err)
	}
	i.binds("os:1 disk:1 mac:2 board:1")
}

// The audit log says which kinds changed and nothing of what they are.
func TestDriftAudited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("")
	w.must(i.activateOn(is.Code, "os:1 disk:1 mac:1"), "")
	w.must(i.refreshOn("os:1 disk:1 mac:2 uuid:1"), "")
	events, _, err := w.a.Events(t.Context(), store.EventFilter{Action: license.ActionDrift}, store.Page{})
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	want := map[string]any{"changed": []any{"mac"}, "added": []any{"uuid"}, "drifts": 1.0}
	if diff := cmp.Diff(want, events[0].After); diff != "" {
		t.Errorf("the event:\n%s", diff)
	}
	all, _, err := w.a.Events(t.Context(), store.EventFilter{License: is.License.ID}, store.Page{})
	w.must(err, "")
	log, err := json.Marshal(all)
	w.must(err, "")
	for kind, digests := range parts("cad", "os:1 disk:1 mac:1 mac:2 uuid:1").Components {
		for _, d := range digests {
			if strings.Contains(string(log), string(d)) {
				t.Errorf("the audit log holds the digest of a %s", kind)
			}
		}
	}
}

// walk is a machine that becomes another one, part by part.
var walk = []string{"os:1 disk:1 mac:1", "os:1 disk:2 mac:1", "os:1 disk:2 mac:2", "os:2 disk:2 mac:2"}

// A machine that is walked part by part to another one has moved: that counts
// as a transfer, and is stopped where no more are allowed. What it holds goes on
// until its lease ends.
func TestDriftWalkIsAMove(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]func(*world, *install, license.Code, string) (*install, error){
		"by check-ins": func(_ *world, i *install, _ license.Code, words string) (*install, error) {
			return i, i.refreshOn(words)
		},
		"by activating anew": func(w *world, _ *install, c license.Code, words string) (*install, error) {
			i := w.install("")
			return i, i.activateOn(c, words)
		},
		"by giving up and activating anew": func(w *world, i *install, c license.Code, words string) (*install, error) {
			_, err := i.send(i.request(token.OpDeactivate, on(words)))
			w.must(err, "")
			i = w.install("")
			return i, i.activateOn(c, words)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(p *license.Product) { p.Transfers = license.TransferPolicy{PerYear: 1} })
			is := w.issue()
			i := w.install("")
			w.must(i.activateOn(is.Code, walk[0]), "")
			for _, words := range walk[1:] {
				w.wantMoves(is.License.ID, 0)
				w.pass(24 * time.Hour)
				var err error
				i, err = step(w, i, is.Code, words)
				w.must(err, "")
			}
			w.wantMoves(is.License.ID, 1)
			i.binds(walk[3])
			// The first machine is another one by now.
			w.must(w.install("").activateOn(is.Code, walk[0]), license.MachineLimit)
			// The way back is a second move.
			for _, words := range []string{walk[2], walk[1]} {
				w.pass(24 * time.Hour)
				var err error
				if i, err = step(w, i, is.Code, words); err != nil {
					w.must(err, license.TransferLimit)
				}
			}
			held := i.held
			_, err := step(w, i, is.Code, walk[0])
			if reason := license.ReasonOf(err); reason != license.TransferLimit && reason != license.MachineMismatch {
				t.Errorf("walked on: %v", err)
			}
			if i.held.ID != held.ID || held.ID != "" && !w.clock().Before(held.Dates.LeaseUntil) {
				t.Error("what it holds has ended")
			}
			w.wantMoves(is.License.ID, 1)
		})
	}
}

// A move that is refused says why, takes nothing, and is over when the parts
// have been seen for long enough, or a move is free again.
func TestDriftRefusedExplains(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Transfers = license.TransferPolicy{} })
	is := w.issue()
	i := w.install("")
	w.must(i.activateOn(is.Code, "os:1 disk:1 mac:1"), "")
	w.pass(time.Hour)
	w.must(i.refreshOn("os:1 disk:2 mac:2"), "")
	w.pass(time.Hour)
	before := w.one(is.License.ID)
	commits := w.commits()
	err := i.refreshOn("os:2 disk:2 mac:2")
	w.must(err, license.TransferLimit)
	var e *license.Error
	if !asError(err, &e) || !strings.Contains(e.Detail, "(os, disk, mac)") || !strings.Contains(e.Detail, "0 are allowed") {
		t.Errorf("it says %q", e.Detail)
	}
	if diff := cmp.Diff(before, w.one(is.License.ID)); diff != "" || w.commits() != commits {
		t.Errorf("a refused move changed something:\n%s", diff)
	}
	w.must(i.refreshOn("os:1 disk:2 mac:2"), "") // nor is anything spoiled
	if w.events(license.ActionFork) != 0 {
		t.Error("a refused move led to a fork")
	}
}

// Parts that have been there for half a year are those of the machine.
func TestDriftIsProvenByTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Transfers = license.TransferPolicy{} })
	is := w.issue()
	i := w.install("")
	w.must(i.activateOn(is.Code, "os:1 disk:1"), "")
	w.must(i.refreshOn("os:1 disk:2"), "")
	for range 6 {
		w.pass(30 * 24 * time.Hour)
		w.must(i.refreshOn("os:1 disk:2"), "")
	}
	if n := len(w.one(is.License.ID).Unproven); n != 0 {
		t.Errorf("%d parts are not proven after 180 days", n)
	}
	w.must(i.refreshOn("os:2 disk:2"), "")
	w.wantMoves(is.License.ID, 0)
}

// The installs beside it on the machine come along when one finds out that the
// machine has become another.
func TestDriftCarriesTheOthers(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]func(*world, *install, license.Code) error{
		"by a check-in": func(_ *world, i *install, _ license.Code) error { return i.refreshOn(walk[3]) },
		"by a new install": func(w *world, _ *install, c license.Code) error {
			return w.install("").activateOn(c, walk[3])
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			is := w.issue()
			a, b := w.install(""), w.install("")
			w.must(a.activateOn(is.Code, walk[0]), "")
			w.must(b.activateOn(is.Code, walk[0]), "")
			w.pass(time.Hour)
			for _, words := range walk[1:3] {
				w.must(a.refreshOn(words), "")
			}
			w.must(last(w, a, is.Code), "")
			w.wantMoves(is.License.ID, 1)
			w.must(b.refreshOn(walk[0]), license.MachineMismatch)
			w.must(b.refreshOn(walk[3]), "")
			w.must(a.refreshOn(walk[3]), "")
			w.wantMoves(is.License.ID, 1)
			_, installs := w.license(is.License.ID)
			for _, i := range installs {
				if i.Seat != installs[0].Seat || len(i.Unproven) > 0 {
					t.Errorf("install %s: seat %s, %d unproven", i.ID, i.Seat, len(i.Unproven))
				}
			}
		})
	}
}

// A floating install may move as it likes, and nothing counts that.
func TestDriftFloating(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Mode, p.Transfers = license.ModeFloating, license.TransferPolicy{} })
	is := w.issue()
	i := w.install("")
	w.must(i.activateOn(is.Code, walk[0]), "")
	for _, words := range walk[1:] {
		w.must(i.refreshOn(words), "")
		i.binds(words)
	}
	w.wantMoves(is.License.ID, 0)
}

// Where the product binds to no machine, nothing drifts.
func TestDriftWithoutBinding(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Binding = license.PolicyNone })
	is := w.issue()
	i := w.install("")
	w.must(i.activateOn(is.Code, walk[0]), "")
	w.must(i.refreshOn(walk[3]), "")
	if w.events(license.ActionDrift) != 0 {
		t.Error("something drifted")
	}
}

// What a machine is bound to follows the product where it is set up anew, and
// keeps what is known of it.
func TestDriftAndAnotherPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("")
	w.must(i.activateOn(is.Code, "os:1 disk:1 mac:1"), "")
	w.must(i.refreshOn("os:1 disk:2 mac:1"), "")
	product := w.options.Products[0]
	for n, policy := range []license.Policy{license.PolicyExact, license.PolicyLoose} {
		product.Binding = policy
		w.options.Products[0] = product
		w.again()
		fresh := w.install("")
		w.must(fresh.activateOn(is.Code, "os:1 disk:2 mac:1"), "")
		if fresh.held.Binding.Policy != policy {
			t.Errorf("bound by %s, want %s", fresh.held.Binding.Policy, policy)
		}
		fresh.binds("os:1 disk:2 mac:1")
		_, installs := w.license(is.License.ID)
		if len(installs) != n+2 {
			t.Fatalf("%d installs", len(installs))
		}
		for _, got := range installs {
			if len(got.Unproven) != 1 {
				t.Errorf("%s: %d unproven parts, want the disk", fmt.Sprint(got.Binding.Policy), len(got.Unproven))
			}
		}
	}
	w.wantMoves(is.License.ID, 0)
}
