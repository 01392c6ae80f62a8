package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// open opens the guard of one installed copy, as the product would.
func (d *demonstration) open(ctx context.Context, name string) (*client.Guard, error) {
	return client.Open(ctx, client.Options{
		Anchors: d.anchors, Product: demoProduct, Server: d.public(), StateDir: d.path("client-" + name),
		Manual: true, Fingerprint: d.machine, Now: d.now,
	})
}

func (d *demonstration) activate(ctx context.Context) (err error) {
	if d.manual, err = d.open(ctx, "manual"); err != nil {
		return err
	}
	if d.bought, err = d.open(ctx, "bought"); err != nil {
		return err
	}
	d.say("In the product: g.Activate(ctx, code)")
	if err := d.manual.Activate(ctx, d.manualCode); err != nil {
		return fmt.Errorf("activate the manual code: %w", err)
	}
	if err := expectUsable(d.manual); err != nil {
		return fmt.Errorf("the manual code: %w", err)
	}
	d.ok("manual code: %s", d.manual.Status())

	if err := d.bought.Activate(ctx, d.boughtCode); err != nil {
		return fmt.Errorf("activate the bought code: %w", err)
	}
	if err := expectUsable(d.bought); err != nil {
		return fmt.Errorf("the bought code: %w", err)
	}
	if d.boughtLic, err = d.admin.Lookup(ctx, d.boughtCode); err != nil {
		return fmt.Errorf("look the bought code up: %w", err)
	}
	if err := d.expectMarketEnd(); err != nil {
		return err
	}
	d.ok("bought code: %s", d.bought.Status())
	d.say("For it the server asked the marketplace, activated it there, and asked again for the end that counts.")
	for _, id := range []string{d.manualLic.ID, d.boughtLic.ID} {
		if l, err := d.admin.License(ctx, id); err != nil || l.State != license.StateActive || seatsTaken(l) != 1 {
			return fmt.Errorf("%s should be active on one machine: it is %s on %d: %w", id, l.State, seatsTaken(l), errOrNone(err))
		}
	}
	d.ok("on the server both are active, each on 1 of 1 machine")
	return nil
}

// offline shows that nothing of the merchant's needs to run for a licence to
// be verified.
func (d *demonstration) offline(ctx context.Context) error {
	address := d.daemon.Addr()
	if err := d.stopDaemon(); err != nil {
		return err
	}
	d.say("The server is stopped. The product verifies what it holds, with the anchors compiled in:")
	file := d.bought.File()
	if err := durable.WriteFile(d.path("bought.lic"), file, 0o644); err != nil {
		return err
	}
	verifier := client.Verifier{Anchors: d.anchors, Product: demoProduct}
	lic, err := verifier.Verify(file)
	if err != nil {
		return fmt.Errorf("verify offline: %w", err)
	}
	now := d.now()
	if st := lic.Check(now); !st.Usable || st.Phase != license.PhaseValid || !st.Feature("export") {
		return fmt.Errorf("the licence is authentic, but: %s", st)
	}
	collect := d.machine
	if collect == nil {
		collect = fingerprint.Collect
	}
	machine, err := collect(ctx)
	if err != nil {
		return fmt.Errorf("look at this machine: %w", err)
	}
	if !lic.Match(machine).OK {
		return errors.New("the licence does not match the machine that it was made for")
	}
	d.ok("authentic, for this machine, %s", lic.Check(now))
	if st := lic.Check(lic.Dates().BlockAt); st.Usable || st.Phase != license.PhaseBlocked {
		return fmt.Errorf("at its block date the licence should be blocked, but: %s", st)
	}
	d.ok("the same file on %s: %s", lic.Dates().BlockAt.UTC().Format(time.DateOnly), lic.Check(lic.Dates().BlockAt))
	if err := d.expectForgeryRefused(&verifier); err != nil {
		return err
	}
	if err := expectReason(d.bought.Refresh(ctx), license.Unreachable); err != nil {
		return err
	}
	if err := expectUsable(d.bought); err != nil {
		return err
	}
	d.ok("calling home fails (unreachable) and costs nothing: still usable until the lease ends, %s",
		lic.Dates().LeaseUntil.UTC().Format(time.DateOnly))
	return d.restart(ctx, address)
}

// expectForgeryRefused gives the licence more machines, as somebody might who
// cannot sign.
func (d *demonstration) expectForgeryRefused(v *client.Verifier) error {
	parts := strings.Split(d.bought.License().Claims().Raw, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return fmt.Errorf("take the licence apart: %w", err)
	}
	more := strings.Replace(string(payload), `"machines":1`, `"machines":9`, 1)
	if more == string(payload) {
		return errors.New("the licence does not say for how many machines it is")
	}
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(more))
	file, err := token.ParseFile(d.bought.File())
	if err != nil {
		return fmt.Errorf("read the licence file: %w", err)
	}
	file.Licenses = []string{strings.Join(parts, ".")}
	_, err = v.Verify(file.Marshal())
	if err := expectReason(err, license.Forged); err != nil {
		return err
	}
	d.ok("with 9 machines written into it instead of 1: refused (%s)", license.Forged)
	return nil
}

