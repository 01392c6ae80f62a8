package clienttest_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/clienttest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

func (a answer) err() error {
	if a.status == http.StatusOK {
		return nil
	}
	var p wire.Problem
	if a.mediaType != wire.TypeProblem || json.Unmarshal(a.body, &p) != nil {
		return license.Errorf(license.Unreachable, "HTTP %d, %s", a.status, a.mediaType)
	}
	return p.Err()
}

// story is played against the daemon and the fake. told are the outcomes of its
// steps, so that it is known to be about what it says.
type story struct {
	name, product string
	play          func(*stage)
	told          string
}

// The fake answers as the daemon does: the same steps have the same outcomes,
// leave the installs where they leave them with the daemon, and the merchant sees
// the same.
func TestFakeIsLikeTheDaemon(t *testing.T) {
	clock := clienttest.NewClock(clienttest.Epoch)
	daemon := newReal(t, clock)
	for _, st := range stories() {
		t.Run(st.name, func(t *testing.T) {
			began := clock.Now()
			r := *daemon
			r.t = t
			a := &stage{t: t, v: &r, product: st.product, clock: clock, began: began}
			st.play(a)
			other := clienttest.NewClock(began)
			b := &stage{t: t, v: newFake(t, st.product, other), product: st.product, clock: other, began: began}
			st.play(b)
			if d := cmp.Diff(a.log, b.log); d != "" {
				t.Errorf("-daemon +fake:\n%s", d)
			}
			if got := strings.Join(a.told, ", "); got != st.told {
				t.Errorf("the daemon says %q,\nwant %q", got, st.told)
			}
		})
	}
}

func stories() []story {
	return slices.Concat(lifeStories(), seatStories(), forkStories())
}

const hour = time.Hour

func lifeStories() []story {
	return []story{
		{"a life", "node", func(s *stage) {
			code, a := s.begin(20, 0)
			a.activate(code)
			s.clock.Advance(25 * hour)
			a.refresh()
			a.look()
			s.seen(code)
			a.deactivate()
			a.refresh()
			s.seen(code)
			a.activate(strings.ToLower(strings.ReplaceAll(code, "-", " ")))
			s.seen(code)
		}, "activate ok, activate ok, refresh ok, look ok, deactivate ok, refresh no_license, activate ok"},
		{"by files", "node", func(s *stage) {
			code := s.v.issue("node", 20, 0)
			a := s.on("a")
			a.byFile(client.OpActivate, client.RequestOptions{Code: code})
			a.byFile(client.OpRefresh, client.RequestOptions{})
			a.byFile(client.OpDeactivate, client.RequestOptions{})
			s.seen(code)
			a.byFile(client.OpActivate, client.RequestOptions{})
			b := s.on("b")
			b.byFile(client.OpTransfer, client.RequestOptions{Code: code})
			s.seen(code)
		}, "import after activate ok, import after refresh ok, import after deactivate ok, hand in to activate bad_request(code), import after transfer ok"},
		{"codes that do not fit", "node", func(s *stage) {
			a := s.on("a")
			a.activate("PL0123456789ABCDEF")
			a.activate("LIC-AAAAA-AAAAA-AAAAA-AAAAA-AAAAAA")
			a.activate(s.v.issue("other", 20, 0))
			code := s.v.issue("node", 20, 0)
			b := s.on("b", func(o *client.Options) { o.Product = "other" })
			b.activate(code)
			c := s.on("c", func(o *client.Options) { o.Product = "nowhere" })
			c.activate(code)
			s.seen(code)
		}, "activate unknown_code, activate bad_request(code), activate wrong_product, activate wrong_product, activate wrong_product"},
		{"suspended and resumed", "node", func(s *stage) {
			code, a := s.begin(20, 0)
			a.change(func() { s.v.act("suspend", code) })
			a.look()
			a.refresh()
			s.on("b").activate(code)
			a.change(func() { s.v.act("resume", code) })
			a.look()
			a.refresh()
			s.seen(code)
		}, "activate ok, look ok, refresh suspended, activate suspended, look ok, refresh ok"},
		{"revoked, and undone", "node", func(s *stage) {
			code, a := s.begin(20, 0)
			a.change(func() { s.v.act("revoke", code) })
			a.refresh()
			a.look()
			s.on("b").activate(code)
			s.seen(code)
			a.change(func() { s.v.act("undo-revoke", code) })
			a.refresh()
			s.seen(code)
		}, "activate ok, refresh revoked, look ok, activate revoked, refresh ok"},
		{"released", "node", func(s *stage) {
			code, a := s.begin(20, 0)
			a.change(func() { s.v.act("release", code) })
			a.refresh()
			a.deactivate()
			s.on("b").activate(code)
			s.seen(code)
		}, "activate ok, refresh released, deactivate ok, activate released"},
		{"removed by the staff", "node", func(s *stage) {
			code, a := s.begin(20, 0)
			a.change(func() { s.v.remove(code, a.g.License().InstallID()) })
			a.refresh()
			s.seen(code)
			a.activate(code)
			s.seen(code)
		}, "activate ok, refresh unauthorized, activate ok"},
		{"the end", "node", func(s *stage) {
			code, a := s.begin(5, 0)
			s.clock.Advance(6 * 24 * hour)
			a.refresh()
			s.on("b").activate(code)
			a.look()
			s.clock.Advance(10 * 24 * hour)
			a.refresh()
			s.clock.Advance(6 * 24 * hour)
			a.refresh()
			s.seen(code)
			s.v.renew(code, s.clock.Now().Add(30*24*hour))
			a.refresh()
			s.seen(code)
		}, "activate ok, refresh ok, activate expired, look ok, refresh ok, refresh expired, refresh ok"},
		{"the end that degrades", "degrade", func(s *stage) {
			code, a := s.begin(5, 0)
			s.clock.Advance(7 * 24 * hour)
			a.refresh()
			s.seen(code)
		}, "activate ok, refresh ok"},
		{"a lost answer", "node", func(s *stage) {
			code := s.v.issue("node", 20, 0)
			a := s.on("a")
			a.lose = 1
			a.activate(code)
			a.activate(code)
			s.clock.Advance(25 * hour)
			a.lose = 1
			a.refresh()
			a.refresh()
			a.lose = 1
			a.deactivate()
			a.deactivate()
			s.seen(code)
		}, "activate unreachable, activate ok, refresh unreachable, refresh ok, deactivate unreachable, deactivate ok"},
		{"sent again", "node", func(s *stage) {
			code, a := s.begin(20, 0)
			a.again(0)
			a.refresh()
			a.again(0)
			a.again(1)
			a.refresh()
			a.deactivate()
			a.again(3)
			a.again(2)
			s.seen(code)
		}, "activate ok, send again ok, refresh ok, send again replayed, send again ok, refresh ok, deactivate ok, send again ok, send again unauthorized"},
		{"keys are rotated", "node", func(s *stage) {
			code, a := s.begin(20, 0)
			s.v.rotate()
			a.refresh()
			a.look()
			b := s.on("b")
			b.transfer(code, "")
			s.seen(code)
		}, "activate ok, refresh ok, look ok, transfer ok"},
	}
}

