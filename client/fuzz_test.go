package client_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// kept is an install in memory that holds a licence which names a status list,
// and waits for an answer by the network and for one by hand. It is the same in
// every process.
type kept struct {
	*site
	good   client.Memory
	memory []byte // as it is kept
	file   []byte // what it holds
	older  string // a licence that it held before
}

func newKept(tb testing.TB) *kept {
	tb.Helper()
	k := &kept{site: newSite(tb)}
	k.opts.StateDir = ""
	k.served(tb)
	k.clock.add(day)
	install := public("install")
	k.older = signed("sign-1", licenseTyp, licenseBody(epoch.Add(-time.Hour), install))
	list := statusList(tb, epoch, license.StatusValid)
	k.good = client.Memory{
		Product: product, Key: key("install").Seed(), Keys: k.vendor.keys, StatusList: list,
		License: signed("sign-1", licenseTyp, licenseBody(epoch, install)), IssuedAt: epoch.Unix(), Prev: fmt.Sprintf("forged-%d", epoch.Unix()),
	}
	k.good.Floor = epoch.Unix()
	k.file = withLists(k.good.Keys, k.good.License, list)
	waiting := func(op token.Op, by string, r token.Request) string {
		r.ID, r.IssuedAt, r.Op, r.Product, r.Fingerprint = "request-"+string(op), k.clock.now(), op, product, k.machine.Digests(product)
		raw, err := token.SignRequest(r, signer(tb, by))
		check(tb, err)
		newKey := ""
		if op == token.OpActivate {
			newKey = base64.StdEncoding.EncodeToString(key(by).Seed())
		}
		return fmt.Sprintf(`{"op":%q,"id":%q,"request":%q,"install":%q,"subject":"","made_at":%d,"proven":%d,"key":%q}`,
			op, r.ID, raw, kidOf(public(by)), r.IssuedAt.Unix(), k.good.Floor, newKey)
	}
	refresh := waiting(token.OpRefresh, "install", token.Request{License: k.good.License, Prev: k.good.Prev})
	check(tb, json.Unmarshal([]byte(`{"refresh":`+refresh+`}`), &k.good.Sent))
	check(tb, json.Unmarshal([]byte(`{"activation":`+waiting(token.OpActivate, "install-2", token.Request{})+`}`), &k.good.Carried))
	var err error
	k.memory, err = client.Encode(k.good)
	check(tb, err)
	g, _, err := k.in(tb, k.memory)
	check(tb, err)
	if st := g.Status(); !st.Usable || len(g.Warnings()) != 0 || string(g.File()) != string(k.file) {
		tb.Fatalf("%s %v", st, g.Warnings())
	}
	return k
}

// served gives the install a server that knows nothing yet.
func (k *kept) served(tb testing.TB) {
	tb.Helper()
	k.vendor = newVendor(tb, k.clock.now)
	k.vendor.keys = signed("anchor-1", keysTyp, keysBody(1, "sign-1", "sign-2"))
	k.vendor.grant = func(_ token.Request, c *token.License) { *c = listed(*c) }
	list := statusList(tb, epoch, license.StatusValid)
	k.opts.HTTPClient = &http.Client{Transport: published{k.site, &list}}
}

// in is the same install in another memory.
func (k *kept) in(tb testing.TB, memory []byte) (*client.Guard, *client.MemoryCache, error) {
	tb.Helper()
	o, c := k.opts, &client.MemoryCache{}
	o.Cache = c
	check(tb, c.Store(memory))
	g, err := client.Open(tb.Context(), o)
	if err == nil {
		halted(g)
		tb.Cleanup(func() { _ = g.Close() })
	}
	return g, c, err
}

// wantSettled fails if the next process would see something else than this one.
func (k *kept) wantSettled(tb testing.TB, g *client.Guard, c *client.MemoryCache) {
	tb.Helper()
	data, err := c.Load()
	check(tb, err)
	next, _, err := k.in(tb, data)
	if err != nil {
		tb.Fatalf("what was written is not read: %v", err)
	}
	was, is := g.Status(), next.Status()
	if was.Reason != is.Reason || was.Usable != is.Usable || !was.LeaseUntil.Equal(is.LeaseUntil) || string(g.File()) != string(next.File()) {
		tb.Errorf("%s became %s (%v)", was, is, next.Warnings())
	}
	_, _, _ = g.Explain().String(), g.Warnings(), g.License().Claims()
}

