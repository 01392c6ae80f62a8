package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery"
)

// endsOf makes the ends of n codes.
func endsOf(n int) (codes []koogallery.Code, ends map[string]time.Time) {
	ends = make(map[string]time.Time)
	for i := range n {
		code := fmt.Sprintf("PL%020d", i)
		codes = append(codes, koogallery.NewCode(code))
		ends[code] = time.Date(2030, 1, 1, 0, 0, i, 0, time.UTC)
	}
	return codes, ends
}

// clientOf is the client with which the daemon asks.
func clientOf(t *testing.T, a *openAPI) *koogallery.Client {
	t.Helper()
	c, err := koogallery.NewClient(koogallery.ClientOptions{
		AccessKeyID: "a", SecretAccessKey: koogallery.NewSecretKey("b"), BaseURLs: []string{a.url}, ExtraRoots: a.ca,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// The client takes its answers for those of the marketplace, and it notes who
// asked for what.
func TestOpenAPI(t *testing.T) {
	codes, ends := endsOf(250)
	err := withOpenAPI(t.Context(), ends, func(a *openAPI) error {
		c := clientOf(t, a)
		begun := func() bool {
			select {
			case <-a.begun:
				return true
			default:
				return false
			}
		}
		ask := func(part []koogallery.Code) {
			t.Helper()
			for r := range c.QueryAll(t.Context(), slices.Values(part), nil) {
				if r.Err != nil || r.Info.Status != koogallery.CodeAlive || !r.Info.ExpireTime.Equal(ends[r.Code.Reveal()]) || r.Info.ProductID != soldProduct {
					t.Errorf("of %s it is said: %+v, %v", r.Code.Reveal(), r.Info, r.Err)
				}
			}
		}
		ask(codes[:100])
		if a.settled != 0 || begun() {
			t.Errorf("%d are settled after one call", a.settled)
		}
		ask(codes[100:])
		ask(codes[30:70])
		ask(codes[7:8])
		if a.settled != 200 || !begun() || len(a.asked) != 250 {
			t.Errorf("%d of %d are settled", a.settled, len(a.asked))
		}
		if diff := cmp.Diff([][]int{{100, 100, 50}, {40, 1}}, [][]int{a.first, a.again}); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		if code, end := a.renew(201); code != codes[1].Reveal() || !end.Equal(time.Date(2030, 2, 1, 0, 0, 1, 0, time.UTC)) || !a.end(code).Equal(end) {
			t.Errorf("%s is renewed until %v", code, end)
		}
		if a.others != 0 {
			t.Errorf("%d calls are said to be others", a.others)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenAPIRefuses(t *testing.T) {
	codes, ends := endsOf(2)
	err := withOpenAPI(t.Context(), ends, func(a *openAPI) error {
		c := clientOf(t, a)
		if _, err := c.QueryBatch(t.Context(), append(codes, koogallery.NewCode("PL-unknown"))); err == nil {
			t.Error("it tells of a code that there is not")
		}
		if _, err := c.Activate(t.Context(), codes[0], time.Time{}); err == nil {
			t.Error("it activates")
		}
		if a.others != 2 {
			t.Errorf("%d calls are others, not 2", a.others)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a comparison leaves otherwise than the marketplace says is found.
func TestSame(t *testing.T) {
	s := newTestSite(t)
	path := s.path("same.db")
	codes, err := s.stock(t.Context(), path, 0, 7, marketplace)
	if err != nil {
		t.Fatal(err)
	}
	ends := make(map[string]time.Time)
	for _, l := range codes {
		ends[l.code.Reveal()] = l.end
	}
	end := func(code string) time.Time { return ends[code] }
	if err := same(t.Context(), path, codes, end); err != nil {
		t.Error(err)
	}
	if err := same(t.Context(), path, append(codes, sold{id: "lic_missing"}), end); err == nil {
		t.Error("a licence that is not there is not missed")
	}
	ends[codes[3].code.Reveal()] = codes[3].end.Add(time.Second)
	if err := same(t.Context(), path, codes, end); err == nil || !strings.HasPrefix(err.Error(), "1 of 7 licences") {
		t.Errorf("one has another end: %v", err)
	}
}

func TestCodes(t *testing.T) {
	for _, test := range []struct {
		only        string
		given, want int
	}{{"", 0, fewCodes}, {"reconcile", 0, allCodes}, {"reconcile", 7, 7}, {"", 7, 7}} {
		if got := (options{only: test.only, sizes: sizes{codes: test.given}}).codes(); got != test.want {
			t.Errorf("-only %q -codes %d: %d codes, want %d", test.only, test.given, got, test.want)
		}
	}
}

func TestComparedCheck(t *testing.T) {
	right := func() (compared, *openAPI) {
		return compared{total: adminwire.Compared{Checked: 120, Repaired: 2}}, &openAPI{asked: make([]string, 120), first: []int{50, 50, 20}, again: []int{3}}
	}
	for name, spoil := range map[string]func(*compared, *openAPI){
		"":                          func(*compared, *openAPI) {},
		"too few":                   func(c *compared, _ *openAPI) { c.total.Checked-- },
		"asked twice":               func(_ *compared, a *openAPI) { a.first = append(a.first, 1) },
		"one not asked about":       func(_ *compared, a *openAPI) { a.asked = a.asked[1:] },
		"not repaired":              func(c *compared, _ *openAPI) { c.total.Repaired-- },
		"left":                      func(c *compared, _ *openAPI) { c.total.Own++ },
		"failed":                    func(c *compared, _ *openAPI) { c.total.Failed++ },
		"a call for something else": func(_ *compared, a *openAPI) { a.others++ },
	} {
		t.Run(name, func(t *testing.T) {
			c, a := right()
			spoil(&c, a)
			if err := c.check(120, a); (err == nil) != (name == "") {
				t.Error(err)
			}
		})
	}
}

// Memory that is not known is no memory that is small.
func TestComparedLines(t *testing.T) {
	c := compared{total: adminwire.Compared{Checked: 120}, took: 2 * time.Second, memory: memory{own: 30e6, mapped: 190e6, peak: 201e6}}
	a := &openAPI{first: []int{50, 50, 20}}
	lines := c.lines(memory{own: 10e6, mapped: 11e6, peak: 12e6}, a)
	if lines[0].reached() || lines[0].product != "201.0 MB" || lines[0].bare != "12.0 MB" || lines[1].product != "30.0 MB" || lines[2].product != "190.0 MB" || lines[3].ratio != 40 {
		t.Errorf("%+v", lines)
	}
	c.memory = memory{}
	if _, verdict := c.lines(memory{}, a)[0].verdict(); verdict != "" {
		t.Errorf("of memory that is not known it is said %q", verdict)
	}
}

func TestParseMemory(t *testing.T) {
	const status = "Name:\tlicensed\nVmPeak:\t 2300000 kB\nVmHWM:\t   70000 kB\nVmRSS:\t   60000 kB\nRssAnon:\t   40000 kB\nRssFile:\t   19000 kB\nRssShmem:\t    1000 kB\n"
	got, err := parseMemory(status)
	if want := (memory{own: 40000 << 10, mapped: 20000 << 10, peak: 70000 << 10}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", strings.Replace(status, "VmHWM", "VmOther", 1), strings.Replace(status, "40000", "some", 1)} {
		if got, err := parseMemory(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
	a, b := memory{own: 1, mapped: 5, peak: 6}, memory{own: 2, mapped: 3, peak: 7}
	if got := a.most(b); got != (memory{own: 2, mapped: 5, peak: 7}) {
		t.Errorf("the most is %+v", got)
	}
}

func TestParseSpent(t *testing.T) {
	const own = "42 (a (strange) name) S 1 2 3 4 5 6 7 8 9 10 300 100 0 0 20 0"
	before, err := parseSpent("cpu  1000 100 500 8000 200 50 50 100 77 0\ncpu0 1 2 3\n", own, "43 (licensed) R 1 2 3 4 5 6 7 8 9 10 0 1 0 0")
	if want := (spent{all: 10000, other: 1800 - 401}); err != nil || before != want {
		t.Fatalf("%+v, %v; want %+v", before, err, want)
	}
	after := spent{all: 10200, other: 1449}
	if got := after.share(before); got != 0.25 {
		t.Errorf("others took %v", got)
	}
	if got := (spent{}).share(spent{}); got != 0 {
		t.Errorf("of no time others took %v", got)
	}
	for name, files := range map[string][2]string{
		"empty":        {"", own},
		"short":        {"cpu 1 2 3\n", own},
		"no number":    {"cpu 1 2 3 4 5 6 7 x\n", own},
		"no processor": {"intr 1 2 3 4 5 6 7 8 9\n", own},
		"no process":   {"cpu 1 2 3 4 5 6 7 8 9 0\n", "42 (name) S 1"},
	} {
		if got, err := parseSpent(files[0], files[1]); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestPlainEnviron(t *testing.T) {
	got := plainEnviron([]string{"PATH=/bin", "GOGC=50", "GOMEMLIMIT=1GiB", "GODEBUG=x=1", "LICENSED_STORE=x", "GOGCX=1"})
	if diff := cmp.Diff([]string{"PATH=/bin", "GOGCX=1"}, got); diff != "" {
		t.Error(diff)
	}
}

// A daemon that ends instead of serving is no reason to wait.
func TestLaunchSaysWhatEnded(t *testing.T) {
	s := newTestSite(t)
	empty, err := s.build(t.Context(), "bench/empty", "empty")
	if err != nil {
		t.Fatal(err)
	}
	err = s.launch(t.Context(), empty, "licensed.yaml", s.path("none.db"), "none", func(*process) error {
		t.Error("it is said to serve")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "the daemon has ended") {
		t.Error(err)
	}
	if _, err := s.build(t.Context(), "bench/nonsense", "nonsense"); err == nil {
		t.Error("a program is built that there is not")
	}
}

// A series that is ended early holds what was sent, and what is wrong with
// making a shot is told.
func TestPacedEndsEarly(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	c, err := dial(t.Context(), listener.Addr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.close() })
	series := func(ctx context.Context, stop error) (load, error) {
		return c.paced(ctx, 10, time.Microsecond, func(i int) (shot, error) {
			if i == 4 {
				return shot{}, stop
			}
			return shot{get("/"), http.StatusNotFound}, nil
		}, func(_ int, body []byte) error {
			if !bytes.Contains(body, []byte("not found")) {
				return errUnknown
			}
			return nil
		})
	}
	if l, err := series(t.Context(), errEnough); err != nil || len(l.each) != 4 {
		t.Errorf("%d were sent, %v", len(l.each), err)
	}
	if _, err := series(t.Context(), errForged); !errors.Is(err, errForged) {
		t.Errorf("got %v, want %v", err, errForged)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if l, err := series(gone, nil); !errors.Is(err, context.Canceled) || len(l.each) != 0 {
		t.Errorf("%d were sent, %v", len(l.each), err)
	}
}
