package sandbox_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

const scenarioFile = `{
  "seed": 7,
  "products": [
    {"id": "OFFI0001", "name": "CAD Pro"},
    {"id": "ONLINE", "interface": "online"},
    {"id": "OLD", "interface": "license1", "expire_activity": "expireInstance"}
  ],
  "retry_interval": "1m",
  "faults": {"lost-answer": 0.5, "late": 0.5},
  "limit": 20,
  "steps": [
    {"do": "buy", "product": "OFFI0001", "period": "365d", "as": "code"},
    {"do": "renew", "of": "code", "period": "30d"},
    {"do": "freeze", "of": "code"},
    {"do": "buy", "product": "ONLINE", "amount": 2, "period": "30d", "as": "instance"},
    {"do": "settle"},
    {"do": "expect", "of": "instance", "status": "ALIVE", "amount": 2, "pending": 0},
    {"do": "apply", "of": "instance", "device": "A|B||C", "as": "device"},
    {"do": "apply-again", "of": "device"},
    {"do": "buy", "product": "OLD", "as": "old"},
    {"do": "wait", "for": "2h"},
    {"do": "expect", "of": "code", "status": "ISSUED", "frozen": true, "told": true},
    {"do": "misbehave"},
    {"do": "unsubscribe", "of": "code"},
    {"do": "settle"},
    {"do": "expect", "of": "code", "status": "RELEASED", "told": true},
    {"do": "expect", "of": "instance", "delivered": 0},
    {"do": "expect", "pending": 0}
  ]
}`

func TestPlay(t *testing.T) {
	sc, err := sandbox.ParseScenario("a.json", []byte(scenarioFile))
	must(t, err)
	opts := sc.Options(sandbox.Options{RequireReceive: true})
	if !opts.RequireReceive || opts.RetryInterval != time.Minute || opts.Seed != 7 || len(opts.Products) != 3 || opts.Misbehaviour.Limit != 20 {
		t.Errorf("options %+v", opts)
	}
	m := newShop(t, opts)
	var told []string
	must(t, m.s.Play(t.Context(), sc, func(line string) { told = append(told, line) }))
	if len(told) != sc.Steps() || told[0] != "a.json:12: buy" {
		t.Errorf("told %v", told)
	}
	activities := map[koogallery.Activity]bool{}
	for _, msg := range m.got {
		activities[msg.Activity()] = true
	}
	for _, a := range []koogallery.Activity{"refreshLicenseCode", "updateLicenseCodeStatus", "newInstance", "getLicenseAsync", "getLicense", "releaseLicenseCode"} {
		if !activities[a] {
			t.Errorf("%s was not sent", a)
		}
	}
}

