package koogallery_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
)

var (
	testKey  = koogallery.NewAccessKey("9c1f2d4e-TEST-KEY")
	testNow  = time.UnixMilli(1735689600123)
	testBody = []byte(`{"activity":"releaseLicenseCode","license":"PL20250101000000000001"}`)
)

func newVerifier() *koogallery.Verifier {
	return &koogallery.Verifier{Keys: []koogallery.AccessKey{testKey}, Now: at(testNow)}
}

func signed(nonce string) url.Values {
	return koogallery.SignedQuery(testKey, nonce, testNow, testBody)
}

func with(q url.Values, name string, values ...string) url.Values {
	q[name] = values
	return q
}

func TestVerifyChecks(t *testing.T) {
	const (
		auth  = koogallery.ResultAuthFailed
		param = koogallery.ResultInvalidParam
	)
	long := strings.Repeat("n", koogallery.MaxNonce)
	tests := []struct {
		name   string
		query  url.Values
		code   koogallery.ResultCode
		reason error
	}{
		{"longest nonce", signed(long), "", nil},
		{"other parameters", with(signed("n"), "extra", "1", "2"), "", nil},
		{"nothing", url.Values{}, param, koogallery.ErrTimestamp},
		{"timestamp empty", with(signed("n"), "timestamp", ""), param, koogallery.ErrTimestamp},
		{"timestamp twice", with(signed("n"), "timestamp", "1735689600123", "1735689600123"), param, koogallery.ErrRepeated},
		{"timestamp in seconds", with(signed("n"), "timestamp", "1735689600"), param, koogallery.ErrTimestamp},
		{"timestamp with sign", with(signed("n"), "timestamp", "+735689600123"), param, koogallery.ErrTimestamp},
		{"timestamp with blank", with(signed("n"), "timestamp", "1735689600123 "), param, koogallery.ErrTimestamp},
		{"timestamp in other digits", with(signed("n"), "timestamp", "١٧٣٥٦٨٩٦٠٠١٢٣"), param, koogallery.ErrTimestamp},
		{"timestamp before all else", url.Values{"timestamp": {"1"}, "nonce": {""}}, param, koogallery.ErrTimestamp},
		{"window before nonce", url.Values{"timestamp": {"1735689700124"}}, param, koogallery.ErrOutsideWindow},
		{"nonce absent", url.Values{"timestamp": {"1735689600123"}}, param, koogallery.ErrNonce},
		{"nonce twice", with(signed("n"), "nonce", "n", "n"), param, koogallery.ErrRepeated},
		{"nonce too long", signed(long + "n"), param, koogallery.ErrNonce},
		{"signature absent", url.Values{"timestamp": {"1735689600123"}, "nonce": {"n"}}, auth, koogallery.ErrSignatureMissing},
		{"signature empty", with(signed("n"), "signature", ""), auth, koogallery.ErrSignatureMissing},
		{"signature twice", with(signed("n"), "signature", "00", "00"), param, koogallery.ErrRepeated},
		{"signature short", with(signed("n"), "signature", "00"), auth, koogallery.ErrSignature},
		{"signature not hex", with(signed("n"), "signature", strings.Repeat("g", 64)), auth, koogallery.ErrSignature},
		{"nonce of another", with(signed("n"), "nonce", "m"), auth, koogallery.ErrSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newVerifier().Verify(tt.query, testBody)
			if tt.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantCode(t, err, tt.code, tt.reason)
		})
	}
}

func TestVerifyBodyLimit(t *testing.T) {
	for _, extra := range []int{0, 1} {
		body := []byte(`{"a":"` + strings.Repeat("x", koogallery.MaxBody-8+extra) + `"}`)
		_, err := newVerifier().Verify(koogallery.SignedQuery(testKey, "n", testNow, body), body)
		if extra == 0 {
			if err != nil {
				t.Errorf("%d bytes: %v", len(body), err)
			}
			continue
		}
		wantCode(t, err, koogallery.ResultInvalidParam, koogallery.ErrPayload)
	}
}

func TestVerifyKeys(t *testing.T) {
	old, empty := koogallery.NewAccessKey("old"), koogallery.AccessKey{}
	for _, tt := range []struct {
		name   string
		keys   []koogallery.AccessKey
		signer koogallery.AccessKey
		index  int // -1: refused
	}{
		{"first", []koogallery.AccessKey{testKey, old}, testKey, 0},
		{"second", []koogallery.AccessKey{testKey, old}, old, 1},
		{"same twice", []koogallery.AccessKey{old, testKey, testKey}, testKey, 1},
		{"none configured", nil, testKey, -1},
		{"empty key", []koogallery.AccessKey{empty}, empty, -1},
		{"empty among others", []koogallery.AccessKey{empty, testKey}, testKey, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &koogallery.Verifier{Keys: tt.keys, Now: at(testNow)}
			cb, err := v.Verify(koogallery.SignedQuery(tt.signer, "n", testNow, testBody), testBody)
			if tt.index < 0 {
				wantCode(t, err, koogallery.ResultAuthFailed, koogallery.ErrSignature)
				return
			}
			if err != nil || cb.KeyIndex != tt.index {
				t.Fatalf("got key %d, %v; want %d", cb.KeyIndex, err, tt.index)
			}
		})
	}
}

