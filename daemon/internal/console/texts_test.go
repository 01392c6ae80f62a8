package console

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/seed-357fa782/licensed/daemon/internal/console/page"
)

// used are the keys that templates name in full.
var used = regexp.MustCompile(`\bt "([^"]+)"`)

// Every page has all of its texts in both languages, and no text is there for nothing
// in one of them only.
func TestTexts(t *testing.T) {
	t.Parallel()
	site, err := page.New(page.Options{Prefix: Prefix, Files: files, Funcs: funcs()})
	if err != nil {
		t.Fatal(err)
	}
	en, zh := site.Keys(page.English), site.Keys(page.Chinese)
	for _, key := range en {
		if !slices.Contains(zh, key) {
			t.Errorf("%q is not there in Chinese", key)
		}
	}
	for _, key := range zh {
		if !slices.Contains(en, key) {
			t.Errorf("%q is not there in English", key)
		}
	}
	has := func(key string) bool { return slices.Contains(en, key) || slices.Contains(en, key+".other") }
	pages, err := fs.Glob(files, "*.html")
	if err != nil || len(pages) < 8 {
		t.Fatal(len(pages), err)
	}
	for _, name := range pages {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllSubmatch(text, -1) {
			if key := string(m[1]); !has(key) {
				t.Errorf("%s: there is no text %q", name, key)
			}
		}
	}
	for _, d := range allDeeds() {
		for _, key := range []string{"deed." + d.name + ".title", "deed." + d.name + ".explain", "deed." + d.name + ".button", "done." + d.name} {
			if !has(key) {
				t.Errorf("there is no text %q", key)
			}
		}
	}
	for _, d := range bulkDeeds() {
		if !has("bulk." + d.name) {
			t.Errorf("there is no text %q", "bulk."+d.name)
		}
	}
	for _, s := range sections(chrome{Role: "admin"}) {
		if !has("section." + s.Name) {
			t.Errorf("there is no text %q", "section."+s.Name)
		}
	}
}

// allDeeds are those of all pages.
func allDeeds() []deed {
	return slices.Concat(licenseDeeds(), orderDeeds(), jobDeeds(), marketplaceDeeds(), auditDeeds(), keyDeeds(), webhookDeeds(), restoreDeeds(),
		[]deed{issueDeed(), addOrderDeed(), createToken(), revokeToken()})
}

// Whatever the audit log records has a name.
func TestActionsHaveNames(t *testing.T) {
	t.Parallel()
	site, err := page.New(page.Options{Prefix: Prefix, Files: files, Funcs: funcs()})
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile("../../../license/audit.go")
	if err != nil {
		t.Fatal(err)
	}
	actions := regexp.MustCompile(`Action = "([a-z_.]+)"`).FindAllStringSubmatch(string(src), -1)
	if len(actions) < 60 {
		t.Fatalf("%d actions", len(actions))
	}
	for _, a := range actions {
		for _, l := range page.Langs() {
			if !slices.Contains(site.Keys(l), "action."+a[1]) {
				t.Errorf("there is no text %q in %s", "action."+a[1], l)
			}
		}
	}
}

// Every field, fact and column that the pages name has a name for people.
func TestFieldsHaveNames(t *testing.T) {
	t.Parallel()
	site, err := page.New(page.Options{Prefix: Prefix, Files: files, Funcs: funcs()})
	if err != nil {
		t.Fatal(err)
	}
	keys := site.Keys(page.English)
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	named, columns, one := regexp.MustCompile(`\{\s*Name: "([a-z0-9_.]+)"`), regexp.MustCompile(`(?:Columns: |v\.list\(\w+, )\[\]string\{([^}]*)\}`), regexp.MustCompile(`"(\w+)"`)
	for _, name := range sources {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range named.FindAllStringSubmatch(string(src), -1) {
			names = append(names, m[1])
		}
		for _, m := range columns.FindAllStringSubmatch(string(src), -1) {
			for _, c := range one.FindAllStringSubmatch(m[1], -1) {
				names = append(names, c[1])
			}
		}
		for _, n := range names {
			if found++; !slices.Contains(keys, "field."+n) && !slices.Contains(keys, "filter."+n) && n != "id" && !slices.Contains([]string{".csv", ".lic", ".json"}, filepath.Ext(n)) {
				t.Errorf("%s: there is no text %q", name, "field."+n)
			}
		}
	}
	if found < 150 {
		t.Errorf("only %d names were found", found)
	}
}