// wantKnown fails where an error has no reason that it may have.
func wantKnown(tb testing.TB, err error) {
	tb.Helper()
	if r := license.ReasonOf(err); err != nil && (r == "" || r == license.Internal) {
		tb.Errorf("no reason: %v", err)
	}
}

// FuzzImport: of any file only what was signed counts.
func FuzzImport(f *testing.F) {
	k := newKept(f)
	activation := k.good.Carried.Activation
	answer := token.File{
		Licenses: []string{signed("sign-1", licenseTyp, licenseBody(epoch.Add(day), public("install-2")))}, KeySets: []string{k.good.Keys},
		Times: []string{signed("sign-1", timeTyp, timeBody(epoch.Add(day), public("install-2"), activation.ID))},
	}.Marshal()
	other := signed("sign-1", licenseTyp, licenseBody(epoch.Add(day), public("install-x")))
	for _, data := range [][]byte{
		k.file, answer, file(k.good.Keys, k.older), file(k.good.Keys, other), armoured("LICENSE STATUS", statusList(f, epoch, license.StatusRevoked)),
		armoured("LICENSE KEYS", signed("anchor-2", keysTyp, keysBody(1, "sign-9"))),
		[]byte("-----BEGIN LICENSE-----\nAAAA\n-----END LICENSE-----\n"), []byte("-----BEGIN LICENSE-----"), nil,
	} {
		f.Add(data)
	}
	granted, err := token.ParseFile(answer)
	check(f, err)
	authentic := []string{k.good.License, granted.Licenses[0]}
	f.Fuzz(func(t *testing.T, data []byte) {
		g, c, err := k.in(t, k.memory)
		check(t, err)
		wantKnown(t, g.Import(data))
		m, err := client.Decode(stored(t, c))
		check(t, err)
		if m.Floor < k.good.Floor || !slices.Contains(authentic, m.License) {
			t.Errorf("it holds what was never signed, or an older time: %d", m.Floor)
		}
		if l, err := newVerifier().Verify(data); err == nil && !slices.Contains(append(authentic, other, k.older), l.Claims().Raw) {
			t.Error("a licence verified that was never signed")
		}
		k.wantSettled(t, g, c)
	})
}

