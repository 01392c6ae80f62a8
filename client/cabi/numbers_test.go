package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/cabi/internal/core"
	"github.com/seed-357fa782/licensed/license"
)

// The numbers for words are the same in the header, in Go and in licensed.py.
func TestNumbersOfWords(t *testing.T) {
	header, err := os.ReadFile("licensed.h")
	check(t, err)
	module, err := os.ReadFile("licensed.py")
	check(t, err)
	for prefix, c := range map[string]struct {
		inPython string
		inGo     func(word string) int32
	}{
		"PHASE":   {"PHASES", func(w string) int32 { return core.PhaseOf(license.Phase(w)) }},
		"STATE":   {"STATES", func(w string) int32 { return core.StateOf(license.State(w)) }},
		"ENFORCE": {"ENFORCEMENTS", func(w string) int32 { return core.EnforcementOf(license.Enforcement(w)) }},
		"CLOCK":   {"CLOCKS", func(w string) int32 { return core.ClockOf(client.ClockState(w)) }},
		"EVENT":   {"EVENTS", func(w string) int32 { return core.KindOf(client.EventKind(w)) }},
	} {
		inC := map[string]int32{}
		for _, m := range regexp.MustCompile(`\bLICENSED_`+prefix+`_([A-Z]+) = (\d+)`).FindAllStringSubmatch(string(header), -1) {
			n, err := strconv.Atoi(m[2])
			check(t, err)
			word := strings.ToLower(m[1])
			if n == 0 {
				continue // none
			}
			inC[word] = int32(n)
			if got := c.inGo(word); got != int32(n) {
				t.Errorf("LICENSED_%s_%s is %d in the header, and %d in Go", prefix, m[1], n, got)
			}
		}
		if len(inC) < 3 {
			t.Errorf("the header has only %v of LICENSED_%s", inC, prefix)
		}
		inPython := map[string]int32{}
		table := regexp.MustCompile(`(?s)\n` + c.inPython + ` = \{(.*?)\}`).FindSubmatch(module)
		if table == nil {
			t.Fatalf("licensed.py has no %s", c.inPython)
		}
		for _, m := range regexp.MustCompile(`(\d+): "(\w+)"`).FindAllSubmatch(table[1], -1) {
			var n int32
			_, err := fmt.Sscan(string(m[1]), &n)
			check(t, err)
			inPython[string(m[2])] = n
		}
		if !maps.Equal(inC, inPython) {
			t.Errorf("%s: %v in the header, %v in licensed.py", prefix, inC, inPython)
		}
	}
}
