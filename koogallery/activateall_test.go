package koogallery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
)

// shop is a marketplace that activates codes: what calls it knows, it answers as
// the pages say, batches as a whole or not at all.
type shop struct {
	active  map[string]bool
	never   map[string]string // code: with what it is refused
	v2      func(s *shop, list []string) (int, string)
	v1      func(s *shop, code string) (int, string)
	queries string // "": singly and together; "single": v2 does not answer
	log     []string
	applied map[string]int
}

const refusedAll, fine = `{"error_code":"92020020"}`, `{"error_code":"92020000"}`

func (s *shop) activate(code string) string {
	switch {
	case s.never[code] != "":
		return s.never[code]
	case s.active[code]:
		return "92020003"
	}
	s.active[code] = true
	s.applied[code]++
	return "92020000"
}

func (s *shop) RoundTrip(r *http.Request) (*http.Response, error) {
	var req struct {
		License     string   `json:"license"`
		LicenseList []string `json:"license_list"`
	}
	if err := decodeBody(r, &req); err != nil {
		return nil, err
	}
	state := func(code string) string {
		return `{"license_code":"` + code + `","status":"ALIVE","order_id":"` + code + `"}`
	}
	switch call := r.URL.Path[strings.Index(r.URL.Path, "/v"):]; call {
	case "/v2/license/activate", "/v2/license/activate/":
		s.log = append(s.log, fmt.Sprintf("A%d", len(req.LicenseList)))
		if s.v2 != nil {
			if status, body := s.v2(s, req.LicenseList); status != 0 {
				return reply(status, jsonMedia, body)
			}
		}
		for _, code := range req.LicenseList {
			if s.never[code] != "" || s.active[code] {
				return reply(200, jsonMedia, refusedAll)
			}
		}
		for _, code := range req.LicenseList {
			s.activate(code)
		}
		return reply(200, jsonMedia, fine)
	case "/v1/license/activate", "/v1/license/activate/":
		s.log = append(s.log, "a")
		if s.v1 != nil {
			if status, body := s.v1(s, req.License); status != 0 {
				return reply(status, jsonMedia, body)
			}
		}
		return reply(200, jsonMedia, `{"error_code":"`+s.activate(req.License)+`","data":{"order_id":"`+req.License+`"}}`)
	case "/v2/license/heartbeat", "/v2/license/heartbeat/":
		s.log = append(s.log, fmt.Sprintf("Q%d", len(req.LicenseList)))
		if s.queries == "single" {
			return reply(404, jsonMedia, `{"error_code":"APIGW.0101"}`)
		}
		var all []string
		for _, code := range req.LicenseList {
			if !s.active[code] {
				return reply(200, jsonMedia, `{"error_code":"92020011"}`)
			}
			all = append(all, state(code))
		}
		return reply(200, jsonMedia, `{"error_code":"92020000","data":[`+strings.Join(all, ",")+`]}`)
	default:
		s.log = append(s.log, "q")
		switch {
		case s.never[req.License] == "92020005":
			return reply(200, jsonMedia, `{"error_code":"92020005"}`)
		case !s.active[req.License]:
			return reply(200, jsonMedia, `{"error_code":"92020011"}`)
		}
		return reply(200, jsonMedia, `{"error_code":"92020000","data":`+state(req.License)+`}`)
	}
}

