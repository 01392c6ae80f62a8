package client_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
)

// skew plays a row of the table in docs/time.md. It returns the install to ask, and
// the instant that is proven then.
type skew func(f *field) (g *client.Guard, proven time.Time)

// skews are all of them, by the names of the rows.
var skews = func() map[string]skew {
	all := maps.Clone(clockSkews)
	maps.Copy(all, otherSkews)
	return all
}()

func TestSkews(t *testing.T) {
	rows := skewTable(t)
	if len(skews) != len(clockSkews)+len(otherSkews) {
		t.Error("a row is played twice")
	}
	for _, name := range slices.Sorted(maps.Keys(skews)) {
		if _, ok := rows[name]; !ok {
			t.Errorf("docs/time.md does not say what happens: %s", name)
		}
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			prepare, ok := skews[name]
			if !ok {
				t.Fatal("docs/time.md says what happens, and nothing shows it")
			}
			f := newField(t)
			g, proven := prepare(f)
			at, ok := map[string]time.Time{
				"the clock": f.clock.now(), "what is proven": proven, "the clock less its lead": f.world.now(),
				"the end of 9999": license.Forever.Add(-time.Second),
			}[row.at]
			if !ok {
				t.Fatalf("docs/time.md: judged by %q", row.at)
			}
			st := g.Status()
			if string(st.Clock) != row.clock {
				t.Errorf("the clock is %s, not %s", st.Clock, row.clock)
			}
			if off := st.At.Sub(at); off.Abs() > time.Second || row.at != "the clock less its lead" && off != 0 {
				t.Errorf("judged by %v, not by %s, %v", st.At, row.at, at)
			}
			if usable := "yes"; st.Usable && row.usable != usable || !st.Usable && row.usable != "no: "+string(st.Reason) {
				t.Errorf("usable %v (%s), not %s", st.Usable, st.Reason, row.usable)
			}
			if st.At.Before(proven) {
				t.Errorf("judged by %v, before %v, which is proven", st.At, proven)
			}
		})
	}
}

type skewRow struct{ clock, at, usable string }

// skewTable reads the table in docs/time.md, the one whose head begins "skew".
func skewTable(t *testing.T) map[string]skewRow {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", "time.md"))
	check(t, err)
	rows, inside := map[string]skewRow{}, false
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case cells[0] == "skew" && len(cells) > 1 && cells[1] == "`Clock`":
			inside = true
		case !strings.HasPrefix(line, "|"):
			inside = false
		case inside && !strings.HasPrefix(cells[0], "---"):
			if _, ok := rows[cells[0]]; ok || len(cells) < 4 {
				t.Errorf("docs/time.md: %q", line)
				continue
			}
			rows[cells[0]] = skewRow{clock: cells[1], at: cells[2], usable: cells[3]}
		}
	}
	if len(rows) == 0 {
		t.Fatal("there is no table in docs/time.md")
	}
	return rows
}
