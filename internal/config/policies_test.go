package config_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/config"
)

// keysOf are the names of what can be set in a part of the configuration. What
// names no parts of its own is one setting.
func keysOf(of reflect.Type, prefix string) (keys []string) {
	for f := range of.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key == "" || key == "-" {
			continue
		}
		var parts []string
		if f.Type.Kind() == reflect.Struct {
			parts = keysOf(f.Type, prefix+key+".")
		}
		if len(parts) == 0 {
			parts = []string{prefix + key}
		}
		keys = append(keys, parts...)
	}
	return keys
}

// The page about policies names every setting of a product, and none that there is not.
func TestPoliciesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := append(keysOf(reflect.TypeFor[config.Product](), ""), "undo_window")
	if len(keys) < 25 {
		t.Errorf("only %d settings are looked for: %q", len(keys), keys)
	}
	for _, key := range keys {
		if !regexp.MustCompile("`" + regexp.QuoteMeta(key) + "[`:]").Match(page) {
			t.Errorf("docs/policies.md does not name %s", key)
		}
	}
	for line := range strings.Lines(string(page)) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !strings.HasPrefix(line, "| `") || strings.HasPrefix(cell, "`license.") || strings.HasPrefix(cell, "`install.") {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z_.]+)[`:]").FindAllStringSubmatch(cell, -1) {
			if m[1] != "never" && m[1] != "over_limit" && m[1] != "always" && !slices.Contains(keys, m[1]) {
				t.Errorf("docs/policies.md has a setting %s, which there is not", m[1])
			}
		}
	}
}
