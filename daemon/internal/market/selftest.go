package market

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// selfTestTimeout bounds one call of a self-test. How long the marketplace waits
// is not documented.
const selfTestTimeout = 10 * time.Second

// selfTestWhole bounds a self-test: whoever asked for it waits.
const selfTestWhole = 45 * time.Second

// Route is the way of a self-test to the daemon's own public listener.
type Route struct {
	URL  string // of the entry's production address, as the marketplace has it
	Dial string // host:port that is connected to, whatever the URL names; "" is what it names
	// Roots that a certificate is verified by; nil means those of the system. It is
	// verified for the host of URL, always.
	Roots *x509.CertPool
}

// Tested is one debug call of a self-test.
type Tested struct {
	Method   string
	Activity koogallery.Activity
	Key      int // index of the access key that has signed
	Status   int // of HTTP; 0 where there was no answer
	Result   koogallery.ResultCode
	Took     time.Duration
	Failure  string // why the marketplace would not count it as a success; "" where it would
	Lost     bool   // there was no connection, so that nothing else can be tested
}

// TestedTLS is what a caller sees of the listener's certificate.
type TestedTLS struct {
	Version  string
	Names    []string
	NotAfter time.Time
}

// SelfTest sends a signed debug call of each activity that the entry takes, and
// one more for each further access key, over a connection as the marketplace
// makes it. Debug calls change nothing. It ends at the first call that finds no
// connection, and after 45 s.
func SelfTest(ctx context.Context, o Options, r Route) (calls []Tested, seen *TestedTLS, err error) {
	now := o.Now
	if now == nil {
		now = time.Now //nolint:forbidigo // the one default of Now
	}
	target, err := url.Parse(r.URL)
	if err != nil {
		return nil, nil, fmt.Errorf("the address of the self-test: %w", err)
	}
	t := &selfTest{Options: o, url: target, now: now}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: r.Roots, Time: now},
		DialContext: func(ctx context.Context, network, named string) (net.Conn, error) {
			return (&net.Dialer{Timeout: selfTestTimeout}).DialContext(ctx, network, cmp.Or(r.Dial, named))
		},
		TLSHandshakeTimeout: selfTestTimeout, MaxResponseHeaderBytes: 64 << 10,
	}
	defer transport.CloseIdleConnections()
	t.client = &http.Client{
		Transport: transport, Timeout: selfTestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	within, cancel := context.WithTimeout(ctx, selfTestWhole)
	defer cancel()
	for _, c := range t.cases() {
		got := t.try(within, c)
		if within.Err() != nil && ctx.Err() == nil {
			got.Failure, got.Lost = fmt.Sprintf("the self-test has taken %s and was ended", selfTestWhole), true
		}
		if calls = append(calls, got); got.Lost {
			break
		}
	}
	return calls, t.seen, ctx.Err()
}

type selfTest struct {
	Options
	url    *url.URL
	client *http.Client
	now    func() time.Time
	seen   *TestedTLS
}

// selfCase is one call.
type selfCase struct {
	activity koogallery.Activity
	fields   map[string]string
	key      int
	v1       bool
}

func (t *selfTest) cases() (out []selfCase) {
	for _, a := range activities(t.Desk) {
		out = append(out, selfCase{activity: a, fields: debugFields(a, t.now())})
	}
	for k := 1; k < len(t.AccessKeys); k++ {
		a := koogallery.ActivityReleaseLicenseCode
		out = append(out, selfCase{activity: a, fields: debugFields(a, t.now()), key: k})
	}
	if !t.V1 {
		return out
	}
	for _, a := range []koogallery.Activity{
		koogallery.ActivityV1GetLicense, koogallery.ActivityV1RefreshLicense, koogallery.ActivityV1ExpireLicense, koogallery.ActivityV1ReleaseLicense,
	} {
		out = append(out, selfCase{activity: a, fields: debugFields(a, t.now()), v1: true})
	}
	return out
}

// debugFields are those of a debug call as it is typed in a console.
func debugFields(a koogallery.Activity, now time.Time) map[string]string {
	const (
		test    = "test"
		compact = "20060102150405"
	)
	f := map[string]string{"activity": string(a), "testFlag": "1"}
	set := func(pairs ...string) map[string]string {
		for i := 0; i+1 < len(pairs); i += 2 {
			f[pairs[i]] = pairs[i+1]
		}
		return f
	}
	later := now.AddDate(1, 0, 0).UTC()
	switch a {
	case koogallery.ActivityRefreshLicenseCode:
		return set("license", test, "scene", "RENEWAL", "orderId", test, "orderLineId", test, "expireTime", later.Format(compact))
	case koogallery.ActivityUpdateLicenseCodeStatus:
		return set("license", test, "status", "FREEZE")
	case koogallery.ActivityReleaseLicenseCode:
		return set("license", test)
	case koogallery.ActivityNewInstance:
		return set("orderId", test, "orderLineId", test, "businessId", test)
	case koogallery.ActivityRefreshInstance:
		return set("instanceId", test, "scene", "RENEWAL", "orderId", test, "orderLineId", test, "expireTime", later.Format(compact))
	case koogallery.ActivityUpdateInstanceStatus:
		return set("instanceId", test, "status", "FREEZE")
	case koogallery.ActivityReleaseInstance:
		return set("instanceId", test)
	case koogallery.ActivityGetLicenseAsync:
		return set("instanceId", test, "eventId", test, "deviceFingerprint", test,
			"effectiveTime", now.UTC().Format(compact), "expireTime", later.Format(compact))
	case koogallery.ActivityOrderNotify:
		return set("orderId", test, "orderLineId", test)
	case koogallery.ActivityV1GetLicense:
		return set("customerId", test, "businessId", test, "orderId", test, "productId", test)
	case koogallery.ActivityV1RefreshLicense:
		return set("orderId", test, "instanceId", test, "expireTime", later.Format(compact))
	case koogallery.ActivityV1ExpireLicense, koogallery.ActivityV1ReleaseLicense:
		return set("orderId", test, "instanceId", test)
	}
	return f
}

