package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/test/internal/program"
)

// marketSite is a site whose marketplace entry can activate codes.
func marketSite(t *testing.T) (*site, *sandbox.Sandbox) {
	t.Helper()
	m, err := sandbox.New(sandbox.Options{Products: []sandbox.Product{{ID: "OFFI1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	s := newSite(t, strings.Replace(standard, "    access_key_files: [access-key]\n", fmt.Sprintf(
		"    access_key_files: [access-key]\n"+
			"    open_api: {base_urls: [%q], ca_file: ca.pem, access_key_id_file: ak, secret_access_key_file: sk}\n", m.URL()), 1))
	s.write("ca.pem", string(m.CAPEM()))
	s.write("ak", m.AccessKeyID())
	s.write("sk", m.SecretAccessKey().Reveal())
	return s, m
}

// A daemon is killed in the middle of a stream of activations, refreshes and
// callbacks, many times over. After each restart every change that was answered
// is there, and none is there by half.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	rounds := 12
	if v, err := strconv.Atoi(os.Getenv("LICENSED_TEST_CRASH_ROUNDS")); err == nil {
		rounds = v
	}
	s, m := marketSite(t)
	var before []*stream
	answered := 0
	for round := range rounds {
		p := s.start()
		p.checkStatuses(t)
		for _, st := range before {
			st.check(t, p)
		}
		before = nil
		var wg sync.WaitGroup
		for w := range 4 {
			st := &stream{first: (round*400 + w*100) % 9900, end: time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)}
			for range 40 {
				st.licenses = append(st.licenses, p.issue("cad", 1))
			}
			order, err := m.Buy(t.Context(), "OFFI1", 1, 24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			st.bought = order.Code.Reveal()
			before = append(before, st)
			wg.Go(func() { st.err = st.run(p) })
		}
		// It dies somewhere in the first 80 ms of traffic.
		timer := time.AfterFunc(time.Duration(1+rand.IntN(80))*time.Millisecond, func() { _ = p.cmd.Process.Kill() })
		wg.Wait()
		timer.Stop()
		p.kill()
		for _, st := range before {
			answered += len(st.steps)
		}
	}
	p := s.start()
	p.checkStatuses(t)
	for _, st := range before {
		st.check(t, p)
	}
	if err := p.stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	if answered < rounds {
		t.Errorf("only %d licences were on their way in %d rounds", answered, rounds)
	}
}

// stream is what one caller did to one daemon until it died.
type stream struct {
	first    int
	licenses []adminwire.License
	bought   string // a marketplace's code
	end      time.Time
	steps    []step
	renewed  int   // how many renewals of the bought code were answered
	tried    int   // and sent
	refused  error // what must not happen
	err      error // how the stream broke off: the daemon died
}

// step is one licence on its way.
type step struct {
	request, answer           string // an activation; the answer is "" where none came
	refresh, refreshed        string
	deactivate                string // sent
	deactivated               bool   // and answered
	suspendSent, suspended    bool
	unknownSent, unknownKnown bool // a message about a code that nobody has presented
}

// run goes on until the daemon dies or there is nothing left to do.
func (st *stream) run(p *process) error {
	c := &http.Client{}
	defer c.CloseIdleConnections()
	i, err := program.NewInstall("cad", fmt.Sprint("buyer-", st.first))
	if err != nil {
		return err
	}
	raw, err := i.Activation(st.bought)
	if err != nil {
		return err
	}
	if _, err := p.send(c, raw, ""); err != nil {
		return err
	}
	for k, l := range st.licenses {
		st.steps = append(st.steps, step{})
		if err := st.step(p, c, &st.steps[k], l, k); err != nil {
			return err
		}
	}
	return nil
}

func (st *stream) step(p *process, c *http.Client, s *step, l adminwire.License, k int) error {
	i, err := program.NewInstall("cad", fmt.Sprint("machine-", st.first+k))
	if err != nil {
		return err
	}
	if s.request, err = i.Activation(l.Code); err != nil {
		return err
	}
	ans, err := p.send(c, s.request, "")
	if err != nil {
		return err
	}
	s.answer = ans.License
	if s.refresh, err = request(i, token.OpRefresh, ans.License); err != nil {
		return err
	}
	if ans, err = p.send(c, s.refresh, ""); err != nil {
		return err
	}
	s.refreshed = ans.License
	if err := st.finish(p, c, s, i, l, k); err != nil {
		return err
	}
	st.tried++
	if err := st.say(p, c, fmt.Sprintf(
		`{"activity":"refreshLicenseCode","expireTime":%q,"license":%q,"orderId":"CS","orderLineId":"CS-1","scene":"RENEWAL"}`,
		st.end.Add(time.Duration(st.tried)*time.Hour).Format("20060102150405"), st.bought)); err != nil {
		return err
	}
	st.renewed++
	s.unknownSent = true
	if err := st.say(p, c, fmt.Sprintf(`{"activity":"updateLicenseCodeStatus","license":%q,"status":"FREEZE"}`, unknownCode(st.first+k))); err != nil {
		return err
	}
	s.unknownKnown = true
	return nil
}

