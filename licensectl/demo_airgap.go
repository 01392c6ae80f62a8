package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/qr"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// anotherTree is what differs on a second workstation.
var anotherTree = map[string]string{ //nolint:gochecknoglobals // a constant
	"etc/machine-id":                  "0c9b8a7f6e5d4c3b2a19181716151413\n",
	fieldCard:                         "54:bf:64:0a:0b:0c\n",
	"sys/block/nvme0n1/device/serial": "S4EVNX0N598765      \n",
}

// openIsolated opens an installed copy that knows no server.
func (d *demonstration) openIsolated(ctx context.Context, name string, other map[string]string) (*client.Guard, error) {
	m, err := d.recordMachine(name, other)
	if err != nil {
		return nil, err
	}
	return client.Open(ctx, client.Options{
		Anchors: d.anchors, Product: demoProduct, StateDir: d.path("client-" + name), Manual: true, Fingerprint: m.collect, Now: d.now,
	})
}

// carryFiles licenses machines that nothing but files goes to and from: it
// activates one, refreshes, moves the licence to another one, and gives it up.
func (d *demonstration) carryFiles(ctx context.Context) (err error) {
	made, err := d.admin.Issue(ctx, adminwire.Issue{Product: demoProduct, Customer: "Island Ltd", For: "365d"})
	if err != nil {
		return fmt.Errorf("issue: %w", err)
	}
	l := made.Licenses[0]
	one, err := d.openIsolated(ctx, "island", nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, one.Close()) }()
	two, err := d.openIsolated(ctx, "second-island", anotherTree)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, two.Close()) }()

	d.say("A request goes out as a file, the answer comes back as one; both are signed. In the product: g.Request, g.Import.")
	if err := d.carryActivation(ctx, one, two, l.Code); err != nil {
		return err
	}
	if err := d.carryRefresh(ctx, one, l.ID); err != nil {
		return err
	}
	return d.carryMove(ctx, two, l)
}

func (d *demonstration) carryActivation(ctx context.Context, one, two *client.Guard, code string) error {
	answer, err := d.carry(ctx, one, client.OpActivate, code, "activate")
	if err != nil {
		return err
	}
	if err := d.draw("activate"); err != nil {
		return err
	}
	if err := expectUsable(one); err != nil {
		return err
	}
	d.ok("activated: %s", one.Status())
	again, err := d.hand(ctx, "activate")
	if err != nil {
		return err
	}
	if !bytes.Equal(answer, again) {
		return errors.New("the same request was answered in another way the second time")
	}
	d.ok("handed in a second time, the same request has the same answer, and takes no second seat")
	return d.expectRefused("importing it on another machine", two.Import(answer), license.MachineMismatch)
}

func (d *demonstration) carryRefresh(ctx context.Context, one *client.Guard, id string) error {
	before := one.Status().ExpiresAt
	d.command("licensectl renew %s --for 30d", id)
	if err := d.changed(d.admin.Renew(ctx, id, adminwire.Renew{For: "30d"})); err != nil {
		return fmt.Errorf("renew: %w", err)
	}
	if _, err := d.carry(ctx, one, client.OpRefresh, "", "refresh"); err != nil {
		return err
	}
	if after := one.Status().ExpiresAt; !after.Equal(before.Add(30 * 24 * time.Hour)) {
		return fmt.Errorf("the end should have moved by 30 days from %s, but is %s", instant(before), instant(after))
	}
	d.ok("refreshed: %s", one.Status())
	return nil
}

// carryMove moves the licence to a second machine, which then gives it up.
func (d *demonstration) carryMove(ctx context.Context, two *client.Guard, l adminwire.License) error {
	if _, err := d.carry(ctx, two, client.OpTransfer, l.Code, "transfer"); err != nil {
		return err
	}
	if err := expectUsable(two); err != nil {
		return err
	}
	if err := d.expectSeats(ctx, l.ID, 1); err != nil {
		return err
	}
	d.ok("moved to a second machine, which has the seat of the first: %s", two.Status())

	if err := d.ask(ctx, two, client.OpDeactivate, "", "deactivate"); err != nil {
		return err
	}
	if st := two.Status(); st.Usable || st.Reason != license.NoLicense {
		return fmt.Errorf("who has asked to deactivate should have no licence, but: %s", st)
	}
	d.ok("given up: with the request itself the machine has no licence any more")
	d.command("licensectl sign deactivate.req -o deactivate.lic")
	for range 2 { // sent by two ways, to be sure
		if _, err := d.hand(ctx, "deactivate"); err != nil {
			return err
		}
		if err := d.expectSeats(ctx, l.ID, 0); err != nil {
			return err
		}
	}
	d.ok("the request is the receipt: handed in, it frees the seat, and a second time nothing more")
	return nil
}

// carry carries a request to the merchant and the answer back.
func (d *demonstration) carry(ctx context.Context, g *client.Guard, op client.Op, code, name string) ([]byte, error) {
	if err := d.ask(ctx, g, op, code, name); err != nil {
		return nil, err
	}
	d.command("licensectl sign %s.req -o %s.lic", name, name)
	answer, err := d.hand(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := g.Import(answer); err != nil {
		return nil, fmt.Errorf("import the answer to %s: %w", name, err)
	}
	return answer, nil
}

// ask writes a request file.
func (d *demonstration) ask(ctx context.Context, g *client.Guard, op client.Op, code, name string) error {
	request, err := g.Request(ctx, op, client.RequestOptions{Code: code})
	if err != nil {
		return fmt.Errorf("request %s: %w", name, err)
	}
	return durable.WriteFile(d.path(name+".req"), request, 0o600)
}

// draw makes a QR code of a request file, for a phone to carry.
func (d *demonstration) draw(name string) error {
	file, err := os.ReadFile(d.path(name + ".req"))
	if err != nil {
		return fmt.Errorf("read the request file: %w", err)
	}
	if err := qr.Terminal(io.Discard, file, qr.DefaultColumns); err != nil {
		return fmt.Errorf("draw the request: %w", err)
	}
	d.ok("the request fits a QR code on a terminal of %d columns as well (licensectl request --qr), for a phone to carry", qr.DefaultColumns)
	return nil
}

// hand has the request file answered, as licensectl sign does.
func (d *demonstration) hand(ctx context.Context, name string) ([]byte, error) {
	file, err := os.ReadFile(d.path(name + ".req"))
	if err != nil {
		return nil, fmt.Errorf("read the request file: %w", err)
	}
	request, err := token.ParseRequestFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the request file: %w", err)
	}
	answer, err := d.admin.Answer(ctx, wire.Request{Request: request})
	if err != nil {
		return nil, fmt.Errorf("answer the request to %s: %w", name, err)
	}
	return answer, durable.WriteFile(d.path(name+".lic"), answer, 0o644)
}

func (d *demonstration) expectSeats(ctx context.Context, id string, want int) error {
	l, err := d.admin.License(ctx, id)
	if err != nil {
		return fmt.Errorf("look %s up: %w", id, err)
	}
	if got := seatsTaken(l); got != want {
		return fmt.Errorf("%d seats should be taken, and %d are", want, got)
	}
	return nil
}