// Every setting and step that a merchant can be tried with.
func TestPlayEverything(t *testing.T) {
	sc, err := sandbox.ParseScenario("b.json", []byte(`{
  "products": [{"id": "ONLINE", "interface": "online"}, {"id": "ONLINE2", "interface": "online"}, {"id": "OLD", "interface": "license1"}],
  "day": "1m", "dialect": {"body_order": "sample", "signed_form": "canonical"},
  "steps": [
    {"do": "buy", "product": "ONLINE", "amount": 1, "period": "365d", "buyer": {"customer_id": "c1", "email": "a@example.com"}, "extend": {"host": "db1"}, "as": "i"},
    {"do": "settle"},
    {"do": "change", "of": "i", "amount": 3, "product": "ONLINE2", "period": "365d", "as": "bigger"},
    {"do": "fail-order", "of": "bigger", "fault": "api-5xx"},
    {"do": "notify", "of": "bigger"},
    {"do": "apply", "of": "i", "device": "d", "effective_in": "1d", "expires_in": "30d", "as": "a"},
    {"do": "dialect", "license_time": "compact", "expire_time": "17"},
    {"do": "apply", "of": "i", "device": "e", "no_expiry": true, "as": "b"},
    {"do": "fail-order", "of": "bigger"},
    {"do": "settle"},
    {"do": "expect", "of": "bigger", "amount": 3, "told": true},
    {"do": "buy", "product": "OLD", "period": "30d", "as": "old"},
    {"do": "settle"},
    {"do": "get-license", "of": "old"},
    {"do": "debug", "product": "OLD", "activity": "getLicense", "code": "x"},
    {"do": "settle"},
    {"do": "expect", "failed": 0}
  ]
}`))
	must(t, err)
	opts := sc.Options(sandbox.Options{})
	if opts.Day != time.Minute || opts.Dialect.BodyOrder != "sample" {
		t.Errorf("options %+v", opts)
	}
	m := newShop(t, opts)
	must(t, m.s.Play(t.Context(), sc, nil))
	var times []time.Time
	licences := 0
	for _, msg := range m.got {
		switch msg := msg.(type) {
		case koogallery.GetLicenseAsync:
			times = append(times, msg.EffectiveTime, msg.ExpireTime)
		case koogallery.V1GetLicense:
			licences++
		}
	}
	if diff := cmp.Diff([]time.Time{begin.Add(24 * time.Hour), begin.Add(30 * 24 * time.Hour), begin, {}}, times); diff != "" || licences != 2 {
		t.Errorf("%d licences, times (-want +got):\n%s", licences, diff)
	}
	order, err := m.c.Order(t.Context(), m.s.Codes()[0].OrderID, "")
	if err != nil || order.Buyer.Email.Reveal() != "a@example.com" || order.Extend["host"] != "db1" {
		t.Errorf("%+v %v", order, err)
	}
}

func TestExpectationNotMet(t *testing.T) {
	for _, tt := range []struct{ expect, want string }{
		{`{"do":"expect","of":"a","status":"ALIVE"}`, "s:3: expect: status is ISSUED, expected ALIVE"},
		{`{"do":"expect","of":"a","frozen":true}`, "s:3: expect: frozen is false, expected true"},
		{`{"do":"expect","of":"a","amount":2}`, "s:3: expect: amount is 1, expected 2"},
		{`{"do":"expect","of":"a","delivered":1}`, "s:3: expect: delivered is 0, expected 1"},
		{`{"do":"expect","of":"a","told":false}`, "s:3: expect: told is true, expected false"},
		{`{"do":"expect","pending":1}`, "s:3: expect: pending is 0, expected 1"},
		{`{"do":"expect","failed":1}`, "s:3: expect: failed is 0, expected 1"},
		{`{"do":"cancel-renewal","of":"a"}`, "s:3: cancel-renewal: "},
	} {
		sc, err := sandbox.ParseScenario("s", []byte("{\"steps\": [\n{\"do\":\"buy\",\"product\":\"OFFI0001\",\"as\":\"a\"},\n"+tt.expect+"]}"))
		must(t, err)
		err = newShop(t, sandbox.Options{}).s.Play(t.Context(), sc, nil)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || errors.Is(err, sandbox.ErrExpectation) == strings.Contains(tt.expect, "cancel") {
			t.Errorf("%s: %v", tt.expect, err)
		}
	}
}

