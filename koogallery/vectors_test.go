package koogallery_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
)

type signatures struct {
	Signature      string `json:"signature"`
	SignatureUpper string `json:"signature_upper"`
}

type callbackVector struct {
	ID            string      `json:"id"`
	Expect        string      `json:"expect"`
	AccessKey     string      `json:"access_key"`
	Timestamp     *string     `json:"timestamp"`
	Nonce         *string     `json:"nonce"`
	Signature     *string     `json:"signature"`
	Body          []byte      `json:"body_base64"`
	Raw           *signatures `json:"raw"`
	CanonicalBody *string     `json:"canonical_body"`
	Canonical     *signatures `json:"canonical"`
	ResultCode    string      `json:"result_code"`
}

type sdkVector struct {
	ID               string            `json:"id"`
	Method           string            `json:"method"`
	Host             string            `json:"host"`
	Path             string            `json:"path"`
	Query            [][2]string       `json:"query"`
	SignedHeaders    map[string]string `json:"signed_headers"`
	BodyBase64       string            `json:"body_base64"`
	AccessKeyID      string            `json:"access_key_id"`
	SecretAccessKey  string            `json:"secret_access_key"`
	XSdkDate         string            `json:"x_sdk_date"`
	CanonicalRequest string            `json:"canonical_request"`
	CanonicalSHA256  string            `json:"canonical_request_sha256"`
	Authorization    string            `json:"authorization"`
}

type vectorFile struct {
	CallbackPost   []callbackVector `json:"callback_post"`
	CallbackCases  []callbackVector `json:"callback_cases"`
	CallbackWindow struct {
		TimestampMS string `json:"timestamp_ms"`
		Cases       []struct {
			NowMS string `json:"now_ms"`
			OK    bool   `json:"documented_ok"`
		} `json:"cases"`
	} `json:"callback_timestamp_window"`
	Published []struct {
		ID   string `json:"id"`
		Body string `json:"body"`
	} `json:"callback_published_unverifiable"`
	SDK          []sdkVector    `json:"sdk_hmac_sha256"`
	V1Tokens     []v1Vector     `json:"v1_auth_token"`
	V1BodySign   []v1BodyVector `json:"v1_body_sign"`
	V1Encryption []struct {
		ID          string                `json:"id"`
		AccessKey   string                `json:"access_key"`
		EncryptType koogallery.Encryption `json:"encrypt_type"`
		IV          string                `json:"iv"`
		Plain       string                `json:"plain"`
		AESKey      string                `json:"aes_key_hex"`
		Value       string                `json:"value"`
	} `json:"v1_encryption"`
	Devices []struct {
		MAC         []string `json:"mac"`
		Disk        []string `json:"disk"`
		Board       string   `json:"board"`
		CPU         string   `json:"cpu"`
		Fingerprint string   `json:"fingerprint"`
	} `json:"device_fingerprint"`
}

type v1Vector struct {
	ID           string            `json:"id"`
	AccessKey    string            `json:"access_key"`
	Params       map[string]string `json:"params"`
	AuthToken    string            `json:"auth_token"`
	URL          string            `json:"url"`
	PrintedToken string            `json:"printed_order_auth_token"`
}

type v1BodyVector struct {
	ID        string `json:"id"`
	AccessKey string `json:"access_key"`
	Body      []byte `json:"body_base64"`
	Header    string `json:"header"`
}

func vectors(tb testing.TB) vectorFile {
	tb.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	var v vectorFile
	if err := json.Unmarshal(data, &v); err != nil {
		tb.Fatal(err)
	}
	for name, n := range map[string]int{
		"callback_post": len(v.CallbackPost), "callback_cases": len(v.CallbackCases),
		"callback_timestamp_window": len(v.CallbackWindow.Cases), "callback_published_unverifiable": len(v.Published),
		"sdk_hmac_sha256": len(v.SDK), "v1_auth_token": len(v.V1Tokens), "v1_body_sign": len(v.V1BodySign),
		"v1_encryption": len(v.V1Encryption), "device_fingerprint": len(v.Devices),
	} {
		if n == 0 {
			tb.Fatalf("vectors.json lacks %s", name)
		}
	}
	return v
}

func millis(tb testing.TB, s string) time.Time {
	tb.Helper()
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return time.UnixMilli(ms)
}

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func (v callbackVector) query(signature string) url.Values {
	q := url.Values{"signature": {signature}}
	if v.Timestamp != nil {
		q.Set("timestamp", *v.Timestamp)
	}
	if v.Nonce != nil {
		q.Set("nonce", *v.Nonce)
	}
	return q
}

// wantCode fails unless err is a ResultError with that code and reason.
func wantCode(tb testing.TB, err error, code koogallery.ResultCode, reason error) {
	tb.Helper()
	var re *koogallery.ResultError
	if !errors.As(err, &re) {
		tb.Fatalf("got error %v, want result %s", err, code)
	}
	if re.Code != code || reason != nil && !errors.Is(err, reason) {
		tb.Fatalf("got %v, want %s because of %v", err, code, reason)
	}
}

