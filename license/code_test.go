package license_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/license"
)

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// checks is the rule for check characters, written out: the first ten bits.
func checks(random string) string {
	sum := sha256.Sum256([]byte("licensed code v1\n" + random))
	bits := (int(sum[0])<<8 | int(sum[1])) >> 6
	return string(alphabet[bits/32]) + string(alphabet[bits%32])
}

func own(random string) string {
	s := random + checks(random)
	return "LIC-" + s[:5] + "-" + s[5:10] + "-" + s[10:15] + "-" + s[15:20] + "-" + s[20:]
}

func genRandom() *rapid.Generator[string] {
	return rapid.StringOfN(rapid.RuneFrom([]rune(alphabet)), 24, 24, -1)
}

func mustCode(tb testing.TB, s string) license.Code {
	tb.Helper()
	c, err := license.ParseCode(s)
	if err != nil {
		tb.Fatalf("%q: %v", s, err)
	}
	return c
}

func wantField(tb testing.TB, err error, field string) {
	tb.Helper()
	var e *license.Error
	if !errors.As(err, &e) || e.Reason != license.BadRequest || e.Field != field {
		tb.Errorf("want bad_request of %s: %v", field, err)
	}
}

func TestNewCode(t *testing.T) {
	c, err := license.NewCode(bytes.NewReader(make([]byte, 24)))
	if err != nil {
		t.Fatal(err)
	}
	if want := own(strings.Repeat("0", 24)); c.Reveal() != want {
		t.Errorf("%s, want %s", c.Reveal(), want)
	}
	seen := make(map[string]bool)
	for range 100 {
		c, err := license.NewCode(nil)
		if err != nil {
			t.Fatal(err)
		}
		s := c.Reveal()
		bare := strings.ReplaceAll(s, "-", "")
		if seen[s] || len(s) != 34 || len(bare) != 29 || own(bare[3:27]) != s || !c.Own() || !mustCode(t, s).Equal(c) {
			t.Errorf("%q", s)
		}
		seen[s] = true
	}
	if _, err := license.NewCode(bytes.NewReader(nil)); err == nil {
		t.Error("made a code of no random bits")
	}
}

// TestTyping types a code as people do.
func TestTyping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := own(genRandom().Draw(t, "random"))
		var typed strings.Builder
		for i, r := range want {
			if r == '-' {
				typed.WriteString(rapid.SampledFrom([]string{"-", "", " ", "–", "\u00a0", "\u2011", " - "}).Draw(t, "dash"))
				continue
			}
			if i > 3 {
				switch r {
				case '0':
					r = rapid.SampledFrom([]rune("0Oo")).Draw(t, "zero")
				case '1':
					r = rapid.SampledFrom([]rune("1IiLl")).Draw(t, "one")
				}
			}
			s := string(r)
			if rapid.Bool().Draw(t, "lower") {
				s = strings.ToLower(s)
			}
			typed.WriteString(s)
		}
		got, err := license.ParseCode(" " + typed.String() + "\n")
		if err != nil {
			t.Fatalf("%q: %v", typed.String(), err)
		}
		if got.Reveal() != want || !got.Own() {
			t.Fatalf("%q is read as %q, want %q", typed.String(), got.Reveal(), want)
		}
	})
}

// TestTypingErrors: wrong check characters are always noticed, and any one
// wrong character nearly always.
func TestTypingErrors(t *testing.T) {
	good := own("0123456789ABCDEFGHJKMNPQ")
	bare := []byte(strings.ReplaceAll(good, "-", ""))
	missed := 0
	for i := 3; i < len(bare); i++ {
		for _, c := range []byte(alphabet + "U*") {
			if c == bare[i] {
				continue
			}
			wrong := bytes.Clone(bare)
			wrong[i] = c
			_, err := license.ParseCode(string(wrong))
			switch {
			case err != nil:
				wantField(t, err, "code")
				if strings.Contains(err.Error(), string(wrong[3:])) {
					t.Errorf("the error tells the code: %v", err)
				}
			case i >= 27:
				t.Errorf("check character %d as %c is not noticed", i, c)
			default:
				missed++
			}
		}
	}
	if missed > 5 {
		t.Errorf("%d wrong characters were not noticed", missed)
	}
}

func TestOtherCodes(t *testing.T) {
	for in, want := range map[string]string{
		" PLabc-123 \n": "PLabc-123", "pl o0 il": "pl o0 il", "LIC": "LIC", "LIC-1": "LIC-1",
		own("0123456789ABCDEFGHJKMNPQ") + "X": own("0123456789ABCDEFGHJKMNPQ") + "X",
		own("0123456789ABCDEFGHJKMNPQ")[1:]:   own("0123456789ABCDEFGHJKMNPQ")[1:],
		"LIC" + strings.Repeat("é", 13):       "LIC" + strings.Repeat("é", 13), // 29 bytes, 16 characters
		strings.Repeat("x", license.MaxCode):  strings.Repeat("x", license.MaxCode),
		strings.Repeat("码", license.MaxCode):  strings.Repeat("码", license.MaxCode),
		"コード-12345":                           "コード-12345",
		"LID" + strings.Repeat("0", 26):       "LID" + strings.Repeat("0", 26),
	} {
		if c := mustCode(t, in); c.Reveal() != want || c.Own() {
			t.Errorf("%q is read as %q", in, c.Reveal())
		}
	}
	for _, in := range []string{
		"", " \t", "\xff", "a\x00b", "a\u200eb", strings.Repeat("x", license.MaxCode+1), strings.Repeat(" ", 10000), "LIC" + strings.Repeat("é", 26),
	} {
		_, err := license.ParseCode(in)
		wantField(t, err, "code")
	}
}

func TestCodeDoesNotPrint(t *testing.T) {
	c := mustCode(t, own("0123456789ABCDEFGHJKMNPQ"))
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "code", c)
	type holder struct{ C license.Code }
	all := fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, c) + fmt.Sprintf("%v %+v %#v", holder{c}, holder{c}, &holder{c}) + log.String()
	if strings.Contains(all, c.Reveal()) || strings.Contains(all, "ABCDE") || !strings.Contains(all, c.Last4()) {
		t.Error(all)
	}
	if _, err := json.Marshal(holder{c}); err == nil {
		t.Error("a code marshals")
	}
	for in, want := range map[string]string{"PL123456": "3456", "PL12345": "45", "ab": "", "abc": "c"} {
		if got := mustCode(t, in).Last4(); got != want {
			t.Errorf("last of %q: %q", in, got)
		}
	}
	if (license.Code{}).String() != "" || !(license.Code{}).IsZero() {
		t.Error("the zero code is something")
	}
}

func FuzzParseCode(f *testing.F) {
	f.Add(own("0123456789ABCDEFGHJKMNPQ"))
	f.Add("lic o1234 56789 abcde fghjk mnpqxx")
	f.Add("PLabc 123")
	f.Add("LIC" + strings.Repeat("é", 26))
	f.Fuzz(func(t *testing.T, s string) {
		c, err := license.ParseCode(s)
		if err != nil {
			wantField(t, err, "code")
			return
		}
		again, err := license.ParseCode(c.Reveal())
		if err != nil || !again.Equal(c) {
			t.Errorf("%q is read as %q, and that as %q: %v", s, c.Reveal(), again.Reveal(), err)
		}
	})
}
