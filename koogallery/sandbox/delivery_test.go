package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func newLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// merchant is a handler that records real messages and fails as told.
type merchant struct {
	koogallery.Handler

	mu       sync.Mutex
	messages []koogallery.Message
	errs     []error // of the next calls, real or not
	answers  []koogallery.ResultCode
}

func newMerchant(key koogallery.AccessKey, now func() time.Time) *merchant {
	m := &merchant{}
	m.Verifier = &koogallery.Verifier{Keys: []koogallery.AccessKey{key}, Now: now}
	m.Handle = func(_ context.Context, _ koogallery.Callback, msg koogallery.Message) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.errs) > 0 {
			err := m.errs[0]
			m.errs = m.errs[1:]
			if err != nil {
				return err
			}
		}
		m.messages = append(m.messages, msg)
		return nil
	}
	m.Report = func(_ context.Context, _ koogallery.Message, err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.answers = append(m.answers, koogallery.ResultOf(err).Code)
	}
	return m
}

func (m *merchant) got() ([]koogallery.Message, []koogallery.ResultCode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.messages), slices.Clone(m.answers)
}

// inProcess is a transport that calls a handler.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result(), nil
}

// bubbleNow is the clock of a synctest bubble moved to where timestamps have
// their 13 digits: bubbles begin in 2000, when there were 12.
func bubbleNow() time.Time { return time.Now().Add(26 * year) }

const address = "http://127.0.0.1/marketplace/koogallery?tenant=7"

func TestCallbacks(t *testing.T) {
	clk := newClock()
	key := koogallery.NewAccessKey("callback key")
	m := newMerchant(key, clk.Now)
	server := httptest.NewTLSServer(m)
	defer server.Close()
	s, c := start(t, sandbox.Options{
		Now: clk.Now,
		Callback: sandbox.Callback{
			URL: server.URL + "/callback?tenant=7", AccessKey: key,
			RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
		},
	})
	o := buy(t, s, year)
	_, err := c.Activate(t.Context(), o.Code, time.Time{})
	must(t, err)
	end := clk.Now().Add(year)
	renewal, err := s.RenewAs(o.Code, "OFFI0002", year)
	must(t, err)
	cancelled, err := s.CancelRenewal(o.Code)
	must(t, err)
	must(t, s.Freeze(o.Code))
	want(t, s.Freeze(o.Code), sandbox.ErrState)
	must(t, s.Unfreeze(o.Code))
	_, err = s.Debug(koogallery.ActivityReleaseLicenseCode, koogallery.NewCode("made up"))
	must(t, err)
	gone, err := s.Unsubscribe(o.Code)
	must(t, err)
	must(t, s.WaitIdle(t.Context()))

	got, _ := m.got()
	if diff := cmp.Diff([]koogallery.Message{
		koogallery.RefreshLicenseCode{
			Scene: koogallery.SceneRenewal, OrderID: renewal.ID, OrderLineID: renewal.LineID,
			License: o.Code, ProductID: "OFFI0002", ExpireTime: end.Add(year),
		},
		koogallery.RefreshLicenseCode{
			Scene: koogallery.SceneUnsubscribeRenewalPeriod, OrderID: cancelled.ID, OrderLineID: cancelled.LineID,
			License: o.Code, ExpireTime: end,
		},
		koogallery.UpdateLicenseCodeStatus{License: o.Code, Status: koogallery.StatusFreeze},
		koogallery.UpdateLicenseCodeStatus{License: o.Code, Status: koogallery.StatusUnfreeze},
		koogallery.ReleaseLicenseCode{License: o.Code, OrderID: gone.ID, OrderLineID: gone.LineID},
	}, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	for _, d := range s.Deliveries() {
		if d.State != sandbox.Delivered || len(d.Attempts) != 1 {
			t.Errorf("delivery %d is %s: %+v", d.ID, d.State, d.Attempts)
		}
	}
	if renewal.ID == o.ID || cancelled.ID == renewal.ID || gone.ID == cancelled.ID {
		t.Error("orders share an id")
	}
}

func TestRenewBeforeActivation(t *testing.T) {
	clk := newClock()
	key := koogallery.NewAccessKey("k")
	m := newMerchant(key, clk.Now)
	s, c := start(t, sandbox.Options{
		Now: clk.Now, Callback: sandbox.Callback{URL: address, AccessKey: key}, CallbackTransport: inProcess{m},
	})
	o := buy(t, s, year)
	_, err := s.Renew(o.Code, year)
	must(t, err)
	must(t, s.WaitIdle(t.Context()))
	msgs, _ := m.got()
	if got := msgs[0].(koogallery.RefreshLicenseCode).ExpireTime; !got.Equal(clk.Now().Add(2 * year)) {
		t.Errorf("estimate %v", got)
	}
	clk.advance(time.Hour)
	_, err = c.Activate(t.Context(), o.Code, time.Time{})
	must(t, err)
	info, err := c.Query(t.Context(), o.Code)
	must(t, err)
	if !info.ExpireTime.Equal(clk.Now().Add(2 * year)) {
		t.Errorf("ends at %v", info.ExpireTime)
	}
}

// TestRetries runs two hours of attempts on a fake clock. Every attempt must be
// signed afresh: the merchant refuses a signature two minutes old.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := koogallery.NewAccessKey("k")
		m := newMerchant(key, bubbleNow)
		s := newSandbox(t, sandbox.Options{
			Now:      bubbleNow,
			Callback: sandbox.Callback{URL: address, AccessKey: key}, CallbackTransport: inProcess{m},
		})
		o := buy(t, s, year)
		broken := errors.New("disk full")
		m.errs = []error{broken, broken, broken}
		begin := time.Now()
		must(t, s.Freeze(o.Code))
		must(t, s.Unfreeze(o.Code)) // waits for its turn
		must(t, s.WaitIdle(t.Context()))
		if got := time.Since(begin); got != 6*time.Minute {
			t.Errorf("took %v", got)
		}
		msgs, answers := m.got()
		if diff := cmp.Diff([]koogallery.Message{
			koogallery.UpdateLicenseCodeStatus{License: o.Code, Status: koogallery.StatusFreeze},
			koogallery.UpdateLicenseCodeStatus{License: o.Code, Status: koogallery.StatusUnfreeze},
		}, msgs); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]koogallery.ResultCode{"000005", "000005", "000005", "000000", "000000"}, answers); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}

		m.errs = slices.Repeat([]error{broken}, 60)
		begin = time.Now()
		must(t, s.ReleaseAfterRetention(o.Code))
		must(t, s.WaitIdle(t.Context()))
		last := s.Deliveries()[2]
		if got := time.Since(begin); got != 59*2*time.Minute || last.State != sandbox.Failed || len(last.Attempts) != 60 {
			t.Errorf("%d attempts in %v, %s", len(last.Attempts), got, last.State)
		}
		must(t, s.Retry(last.ID))
		must(t, s.WaitIdle(t.Context()))
		if last = s.Deliveries()[2]; last.State != sandbox.Delivered || len(last.Attempts) != 61 {
			t.Errorf("after a restart %s after %d attempts", last.State, len(last.Attempts))
		}
		want(t, s.Retry(last.ID), sandbox.ErrState)
		want(t, s.Retry(99), sandbox.ErrUnknownDelivery)
	})
}

func TestRetryNowAndNewAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := newMerchant(koogallery.NewAccessKey("another"), bubbleNow)
		s := newSandbox(t, sandbox.Options{
			Now:      bubbleNow,
			Callback: sandbox.Callback{URL: address, AccessKey: koogallery.NewAccessKey("k")}, CallbackTransport: inProcess{wrong},
		})
		o := buy(t, s, year)
		begin := time.Now()
		must(t, s.Freeze(o.Code))
		synctest.Wait() // the first attempt failed
		must(t, s.SetCallback(sandbox.Callback{URL: address, AccessKey: koogallery.NewAccessKey("another")}))
		s.RetryNow()
		must(t, s.WaitIdle(t.Context()))
		d := s.Deliveries()[0]
		if d.State != sandbox.Delivered || time.Since(begin) != 0 {
			t.Errorf("%s after %v", d.State, time.Since(begin))
		}
		if diff := cmp.Diff([]sandbox.Attempt{
			{HTTPStatus: 200, ResultCode: "000001", ResultMsg: "token is invalid"},
			{HTTPStatus: 200, ResultCode: "000000", ResultMsg: "success."},
		}, d.Attempts, cmpopts.IgnoreFields(sandbox.Attempt{}, "At")); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
	})
}

// TestFailures shows what counts as a failed attempt, and that the end of the
// sandbox ends the attempts.
func TestFailures(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, `{"resultCode":"000000"}`)
		},
		"HTML":        func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `<html>`) },
		"empty":       func(http.ResponseWriter, *http.Request) {},
		"in progress": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"resultCode":"000004"}`) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSandbox(t, sandbox.Options{
					Now:      bubbleNow,
					Callback: sandbox.Callback{URL: address}, CallbackTransport: inProcess{h}, MaxAttempts: 2,
				})
				o := buy(t, s, year)
				must(t, s.Freeze(o.Code))
				must(t, s.WaitIdle(t.Context()))
				if d := s.Deliveries()[0]; d.State != sandbox.Failed || len(d.Attempts) != 2 {
					t.Errorf("%s: %+v", d.State, d.Attempts)
				}
				must(t, s.Unfreeze(o.Code))
				synctest.Wait()
				must(t, s.Close())
				if d := s.Deliveries()[1]; d.State != sandbox.Failed || len(d.Attempts) != 1 {
					t.Errorf("after Close %s: %+v", d.State, d.Attempts)
				}
				must(t, s.WaitIdle(t.Context()))
			})
		})
	}
}

func TestUnreachableMerchant(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	url := server.URL
	server.Close()
	s := newSandbox(t, sandbox.Options{
		Callback: sandbox.Callback{URL: url + "/secret-path"}, MaxAttempts: 3, RetryInterval: time.Millisecond,
	})
	o := buy(t, s, year)
	must(t, s.Freeze(o.Code))
	must(t, s.WaitIdle(t.Context()))
	d := s.Deliveries()[0]
	if d.State != sandbox.Failed || len(d.Attempts) != 3 || d.Attempts[0].Error == "" || d.Attempts[0].HTTPStatus != 0 {
		t.Errorf("%s: %+v", d.State, d.Attempts)
	}
}

func TestNoAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := koogallery.NewAccessKey("k")
		m := newMerchant(key, bubbleNow)
		s := newSandbox(t, sandbox.Options{Now: bubbleNow, CallbackTransport: inProcess{m}})
		o := buy(t, s, year)
		must(t, s.Freeze(o.Code))
		must(t, s.WaitIdle(t.Context()))
		if d := s.Deliveries()[0]; d.State != sandbox.Unsent || len(d.Attempts) != 0 {
			t.Errorf("%s: %+v", d.State, d.Attempts)
		}
		must(t, s.SetCallback(sandbox.Callback{URL: address, AccessKey: key}))
		must(t, s.Retry(1))
		must(t, s.WaitIdle(t.Context()))
		if msgs, _ := m.got(); len(msgs) != 1 {
			t.Errorf("messages %v", msgs)
		}
	})
}

func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := koogallery.NewAccessKey("k")
		m := newMerchant(key, bubbleNow)
		s := newSandbox(t, sandbox.Options{
			Now:      bubbleNow,
			Callback: sandbox.Callback{URL: address, AccessKey: key}, CallbackTransport: inProcess{m}, ProbeInterval: 12 * time.Hour,
		})
		if got := len(s.Probe()); got != 3 {
			t.Errorf("%d default cases", got)
		}
		must(t, s.WaitIdle(t.Context()))
		for range 2 { // saved once
			_, err := s.Debug(koogallery.ActivityRefreshLicenseCode, koogallery.NewCode("saved"))
			must(t, err)
		}
		_, err := s.Debug("newThing", koogallery.NewCode("x"))
		want(t, err, sandbox.ErrInvalid)
		<-time.After(24*time.Hour + time.Second) // two probes on the bubble's clock
		must(t, s.WaitIdle(t.Context()))
		ds := s.Deliveries()
		if len(ds) != 3+2+2 {
			t.Errorf("%d deliveries", len(ds))
		}
		for _, d := range ds {
			if d.State != sandbox.Delivered || !d.Test {
				t.Errorf("%+v", d)
			}
		}
		if msgs, _ := m.got(); len(msgs) != 0 {
			t.Errorf("test calls were obeyed: %v", msgs)
		}
	})
}

func TestWaitIdleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSandbox(t, sandbox.Options{
			Now:      bubbleNow,
			Callback: sandbox.Callback{URL: address}, CallbackTransport: inProcess{http.NotFoundHandler()},
		})
		must(t, s.Freeze(buy(t, s, year).Code))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		want(t, s.WaitIdle(ctx), context.DeadlineExceeded)
	})
}

// TestClientInProcess drives the open API through Handler, without a socket.
func TestClientInProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSandbox(t, sandbox.Options{Now: bubbleNow})
		opts := s.ClientOptions()
		opts.BaseURLs, opts.RootCAs, opts.Transport = []string{"https://mkt.example.com"}, nil, inProcess{s.Handler()}
		c := client(t, opts)
		o := buy(t, s, time.Hour)
		_, err := c.Activate(t.Context(), o.Code, time.Time{})
		must(t, err)
		<-time.After(time.Hour)
		info, err := c.Query(t.Context(), o.Code)
		must(t, err)
		if info.Status != koogallery.CodeExpired {
			t.Errorf("status %s", info.Status)
		}
	})
}

func TestControlAPI(t *testing.T) {
	key := koogallery.NewAccessKey("k")
	m := newMerchant(key, nil)
	merchantServer := httptest.NewServer(m)
	defer merchantServer.Close()
	s, c := start(t, sandbox.Options{})
	hc := httpClient(t, s.ClientOptions())
	call := func(method, path, token, body string) (int, map[string]any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+"/sandbox/v1/"+path, strings.NewReader(body))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := hc.Do(req)
		must(t, err)
		defer resp.Body.Close()
		var out map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return resp.StatusCode, out
	}
	token := s.ControlToken().Reveal()
	ok := func(method, path, body string) map[string]any {
		t.Helper()
		status, out := call(method, path, token, body)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %v", path, status, out)
		}
		return out
	}
	ok("POST", "callback", `{"url":"`+merchantServer.URL+`","access_key":"k"}`)
	order := ok("POST", "buy", `{"product":"OFFI0001","amount":2,"period":"365d"}`)
	code, _ := order["code"].(string)
	quoted := `{"code":"` + code + `"`
	ok("POST", "receive", quoted+`}`)
	_, err := c.Activate(t.Context(), koogallery.NewCode(code), time.Time{})
	must(t, err)
	ok("POST", "renew", quoted+`,"period":"720h"}`)
	for _, path := range []string{"cancel-renewal", "freeze", "unfreeze", "expire", "unsubscribe"} {
		ok("POST", path, quoted+`}`)
	}
	ok("POST", "probe", "")
	ok("POST", "debug", quoted+`,"activity":"releaseLicenseCode"}`)
	ok("POST", "retry", "")
	if out := ok("POST", "wait", ""); out["idle"] != true {
		t.Errorf("wait: %v", out)
	}
	codes, _ := ok("GET", "codes", "")["codes"].([]any)
	if len(codes) != 1 || codes[0].(map[string]any)["status"] != "RELEASED" || codes[0].(map[string]any)["code"] != code {
		t.Errorf("codes: %v", codes)
	}
	deliveries, _ := ok("GET", "deliveries", "")["deliveries"].([]any)
	if len(deliveries) != 9 {
		t.Errorf("%d deliveries: %v", len(deliveries), deliveries)
	}
	if msgs, _ := m.got(); len(msgs) != 5 {
		t.Errorf("merchant got %v", msgs)
	}
	ok("POST", "outage", `{"mode":"html"}`)
	ok("POST", "outage", `{}`)
	if out := ok("GET", "products", ""); len(out["products"].([]any)) != 2 {
		t.Errorf("products: %v", out)
	}

	for _, tt := range []struct {
		method, path, token, body string
		status                    int
	}{
		{"POST", "buy", "", `{}`, 401},
		{"GET", "codes", token + "x", ``, 401},
		{"POST", "buy", token, `{"product":"none"}`, 404},
		{"POST", "buy", token, `{"product":"OFFI0001","periodd":"1h"}`, 400},
		{"POST", "buy", token, `{"product":"OFFI0001","period":"-1h"}`, 400},
		{"POST", "buy", token, `{"product":"OFFI0001","period":"xd"}`, 400},
		{"POST", "buy", token, `{}{}`, 400},
		{"POST", "freeze", token, `{"code":"none"}`, 404},
		{"POST", "freeze", token, quoted + `}`, 409},
		{"POST", "retry", token, `{"id":99}`, 404},
		{"POST", "callback", token, `{"url":"http://192.0.2.1/"}`, 400},
		{"POST", "callback", token, `{"url":"https://192.0.2.1/","ca_pem":"x"}`, 400},
		{"POST", "outage", token, `{"mode":"flood"}`, 400},
	} {
		if status, out := call(tt.method, tt.path, tt.token, tt.body); status != tt.status || out["error"] == "" {
			t.Errorf("%s %s: got %d %v, want %d", tt.path, tt.body, status, out, tt.status)
		}
	}
}
