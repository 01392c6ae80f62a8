package market_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/market"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// place is where the daemon is killed: at whose work, and at what moment of it.
// The zero place is nobody's: an instant like any other.
type place struct{ who, when string }

// Who works.
const (
	callback  = "callback"
	callback1 = "callback of licence 1.0"
	request   = "request"
	outbox    = "outbox"
	reconcile = "comparison"
	usage     = "report of use"
	staff     = "staff"
)

// At what moment.
const (
	undone    = "before a commit"    // what was to be written is lost
	committed = "after a commit"     // it is not, and nobody was told
	calling   = "before a call"      // the marketplace hears nothing
	called    = "after a call"       // it did what was asked, and nobody knows
	answering = "before its answer"  // everything is done but that
	underway  = "while it is called" // nobody knows
)

var places = []place{
	{},
	{callback, undone},
	{callback, committed},
	{callback, answering},
	{callback1, undone},
	{callback1, committed},
	{callback1, answering},
	{request, undone},
	{request, committed},
	{request, calling},
	{request, called},
	{request, answering},
	{outbox, undone},
	{outbox, committed},
	{outbox, calling},
	{outbox, called},
	{outbox, underway},
	{reconcile, undone},
	{reconcile, committed},
	{reconcile, calling},
	{reconcile, called},
	{usage, undone},
	{usage, committed},
	{staff, undone},
	{staff, committed},
}

type workKey struct{}

// as says whose work is done under a ctx.
func as(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, workKey{}, who)
}

// life is one run of the daemon, from its start until it is killed. All of them
// end so, each at another place.
type life struct {
	m         *modelled
	n         int
	daemon    int // whose life it is
	fate      place
	spared    atomic.Int32 // how often it still gets past that place
	process   *faultstore.Process
	authority *authority.Authority
	handler   http.Handler
	calls     atomic.Int64 // of the open API
	log       report

	dying sync.Once
	gone  atomic.Bool
	ended chan struct{}
}

// report is what a life has to say of failures, the last one.
type report struct {
	mu   sync.Mutex
	last string
}

func (r *report) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = string(b)
	return len(b), nil
}

func (r *report) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// start begins the next life of a daemon on the store, with nothing of the last
// one's memory.
func (m *modelled) start(daemon int) error {
	m.mu.Lock()
	m.lives++
	l := &life{m: m, n: m.lives, daemon: daemon, process: faultstore.NewProcess(m.dbs[daemon]), ended: make(chan struct{})}
	m.mu.Unlock()
	name := fmt.Sprint("life ", l.n)
	r := m.draw(name)
	longest := l.doom(r)
	l.process.OnUpdate(func(ctx context.Context, done bool) {
		if done {
			l.pass(ctx, committed)
		} else {
			l.pass(ctx, undone)
		}
	})
	up, err := market.NewUpstream(market.UpstreamOptions{
		AccessKeyID: "ak", SecretAccessKey: "sk", BaseURLs: []string{"https://mkt.example.com"}, Now: m.clock(daemon), Transport: l,
	})
	if err != nil {
		return err
	}
	began := time.Now()
	o := m.options
	o.Now = m.clock(daemon)
	o.Store, o.Random, o.Uptime = l.process, m.source(name), func() time.Duration { return time.Since(began) }
	o.Channels = []authority.Channel{{Name: channel, Upstream: up, Desk: up, Meter: up}}
	if l.authority, err = authority.New(o); err != nil {
		return err
	}
	if err := l.authority.LoadStatusLists(m.t.Context()); err != nil {
		return err
	}
	if _, err := l.authority.RecordClock(m.t.Context()); err != nil {
		return err
	}
	entry, mux := m.entry, http.NewServeMux()
	entry.Now, entry.Authority, entry.Log = o.Now, l.authority, slog.New(slog.NewTextHandler(&l.log, &slog.HandlerOptions{Level: slog.LevelError}))
	mux.Handle("POST /marketplace/"+channel, market.Callbacks(entry))
	mux.Handle("GET /marketplace/"+channel, market.CallbacksV1(entry))
	l.handler = mux
	pause := time.Duration(r.IntN([]int{10, 300}[r.IntN(2)])) * time.Second
	if r.IntN(12) == 0 { // for longer than the marketplace tries
		pause = 4 * time.Hour
	}
	l.run(longest, pause, r.IntN(2) == 0)
	m.living[daemon].Store(l)
	if m.over.Load() { // whoever ends the game may not have seen it
		l.die(place{})
	}
	return nil
}

// clock is that of a daemon. Those of several differ.
func (m *modelled) clock(daemon int) func() time.Time {
	return func() time.Time {
		return m.options.Now().Add(time.Duration(daemon%3-1) * 20 * time.Second * time.Duration(min(len(m.living)-1, 1)))
	}
}