func decodeBody(r *http.Request, into any) error {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func TestActivateAll(t *testing.T) {
	lost := func(s *shop, list []string) (int, string) { // it worked, and its answer did not arrive
		for _, code := range list {
			s.activate(code)
		}
		return 502, "<html>"
	}
	for _, tt := range []struct {
		name  string
		shop  shop
		codes []string
		log   []string
		fails map[string]error
	}{
		{"v2 works", shop{}, []string{"PL1", "PL2", "PL3"}, []string{"A3", "Q3"}, nil},
		{"one code", shop{}, []string{"PL1"}, []string{"a", "q"}, nil},
		{"the same twice", shop{}, []string{"PL1", "PL1"}, []string{"A1", "Q1"}, nil},
		{
			"v2 is not there",
			shop{v2: func(*shop, []string) (int, string) { return 404, `{"error_code":"APIGW.0101"}` }},
			[]string{"PL1", "PL2"},
			[]string{"A2", "a", "q", "a", "q"},
			nil,
		},
		{"one is active already", shop{active: map[string]bool{"PL2": true}}, []string{"PL1", "PL2"}, []string{"A2", "a", "q", "a", "q"}, nil},
		{
			"one was not received, one is not known",
			shop{never: map[string]string{"PL2": "92020004", "PL3": "92020005"}},
			[]string{"PL1", "PL2", "PL3"},
			[]string{"A3", "a", "q", "a", "a"},
			map[string]error{"PL2": koogallery.ErrNotReceived, "PL3": koogallery.ErrUnknownCode},
		},
		{"the answer is lost", shop{v2: lost}, []string{"PL1", "PL2"}, []string{"A2", "Q2"}, nil},
		{"the answer is lost, v2 queries are not there", shop{v2: lost, queries: "single"}, []string{"PL1", "PL2"}, []string{"A2", "Q2", "q", "q"}, nil},
		{
			"an internal error, of which one was done",
			shop{v2: func(s *shop, list []string) (int, string) {
				s.activate(list[0])
				return 200, `{"error_code":"92020001"}`
			}},
			[]string{"PL1", "PL2"},
			[]string{"A2", "Q2", "q", "q", "a", "q"},
			nil,
		},
		{
			"success, of which one was not done",
			shop{v2: func(s *shop, list []string) (int, string) { s.activate(list[0]); return 200, fine }},
			[]string{"PL1", "PL2"},
			[]string{"A2", "Q2", "q", "q", "a", "q"},
			nil,
		},
		{
			"refused, of which one was done",
			shop{v2: func(s *shop, list []string) (int, string) { s.activate(list[0]); return 200, refusedAll }},
			[]string{"PL1", "PL2"},
			[]string{"A2", "a", "q", "a", "q"},
			nil,
		},
		{
			"the keys are refused",
			shop{v2: func(*shop, []string) (int, string) { return 401, `{"error_code":"APIGW.0301"}` }},
			[]string{"PL1", "PL2"},
			[]string{"A2"},
			map[string]error{"PL1": koogallery.ErrUnauthorized, "PL2": koogallery.ErrUnauthorized},
		},
		{
			"nothing answers",
			shop{
				v2: func(*shop, []string) (int, string) { return 404, `{"error_code":"APIGW.0101"}` },
				v1: func(*shop, string) (int, string) { return 503, "<html>" },
			},
			[]string{"PL1", "PL2"},
			[]string{"A2", "a", "a"},
			map[string]error{"PL1": koogallery.ErrUnavailable, "PL2": koogallery.ErrUnavailable},
		},
		{"one is none", shop{}, []string{"PL1", ""}, []string{"a", "q"}, map[string]error{"": koogallery.ErrInvalidParam}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &tt.shop
			s.applied = map[string]int{}
			if s.active == nil {
				s.active = map[string]bool{}
			}
			opts := clientOptions("https://a")
			opts.Transport = s
			waited, i := 0, 0
			wait := func(context.Context) error { waited++; return nil }
			for r := range newClient(t, opts).ActivateAll(t.Context(), slices.Values(codes(tt.codes...)), time.Time{}, wait) {
				name, want := tt.codes[i], tt.fails[tt.codes[i]]
				if r.Code.Reveal() != name || !errors.Is(r.Err, want) || r.Active != (want == nil) || r.Err == nil && r.Info.OrderID != name {
					t.Errorf("%s: %+v, %v", name, r.Info, r.Err)
				}
				i++
			}
			if diff := cmp.Diff(tt.log, s.log); diff != "" || i != len(tt.codes) || waited != len(s.log) {
				t.Errorf("%d results, %d waits, calls (-want +got):\n%s", i, waited, diff)
			}
			for code, n := range s.applied {
				if n != 1 {
					t.Errorf("%s was activated %d times", code, n)
				}
			}
		})
	}
}

func TestActivateAllEnds(t *testing.T) {
	s := &shop{active: map[string]bool{}, applied: map[string]int{}}
	opts := clientOptions("https://a")
	opts.Transport = s
	c := newClient(t, opts)
	var names []string
	for i := range koogallery.MaxBatch + 3 {
		names = append(names, fmt.Sprint("PL", i))
	}
	n := 0
	for r := range c.ActivateAll(t.Context(), slices.Values(codes(names...)), time.Time{}, nil) {
		if n++; !r.Active || r.Err != nil {
			t.Fatalf("%d: %v", n, r.Err)
		}
	}
	if diff := cmp.Diff([]string{"A100", "Q100", "A3", "Q3"}, s.log); diff != "" || n != len(names) {
		t.Errorf("%d results, calls (-want +got):\n%s", n, diff)
	}
	for range c.ActivateAll(t.Context(), slices.Values(codes("PLx", "PLy")), time.Time{}, nil) {
		break
	}
	calls := len(s.log)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for r := range c.ActivateAll(ctx, slices.Values(codes("PL1", "PL2")), time.Time{}, nil) {
		if n++; r.Active || !errors.Is(r.Err, context.Canceled) {
			t.Errorf("after the end: %v", r.Err)
		}
	}
	full := errors.New("limit reached")
	for r := range c.ActivateAll(t.Context(), slices.Values(codes("PL1", "PL2")), time.Time{}, func(context.Context) error { return full }) {
		if n++; r.Active || !errors.Is(r.Err, full) {
			t.Errorf("wait failed: %v", r.Err)
		}
	}
	for range c.ActivateAll(t.Context(), slices.Values(codes()), time.Time{}, nil) {
		t.Error("a result for no code")
	}
	if n != len(names)+4 || len(s.log) != calls {
		t.Errorf("%d results, %d calls", n, len(s.log)-calls)
	}
}