func TestVectorsCallbackPost(t *testing.T) {
	for _, v := range vectors(t).CallbackPost {
		t.Run(v.ID, func(t *testing.T) {
			key := koogallery.NewAccessKey(v.AccessKey)
			forms := []struct {
				form    koogallery.PayloadForm
				sig     *signatures
				payload []byte
			}{{koogallery.PayloadRaw, v.Raw, v.Body}, {koogallery.PayloadCanonical, v.Canonical, nil}}

			canonical, err := koogallery.CanonicalPayload(v.Body)
			if (err == nil) != (v.CanonicalBody != nil) {
				t.Fatalf("CanonicalPayload: %q, %v", canonical, err)
			}
			if v.CanonicalBody != nil {
				if diff := cmp.Diff(*v.CanonicalBody, string(canonical)); diff != "" {
					t.Fatalf("canonical form (-want +got):\n%s", diff)
				}
				forms[1].payload = canonical
			}
			for _, f := range forms {
				if f.sig == nil {
					continue
				}
				if got := koogallery.SignCallback(key, *v.Nonce, *v.Timestamp, f.payload); got != f.sig.Signature {
					t.Errorf("SignCallback %v: got %s, want %s", f.form, got, f.sig.Signature)
				}
				for _, sig := range []string{f.sig.Signature, f.sig.SignatureUpper} {
					verifier := koogallery.Verifier{
						Keys: []koogallery.AccessKey{koogallery.NewAccessKey("another"), key},
						Now:  at(millis(t, *v.Timestamp)),
					}
					cb, err := verifier.Verify(v.query(sig), v.Body)
					if err != nil {
						t.Fatalf("Verify %v: %v", f.form, err)
					}
					want := f.form
					if v.Canonical != nil && v.Raw.Signature == v.Canonical.Signature {
						want = koogallery.PayloadRaw
					}
					if cb.KeyIndex != 1 || cb.Form != want || !cb.Time.Equal(millis(t, *v.Timestamp)) {
						t.Errorf("Verify: key %d, form %v, time %v", cb.KeyIndex, cb.Form, cb.Time)
					}
				}
			}
		})
	}
}

func TestVectorsCallbackCases(t *testing.T) {
	for _, v := range vectors(t).CallbackCases {
		t.Run(v.ID, func(t *testing.T) {
			verifier := koogallery.Verifier{
				Keys: []koogallery.AccessKey{koogallery.NewAccessKey(v.AccessKey)},
				Now:  at(time.UnixMilli(1735689600123)),
			}
			q := v.query("")
			if v.Signature == nil {
				q.Del("signature")
			} else {
				q.Set("signature", *v.Signature)
			}
			_, err := verifier.Verify(q, v.Body)
			if got := koogallery.ResultOf(err).Code; string(got) != v.ResultCode {
				t.Errorf("got %s (%v), want %s", got, err, v.ResultCode)
			}
			if (err == nil) != (v.Expect == "accept") {
				t.Errorf("got %v, want %s", err, v.Expect)
			}
		})
	}
}

func TestVectorsTimestampWindow(t *testing.T) {
	w := vectors(t).CallbackWindow
	key := koogallery.NewAccessKey("k")
	body := []byte(`{}`)
	query := koogallery.SignedQuery(key, "n", millis(t, w.TimestampMS), body)
	for _, c := range w.Cases {
		t.Run(c.NowMS, func(t *testing.T) {
			verifier := koogallery.Verifier{Keys: []koogallery.AccessKey{key}, Now: at(millis(t, c.NowMS))}
			_, err := verifier.Verify(query, body)
			if c.OK {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantCode(t, err, koogallery.ResultInvalidParam, koogallery.ErrOutsideWindow)
		})
	}
}

func TestVectorsSDK(t *testing.T) {
	for _, v := range vectors(t).SDK {
		t.Run(v.ID, func(t *testing.T) {
			if sum := sha256.Sum256([]byte(v.CanonicalRequest)); fmt.Sprintf("%x", sum) != v.CanonicalSHA256 {
				t.Fatal("vector is inconsistent")
			}
			body, err := base64.StdEncoding.DecodeString(v.BodyBase64)
			if err != nil {
				t.Fatal(err)
			}
			query := url.Values{}
			for _, p := range v.Query {
				query.Add(p[0], p[1])
			}
			u := url.URL{Scheme: "https", Host: v.Host, Path: v.Path, RawQuery: query.Encode()}
			req, err := http.NewRequestWithContext(t.Context(), v.Method, u.String(), strings.NewReader(string(body)))
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range v.SignedHeaders {
				if name != "host" && name != "x-sdk-date" {
					req.Header.Set(name, value)
				}
			}
			date, err := time.Parse("20060102T150405Z", v.XSdkDate)
			if err != nil {
				t.Fatal(err)
			}
			key := koogallery.NewSecretKey(v.SecretAccessKey)
			if err := koogallery.SignRequest(req, body, v.AccessKeyID, key, date); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(v.Authorization, req.Header.Get("Authorization")); diff != "" {
				t.Errorf("Authorization (-want +got):\n%s", diff)
			}
			if got := req.Header.Get("X-Sdk-Date"); got != v.XSdkDate {
				t.Errorf("X-Sdk-Date: got %s, want %s", got, v.XSdkDate)
			}
		})
	}
}
