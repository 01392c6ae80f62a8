package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/license"
)

// fieldMachine is a machine in a folder: what a Linux shows of itself, as a
// collector reads it, and a clock that can be set.
type fieldMachine struct {
	root   string
	offset time.Duration // how far its clock is off
}

// fieldTree is the recorded files of a workstation with a disk and a network card.
var fieldTree = map[string]string{ //nolint:gochecknoglobals // a constant
	"etc/machine-id":                          "5f1e2d3c4b5a69788796a5b4c3d2e1f0\n",
	"proc/cpuinfo":                            "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) W-2245 CPU @ 3.90GHz\n\n",
	"sys/class/dmi/id/sys_vendor":             "Dell Inc.\n",
	"sys/class/net/eno1/type":                 "1\n",
	"sys/class/net/eno1/addr_assign_type":     "0\n",
	"sys/class/net/eno1/address":              "54:bf:64:01:02:03\n",
	"sys/class/net/eno1/device/vendor":        "0x8086\n",
	"sys/block/nvme0n1/removable":             "0\n",
	"sys/block/nvme0n1/device/serial":         "S4EVNX0N512345      \n",
	"sys/block/nvme0n1/device/model":          "Samsung SSD 970 PRO 1TB\n",
	"sys/class/dmi/id/product_name":           "Precision 5820 Tower\n",
	"sys/devices/virtual/net/lo/type":         "772\n",
	"sys/devices/virtual/net/lo/address":      "00:00:00:00:00:00\n",
	"sys/devices/system/cpu/online":           "0-7\n",
	"sys/class/net/eno1/device/subsystem_dev": "0x0001\n",
}

const fieldCard = "sys/class/net/eno1/address"

func (m *fieldMachine) write(name, content string) error {
	path := filepath.Join(m.root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // what everybody may read there
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644) //nolint:gosec // what everybody may read there
}

func (m *fieldMachine) collect(ctx context.Context) (fingerprint.Set, error) {
	return fingerprint.Collector{Root: m.root}.Collect(ctx)
}

// openField opens an installed copy on the recorded machine.
func (d *demonstration) openField(ctx context.Context, name string) (*client.Guard, error) {
	return client.Open(ctx, client.Options{
		Anchors: d.anchors, Product: demoProduct, Server: d.public(), StateDir: d.path("client-" + name),
		Manual: true, Fingerprint: d.field.collect, Now: func() time.Time { return d.now().Add(d.field.offset) },
	})
}

// recordMachine writes the files of a workstation, some of them with other
// contents.
func (d *demonstration) recordMachine(folder string, other map[string]string) (*fieldMachine, error) {
	m := &fieldMachine{root: d.path(folder)}
	tree := maps.Clone(fieldTree)
	maps.Copy(tree, other)
	for name, content := range tree {
		if err := m.write(name, content); err != nil {
			return nil, fmt.Errorf("write the recorded machine: %w", err)
		}
	}
	return m, nil
}

// enterField sells another code and activates it on a recorded machine.
func (d *demonstration) enterField(ctx context.Context) (err error) {
	if d.field, err = d.recordMachine("workstation", nil); err != nil {
		return err
	}
	made, err := d.admin.Issue(ctx, adminwire.Issue{Product: demoProduct, Customer: "Field Ltd", For: "365d"})
	if err != nil {
		return fmt.Errorf("issue: %w", err)
	}
	d.fieldLic = made.Licenses[0]
	d.say("What follows happens on a recorded machine: the files of a workstation, and a clock that can be set.")
	if d.copyA, err = d.openField(ctx, "field"); err != nil {
		return err
	}
	if err := d.copyA.Activate(ctx, d.fieldLic.Code); err != nil {
		return fmt.Errorf("activate on the recorded machine: %w", err)
	}
	if err := expectUsable(d.copyA); err != nil {
		return err
	}
	d.ok("activated there: %s", d.copyA.Status())
	return nil
}

// changeCard exchanges the network card.
func (d *demonstration) changeCard(ctx context.Context) error {
	if err := d.field.write(fieldCard, "a0:36:9f:0a:0b:0c\n"); err != nil {
		return fmt.Errorf("exchange the network card: %w", err)
	}
	again, err := d.reopenField(ctx)
	if err != nil {
		return err
	}
	if err := expectUsable(again); err != nil {
		return err
	}
	if err := expectOutcome(again, license.KindMAC, license.OutcomeChanged); err != nil {
		return err
	}
	d.ok("another network card: the licence holds, since the disk and the system's id are the same")
	if err := again.Refresh(ctx); err != nil {
		return fmt.Errorf("call home with the new card: %w", err)
	}
	if err := expectOutcome(again, license.KindMAC, license.OutcomeMatch); err != nil {
		return err
	}
	d.ok("the product calls home, and the licence is bound to the new card from then on")
	return nil
}