// startAgain starts the daemon where it was, if that port is still free.
func (d *demonstration) startAgain(ctx context.Context, address string) error {
	if err := d.startDaemon(ctx, address); err != nil {
		return d.startDaemon(ctx, "")
	}
	return nil
}

// restart starts the daemon again, and has an install call it.
func (d *demonstration) restart(ctx context.Context, address string) error {
	if err := d.startAgain(ctx, address); err != nil {
		return err
	}
	if address != d.daemon.Addr() { // installs have the address in their configuration
		if err := d.reopen(ctx); err != nil {
			return err
		}
	}
	if err := d.bought.Refresh(ctx); err != nil {
		return fmt.Errorf("refresh after the restart: %w", err)
	}
	d.ok("the server runs again, and calling home works")
	return nil
}

func (d *demonstration) reopen(ctx context.Context) (err error) {
	if err := errors.Join(d.manual.Close(), d.bought.Close()); err != nil {
		return err
	}
	if d.manual, err = d.open(ctx, "manual"); err != nil {
		return err
	}
	d.bought, err = d.open(ctx, "bought")
	return err
}

func (d *demonstration) renew(ctx context.Context) error {
	before := d.bought.Status().ExpiresAt
	if _, err := d.market.Renew(d.order.Code, demoYear); err != nil {
		return fmt.Errorf("renew: %w", err)
	}
	d.say("The buyer pays for another year; the marketplace calls the server (RENEWAL), the product calls home.")
	if err := d.delivered(ctx); err != nil {
		return err
	}
	if err := d.bought.Refresh(ctx); err != nil {
		return fmt.Errorf("refresh after the renewal: %w", err)
	}
	after := d.bought.Status().ExpiresAt
	if want := before.Add(demoYear); !after.Equal(want) {
		return fmt.Errorf("the end should have moved from %s to %s, but is %s", instant(before), instant(want), instant(after))
	}
	if err := d.expectMarketEnd(); err != nil {
		return err
	}
	d.ok("the end moved from %s to %s", before.UTC().Format(time.DateOnly), after.UTC().Format(time.DateOnly))
	return nil
}

func (d *demonstration) freeze(ctx context.Context) error {
	if err := d.market.Freeze(d.order.Code); err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	d.say("The buyer's account is in arrears; the marketplace calls the server (FREEZE).")
	if err := d.delivered(ctx); err != nil {
		return err
	}
	if err := d.expectState(ctx, d.boughtLic.ID, license.StateSuspended); err != nil {
		return err
	}
	return d.expectRefused("calling home", d.bought.Refresh(ctx), license.Suspended)
}

func (d *demonstration) unfreeze(ctx context.Context) error {
	if err := d.market.Unfreeze(d.order.Code); err != nil {
		return fmt.Errorf("unfreeze: %w", err)
	}
	d.say("The buyer pays; the marketplace calls the server (UNFREEZE).")
	if err := d.delivered(ctx); err != nil {
		return err
	}
	if err := d.expectState(ctx, d.boughtLic.ID, license.StateActive); err != nil {
		return err
	}
	if err := d.bought.Refresh(ctx); err != nil {
		return fmt.Errorf("refresh after the freeze was lifted: %w", err)
	}
	if err := expectUsable(d.bought); err != nil {
		return err
	}
	d.ok("calling home works again: %s", d.bought.Status())
	return nil
}

