package daemon_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// Every vector, as the page's caller would send it, and with another token.
func TestV1Vectors(t *testing.T) {
	t.Parallel()
	r := startV1(t)
	v := vectorsV1(t)
	want := map[string]string{
		"getLicense-period": "000000", "getLicense-onetime": "000000", "refreshLicense": "000000", "expireLicense": "000000",
		"empty-value":        "000003", // of an instance that nobody made
		"doc-example-sorted": "000002", // its time is that of 2017
	}
	for _, call := range v.Tokens {
		_, query, _ := strings.Cut(call.URL, "?")
		other := "A" + call.AuthToken[1:]
		if call.AuthToken[0] == 'A' {
			other = "B" + call.AuthToken[1:]
		}
		forged := strings.Replace(query, url.QueryEscape(call.AuthToken), url.QueryEscape(other), 1)
		code := "000001"
		if call.ID == "doc-example-sorted" {
			code = "000002" // nothing is said about what is too old
		}
		before := len(r.audit())
		// What nobody has signed is answered under the first key.
		if a := r.get("koogallery", forged, "the key before"); a.Code != code || a.License != "" || len(r.audit()) != before {
			t.Errorf("%s, forged: %+v", call.ID, a)
		}
		answered := cmp.Or(map[string]string{"doc-example-sorted": "the key before"}[call.ID], call.AccessKey)
		a := r.get("koogallery", query, answered)
		if a.Code != want[call.ID] || want[call.ID] == "" {
			t.Errorf("%s: %+v", call.ID, a)
		}
		if isPurchase := call.Params["activity"] == "getLicense"; (a.License != "") != isPurchase || isPurchase && a.Instance != call.Params["businessId"] {
			t.Errorf("%s: %+v", call.ID, a)
		}
	}
	l := r.show("61e834ba-7b97-4418-b8f7-e5345137278c")
	if l.State != license.StateSuspended || !l.ExpiresAt.Equal(time.Date(2027, 1, 1, 8, 0, 0, 0, time.UTC)) || l.Product != "cad" || l.Machines != 3 ||
		l.Customer != "测试 客户" || l.Order != "CS2501010000000001" || l.Channel != "koogallery" {
		t.Errorf("%+v", l)
	}
	if l := r.show("b1"); l.State != license.StateActive || l.ExpiresAt != nil || l.Product != "cam" || l.Machines != 1 || l.Customer != "c1" {
		t.Errorf("%+v", l)
	}
	// The answer to a renewal is, byte for byte, the one whose signature is published.
	r.clock.pass(time.Second)
	q := r.signed(r.key, "activity", "refreshLicense", "orderId", "CS9", "instanceId", "b1", "expireTime", "20280101080000")
	rs, body := r.do(http.MethodGet, "/marketplace/koogallery?"+q.Encode(), "", "")
	for _, b := range v.Bodies {
		if b.ID == "ok" && (body != string(b.Body) || rs.Header.Get("Body-Sign") != b.Header) {
			t.Errorf("%s is signed as %s", body, rs.Header.Get("Body-Sign"))
		}
	}
}

