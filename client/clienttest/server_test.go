package clienttest_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/clienttest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// held is a server, a licence of it and an install that holds it.
func held(t *testing.T, spec clienttest.LicenseSpec) (*clienttest.Server, string, *client.Guard) {
	t.Helper()
	s := clienttest.NewServer(t, clienttest.ServerOptions{})
	code := s.Issue(spec)
	g := s.Open(t)
	must(t, g.Activate(t.Context(), code))
	return s, code, g
}

func wants(t *testing.T, err error, reason license.Reason) {
	t.Helper()
	if !errors.Is(err, reason) {
		t.Fatalf("got %v, want %s", err, reason)
	}
}

// What is wrong with a server leaves the install what it has, and is over when the
// server is up.
func TestTrouble(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		begin  func(*clienttest.Server)
		reason license.Reason
		status int // that is recorded
	}{
		"down":     {(*clienttest.Server).Down, license.Unreachable, 0},
		"hangs":    {(*clienttest.Server).Hang, license.Unreachable, 0},
		"HTML":     {(*clienttest.Server).HTML, license.Unreachable, http.StatusOK},
		"impostor": {(*clienttest.Server).Impostor, license.Forged, http.StatusOK},
		"read-only": {
			func(s *clienttest.Server) { s.Refuse(license.ReadOnly) }, license.ReadOnly,
			http.StatusServiceUnavailable,
		},
		"too many": {func(s *clienttest.Server) { s.RetryAfter(time.Minute) }, license.RateLimited, http.StatusTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { inTrouble(t, c.begin, c.reason, c.status) })
		})
	}
}

func inTrouble(t *testing.T, begin func(*clienttest.Server), reason license.Reason, status int) {
	t.Helper()
	s := clienttest.NewBubbleServer(t, clienttest.ServerOptions{})
	code := s.Issue(clienttest.LicenseSpec{})
	g := s.Open(t)
	must(t, g.Activate(t.Context(), code))
	before := g.Status()
	s.Forget()
	begin(s)
	err := g.Refresh(t.Context())
	wants(t, err, reason)
	if e, ok := errors.AsType[*license.Error](err); reason == license.RateLimited && (!ok || e.RetryAfter != time.Minute) {
		t.Errorf("%#v does not say when to try again", err)
	}
	if st := g.Status(); st.Usable != before.Usable || !st.LeaseUntil.Equal(before.LeaseUntil) {
		t.Errorf("from %s to %s", before, st)
	}
	if reason == license.Forged {
		wants(t, g.RefreshStatus(t.Context()), reason) // its lists are as bad as its licences
	}
	calls := s.Requests(client.OpRefresh)
	if len(calls) == 0 || calls[0].Status != status || calls[0].Lost {
		t.Errorf("calls %+v", calls)
	}
	s.Up()
	s.Clock().Advance(time.Hour)
	must(t, g.Refresh(t.Context()))
	if st := g.Status(); !st.LeaseUntil.After(before.LeaseUntil) {
		t.Errorf("the lease was not extended: %s", st)
	}
	if forks := s.License(code).Forks; forks != 0 {
		t.Errorf("%d forks", forks)
	}
}

// A refusal comes before anything is done.
func TestRefusedIsNotDone(t *testing.T) {
	t.Parallel()
	s := clienttest.NewServer(t, clienttest.ServerOptions{})
	code := s.Issue(clienttest.LicenseSpec{})
	s.Refuse(license.Errorf(license.NotReceived, "please collect it first"))
	g := s.Open(t)
	wants(t, g.Activate(t.Context(), code), license.NotReceived)
	if n := len(s.Installs(code)); n != 0 {
		t.Errorf("%d installs", n)
	}
}

