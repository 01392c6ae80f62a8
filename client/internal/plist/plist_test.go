package plist_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/internal/plist"
)

func TestDamagedLists(t *testing.T) {
	deep := "<plist>" + strings.Repeat("<array>", 20) + strings.Repeat("</array>", 20) + "</plist>"
	for name, c := range map[string]struct{ list, want string }{
		"empty":                  {"", "empty"},
		"a plist of nothing":     {"<plist></plist>", "empty"},
		"not XML":                {"<plist><array><dict>", "EOF"},
		"tags crossed":           {"<plist><array></plist></array>", "closed by"},
		"a key without a value":  {"<plist><dict><key>a</key></dict></plist>", "key without a value"},
		"a value without a key":  {"<plist><dict><string>a</string></dict></plist>", "where a key should be"},
		"an element in a text":   {"<plist><array><string>a<b/></string></array></plist>", "within a text"},
		"data that is no base64": {"<plist><array><data>!</data></array></plist>", "base64"},
		"too deep":               {deep, "nested"},
		"too many":               {"<plist><array>" + strings.Repeat("<true/>", 1<<16) + "</array></plist>", "more than"},
		"an unknown entity":      {"<!DOCTYPE plist [<!ENTITY a 'b'>]><plist><array><string>&a;</string></array></plist>", "entity"},
	} {
		if _, err := plist.Parse([]byte(c.list)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := plist.Parse([]byte(`<plist><array><dict><key>a</key><integer>1</integer><key>b</key><false/><key>c</key><data> AA
		EC </data><key>d</key><string>x &amp; &#65;</string></dict><dict/></array></plist>`))
	want := []any{map[string]any{"a": "1", "b": false, "c": []byte{0, 1, 2}, "d": "x & A"}, map[string]any{}}
	if d := cmp.Diff(any(want), got); d != "" || err != nil {
		t.Error(d, err)
	}
}
