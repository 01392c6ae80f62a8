package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// openPlant opens an installed copy that looks after itself, as products do.
func (d *demonstration) openPlant(ctx context.Context, server string) (err error) {
	if d.plant != nil {
		if err := d.plant.Close(); err != nil {
			return err
		}
	}
	d.plant, err = client.Open(ctx, client.Options{
		Anchors: d.anchors, Product: demoProduct, Server: server, StateDir: d.path("client-plant"),
		Fingerprint: d.field.collect, Now: d.now,
	})
	return err
}

// unplug takes the server away until the product is blocked, and brings it back.
func (d *demonstration) unplug(ctx context.Context) error {
	const day = 24 * time.Hour
	made, err := d.admin.Issue(ctx, adminwire.Issue{Product: demoProduct, Customer: "Plant Ltd", For: "365d"})
	if err != nil {
		return fmt.Errorf("issue: %w", err)
	}
	server := d.public()
	if err := d.openPlant(ctx, server); err != nil {
		return err
	}
	d.say("The product leaves its licence to the guard, and shows what g.Events() tells:")
	if err := d.expectEvents(ctx, "", client.EventBlocked); err != nil {
		return err
	}
	if err := d.plant.Activate(ctx, made.Licenses[0].Code); err != nil {
		return fmt.Errorf("activate: %w", err)
	}
	if err := d.expectEvents(ctx, "", client.EventLicense, client.EventRestored); err != nil {
		return err
	}
	address := d.daemon.Addr()
	if err := d.stopDaemon(); err != nil {
		return err
	}
	d.say("The server is unplugged. The product starts anew 5, 11 and 15 days later:")
	for _, later := range []struct {
		days int
		want []client.EventKind
	}{
		{5, []client.EventKind{client.EventTrouble}},
		{11, []client.EventKind{client.EventGrace, client.EventTrouble}},
		{15, []client.EventKind{client.EventBlocked, client.EventTrouble}},
	} {
		d.ahead.Store(int64(time.Duration(later.days) * day))
		if err := d.openPlant(ctx, server); err != nil {
			return err
		}
		if err := d.expectEvents(ctx, fmt.Sprintf("day %d, ", later.days), later.want...); err != nil {
			return err
		}
	}
	if d.plant.Feature("export") {
		return errors.New("a product that is blocked should have no features")
	}
	return d.plugIn(ctx, address)
}

// plugIn starts the server again, and has the product call it.
func (d *demonstration) plugIn(ctx context.Context, address string) error {
	if err := d.startAgain(ctx, address); err != nil {
		return err
	}
	d.say("The server is plugged in again. The product would try by itself within minutes; its user does so now:")
	want := []client.EventKind{client.EventRestored, client.EventReached}
	if d.daemon.Addr() != address { // somebody else has the port: the product is configured anew
		if err := d.openPlant(ctx, d.public()); err != nil {
			return err
		}
		want = []client.EventKind{client.EventBlocked, client.EventRestored}
	}
	if err := d.plant.Refresh(ctx); err != nil {
		return fmt.Errorf("call home after the outage: %w", err)
	}
	if err := d.expectEvents(ctx, "", want...); err != nil {
		return err
	}
	return expectUsable(d.plant)
}

// expectEvents demands that these events come next, and tells them.
func (d *demonstration) expectEvents(ctx context.Context, when string, want ...client.EventKind) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, kind := range want {
		select {
		case e := <-d.plant.Events():
			if e.Kind != kind {
				return fmt.Errorf("the event %s should come, and %s has: %s", kind, e.Kind, e)
			}
			text := strings.TrimPrefix(e.String(), string(e.Kind)+": ")
			if kind == client.EventTrouble && len(want) > 1 { // told in full before
				text = string(license.ReasonOf(e.Err))
			}
			d.ok("%s%s: %s", when, e.Kind, text)
		case <-ctx.Done():
			return fmt.Errorf("the event %s should come, and does not", kind)
		}
	}
	return nil
}
