package webhook_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/webhook"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// The example with which the libraries of the Standard Webhooks project test
// themselves.
func TestSpecificationVector(t *testing.T) {
	s, err := webhook.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := webhook.Signature(s, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestParseSecret(t *testing.T) {
	of := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for text, want := range map[string]string{
		of(24): "", of(32): "", of(64): "", strings.TrimRight(of(32), "="): "",
		of(23): "23", of(65): "65", of(0): "0", "": "begins with", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "begins with",
		"whsec_not base64 at all, which is private": "base64", "whsec_" + strings.Repeat("_-", 20): "base64",
	} {
		s, err := webhook.ParseSecret(text)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v", text, err)
		case err != nil && len(text) > 6 && strings.Contains(err.Error(), text[6:]):
			t.Errorf("the error tells the secret: %v", err)
		case err == nil:
			raw, failed := json.Marshal(map[string]any{"s": s})
			shown := fmt.Sprintf("%v %+v %#v %s %s", s, s, s, slog.AnyValue(s).Resolve(), raw)
			if failed != nil || strings.Contains(shown, text[6:]) || strings.Contains(shown, "0 0 0") {
				t.Errorf("it prints: %s %v", shown, failed)
			}
		}
	}
}

// actions are all that the domain has.
func actions(t *testing.T) []license.Action {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../../license/audit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []license.Action
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != "Action" {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, license.Action(value))
		return true
	})
	if len(out) < 40 {
		t.Fatalf("only %d actions were found", len(out))
	}
	return out
}

// Of each action it is decided what it is called outside, and docs/webhooks.md
// says so.
func TestEveryActionHasAType(t *testing.T) {
	text, err := os.ReadFile("../../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range actions(t) {
		if webhook.Known(a) == webhook.Untold(a) {
			t.Errorf("%s: give it a type in the table types and in docs/webhooks.md, or add it to untold", a)
		}
	}
	form := regexp.MustCompile(`^[a-z]+\.[a-z_]+$`)
	for _, name := range webhook.Types() {
		if !form.MatchString(name) {
			t.Errorf("%q is no name of a type", name)
		}
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/webhooks.md does not name %s", name)
		}
	}
	_, table, _ := strings.Cut(string(text), "### Types")
	table, _, _ = strings.Cut(table, "###")
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z]+\\.[a-z_]+)`").FindAllStringSubmatch(table, -1) {
		if row[1] != webhook.TypeTest && !slices.Contains(webhook.Types(), row[1]) {
			t.Errorf("docs/webhooks.md names %s, which is none", row[1])
		}
	}
	if err := webhook.CheckEvents(append(webhook.Types(), "license.*")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"*", "license", "license.", "lic.*", "licence.issued", "license.issued.*", ""} {
		if webhook.CheckEvents([]string{bad}) == nil {
			t.Errorf("%q selects something", bad)
		}
	}
}

// Two actions have two types, by what they did.
func TestTypeOf(t *testing.T) {
	expiry := func(before, after any) license.AuditEvent {
		return license.AuditEvent{Action: license.ActionSetExpiry, Before: map[string]any{"expires_at": before}, After: map[string]any{"expires_at": after}}
	}
	for _, c := range []struct {
		event license.AuditEvent
		want  string
	}{
		{expiry("2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"), "license.renewed"},
		{expiry("2028-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), "license.shortened"},
		{expiry(nil, "2027-01-01T00:00:00Z"), "license.shortened"},
		{expiry("2027-01-01T00:00:00Z", nil), "license.renewed"},
		{license.AuditEvent{Action: license.ActionMarketplaceHealth, After: map[string]any{"failing": true}}, "marketplace.failing"},
		{license.AuditEvent{Action: license.ActionMarketplaceHealth, After: map[string]any{"failing": false}}, "marketplace.recovered"},
		{license.AuditEvent{Action: license.ActionWebhookReplay}, ""},
		{license.AuditEvent{Action: "of a later version"}, ""},
	} {
		if got := webhook.TypeOf(c.event); got != c.want {
			t.Errorf("%+v: %q, want %q", c.event, got, c.want)
		}
	}
}

// An id follows from the entry and from nothing else.
func TestEventID(t *testing.T) {
	e := license.AuditEvent{Seq: 7, At: time.Unix(1e9, 0), Action: license.ActionRenew, License: "lic_1", Note: "x"}
	id := webhook.EventID(issuer, e)
	same := e
	same.Note, same.At = "erased", e.At.In(time.FixedZone("CST", 8*3600))
	if webhook.EventID(issuer, same) != id || id != "evt_jvqzawcw2ja2msfcdm72dx4rem2arjz7" {
		t.Errorf("id %s", id)
	}
	for name, other := range map[string]license.AuditEvent{
		"position": {Seq: 8, At: e.At, Action: e.Action, License: e.License}, "time": {Seq: 7, At: e.At.Add(time.Second), Action: e.Action, License: e.License},
		"action": {Seq: 7, At: e.At, Action: license.ActionEdit, License: e.License}, "licence": {Seq: 7, At: e.At, Action: e.Action, License: "lic_2"},
	} {
		if webhook.EventID(issuer, other) == id {
			t.Errorf("another %s, and the same id", name)
		}
	}
	if webhook.EventID("https://other.example.com", e) == id {
		t.Error("another issuer, and the same id")
	}
}

// A licence is told by the names of the admin API.
func TestNamesAreThoseOfTheAdminAPI(t *testing.T) {
	names := map[string]reflect.Type{}
	shown := reflect.TypeFor[adminwire.License]()
	for f := range shown.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names[name] = f.Type
	}
	told := reflect.TypeFor[webhook.ShownLicense]()
	for f := range told.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if names[name] != f.Type || name == "code" {
			t.Errorf("%s is %s, in the admin API %v", name, f.Type, names[name])
		}
	}
}

func TestReadRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, " 5 ": 5 * time.Second, "-1": 0, "soon": 0, "1.5": 0, "99999999999": 0,
		"4000000": 24 * time.Hour, "Sun, 01 Mar 2026 12:10:00 GMT": 10 * time.Minute, "Sun, 01 Mar 2026 11:00:00 GMT": 0,
		"Mon, 01 Mar 2027 12:00:00 GMT": 24 * time.Hour,
	} {
		if got := webhook.ReadRetryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestShownText(t *testing.T) {
	for in, want := range map[string]string{
		"": "", " a\r\n\tb\x00c ": "a b c", "\xff\xfe": "�", "\u202eevil": "�evil", "ok": "ok",
	} {
		if got := webhook.ShownText([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := webhook.ShownText([]byte(strings.Repeat("ä", 500))); len(got) > 210 || !strings.HasSuffix(got, "ä…") {
		t.Errorf("%q", got)
	}
}

// Proxies are those of the environment, and verification is never off.
func TestTransport(t *testing.T) {
	tr := webhook.Transport()
	if tr.TLSClientConfig.InsecureSkipVerify || tr.TLSClientConfig.MinVersion < 0x0303 || tr.Proxy == nil || tr.MaxResponseHeaderBytes == 0 {
		t.Error("the way to an endpoint is open")
	}
}
