package main

import (
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// An install is named by its id or its beginning, also one that begins with a dash and
// was copied from a list in CSV, where an apostrophe keeps it from being a formula.
func TestInstallNamed(t *testing.T) {
	t.Parallel()
	const id = "-hcys3YQ7haw7OJwa0bbkI9kw4hLDMjJQT374trURWI"
	l := adminwire.License{ID: "lic_1", Installs: []adminwire.Install{{ID: "RaUpxd0MAM6q-vaKXYkNWEONEao6kJMshTMxNxffXw4"}, {ID: id}}}
	for _, name := range []string{id, "-hcy", toCell(id), "'-hcys"} {
		if i, err := installNamed("install remove", l, name); err != nil || i.ID != id {
			t.Errorf("%s: %+v, %v", name, i.ID, err)
		}
	}
	if i, err := installNamed("install remove", l, "'R"); err == nil {
		t.Errorf("'R names %s", i.ID)
	}
}
