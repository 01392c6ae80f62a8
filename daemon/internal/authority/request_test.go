package authority_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// The life of a manual code: issued, activated, refreshed, renewed, suspended,
// resumed, revoked, and every refusal with its own reason.
func TestLifeOfAManualCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	if got := w.state(is.License.ID); got != license.StateIssued {
		t.Fatalf("state %s after the issue", got)
	}
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	if i.held.LicenseID != is.License.ID || i.held.InstallID != i.key.ID || !i.held.Dates.ExpiresAt.Equal(is.License.ExpiresAt) {
		t.Fatalf("activated with %+v", i.held)
	}
	if got := i.held.Features["export"]; !got.On() {
		t.Error("the product's feature is not in the licence")
	}
	w.pass(time.Hour)
	first := i.held
	w.must(i.refresh(), "")
	if !i.held.Dates.LeaseUntil.After(first.Dates.LeaseUntil) || i.held.ID == first.ID {
		t.Error("a refresh did not extend the lease")
	}
	l, changed, err := w.a.Edit(t.Context(), admin, is.Code.Reveal(), authority.Edit{Event: license.EventRenew, For: 24 * time.Hour})
	if err != nil || !changed || !l.ExpiresAt.Equal(is.License.ExpiresAt.Add(24*time.Hour)) {
		t.Fatalf("renewed to %v, %v, %v", l.ExpiresAt, changed, err)
	}
	w.must(i.refresh(), "")
	if !i.held.Dates.ExpiresAt.Equal(l.ExpiresAt) {
		t.Error("the renewal is not in the next licence")
	}
	for _, step := range []struct {
		event license.Event
		state license.State
		want  license.Reason
	}{
		{license.EventSuspend, license.StateSuspended, license.Suspended},
		{license.EventResume, license.StateActive, ""},
		{license.EventRevoke, license.StateRevoked, license.Revoked},
		{license.EventUndoRevoke, license.StateActive, ""},
		{license.EventRelease, license.StateReleased, license.Released},
	} {
		w.must(w.edit(is.License.ID, step.event), "")
		if got := w.state(is.License.ID); got != step.state {
			t.Fatalf("%s leads to %s, want %s", step.event, got, step.state)
		}
		w.must(i.refresh(), step.want)
		w.must(w.install("machine-1").activate(is.Code), step.want)
	}
	if w.events(license.ActionIssue) != 1 || w.events(license.ActionActivate) != 1 || w.events(license.ActionRevoke) != 1 {
		t.Error("the audit log does not have one event for each change")
	}
}

// The same bytes get the same answer, whatever happened to the licence's terms
// in between, but not once it is no longer in good standing.
func TestSameRequestSameAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	raw := i.request(token.OpActivate, withCode(is.Code))
	first, err := i.send(raw)
	w.must(err, "")
	w.pass(time.Hour)
	_, _, err = w.a.Edit(t.Context(), admin, is.License.ID, authority.Edit{Event: license.EventRenew, For: time.Hour})
	w.must(err, "")
	second, err := i.send(raw)
	w.must(err, "")
	if d := cmp.Diff(first, second); d != "" {
		t.Errorf("another answer to the same request:\n%s", d)
	}
	if _, is := w.license(is.License.ID); len(is) != 1 {
		t.Errorf("%d installs", len(is))
	}
	w.must(w.edit(is.License.ID, license.EventSuspend), "")
	_, err = i.send(raw)
	w.must(err, license.Suspended)
}

func TestReplays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	activation := i.request(token.OpActivate, withCode(is.Code))
	_, err := i.send(activation)
	w.must(err, "")
	id := func(r *token.Request) { r.ID = "same" }
	_, err = i.send(i.request(token.OpRefresh, id))
	w.must(err, "")
	_, err = i.send(i.request(token.OpRefresh, id, func(r *token.Request) { r.Prev = "other" }))
	w.must(err, license.Conflict)
	_, err = i.send(activation)
	w.must(err, license.Replayed)
	if _, installs := w.license(is.License.ID); installs[0].Forks.Total() != 0 {
		t.Error("a replay counted as a fork")
	}
}

