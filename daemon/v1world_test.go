package daemon_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
)

const configV1 = `
issuer: http://licence.test
public: {listen: "127.0.0.1:0"}
ops: {listen: ""}
limits: {requests_per_minute: 0}
products:
  - {id: cad, marketplace_products: [OFFI461867333479178240, OFFI1], machines: amount, binding: none}
  - {id: cam, marketplace_products: [p1], machines: 1}
marketplaces:
  - {name: koogallery, license_v1: true, access_key_files: [old-key, access-key]}
  - {name: second, license_v1: true, access_key_files: [other-key]}
  - {name: newer, access_key_files: [access-key]}
`

// clockV1 is a clock that the daemon and the test share.
type clockV1 struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clockV1) get() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clockV1) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// logV1 takes what the daemon logs.
type logV1 struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logV1) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logV1) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// retired is a merchant of licence 1.0, in the minute of the vectors.
type retired struct {
	*merchant
	key   koogallery.AccessKey
	clock *clockV1
	log   *logV1
}

func startV1(t *testing.T) *retired {
	t.Helper()
	v := vectorsV1(t)
	r := &retired{
		key: koogallery.NewAccessKey(v.Tokens[0].AccessKey), clock: &clockV1{now: time.Date(2025, 1, 1, 8, 0, 30, 0, time.UTC)}, log: &logV1{},
	}
	files := map[string]string{"access-key": r.key.Reveal() + "\n", "old-key": "the key before", "other-key": "the key of another"}
	r.merchant = start(t, configV1, files, func(o *daemon.Options) {
		o.Now, o.Logger = r.clock.get, slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	return r
}

type vectorFileV1 struct {
	Tokens []struct {
		ID        string            `json:"id"`
		AccessKey string            `json:"access_key"`
		Params    map[string]string `json:"params"`
		URL       string            `json:"url"`
		AuthToken string            `json:"auth_token"`
	} `json:"v1_auth_token"`
	Bodies []struct {
		ID     string `json:"id"`
		Body   []byte `json:"body_base64"`
		Header string `json:"header"`
	} `json:"v1_body_sign"`
	Encryption []struct {
		Plain string `json:"plain"`
		Value string `json:"value"`
	} `json:"v1_encryption"`
}

func vectorsV1(t *testing.T) (v vectorFileV1) {
	t.Helper()
	data, err := os.ReadFile("../koogallery/testdata/vectors.json")
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil || len(v.Tokens) == 0 || len(v.Bodies) == 0 || len(v.Encryption) == 0 {
		t.Fatalf("%v: %+v", err, v)
	}
	return v
}

type answerV1 struct {
	Code     string `json:"resultCode"`
	Msg      string `json:"resultMsg"`
	License  string `json:"license"`
	Instance string `json:"instanceId"`
}

// get sends a call as it is, and checks the signature over the very bytes of the
// answer, under the key that is given.
func (r *retired) get(entry, query, key string) answerV1 {
	r.t.Helper()
	rs, body := r.do(http.MethodGet, "/marketplace/"+entry+"?"+query, "", "")
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(body))
	want := `sign_type="HMAC-SHA256", signature= "` + base64.StdEncoding.EncodeToString(mac.Sum(nil)) + `"`
	if got := rs.Header.Get("Body-Sign"); got != want {
		r.t.Errorf("%s\nis signed as %q, want %q", body, got, want)
	}
	var a answerV1
	if err := json.Unmarshal([]byte(body), &a); err != nil || rs.StatusCode != http.StatusOK || rs.Header.Get("Content-Type") != "application/json" || a.Msg == "" {
		r.t.Fatalf("%v: HTTP %d, %v: %s", err, rs.StatusCode, rs.Header, body)
	}
	return a
}

// signed is a call of now, from name, value, name, value, …. A second value of a
// name takes the place of the first.
func (r *retired) signed(key koogallery.AccessKey, pairs ...string) url.Values {
	q := url.Values{"timeStamp": {r.clock.get().Format("20060102150405") + "123"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	q.Set("authToken", koogallery.V1AuthToken(key, q))
	return q
}

func (r *retired) call(code string, pairs ...string) answerV1 {
	r.t.Helper()
	r.clock.pass(time.Second)
	a := r.get("koogallery", r.signed(r.key, pairs...).Encode(), r.key.Reveal())
	if a.Code != code {
		r.t.Errorf("%v: %+v, want %s", pairs, a, code)
	}
	return a
}

// purchase are the parameters of a purchase, and more.
func purchase(more ...string) []string {
	return append([]string{
		"activity", "getLicense", "customerId", "c-4711", "customerName", "ACME", "businessId", "business-1", "orderId", "CS1",
		"productId", "OFFI1", "expireTime", "20260101080000", "periodType", "year", "amount", "3",
	}, more...)
}

func (r *retired) licences() []adminwire.License {
	r.t.Helper()
	var all adminwire.LicenseList
	if err := r.admin(http.MethodGet, adminwire.PathLicenses, nil, &all); err != nil {
		r.t.Fatal(err)
	}
	return all.Licenses
}

func (r *retired) show(instance string) adminwire.License {
	r.t.Helper()
	for _, l := range r.licences() {
		if l.Instance == instance {
			return l
		}
	}
	r.t.Fatalf("no licence of %s", instance)
	return adminwire.License{}
}

func (r *retired) audit() []adminwire.Event {
	r.t.Helper()
	var all adminwire.EventList
	if err := r.admin(http.MethodGet, adminwire.PathEvents, nil, &all); err != nil {
		r.t.Fatal(err)
	}
	return ofOthers(all.Events)
}

// ofOthers leaves out what the daemon itself writes, by the clock or when it stops.
func ofOthers(events []adminwire.Event) []adminwire.Event {
	return slices.DeleteFunc(events, func(e adminwire.Event) bool { return e.Actor.Kind == license.ActorSystem })
}

// verify verifies a licence as a product does that has the anchors compiled in.
func (r *retired) verify(product, text string) *client.License {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, "licensed-data/keys/anchors.json"))
	if err != nil {
		r.t.Fatal(err)
	}
	anchors, err := client.ParseAnchors(data)
	if err != nil {
		r.t.Fatal(err)
	}
	v := client.Verifier{Anchors: anchors, Product: product, Issuer: "http://licence.test"}
	l, err := v.Verify([]byte(text))
	if err != nil {
		r.t.Fatalf("%v\n%s", err, text)
	}
	return l
}
