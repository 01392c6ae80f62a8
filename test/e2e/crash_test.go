package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// A daemon is killed in the middle of a stream of activations and callbacks,
// many times over. After each restart every change that was answered is there,
// and none is there by half.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	rounds := 12
	if v, err := strconv.Atoi(os.Getenv("LICENSED_TEST_CRASH_ROUNDS")); err == nil {
		rounds = v
	}
	s := newSite(t, standard)
	var answered []*stream
	for round := range rounds {
		p := s.start()
		for _, st := range answered {
			st.check(t, p)
		}
		answered = nil
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for w := range 4 {
			st := &stream{first: round*1000 + w*100}
			for range 40 {
				st.licenses = append(st.licenses, p.issue("cad", 1))
			}
			answered = append(answered, st)
			wg.Go(func() { st.run(p, stop) })
		}
		// It dies somewhere in the first 60 ms of traffic.
		timer := time.AfterFunc(time.Duration(1+rand.IntN(60))*time.Millisecond, func() { _ = p.cmd.Process.Kill() })
		wg.Wait()
		timer.Stop()
		close(stop)
		p.kill()
	}
	p := s.start()
	for _, st := range answered {
		st.check(t, p)
	}
	if err := p.stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
}

// stream is what one caller did to one daemon until it died.
type stream struct {
	first    int
	licenses []adminwire.License
	done     []activation // answered, and the last one perhaps not
	frozen   []int        // licences whose callback was answered
}

type activation struct {
	index   int
	request string
	answer  string // signed licence, "" where no answer came
}

func (st *stream) run(p *process, stop <-chan struct{}) {
	c := &http.Client{}
	defer c.CloseIdleConnections()
	for k, l := range st.licenses {
		select {
		case <-stop:
			return
		default:
		}
		i, err := newInstall("cad", fmt.Sprint("machine-", st.first+k))
		if err != nil {
			return
		}
		raw, err := i.activation("cad", l.Code)
		if err != nil {
			return
		}
		ans, err := p.send(c, raw, "")
		st.done = append(st.done, activation{index: k, request: raw, answer: ans.License})
		if err != nil {
			return
		}
		// A message about a code that is not known here, one for each licence.
		code, err := p.callback(c, accessKey, fmt.Sprintf(
			`{"activity":"updateLicenseCodeStatus","license":"PL%09d","status":"FREEZE"}`, st.first+k))
		if err != nil {
			return
		}
		if code != "000000" {
			st.frozen = append(st.frozen, -1)
			return
		}
		st.frozen = append(st.frozen, st.first+k)
	}
}

// check asks the restarted daemon about everything.
func (st *stream) check(t *testing.T, p *process) {
	t.Helper()
	for n, a := range st.done {
		l := p.show(st.licenses[a.index].ID)
		activated, bound := l.ActivatedAt != nil, len(l.Installs) == 1
		if activated != bound || len(l.Installs) > 1 {
			t.Errorf("licence %s is there by half: activated %v, %d installs", l.ID, activated, len(l.Installs))
		}
		if activated != (l.State == license.StateActive) {
			t.Errorf("licence %s is %s", l.ID, l.State)
		}
		if a.answer != "" && !activated {
			t.Errorf("activation %d was answered and is lost", n)
		}
		// The same bytes get the same answer; what was not answered is answered now.
		ans, err := p.send(http.DefaultClient, a.request, "")
		if err != nil {
			t.Errorf("activation %d repeated: %v", n, err)
		} else if a.answer != "" && ans.License != a.answer {
			t.Errorf("activation %d has another answer", n)
		}
	}
	var events adminwire.EventList
	pending := make(map[string]bool)
	cursor := ""
	for {
		if err := p.admin(http.MethodGet, adminwire.PathEvents+"?action=marketplace.unknown_code&limit=1000&cursor="+cursor, nil, &events); err != nil {
			t.Fatal(err)
		}
		for _, e := range events.Events {
			pending[fmt.Sprint(e.After["code_last4"])] = true
		}
		if cursor = events.Next; cursor == "" {
			break
		}
	}
	for _, n := range st.frozen {
		if n < 0 {
			t.Error("a callback was refused")
		} else if !pending[fmt.Sprintf("%04d", n%10000)] {
			t.Errorf("the callback about %d was answered and is lost", n)
		}
	}
}