// A lost answer is forgiven once; a second line from the same key is a fork.
func TestChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	before := i.held
	w.must(i.refresh(), "") // this answer is lost:
	i.held = before
	w.must(i.refresh(), "")
	if n := w.events(license.ActionFork); n != 0 {
		t.Fatalf("a lost answer counted as %d forks", n)
	}
	w.must(i.refresh(), "")
	i.held = before // a copy of the machine as it was
	w.must(i.refresh(), "")
	if n := w.events(license.ActionFork); n != 1 {
		t.Errorf("a copy counted as %d forks", n)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	other, err := license.NewCode(nil)
	if err != nil {
		t.Fatal(err)
	}
	held := w.install("machine-1")
	w.must(held.activate(is.Code), "")
	for name, c := range map[string]struct {
		op    token.Op
		edit  func(*install, *token.Request)
		want  license.Reason
		field string
	}{
		"no code":         {token.OpActivate, func(*install, *token.Request) {}, license.BadRequest, "code"},
		"unknown code":    {token.OpActivate, func(_ *install, r *token.Request) { r.Code = other }, license.UnknownCode, ""},
		"unknown product": {token.OpActivate, func(_ *install, r *token.Request) { r.Product, r.Fingerprint = "nothing", fingerprint("nothing", "m") }, license.WrongProduct, ""},
		"other product": {token.OpActivate, func(_ *install, r *token.Request) {
			r.Code, r.Product, r.Fingerprint = is.Code, "other", fingerprint("other", "m")
		}, license.WrongProduct, ""},
		"no machine": {token.OpActivate, func(_ *install, r *token.Request) {
			r.Code, r.Fingerprint.Components = is.Code, nil
		}, license.MachineWeak, ""},
		"processor only": {token.OpActivate, func(_ *install, r *token.Request) {
			d, _ := license.DigestValue(r.Fingerprint.Salt, license.KindCPU, "some processor")
			r.Code, r.Fingerprint.Components = is.Code, license.Components{license.KindCPU: {d}}
		}, license.MachineWeak, ""},
		"refresh by a stranger":    {token.OpRefresh, func(_ *install, r *token.Request) { r.License = held.held.Raw }, license.Unauthorized, ""},
		"deactivate by a stranger": {token.OpDeactivate, func(_ *install, r *token.Request) { r.License = held.held.Raw }, license.Unauthorized, ""},
		"garbage held":             {token.OpRefresh, func(_ *install, r *token.Request) { r.License = "a.b.c" }, license.BadRequest, "license"},
	} {
		i := w.install("machine-9")
		_, err := i.send(i.request(c.op, func(r *token.Request) { c.edit(i, r) }))
		if got := license.ReasonOf(err); got != c.want {
			t.Errorf("%s: reason %q, want %q (%v)", name, got, c.want, err)
		}
		var e *license.Error
		if c.field != "" && (!asError(err, &e) || e.Field != c.field) {
			t.Errorf("%s: %v does not name the field %s", name, err, c.field)
		}
	}
	_, err = held.send(held.request(token.OpRefresh, func(r *token.Request) { r.Fingerprint = fingerprint("cad", "another machine") }))
	w.must(err, license.MachineMismatch)
	if _, installs := w.license(is.License.ID); len(installs) != 1 || installs[0].Chain.Last != held.held.ID {
		t.Error("a refusal changed something")
	}
}

// The code beside a request and the one in it must agree.
func TestCodeBeside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.issue(), w.issue()
	i := w.install("machine-1")
	_, err := w.a.Request(t.Context(), i.request(token.OpActivate, withCode(a.Code)), b.Code, authority.Caller{})
	w.must(err, license.BadRequest)
	ans, err := w.a.Request(t.Context(), i.request(token.OpActivate), b.Code, authority.Caller{})
	w.must(err, "")
	if ans.LicenseID != b.License.ID {
		t.Error("activated another licence")
	}
}

