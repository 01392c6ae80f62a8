package console

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/daemon/internal/console/page"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// All that can need a human has a text.
func TestAttentionHasTexts(t *testing.T) {
	t.Parallel()
	site, err := page.New(page.Options{Prefix: Prefix, Files: files, Funcs: funcs()})
	if err != nil {
		t.Fatal(err)
	}
	keys := site.Keys(page.English)
	for _, code := range adminwire.AttentionCodes() {
		if key := "attention." + string(code); !slices.Contains(keys, key) && !slices.Contains(keys, key+".other") {
			t.Errorf("there is no text %q", key)
		}
	}
}

// The parts of a bar fill it, and those of a chart stand upon each other.
func TestCharts(t *testing.T) {
	t.Parallel()
	r := newProductRow(adminwire.ProductCensus{Product: "a b", Licenses: 3, States: map[license.State]int{license.StateIssued: 1, license.StateActive: 2}})
	got := ""
	for _, c := range r.States {
		if c.W != "" {
			got += fmt.Sprintf("%s %s+%s %s; ", c.State, c.X, c.W, c.Path)
		}
	}
	if want := "issued 0+33.333 /console/licenses?product=a+b&state=issued; active 33.333+66.667 /console/licenses?product=a+b&state=active; "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c := newChart([]adminwire.CensusDay{{Day: "d1", Activated: 1, Bound: 4}, {Day: "d2"}, {Day: "d3", Activated: 2, Bound: 2}})
	want := chart{Width: 30, Most: 4, From: "d1", To: "d3", Bars: []bar{{"b", 1, "75", "25"}, {"b2", 1, "0", "75"}, {"b", 21, "50", "50"}}}
	if fmt.Sprint(c) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	if percent(1, 1) != "100" || percent(0, 7) != "0" {
		t.Error(percent(1, 1), percent(0, 7))
	}
}

// A page of everything that there can be stays below 60 KB, in both languages.
func TestOverviewIsSmall(t *testing.T) {
	t.Parallel()
	site, err := page.New(page.Options{Prefix: Prefix, Files: files, Funcs: funcs()})
	if err != nil {
		t.Fatal(err)
	}
	c := adminwire.Census{Days: make([]adminwire.CensusDay, 90)}
	c.Total.Licenses = 1_000_000
	for n := range 100 {
		p := adminwire.ProductCensus{Product: fmt.Sprintf("product-%02d", n), States: map[license.State]int{}}
		for _, s := range license.States() {
			p.States[s] = 100_000 + n
			p.Licenses += p.States[s]
		}
		c.Products = append(c.Products, p)
	}
	for i := range c.Days {
		c.Days[i] = adminwire.CensusDay{Day: "2026-03-01", Activated: 10_000 + i, Bound: 30_000}
	}
	d := overviewData{States: license.States()}
	d.numbers(c)
	for range mostAttention {
		a := adminwire.Attention{Code: adminwire.AttentionMarketplace, Level: adminwire.LevelWarn, About: "koogallery", Detail: strings.Repeat("what is wrong ", 10), Page: "/console/marketplaces/koogallery", Command: "licensectl marketplace status koogallery"}
		d.Attention = append(d.Attention, attention{a, "Marketplace koogallery"})
	}
	for _, lang := range page.Langs() {
		rq := httptest.NewRequestWithContext(t.Context(), http.MethodGet, Prefix, nil)
		rq.Header.Set("Accept-Language", string(lang))
		w := httptest.NewRecorder()
		if err := site.Write(w, rq, http.StatusOK, "overview", chrome{User: "anna", Role: "admin"}, d); err != nil {
			t.Fatal(err)
		}
		if n := w.Body.Len(); n > 60<<10 || n < 20<<10 {
			t.Errorf("%s: %d bytes", lang, n)
		}
	}
}

// However many products there are, the page stays small and says how many it sums up.
func TestManyProductsAreSummedUp(t *testing.T) {
	t.Parallel()
	var c adminwire.Census
	for n := range 100 {
		c.Products = append(c.Products, adminwire.ProductCensus{Product: fmt.Sprintf("p%02d", n) + strings.Repeat("x", 120), Licenses: n, States: map[license.State]int{license.StateActive: n}})
	}
	c.Products = append(c.Products, adminwire.ProductCensus{Licenses: 1000, States: map[license.State]int{license.StateActive: 1000}})
	var d overviewData
	d.numbers(c)
	last := d.Products[len(d.Products)-1]
	if len(d.Products) > mostProducts+1 || !strings.HasPrefix(d.Products[1].Name, "p98") && !strings.HasPrefix(d.Products[0].Name, "p99") || last.Name != "" {
		t.Errorf("%d rows, the first of %s", len(d.Products), d.Products[0].Name)
	}
	total := 0
	for _, r := range d.Products {
		total += r.Count
	}
	if total != 99*100/2+1000 {
		t.Errorf("the rows come to %d", total)
	}
}