func seatStories() []story {
	return []story{
		{"as many machines as it is for", "node", func(s *stage) {
			code := s.v.issue("node", 20, 2)
			a, b, c := s.on("a"), s.on("b"), s.on("c")
			a.activate(code)
			b.activate(code)
			c.activate(code)
			c.transfer(code, "")
			c.transfer(code, "nobody")
			c.transfer(code, a.g.License().InstallID())
			a.refresh()
			s.seen(code)
			b.deactivate()
			a.activate(code)
			s.seen(code)
			s.v.machines(code, 3)
			b.activate(code)
			s.seen(code)
		}, "activate ok, activate ok, activate machine_limit, transfer bad_request(from), transfer bad_request(from), transfer ok, refresh replaced, deactivate ok, activate transfer_limit in 23h57m0s, activate ok"},
		{"moves", "node", func(s *stage) {
			code := s.v.issue("node", 29, 0)
			machines := []string{"a", "b", "c", "d", "e"}
			for _, m := range machines {
				c := s.on(m)
				c.transfer(code, "")
				s.clock.Advance(25 * hour)
			}
			s.seen(code)
			s.on("f").activate(code)
		}, "transfer ok, transfer ok, transfer ok, transfer ok, transfer transfer_limit, activate machine_limit"},
		{"too soon", "node", func(s *stage) {
			code := s.v.issue("node", 29, 0)
			a, b := s.on("a"), s.on("b")
			a.activate(code)
			a.deactivate()
			b.activate(code)
			b.deactivate()
			s.on("c").activate(code)
			b.activate(code)
			a.activate(code)
			s.seen(code)
		}, "activate ok, deactivate ok, activate ok, deactivate ok, activate transfer_limit in 23h58m0s, activate ok, activate machine_limit"},
		{"no moves", "fixed", func(s *stage) {
			code := s.v.issue("fixed", 29, 0)
			s.on("a").activate(code)
			s.on("b").transfer(code, "")
			s.on("b").activate(code)
			s.seen(code)
		}, "activate ok, transfer transfer_limit, activate machine_limit"},
		{"copies on one machine", "node", func(s *stage) {
			code, a := s.begin(20, 0)
			for _, name := range []string{"second", "third", "fourth"} {
				a.beside(name, false).activate(code)
			}
			a.refresh()
			s.seen(code)
		}, "activate ok, activate ok, activate ok, activate ok, refresh replaced"},
		{"a machine that shows too little", "node", func(s *stage) {
			code := s.v.issue("node", 20, 0)
			a := s.on("a")
			a.machine.Container()
			a.activate(code)
			a.machine.Supply("pod-host-0001")
			a.activate(code)
			s.seen(code)
		}, "activate machine_weak, activate ok"},
		{"any machine", "unbound", func(s *stage) {
			code := s.v.issue("unbound", 20, 0)
			a := s.on("a")
			a.machine.Empty()
			a.activate(code)
			a.refresh()
			s.on("b").activate(code)
			s.seen(code)
		}, "activate ok, refresh ok, activate machine_limit"},
		{"parts that change", "node", func(s *stage) {
			code, a := s.begin(20, 0)
			a.machine.Replace(license.KindDisk)
			a.refresh()
			a.machine.Remove(license.KindMAC)
			a.refresh()
			s.seen(code)
			a.machine.Replace(license.KindBoard, license.KindUUID, license.KindOS)
			a.refresh()
			s.seen(code)
			a.machine.Replace(license.KindDisk, license.KindMAC)
			a.refresh()
			s.seen(code)
		}, "activate ok, refresh ok, refresh ok, refresh ok, refresh ok"},
		{"floating", "floating", func(s *stage) {
			code := s.v.issue("floating", 20, 2)
			a, b, c := s.on("a"), s.on("b"), s.on("c")
			a.activate(code)
			b.activate(code)
			c.activate(code)
			s.seen(code)
			b.deactivate()
			c.activate(code)
			s.clock.Advance(20 * time.Minute)
			s.seen(code)
			b.activate(code)
			a.refresh()
			c.refresh()
			s.seen(code)
		}, "activate ok, activate ok, activate machine_limit in 1m0s, deactivate ok, activate ok, activate ok, refresh ok, refresh machine_limit in 1m0s"},
		{"a floating seat is taken over", "floating", func(s *stage) {
			code := s.v.issue("floating", 20, 1)
			named := func(o *client.Options) { o.Instance = "pod-1" }
			a := s.on("a", named)
			a.activate(code)
			again := s.on("a", named)
			again.activate(code)
			a.refresh()
			s.on("a").activate(code)
			s.on("b", named).activate(code)
			s.seen(code)
		}, "activate ok, activate ok, refresh replaced, activate machine_limit in 1m0s, activate machine_limit in 1m0s"},
	}
}