func TestLose(t *testing.T) {
	t.Parallel()
	s := clienttest.NewServer(t, clienttest.ServerOptions{})
	code := s.Issue(clienttest.LicenseSpec{})
	g := s.Open(t)
	s.Lose(2)
	for range 2 {
		wants(t, g.Activate(t.Context(), code), license.Unreachable)
	}
	if n := len(s.Installs(code)); n != 1 || g.License() != nil {
		t.Errorf("%d installs, holds %v", n, g.License())
	}
	must(t, g.Activate(t.Context(), code))
	if n := len(s.Installs(code)); n != 1 {
		t.Errorf("%d installs of one", n)
	}
	var lost []bool
	for _, c := range s.Requests("") {
		lost = append(lost, c.Lost)
	}
	if !slices.Equal(lost, []bool{true, true, false}) {
		t.Errorf("lost %v", lost)
	}
}

// Who hangs is answered when the server is up again.
func TestHangEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := clienttest.NewBubbleServer(t, clienttest.ServerOptions{})
		code := s.Issue(clienttest.LicenseSpec{})
		g := s.Open(t)
		s.Hang()
		done := make(chan error)
		go func() { done <- g.Activate(t.Context(), code) }()
		time.Sleep(10 * time.Second)
		s.Up()
		must(t, <-done)
		s.Hang()
		begun := time.Now()
		wants(t, g.Refresh(t.Context()), license.Unreachable)
		if took := time.Since(begun); took != client.DefaultTimeout {
			t.Errorf("gave up after %s", took)
		}
	})
}

// In a bubble months pass at once, over the same protocol.
func TestBubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := clienttest.NewBubbleServer(t, clienttest.ServerOptions{})
		code := s.Issue(clienttest.LicenseSpec{For: 60 * 24 * time.Hour})
		g := s.Open(t)
		must(t, g.Activate(t.Context(), code))
		var phases []license.Phase
		for range 80 {
			time.Sleep(24 * time.Hour)
			if g.Status().RefreshDue() {
				_ = g.Refresh(t.Context()) // where it has ended for good it is refused
			}
			if p := g.Status().Phase; len(phases) == 0 || phases[len(phases)-1] != p {
				phases = append(phases, p)
			}
		}
		want := []license.Phase{license.PhaseValid, license.PhaseWarning, license.PhaseGrace, license.PhaseBlocked}
		if !slices.Equal(phases, want) {
			t.Errorf("phases %v, want %v", phases, want)
		}
		// The machine's clock jumps; the server's goes on.
		clock := clienttest.NewRunningClock()
		s.Renew(code, time.Now().Add(365*24*time.Hour))
		other := s.Open(t, func(o *client.Options) { o.Now = clock.Now })
		must(t, other.Activate(t.Context(), code))
		clock.Advance(-48 * time.Hour)
		if st := other.Status(); st.Clock != client.ClockBehind || !st.Usable {
			t.Errorf("with a clock that is behind: %+v", st)
		}
	})
}

// What the merchant changes reaches installs when they call.
func TestChanges(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, code, g := held(t, clienttest.LicenseSpec{For: 20 * 24 * time.Hour, Features: clienttest.Features("export"), Customer: "Beispiel GmbH", Order: "O-1"})
	if cl := g.License().Claims(); cl.Customer != "Beispiel GmbH" || cl.Order != "O-1" || cl.CodeLast4 != code[len(code)-4:] {
		t.Errorf("claims %+v", cl)
	}
	until := clienttest.Epoch.Add(90 * 24 * time.Hour)
	s.Renew(code, until)
	s.SetFeatures(code, clienttest.Features("projects=3"))
	s.SetMachines(code, 4)
	must(t, g.Refresh(ctx))
	cl := g.License().Claims()
	if n, _ := g.Value("projects").Number(); n != 3 || g.Feature("export") || cl.Machines != 4 || !g.Status().ExpiresAt.Equal(until) {
		t.Errorf("claims %+v", cl)
	}
	s.Renew(code, license.Forever)
	must(t, g.Refresh(ctx))
	if !g.Status().ExpiresAt.Equal(license.Forever) {
		t.Errorf("ends at %s", g.Status().ExpiresAt)
	}
	s.Suspend(code)
	must(t, g.RefreshStatus(ctx))
	if st := g.Status(); st.Usable || st.Reason != license.Suspended {
		t.Errorf("suspended: %s", st)
	}
	s.Resume(code)
	must(t, g.RefreshStatus(ctx))
	if st := g.Status(); !st.Usable {
		t.Errorf("resumed: %s", st)
	}
	s.Revoke(code)
	wants(t, g.Refresh(ctx), license.Revoked)
	if st := g.Status(); st.Usable || st.Reason != license.Revoked {
		t.Errorf("revoked: %s", st)
	}
}