// A purchase from the first call to its end, over the wire, and offline.
func TestV1Life(t *testing.T) {
	t.Parallel()
	r := startV1(t)
	first := r.call("000000", purchase()...)
	lic := r.verify("cad", first.License)
	if st := lic.Check(r.clock.get().AddDate(0, 10, 0)); !st.Usable || lic.InstallID() != "" || lic.Claims().Binding.Policy != license.PolicyNone || lic.Claims().Machines != 3 {
		t.Errorf("%+v, %+v", st, lic.Claims())
	}
	events := len(r.audit())
	for range 2 { // the buyer opens the console, also after a restart
		r.clock.pass(11 * time.Minute) // longer than the newer interfaces remember a message
		if again := r.call("000000", purchase("businessId", "business-2")...); again != first {
			t.Errorf("the same order again: %+v", again)
		}
		r.down()
		r.up()
	}
	// The very same call is one too.
	query := r.signed(r.key, purchase()...).Encode()
	a := r.get("koogallery", query, r.key.Reveal())
	r.clock.pass(11 * time.Minute)
	if b := r.get("koogallery", query, r.key.Reveal()); a != first || b != first || len(r.audit()) != events {
		t.Errorf("%+v, %+v, %d events after %d", a, b, len(r.audit()), events)
	}
	instance := []string{"orderId", "CS1", "instanceId", first.Instance}
	freeze := r.signed(r.key, append(instance, "activity", "expireInstance")...).Encode()
	if a := r.get("koogallery", freeze, r.key.Reveal()); a.Code != "000000" {
		t.Errorf("%+v", a)
	}
	if l := r.show(first.Instance); l.State != license.StateSuspended {
		t.Errorf("frozen, it is %s", l.State)
	}
	r.call("000000", "activity", "refreshLicense", "orderId", "CS2", "instanceId", first.Instance, "expireTime", "20270101080000")
	if l := r.show(first.Instance); l.State != license.StateActive || l.ExpiresAt.Format("20060102") != "20270101" {
		t.Errorf("renewed, it is %+v", l)
	}
	other := r.call("000000", purchase("orderId", "CS9", "businessId", "business-9")...).Instance
	r.clock.pass(11 * time.Minute)
	for range 6 { // any other calls
		r.call("000000", "activity", "expireLicense", "orderId", "CS9", "instanceId", other)
	}
	events = len(r.audit())
	if a := r.get("koogallery", freeze, r.key.Reveal()); a.Code != "000000" || len(r.audit()) != events || r.show(first.Instance).State != license.StateActive {
		t.Errorf("the call from before the renewal again: %+v, %d events after %d", a, len(r.audit()), events)
	}
	renewed := r.call("000000", purchase()...)
	if l := r.verify("cad", renewed.License); l.Dates().ExpiresAt.Format("20060102") != "20270101" || renewed.Instance != first.Instance {
		t.Errorf("%+v", l.Dates())
	}
	var rotated adminwire.Rotated
	if err := r.admin(http.MethodPost, adminwire.PathRotate, nil, &rotated); err != nil {
		t.Fatal(err)
	}
	if under := r.call("000000", purchase()...); under.License == renewed.License || r.verify("cad", under.License).ID() != r.verify("cad", renewed.License).ID() {
		t.Error("under the next key another licence is signed, or none")
	}
	r.call("000000", append(instance, "activity", "releaseLicense")...)
	r.call("000000", append(instance, "activity", "releaseLicense")...)
	r.call("000000", append(instance, "activity", "expireLicense")...)
	if l := r.show(first.Instance); l.State != license.StateReleased {
		t.Errorf("released, it is %s", l.State)
	}
	if a := r.call("000003", purchase()...); a.License != "" || a.Instance != "" {
		t.Errorf("%+v", a)
	}
}

