package clienttest_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/clienttest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// raw is an install without package client: it makes any request.
type raw struct {
	t   *testing.T
	key token.SigningKey
	req token.Request
}

func newRaw(t *testing.T, s *stage, code string) *raw {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	key, err := token.NewSigningKey(private)
	must(t, err)
	set, err := clienttest.NewMachine("raw").Fingerprint(t.Context())
	must(t, err)
	r := token.Request{ID: rand.Text(), IssuedAt: s.clock.Now(), Op: token.OpActivate, Product: s.product, Fingerprint: set.Digests(s.product)}
	if code != "" {
		r.Code, err = license.ParseCode(code)
		must(t, err)
	}
	return &raw{t, key, r}
}

func (r *raw) sign(edit ...func(*token.Request)) string {
	r.t.Helper()
	req := r.req
	for _, e := range edit {
		e(&req)
	}
	signed, err := token.SignRequest(req, r.key)
	must(r.t, err)
	return signed
}

func body(t *testing.T, request, code string) string {
	t.Helper()
	data, err := json.Marshal(map[string]string{"request": request, "code": code})
	must(t, err)
	return string(data)
}

// What is said of a call, without what is random in it.
type said struct {
	Status    int
	MediaType string
	Reason    license.Reason
	Field     string
	Type      string
	Title     string
	Cache     string
	Allow     string
	Members   []string
}

func (a answer) said() said {
	out := said{Status: a.status, MediaType: a.mediaType, Cache: a.header.Get("Cache-Control"), Allow: a.header.Get("Allow")}
	var p wire.Problem
	if a.mediaType == wire.TypeProblem && json.Unmarshal(a.body, &p) == nil {
		out.Reason, out.Field, out.Type, out.Title = p.Reason, p.Field, p.Type, p.Title
		return out
	}
	var members map[string]any
	if json.Unmarshal(a.body, &members) == nil {
		out.Members = slices.Sorted(maps.Keys(members))
		return out
	}
	if f, err := token.ParseFile(a.body); err == nil {
		out.Members = []string{f.String()}
	}
	return out
}

// Calls by hand are answered as the daemon answers them, in the same form.
func TestProtocolIsTheDaemons(t *testing.T) {
	clock := clienttest.NewClock(clienttest.Epoch)
	daemon := newReal(t, clock)
	a := &stage{t: t, v: daemon, product: "node", clock: clock}
	b := &stage{t: t, v: newFake(t, "node", clock), product: "node", clock: clock}
	r, f := calls(t, a), calls(t, b)
	for i, c := range r {
		if d := cmp.Diff(c.said, f[i].said); d != "" {
			t.Errorf("%s: -daemon +fake:\n%s", c.name, d)
		}
		if c.said.Status != c.want {
			t.Errorf("%s: the daemon says %+v, want %d", c.name, c.said, c.want)
		}
	}
}

type called struct {
	name string
	want int
	said said
}

