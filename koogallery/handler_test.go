package koogallery_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
)

func newLogger(w io.Writer) *log.Logger {
	return slog.NewLogLogger(slog.NewTextHandler(w, nil), slog.LevelInfo)
}

func TestHandler(t *testing.T) {
	var handled, reported []string
	h := &koogallery.Handler{
		Verifier: newVerifier(),
		Handle: func(_ context.Context, cb koogallery.Callback, msg koogallery.Message) error {
			if cb.Time.IsZero() {
				t.Error("callback without a time")
			}
			code := msg.(koogallery.ReleaseLicenseCode).License.Reveal()
			handled = append(handled, code)
			switch code {
			case "unknown":
				return &koogallery.ResultError{Code: koogallery.ResultUnknownCode}
			case "broken":
				return errors.New("disk full")
			}
			return nil
		},
		Report: func(_ context.Context, msg koogallery.Message, err error) {
			reported = append(reported, string(koogallery.ResultOf(err).Code))
			if (msg == nil) != (errors.Is(err, koogallery.ErrReplayed) || errors.Is(err, koogallery.ErrActivity)) {
				t.Errorf("message %v with %v", msg, err)
			}
		},
	}
	post := func(nonce, body string) string {
		t.Helper()
		q := koogallery.SignedQuery(testKey, nonce, testNow, []byte(body))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/?"+q.Encode(), bytes.NewReader([]byte(body))))
		if w.Code != http.StatusOK {
			t.Errorf("HTTP %d", w.Code)
		}
		return w.Body.String()
	}
	got := []string{
		post("1", `{"activity":"releaseLicenseCode","license":"PL1"}`),
		post("1", `{"activity":"releaseLicenseCode","license":"PL1"}`),
		post("2", `{"activity":"releaseLicenseCode","license":"test","testFlag":"1"}`),
		post("3", `{"activity":"releaseLicenseCode","license":"unknown"}`),
		post("4", `{"activity":"releaseLicenseCode","license":"broken"}`),
		post("5", `{"activity":"other"}`),
	}
	want := []string{
		`{"resultCode":"000000","resultMsg":"success."}`,
		`{"resultCode":"000001","resultMsg":"token is invalid"}`,
		`{"resultCode":"000000","resultMsg":"success."}`,
		`{"resultCode":"000003","resultMsg":"instance is invalid"}`,
		`{"resultCode":"000005","resultMsg":"other inner error"}`,
		`{"resultCode":"000002","resultMsg":"param is invalid: activity"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"PL1", "unknown", "broken"}, handled); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"000000", "000001", "000000", "000003", "000005", "000002"}, reported); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodPost {
		t.Errorf("GET: HTTP %d, %v", w.Code, w.Header())
	}
}

// TestHandlerAnswers plays the messages of online provisioning.
func TestHandlerAnswers(t *testing.T) {
	var reported []string
	h := &koogallery.Handler{
		Verifier:   newVerifier(),
		Activities: append(koogallery.InstanceActivities(), koogallery.ActivityOrderNotify),
		Answer: func(_ context.Context, _ koogallery.Callback, msg koogallery.Message) (koogallery.Result, error) {
			switch m := msg.(type) {
			case koogallery.NewInstance:
				return koogallery.Result{Code: koogallery.ResultOK, InstanceID: map[string]string{"o": "id of o"}[m.OrderID]}, nil
			case koogallery.GetLicenseAsync:
				if m.DeviceFingerprint.IsZero() {
					return koogallery.Result{}, &koogallery.ResultError{Code: koogallery.ResultDeviceRequired}
				}
				return koogallery.Result{Code: koogallery.ResultInProgress}, nil
			case koogallery.OrderNotify:
				return koogallery.Result{}, nil // forgot to say success
			}
			return koogallery.Result{Code: koogallery.ResultOK}, nil
		},
		Report: func(_ context.Context, msg koogallery.Message, err error) {
			name := "-"
			if msg != nil {
				name = string(msg.Activity())
			}
			reported = append(reported, name+" "+string(koogallery.ResultOf(err).Code))
		},
	}
	n := 0
	post := func(body string) string {
		t.Helper()
		n++
		q := koogallery.SignedQuery(testKey, strings.Repeat("n", n), testNow, []byte(body))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/?"+q.Encode(), strings.NewReader(body)))
		return w.Body.String()
	}
	got := []string{
		post(`{"activity":"newInstance","orderId":"o","orderLineId":"l","businessId":"b"}`),
		post(`{"activity":"newInstance","orderId":"without id","orderLineId":"l","businessId":"b"}`),
		post(`{"activity":"newInstance","orderId":"o","orderLineId":"l","businessId":"b","testFlag":"1"}`),
		post(`{"activity":"getLicenseAsync","instanceId":"i","eventId":"e","effectiveTime":"2023-10-27 10:30:15 z","deviceFingerprint":"d"}`),
		post(`{"activity":"getLicenseAsync","instanceId":"i","eventId":"e","effectiveTime":"2023-10-27 10:30:15 z"}`),
		post(`{"activity":"releaseInstance","instanceId":"i"}`),
		post(`{"activity":"orderNotify","orderId":"o"}`),
		post(`{"activity":"releaseLicenseCode","license":"PL1"}`),
		post(`{"activity":"releaseLicenseCode","license":"PL1","testFlag":"1"}`),
		post(`{"activity":{}}`),
	}
	want := []string{
		`{"resultCode":"000000","resultMsg":"success.","instanceId":"id of o"}`,
		`{"resultCode":"000005","resultMsg":"other inner error"}`,
		`{"resultCode":"000000","resultMsg":"success.","instanceId":"b"}`,
		`{"resultCode":"000004","resultMsg":"request is processing"}`,
		`{"resultCode":"000903","resultMsg":"deviceFingerprint is required"}`,
		`{"resultCode":"000000","resultMsg":"success."}`,
		`{"resultCode":"000005","resultMsg":"other inner error"}`,
		`{"resultCode":"000002","resultMsg":"param is invalid: activity"}`,
		`{"resultCode":"000002","resultMsg":"param is invalid: activity"}`,
		`{"resultCode":"000002","resultMsg":"param is invalid: activity"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"newInstance 000000", "newInstance 000005", "newInstance 000000", "getLicenseAsync 000000", "getLicenseAsync 000903",
		"releaseInstance 000000", "orderNotify 000005", "- 000002", "- 000002", "- 000002",
	}, reported); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
}