// Errors name file, line and key.
func TestScenarioErrors(t *testing.T) {
	step := func(s string) string { return "{\"steps\": [\n" + s + "]}" }
	for _, tt := range []struct{ file, want string }{
		{``, "f:1: no JSON: unexpected end of JSON input"},
		{"{\n\"seed\": 1,\n", "f:2: no JSON: unexpected end of JSON input"},
		{"{\n\"seed\": ?}", "f:2: no JSON: invalid character '?' looking for beginning of value"},
		{"{\"steps\": [\n{\"do\": \"probe\"},\n{\"do\": x}]}", "f:3: no JSON: invalid character 'x' looking for beginning of value"},
		{"[]", "f:1: want an object"},
		{"{}\n{}", "f:2: no JSON: invalid character '{' after top-level value"},
		{"{\n\"sed\": 1}", "f:2: sed: unknown key, or one that does not belong here"},
		{"{\"seed\": 1,\n\"seed\": 2}", "f:2: seed: given twice"},
		{"{\n\n\"seed\": -1}", "f:3: seed: want a whole number from 0 to 9223372036854775808"},
		{"{\"location\": \"Moon/Crater\"}", "f:1: location: unknown time zone"},
		{"{\"retry_interval\": \"0s\"}", "f:1: retry_interval: must be longer than nothing"},
		{"{\"retry_interval\": 5}", `f:1: retry_interval: want a duration such as "90s", "2h" or "365d"`},
		{"{\"require_receive\": 1}", "f:1: require_receive: want true or false"},
		{"{\"products\": [\n{\"id\": \"\"}]}", `f:1: products: sandbox: product id "" is empty, longer than 64 or repeated`},
		{"{\"products\": [{\"id\":\"a\",\n\"interface\": \"web\"}]}", `f:2: products[0].interface: "web" is none of license2, online, license1`},
		{"{\"products\": [{\"id\":\"a\",\n\"color\": \"red\"}]}", "f:2: products[0].color: unknown key, or one that does not belong here"},
		{"{\"faults\": {\n\"late\": 2}}", "f:2: faults.late: want a probability from 0 to 1"},
		{"{\"faults\": {\n\"rain\": 1}}", "f:2: faults.rain: unknown key, or one that does not belong here"},
		{"{\"steps\": 1}", "f:1: steps: want a list"},
		{step(`1`), "f:2: steps[0]: want an object"},
		{step(`{}`), `f:2: steps[0]: a step needs "do"`},
		{step(`{"do":"dance"}`), `f:2: steps[0].do: "dance" is none of apply,`},
		{step(`{"do":"buy"}`), `f:2: steps[0]: buy needs "product"`},
		{step(`{"do":"freeze","of":"x"}`), `f:2: steps[0].of: no earlier buy has "as": "x"`},
		{step("{\"do\":\"buy\",\"product\":\"p\",\"as\":\"x\"},\n{\"do\":\"deny\",\"of\":\"x\"}"), `f:3: steps[1].of: no earlier apply has "as": "x"`},
		{step("{\"do\":\"buy\",\"product\":\"p\",\"as\":\"x\"},\n{\"do\":\"buy\",\"product\":\"p\",\"as\":\"x\"}"), "f:3: steps[1].as: empty, or given to an earlier step"},
		{step(`{"do":"probe","of":"x"}`), "f:2: steps[0].of: unknown key, or one that does not belong here"},
		{step(`{"do":"debug","activity":"newThing","code":"x"}`), "f:2: steps[0].activity: no activity with a debug case"},
		{step(`{"do":"expect","status":"ALIVE"}`), `f:2: expect of a purchase needs "of"`},
		{"{\"products\":[{\"id\":\"a\"}],\"steps\":[\n{\"do\":\"buy\",\"product\":\"b\"}]}", `f:2: steps[0].product: product "b" is not in products`},
		{"{\"dialect\": {\n\"body_order\": \"random\"}}", `f:2: dialect.body_order: dialect: body_order: "random" is none of sorted, sample`},
		{"{\"dialect\": {\n\"tongue\": \"x\"}}", "f:2: dialect.tongue: unknown key"},
		{"{\"day\": \"0s\"}", "f:1: day: must be longer than nothing"},
		{step(`{"do":"buy","product":"p","buyer":{"shoe_size":"9"}}`), "f:2: steps[0].buyer.shoe_size: unknown key"},
		{step(`{"do":"buy","product":"p","extend":{"a":1}}`), "f:2: steps[0].extend.a: want a text of up to 1024 characters"},
		{step("{\"do\":\"buy\",\"product\":\"p\",\"as\":\"x\"},\n{\"do\":\"fail-order\",\"of\":\"x\",\"fault\":\"late\"}"), `f:3: steps[1].fault: "late" is none of`},
		{strings.Repeat("[", 40) + strings.Repeat("]", 40), "f:1: " + strings.Repeat("[0]", 16) + ": nested too deeply"},
		{strings.Repeat(" ", sandbox.MaxScenario+1), "f: longer than 1048576 bytes"},
	} {
		_, err := sandbox.ParseScenario("f", []byte(tt.file))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%.60q: got %v, want %s", tt.file, err, tt.want)
		}
	}
}

