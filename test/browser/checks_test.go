package browser_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const (
	maxDocument = 60_000 // bytes of a page, unpacked
	maxWire     = 60_000 // and of all that it loads, before anything is cached
	maxShift    = 0.01
)

// faults are what is wrong with a page that was seen.
func (v visit) faults(s seen, status int) []string {
	var out []string
	bad := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if s.Error != "" {
		bad("the visit failed at %s: %s", s.URL, s.Error)
		return out
	}
	if s.Status != status {
		bad("HTTP %d, want %d", s.Status, status)
	}
	if want := strings.TrimSuffix(v.Lang, "-US"); s.Lang != want {
		bad("its language is %q, want %q", s.Lang, want)
	}
	for _, text := range s.Console {
		bad("the console shows an error: %s", text)
	}
	for _, url := range s.Foreign {
		bad("it asks another host: %s", url)
	}
	if s.ScrollWidth > v.Width {
		bad("it is %d wide on a screen of %d and scrolls sideways: %s", s.ScrollWidth, v.Width, strings.Join(s.Wide, "; "))
	}
	if s.Shift >= maxShift {
		bad("its layout shifts by %.3f: %s", s.Shift, strings.Join(s.Shifted, ", "))
	}
	if s.Document == 0 || s.Document > maxDocument {
		bad("it has %d bytes, at most %d are wanted", s.Document, maxDocument)
	}
	if s.Wire > maxWire {
		bad("with all that it loads it has %d bytes as sent, at most %d are wanted", s.Wire, maxWire)
	}
	if s.Styles != 1 {
		bad("it has %d style sheets, want 1", s.Styles)
	}
	for _, b := range s.Blocking {
		if b.Kind != "link" || !strings.Contains(b.URL, ".css") {
			bad("before anything is painted the browser waits for a %s: %s", b.Kind, b.URL)
		}
	}
	for _, x := range s.Violations {
		bad("axe, %s, %d wide: %s (%s)\n\t\t%s", x.Scheme, x.Width, x.Help, x.Rule, strings.Join(firstOf(x.Nodes, 4), "\n\t\t"))
	}
	if v.Keyboard {
		out = append(out, s.Keyboard.faults(v.Action)...)
	}
	return out
}

func (k *keyboard) faults(action string) []string {
	var out []string
	for _, stop := range k.Stops {
		switch {
		case !stop.Outline:
			out = append(out, "one cannot see that this has the focus: "+stop.Is)
		case !stop.InView:
			out = append(out, "this has the focus out of sight: "+stop.Is)
		case stop.Covered:
			out = append(out, "something covers this when it has the focus: "+stop.Is)
		}
	}
	switch {
	case action == "":
	case !k.Reached:
		out = append(out, fmt.Sprintf("the Tab key does not reach %s in %d stops", action, len(k.Stops)))
	case !k.Shows:
		out = append(out, action+" looks the same with the focus")
	}
	return firstOf(out, 6)
}

func firstOf(all []string, n int) []string {
	if len(all) > n {
		return append(all[:n:n], fmt.Sprintf("and %d more", len(all)-n))
	}
	return all
}

// sound is a page that nothing is wrong with; one of its parts is replaced at a time.
var sound = map[string]string{
	"lang":   ` lang="en"`,
	"head":   `<title>Sound</title><meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css">`,
	"main":   `<h1>Sound</h1><p><a href="/elsewhere">A link</a></p><label for="f">Field</label> <input id="f">`,
	"action": `<button id="go">Go</button>`,
	"foot":   ``,
}

const soundStyle = `body { color: #111; background: #fff; margin: 1rem } :focus-visible { outline: 3px solid #005ea5 }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #111 } a { color: #9cf } .faint { color: #222 } }
@media (max-width: 500px) { .narrow { color: #ddd } }`

// defect is what a replacement of a part has to be found as.
type defect struct {
	name, part, with string
	want             string // of one fault
	width            int    // desktop where it is 0
	axe              []int  // widths; nil where another check finds it
}

