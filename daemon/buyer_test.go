package daemon_test

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"image"
	"image/png"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// buyerConfig lets licences move without waiting.
var buyerConfig = strings.Replace(config, "machines: 2,", "machines: 1, transfers: {cool_down: 0}, phases: {warn: 720h, grace: 360h, enforcement: degrade},", 1)

// buyer is a browser that looks at the public listener.
func (m *merchant) buyer() *browser {
	m.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return &browser{t: m.t, base: "http://" + m.d.Addr(), c: &http.Client{Jar: jar}}
}

// handed is a file in a form.
type handed struct {
	field, name string
	data        []byte
}

// handIn sends the first page in, as browsers do: a field without a file is there, too.
func (b *browser) handIn(fields map[string]string, files ...handed) (status int, page string) {
	b.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, value := range fields {
		if err := w.WriteField(name, value); err != nil {
			b.t.Fatal(err)
		}
	}
	for _, field := range []string{"file", "photo"} {
		f := handed{field: field}
		for _, given := range files {
			if given.field == field {
				f = given
			}
		}
		part, err := w.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {fmt.Sprintf(`form-data; name="%s"; filename="%s"`, field, f.name)}, "Content-Type": {"application/octet-stream"},
		})
		if err == nil {
			_, err = part.Write(f.data)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.t.Fatal(err)
	}
	rq, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.base+"/activate", &body)
	if err != nil {
		b.t.Fatal(err)
	}
	rq.Header.Set("Content-Type", w.FormDataContentType())
	return b.do(rq)
}

func asFile(raw string) handed {
	return handed{"file", "machine.req", token.MarshalRequestFile(raw)}
}

// sentTo are the hidden fields of the form of a page that is sent to an address.
func sentTo(t *testing.T, page, action string) url.Values {
	t.Helper()
	main := page[strings.Index(page, "<main"):]
	_, form, ok := strings.Cut(main, `<form action="`+action+`" method="post">`)
	if !ok {
		_, form, ok = strings.Cut(main, `<form class="get" action="`+action+`" method="post">`)
	}
	if !ok {
		t.Fatalf("no form for %s in %s", action, page)
	}
	form, _, _ = strings.Cut(form, "</form>")
	out := url.Values{}
	for _, f := range hiddenField.FindAllStringSubmatch(form, -1) {
		out.Add(f[1], html.UnescapeString(f[2]))
	}
	return out
}

// fetch posts a form and returns the answer with its header.
func (b *browser) fetch(path string, form url.Values) (*http.Response, string) {
	b.t.Helper()
	rq, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	rq.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	m := merchant{t: b.t}
	return m.send(b.c, rq)
}

// placed is how many installs were given a place.
func (m *merchant) placed() int {
	m.t.Helper()
	return m.count(license.ActionActivate) + m.count(license.ActionBind) + m.count(license.ActionTransfer)
}

// offline is the product on a machine without a network.
func (m *merchant) offline(name string) *client.Guard {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.dir, "licensed-data", "keys", "anchors.json"))
	if err != nil {
		m.t.Fatal(err)
	}
	anchors, err := token.ParseAnchors(data)
	if err != nil {
		m.t.Fatal(err)
	}
	g, err := client.Open(m.t.Context(), client.Options{
		Anchors: anchors, Product: "cad", StateDir: m.t.TempDir(), Manual: true,
		Fingerprint: func(context.Context) (fingerprint.Set, error) {
			return fingerprint.Set{Environment: fingerprint.VM, Values: map[license.Kind][]string{license.KindDisk: {"disk-" + name}, license.KindOS: {"os-" + name}}}, nil
		},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = g.Close() })
	return g
}