// FuzzSigned: whatever the merchant's keys have signed, by file and as an
// answer, it is taken or not, and the next process sees the same.
func FuzzSigned(f *testing.F) {
	k := newKept(f)
	m, install, activation := k.good, public("install"), k.good.Carried.Activation
	granted := licenseBody(epoch.Add(day), install)
	for form, payloads := range [][]string{
		{granted, swap(f, granted, `"policy":"none"`, `"policy":"fuzzy","components":{"os":[]}`), swap(f, granted, `"ver":1`, `"ver":1,"crit":["x"]`), `{}`},
		{keysBody(2, "sign-2"), keysBody(2, "sign-1", "sign-3"), keysBody(2), keysBody(1<<52, "sign-1")},
		{listBody(epoch.Add(day), lst(2, 0x55)), listBody(epoch.Add(9000*day), lst(1, 0)), listBody(epoch.Add(day), "")},
		{
			timeBody(epoch.Add(day), install, m.Sent.Refresh.ID), timeBody(epoch.Add(-day), install, activation.ID), timeBody(license.Forever, install, "x"),
			fmt.Sprintf(`{"iss":%q,"iat":%d,"sub":%q,"nonce":%q}`, issuer, epoch.Add(-99*day).Unix(), activation.Install, activation.ID),
		},
	} {
		for _, p := range payloads {
			f.Add(uint8(form), p)
		}
	}
	f.Fuzz(func(t *testing.T, form uint8, payload string) {
		for i, take := range []func(*client.Guard, wire.Answer) error{
			func(g *client.Guard, a wire.Answer) error {
				return g.Import(token.File{Licenses: []string{a.License}, KeySets: []string{a.Keys}, Statuses: []string{a.Status}, Times: []string{a.Time}}.Marshal())
			},
			func(g *client.Guard, _ wire.Answer) error { return g.Refresh(t.Context()) },
		} {
			made := func(r token.Request) wire.Answer {
				a := wire.Answer{
					License: signed("sign-1", licenseTyp, licenseBody(epoch.Add(day), r.InstallKey)), Keys: k.vendor.keys,
					Status: signed("sign-1", listTyp, listBody(epoch.Add(day), lst(2, 0))),
					Time:   signed("sign-1", timeTyp, timeBody(epoch.Add(day), r.InstallKey, r.ID)),
				}
				switch form % 4 {
				case 0:
					a.License = signed("sign-1", licenseTyp, payload)
				case 1:
					a.Keys = signed("anchor-1", keysTyp, payload)
				case 2:
					a.Status = signed("sign-1", listTyp, payload)
				case 3:
					a.Time = signed("sign-1", timeTyp, payload)
				}
				return a
			}
			waiting, err := token.VerifyRequest(m.Sent.Refresh.Request)
			check(t, err)
			answer := made(waiting)
			o := *k
			o.opts.HTTPClient = &http.Client{Transport: answering(func(r *http.Request) *http.Response {
				var body wire.Request
				check(t, json.NewDecoder(r.Body).Decode(&body))
				asked, err := token.VerifyRequest(body.Request)
				check(t, err)
				return response(200, wire.TypeJSON, made(asked))
			})}
			g, c, err := o.in(t, k.memory)
			check(t, err)
			wantKnown(t, take(g, answer))
			k.wantSettled(t, g, c)
			if m, err := client.Decode(stored(t, c)); err != nil || m.License == "" {
				t.Errorf("%d: the licence is gone: %v", i, err)
			}
		}
	})
}

// answering is a server that always answers.
type answering func(*http.Request) *http.Response

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	defer func() { _ = r.Body.Close() }()
	return a(r), nil
}

func stored(tb testing.TB, c *client.MemoryCache) []byte {
	tb.Helper()
	data, err := c.Load()
	check(tb, err)
	return data
}

// FuzzAnswer: whatever comes back in place of a server's answer, nothing that
// is held is lost or changes, and what went wrong has a reason.
func FuzzAnswer(f *testing.F) {
	k := newKept(f)
	f.Add(200, wire.TypeJSON, `{"license_id":"lic_1","license":"a.b.c","keys":"","time":""}`)
	f.Add(200, wire.TypeStatusList, "a.b.c")
	f.Add(200, "text/html; charset=utf-8", "<html>")
	f.Add(403, wire.TypeProblem, `{"reason":"suspended","detail":"no\u001b[31m","retry_after":99999999999999,"status":1e3}`)
	f.Add(429, wire.TypeProblem, `{"reason":"rate_limited","retry_after":-1}`)
	f.Add(200, wire.TypeProblem, `{"reason":"full_moon"}`)
	f.Add(500, "application/problem+json;;", "{}")
	f.Fuzz(func(t *testing.T, status int, mediaType, body string) {
		if status < 200 || status > 599 || status/100 == 3 {
			return
		}
		o := *k
		o.opts.HTTPClient = &http.Client{Transport: answering(func(*http.Request) *http.Response {
			return response(status, mediaType, []byte(body))
		})}
		g, c, err := o.in(t, k.memory)
		check(t, err)
		for i, call := range []func() error{
			func() error { return g.Refresh(t.Context()) },
			func() error { return g.RefreshStatus(t.Context()) },
			func() error { return g.Activate(t.Context(), code) },
			func() error { return g.Deactivate(t.Context()) },
		} {
			err := call()
			if r := license.ReasonOf(err); err == nil || r == "" {
				t.Errorf("%d: %v", i, err)
			}
		}
		if string(g.File()) != string(k.file) || !g.Status().Usable {
			t.Error("what is held changed")
		}
		k.wantSettled(t, g, c)
	})
}