func forkStories() []story {
	var all []story
	for product, told := range map[string][]string{
		"node": {
			"activate ok, refresh ok, refresh ok, refresh ok, refresh ok, deactivate ok, refresh unauthorized, activate ok",
			"activate ok, deactivate ok, refresh unauthorized, refresh unauthorized",
			"activate ok, activate ok, activate ok, activate ok, activate ok, activate ok, activate ok, activate ok",
		},
		"refuse-newest": {
			"activate ok, refresh ok, refresh ok, refresh clone_detected, refresh ok, deactivate ok, refresh unauthorized, activate ok",
			"activate ok, deactivate ok, refresh unauthorized, refresh clone_detected",
			"activate ok, activate ok, activate ok, activate ok, activate ok, activate ok, activate clone_detected in 335h55m0s, activate clone_detected in 335h54m0s",
		},
		"refuse-both": {
			"activate ok, refresh ok, refresh ok, refresh clone_detected, refresh clone_detected, deactivate unauthorized, refresh clone_detected, activate ok",
			"activate ok, deactivate ok, refresh unauthorized, refresh clone_detected",
			"activate ok, activate ok, activate ok, activate ok, activate ok, activate ok, activate clone_detected, activate ok",
		},
	} {
		all = append(all,
			story{"a copy, " + product, product, func(s *stage) {
				code := s.v.issue(product, 25, 0)
				a := s.on("a")
				a.activate(code)
				b := a.beside("copy", true)
				for range 2 {
					a.refresh()
					b.refresh()
				}
				s.seen(code)
				if product == "refuse-both" {
					b.deactivate() // it was ended
				} else {
					a.change(b.deactivate)
				}
				a.refresh()
				s.seen(code)
				a.activate(code)
				s.seen(code)
			}, told[0]},
			story{"ended and calls, " + product, product, func(s *stage) {
				code := s.v.issue(product, 25, 0)
				a := s.on("a")
				a.activate(code)
				b := a.beside("copy", true)
				b.change(a.deactivate)
				b.refresh()
				s.clock.Advance(2 * hour)
				b.refresh()
				s.seen(code)
			}, told[1]},
			story{"set up again and again, " + product, product, func(s *stage) {
				code := s.v.issue(product, 25, 0)
				a := s.on("a")
				a.activate(code)
				for range 7 {
					a.beside("next", false).activate(code)
				}
				s.seen(code)
			}, told[2]},
		)
	}
	slices.SortFunc(all, func(a, b story) int { return strings.Compare(a.name, b.name) })
	return all
}