// carry takes a request of g through the pages and the answer back.
func (b *browser) carry(g *client.Guard, op client.Op, typed string, wants ...string) {
	b.t.Helper()
	file, err := g.Request(b.t.Context(), op, client.RequestOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	status, page := b.handIn(map[string]string{"code": typed}, handed{"file", "machine.req", file})
	wantSays(b.t, string(op), status, page, http.StatusOK, wants[0])
	form := sentTo(b.t, page, "/activate/confirm")
	status, page = b.post("/activate/confirm", form)
	wantSays(b.t, string(op), status, page, http.StatusOK, wants[1:]...)
	rs, answer := b.fetch("/activate/download", sentTo(b.t, page, "/activate/download"))
	if rs.StatusCode != http.StatusOK || rs.Header.Get("Content-Type") != wire.TypePEM {
		b.t.Fatalf("%s: %s %s", op, rs.Status, answer)
	}
	if err := g.Import([]byte(answer)); err != nil {
		b.t.Fatalf("%s: import: %v", op, err)
	}
}

// A machine without a network gets its licence, a fresh one, loses it to another one,
// and that one gives it up, all by files that were carried to the page.
func TestBuyersPage(t *testing.T) {
	t.Parallel()
	m := start(t, buyerConfig, nil)
	l := m.issue()
	for _, lang := range []struct {
		name                                                       string
		review, done, moveReview, moved, renewed, giveUp, released string
	}{
		{"en", "Activate this machine", "The machine is licensed", "Move the licence to this machine", "The licence has moved", "renewed", "Give the licence of this machine up", "The licence was given up"},
		{"zh-CN", "激活此机器", "机器已获得许可", "将许可证迁移到此机器", "许可证已迁移", "已更新", "停用此机器的许可证", "许可证已停用"},
	} {
		b := m.buyer()
		status, page := b.get("/activate?lang=" + lang.name)
		wantSays(t, "the first page", status, page, http.StatusOK, `lang="`+lang.name+`"`, `enctype="multipart/form-data"`)
		one, two := m.offline("one-"+lang.name), m.offline("two-"+lang.name)
		b.carry(one, client.OpActivate, strings.ToLower(l.Code), lang.review, lang.done, "ACME", l.CodeLast4, "edition: gold")
		if s := one.Status(); !s.Usable || s.State != license.StateActive {
			t.Fatalf("%s: %+v", lang.name, s)
		}
		b.carry(one, client.OpRefresh, "", "…"+l.CodeLast4, lang.renewed)
		b.carry(two, client.OpTransfer, l.Code, lang.moveReview, lang.moved)
		if s := two.Status(); !s.Usable {
			t.Fatalf("%s: moved: %+v", lang.name, s)
		}
		b.carry(two, client.OpDeactivate, "", lang.giveUp, lang.released)
		if s := two.Status(); s.Usable {
			t.Errorf("%s: given up: %+v", lang.name, s)
		}
	}
	live := 0
	for _, in := range m.show(l.ID).Installs {
		if in.State == license.InstallLive {
			live++
		}
	}
	if live != 0 {
		t.Errorf("%d installs are left", live)
	}
	if n := m.placed(); n != 4 {
		t.Errorf("%d installs were bound, want 4", n)
	}
}

// Looking at a request changes nothing, and sending in the same twice does nothing twice.
func TestBuyersPageOnce(t *testing.T) {
	t.Parallel()
	m := start(t, buyerConfig, nil)
	l := m.issue()
	b := m.buyer()
	raw := activation(t, "", "m")
	status, page := b.handIn(map[string]string{"code": " " + l.Code + " "}, asFile(raw))
	wantSays(t, "the review", status, page, http.StatusOK, "CAD", l.CodeLast4, "disks", "operating system id")
	if strings.Contains(page, "ACME") {
		t.Error("the page says whose licence it is before anything is proven")
	}
	if got := m.show(l.ID); got.Revision != l.Revision || len(got.Installs) != 0 {
		t.Fatalf("a look has changed it: %+v", got)
	}
	form := sentTo(t, page, "/activate/confirm")
	if form.Get("request") != raw {
		t.Fatalf("another request travels on: %v", form)
	}
	var files []string
	for range 2 {
		status, page = b.post("/activate/confirm", form)
		wantSays(t, "confirmed", status, page, http.StatusOK, "The machine is licensed", "without the licensed features", "cad-"+l.CodeLast4+".lic")
		rs, file := b.fetch("/activate/download", sentTo(t, page, "/activate/download"))
		if rs.Header.Get("Content-Disposition") != "attachment; filename=cad-"+l.CodeLast4+".lic" || rs.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v", rs.Header)
		}
		files = append(files, file)
	}
	_, byAPI := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, string(token.MarshalRequestFile(raw)), "Accept", wire.TypePEM)
	if !strings.Contains(files[0], "BEGIN LICENSE-----") || files[0] != files[1] {
		t.Errorf("two answers to one request:\n%s\n%s\n%s", files[0], files[1], byAPI)
	}
	if n := m.placed(); n != 1 {
		t.Errorf("bound %d times", n)
	}

	// In another language nothing that was entered is lost.
	again := url.Values{"request": {raw}, "code": {l.Code}, "lang": {"zh-CN"}}
	status, page = b.post("/activate", again)
	wantSays(t, "in Chinese", status, page, http.StatusOK, "请确认", `lang="zh-CN"`)
	if sentTo(t, page, "/activate/confirm").Get("request") != raw {
		t.Error("the request was lost")
	}
	if _, page = b.get("/activate"); !strings.Contains(page, "为无法联网的机器激活许可证") {
		t.Error("the language was not kept")
	}
	for _, path := range []string{"/activate/", "/activate/confirm", "/activate/download"} {
		if status, page := b.get(path); status != http.StatusOK || !strings.Contains(page, `id="hand-in"`) {
			t.Errorf("%s: %d", path, status)
		}
	}
}

