package main

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Pages in the middle of a list can be empty.
func TestEveryPage(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		pages  []string
		from   string
		all    bool
		want   string
		next   string
		broken bool
	}{
		"one page":           {[]string{"ab", "c"}, "", false, "ab", "1", false},
		"all":                {[]string{"ab", "c"}, "", true, "abc", "", false},
		"from a cursor":      {[]string{"ab", "c"}, "1", false, "c", "", false},
		"empty":              {[]string{""}, "", false, "", "", false},
		"first found later":  {[]string{"", "", "c", "d"}, "", false, "c", "3", false},
		"nothing found":      {[]string{"", "", ""}, "", false, "", "", false},
		"all, with gaps":     {[]string{"", "b", "", "d", ""}, "", true, "bd", "", false},
		"broken in the gaps": {[]string{"", "!"}, "", false, "", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			got, next, err := everyPage(test.from, test.all, "letters", func(cursor string) ([]string, string, error) {
				at, _ := strconv.Atoi(cursor)
				if test.pages[at] == "!" {
					return nil, "", broken
				}
				var next string
				if at+1 < len(test.pages) {
					next = strconv.Itoa(at + 1)
				}
				return slices.Collect(strings.SplitSeq(test.pages[at], "")), next, nil
			})
			if errors.Is(err, broken) != test.broken || strings.Join(got, "") != test.want || next != test.next {
				t.Errorf("got %q, next %q, %v", got, next, err)
			}
		})
	}
}