// TestHandlerTakesLicenceCodesOnly: without a list other activities are
// refused, debug calls too.
func TestHandlerTakesLicenceCodesOnly(t *testing.T) {
	h := &koogallery.Handler{
		Verifier: newVerifier(),
		Handle:   func(context.Context, koogallery.Callback, koogallery.Message) error { t.Error("handled"); return nil },
	}
	for activity := range activityRules {
		body := goodBody(activity)
		body["testFlag"] = "1"
		text := encode(t, body)
		q := koogallery.SignedQuery(testKey, string(activity), testNow, []byte(text))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/?"+q.Encode(), strings.NewReader(text)))
		want := "000002"
		if slices.Contains(koogallery.LicenseCodeActivities(), activity) {
			want = "000000"
		}
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s", activity, w.Body)
		}
	}
}

// What counts calls learns what each was about, also where no message could be
// made of it, and nothing of what was not authentic.
func TestHandlerObserve(t *testing.T) {
	var got []string
	h := &koogallery.Handler{
		Verifier: newVerifier(),
		Handle:   func(context.Context, koogallery.Callback, koogallery.Message) error { return nil },
		Observe: func(_ context.Context, cb koogallery.Callback, result koogallery.Result, err error) {
			activity, fieldErr := cb.Field("activity")
			flag, _ := cb.Field("testFlag")
			authentic := !cb.Time.IsZero()
			if authentic != (fieldErr == nil) || (err == nil) != (result.Code == koogallery.ResultOK) {
				t.Errorf("authentic %v, %v: %v with %v", authentic, fieldErr, result, err)
			}
			got = append(got, strings.Join([]string{activity, flag, string(result.Code)}, " "))
		},
	}
	for _, c := range []struct{ key, body string }{
		{"", `{"activity":"releaseLicenseCode","license":"PL1"}`},
		{"", `{"activity":"releaseLicenseCode","testFlag":1}`},
		{"", `{"activity":"melt","testFlag":"1"}`},
		{"another", `{"activity":"releaseLicenseCode","license":"PL1"}`},
	} {
		key := testKey
		if c.key != "" {
			key = koogallery.NewAccessKey(c.key)
		}
		q := koogallery.SignedQuery(key, c.body, testNow, []byte(c.body))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/?"+q.Encode(), strings.NewReader(c.body)))
	}
	want := []string{"releaseLicenseCode  000000", "releaseLicenseCode 1 000002", "melt 1 000002", "  000001"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
}
