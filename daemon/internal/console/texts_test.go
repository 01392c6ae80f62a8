package console

import (
	"io/fs"
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
	site, err := page.New(page.Options{Prefix: Prefix, Files: flat{files}, Funcs: funcs()})
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
	for _, d := range licenseDeeds() {
		for _, key := range []string{"deed." + d.name + ".title", "deed." + d.name + ".explain", "deed." + d.name + ".button", "done." + d.name} {
			if !has(key) {
				t.Errorf("there is no text %q", key)
			}
		}
	}
	for _, s := range sections(chrome{Role: "admin"}) {
		if !has("section." + s.Name) {
			t.Errorf("there is no text %q", "section."+s.Name)
		}
	}
}
