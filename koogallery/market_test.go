package koogallery_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
)

const (
	jsonMedia = "application/json"
	okAnswer  = `{"error_code":"92020000","error_msg":"success"}`
)

// everyCall makes each call of the open API once.
var everyCall = map[string]func(context.Context, *koogallery.Client) error{
	"Activate": func(ctx context.Context, c *koogallery.Client) error {
		return errOf(c.Activate(ctx, testCode, time.Time{}))
	},
	"ActivateBatch": func(ctx context.Context, c *koogallery.Client) error {
		return c.ActivateBatch(ctx, []koogallery.Code{testCode}, time.Time{})
	},
	"Query": func(ctx context.Context, c *koogallery.Client) error { return errOf(c.Query(ctx, testCode)) },
	"QueryBatch": func(ctx context.Context, c *koogallery.Client) error {
		return errOf(c.QueryBatch(ctx, []koogallery.Code{testCode}))
	},
	"ReportUsage": func(ctx context.Context, c *koogallery.Client) error {
		return errOf(c.ReportUsage(ctx, []koogallery.Usage{{License: testCode, IDs: []string{"very-secret-account"}}}))
	},
	"Upload": func(ctx context.Context, c *koogallery.Client) error {
		return c.Upload(ctx, "event", koogallery.Upload{License: []byte("very-secret-licence")})
	},
	"Order": func(ctx context.Context, c *koogallery.Client) error {
		return errOf(c.Order(ctx, "very-secret-order", ""))
	},
}

// TestVectorsSDKClient lets the client make the vectors' calls.
func TestVectorsSDKClient(t *testing.T) {
	code := koogallery.NewCode("PL20250101000000000001")
	calls := map[string]func(context.Context, *koogallery.Client) error{
		"activate-v1": func(ctx context.Context, c *koogallery.Client) error {
			return errOf(c.Activate(ctx, code, time.Time{}))
		},
		"activate-v1-effect-time": func(ctx context.Context, c *koogallery.Client) error {
			return errOf(c.Activate(ctx, code, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)))
		},
		"activate-v2": func(ctx context.Context, c *koogallery.Client) error {
			return c.ActivateBatch(ctx, []koogallery.Code{koogallery.NewCode("PL1"), koogallery.NewCode("PL2"), koogallery.NewCode("PL3")},
				time.Date(2026, 1, 2, 15, 35, 55, 0, time.UTC))
		},
		"heartbeat-v1": func(ctx context.Context, c *koogallery.Client) error { return errOf(c.Query(ctx, code)) },
		"fallback-host": func(ctx context.Context, c *koogallery.Client) error {
			return errOf(c.Activate(ctx, code, time.Time{}))
		},
		"order-query": func(ctx context.Context, c *koogallery.Client) error {
			return errOf(c.Order(ctx, "CS2207261447AUY4H", "CS2207261447AUY4H-000001"))
		},
		"order-query-mock": func(ctx context.Context, c *koogallery.Client) error {
			return errOf(c.Order(ctx, "MOCKPERIODYEARNEW", ""))
		},
	}
	met := 0
	for _, v := range vectors(t).SDK {
		call, known := calls[v.ID]
		if !known {
			continue // a header or body which the client does not send; TestVectorsSDK has it
		}
		met++
		t.Run(v.ID, func(t *testing.T) {
			date, err := time.Parse("20060102T150405Z", v.XSdkDate)
			if err != nil {
				t.Fatal(err)
			}
			sent := false
			opts := koogallery.ClientOptions{
				AccessKeyID: v.AccessKeyID, SecretAccessKey: koogallery.NewSecretKey(v.SecretAccessKey), Now: at(date),
			}
			opts.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Host != v.Host {
					return nil, errors.New("unreachable")
				}
				sent = true
				body, _ := io.ReadAll(r.Body)
				if want, _ := base64.StdEncoding.DecodeString(v.BodyBase64); !bytes.Equal(body, want) {
					t.Errorf("body %s, want %s", body, want)
				}
				if diff := cmp.Diff(v.Authorization, r.Header.Get("Authorization")); diff != "" {
					t.Errorf("Authorization (-want +got):\n%s", diff)
				}
				if r.Method != v.Method || r.URL.Path != v.Path {
					t.Errorf("%s %s", r.Method, r.URL.Path)
				}
				return reply(200, jsonMedia, okAnswer)
			})
			_ = call(t.Context(), newClient(t, opts)) // the answer is none to some of them
			if !sent {
				t.Error("not sent")
			}
		})
	}
	if met != len(calls) {
		t.Errorf("%d vectors met, want %d", met, len(calls))
	}
}

