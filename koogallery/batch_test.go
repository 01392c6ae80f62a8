package koogallery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
)

func codes(names ...string) []koogallery.Code {
	list := make([]koogallery.Code, len(names))
	for i, n := range names {
		list[i] = koogallery.NewCode(n)
	}
	return list
}

func TestQueryBatchShapes(t *testing.T) {
	const one, two = `"license_code":"PL1","status":"ALIVE","expire_time":"20260523201932"`, `"license_code":"PL2","status":"RELEASED"`
	quoted := func(s string) string { return encode(t, s) }
	for name, data := range map[string]string{
		"list":                 `[{` + one + `},{` + two + `}]`,
		"list under a name":    `{"license_list":[{` + one + `},{` + two + `}],"total":2}`,
		"list deeper":          `{"a":{"b":[{` + one + `},{` + two + `}]}}`,
		"document in a string": quoted(`[{` + one + `},{` + two + `}]`),
		"strings in a list":    `{"list":[` + quoted(`{`+one+`}`) + `,` + quoted(`{`+two+`}`) + `]}`,
		"as activate has it":   `[{"license":"PL1","license_code_info":` + quoted(`{"status":"ALIVE","expire_time":"20260523201932"}`) + `},{` + two + `}]`,
		"keyed by code":        `{"PL1":{"status":"ALIVE","expire_time":"20260523201932"},"PL2":{"status":"RELEASED"}}`,
		"beside a result code": `{"code":"0","list":[{` + one + `},{` + two + `}]}`,
		"other order, repeats": `[{` + two + `},{` + one + `},{` + two + `},{"license_code":"PL9","status":"ALIVE"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			c := answering(t, 200, jsonMedia, `{"error_code":"92020000","data":`+data+`}`)
			got, err := c.QueryBatch(t.Context(), codes("PL1", "PL2", "PL3", "PL1"))
			if err != nil {
				t.Fatal(err)
			}
			alive := koogallery.CodeInfo{Status: koogallery.CodeAlive, ExpireTime: time.Date(2026, 5, 23, 20, 19, 32, 0, time.UTC)}
			want := []koogallery.CodeResult{
				{Code: koogallery.NewCode("PL1"), Info: alive},
				{Code: koogallery.NewCode("PL2"), Info: koogallery.CodeInfo{Status: koogallery.CodeReleased}},
				{Code: koogallery.NewCode("PL3"), Err: koogallery.ErrNotAnswered},
				{Code: koogallery.NewCode("PL1"), Info: alive},
			}
			for i, r := range got {
				if diff := cmp.Diff(want[i].Info, r.Info); diff != "" || !r.Code.Equal(want[i].Code) || !errors.Is(r.Err, want[i].Err) {
					t.Errorf("%d: %s %v", i, diff, r.Err)
				}
			}
		})
	}
}

func TestQueryBatchUnusable(t *testing.T) {
	data := func(s string) string { return `{"error_code":"92020000","data":` + s + `}` }
	refusal := func(code string) string { return `{"error_code":"` + code + `","error_msg":"about PL1"}` }
	for name, tt := range map[string]struct {
		status   int
		media    string
		body     string
		unusable bool
		want     error
	}{
		"no data":                {200, jsonMedia, okAnswer, true, nil},
		"one state for all":      {200, jsonMedia, data(`{"status":"ALIVE"}`), true, nil},
		"other codes":            {200, jsonMedia, data(`[{"license_code":"PL7","status":"ALIVE"}]`), true, nil},
		"without a status":       {200, jsonMedia, data(`[{"license_code":"PL1"}]`), true, nil},
		"expiry cannot be read":  {200, jsonMedia, data(`[{"license_code":"PL1","status":"ALIVE","expire_time":"soon"}]`), true, nil},
		"told in two ways":       {200, jsonMedia, data(`[{"license_code":"PL1","status":"ALIVE"},{"license_code":"PL1","status":"EXPIRED"}]`), true, nil},
		"too deep":               {200, jsonMedia, data(`[[[[[[[{"license_code":"PL1","status":"ALIVE"}]]]]]]]`), true, nil},
		"masked":                 {200, jsonMedia, data(`[{"license_code":"PL***","status":"ALIVE"}]`), true, nil},
		"not there":              {404, jsonMedia, refusal("APIGW.0101"), true, nil},
		"not there, as HTML":     {404, "text/html", "<html>", true, nil},
		"method":                 {405, jsonMedia, refusal("95000002"), true, koogallery.ErrRequestMethod},
		"pattern":                {400, jsonMedia, refusal("95000001"), true, koogallery.ErrRequestParam},
		"not readable":           {400, jsonMedia, refusal("95000004"), true, koogallery.ErrRequestUnreadable},
		"media type":             {415, jsonMedia, refusal("95000003"), true, koogallery.ErrRequestContentType},
		"parameter":              {200, jsonMedia, refusal("92020002"), true, koogallery.ErrInvalidParam},
		"some code is invalid":   {200, jsonMedia, refusal("92020020"), false, koogallery.ErrInvalidBatch},
		"some code is not known": {200, jsonMedia, refusal("92020005"), false, koogallery.ErrUnknownCode},
		"internal":               {200, jsonMedia, refusal("92020001"), false, koogallery.ErrInternal},
		"key":                    {401, jsonMedia, refusal("APIGW.0301"), false, koogallery.ErrUnauthorized},
		"down":                   {503, jsonMedia, refusal("APIGW.0201"), false, koogallery.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := answering(t, tt.status, tt.media, tt.body).QueryBatch(t.Context(), codes("PL1", "PL2"))
			if got != nil || errors.Is(err, koogallery.ErrBatchUnusable) != tt.unusable || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, %v", got, err)
			}
			if tt.unusable && koogallery.Retryable(err) || strings.Contains(err.Error(), "PL1") {
				t.Errorf("error %v", err)
			}
		})
	}
	for status, unusable := range map[int]bool{404: true, 405: true, 400: false} {
		err := answering(t, status, jsonMedia, refusal("APIGW.0101")).ActivateBatch(t.Context(), codes("PL1"), time.Time{})
		if err == nil || errors.Is(err, koogallery.ErrBatchUnusable) != unusable {
			t.Errorf("ActivateBatch with HTTP %d: %v", status, err)
		}
	}
	for _, n := range []int{0, koogallery.MaxBatch + 1} {
		if _, err := answering(t, 200, jsonMedia, okAnswer).QueryBatch(t.Context(), make([]koogallery.Code, n)); !errors.Is(err, koogallery.ErrInvalidParam) {
			t.Errorf("%d codes: %v", n, err)
		}
	}
}

// bulk is a marketplace that knows codes PL0, PL1, … and counts calls.
type bulk struct {
	v2       func(codes []string) (int, string) // nil: every code is answered
	v1       func(code string) (int, string)
	log      []string
	requests int
}

func (b *bulk) RoundTrip(r *http.Request) (*http.Response, error) {
	b.requests++
	var req struct {
		License     string   `json:"license"`
		LicenseList []string `json:"license_list"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, err
	}
	if strings.Contains(r.URL.Path, "/v1/") {
		b.log = append(b.log, "1")
		if b.v1 != nil {
			if status, body := b.v1(req.License); status != 0 {
				return reply(status, jsonMedia, body)
			}
		}
		return reply(200, jsonMedia, `{"error_code":"92020000","data":{"license_code":"`+req.License+`","status":"ALIVE","order_id":"`+req.License+`"}}`)
	}
	b.log = append(b.log, fmt.Sprint(len(req.LicenseList), "x"))
	if b.v2 != nil {
		if status, body := b.v2(req.LicenseList); status != 0 {
			return reply(status, jsonMedia, body)
		}
	}
	var items []string
	for _, c := range req.LicenseList {
		items = append(items, `{"license_code":"`+c+`","status":"ALIVE","order_id":"`+c+`"}`)
	}
	return reply(200, jsonMedia, `{"error_code":"92020000","data":[`+strings.Join(items, ",")+`]}`)
}

