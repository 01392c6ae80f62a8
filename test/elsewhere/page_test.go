package elsewhere_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the code into the page, and testdata anew")

const page = "../../docs/verify-elsewhere.md"

var quoted = regexp.MustCompile(`(?s)<!-- code: (\S+) -->\n(.*?)<!-- end of code -->`)

// The page shows the very code that is tested.
func TestPage(t *testing.T) {
	text := read(t, page)
	shown := make(map[string]bool)
	want := quoted.ReplaceAllStringFunc(text, func(block string) string {
		name := quoted.FindStringSubmatch(block)[1]
		shown[name] = true
		code := read(t, filepath.Join("../../docs", name))
		language := map[string]string{".py": "python", ".ts": "ts", ".java": "java"}[path.Ext(name)]
		if strings.HasPrefix(strings.ToLower(path.Base(name)), "example.") {
			return fmt.Sprintf("<!-- code: %s -->\n```%s\n%s```\n<!-- end of code -->", name, language, code)
		}
		return fmt.Sprintf("<!-- code: %s -->\n<details><summary><code>%s</code>, %d lines</summary>\n\n```%s\n%s```\n\n</details>\n<!-- end of code -->",
			name, path.Base(name), strings.Count(code, "\n"), language, code)
	})
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text != want {
		t.Error("docs/verify-elsewhere.md does not show the code as it is; run the test with -update")
	}
	// All but what runs the vectors is shown.
	for _, pattern := range []string{"python/*.py", "typescript/*.ts", "java/*.java"} {
		files, err := filepath.Glob(filepath.Join(sources, pattern))
		if err != nil || len(files) < 2 {
			t.Fatalf("%s: %d files (%v)", pattern, len(files), err)
		}
		for _, file := range files {
			name := "elsewhere/" + path.Dir(pattern) + "/" + filepath.Base(file)
			if runs := strings.HasPrefix(strings.ToLower(filepath.Base(file)), "vectors."); shown[name] == runs {
				t.Errorf("%s: shown %v", name, shown[name])
			}
		}
	}
}

// What an ordinary library accepts, though it is set up with care, is what the
// page says.
func TestOrdinaryLibrary(t *testing.T) {
	p, missing := typescript(t)
	switch {
	case missing != "" && os.Getenv("CI") == "true":
		t.Fatal(missing)
	case missing != "":
		t.Skip(missing)
	}
	modules := filepath.Join(filepath.Dir(filepath.Dir(p.vectors[1])), "node_modules")
	cmd := exec.CommandContext(t.Context(), p.vectors[0], "testdata/ordinary.mjs", modules)
	cmd.Stdin = strings.NewReader(read(t, "../../license/token/testdata/vectors.json"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	const golden = "testdata/ordinary.txt"
	if *update {
		if err := os.WriteFile(golden, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if string(out) != read(t, golden) {
		t.Errorf("%s is not what the library accepts; run the test with -update, and look at the page", golden)
	}
	refused := 0
	for _, v := range vectors {
		if v.Form == "license" && v.Reason != "" {
			refused++
		}
	}
	claim := fmt.Sprintf("accepts %d of the %d licences", bytes.Count(out, []byte("\n")), refused)
	if !strings.Contains(strings.ReplaceAll(read(t, page), "\n", " "), claim) {
		t.Errorf("the page does not say that it %s", claim)
	}
}