func TestVerifyReplay(t *testing.T) {
	v := newVerifier()
	replay := func(q url.Values, body []byte) {
		t.Helper()
		_, err := v.Verify(q, body)
		wantCode(t, err, koogallery.ResultAuthFailed, koogallery.ErrReplayed)
	}
	first, err := v.Verify(signed("abc"), testBody)
	if err != nil {
		t.Fatal(err)
	}
	replay(signed("abc"), testBody)
	upper := signed("abc")
	replay(with(upper, "signature", strings.ToUpper(upper.Get("signature"))), testBody)
	// The canonical reading lets a copy change its blanks; the signature stays.
	replay(signed("abc"), append([]byte(" "), testBody...))
	// Another genuine call must not use the nonce again.
	replay(koogallery.SignedQuery(testKey, "abc", testNow.Add(time.Second), testBody), testBody)

	other := signed("abd")
	if _, err := v.Verify(with(other, "signature", strings.Repeat("0", 64)), testBody); err == nil {
		t.Fatal("accepted a wrong signature")
	}
	second, err := v.Verify(signed("abd"), testBody)
	if err != nil {
		t.Fatalf("a forgery used up the nonce of a genuine call: %v", err)
	}
	if first.Replay == second.Replay || !first.Replay.Time.Equal(testNow) {
		t.Errorf("replay identities %v, %v", first.Replay, second.Replay)
	}
}

// TestReplayIdentityStable pins the identity: it is stored by callers.
func TestReplayIdentityStable(t *testing.T) {
	v := &koogallery.Verifier{
		Keys: []koogallery.AccessKey{koogallery.NewAccessKey("x"), testKey}, Now: at(testNow),
		Replay: koogallery.NoReplayCache{},
	}
	var got koogallery.ReplayID
	for range 2 { // NoReplayCache lets the copy pass
		cb, err := v.Verify(signed("abc"), testBody)
		if err != nil {
			t.Fatal(err)
		}
		got = cb.Replay
	}
	s := fmt.Sprintf("%x %x", got.Signature, got.Nonce)
	if want := "0cb000b90cdef31d3e2064eb5cf78648 cfee63edc6194db472507c417b3facbb"; s != want {
		t.Errorf("got %s, want %s", s, want)
	}
}

func TestVerifyReplayConcurrent(t *testing.T) {
	v := newVerifier()
	query := signed("abc")
	var wg sync.WaitGroup
	results := make(chan error, 16)
	for range cap(results) {
		wg.Go(func() {
			_, err := v.Verify(query, testBody)
			results <- err
		})
	}
	wg.Wait()
	close(results)
	accepted := 0
	for err := range results {
		if err == nil {
			accepted++
		} else if !errors.Is(err, koogallery.ErrReplayed) {
			t.Error(err)
		}
	}
	if accepted != 1 {
		t.Errorf("%d of %d copies accepted", accepted, cap(results))
	}
}

func TestVerifyRemembersAsLongAsItAccepts(t *testing.T) {
	for _, window := range []time.Duration{0, 5 * time.Minute} {
		var cache koogallery.MemoryReplayCache
		now := testNow
		v := &koogallery.Verifier{
			Keys: []koogallery.AccessKey{testKey}, Window: window, Replay: &cache,
			Now: func() time.Time { return now },
		}
		w := window
		if w == 0 {
			w = koogallery.DefaultWindow
		}
		ahead := koogallery.SignedQuery(testKey, "n", testNow.Add(w), testBody)
		if _, err := v.Verify(ahead, testBody); err != nil {
			t.Fatal(err)
		}
		now = testNow.Add(2*w - time.Millisecond)
		_, err := v.Verify(ahead, testBody)
		wantCode(t, err, koogallery.ResultAuthFailed, koogallery.ErrReplayed)
		now = testNow.Add(2*w + time.Millisecond)
		_, err = v.Verify(ahead, testBody)
		wantCode(t, err, koogallery.ResultInvalidParam, koogallery.ErrOutsideWindow)
	}
}