var defects = []defect{
	{name: "none", axe: []int{desktop, phone}},
	{name: "none on a phone", width: phone},
	{name: "the wrong language", part: "lang", with: ` lang="zh-CN"`, want: `its language is "zh-CN"`},
	{name: "an error in a script", part: "foot", with: `<script src="/throws.js" defer></script>`, want: "the console shows an error: Error: thrown"},
	{name: "a message of an error", part: "foot", with: `<script src="/logs.js" defer></script>`, want: "the console shows an error: logged"},
	{name: "a picture that is missing", part: "foot", with: `<img src="/none.png" alt="" width="1" height="1">`, want: "404"},
	{name: "what the policy forbids", part: "foot", with: `<p style="color: #000">styled</p>`, want: "Content Security Policy"},
	{name: "a picture of another host", part: "foot", with: `<img src="http://elsewhere.test/x.png" alt="" width="1" height="1">`, want: "it asks another host: http://elsewhere.test/x.png"},
	{name: "a wide table", part: "foot", with: `<div class="wide">wide</div>`, want: "scrolls sideways: div.wide to 1500"},
	{name: "a wide table on a phone", part: "foot", with: `<div class="wide">wide</div>`, want: "on a screen of 390 and scrolls sideways", width: phone},
	{name: "wide, but it scrolls by itself", part: "foot", with: `<div class="scroll" tabindex="0" role="region" aria-label="r"><div class="wide">wide</div></div>`, width: phone},
	{name: "a picture that pushes the text down", part: "main", with: `<h1>Sound</h1><img src="/slow.svg" alt=""><p>text</p><p>text</p><p>text</p>`, want: "its layout shifts by"},
	{name: "a long page", part: "foot", with: "<!--" + strings.Repeat("x", maxDocument) + "-->", want: "at most 60000 are wanted"},
	{name: "a heavy script", part: "foot", with: `<script src="/heavy.js" defer></script>`, want: "with all that it loads"},
	{name: "two style sheets", part: "foot", with: `<link rel="stylesheet" href="/other.css">`, want: "it has 2 style sheets"},
	{name: "a script to wait for", part: "head", with: sound["head"] + `<script src="/calm.js"></script>`, want: "the browser waits for a script"},
	{name: "a script not to wait for", part: "head", with: sound["head"] + `<script src="/calm.js" defer></script>`},
	{name: "a field without a label", part: "main", with: `<h1>Sound</h1><input id="f">`, want: "(label)", axe: []int{desktop}},
	{name: "faint text in the dark", part: "main", with: `<h1>Sound</h1><p class="faint">faint</p>`, want: "axe, dark, 1280 wide: ", axe: []int{desktop}},
	{name: "faint text on a phone", part: "main", with: `<h1>Sound</h1><p class="narrow">faint</p>`, want: "axe, light, 390 wide: ", axe: []int{desktop, phone}},
	{name: "a small target", part: "main", with: `<h1>Sound</h1><button class="tiny">a</button><button class="tiny">b</button>`, want: "(target-size)", axe: []int{desktop}},
	{name: "no focus to see", part: "action", with: `<button id="go" class="bare">Go</button>`, want: "one cannot see that this has the focus: <button"},
	{name: "an action out of reach", part: "action", with: `<button id="go" tabindex="-1">Go</button>`, want: "the Tab key does not reach #go"},
	{name: "an action out of sight", part: "action", with: `<button id="go" class="away">Go</button>`, want: "out of sight"},
	{name: "an action under something", part: "foot", with: `<div class="over">over</div>`, want: "something covers this when it has the focus"},
}

const defectStyle = soundStyle + `
.wide { width: 1500px; margin-left: -16px } .scroll { overflow-x: auto } .tiny { padding: 0; border: 0; width: 12px; height: 12px; font-size: 8px }
.bare:focus-visible { outline: none } .away { position: absolute; left: -999px; width: 90px } .over { position: fixed; inset: 0; background: #fff }`

func (d defect) page() string {
	p := func(part string) string {
		if d.part == part {
			return d.with
		}
		return sound[part]
	}
	return "<!doctype html><html" + p("lang") + "><head>" + p("head") + "</head><body><main>" + p("main") + p("action") + p("foot") + "</main></body></html>"
}

// The checks find each defect that is shown to them, and nothing where there is none.
func TestChecks(t *testing.T) {
	t.Parallel()
	tl := newTools(t)
	mux := http.NewServeMux()
	file := func(path, kind, content string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write([]byte(content))
		})
	}
	const js = "text/javascript"
	file("/style.css", "text/css", defectStyle)
	file("/other.css", "text/css", "p { margin: 0 }")
	file("/throws.js", js, `throw new Error("thrown")`)
	file("/logs.js", js, `console.error("logged")`)
	file("/calm.js", js, `document.title += "."`)
	file("/heavy.js", js, "//"+strings.Repeat("x", maxWire))
	painted := make(chan struct{})
	mux.HandleFunc("GET /slow.svg", func(w http.ResponseWriter, r *http.Request) {
		select { // the picture comes when the page was painted without it
		case <-painted:
		case <-r.Context().Done():
		}
		w.Header().Set("Content-Type", "image/svg+xml")
		_, _ = w.Write([]byte(`<svg xmlns="http://www.w3.org/2000/svg" width="600" height="300"/>`))
	})
	file("/painted.js", js, `new PerformanceObserver(() => fetch("/painted")).observe({ type: "paint", buffered: true })`)
	mux.HandleFunc("GET /painted", func(http.ResponseWriter, *http.Request) {
		select {
		case <-painted:
		default:
			close(painted)
		}
	})
	visits := make([]visit, 0, len(defects))
	for i, d := range defects {
		if strings.Contains(d.with, "/slow.svg") {
			d.with += `<script src="/painted.js" async></script>`
		}
		path := fmt.Sprintf("/defect/%d", i)
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Security-Policy", "style-src 'self'")
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write([]byte(d.page()))
		})
		visits = append(visits, visit{Path: path, Lang: english, Schemes: []string{light, dark}, Width: desktop, Measure: true, Keyboard: true, Action: "#go", Axe: d.axe})
		if d.width != 0 {
			visits[i].Width = d.width
		}
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	for i := range visits {
		visits[i].Origin = server.URL
	}
	for i, s := range tl.look(t, visits) {
		d, got := defects[i], visits[i].faults(s, http.StatusOK)
		all := strings.Join(got, "\n\t")
		switch {
		case d.want == "" && len(got) > 0:
			t.Errorf("%s: found\n\t%s", d.name, all)
		case d.want != "" && !strings.Contains(html.UnescapeString(all), d.want):
			t.Errorf("%s: not found; found was\n\t%s", d.name, all)
		}
	}
	// The wrong status, and a page that is not there.
	v := visits[0]
	v.Keyboard = false
	if got := v.faults(seen{Status: http.StatusOK}, http.StatusNotFound); len(got) == 0 || got[0] != "HTTP 200, want 404" {
		t.Errorf("%q", got)
	}
	if got := v.faults(seen{Error: "gone"}, http.StatusOK); len(got) != 1 || !strings.Contains(got[0], "gone") {
		t.Errorf("%q", got)
	}
}
