package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// rewrite replaces the first match of an expression in a file.
func rewrite(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: rewrite IN OUT regexp replacement")
	}
	data := ts.ReadFile(args[0])
	at := regexp.MustCompile(args[2]).FindStringIndex(data)
	if at == nil {
		ts.Fatalf("%s is not in %s", args[2], args[0])
	}
	out := data[:at[0]] + args[3] + data[at[1]:]
	if out == data {
		ts.Fatalf("nothing was replaced")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(out), 0o600))
}

// pick makes a file of some lines of another: a number from 1, or first-last.
func pick(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: pick IN OUT LINE…")
	}
	lines := strings.SplitAfter(ts.ReadFile(args[0]), "\n")
	var out strings.Builder
	for _, arg := range args[2:] {
		from, to, many := strings.Cut(arg, "-")
		first, err := strconv.Atoi(from)
		ts.Check(err)
		last := first
		if many {
			last, err = strconv.Atoi(to)
			ts.Check(err)
		}
		for _, line := range lines[first-1 : last] {
			out.WriteString(line)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(out.String()), 0o600))
}