// An expired licence is answered while its grace lasts, and activates no more.
func TestExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue(func(o *authority.Order) { o.For = 10 * 24 * time.Hour })
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	w.pass(10*24*time.Hour + time.Second)
	if got := w.state(is.License.ID); got != license.StateExpired {
		t.Fatalf("state %s", got)
	}
	w.must(i.refresh(), "")
	if p := i.held.Dates.PhaseAt(w.clock()); p != license.PhaseGrace {
		t.Errorf("phase %s after the end", p)
	}
	w.must(w.install("machine-1").activate(is.Code), license.Expired)
	w.pass(15 * 24 * time.Hour)
	w.must(i.refresh(), license.Expired)
	_, _, err := w.a.Edit(t.Context(), admin, is.License.ID, authority.Edit{Event: license.EventRenew, For: 24 * time.Hour})
	w.must(err, "")
	w.must(i.refresh(), "")
}

// An address that was refused too often learns nothing about codes, and does
// not get in the way of installs that are known.
func TestKnownOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	known := w.install("machine-1")
	activation := known.request(token.OpActivate, withCode(is.Code))
	_, err := known.send(activation)
	w.must(err, "")
	caller := authority.Caller{KnownOnly: true}
	for _, raw := range []string{activation, known.request(token.OpRefresh)} {
		_, err := w.a.Request(t.Context(), raw, license.Code{}, caller)
		w.must(err, "")
	}
	unknown, err := license.NewCode(nil)
	if err != nil {
		t.Fatal(err)
	}
	stranger := w.install("machine-2")
	stranger.held = known.held
	for _, raw := range []string{
		stranger.request(token.OpActivate, withCode(is.Code)), stranger.request(token.OpActivate, withCode(unknown)),
		stranger.request(token.OpRefresh),
	} {
		_, err := w.a.Request(t.Context(), raw, license.Code{}, caller)
		w.must(err, license.RateLimited)
	}
}

// In its grace the same activation is still answered.
func TestSameActivationInGrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue(func(o *authority.Order) { o.For = 24 * time.Hour })
	i := w.install("machine-1")
	raw := i.request(token.OpActivate, withCode(is.Code))
	_, err := i.send(raw)
	w.must(err, "")
	w.pass(25 * time.Hour)
	_, err = i.send(raw)
	w.must(err, "")
}

// What cannot be signed is not sold.
func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := make(license.Features)
	for k := range 200 {
		long[fmt.Sprint("feature", k)] = license.FeatureText(strings.Repeat("x", 1000))
	}
	for name, edit := range map[string]func(*authority.Order){
		"no product":     func(o *authority.Order) { o.Product = "nothing" },
		"no end":         func(o *authority.Order) { o.For = 0 },
		"two ends":       func(o *authority.Order) { o.Perpetual = true },
		"past":           func(o *authority.Order) { o.For, o.ExpiresAt = 0, w.clock() },
		"negative":       func(o *authority.Order) { o.For = -time.Hour },
		"many":           func(o *authority.Order) { o.Count = authority.MaxIssue + 1 },
		"features":       func(o *authority.Order) { o.Features = long },
		"customer":       func(o *authority.Order) { o.Customer = "a\x00b" },
		"not UTF-8":      func(o *authority.Order) { o.Customer = "a\xffb" },
		"long order":     func(o *authority.Order) { o.Order = strings.Repeat("9", 129) },
		"too many seats": func(o *authority.Order) { o.Machines = 2_000_000 },
	} {
		o := authority.Order{Product: "cad", For: time.Hour}
		edit(&o)
		_, err := w.a.Issue(t.Context(), admin, o)
		if got := license.ReasonOf(err); got != license.BadRequest {
			t.Errorf("%s: reason %q (%v)", name, got, err)
		}
	}
	if all, _, err := w.a.Licenses(t.Context(), authority.Filter{}, authority.Page{}); err != nil || len(all) != 0 {
		t.Errorf("%d licences were made (%v)", len(all), err)
	}
}