// The text of a product that is bound to machines brings the code for them.
func TestV1ActivatesMachines(t *testing.T) {
	t.Parallel()
	r := startV1(t)
	a := r.call("000000", purchase("productId", "p1")...)
	lic := r.verify("cam", a.License)
	if st := lic.Check(r.clock.get()); !st.Usable || !lic.Dates().LeaseUntil.Before(lic.Dates().Exp) {
		t.Errorf("%+v, %+v", st, lic.Dates())
	}
	line, _, _ := strings.Cut(a.License, "\n")
	code, found := strings.CutPrefix(line, "Authorization code: ")
	if !found {
		t.Fatal(a.License)
	}
	guard := func() *client.Guard {
		data, err := os.ReadFile(filepath.Join(r.dir, "licensed-data/keys/anchors.json"))
		if err != nil {
			t.Fatal(err)
		}
		anchors, err := client.ParseAnchors(data)
		if err != nil {
			t.Fatal(err)
		}
		g, err := client.Open(t.Context(), client.Options{
			Anchors: anchors, Product: "cam", Server: "http://" + r.d.Addr(), StateDir: t.TempDir(), Now: r.clock.get, HTTPClient: r.c, Manual: true,
			Fingerprint: func(context.Context) (fingerprint.Set, error) {
				return fingerprint.Set{Values: map[license.Kind][]string{license.KindDisk: {"S1"}, license.KindOS: {"O1"}}}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = g.Close() })
		return g
	}()
	if err := guard.Import([]byte(a.License)); err != nil || !guard.Status().Usable {
		t.Fatalf("%v, %+v", err, guard.Status())
	}
	r.clock.pass(time.Minute)
	if err := guard.Activate(t.Context(), code); err != nil {
		t.Fatal(err)
	}
	if st := guard.Status(); !st.Usable || r.show(a.Instance).State != license.StateActive {
		t.Errorf("%+v", st)
	}
	r.call("000000", "activity", "refreshLicense", "orderId", "CS2", "instanceId", a.Instance, "expireTime", "20270101080000")
	if err := guard.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := guard.Import([]byte(a.License)); license.ReasonOf(err) != license.Older {
		t.Errorf("the text takes the place of what the machine holds: %v", err)
	}
}

// What is not in order gets its code, and changes nothing.
func TestV1BadCalls(t *testing.T) {
	t.Parallel()
	r := startV1(t)
	sold := r.call("000000", purchase()...)
	r.clock.pass(time.Minute)
	instance := func(more ...string) []string {
		return append([]string{"activity", "refreshLicense", "orderId", "CS1", "instanceId", sold.Instance, "expireTime", "20270101080000"}, more...)
	}
	without := func(name string, pairs []string) []string {
		i := slices.Index(pairs, name)
		return append(slices.Clone(pairs[:i]), pairs[i+2:]...)
	}
	next := func(more ...string) []string { return purchase(append([]string{"orderId", "CS5"}, more...)...) }
	stamp := func(d time.Duration) string { return r.clock.get().Add(d).Format("20060102150405") + "000" }
	before, events := r.licences(), len(r.audit())
	for name, c := range map[string]struct {
		pairs []string
		code  string
		field string
	}{
		"no activity":                  {without("activity", instance()), "000002", "activity"},
		"unknown activity":             {instance("activity", "newInstance"), "000002", "activity"},
		"expiry in another case":       {instance("activity", "ExpireLicense"), "000002", "activity"},
		"too old":                      {instance("timeStamp", stamp(-15*time.Minute-time.Second)), "000002", "timeStamp"},
		"from the future":              {instance("timeStamp", stamp(15*time.Minute+time.Second)), "000002", "timeStamp"},
		"no time":                      {instance("timeStamp", ""), "000002", "timeStamp"},
		"time in words":                {instance("timeStamp", "now"), "000002", "timeStamp"},
		"no instance":                  {without("instanceId", instance()), "000002", "instanceId"},
		"empty instance":               {instance("instanceId", ""), "000002", "instanceId"},
		"long instance":                {instance("instanceId", strings.Repeat("i", 65)), "000002", "instanceId"},
		"instance in lines":            {instance("instanceId", "a\nb"), "000002", "instanceId"},
		"another instance":             {instance("instanceId", "business-2"), "000003", ""},
		"another instance freezes":     {instance("instanceId", "business-2", "activity", "expireLicense"), "000003", ""},
		"another instance is released": {instance("instanceId", "business-2", "activity", "releaseLicense"), "000003", ""},
		"no end":                       {without("expireTime", instance()), "000002", "expireTime"},
		"an end in words":              {instance("expireTime", "tomorrow"), "000002", "expireTime"},
		"an end cut":                   {instance("expireTime", "202701010800"), "000002", "expireTime"},
		"the 30th of February":         {instance("expireTime", "20270230000000"), "000002", "expireTime"},
		"an end before all":            {instance("expireTime", "00010101000000"), "000002", "expireTime"},
		"no order":                     {without("orderId", instance()), "000002", "orderId"},
		"long order":                   {next("orderId", strings.Repeat("o", 65)), "000002", "orderId"},
		"order in lines":               {next("orderId", "CS5\r\n"), "000002", "orderId"},
		"no customer":                  {without("customerId", next()), "000002", "customerId"},
		"long customer":                {next("customerId", strings.Repeat("c", 101)), "000002", "customerId"},
		"long name":                    {next("customerName", strings.Repeat("名", 65)), "000002", "customerName"},
		"no business":                  {without("businessId", next()), "000002", "businessId"},
		"no product":                   {without("productId", next()), "000002", "productId"},
		"unknown product":              {next("productId", "OFFI9"), "000002", "productId"},
		"an id of ours":                {next("productId", "cad"), "000002", "productId"},
		"quantity in words":            {next("amount", "three"), "000002", "amount"},
		"negative quantity":            {next("amount", "-1"), "000002", "amount"},
		"huge quantity":                {next("amount", "1000001"), "000002", "amount"},
		"endless quantity":             {next("amount", "99999999999999999999"), "000002", "amount"},
		"bad estimate":                 {next("expireTime", "2026"), "000002", "expireTime"},
		"a period that has no end":     {next("expireTime", "", "periodType", "eon"), "000002", "expireTime"},
		"a thousand years":             {next("expireTime", "", "periodNumber", "1000"), "000002", "expireTime"},
		"bad flag":                     {next("testFlag", "yes"), "000002", "testFlag"},
		"two in one":                   {next("customerName", "ACME&amount=9"), "000002", ""},
	} {
		q := r.signed(r.key, c.pairs...).Encode()
		signed := r.key.Reveal()
		if c.field == "timeStamp" || name == "two in one" {
			signed = "the key before" // before any key was tried
		}
		a := r.get("koogallery", q, signed)
		if a.Code != c.code || c.field != "" && !strings.HasSuffix(a.Msg, ": "+c.field) || a.License != "" || a.Instance != "" {
			t.Errorf("%s: %+v, want %s %s", name, a, c.code, c.field)
		}
	}
	good := r.signed(r.key, next()...)
	changed := func(f func(url.Values)) string {
		q := url.Values{}
		for k, v := range good {
			q[k] = slices.Clone(v)
		}
		f(q)
		return q.Encode()
	}
	for name, c := range map[string]struct{ query, code string }{
		"nothing":             {"", "000001"},
		"no token":            {changed(func(q url.Values) { q.Del("authToken") }), "000001"},
		"half a token":        {changed(func(q url.Values) { q.Set("authToken", q.Get("authToken")[:22]) }), "000001"},
		"another key":         {r.signed(koogallery.NewAccessKey("x"), next()...).Encode(), "000001"},
		"another entry's key": {r.signed(koogallery.NewAccessKey("the key of another"), next()...).Encode(), "000001"},
		"another quantity":    {changed(func(q url.Values) { q.Set("amount", "300") }), "000001"},
		"one more parameter":  {changed(func(q url.Values) { q.Set("zz", "1") }), "000001"},
		"cut":                 {changed(func(q url.Values) { q.Del("skuCode"); q.Del("periodType") }), "000001"},
		"twice":               {good.Encode() + "&amount=3", "000002"},
		"cut in an escape":    {good.Encode() + "&x=%4", "000002"},
		"over the limit":      {good.Encode() + "&x=" + strings.Repeat("a", koogallery.MaxV1Query), "000002"},
		"too many":            {good.Encode() + manyV1(koogallery.MaxV1Params), "000002"},
		"bad UTF-8":           {good.Encode() + "&x=%ff", "000002"},
	} {
		if a := r.get("koogallery", c.query, "the key before"); a.Code != c.code || a.License != "" {
			t.Errorf("%s: %+v, want %s", name, a, c.code)
		}
	}
	// An instance is its entry's: the other one does not know it, and has an order of the same id of its own.
	if a := r.get("second", r.signed(koogallery.NewAccessKey("the key of another"), instance()...).Encode(), "the key of another"); a.Code != "000003" {
		t.Errorf("%+v", a)
	}
	after := r.licences()
	if len(after) != len(before) || after[0].Revision != before[0].Revision || len(r.audit()) != events {
		t.Errorf("refused calls left %+v, and %d events after %d", after, len(r.audit()), events)
	}
	// The good one is taken, also with the blank that an unescaped "+" becomes.
	if a := r.get("koogallery", strings.ReplaceAll(good.Encode(), "%2B", "+"), r.key.Reveal()); a.Code != "000000" || a.License == "" {
		t.Errorf("%+v", a)
	}
}

func manyV1(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&x%d=", i)
	}
	return b.String()
}

