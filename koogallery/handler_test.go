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
