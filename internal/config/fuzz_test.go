package config_test

import (
	"os"
	"testing"

	"github.com/seed-357fa782/licensed/internal/config"
)

// Whatever the file, there is an answer and no panic; and what is accepted
// stays accepted.
func FuzzParse(f *testing.F) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	for _, seed := range []string{"", "---\n---\n", "a: {b: [c, ? d]}\n", "products: [{id: a, machines: amount}]\n", "? x\n: y\n", "\"\": 1\n", "<<: *a\n", "issuer: |\n  x\n", "!t &a *a"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4<<10 {
			return // nesting costs the parser time with the square of its depth
		}
		c, err := config.Parse("f", "/dir", data)
		if err != nil {
			return
		}
		if len(c.Products) == 0 || c.Issuer == "" || c.Store == "" {
			t.Errorf("accepted, but incomplete: %+v", c)
		}
	})
}