// Debug calls are answered, and touch nothing.
func TestV1DebugCalls(t *testing.T) {
	t.Parallel()
	r := startV1(t)
	if a := r.call("000000", purchase("testFlag", "1")...); a.License != koogallery.V1TestLicense || a.Instance != "business-1" {
		t.Errorf("%+v", a)
	}
	for _, activity := range []string{"refreshLicense", "expireLicense", "expireInstance", "releaseLicense"} {
		r.call("000000", "activity", activity, "orderId", "o", "instanceId", "nobody", "expireTime", "20270101000000", "testFlag", "1")
	}
	r.call("000002", "activity", "releaseLicense", "orderId", "o", "testFlag", "1")
	if ls, events := r.licences(), r.audit(); len(ls) != 0 || len(events) != 0 {
		t.Errorf("%+v, %+v", ls, events)
	}
}

// A purchase for a period ends, also where it does not say when.
func TestV1PeriodWithoutAnEnd(t *testing.T) {
	t.Parallel()
	r := startV1(t)
	for i, c := range []struct{ period, number, want string }{
		{"year", "", "20260101"},
		{"year", "3", "20280101"},
		{"month", "2", "20250301"},
		{"", "", ""},
	} {
		a := r.call("000000", purchase("orderId", fmt.Sprint("CS", i), "businessId", fmt.Sprint("b", i), "expireTime", "", "periodType", c.period, "periodNumber", c.number)...)
		l := r.show(a.Instance)
		got := ""
		if l.ExpiresAt != nil {
			got = l.ExpiresAt.Format("20060102")
		}
		if got != c.want {
			t.Errorf("%+v: until %q", c, got)
		}
	}
}