// finish ends one of four installs and suspends another one's licence, which
// the status list has to show.
func (st *stream) finish(p *process, c *http.Client, s *step, i program.Install, l adminwire.License, k int) (err error) {
	switch k % 4 {
	case 1:
		if s.deactivate, err = request(i, token.OpDeactivate, s.refreshed); err != nil {
			return err
		}
		_, err = p.send(c, s.deactivate, "")
		s.deactivated = err == nil
	case 3:
		s.suspendSent = true
		err = p.admin(http.MethodPost, strings.Replace(adminwire.PathSuspend, "{id}", l.ID, 1), struct{}{}, &adminwire.Edited{})
		s.suspended = err == nil
	}
	return err
}

// unknownCode is a code that nobody has presented, with its own last four.
func unknownCode(n int) string { return fmt.Sprintf("PLUNKNOWN%04d", n) }

func (st *stream) say(p *process, c *http.Client, body string) error {
	code, err := p.callback(c, accessKey, body)
	if err == nil && code != "000000" {
		st.refused = fmt.Errorf("%s was answered to %s", code, body)
	}
	return err
}

// request is a request by the install that holds a licence.
func request(i program.Install, op token.Op, held string) (string, error) {
	l, err := token.PeekLicense(held)
	if err != nil {
		return "", err
	}
	return token.SignRequest(token.Request{
		ID: string(op) + "-" + l.ID, IssuedAt: time.Now(), Op: op, Product: i.Product, Prev: l.ID, Fingerprint: i.Fingerprint, License: held,
	}, i.Key)
}

// check asks the restarted daemon about everything.
func (st *stream) check(t *testing.T, p *process) {
	t.Helper()
	if st.refused != nil {
		t.Error(st.refused)
	}
	for n, s := range st.steps {
		st.checkStep(t, p, n, s)
	}
	if st.tried > 0 {
		var l adminwire.License
		if err := p.admin(http.MethodPost, adminwire.PathLookup, adminwire.Lookup{Ref: st.bought}, &l); err != nil {
			t.Fatal(err)
		}
		got := max(int(l.ExpiresAt.Sub(st.end)/time.Hour), 0) // it was bought for less than st.end
		if got != st.renewed && got != st.tried {
			t.Errorf("the bought code has renewal %d; %d were answered, %d sent", got, st.renewed, st.tried)
		}
	}
	pending := st.pending(t, p)
	for n, s := range st.steps {
		if last4 := fmt.Sprintf("%04d", st.first+n); s.unknownKnown && !pending[last4] {
			t.Errorf("the message about %s was answered and is lost", last4)
		}
	}
}

func (st *stream) checkStep(t *testing.T, p *process, n int, s step) {
	t.Helper()
	l := p.show(st.licenses[n].ID)
	activated, bound := l.ActivatedAt != nil, len(l.Installs) == 1
	suspended := l.State == license.StateSuspended
	if activated != bound || len(l.Installs) > 1 || activated != (l.State == license.StateActive || suspended) {
		t.Errorf("licence %s is there by half: %s, %d installs", l.ID, l.State, len(l.Installs))
	}
	if s.suspended && !suspended || suspended && !s.suspendSent {
		t.Errorf("licence %s is %s; its suspension was sent: %v, answered: %v", l.ID, l.State, s.suspendSent, s.suspended)
	}
	ended := bound && l.Installs[0].State == license.InstallDeactivated
	if s.deactivated && !ended || ended && s.deactivate == "" {
		t.Errorf("deactivation %d: done %v, answered %v", n, ended, s.deactivated)
	}
	if s.deactivate != "" || s.suspendSent {
		if s.deactivate != "" {
			if _, err := p.send(http.DefaultClient, s.deactivate, ""); err != nil {
				t.Errorf("deactivation %d repeated: %v", n, err)
			}
		}
		return // what came before it is not answered any more
	}
	if s.answer != "" && !activated {
		t.Errorf("activation %d was answered and is lost", n)
	}
	if s.refresh == "" && s.request != "" {
		// The same bytes get the same answer; what was not answered is answered now.
		if ans, err := p.send(http.DefaultClient, s.request, ""); err != nil || s.answer != "" && ans.License != s.answer {
			t.Errorf("activation %d repeated: %v", n, err)
		}
	}
	if s.refresh != "" {
		if ans, err := p.send(http.DefaultClient, s.refresh, ""); err != nil || s.refreshed != "" && ans.License != s.refreshed {
			t.Errorf("refresh %d repeated: %v", n, err)
		}
	}
}

// pending is the last four of every unknown code that a message was recorded about.
func (st *stream) pending(t *testing.T, p *process) map[string]bool {
	t.Helper()
	out := make(map[string]bool)
	for cursor := ""; ; {
		var events adminwire.EventList
		if err := p.admin(http.MethodGet, adminwire.PathEvents+"?action=marketplace.unknown_code&limit=1000&cursor="+cursor, nil, &events); err != nil {
			t.Fatal(err)
		}
		for _, e := range events.Events {
			out[fmt.Sprint(e.After["code_last4"])] = true
		}
		if cursor = events.Next; cursor == "" {
			return out
		}
	}
}