// doom says where a life ends, and when at the latest. The first ones of all games
// end everywhere.
func (l *life) doom(r *rand.Rand) time.Duration {
	if l.n == 1 {
		l.fate = places[l.m.seed%uint64(len(places))]
		return day
	}
	l.fate = places[r.IntN(len(places))]
	switch l.fate.who {
	case "":
		return time.Duration(1+r.IntN(5*3600)) * time.Second
	case callback, outbox:
		l.spared.Store(r.Int32N(20))
	case reconcile, usage:
		l.spared.Store(r.Int32N(2))
		return 12 * time.Hour
	default:
		l.spared.Store(r.Int32N(3))
	}
	return 6 * time.Hour
}

// run runs what the daemon does by itself, and sees to the life's end and to the
// next one, after a pause.
func (l *life) run(longest, pause time.Duration, reopen bool) {
	ctx, cancel := context.WithCancel(context.Background())
	begin := func(who string, loop func(ctx context.Context)) { l.m.behind.Go(func() { loop(as(ctx, who)) }) }
	begin(outbox, func(ctx context.Context) { l.authority.RunOutbox(ctx, func(authority.JobOutcome) {}) })
	begin(reconcile, func(ctx context.Context) {
		l.authority.RunReconcile(ctx, channel, func(authority.Reconciled, error) {})
	})
	begin(usage, func(ctx context.Context) { l.authority.RunUsage(ctx, channel, func(error) {}) })
	l.m.behind.Go(func() {
		timer := time.NewTimer(longest)
		defer timer.Stop()
		select {
		case <-timer.C:
			if !l.m.calm.Load() {
				l.die(place{})
			}
			<-l.ended
		case <-l.ended:
		}
		cancel()
		l.process.Wait()
		time.Sleep(pause)
		if l.m.over.Load() {
			return
		}
		if err := l.m.next(l.daemon, reopen && (l.m.apart || len(l.m.living) == 1)); err != nil {
			l.m.errorf("start again: %v", err)
		}
	})
}

