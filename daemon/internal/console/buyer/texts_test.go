package buyer

import (
	"io/fs"
	"regexp"
	"slices"
	"testing"

	"github.com/seed-357fa782/licensed/daemon/internal/console/page"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// used are the keys that templates name in full.
var used = regexp.MustCompile(`\bt "([^"]+)"`)

// Every refusal and everything that can be wrong is said in both languages, with what
// to do next.
func TestTexts(t *testing.T) {
	t.Parallel()
	p, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	en, zh := p.site.Keys(page.English), p.site.Keys(page.Chinese)
	if !slices.Equal(en, zh) {
		t.Errorf("%d texts in English, %d in Chinese", len(en), len(zh))
	}
	var want []string
	for _, r := range license.Reasons() {
		want = append(want, "reason."+string(r), "buyer.next."+string(r))
	}
	for _, w := range wrongs() {
		want = append(want, "buyer.wrong."+w, "buyer.wrong."+w+".next")
	}
	for _, op := range []token.Op{token.OpActivate, token.OpTransfer, token.OpRefresh, token.OpDeactivate} {
		o := string(op)
		want = append(want, "buyer.op."+o, "buyer.op."+o+".will", "buyer.op."+o+".button", "buyer.done."+o, "buyer.done."+o+".text")
	}
	for _, e := range []license.Enforcement{license.EnforceBlock, license.EnforceDegrade, license.EnforceAdvisory} {
		want = append(want, "buyer.end."+string(e))
	}
	pages, err := fs.Glob(files, "*.html")
	if err != nil || len(pages) < 5 {
		t.Fatal(pages, err)
	}
	for _, name := range pages {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllSubmatch(text, -1) {
			want = append(want, string(m[1]))
		}
	}
	for _, key := range want {
		if !slices.Contains(en, key) {
			t.Errorf("there is no text %q", key)
		}
	}
}
