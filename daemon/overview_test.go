package daemon_test

import (
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// overview asks for it until the licences were counted that there are.
func (m *merchant) overview(licenses int) (o adminwire.Overview) {
	m.t.Helper()
	for start := time.Now(); time.Since(start) < 30*time.Second; {
		if err := m.admin(http.MethodGet, adminwire.PathOverview, nil, &o); err != nil {
			m.t.Fatal(err)
		}
		if o.Census != nil && o.Census.Total.Licenses == licenses {
			return o
		}
	}
	m.t.Fatalf("it is %+v, want %d licences", o.Census, licenses)
	return o
}

// attention is what the overview says of a kind.
func attention(o adminwire.Overview, code adminwire.AttentionCode) (a adminwire.Attention) {
	for _, a := range o.Attention {
		if a.Code == code {
			return a
		}
	}
	return a
}

// The overview counts the licences beside everything else, and keeps that over a
// restart; the console shows it, to whom it may.
func TestOverview(t *testing.T) {
	t.Parallel()
	var clock movable
	m := start(t, withTCP, nil, clock.set)
	anna, cam := m.token("anna", "viewer").Token, m.token("cam", "viewer", "cam").Token
	m.overview(0)
	b := m.browser()
	b.signIn(anna)
	status, page := b.get("/console/")
	wantSays(t, "an empty store", status, page, http.StatusOK, "There is no licence yet.", "What needs you")

	soon := m.issueOne(adminwire.Issue{Product: "cad", For: "5d"})
	m.issueOne(adminwire.Issue{Product: "cad", For: "300d"})
	m.issueOne(adminwire.Issue{Product: "cam", For: "300d", Customer: "<script>"})
	m.ok(m.machine("x").activate(soon.Code))
	m.down()
	clock.by.Add(int64(time.Hour)) // it was counted a moment ago
	m.up()
	o := m.overview(3)
	c := o.Census
	last := c.Days[len(c.Days)-1]
	if yesterday := c.Days[len(c.Days)-2]; last.Activated == 0 {
		last = yesterday // it is midnight
	}
	if len(c.Days) != 90 || last.Activated != 1 || last.Bound != 1 || c.Total.Ending != (adminwire.Ending{Within7: 1, Within30: 1, Within90: 1}) {
		t.Errorf("%+v", c)
	}
	if len(c.Products) != 2 || c.Products[0].Product != "cad" || c.Products[0].States[license.StateActive] != 1 || c.Products[0].States[license.StateIssued] != 1 {
		t.Errorf("%+v", c.Products)
	}

	b = m.browser()
	scoped := m.browser()
	b.signIn(anna)
	status, page = b.get("/console/")
	wantSays(t, "the overview", status, page, http.StatusOK, "Counted on", `href="/console/licenses?product=cad&amp;state=active"`,
		`href="/console/licenses?state=active&amp;within=7d"`, `<svg class="chart days"`, `role="img" aria-labelledby="days-title"`, `<rect class="b" x="`)
	if len(page) > 60<<10 || strings.Contains(page, "<script>") || strings.Contains(page, "style=") {
		t.Errorf("%d bytes: %s", len(page), page)
	}
	// What it links to says the same.
	status, page = b.get("/console/licenses?state=active&within=7d")
	wantSays(t, "those that end soon", status, page, http.StatusOK, soon.ID)

	scoped.signIn(cam)
	status, page = scoped.get("/console/")
	wantSays(t, "for one product", status, page, http.StatusOK, "product=cam", "Nothing was activated")
	if strings.Contains(page, "product=cad") {
		t.Errorf("another product is shown: %s", page)
	}
	own := decode[adminwire.Overview](t, m.allow(cam, http.MethodGet, adminwire.PathOverview, ""))
	if own.Census.Total.Licenses != 1 || len(own.Census.Products) != 1 {
		t.Errorf("for one product: %+v", own.Census)
	}
}

// What needs a human is said first, the worst before the rest, and leads to where it is
// seen to.
func TestOverviewSaysWhatNeedsAHuman(t *testing.T) {
	t.Parallel()
	var clock movable
	yaml := withTCP + "webhooks: [{name: hook, url: 'https://127.0.0.1:1/', secret_file: hook, events: [keys.rotated]}]\n"
	m := start(t, yaml, map[string]string{"hook": hookSecret}, clock.set)
	m.must(http.MethodPost, strings.Replace(adminwire.PathDisableWebhook, "{webhook}", "hook", 1), nil)
	b, scoped := m.browser(), m.browser()
	anna, cam := m.token("anna", "admin").Token, m.token("cam", "viewer", "cam").Token
	b.signIn(anna)
	scoped.signIn(cam)
	o := m.overview(0)
	if a := attention(o, adminwire.AttentionWebhook); a.About != "hook" || a.Page != "/console/webhooks" || a.Command != "licensectl webhook list" {
		t.Errorf("%+v", o.Attention)
	}
	status, page := b.get("/console/")
	wantSays(t, "a webhook", status, page, http.StatusOK, "Webhook hook", `href="/console/webhooks"`)
	if _, page := scoped.get("/console/"); strings.Contains(page, "hook") {
		t.Errorf("who sees one product is told of a webhook: %s", page)
	}

	clock.by.Add(int64(60 * 24 * time.Hour))
	if err := m.admin(http.MethodGet, adminwire.PathOverview, nil, &o); err != nil {
		t.Fatal(err)
	}
	if a := attention(o, adminwire.AttentionClock); a.Level != adminwire.LevelFail || o.Attention[0].Level != adminwire.LevelFail {
		t.Errorf("the clock was set forward: %+v", o.Attention)
	}
	for i, a := range o.Attention {
		if i > 0 && a.Level == adminwire.LevelFail && o.Attention[i-1].Level != adminwire.LevelFail {
			t.Errorf("the worst is not first: %+v", o.Attention)
		}
	}
}

// nextEntries is the link to what happened before that which a licence shows.
var nextEntries = regexp.MustCompile(`href="([^"]*\?events=[^"]*)#timeline"`)

// A licence shows what happened to it with the newest first, and from page to page each
// entry once.
func TestConsoleTimeline(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	l := m.issueOne(adminwire.Issue{Product: "cad", For: "300d"})
	for range 30 {
		m.must(http.MethodPost, at(adminwire.PathSuspend, l.ID), nil)
		m.must(http.MethodPost, at(adminwire.PathResume, l.ID), nil)
	}
	b := m.browser()
	b.signIn(m.token("anna", "viewer").Token)
	var got []string
	for path := "/console/licenses/" + l.ID; path != ""; {
		status, page := b.get(path)
		wantSays(t, "a page", status, page, http.StatusOK)
		_, timeline, _ := strings.Cut(page, `id="timeline"`)
		for _, action := range regexp.MustCompile(`<li><div><strong>([^<]*)</strong>`).FindAllStringSubmatch(timeline, -1) {
			got = append(got, action[1])
		}
		path = ""
		if next := nextEntries.FindStringSubmatch(page); next != nil {
			path = html.UnescapeString(next[1])
		}
	}
	want := slices.Repeat([]string{"Resumed", "Suspended"}, 30)
	if want = append(want, "Issued"); !slices.Equal(got, want) {
		t.Errorf("%d entries: %q", len(got), got)
	}
	if status, _ := b.get("/console/licenses/" + l.ID + "?events=nonsense"); status != http.StatusBadRequest {
		t.Errorf("with a cursor that is none: %d", status)
	}
}