// A revocation that can be undone shows as a suspension until then.
func TestRevokeUndoable(t *testing.T) {
	t.Parallel()
	s, code, g := held(t, clienttest.LicenseSpec{})
	s.RevokeUndoable(code, 24*time.Hour)
	for _, c := range []struct {
		after time.Duration
		want  license.Reason
	}{{0, license.Suspended}, {24*time.Hour - time.Second, license.Suspended}, {time.Second, license.Revoked}} {
		s.Clock().Advance(c.after)
		must(t, g.RefreshStatus(t.Context()))
		if got := g.Status().Reason; got != c.want {
			t.Errorf("after %s: %s, want %s", c.after, got, c.want)
		}
	}
}

// Keys that are revoked end what they have signed, for whoever hears of it.
func TestRevokeKeys(t *testing.T) {
	t.Parallel()
	s, _, g := held(t, clienttest.LicenseSpec{})
	old := g.File()
	s.RevokeKeys()
	must(t, g.Refresh(t.Context()))
	if st := g.Status(); !st.Usable {
		t.Errorf("after it called home: %s", st)
	}
	f, err := client.ParseAnchors(clienttest.AnchorsJSON())
	must(t, err)
	rs, err := s.HTTPClient().Get(s.URL() + wire.PathKeys)
	must(t, err)
	defer rs.Body.Close()
	keys := make([]byte, 1<<16)
	n, _ := rs.Body.Read(keys)
	v := client.Verifier{Anchors: f, Product: clienttest.Product, Keys: string(keys[:n])}
	_, err = v.Verify(old)
	wants(t, err, license.Forged)
}

func TestFloating(t *testing.T) {
	t.Parallel()
	s := clienttest.NewServer(t, clienttest.ServerOptions{Product: license.Product{ID: "cad", Mode: license.ModeFloating, Machines: 2}})
	code := s.Issue(clienttest.LicenseSpec{})
	a, b, c := s.Open(t), s.Open(t), s.Open(t)
	must(t, a.Activate(t.Context(), code))
	must(t, b.Activate(t.Context(), code))
	wants(t, c.Activate(t.Context(), code), license.MachineLimit)
	if n := s.SeatsTaken(code); n != 2 {
		t.Errorf("%d seats taken", n)
	}
	s.Clock().Advance(15 * time.Minute)
	if n := s.SeatsTaken(code); n != 0 || a.Status().Reason != license.LeaseOver {
		t.Errorf("%d seats taken after the lease, %s", n, a.Status())
	}
	must(t, c.Activate(t.Context(), code))
}

// What a licence has of its own counts before what the product has.
func TestPhases(t *testing.T) {
	t.Parallel()
	_, _, g := held(t, clienttest.LicenseSpec{For: 24 * time.Hour, Phases: license.Phases{Lease: new(2 * time.Hour), Refresh: new(time.Hour)}})
	if st := g.Status(); !st.LeaseUntil.Equal(clienttest.Epoch.Add(2*time.Hour)) || !st.RefreshAfter.Equal(clienttest.Epoch.Add(time.Hour)) {
		t.Errorf("%+v", st)
	}
}

// A licence that wants a status list of some age gets one with every answer.
func TestStatusMaxAge(t *testing.T) {
	t.Parallel()
	s := clienttest.NewServer(t, clienttest.ServerOptions{Product: license.Product{StatusMaxAge: time.Hour}})
	g := s.Open(t)
	must(t, g.Activate(t.Context(), s.Issue(clienttest.LicenseSpec{})))
	s.Clock().Advance(2 * time.Hour)
	if st := g.Status(); st.Reason != license.LeaseOver {
		t.Errorf("without a list: %s", st)
	}
	must(t, g.RefreshStatus(t.Context()))
	if st := g.Status(); !st.Usable || !st.ListedAt.Equal(s.Clock().Now()) {
		t.Errorf("with a list: %+v", st)
	}
}

