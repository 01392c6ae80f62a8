package licensed_test

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var readmes = []string{"README.md", "README.zh-CN.md"}

func readDocument(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("there is no %s", name)
	} else if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A newcomer needs two commands.
func TestReadmeCommands(t *testing.T) {
	for _, name := range readmes {
		t.Run(name, func(t *testing.T) {
			text := readDocument(t, name)
			for _, command := range []string{"make demo", "make test"} {
				if !strings.Contains(text, command) {
					t.Errorf("%s does not name %q", name, command)
				}
			}
		})
	}
}

var goBlock = regexp.MustCompile("(?ms)^```go\r?\n(.*?)^```")

// The Go examples of the READMEs and of the guide to testing compile against
// this very module.
func TestReadmeExamples(t *testing.T) {
	for _, name := range append([]string{"docs/testing.md"}, readmes...) {
		t.Run(name, func(t *testing.T) {
			text := readDocument(t, name)
			blocks := goBlock.FindAllStringSubmatchIndex(text, -1)
			if len(blocks) == 0 {
				t.Fatalf("%s has no Go example", name)
			}
			for _, at := range blocks {
				line := 1 + strings.Count(text[:at[2]], "\n")
				compileExample(t, fmt.Sprintf("%s:%d", name, line), text[at[2]:at[3]])
			}
		})
	}
}

// compileExample vets code as a program of somebody else who uses this module.
func compileExample(t *testing.T, where, code string) {
	t.Helper()
	source := wholeFile(code)
	file := filepath.Join(t.TempDir(), "example.go")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
		t.Errorf("%s: the example does not compile: %v\n%s\n%s", where, err, out, source)
	}
}

// wholeFile makes a file of an example: one that is a file stays as it is;
// declarations get a package clause; statements, after their imports, get a
// function around them too.
func wholeFile(code string) string {
	parses := func(source string) bool {
		_, err := parser.ParseFile(token.NewFileSet(), "", source, 0)
		return err == nil
	}
	if parses(code) {
		return code
	}
	if file := "package example\n\n" + code; parses(file) {
		return file
	}
	imports := regexp.MustCompile(`(?s)^\s*(import\s*(\(.*?\)|[^\n]*)\s*)*`).FindString(code)
	return "package example\n\n" + imports + "\nfunc _() error {\n" + strings.TrimPrefix(code, imports) + "\nreturn nil\n}\n"
}

var (
	fenced     = regexp.MustCompile("(?ms)^ *(```|~~~).*?^ *(```|~~~) *$")
	inlineCode = regexp.MustCompile("`[^`\n]*`")
	inlineLink = regexp.MustCompile(`\]\(\s*<?([^()\s>]+(?:\([^()\s]*\)[^()\s>]*)*)>?(?:\s+"[^"]*")?\s*\)`)
	definition = regexp.MustCompile(`(?m)^ {0,3}\[[^\]\n]+\]:\s*<?([^\s>]+)>?`)
	htmlLink   = regexp.MustCompile(`(?:href|src)="([^"]+)"`)
	heading    = regexp.MustCompile(`(?m)^#{1,6}\s+(.*?)\s*#*\s*$`)
	htmlAnchor = regexp.MustCompile(`(?:id|name)="([^"]+)"`)
	absolute   = regexp.MustCompile(`^(?:[a-zA-Z][a-zA-Z0-9+.-]*:|//)`)
)

// Links inside the repository lead to files, and to headings, that exist.
func TestDocumentLinks(t *testing.T) {
	for _, name := range filesNamed(t, ".md") {
		prose := fenced.ReplaceAllString(readDocument(t, name), "")
		prose = inlineCode.ReplaceAllString(prose, "``")
		for _, pattern := range []*regexp.Regexp{inlineLink, definition, htmlLink} {
			for _, match := range pattern.FindAllStringSubmatch(prose, -1) {
				if target := match[1]; !absolute.MatchString(target) {
					checkLink(t, name, target)
				}
			}
		}
	}
}

func checkLink(t *testing.T, document, target string) {
	t.Helper()
	path, anchor, _ := strings.Cut(target, "#")
	path = strings.ReplaceAll(path, "%20", " ")
	file := document
	switch {
	case strings.HasPrefix(path, "/"):
		file = filepath.FromSlash(strings.TrimPrefix(path, "/"))
	case path != "":
		file = filepath.Join(filepath.Dir(document), filepath.FromSlash(path))
	}
	if !filepath.IsLocal(file) {
		t.Errorf("%s: link %s leads out of the repository", document, target)
		return
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("%s: link %s leads nowhere: there is no %s", document, target, file)
		return
	}
	if anchor == "" || filepath.Ext(file) != ".md" {
		return
	}
	text := readDocument(t, file)
	for _, match := range htmlAnchor.FindAllStringSubmatch(text, -1) {
		if match[1] == anchor {
			return
		}
	}
	for _, match := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		if headingAnchor(match[1]) == anchor {
			return
		}
	}
	t.Errorf("%s: link %s leads nowhere: %s has no such heading", document, target, file)
}

// headingAnchor is the name that a heading gets when it is shown on the web.
func headingAnchor(text string) string {
	text = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(text, "$1")
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.Is(unicode.Mn, r), r == '-', r == '_':
			b.WriteRune(r)
		}
	}
	return b.String()
}
