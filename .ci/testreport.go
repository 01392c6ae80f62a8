// Command testreport reads the output of `go test -json` and prints what
// matters of it: each package, the whole output of what failed, and at the
// end what was skipped and why, and how many tests there were.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// event is one line of go test -json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

type testID struct{ pkg, test string }

func main() {
	output := map[testID]*strings.Builder{} // of what has neither passed nor failed yet
	var skipped []string
	count := map[string]int{} // tests by how they ended
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				os.Stdout.Write(line)
			} else {
				skipped = append(skipped, e.report(output)...)
				if e.Test != "" {
					count[e.Action]++
				}
			}
		}
		if err != nil {
			break
		}
	}
	if len(skipped) > 0 {
		fmt.Println("\nskipped:")
		for _, s := range skipped {
			fmt.Println("  " + s)
		}
	}
	fmt.Printf("\n%d passed, %d failed, %d skipped\n", count["pass"], count["fail"], count["skip"])
	if count["pass"]+count["fail"]+count["skip"] == 0 {
		os.Exit(1) // what was asked for is not there any more
	}
}

// report prints what e completes and returns what it says was skipped.
func (e event) report(output map[testID]*strings.Builder) (skipped []string) {
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Print(e.Output)
	case "output":
		if output[id] == nil {
			output[id] = &strings.Builder{}
		}
		output[id].WriteString(e.Output)
	case "pass", "fail", "skip":
		text := ""
		if output[id] != nil {
			text = output[id].String()
			delete(output, id)
		}
		switch {
		case e.Action == "fail" && e.Test == "":
			// A process that died leaves tests that never ended: their output says why.
			for other, rest := range output {
				if other.pkg == e.Package {
					fmt.Print(rest.String())
					delete(output, other)
				}
			}
			fmt.Print(text)
		case e.Action == "fail":
			fmt.Print(text)
		case e.Test == "" && e.Action == "skip":
			// A package without tests.
		case e.Test == "":
			fmt.Printf("ok    %s  %.1fs\n", e.Package, e.Elapsed)
		case e.Action == "skip":
			skipped = append(skipped, fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(text)))
		}
	}
	return skipped
}

// reason takes what a skipped test said out of its output.
func reason(text string) string {
	var said []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}