// Whatever is handed in wrongly is named, with what to do, and changes nothing.
func TestBuyersPageBadInput(t *testing.T) {
	t.Parallel()
	m := start(t, buyerConfig, nil)
	l := m.issue()
	b := m.buyer()
	raw, other := activation(t, "", "m"), activation(t, "", "n")
	file := token.MarshalRequestFile(raw)
	text, err := token.MarshalRequestText(raw)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(file)
	copy(changed[len(changed)/2:], "AAAA")
	forged := raw[:len(raw)-8] + "AAAAAAAA"
	code := map[string]string{"code": l.Code}
	large := make([]byte, 9<<20)
	copy(large, "\xff\xd8\xff\xe0")
	for name, c := range map[string]struct {
		fields map[string]string
		files  []handed
		says   []string
	}{
		"nothing":     {code, nil, []string{"No request was given"}},
		"empty":       {code, []handed{{"file", "x.req", nil}}, []string{"The file is empty"}},
		"blank":       {code, []handed{{"file", "x.req", []byte("\r\n \n")}}, []string{"The file is empty"}},
		"an answer":   {code, []handed{{"file", "x.lic", token.File{Licenses: []string{raw}}.Marshal()}}, []string{"This is a licence file, not a request", "import it"}},
		"a cut file":  {code, []handed{{"file", "x.req", file[:len(file)-80]}}, []string{"Some of the request is missing"}},
		"a cut text":  {map[string]string{"code": l.Code, "text": text[:len(text)-30]}, nil, []string{"Some of the request is missing", "LR1:"}},
		"changed":     {code, []handed{{"file", "x.req", changed}}, []string{`role="alert"`}},
		"forged":      {code, []handed{{"file", "x.req", token.MarshalRequestFile(forged)}}, []string{"The request was changed on its way"}},
		"two":         {code, []handed{{"file", "x.req", append(bytes.Clone(file), file...)}}, []string{"There is more than one request"}},
		"different":   {map[string]string{"code": l.Code, "text": text}, []handed{asFile(other)}, []string{"You gave different requests"}},
		"unrelated":   {code, []handed{{"file", "x.docx", []byte("PK\x03\x04 and so on")}}, []string{"This is not a request"}},
		"too large":   {code, []handed{{"file", "x.zip", make([]byte, 300<<10)}}, []string{"too large for a request"}},
		"a large one": {code, []handed{{"photo", "x.jpg", large}}, []string{"<strong>The photo is too large</strong>"}},
		"HEIC":        {code, []handed{{"photo", "x.heic", append([]byte("\x00\x00\x00\x18ftypheic"), make([]byte, 100)...)}}, []string{"This kind of picture", "Most Compatible"}},
		"no code":     {code, []handed{{"photo", "x.png", picture(t, 80, 80)}}, []string{"No QR code can be read"}},
		"many pixels": {code, []handed{{"photo", "x.png", picture(t, 5000, 3300)}}, []string{"<strong>The photo is too large</strong>"}},
		"cut photo":   {code, []handed{{"photo", "x.png", picture(t, 300, 300)[:60]}}, []string{"The photo is damaged"}},
		"not its code": {
			map[string]string{"code": l.Code}, []handed{asFile(activation(t, m.issue().Code, "m"))}, []string{"The request holds another code", "is kept"},
		},
		"no authorization code": {nil, []handed{asFile(raw)}, []string{"The code is needed", "is kept", `name="request" value="` + raw + `"`}},
		"a typing error":        {map[string]string{"code": l.Code[:len(l.Code)-1] + "U"}, []handed{asFile(raw)}, []string{"typing error", "is kept", `aria-invalid="true"`}},
		"no code at all":        {map[string]string{"code": "\x01\x02"}, []handed{asFile(raw)}, []string{"This cannot be a code"}},
		"script": {
			map[string]string{"code": `"><script>alert(1)</script>`, "text": `</textarea><script>alert(2)</script>`, "request": `"><script>`},
			nil,
			[]string{"This is not a request", "&lt;/textarea&gt;"},
		},
	} {
		status, page := b.handIn(c.fields, c.files...)
		wantSays(t, name, status, page, map[bool]int{true: http.StatusUnauthorized, false: http.StatusBadRequest}[name == "forged"], c.says...)
		if strings.Contains(page, "<script>") || !strings.Contains(page, `id="hand-in"`) {
			t.Errorf("%s: %s", name, page)
		}
		if strings.Contains(page, "is kept") != strings.Contains(page, `name="request"`) {
			t.Errorf("%s: what is kept is not there, or not told", name)
		}
	}
	for name, body := range map[string]string{"no end": "--x\r\nContent-Disposition: form-data; name=\"code\"\r\n\r\nab", "no form": "nonsense", "nothing": ""} {
		rq, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.base+"/activate", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		rq.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		status, page := b.do(rq)
		wantSays(t, name, status, page, http.StatusBadRequest, `role="alert"`)
	}
	status, page := b.handIn(map[string]string{"code": l.Code, "text": strings.Repeat("x", 100<<10)})
	wantSays(t, "a long text", status, page, http.StatusBadRequest, "This is not a request", `value="`+l.Code+`"`)
	if len(page) > 60<<10 {
		t.Errorf("a page of %d bytes", len(page))
	}
	status, page = b.post("/activate/confirm", url.Values{"request": {strings.Repeat("x", 600<<10)}})
	wantSays(t, "a form without end", status, page, http.StatusBadRequest, "Nothing was changed")
	status, page = b.post("/activate/confirm", nil)
	wantSays(t, "an empty form", status, page, http.StatusBadRequest, "Begin anew")

	status, page = b.handIn(map[string]string{"code": l.Code, "request": raw})
	wantSays(t, "what was kept", status, page, http.StatusOK, "Please check")
	status, page = b.post("/activate", url.Values{"code": {l.Code}, "request": {raw}, "edit": {"1"}})
	wantSays(t, "back again", status, page, http.StatusOK, "is kept", `value="`+l.Code+`"`)
	status, page = b.post("/activate/confirm", sentTo(t, pageOf(b, l.Code, raw), "/activate/confirm"), "Sec-Fetch-Site", "cross-site")
	wantSays(t, "from another site", status, page, http.StatusForbidden, "Not allowed")
	if got := m.show(l.ID); got.Revision != l.Revision || len(got.Installs) != 0 || m.placed() != 0 {
		t.Errorf("bad input has changed it: %+v", got)
	}
}