// request signs a call.
func (t *selfTest) request(ctx context.Context, c selfCase, key koogallery.AccessKey) (*http.Request, error) {
	u := *t.url
	if c.v1 {
		q := url.Values{"timeStamp": {t.now().UTC().Format("20060102150405000")}}
		for name, value := range c.fields {
			q.Set(name, value)
		}
		q.Set("authToken", koogallery.V1AuthToken(key, q))
		u.RawQuery = q.Encode()
		return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	}
	body, err := json.Marshal(c.fields)
	if err != nil {
		return nil, err
	}
	u.RawQuery = koogallery.SignedQuery(key, rand.Text(), t.now(), body).Encode()
	rq, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err == nil {
		rq.Header.Set("Content-Type", "application/json;charset=utf-8")
	}
	return rq, err
}

// try makes one call and reads its answer as the marketplace would.
func (t *selfTest) try(ctx context.Context, c selfCase) Tested {
	out := Tested{Activity: c.activity, Key: c.key, Method: http.MethodPost}
	key := koogallery.NewAccessKey(t.AccessKeys[c.key])
	rq, err := t.request(ctx, c, key)
	if err != nil {
		out.Failure, out.Lost = err.Error(), true
		return out
	}
	out.Method = rq.Method
	rq.Header.Set(selfTestHeader, t.SelfTest)
	begun := time.Now() //nolint:forbidigo // how long it takes, by the clock that nobody sets
	rs, err := t.client.Do(rq)
	if err != nil {
		out.Failure, out.Lost = connectionText(err, t.url.Hostname()), true
		return out
	}
	defer rs.Body.Close()
	body, err := io.ReadAll(io.LimitReader(rs.Body, 64<<10))
	out.Took, out.Status = time.Since(begun), rs.StatusCode //nolint:forbidigo // the same clock
	t.look(rs.TLS)
	if err != nil {
		out.Failure = "the answer breaks off"
		return out
	}
	var answer struct {
		Code     koogallery.ResultCode `json:"resultCode"`
		Text     string                `json:"resultMsg"`
		Instance string                `json:"instanceId"`
		License  string                `json:"license"`
	}
	readable := json.Unmarshal(body, &answer) == nil && answer.Code != ""
	out.Result = answer.Code
	switch {
	case rs.StatusCode != http.StatusOK:
		out.Failure = fmt.Sprintf("the answer is HTTP %d", rs.StatusCode)
	case !readable:
		out.Failure = "the answer is no JSON with a resultCode; does something else listen here?"
	case answer.Code != koogallery.ResultOK:
		out.Failure = fmt.Sprintf("it is refused with %s %.100s", answer.Code, answer.Text)
	case c.activity == koogallery.ActivityNewInstance && answer.Instance == "",
		c.activity == koogallery.ActivityV1GetLicense && (answer.Instance == "" || answer.License == ""):
		out.Failure = "the answer lacks an instance or a licence"
	case c.v1 && rs.Header.Get("Body-Sign") != koogallery.BodySign(key, body):
		out.Failure = "the answer is not signed as it should be (Body-Sign)"
	}
	return out
}

func (t *selfTest) look(state *tls.ConnectionState) {
	if state == nil || t.seen != nil || len(state.PeerCertificates) == 0 {
		return
	}
	leaf := state.PeerCertificates[0]
	t.seen = &TestedTLS{Version: tls.VersionName(state.Version), Names: leaf.DNSNames, NotAfter: leaf.NotAfter.UTC()}
}

// connectionText says why there is no connection, without the signed address.
func connectionText(err error, host string) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var plain tls.RecordHeaderError
	var timeout net.Error
	switch {
	case errors.As(err, &unknown):
		return "the certificate is signed by nobody that this machine trusts; the marketplace wants one of a public authority, with all intermediate ones"
	case errors.As(err, &name):
		return fmt.Sprintf("the certificate is not for %s", host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate has run out, or is not valid yet"
	case errors.As(err, &invalid):
		return "the certificate is not valid: " + invalid.Error()
	case errors.As(err, &plain), errors.Is(err, http.ErrSchemeMismatch):
		return "the listener does not speak TLS"
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("there is no answer within %s", selfTestTimeout)
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return "there is no connection: " + strings.ReplaceAll(err.Error(), "\n", " ")
}