func TestQueryAll(t *testing.T) {
	names := make([]string, 203)
	for i := range names {
		names[i] = fmt.Sprint("PL", i)
	}
	refuse := func(code string) func([]string) (int, string) {
		return func([]string) (int, string) { return 200, `{"error_code":"` + code + `"}` }
	}
	singly := slices.Repeat([]string{"1"}, 100)
	for _, tt := range []struct {
		name   string
		market bulk
		log    []string
		failed func(i int) error
	}{
		{"v2 works", bulk{}, []string{"100x", "100x", "3x"}, nil},
		{
			"v2 is not there",
			bulk{v2: func([]string) (int, string) { return 404, `{"error_code":"APIGW.0101"}` }},
			slices.Concat([]string{"100x"}, singly, singly, []string{"1", "1", "1"}), nil,
		},
		{
			"one bad code in the first batch",
			bulk{
				v2: func(list []string) (int, string) {
					if slices.Contains(list, "PL7") {
						return 200, `{"error_code":"92020020"}`
					}
					return 0, ""
				},
				v1: func(code string) (int, string) {
					if code == "PL7" {
						return 200, `{"error_code":"92020005"}`
					}
					return 0, ""
				},
			},
			slices.Concat([]string{"100x"}, singly, []string{"100x", "3x"}),
			func(i int) error {
				if i == 7 {
					return koogallery.ErrUnknownCode
				}
				return nil
			},
		},
		{
			"some not answered",
			bulk{v2: func(list []string) (int, string) {
				return 200, `{"error_code":"92020000","data":[{"license_code":"` + list[0] + `","status":"ALIVE","order_id":"` + list[0] + `"}]}`
			}},
			slices.Concat([]string{"100x"}, singly[1:], []string{"100x"}, singly[1:], []string{"3x", "1", "1"}), nil,
		},
		{"down", bulk{v2: refuse("92020001")}, []string{"100x", "100x", "3x"}, func(int) error { return koogallery.ErrInternal }},
		{
			"key refused",
			bulk{v2: func([]string) (int, string) { return 401, "" }},
			[]string{"100x", "100x", "3x"},
			func(int) error { return koogallery.ErrUnauthorized },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := clientOptions("https://a")
			opts.Transport = &tt.market
			waited, i := 0, 0
			wait := func(context.Context) error { waited++; return nil }
			for r := range newClient(t, opts).QueryAll(t.Context(), slices.Values(codes(names...)), wait) {
				var want error
				if tt.failed != nil {
					want = tt.failed(i)
				}
				if r.Code.Reveal() != names[i] || !errors.Is(r.Err, want) || r.Err == nil && r.Info.OrderID != names[i] {
					t.Fatalf("%d: %s %v %v", i, r.Code.Reveal(), r.Info, r.Err)
				}
				i++
			}
			if i != len(names) || waited != tt.market.requests {
				t.Errorf("%d results, %d waits for %d requests", i, waited, tt.market.requests)
			}
			if diff := cmp.Diff(tt.log, tt.market.log); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestQueryAllEnds(t *testing.T) {
	var market bulk
	opts := clientOptions("https://a")
	opts.Transport = &market
	c := newClient(t, opts)
	for range c.QueryAll(t.Context(), slices.Values(codes("PL1", "PL2")), nil) {
		break
	}
	for range c.QueryAll(t.Context(), slices.Values(codes()), nil) {
		t.Error("a result for no code")
	}
	if market.requests != 1 {
		t.Errorf("%d requests", market.requests)
	}
	got := map[string]error{}
	for r := range c.QueryAll(t.Context(), slices.Values(codes("PL1", "", "PL3")), nil) {
		got[r.Code.Reveal()] = r.Err
	}
	if len(got) != 3 || got["PL1"] != nil || got["PL3"] != nil || !errors.Is(got[""], koogallery.ErrInvalidParam) {
		t.Errorf("with a bad code: %v", got)
	}
	before := market.requests
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	for r := range c.QueryAll(ctx, slices.Values(codes("PL1", "PL2", "PL3")), nil) {
		if n++; !errors.Is(r.Err, context.Canceled) {
			t.Errorf("after the end: %v", r.Err)
		}
	}
	full := errors.New("limit reached")
	for r := range c.QueryAll(t.Context(), slices.Values(codes("PL1", "PL2")), func(context.Context) error { return full }) {
		if n++; !errors.Is(r.Err, full) {
			t.Errorf("wait failed: %v", r.Err)
		}
	}
	if n != 5 || market.requests != before {
		t.Errorf("%d results, %d requests", n, market.requests-before)
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait, start := koogallery.Pace(time.Second), time.Now()
		for i := range 4 {
			if err := wait(t.Context()); err != nil || time.Since(start) != time.Duration(i)*time.Second {
				t.Errorf("%d: after %v, %v", i, time.Since(start), err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if err := wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		for i := range 2 { // idle time is no credit
			if err := wait(t.Context()); err != nil {
				t.Error(i, err)
			}
		}
		if got := time.Since(start); got != 3*time.Second+time.Millisecond+time.Minute+time.Second {
			t.Errorf("after %v", got)
		}
		time.Sleep(time.Second) // the last timer
	})
}
