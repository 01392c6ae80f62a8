package authority_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// fromTemplate makes a request that of a virtual machine which shows the
// system's id of its template and a network card of its own.
func fromTemplate(n int) func(*token.Request) {
	return func(r *token.Request) {
		r.Fingerprint.Environment = "vm"
		r.Fingerprint.Components = license.Components{}
		for kind, value := range map[license.Kind]string{license.KindOS: "template", license.KindMAC: fmt.Sprintf("52:54:00:AA:00:%02X", n)} {
			d, _ := license.DigestValue(r.Fingerprint.Salt, kind, value)
			r.Fingerprint.Components[kind] = []license.Digest{d}
		}
	}
}

// Machines made from one template look like one with new parts. Whoever has
// paid for a seat for each keeps all of them running; who has not makes room.
func TestMachinesOfOneTemplate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ machines, seats, live int }{{10, 4, 10}, {2, 2, 6}, {1, 1, 3}} {
		w := newWorld(t)
		is := w.issue(func(o *authority.Order) { o.Machines = c.machines })
		var all []*install
		for n := range 10 {
			i := w.install(fmt.Sprint(n))
			_, err := i.send(i.request(token.OpActivate, withCode(is.Code), fromTemplate(n)))
			w.must(err, "")
			all = append(all, i)
			w.pass(4 * 24 * time.Hour) // not again and again within one lease
		}
		live, seats := 0, map[string]bool{}
		for n, i := range all {
			_, err := i.send(i.request(token.OpRefresh, fromTemplate(n)))
			if err == nil {
				live++
			} else {
				w.must(err, license.Replaced)
			}
		}
		l, installs := w.license(is.License.ID)
		for _, i := range installs {
			if i.State == license.InstallLive {
				seats[i.Seat] = true
			}
		}
		if live != c.live || len(seats) != c.seats || len(l.Transfers) != 0 {
			t.Errorf("%d machines: %d live on %d seats, %d moves", c.machines, live, len(seats), len(l.Transfers))
		}
	}
}

// One machine that is set up again and again makes room for itself, however many
// seats are free.
func TestOneMachineTakesOneSeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue(func(o *authority.Order) { o.Machines = 10 })
	for range 6 {
		i := w.install("machine")
		_, err := i.send(i.request(token.OpActivate, withCode(is.Code), fromTemplate(1)))
		w.must(err, "")
		w.pass(4 * 24 * time.Hour)
	}
	seats := map[string]bool{}
	_, installs := w.license(is.License.ID)
	for _, i := range installs {
		seats[i.Seat] = true
	}
	if len(seats) != 1 {
		t.Errorf("it took %d seats", len(seats))
	}
}