// The old interface is answered only where it is switched on; other methods never.
func TestV1IsOff(t *testing.T) {
	t.Parallel()
	r := startV1(t)
	q := r.signed(r.key, purchase()...).Encode()
	rs, body := r.do(http.MethodGet, "/marketplace/newer?"+q, "", "")
	if p := problem(t, rs, body); p.Status != http.StatusMethodNotAllowed || rs.Header.Get("Allow") != "POST" || rs.Header.Get("Body-Sign") != "" {
		t.Errorf("%+v, %v", p, rs.Header)
	}
	if rs, _ := r.do(http.MethodHead, "/marketplace/koogallery?"+q, "", ""); rs.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HEAD: HTTP %d", rs.StatusCode)
	}
	rs, body = r.do(http.MethodPut, "/marketplace/koogallery?"+q, wire.TypeJSON, "{}")
	if p := problem(t, rs, body); p.Status != http.StatusMethodNotAllowed {
		t.Errorf("%+v", p)
	}
	if len(r.licences()) != 0 {
		t.Error("something was sold")
	}
}

// Neither secrets nor what identifies a person are written down, and what the
// marketplace encrypted is not kept in any form.
func TestV1KeepsSecrets(t *testing.T) {
	t.Parallel()
	r := startV1(t)
	v := vectorsV1(t)
	mobile, mail := v.Encryption[0], v.Encryption[2]
	q := r.signed(r.key, purchase("mobilePhone", mobile.Value, "email", mail.Value, "encryptType", "1")...)
	a := r.get("koogallery", q.Encode(), r.key.Reveal())
	if a.Code != "000000" {
		t.Fatalf("%+v", a)
	}
	r.get("koogallery", q.Encode()+"&x=1", "the key before")
	r.call("000002", purchase("orderId", "CS2", "productId", "OFFI9", "mobilePhone", mobile.Value, "email", mail.Value)...)
	// What cannot be decrypted is nobody's loss.
	r.call("000000", purchase("orderId", "CS3", "businessId", "b3", "mobilePhone", "x", "email", strings.Repeat("y", 5000))...)
	line, rest, _ := strings.Cut(a.License, "\n")
	code := strings.TrimPrefix(line, "Authorization code: ")
	events, err := json.Marshal(r.audit())
	if err != nil {
		t.Fatal(err)
	}
	r.down()
	stored := r.stored()
	r.up() // to be stopped again
	log := r.log.String()
	if !strings.Contains(log, "OFFI9") || !strings.Contains(log, "business-1") {
		t.Errorf("the log does not say what happened:\n%s", log)
	}
	for name, secret := range map[string]string{
		"the mobile number": mobile.Plain, "the encrypted mobile number": mobile.Value[16:], "the mail address": mail.Plain,
		"the encrypted mail address": mail.Value[16:], "the access key": r.key.Reveal(), "the token of a call": q.Get("authToken"),
		"the code": code, "the licence": strings.Split(rest, "\n")[1],
	} {
		for place, text := range map[string]string{"log": log, "audit log": string(events), "store": string(stored)} {
			if secret == "" || strings.Contains(text, secret) || strings.Contains(text, url.QueryEscape(secret)) {
				t.Errorf("%s is in the %s", name, place)
			}
		}
	}
	if strings.Contains(log, "ACME") || strings.Contains(log, "c-4711") {
		t.Error("the customer is in the log")
	}
}