func calls(t *testing.T, s *stage) []called {
	t.Helper()
	var out []called
	code := s.v.issue("node", 20, 0)
	in := newRaw(t, s, code)
	good := in.sign()
	do := func(name string, want int, method, path, mediaType, body, accept string) answer {
		t.Helper()
		got := s.call(method, path, mediaType, body, accept)
		out = append(out, called{name, want, got.said()})
		return got
	}
	post := func(name string, want int, mediaType, body, accept string) answer {
		t.Helper()
		return do(name, want, http.MethodPost, wire.PathRequests, mediaType, body, accept)
	}
	post("no document", 400, wire.TypeJSON, "", "")
	post("not JSON", 400, wire.TypeJSON, "{", "")
	post("a list", 400, wire.TypeJSON, "[]", "")
	post("wrong type", 400, wire.TypeJSON, `{"request": 7}`, "")
	post("two documents", 400, wire.TypeJSON, `{"request":"x"} {}`, "")
	post("unknown member", 400, wire.TypeJSON, `{"request":"x","licence":"y"}`, "")
	post("empty", 400, wire.TypeJSON, `{}`, "")
	post("not a token", 400, wire.TypeJSON, `{"request":"x"}`, "")
	post("a form", 400, "application/x-www-form-urlencoded", "request=x", "")
	post("not a file", 400, wire.TypePEM, "hello", "")
	post("too large", 400, wire.TypeJSON, `{"request":"`+strings.Repeat("a", wire.MaxBody)+`"}`, "")
	post("forged", 401, wire.TypeJSON, body(t, good[:len(good)-6]+"AAAAAA", ""), "")
	post("a code that does not agree", 400, wire.TypeJSON, body(t, good, s.v.issue("node", 20, 0)), "")
	post("a code with a typing error", 400, wire.TypeJSON, body(t, good, code[:len(code)-1]+"U"), "")
	post("a weak machine", 403, wire.TypeJSON, body(t, in.sign(func(r *token.Request) { r.Fingerprint.Components = nil }), ""), "")
	post("activated", 200, wire.TypeJSON, body(t, good, code), "")
	post("again, without a type", 200, "", body(t, good, ""), "*/*")
	post("again, as a file", 200, wire.TypePEM, string(token.MarshalRequestFile(good)), wire.TypePEM)
	var ans wire.Answer
	must(t, json.Unmarshal(s.post(wire.TypeJSON, body(t, good, ""), "").body, &ans))
	post("the same id, other bytes", 409, wire.TypeJSON, body(t, in.sign(func(r *token.Request) { r.Prev = "x" }), ""), "")
	held := func(op token.Op, id string) func(*token.Request) {
		return func(r *token.Request) {
			r.Op, r.ID, r.License, r.Code = op, id, ans.License, license.Code{}
			c, err := token.PeekLicense(ans.License)
			must(t, err)
			r.Prev = c.ID
		}
	}
	stranger := newRaw(t, s, "")
	post("somebody else's licence", 401, wire.TypeJSON, body(t, stranger.sign(held(token.OpRefresh, "r-1")), ""), "")
	post("a second transfer of its own", 409, wire.TypeJSON, body(t, in.sign(func(r *token.Request) { r.Op, r.ID = token.OpTransfer, "r-2" }), ""), "")
	post("without a code", 400, wire.TypeJSON, body(t, newRaw(t, s, "").sign(), ""), "")
	other := newRaw(t, s, "")
	other.req.Fingerprint.Components = license.Components{}
	for _, kind := range []license.Kind{license.KindOS, license.KindDisk} {
		d, _ := license.DigestValue(other.req.Fingerprint.Salt, kind, "another machine")
		other.req.Fingerprint.Components[kind] = []license.Digest{d}
	}
	post("one machine too many", 403, wire.TypeJSON, body(t, other.sign(), code), wire.TypePEM)
	post("another machine refreshes", 403, wire.TypeJSON, body(t, in.sign(held(token.OpRefresh, "r-3"),
		func(r *token.Request) { r.Fingerprint = other.req.Fingerprint }), ""), "")
	post("refreshed, as a file", 200, wire.TypeJSON, body(t, in.sign(held(token.OpRefresh, "r-4")), ""), "application/x-pem-file")
	post("replayed", 409, wire.TypeJSON, body(t, good, ""), "")
	place, err := token.PeekLicense(ans.License)
	must(t, err)
	list := strings.TrimPrefix(place.Status.URI, clienttest.Issuer)
	do("status list", 200, http.MethodGet, list, "", "", "")
	known := s.get(wire.PathKeys).header.Get("Etag")
	out = append(out, called{"keys that are known", 304, s.get(wire.PathKeys, "If-None-Match", known).said()})
	do("status list as a file", 200, http.MethodGet, list, "", "", wire.TypePEM)
	do("no such list", 404, http.MethodGet, "/v1/status/nowhere", "", "", "")
	do("a list is posted to", 405, http.MethodPost, list, wire.TypeJSON, "{}", "")
	do("keys", 200, http.MethodGet, wire.PathKeys, "", "", "")
	do("JWKS", 200, http.MethodGet, wire.PathJWKS, "", "", "")
	do("keys are posted to", 405, http.MethodPost, wire.PathKeys, wire.TypeJSON, "{}", "")
	do("requests are fetched", 405, http.MethodGet, wire.PathRequests, "", "", "")
	do("nothing there", 404, http.MethodGet, "/nothing", "", "", "")
	post("deactivated", 200, wire.TypeJSON, body(t, in.sign(held(token.OpDeactivate, "r-5")), ""), "")
	post("deactivated, as a file", 200, wire.TypePEM, string(token.MarshalRequestFile(in.sign(held(token.OpDeactivate, "r-5")))), wire.TypePEM)
	post("given up", 401, wire.TypeJSON, body(t, in.sign(held(token.OpRefresh, "r-6")), ""), "")
	return out
}
