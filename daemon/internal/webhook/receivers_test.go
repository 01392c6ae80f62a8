package webhook_test

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/webhook"
)

// snippets are the receivers that docs/webhooks.md shows, by language.
func snippets(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, block := range regexp.MustCompile("(?ms)^```(go|python|js)\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		out[block[1]] += block[2]
	}
	return out
}

// The programs around them take a secret, the three headers and the body in
// base64, and print whether they verify.
const (
	goMain = `package main
import ("crypto/hmac"; "crypto/sha256"; "encoding/base64"; "fmt"; "net/http"; "os"; "strconv"; "strings"; "time")
func main() {
	h := http.Header{}
	h.Set("webhook-id", os.Args[2]); h.Set("webhook-timestamp", os.Args[3]); h.Set("webhook-signature", os.Args[4])
	body, _ := base64.StdEncoding.DecodeString(os.Args[5])
	fmt.Println(verify(os.Args[1], h, body))
}
`
	pythonMain = `
import sys
a = sys.argv
print(str(verify(a[1], {"webhook-id": a[2], "webhook-timestamp": a[3], "webhook-signature": a[4]}, base64.b64decode(a[5]))).lower())
`
	jsMain = `
const a = process.argv;
console.log(verify(a[2], { "webhook-id": a[3], "webhook-timestamp": a[4], "webhook-signature": a[5] }, Buffer.from(a[6], "base64")));
`
)

// The receivers that are shown take what is sent, and nothing else.
func TestShownReceivers(t *testing.T) {
	shown := snippets(t)
	for _, language := range []struct{ name, file, around, program string }{
		{"go", "main.go", goMain, "go"}, {"python", "main.py", pythonMain, "python3"}, {"js", "main.js", jsMain, "node"},
	} {
		t.Run(language.name, func(t *testing.T) {
			t.Parallel()
			if shown[language.name] == "" {
				t.Fatal("docs/webhooks.md shows none")
			}
			run := receiverProgram(t, language.name, language.file, language.around, language.program, shown[language.name])
			old, err := webhook.ParseSecret(secret)
			if err != nil {
				t.Fatal(err)
			}
			body := []byte("{\"type\":\"webhook.test\",\"ü\":\" a.b \"}\n")
			now := time.Now()
			sig := webhook.Signature(old, "evt_1", now, body)
			at := strconv.FormatInt(now.Unix(), 10)
			late := now.Add(-10 * time.Minute)
			for name, c := range map[string]struct {
				args []string
				body []byte
				want string
			}{
				"as sent":         {[]string{secret, "evt_1", at, sig}, body, "true"},
				"two signatures":  {[]string{secret, "evt_1", at, "v1,AAAA " + sig}, body, "true"},
				"another id":      {[]string{secret, "evt_2", at, sig}, body, "false"},
				"another secret":  {[]string{newer, "evt_1", at, sig}, body, "false"},
				"another body":    {[]string{secret, "evt_1", at, sig}, append([]byte(" "), body...), "false"},
				"another version": {[]string{secret, "evt_1", at, "v2" + sig[2:]}, body, "false"},
				"none":            {[]string{secret, "evt_1", at, ""}, body, "false"},
				"old":             {[]string{secret, "evt_1", strconv.FormatInt(late.Unix(), 10), webhook.Signature(old, "evt_1", late, body)}, body, "false"},
				"no time":         {[]string{secret, "evt_1", "soon", sig}, body, "false"},
			} {
				if got := run(append(c.args, base64.StdEncoding.EncodeToString(c.body))...); got != c.want {
					t.Errorf("%s: %s", name, got)
				}
			}
		})
	}
}

// receiverProgram returns how a receiver is run.
func receiverProgram(t *testing.T, language, file, around, program, snippet string) func(args ...string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not here: %v", program, err)
		}
		t.Skipf("%s is not here, so the receiver in %s is not run", program, language)
	}
	source := filepath.Join(t.TempDir(), file)
	text := snippet + around
	if language == "go" {
		text = around + snippet
	}
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	before := []string{source}
	if language == "go" {
		bin := filepath.Join(t.TempDir(), "receiver")
		if out, err := exec.CommandContext(t.Context(), path, "build", "-o", bin, source).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		path, before = bin, nil
	}
	return func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), path, append(before, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
}