// A machine without a network asks and is answered by files.
func TestSign(t *testing.T) {
	t.Parallel()
	s := clienttest.NewServer(t, clienttest.ServerOptions{})
	code := s.Issue(clienttest.LicenseSpec{Code: "PL0123456789ABCDEF"})
	g := s.Open(t, func(o *client.Options) { o.Server = "" })
	s.Down()
	request, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{})
	must(t, err)
	_, err = s.Sign(request, "")
	wants(t, err, license.BadRequest)
	answer, err := s.Sign(request, code)
	must(t, err)
	must(t, g.Import(answer))
	if !g.Status().Usable || len(s.Calls()) != 0 {
		t.Errorf("%s, %d calls", g.Status(), len(s.Calls()))
	}
	receipt, err := g.Request(t.Context(), client.OpDeactivate, client.RequestOptions{})
	must(t, err)
	_, err = s.Sign(receipt, "")
	must(t, err)
	if n := s.SeatsTaken(code); n != 0 {
		t.Errorf("%d seats taken after the receipt", n)
	}
	_, err = s.Sign([]byte("no file"), code)
	wants(t, err, license.BadRequest)
}

// Options are of an install each, on the machine of all.
func TestOptions(t *testing.T) {
	t.Parallel()
	s, code, _ := held(t, clienttest.LicenseSpec{})
	second := s.Open(t)
	must(t, second.Activate(t.Context(), code))
	if n := s.SeatsTaken(code); n != 1 {
		t.Errorf("%d seats for one machine", n)
	}
	elsewhere := s.Open(t, func(o *client.Options) { o.Fingerprint = clienttest.NewMachine("elsewhere").Fingerprint })
	wants(t, elsewhere.Activate(t.Context(), code), license.MachineLimit)
	var c *clienttest.Call
	for _, call := range s.Calls() {
		if call.Reason == license.MachineLimit {
			c = &call
		}
	}
	if c == nil || c.Status != http.StatusForbidden || c.Request.Op != client.OpActivate || c.Path != wire.PathRequests || !c.At.Equal(clienttest.Epoch) {
		t.Errorf("recorded %+v", c)
	}
}

// A mistake in the test is said to the test.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, mistake := range map[string]func(*clienttest.Server){
		"unknown code": func(s *clienttest.Server) { s.Revoke("PLNOBODY12345") },
		"code of no form": func(s *clienttest.Server) {
			s.Issue(clienttest.LicenseSpec{Code: "LIC-AAAAA-AAAAA-AAAAA-AAAAA-AAAAAA"})
		},
		"code twice": func(s *clienttest.Server) { s.Issue(clienttest.LicenseSpec{Code: s.Issue(clienttest.LicenseSpec{})}) },
		"phases": func(s *clienttest.Server) {
			s.Issue(clienttest.LicenseSpec{Phases: license.Phases{Enforcement: "pray"}})
		},
		"resumed too late": func(s *clienttest.Server) { c := s.Issue(clienttest.LicenseSpec{}); s.Release(c); s.Suspend(c) },
		"no such install":  func(s *clienttest.Server) { s.RemoveInstall(s.Issue(clienttest.LicenseSpec{}), "nobody") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{TB: t, ended: make(chan bool, 1)}
			s := clienttest.NewServer(r, clienttest.ServerOptions{})
			go func() {
				defer func() { r.ended <- recover() != nil }()
				mistake(s)
			}()
			if !<-r.ended {
				t.Error("nobody was told")
			}
		})
	}
}

// recorder is a test that goes on after a fatal error.
type recorder struct {
	testing.TB
	ended chan bool
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Logf(format, args...)
	panic("fatal")
}
