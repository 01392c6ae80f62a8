package keys_test

import (
	"bytes"
	"testing"

	"github.com/seed-357fa782/licensed/license"
)

// A sealed text opens as what it is about, and as nothing else: neither about
// something else, nor as a code, nor damaged.
func TestTextSeal(t *testing.T) {
	k := newCodeKey(t, 1)
	const device = "04:7C:16:5E:E3:5D|001B_444A||BFEBFBFF00090672"
	sealed, err := k.SealText(device, "event 1")
	if err != nil || bytes.Contains(sealed, []byte("04:7C")) {
		t.Fatalf("%q, %v", sealed, err)
	}
	if got, err := k.OpenText(sealed, "event 1"); err != nil || got != device {
		t.Errorf("%q, %v", got, err)
	}
	if again, _ := k.SealText(device, "event 1"); bytes.Equal(again, sealed) {
		t.Error("the same text looks the same")
	}
	damaged := bytes.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	for name, open := range map[string]func() (string, error){
		"about something else": func() (string, error) { return k.OpenText(sealed, "event 2") },
		"damaged":              func() (string, error) { return k.OpenText(damaged, "event 1") },
		"cut":                  func() (string, error) { return k.OpenText(sealed[:9], "event 1") },
		"of another form":      func() (string, error) { return k.OpenText(append([]byte{9}, sealed[1:]...), "event 1") },
		"under another key":    func() (string, error) { return newCodeKey(t, 2).OpenText(sealed, "event 1") },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: it opens as %q", name, got)
		}
	}
	if _, err := k.Open(sealed, "event 1"); err == nil {
		t.Error("it opens as a code")
	}
	c, _ := license.ParseCode("PL001")
	code, _ := k.Seal(c, "lic_1")
	if _, err := k.OpenText(code, "lic_1"); err == nil {
		t.Error("a code opens as a text")
	}
	if empty, err := k.SealText("", "event 1"); err != nil || len(empty) != 0 {
		t.Errorf("an empty text: %q, %v", empty, err)
	}
	if got, err := k.OpenText(nil, "event 1"); err != nil || got != "" {
		t.Errorf("an empty text: %q, %v", got, err)
	}
	if _, err := k.SealText("x", ""); err == nil {
		t.Error("a text about nothing was sealed")
	}
}
