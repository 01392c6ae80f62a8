package browser_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Languages, colour schemes and widths that pages are looked at in.
const (
	english = "en-US"
	chinese = "zh-CN"
	light   = "light"
	dark    = "dark"
	desktop = 1280
	phone   = 390
)

// axeTags are the rules of axe-core that have to hold: WCAG 2.2, levels A and AA.
var axeTags = []string{"wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"}

// patience bounds a whole run of the browser, on a machine that does much else.
const patience = 8 * time.Minute

// visit is one page in one shape, and what is to be done on the way to it.
type visit struct {
	ID       int      `json:"id"`
	Origin   string   `json:"origin"`
	Path     string   `json:"path"`
	Lang     string   `json:"lang"`
	Schemes  []string `json:"schemes"` // the page is loaded in the first, and then shown in the others
	Width    int      `json:"width"`
	Height   int      `json:"height"`
	Cookies  []cookie `json:"cookies"`
	Alone    bool     `json:"alone"` // with cookies of its own
	NoScript bool     `json:"noScript"`
	Steps    []step   `json:"steps"`
	Measure  bool     `json:"measure"`
	Axe      []int    `json:"axe"` // widths that axe-core looks at it in, in each scheme
	Keyboard bool     `json:"keyboard"`
	Action   string   `json:"action"` // selector of what the page is for
	Shot     string   `json:"shot"`   // file of a picture
}

type cookie struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	URL   string `json:"url"`
}

// step is one thing to do: fill, select or check a field, give a file, open a path, or click on
// what leads to another page.
type step struct {
	Fill   string `json:"fill,omitempty"`
	Select string `json:"select,omitempty"`
	Check  string `json:"check,omitempty"`
	File   string `json:"file,omitempty"`
	Name   string `json:"name,omitempty"`
	Value  string `json:"value,omitempty"`
	Open   string `json:"open,omitempty"`
	Click  string `json:"click,omitempty"`
}

// seen is what came of a visit.
type seen struct {
	ID     int    `json:"id"`
	Error  string `json:"error"` // why it could not be made
	URL    string `json:"url"`
	Status int    `json:"status"`
	Took   int    `json:"took"` // in milliseconds

	Steps []struct {
		Do      string `json:"do"`
		URL     string `json:"url"`
		Status  int    `json:"status"`
		Heading string `json:"heading"`
	} `json:"steps"`

	Console     []string  `json:"console"`  // errors, and files that did not arrive
	Foreign     []string  `json:"foreign"`  // asked of other hosts
	Document    int       `json:"document"` // bytes of the page itself, unpacked
	Wire        int       `json:"wire"`     // bytes of all that it loads, as sent
	Lang        string    `json:"lang"`
	Shift       float64   `json:"shift"`   // sum of the layout shifts
	Shifted     []string  `json:"shifted"` // what went elsewhere
	ScrollWidth int       `json:"scrollWidth"`
	Wide        []string  `json:"wide"` // what is wider than the page
	Styles      int       `json:"styles"`
	Blocking    []blocker `json:"blocking"`
	Links       []string  `json:"links"`

	Violations []violation `json:"violations"`
	Keyboard   *keyboard   `json:"keyboard"`
}

// blocker is a file that the browser waited for before it painted anything.
type blocker struct {
	Kind string `json:"kind"`
	URL  string `json:"url"`
}

type violation struct {
	Width  int      `json:"width"`
	Scheme string   `json:"scheme"`
	Rule   string   `json:"rule"`
	Help   string   `json:"help"`
	Nodes  []string `json:"nodes"`
}

// keyboard is what the Tab key came by.
type keyboard struct {
	Stops []struct {
		Is      string `json:"is"`
		Outline bool   `json:"outline"`
		InView  bool   `json:"inView"`
		Covered bool   `json:"covered"`
	} `json:"stops"`
	Reached bool `json:"reached"` // the action
	Shows   bool `json:"shows"`   // and it looked different
}

// tools are what the tests need besides Go.
type tools struct{ node, modules, chromium string }

// newTools finds them, or skips. In CI nothing is skipped.
func newTools(t *testing.T) tools {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("Node is missing, which drives the browser")
	}
	var manifest struct{ Dependencies map[string]string }
	data, err := os.ReadFile("testdata/playwright/package.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		t.Fatal(err)
	}
	d := manifest.Dependencies
	modules, err := filepath.Abs("../../.tools/playwright-core-" + d["playwright-core"] + "-axe-core-" + d["axe-core"])
	if err != nil {
		t.Fatal(err)
	}
	for name := range d {
		if _, err := os.Stat(filepath.Join(modules, "node_modules", name)); err != nil {
			missing("the npm package %s is missing: `make browser-tools` installs it", name)
		}
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return tools{node: node, modules: modules, chromium: path}
		}
	}
	missing("Chromium is missing (Debian's package chromium)")
	return tools{}
}

// look makes the visits and returns what was seen, in their order.
func (tl tools) look(t *testing.T, visits []visit) []seen {
	t.Helper()
	for i := range visits {
		v := &visits[i]
		v.ID = i
		if v.Height == 0 {
			v.Height = map[int]int{phone: 844}[v.Width]
		}
		if v.Height == 0 {
			v.Height = 800
		}
		v.Cookies, v.Steps, v.Axe = append([]cookie{}, v.Cookies...), append([]step{}, v.Steps...), append([]int{}, v.Axe...) // no null
	}
	job, err := json.Marshal(map[string]any{"chromium": tl.chromium, "workers": 3, "axeTags": axeTags, "visits": visits})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, tl.node, "testdata/playwright/driver.mjs", tl.modules)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it closes its browser
	cmd.WaitDelay = 10 * time.Second
	cmd.Stdin = bytes.NewReader(job)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("node: %v (after %s)\n%s", err, time.Since(began).Round(time.Second), &stderr)
	}
	out := make([]seen, len(visits))
	lines := bufio.NewScanner(&stdout)
	lines.Buffer(nil, 16<<20)
	n, slow := 0, seen{}
	for ; lines.Scan(); n++ {
		var s seen
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil || s.ID < 0 || s.ID >= len(out) {
			t.Fatalf("node said %.300s: %v", lines.Bytes(), err)
		}
		out[s.ID] = s
		if s.Took > slow.Took {
			slow = s
		}
	}
	if err := lines.Err(); err != nil || n != len(visits) {
		t.Fatalf("of %d visits %d were made: %v\n%s", len(visits), n, err, &stderr)
	}
	t.Logf("%d visits in %s, the slowest %d ms: %s", n, time.Since(began).Round(100*time.Millisecond), slow.Took, slow.URL)
	return out
}

func (v visit) String() string {
	return fmt.Sprintf("%s (%s, %s, %d wide)", v.Path, v.Lang, v.Schemes[0], v.Width)
}