func pageOf(b *browser, code, raw string) string {
	b.t.Helper()
	status, page := b.handIn(map[string]string{"code": code}, asFile(raw))
	wantSays(b.t, "the review", status, page, http.StatusOK, "Please check")
	return page
}

func picture(t *testing.T, w, h int) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := png.Encode(&buf, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// A refusal is said in plain words, with what to do next, in both languages, and
// changes nothing.
func TestBuyersPageRefuses(t *testing.T) {
	t.Parallel()
	m := start(t, buyerConfig+"activate: {title: Tools & Co, contact: help@example.com}\n", nil)
	full, held, gone := m.issue(), m.issue(), m.issue()
	if rs, body := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, string(token.MarshalRequestFile(activation(t, full.Code, "first")))); rs.StatusCode != http.StatusOK {
		t.Fatal(body)
	}
	for path, in := range map[string]any{
		strings.ReplaceAll(adminwire.PathSuspend, "{id}", held.ID): nil,
		strings.ReplaceAll(adminwire.PathRelease, "{id}", gone.ID): nil,
	} {
		if err := m.admin(http.MethodPost, path, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	fake, err := license.NewCode(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, zh := m.buyer(), m.buyer()
	zh.get("/activate?lang=zh-CN")
	for _, c := range []struct {
		name, code string
		status     int
		says, sagt string
	}{
		{"a wrong code", fake.Reveal(), http.StatusNotFound, "This code is not known", "授权码不存在"},
		{"full", full.Code, http.StatusForbidden, "Give the licence up on a machine", "生成停用请求"},
		{"suspended", held.Code, http.StatusForbidden, "The licence is on hold", "许可证已暂停"},
		{"released", gone.Code, http.StatusForbidden, "You need another code", "您需要其他授权码"},
	} {
		raw := activation(t, "", c.name)
		page := pageOf(b, c.code, raw)
		if strings.Contains(page, "ACME") {
			t.Errorf("%s: the page tells about the code", c.name)
		}
		form := sentTo(t, page, "/activate/confirm")
		status, page := b.post("/activate/confirm", form)
		wantSays(t, c.name, status, page, c.status, c.says, "Nothing was changed", "mailto:help@example.com", "Tools &amp; Co")
		status, page = zh.post("/activate/confirm", form)
		wantSays(t, c.name, status, page, c.status, c.sagt, "没有任何内容被更改")
		// What was entered is there when one goes back.
		status, page = b.post("/activate", sentTo(t, page, "/activate"))
		wantSays(t, c.name, status, page, http.StatusOK, `value="`+c.code+`"`, `value="`+raw+`"`)
	}
	if n := m.placed(); n != 1 {
		t.Errorf("%d installs are bound", n)
	}
	// What a licence holds is shown as text.
	l := m.issueOne(adminwire.Issue{Product: "cad", For: "30d", Customer: `"><script>alert(1)</script>`})
	status, page := b.post("/activate/confirm", url.Values{"request": {activation(t, "", "s")}, "code": {l.Code}})
	wantSays(t, "script", status, page, http.StatusOK, "&lt;script&gt;alert(1)")
	if strings.Contains(page, "<script>") {
		t.Error("a customer's script runs")
	}
}