// The files which the documents show are read by the code they describe.
func TestDocumentedScenarios(t *testing.T) {
	text, err := os.ReadFile("../../docs/sandbox.md")
	must(t, err)
	blocks := strings.Split(string(text), "```json\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("docs/sandbox.md shows no scenario")
	}
	for _, b := range blocks {
		b, _, _ = strings.Cut(b, "```")
		sc, err := sandbox.ParseScenario("docs/sandbox.md", []byte(b))
		must(t, err)
		m := newShop(t, sc.Options(sandbox.Options{}))
		must(t, m.s.Play(t.Context(), sc, nil))
	}
	for _, f := range sandbox.Faults() {
		if !strings.Contains(string(text), "`"+string(f)+"`") {
			t.Errorf("docs/sandbox.md does not name the fault %s", f)
		}
	}
}

// Every call with its members, and every step with its, stands in the document.
func TestDocumentedCalls(t *testing.T) {
	text, err := os.ReadFile("../../docs/sandbox.md")
	must(t, err)
	docs := string(text)
	calls, members := sandbox.ControlCalls(newSandbox(t, sandbox.Options{}))
	if len(calls) < 30 || len(members) < 30 {
		t.Errorf("%d calls, %d members", len(calls), len(members))
	}
	_, control, _ := strings.Cut(docs, "## The control API")
	control, _, _ = strings.Cut(control, "## What it does")
	for _, call := range calls {
		if call = strings.ReplaceAll(call, "{id}", "ID"); !strings.Contains(control, "`"+call+"`") && !strings.Contains(control, "`GET "+call+"`") {
			t.Errorf("the control API's call %s is not described", call)
		}
	}
	for _, name := range members {
		if !strings.Contains(docs, "`"+name+"`") {
			t.Errorf("the control API's member %s is not described", name)
		}
	}
	_, steps, _ := strings.Cut(docs, "| step | members |")
	steps, _, _ = strings.Cut(steps, "## In Go tests")
	for verb, members := range sandbox.StepMembers() {
		row := ""
		for line := range strings.Lines(steps) {
			if cells := strings.Split(line, "|"); len(cells) > 2 && strings.Contains(cells[1], "`"+verb+"`") {
				row = cells[2]
			}
		}
		if row == "" {
			t.Errorf("the step %s is not described", verb)
		}
		for _, name := range members {
			if name = strings.TrimSuffix(name, "!"); verb != "dialect" && !strings.Contains(row, name) {
				t.Errorf("the member %s of the step %s is not described", name, verb)
			}
		}
	}
}

func FuzzScenario(f *testing.F) {
	f.Add([]byte(scenarioFile))
	f.Add([]byte(`{"dialect":{"order_success":"x"},"day":"1m","steps":[{"do":"buy","product":"a","buyer":{"email":"e"},"extend":{"k":"v"}},{"do":"dialect","expire_time":"17"}]}`))
	f.Add([]byte(`{"steps":[{"do":"misbehave","faults":{"late":1e-3},"limit":1},{"do":"outage","mode":"html"}]}`))
	f.Add([]byte("{\"a\":[[{\"b\":null}]],\n\"a\":\"\\u0000\"}"))
	f.Add([]byte{'"', 0xff, '"'})
	f.Fuzz(func(t *testing.T, data []byte) {
		sc, err := sandbox.ParseScenario("f", data)
		again, err2 := sandbox.ParseScenario("f", data)
		if (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Fatalf("two readings: %v, %v", err, err2)
		}
		if err != nil {
			if sc != nil || !strings.HasPrefix(err.Error(), "f:") || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%v, %q", sc, err)
			}
			return
		}
		if diff := cmp.Diff(sc.Options(sandbox.Options{}), again.Options(sandbox.Options{}), cmp.AllowUnexported(time.Location{})); diff != "" {
			t.Errorf("two readings:\n%s", diff)
		}
	})
}