func TestMemoryReplayCache(t *testing.T) {
	id := func(n byte) koogallery.ReplayID {
		return koogallery.ReplayID{Signature: [16]byte{n}, Nonce: [16]byte{n, 1}}
	}
	c := koogallery.MemoryReplayCache{MaxEntries: 3}
	add := func(n byte, at time.Duration, want bool) {
		t.Helper()
		now := testNow.Add(at)
		if got := c.Add(id(n), now, now.Add(time.Minute)); got != want {
			t.Errorf("Add %d at %v: got %v, want %v", n, at, got, want)
		}
	}
	add(1, 0, true)
	add(1, 30*time.Second, false)
	add(2, 30*time.Second, true)
	add(1, time.Minute, true) // the first one's end; 2 is the oldest now
	add(3, 61*time.Second, true)
	if c.Len() != 3 || c.Evicted() != 0 {
		t.Errorf("len %d, evicted %d", c.Len(), c.Evicted())
	}
	add(4, 62*time.Second, true) // 2 has to go
	add(2, 63*time.Second, true) // so 1 goes too
	add(3, 64*time.Second, false)
	add(4, 64*time.Second, false)
	add(2, 64*time.Second, false)
	if c.Len() != 3 || c.Evicted() != 2 {
		t.Errorf("len %d, evicted %d", c.Len(), c.Evicted())
	}
	add(9, time.Hour, true)
	if c.Len() != 1 {
		t.Errorf("len %d after all ended", c.Len())
	}
}

func TestMemoryReplayCacheGrowsAndShrinks(t *testing.T) {
	var c koogallery.MemoryReplayCache
	now := testNow
	for round := range 3 {
		for i := range 3000 {
			now = now.Add(time.Millisecond)
			id := koogallery.ReplayID{
				Signature: [16]byte{1, byte(round), byte(i), byte(i >> 8)},
				Nonce:     [16]byte{2, byte(round), byte(i), byte(i >> 8)},
			}
			if !c.Add(id, now, now.Add(time.Hour)) || c.Add(id, now, now.Add(time.Hour)) {
				t.Fatalf("round %d, call %d", round, i)
			}
		}
		if c.Len() != 3000 {
			t.Fatalf("len %d", c.Len())
		}
		now = now.Add(2 * time.Hour)
	}
}

func TestVerifyRequest(t *testing.T) {
	target := "/?" + signed("n").Encode()
	post := func(target string, r *http.Request) *http.Request {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		return r
	}
	r := httptest.NewRequest(http.MethodPost, target, bytes.NewReader(testBody))
	if _, err := newVerifier().VerifyRequest(r); err != nil {
		t.Fatal(err)
	}
	r = httptest.NewRequest(http.MethodPost, target, iotest.ErrReader(errors.New("broken")))
	_, err := newVerifier().VerifyRequest(r)
	wantCode(t, err, koogallery.ResultInvalidParam, koogallery.ErrPayload)

	r = httptest.NewRequest(http.MethodPost, target, strings.NewReader(strings.Repeat(" ", koogallery.MaxBody+1)))
	_, err = newVerifier().VerifyRequest(r)
	wantCode(t, err, koogallery.ResultInvalidParam, koogallery.ErrPayload)

	// url.Values of a lenient parser would drop the second nonce.
	r = post(target+"&nonce=%zz", httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(testBody)))
	_, err = newVerifier().VerifyRequest(r)
	wantCode(t, err, koogallery.ResultInvalidParam, nil)
	if strings.Contains(err.Error(), "zz") {
		t.Errorf("error quotes the query: %v", err)
	}
}

// TestSecretsDoNotPrint formats everything that holds a secret in every way.
func TestSecretsDoNotPrint(t *testing.T) {
	const plain = "PL-very-secret-0001"
	body := []byte(`{"activity":"releaseLicenseCode","license":"` + plain + `"}`)
	v := newVerifier()
	cb, err := v.Verify(koogallery.SignedQuery(testKey, "n", testNow, body), body)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := koogallery.ParseMessage(cb)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ hidden koogallery.Code }
	code := koogallery.NewCode(plain)
	opts := koogallery.ClientOptions{SecretAccessKey: koogallery.NewSecretKey(plain)}
	for _, x := range []any{
		code, &code,
		holder{code},
		[]koogallery.Code{code},
		koogallery.NewAccessKey(plain),
		koogallery.NewSecretKey(plain),
		koogallery.Verifier{Keys: []koogallery.AccessKey{koogallery.NewAccessKey(plain)}}.Keys, opts, cb, &cb, msg,
	} {
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "x", x)
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "x", x)
		text := fmt.Sprintf("%v %+v %#v %s %q %x", x, x, x, x, x, x) + log.String()
		if b, err := json.Marshal(x); err == nil {
			text += string(b)
		}
		if strings.Contains(text, plain) || strings.Contains(text, fmt.Sprintf("%x", plain)) {
			t.Errorf("%T shows its secret: %s", x, text)
		}
	}
	if got := msg.(koogallery.ReleaseLicenseCode).License.Reveal(); got != plain {
		t.Errorf("Reveal: %q", got)
	}
	if diff := cmp.Diff([]bool{true, false}, []bool{code.Equal(koogallery.NewCode(plain)), code.Equal(koogallery.Code{})}); diff != "" {
		t.Errorf("Equal (-want +got):\n%s", diff)
	}
}
