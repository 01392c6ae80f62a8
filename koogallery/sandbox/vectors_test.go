package sandbox_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

type vectors struct {
	CallbackPost []struct {
		ID        string `json:"id"`
		AccessKey string `json:"access_key"`
		Timestamp string `json:"timestamp"`
		Nonce     string `json:"nonce"`
		Body      string `json:"body_base64"`
		Raw       struct {
			Signature string `json:"signature"`
		} `json:"raw"`
	} `json:"callback_post"`
	V1AuthToken []struct {
		ID        string            `json:"id"`
		AccessKey string            `json:"access_key"`
		Params    map[string]string `json:"params"`
		AuthToken string            `json:"auth_token"`
	} `json:"v1_auth_token"`
	SDK []struct {
		ID        string            `json:"id"`
		Method    string            `json:"method"`
		Host      string            `json:"host"`
		Path      string            `json:"path"`
		Query     [][2]string       `json:"query"`
		Signed    map[string]string `json:"signed_headers"`
		Body      string            `json:"body_base64"`
		AK        string            `json:"access_key_id"`
		SK        string            `json:"secret_access_key"`
		Date      string            `json:"x_sdk_date"`
		Authorize string            `json:"authorization"`
	} `json:"sdk_hmac_sha256"`
	V1BodySign []struct {
		ID        string `json:"id"`
		AccessKey string `json:"access_key"`
		Body      string `json:"body_base64"`
		Header    string `json:"header"`
	} `json:"v1_body_sign"`
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	data, err := os.ReadFile("../testdata/vectors.json")
	must(t, err)
	var v vectors
	must(t, json.Unmarshal(data, &v))
	return v
}

// What the sandbox sends is the published bytes, wherever the body is one that
// it would send: flat, compact and sorted.
func TestCallbackVectors(t *testing.T) {
	compared := 0
	for _, v := range readVectors(t).CallbackPost {
		body, err := base64.StdEncoding.DecodeString(v.Body)
		must(t, err)
		var fields map[string]string
		canonical, err := koogallery.CanonicalPayload(body)
		if err != nil || string(canonical) != string(body) || json.Unmarshal(body, &fields) != nil {
			continue
		}
		millis, err := strconv.ParseInt(v.Timestamp, 10, 64)
		must(t, err)
		req, err := sandbox.SignedCall(koogallery.NewAccessKey(v.AccessKey), v.Nonce, time.UnixMilli(millis), false, fields)
		must(t, err)
		sent, err := io.ReadAll(req.Body)
		must(t, err)
		q := req.URL.Query()
		if string(sent) != string(body) || !strings.EqualFold(q.Get("signature"), v.Raw.Signature) ||
			q.Get("timestamp") != v.Timestamp || q.Get("nonce") != v.Nonce || req.Method != http.MethodPost {
			t.Errorf("%s: sent %s with %v", v.ID, sent, q)
		}
		compared++
	}
	if compared < 10 {
		t.Errorf("only %d vectors could be compared", compared)
	}
}

func TestV1TokenVectors(t *testing.T) {
	compared := 0
	for _, v := range readVectors(t).V1AuthToken {
		at, err := time.Parse("20060102150405.000", v.Params["timeStamp"][:14]+"."+v.Params["timeStamp"][14:])
		if err != nil {
			continue // one is printed with a single digit of milliseconds
		}
		fields := map[string]string{}
		for name, value := range v.Params {
			if name != "timeStamp" {
				fields[name] = value
			}
		}
		req, err := sandbox.SignedCall(koogallery.NewAccessKey(v.AccessKey), "", at, true, fields)
		must(t, err)
		want := url.Values{"authToken": {v.AuthToken}}
		for name, value := range v.Params {
			want.Set(name, value)
		}
		if req.URL.Query().Encode() != want.Encode() || req.Method != http.MethodGet {
			t.Errorf("%s: sent %v", v.ID, req.URL.Query())
		}
		compared++
	}
	if compared < 3 {
		t.Errorf("only %d vectors could be compared", compared)
	}
}

func TestBodySignVectors(t *testing.T) {
	for _, v := range readVectors(t).V1BodySign {
		body, err := base64.StdEncoding.DecodeString(v.Body)
		must(t, err)
		key := koogallery.NewAccessKey(v.AccessKey)
		for header, want := range map[string]bool{
			v.Header:                              true,
			strings.ReplaceAll(v.Header, " ", ""): true,
			strings.Replace(v.Header, "sign_type", "type", 1): false,
			strings.TrimSuffix(v.Header, `"`):                 false,
			`sign_type="HMAC-SHA256", signature= "!"`:         false,
			"": false,
		} {
			if got := sandbox.BodySigned(key, header, body); got != want {
				t.Errorf("%s: %q is %v", v.ID, header, got)
			}
		}
		if sandbox.BodySigned(key, v.Header, append(body, ' ')) {
			t.Errorf("%s: a longer body passes", v.ID)
		}
	}
}

// The gateway takes the published signatures, and none that is one digit off.
func TestSDKVectors(t *testing.T) {
	for _, v := range readVectors(t).SDK {
		at, err := time.Parse("20060102T150405Z", v.Date)
		must(t, err)
		m := newSandbox(t, sandbox.Options{
			AccessKeyID: v.AK, SecretAccessKey: koogallery.NewSecretKey(v.SK), Now: func() time.Time { return at },
		})
		send := func(authorization string) int {
			body, err := base64.StdEncoding.DecodeString(v.Body)
			must(t, err)
			query := url.Values{}
			for _, pair := range v.Query {
				query.Add(pair[0], pair[1])
			}
			u := url.URL{Scheme: "https", Host: v.Host, Path: v.Path, RawQuery: query.Encode()}
			req, err := http.NewRequestWithContext(t.Context(), v.Method, u.String(), strings.NewReader(string(body)))
			must(t, err)
			for name, value := range v.Signed {
				req.Header.Set(name, value)
			}
			req.Header.Set("Authorization", authorization)
			resp, err := (&http.Client{Transport: m.Transport()}).Do(req)
			must(t, err)
			defer resp.Body.Close()
			return resp.StatusCode
		}
		if got := send(v.Authorize); got == http.StatusUnauthorized || got == http.StatusNotFound {
			t.Errorf("%s: %d", v.ID, got)
		}
		other := "0"
		if strings.HasSuffix(v.Authorize, other) {
			other = "1"
		}
		if got := send(v.Authorize[:len(v.Authorize)-1] + other); got != http.StatusUnauthorized {
			t.Errorf("%s: another signature is answered %d", v.ID, got)
		}
	}
}