// next starts a daemon again, on the store as it was left or on the open one.
func (m *modelled) next(daemon int, reopen bool) error {
	if reopen {
		m.mu.Lock()
		err := m.dbs[daemon].Close()
		if err == nil {
			m.dbs[daemon], err = m.open()
		}
		m.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if err := m.start(daemon); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.recent {
		m.behind.Go(func() { m.carryAgain(c) })
	}
	return nil
}

// pass goes by a place, or no further.
func (l *life) pass(ctx context.Context, when string) {
	who, _ := ctx.Value(workKey{}).(string)
	if at := (place{who, when}); at == l.fate && !l.m.calm.Load() && l.spared.Add(-1) < 0 {
		l.die(at)
	}
}

func (l *life) die(at place) {
	l.dying.Do(func() {
		l.gone.Store(true)
		l.process.Kill()
		l.m.mu.Lock()
		l.m.deaths[at]++
		l.m.mu.Unlock()
		close(l.ended)
	})
}

func (l *life) dead() bool { return l.gone.Load() }

// alive is the present life of the daemon whose turn it is among those that run, nil
// while there is none.
func (m *modelled) alive() *life {
	first := int(m.turn.Add(1))
	for n := range m.living {
		if l := m.living[(first+n)%len(m.living)].Load(); !l.dead() {
			return l
		}
	}
	return nil
}

// awake waits for the daemon to run.
func (m *modelled) awake() *life {
	for range 3600 {
		if l := m.alive(); l != nil {
			return l
		}
		time.Sleep(5 * time.Second)
	}
	m.t.Fatalf("%sthe daemon does not start again", m.when())
	return nil
}

// kill kills all daemons, and waits until one runs again.
func (m *modelled) kill() {
	m.awake()
	for n := range m.living {
		m.living[n].Load().die(place{})
	}
	m.awake()
}

// What the network tells of a process that is not there, and of one that was
// killed.
var (
	errRefused = errors.New("connection refused")
	errReset   = errors.New("connection reset by peer")
)

// RoundTrip is how the marketplace calls the merchant.
func (m *modelled) RoundTrip(rq *http.Request) (*http.Response, error) {
	var body bytes.Buffer
	if rq.Body != nil {
		rq = rq.Clone(rq.Context())
		rq.Body = io.NopCloser(io.TeeReader(rq.Body, &body))
	}
	return m.exchange(rq, func(code koogallery.ResultCode) { m.carry(carried{rq, body.Bytes(), code}) })
}

// exchange brings a call to the daemon that runs, and its answer back. Whether or
// not it arrives, answered is told of it.
func (m *modelled) exchange(rq *http.Request, answered func(koogallery.ResultCode)) (*http.Response, error) {
	l := m.alive()
	if l == nil {
		return nil, errRefused
	}
	who := callback
	if rq.Method == http.MethodGet {
		who = callback1
	}
	ctx, cancel := context.WithCancel(as(rq.Context(), who))
	answer := make(chan *http.Response, 1)
	m.behind.Go(func() {
		w := httptest.NewRecorder()
		l.handler.ServeHTTP(w, rq.WithContext(ctx))
		answered(l.heard(rq, w))
		l.pass(ctx, answering)
		answer <- w.Result()
	})
	defer cancel()
	select {
	case resp := <-answer:
		if !l.dead() {
			return resp, nil
		}
	case <-l.ended:
	}
	m.unsure(rq)
	return nil, errReset
}

// heard looks at an answer.
func (l *life) heard(rq *http.Request, w *httptest.ResponseRecorder) koogallery.ResultCode {
	code, answered := resultOf(w.Body.Bytes())
	switch {
	case w.Code != http.StatusOK || !answered:
		l.m.errorf("a callback is answered with HTTP %d and no result", w.Code)
	case code == koogallery.ResultInternal && !l.dead() && rq.Context().Err() == nil:
		l.m.errorf("a callback failed that nothing stood in the way of: %s: %s", w.Body, l.log.String())
	case code == koogallery.ResultOK && asksForLicence(rq):
		l.m.sold(rq.URL.Query(), w.Body.Bytes())
	}
	return code
}

// carried is a call that the network has carried to the daemon, with the result
// that this has made of it.
type carried struct {
	rq   *http.Request
	body []byte
	code koogallery.ResultCode
}

// carry keeps the last calls, which are carried once more when the daemon has
// started again. Of all others one in ten is too, after a while: some networks do
// that, and so do those who listen to them.
func (m *modelled) carry(c carried) {
	if bytes.Contains(c.body, []byte(`"testFlag":"1"`)) { // a probe never counts
		return
	}
	m.mu.Lock()
	m.recent = append(m.recent[max(len(m.recent)-2, 0):], c)
	m.mu.Unlock()
	if r := m.draw(fmt.Sprint("copy of call ", m.carried.Add(1))); !m.calm.Load() && r.IntN(10) == 0 {
		m.behind.Go(func() {
			time.Sleep(time.Duration(r.IntN(90)) * time.Second)
			m.carryAgain(c)
		})
	}
}

// carryAgain brings a call once more, byte for byte. Where the first one counted
// the copy must not, though the daemon may have been killed in between.
func (m *modelled) carryAgain(c carried) {
	if m.over.Load() {
		return
	}
	again := c.rq.Clone(context.WithoutCancel(c.rq.Context()))
	again.Body = io.NopCloser(bytes.NewReader(c.body))
	is := koogallery.ResultCode("")
	resp, err := m.exchange(again, func(code koogallery.ResultCode) { is = code })
	if err != nil {
		return
	}
	_ = resp.Body.Close() // it is in memory
	counted := c.code == koogallery.ResultOK || c.code == koogallery.ResultInProgress
	if again.Method == http.MethodPost && counted && is != koogallery.ResultAuthFailed && is != koogallery.ResultInvalidParam {
		m.errorf("a copy of a callback that was answered with %s is answered with %s", c.code, is)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen["a copy"]++
}

// RoundTrip is how the daemon calls the marketplace. A call during which it is
// killed may have arrived, or arrive yet.
func (l *life) RoundTrip(rq *http.Request) (*http.Response, error) {
	ctx := rq.Context()
	if l.pass(ctx, calling); l.dead() {
		return nil, errReset
	}
	l.m.uploaded(rq)
	arrives := l.m.draw(fmt.Sprintf("call %d of life %d", l.calls.Add(1), l.n)).IntN(2) == 0
	sent, cancel := context.WithCancel(context.WithoutCancel(ctx))
	type outcome struct {
		resp *http.Response
		err  error
	}
	done := make(chan outcome, 1)
	l.m.behind.Go(func() {
		defer cancel()
		resp, err := l.m.s.Transport().RoundTrip(rq.WithContext(sent))
		done <- outcome{resp, err}
	})
	l.pass(ctx, underway)
	select {
	case o := <-done:
		if l.pass(ctx, called); !l.dead() {
			return o.resp, o.err
		}
	case <-ctx.Done():
		cancel()
		return nil, ctx.Err()
	case <-l.ended:
		if !arrives {
			cancel()
		}
	}
	return nil, errReset
}