// reopenField starts the product anew.
func (d *demonstration) reopenField(ctx context.Context) (*client.Guard, error) {
	if err := d.copyA.Close(); err != nil {
		return nil, err
	}
	again, err := d.openField(ctx, "field")
	if err == nil {
		d.copyA = again
	}
	return again, err
}

func expectOutcome(g *client.Guard, kind license.Kind, want license.Outcome) error {
	for _, c := range g.Explain().Components {
		if c.Kind == kind {
			if c.Outcome != want {
				return fmt.Errorf("%s should be %s and is %s", kind, want, c.Outcome)
			}
			return nil
		}
	}
	return fmt.Errorf("nothing is said of %s", kind)
}

// cloneMachine copies the whole machine, the product's memory included.
func (d *demonstration) cloneMachine(ctx context.Context) (err error) {
	if err := durable.MkdirAll(d.path("client-clone")); err != nil {
		return err
	}
	data, err := os.ReadFile(d.path("client-field", "install.json"))
	if err != nil {
		return fmt.Errorf("read the product's memory: %w", err)
	}
	if err := durable.WriteFile(d.path("client-clone", "install.json"), data, 0o600); err != nil {
		return err
	}
	clone, err := d.openField(ctx, "clone")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clone.Close()) }()
	if err := expectUsable(clone); err != nil {
		return err
	}
	d.say("The machine is copied as a whole, as of a virtual one. Offline nothing tells the two apart.")
	for _, g := range []*client.Guard{clone, d.copyA, clone} {
		if err := g.Refresh(ctx); err != nil {
			return fmt.Errorf("call home: %w", err)
		}
	}
	d.command("licensectl show %s", d.fieldLic.ID)
	l, err := d.admin.License(ctx, d.fieldLic.ID)
	if err != nil {
		return fmt.Errorf("look the licence up: %w", err)
	}
	forks := 0
	for _, i := range l.Installs {
		forks += i.Forks
	}
	if forks == 0 {
		return errors.New("two copies call home in turn, and the server has not noticed")
	}
	d.ok("both call home with one key, and their licences part: the server reports %s", count(forks, "fork", "forks"))
	d.say("The product's setting forks decides: report (here), refuse-newest or refuse-both.")
	return nil
}

// carryList takes a status list to a machine that has no network.
func (d *demonstration) carryList(ctx context.Context) error {
	id := d.fieldLic.ID
	d.command("licensectl suspend %s", id)
	if err := d.changed(d.admin.Suspend(ctx, id)); err != nil {
		return fmt.Errorf("suspend: %w", err)
	}
	if err := d.expectListed(ctx, license.Suspended); err != nil {
		return err
	}
	d.ok("the product fetches the status list, and is blocked: %s", d.copyA.Status())
	d.command("licensectl resume %s", id)
	if err := d.changed(d.admin.Resume(ctx, id)); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if err := d.expectListed(ctx, ""); err != nil {
		return err
	}
	d.ok("resumed, and the next list says so: %s", d.copyA.Status())
	return nil
}

// expectListed fetches the status list until it says what it should, which
// takes the server a second at most.
func (d *demonstration) expectListed(ctx context.Context, want license.Reason) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		if err := d.copyA.RefreshStatus(ctx); err != nil {
			return fmt.Errorf("fetch the status list: %w", err)
		}
		if d.copyA.Status().Reason == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the status list should say %q, and the product stands at %q", string(want), string(d.copyA.Status().Reason))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// wrongClock sets the machine's clock forward, back, and right again.
func (d *demonstration) wrongClock(ctx context.Context) error {
	const day = 24 * time.Hour
	d.say("The product is started with the clock off by 3 years, right, and off by 60 days the other way:")
	for _, set := range []struct {
		to     time.Duration
		what   string
		clock  client.ClockState
		usable bool
	}{
		{3 * 365 * day, "+3 years", client.ClockUnconfirmed, false},
		{0, "right", client.ClockOK, true},
		{-60 * day, "-60 days", client.ClockBehind, true},
	} {
		d.field.offset = set.to
		g, err := d.reopenField(ctx)
		if err != nil {
			return err
		}
		st := g.Status()
		if st.Usable != set.usable || st.Clock != set.clock {
			return fmt.Errorf("with the clock %s the product should be usable: %t, its clock %s; but %t, %s: %s",
				set.what, set.usable, set.clock, st.Usable, st.Clock, st)
		}
		d.ok("%s: %s", set.what, st)
	}
	if err := d.copyA.Refresh(ctx); err != nil {
		return fmt.Errorf("call home with a clock that is behind: %w", err)
	}
	d.ok("calling home works with a wrong clock too, and brings the time")
	d.field.offset = 0
	g, err := d.reopenField(ctx)
	if err != nil {
		return err
	}
	return expectUsable(g)
}