// FuzzState: a file that was changed anywhere is set aside, unless it says what
// it said.
func FuzzState(f *testing.F) {
	k := newKept(f)
	good, err := client.Decode(k.memory)
	check(f, err)
	f.Add(k.memory)
	f.Add([]byte(`{"format":1,"memory":{}}`))
	f.Add([]byte(`{"format":99}`))
	f.Add(bytes.Replace(k.memory, []byte(`"format":1`), []byte(`"format":3`), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, _, err := k.in(t, data)
		if err != nil {
			wantReason(t, err, license.Conflict)
			return
		}
		m, err := client.Decode(data)
		switch {
		case g.Status().Usable && (err != nil || !reflect.DeepEqual(m, good)):
			t.Errorf("usable by another memory: %v", err)
		case len(data) > 0 && err != nil:
			wantDamaged(t, g)
		}
		_ = g.Explain()
	})
}

// sealed is a state file around any memory, with the check that fits it.
func sealed(body []byte) []byte {
	var m struct{ Key []byte }
	_ = json.Unmarshal(body, &m)
	mac := hmac.New(sha256.New, m.Key)
	mac.Write([]byte("licensed install memory v1\n"))
	mac.Write(body)
	data, err := json.Marshal(struct {
		Format int             `json:"format"`
		Check  []byte          `json:"check"`
		Memory json.RawMessage `json:"memory"`
	}{1, mac.Sum(nil), body})
	if err != nil {
		return nil // it is no JSON
	}
	return data
}

// FuzzMemory: whatever a memory says that has a check that fits, a product can
// start with it and go on, and has no licence but one that was signed for this
// install.
func FuzzMemory(f *testing.F) {
	k := newKept(f)
	var whole struct{ Memory json.RawMessage }
	check(f, json.Unmarshal(k.memory, &whole))
	body := string(whole.Memory)
	good := k.good
	for _, b := range []string{
		body, "{}", `{"product":"cad-pro"}`, `{"product":"cad-pro","key":"AAAA","sent":{"refresh":{}}}`, `null`,
		strings.Replace(body, good.License, k.older, 1), strings.ReplaceAll(body, good.License, ""),
		strings.Replace(body, base64.StdEncoding.EncodeToString(good.Key), base64.StdEncoding.EncodeToString(key("install-2").Seed()), 1),
		strings.Replace(body, `"license":"`, `"license":"x`, 1), strings.Replace(body, `"keys":"`, `"keys":"x`, 1),
		strings.Replace(body, `"issued_at":`, `"issued_at":-`, 1), strings.Replace(body, `"floor":`, `"doubt":253402300799,"floor":`, 1),
		strings.Replace(body, `"op":"refresh"`, `"op":"deactivate"`, 1), strings.Replace(body, `"made_at":`, `"proven":-9223372036854775808,"made_at":`, 1),
	} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		data := sealed(body)
		if data == nil {
			return
		}
		k := &kept{site: &site{tb: t, clock: k.clock, machine: k.machine, opts: k.opts}, file: k.file}
		k.served(t)
		g, c, err := k.in(t, data)
		if err != nil {
			wantReason(t, err, license.Conflict)
			return
		}
		m, err := client.Decode(data)
		if st := g.Status(); st.Usable && (err != nil || m.License != good.License || string(m.Key) != string(good.Key)) {
			t.Errorf("usable by %v: %s", err, st)
		}
		k.wantSettled(t, g, c)
		for _, call := range []func() error{
			func() error { return g.Import(k.file) },
			func() error { _, err := g.Request(t.Context(), client.OpRefresh, client.RequestOptions{}); return err },
			func() error { return g.RefreshStatus(t.Context()) },
			func() error { return g.Refresh(t.Context()) },
			func() error { return g.Activate(t.Context(), code) },
			func() error { return g.Deactivate(t.Context()) },
			func() error {
				_, err := g.Request(t.Context(), client.OpDeactivate, client.RequestOptions{})
				return err
			},
		} {
			wantKnown(t, call())
			k.wantSettled(t, g, c)
		}
	})
}
