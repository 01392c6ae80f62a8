package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	tab := newTable("ID", "~NAME", "END")
	tab.add("1", "上海示例", "x")
	tab.add("2", strings.Repeat("long ", 30), "yy")
	tab.add("3", "a\x1b[31m\nb", "")
	var b strings.Builder
	if err := tab.flush(&b); err != nil {
		t.Fatal(err)
	}
	tab.add("4", "later", strings.Repeat("z", 10))
	if err := tab.flush(&b); err != nil {
		t.Fatal(err)
	}
	want := "ID  NAME" + strings.Repeat(" ", 87) + "  END\n" +
		"1   上海示例" + strings.Repeat(" ", 83) + "  x\n" +
		"2   " + strings.Repeat("long ", 18) + "…  yy\n" +
		"3   a�[31m b\n" +
		"4   later" + strings.Repeat(" ", 86) + "  zz…\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "上海": 4, "é": 1, "e\u0301": 1, "ｆ": 2, "…": 1, "한글": 4} {
		if got := width(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
	for _, tt := range []struct {
		s    string
		to   int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"上海示例", 5, "上海…"}, {"上海示例", 4, "上…"}, {"ab", 1, "…"}} {
		if got := cut(tt.s, tt.to); got != tt.want {
			t.Errorf("cut %q to %d: %q, want %q", tt.s, tt.to, got, tt.want)
		}
	}
}

func TestWrap(t *testing.T) {
	if diff := cmp.Diff([]string{"aa bb", "cc", "dddddddd", "e"}, wrap("aa bb cc\ndddddddd e", 6)); diff != "" {
		t.Error(diff)
	}
	if got := wrap(" ", 6); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

func TestParseFeatures(t *testing.T) {
	got, err := parseFeatures([]string{"a", "b=true", "c=10", "d=x=y, z", "e=false"})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := writeJSON(&b, got); err != nil {
		t.Fatal(err)
	}
	want := "{\n  \"a\": true,\n  \"b\": true,\n  \"c\": 10,\n  \"d\": \"x=y, z\",\n  \"e\": false\n}\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "=", "=1", "a="} {
		if _, err := parseFeatures([]string{bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestTimes(t *testing.T) {
	for in, want := range map[string]string{
		"2027-01-31T12:00:00+08:00": "2027-01-31T04:00:00Z",
		"2027-01-31T12:00:00.9Z":    "2027-01-31T12:00:00Z",
	} {
		got, day, err := parseEnd(in)
		if err != nil || got.Format(time.RFC3339) != want || day != "" {
			t.Errorf("%s: %v, %q, %v", in, got, day, err)
		}
	}
	if got, day, err := parseEnd("2028-02-29"); err != nil || !got.IsZero() || day != "2028-02-29" {
		t.Errorf("a day: %v, %q, %v", got, day, err)
	}
	for _, in := range []string{"", "2027-02-29", "31.01.2027", "2027-01-31 12:00", "2027-01-31T12:00:00", "tomorrow"} {
		if got, _, err := parseEnd(in); err == nil {
			t.Errorf("%q is taken as %v", in, got)
		}
	}
	for d, want := range map[time.Duration]string{
		90 * time.Second: "1m30s", 90*time.Minute + 5*time.Second: "1h30m", 49*time.Hour + 5*time.Minute: "2d1h", 400*24*time.Hour - time.Second: "399d",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