func (d *demonstration) release(ctx context.Context) error {
	if _, err := d.market.Unsubscribe(d.order.Code); err != nil {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	d.say("The buyer gets the money back; the marketplace calls the server (releaseLicenseCode). That is final.")
	if err := d.delivered(ctx); err != nil {
		return err
	}
	if err := d.expectState(ctx, d.boughtLic.ID, license.StateReleased); err != nil {
		return err
	}
	if err := d.expectRefused("calling home", d.bought.Refresh(ctx), license.Released); err != nil {
		return err
	}
	fresh, err := d.open(ctx, "second")
	if err != nil {
		return err
	}
	err = d.expectRefused("activating the code again", fresh.Activate(ctx, d.boughtCode), license.Released)
	return errors.Join(err, fresh.Close())
}

// rule is what the merchant does by hand, with the licence issued by hand.
func (d *demonstration) rule(ctx context.Context) error {
	id := d.manualLic.ID
	d.command("licensectl renew %s --for 30d", id)
	before := d.manual.Status().ExpiresAt
	if err := d.changed(d.admin.Renew(ctx, id, adminwire.Renew{For: "30d"})); err != nil {
		return fmt.Errorf("renew: %w", err)
	}
	if err := d.manual.Refresh(ctx); err != nil {
		return fmt.Errorf("refresh after the renewal: %w", err)
	}
	if after := d.manual.Status().ExpiresAt; !after.Equal(before.Add(30 * 24 * time.Hour)) {
		return fmt.Errorf("the end should have moved by 30 days from %s, but is %s", instant(before), instant(after))
	}
	d.ok("the product calls home and has it: %s", d.manual.Status())
	d.command("licensectl suspend %s", id)
	if err := d.changed(d.admin.Suspend(ctx, id)); err != nil {
		return fmt.Errorf("suspend: %w", err)
	}
	if err := d.expectRefused("calling home", d.manual.Refresh(ctx), license.Suspended); err != nil {
		return err
	}
	d.command("licensectl resume %s", id)
	if err := d.changed(d.admin.Resume(ctx, id)); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if err := d.manual.Refresh(ctx); err != nil {
		return fmt.Errorf("refresh after the resumption: %w", err)
	}
	if err := expectUsable(d.manual); err != nil {
		return err
	}
	d.ok("calling home works: %s", d.manual.Status())
	d.command("licensectl revoke %s --reason 'the code was published'", id)
	if err := d.changed(d.admin.Revoke(ctx, id, "the code was published")); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	if err := d.expectState(ctx, id, license.StateRevoked); err != nil {
		return err
	}
	return d.expectRefused("calling home", d.manual.Refresh(ctx), license.Revoked)
}

// remember counts what the audit log holds.
func (d *demonstration) remember(ctx context.Context) error {
	want := map[license.Action]bool{
		license.ActionIssue: true, license.ActionActivate: true, license.ActionSetExpiry: true, license.ActionFreeze: true,
		license.ActionUnfreeze: true, license.ActionRelease: true, license.ActionSuspend: true, license.ActionResume: true,
		license.ActionRevoke: true,
	}
	total := 0
	o := adminclient.EventOptions{}
	for {
		page, err := d.admin.Events(ctx, o)
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		total += len(page.Events)
		for _, e := range page.Events {
			delete(want, e.Action)
		}
		if o.Cursor = page.Next; o.Cursor == "" {
			break
		}
	}
	for action := range want {
		return fmt.Errorf("the audit log has no event %s", action)
	}
	d.ok("%d events in the audit log, each written in the transaction of its change", total)
	return nil
}

// delivered waits until the marketplace's calls are answered with 000000.
func (d *demonstration) delivered(ctx context.Context) error {
	if err := d.market.WaitIdle(ctx); err != nil {
		return fmt.Errorf("wait for the marketplace's call: %w", err)
	}
	all := d.market.Deliveries()
	if len(all) == 0 {
		return errors.New("the marketplace has called nobody")
	}
	last := all[len(all)-1]
	if last.State != sandbox.Delivered || len(last.Attempts) == 0 {
		return fmt.Errorf("the marketplace's call %s is %s after %d attempts", last.Activity, last.State, len(last.Attempts))
	}
	d.ok("%s: answered %s", last.Activity, last.Attempts[len(last.Attempts)-1].ResultCode)
	return nil
}

// changed demands that an edit changed something.
func (*demonstration) changed(e adminwire.Edited, err error) error {
	if err == nil && !e.Changed {
		return errors.New("it changed nothing")
	}
	return err
}

func (d *demonstration) expectState(ctx context.Context, id string, want license.State) error {
	l, err := d.admin.License(ctx, id)
	if err != nil {
		return fmt.Errorf("look %s up: %w", id, err)
	}
	if l.State != want {
		return fmt.Errorf("%s should be %s and is %s", id, want, l.State)
	}
	d.ok("on the server the licence is %s", stateText(l))
	return nil
}

// expectMarketEnd compares the end that the product holds with the
// marketplace's own.
func (d *demonstration) expectMarketEnd() error {
	for _, c := range d.market.Codes() {
		if c.Code.Equal(d.order.Code) {
			want := c.ExpiresAt.UTC().Truncate(time.Second)
			if got := d.bought.Status().ExpiresAt; !got.Equal(want) {
				return fmt.Errorf("the licence should end %s as at the marketplace, but ends %s", instant(want), instant(got))
			}
			return nil
		}
	}
	return errors.New("the marketplace has forgotten the code")
}

// expectRefused demands a refusal with one reason.
func (d *demonstration) expectRefused(what string, err error, want license.Reason) error {
	if err := expectReason(err, want); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	detail := ""
	if l, ok := errors.AsType[*license.Error](err); ok {
		detail = l.Detail
	}
	d.ok("%s is refused, reason %s: %s", what, want, detail)
	return nil
}

func expectReason(err error, want license.Reason) error {
	if got := license.ReasonOf(err); err == nil || got != want {
		return fmt.Errorf("a refusal with reason %q was expected, but: %w", string(want), errOrNone(err))
	}
	return nil
}

func errOrNone(err error) error {
	if err == nil {
		return errors.New("there was no error")
	}
	return err
}

func expectUsable(g *client.Guard) error {
	if st := g.Status(); !st.Usable || st.Phase != license.PhaseValid {
		return fmt.Errorf("the licence should be valid, but: %s", st)
	}
	if !g.Feature("export") {
		return errors.New("the feature export should be there")
	}
	return nil
}