// TestBadAnswers: nothing of this is believed, by any call, and all but a
// refusal may be tried again.
func TestBadAnswers(t *testing.T) {
	var redirected atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { redirected.Add(1) }))
	defer elsewhere.Close()
	answer := func(status int, media, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	cut := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", jsonMedia)
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, body)
		}
	}
	const all = `{"error_code":"%s","resultCode":"%[1]s","data":{"status":"ALIVE"},"orderInfo":{"orderId":"very-secret-order"}`
	good := fmt.Sprintf(all, "92020000")
	for name, tt := range map[string]struct {
		handler   http.HandlerFunc
		want      error
		retryable bool
	}{
		"HTML":                                {answer(200, "text/html", good+"}"), koogallery.ErrUnavailable, true},
		"HTML in disguise":                    {answer(200, jsonMedia, "<html>very-secret</html>"), koogallery.ErrUnavailable, true},
		"empty":                               {answer(200, jsonMedia, ""), koogallery.ErrUnavailable, true},
		"no content":                          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, koogallery.ErrUnavailable, true},
		"half":                                {answer(200, jsonMedia, good), koogallery.ErrUnavailable, true},
		"connection cut":                      {cut(good + "}"), koogallery.ErrUnavailable, true},
		"connection lost":                     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, koogallery.ErrUnavailable, true},
		"two answers":                         {answer(200, jsonMedia, good+"}"+good+"}"), koogallery.ErrUnavailable, true},
		"over the limit":                      {answer(200, jsonMedia, good+`,"x":"`+strings.Repeat("x", koogallery.MaxAnswer)+`"}`), koogallery.ErrUnavailable, true},
		"no code":                             {answer(200, jsonMedia, `{"data":{"status":"ALIVE"}}`), koogallery.ErrUnavailable, true},
		"code is an array":                    {answer(200, jsonMedia, `{"error_code":["92020000"],"resultCode":{}}`), koogallery.ErrUnavailable, true},
		"unknown code":                        {answer(200, jsonMedia, fmt.Sprintf(all, "92029999")+"}"), nil, false},
		"code of success in another spelling": {answer(200, jsonMedia, fmt.Sprintf(all, "92020000 ")+"}"), nil, false},
		"success with 500":                    {answer(500, jsonMedia, fmt.Sprintf(all, "0")+"}"), koogallery.ErrUnavailable, true},
		"gateway":                             {answer(502, "text/html", "<html>"), koogallery.ErrUnavailable, true},
		"gateway refuses the key":             {answer(401, jsonMedia, `{"error_code":"APIGW.0301","error_msg":"no"}`), koogallery.ErrUnauthorized, false},
		"redirect": {
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			},
			koogallery.ErrUnavailable, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			ts := httptest.NewUnstartedServer(tt.handler)
			var log bytes.Buffer
			ts.Config.ErrorLog = newLogger(&log)
			ts.StartTLS()
			defer ts.Close()
			opts := clientOptions(ts.URL)
			opts.ExtraRoots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ts.Certificate().Raw})
			c := newClient(t, opts)
			for call, do := range everyCall {
				err := do(t.Context(), c)
				_, answered := errors.AsType[*koogallery.APIError](err)
				switch {
				case err == nil:
					t.Fatalf("%s believed it", call)
				case tt.want != nil && !errors.Is(err, tt.want), tt.want == nil && !answered:
					t.Errorf("%s: got %v, want %v", call, err, tt.want)
				case koogallery.Retryable(err) != tt.retryable:
					t.Errorf("%s: retryable is %v: %v", call, !tt.retryable, err)
				case strings.Contains(err.Error(), "very-secret") || strings.Contains(err.Error(), secretCode):
					t.Errorf("%s: error tells secrets: %v", call, err)
				}
			}
		})
	}
	if redirected.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// TestOtherHostsCertificate: every call refuses a server whose certificate
// names another host.
func TestOtherHostsCertificate(t *testing.T) {
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
	var log bytes.Buffer
	ts.Config.ErrorLog = newLogger(&log)
	ts.StartTLS()
	defer ts.Close()
	_, port, _ := strings.Cut(ts.Listener.Addr().String(), ":")
	opts := clientOptions("https://localhost:" + port) // the certificate is for 127.0.0.1 and example.com
	opts.ExtraRoots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ts.Certificate().Raw})
	c := newClient(t, opts)
	for name, do := range everyCall {
		if err := do(t.Context(), c); !errors.Is(err, koogallery.ErrUnavailable) || !koogallery.Retryable(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
