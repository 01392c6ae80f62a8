package license_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
)

var auditSalt = []byte("0123456789abcdef")

func auditEvents() []license.AuditEvent {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return []license.AuditEvent{
		{At: at, Actor: license.Actor{Kind: license.ActorAdmin, Name: "anna", Addr: "192.0.2.7"}, Action: license.ActionIssue, License: "lic_1", Product: "cad-pro", After: map[string]any{"customer": `Müller & "Söhne" <x>`, "machines": 3.0}},
		{At: at, Actor: license.Actor{Kind: license.ActorInstall, Name: "ins", Addr: "198.51.100.9"}, Action: license.ActionActivate, License: "lic_1", Install: "ins", Request: "r1"},
		{At: at, Actor: license.Actor{Kind: license.ActorMarketplace, Name: "koogallery"}, Action: license.ActionRenew, License: "lic_2", Note: "order CS1", Before: map[string]any{}, After: map[string]any{"hash": map[string]any{"prev": "x", "hash": "y"}}},
		{At: at, Actor: license.Actor{Kind: license.ActorAdmin}, Action: license.ActionEdit, License: "lic_1", Before: map[string]any{"customer": "A"}, After: map[string]any{"customer": `,"hash":"`}, Note: "she called"},
		{At: at, Actor: license.Actor{Kind: license.ActorSystem}, Action: license.ActionKeysRotate, Before: nil, After: map[string]any{}},
		{At: at, Actor: license.Actor{Kind: "buyer", Name: "Ann", Addr: "203.0.113.1"}, Action: "portal.enter", License: "lic_1"},
	}
}

// auditLines are the lines of a log of those events.
func auditLines(t *testing.T) [][]byte {
	t.Helper()
	var h license.AuditHead
	var lines [][]byte
	for _, e := range auditEvents() {
		line, next, err := h.Seal(e, auditSalt)
		if err != nil {
			t.Fatal(err)
		}
		lines, h = append(lines, line), next
	}
	return lines
}

// follow checks lines one after the other, and returns what stops it.
func follow(lines [][]byte) error {
	var h license.AuditHead
	for _, raw := range lines {
		l, err := license.ParseAuditLine(raw)
		if err != nil {
			return err
		}
		var f *license.AuditFault
		if h, f = h.Follow(l); f != nil {
			return f
		}
	}
	return nil
}

func TestAuditSeal(t *testing.T) {
	lines := auditLines(t)
	if err := follow(lines); err != nil {
		t.Fatal(err)
	}
	for i, e := range auditEvents() {
		l, err := license.ParseAuditLine(lines[i])
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.Event()
		if err != nil {
			t.Fatal(err)
		}
		e.Seq = int64(i + 1)
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("entry %d (-written +read):\n%s", i+1, diff)
		}
		if l.Seq != e.Seq || l.Action != e.Action || l.License != e.License || bytes.ContainsAny(lines[i], "\r\n") {
			t.Errorf("the line is %s", lines[i])
		}
	}
	// The form is promised to other programs.
	want := `{"seq":2,"at":"2026-03-01T12:00:00Z","actor":{"kind":"install","name":"ins"},"action":"license.activate","license":"lic_1","install":"ins","request":"r1",` +
		`"sealed":"lWZ_D3bIm6tjPJ2SyJGC9d6A_1RXeamqdDxC7NCo_A8","prev":"zSoYTq8DC8gn207lFwRbKzL7p1JcGsGUAiDimSKsmYo","hash":"Ld350NYiZ7o-b_9D_lfCcI2nYIO3h-Iu0KzCAR0hlUw",` +
		`"personal":{"salt":"MDEyMzQ1Njc4OWFiY2RlZg","addr":"198.51.100.9"}}`
	if string(lines[1]) != want {
		t.Errorf("the second line is\n%s, want\n%s", lines[1], want)
	}
}

// What can be about a customer's person is outside of what is hashed, and can be
// taken out.
func TestAuditErased(t *testing.T) {
	lines := auditLines(t)
	for i, want := range map[int]license.AuditEvent{
		0: {Actor: license.Actor{Kind: license.ActorAdmin, Name: "anna", Addr: "192.0.2.7"}, After: map[string]any{"machines": 3.0}, Erased: true},
		1: {Actor: license.Actor{Kind: license.ActorInstall, Name: "ins"}, Erased: true},
		2: {Actor: license.Actor{Kind: license.ActorMarketplace, Name: "koogallery"}, Note: "order CS1"},
		3: {Actor: license.Actor{Kind: license.ActorAdmin}, Erased: true},
		4: {Actor: license.Actor{Kind: license.ActorSystem}},
		5: {Actor: license.Actor{Kind: "buyer"}, Erased: true},
	} {
		l, err := license.ParseAuditLine(lines[i])
		if err != nil {
			t.Fatal(err)
		}
		lines[i] = bytes.Clone(l.Erased())
		if l, err = license.ParseAuditLine(lines[i]); err != nil {
			t.Fatal(err)
		}
		e, err := l.Event()
		if err != nil {
			t.Fatal(err)
		}
		if e.Actor != want.Actor || e.Note != want.Note || e.Erased != want.Erased || want.After != nil && !cmp.Equal(e.After, want.After) {
			t.Errorf("entry %d is %+v", i+1, e)
		}
		if want.Erased && l.Personal || bytes.Contains(lines[i], []byte("customer")) || bytes.Contains(lines[i], []byte(`personal`)) {
			t.Errorf("something is left: %s", lines[i])
		}
	}
	if err := follow(lines); err != nil {
		t.Error(err)
	}
}

// Each byte that is changed is found, wherever it stands.
func TestAuditEveryByte(t *testing.T) {
	lines := auditLines(t)
	for n, line := range lines {
		for i := range line {
			for _, x := range []byte{1, 0x20} {
				edited := bytes.Clone(line)
				edited[i] ^= x
				all := slices.Clone(lines)
				all[n] = edited
				if err := follow(all); err == nil {
					t.Fatalf("entry %d: byte %d of %s is %q", n+1, i, line, edited[i])
				}
			}
		}
	}
}

func TestAuditFaults(t *testing.T) {
	at := func(kind license.AuditFaultKind, seq int64) error { return &license.AuditFault{Kind: kind, Seq: seq} }
	lines := auditLines(t)
	with := func(i int, from, to string) [][]byte {
		all := slices.Clone(lines)
		all[i] = bytes.Replace(all[i], []byte(from), []byte(to), 1)
		if bytes.Equal(all[i], lines[i]) {
			t.Fatalf("%q is not in %s", from, lines[i])
		}
		return all
	}
	var h license.AuditHead
	anew, _, err := h.Seal(auditEvents()[4], auditSalt)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		lines [][]byte
		want  error
	}{
		"edited":          {with(1, "license.activate", "license.actixate"), at(license.AuditEdited, 2)},
		"customer":        {with(0, "Müller", "Miller"), at(license.AuditPersonalEdited, 1)},
		"salt":            {with(0, `"salt":"M`, `"salt":"N`), at(license.AuditPersonalEdited, 1)},
		"hash":            {with(2, `"hash":"`+string(hashOf(lines[2])), `"hash":"`+string(hashOf(lines[1]))), at(license.AuditEdited, 3)},
		"missing":         {slices.Delete(slices.Clone(lines), 1, 2), at(license.AuditMissing, 3)},
		"several missing": {slices.Delete(slices.Clone(lines), 1, 4), at(license.AuditMissing, 5)},
		"no beginning":    {lines[1:], at(license.AuditMissing, 2)},
		"repeated":        {slices.Insert(slices.Clone(lines), 2, lines[1]), at(license.AuditRepeated, 2)},
		"out of order":    {[][]byte{lines[0], lines[1], lines[0]}, at(license.AuditOutOfOrder, 1)},
		"replaced":        {[][]byte{anew, lines[1]}, at(license.AuditReplaced, 2)},
	} {
		t.Run(name, func(t *testing.T) {
			var got, want *license.AuditFault
			errors.As(test.want, &want)
			if err := follow(test.lines); !errors.As(err, &got) || got.Kind != want.Kind || got.Seq != want.Seq || !errors.Is(err, license.Damaged) || got.Detail == "" {
				t.Errorf("got %v, want %s at %d", err, want.Kind, want.Seq)
			}
		})
	}
}

func hashOf(line []byte) []byte {
	_, rest, _ := bytes.Cut(line[bytes.LastIndex(line, []byte(`,"hash":"`)):], []byte(`:"`))
	return rest[:43]
}

func TestParseAuditLine(t *testing.T) {
	line := string(auditLines(t)[1])
	prev := line[strings.Index(line, `,"prev"`):strings.Index(line, `,"hash"`)]
	for name, bad := range map[string]string{
		"empty":            "",
		"not JSON":         line[:len(line)-1],
		"an array":         "[1]",
		"a number":         "1",
		"empty object":     "{}",
		"blank inside":     strings.Replace(line, ",", ", ", 1),
		"not text":         strings.Replace(line, "lic_1", "lic\xff1", 1),
		"no position":      strings.Replace(line, `"seq":2,`, ``, 1),
		"position a text":  strings.Replace(line, `"seq":2`, `"seq":"2"`, 1),
		"negative":         strings.Replace(line, `"seq":2`, `"seq":-2`, 1),
		"too great":        strings.Replace(line, `"seq":2`, `"seq":9223372036854775808`, 1),
		"a fraction":       strings.Replace(line, `"seq":2`, `"seq":2.0`, 1),
		"member twice":     strings.Replace(line, `"license"`, `"action"`, 1),
		"upper case":       strings.Replace(line, `"license"`, `"License"`, 1),
		"escaped name":     strings.Replace(line, `"license"`, `"\u006cicense"`, 1),
		"no previous hash": strings.Replace(line, prev, "", 1),
		"hash cut":         strings.Replace(line, `"hash":"L`, `"hash":"`, 1),
		"hash a number":    strings.Replace(line, string(hashOf([]byte(line))), strings.Repeat("1", 42), 1),
		"loose bits":       strings.Replace(line, string(hashOf([]byte(line))), string(hashOf([]byte(line))[:42])+"9", 1),
		"more behind":      strings.Replace(line, `,"personal":`, `,"note":"x","personal":`, 1),
		"personal a text":  line[:strings.Index(line, `,"personal":`)] + `,"personal":"x"}`,
		"not sealed":       strings.Replace(line, `"sealed":`, `"sexled":`, 1),
		"too long":         strings.Replace(line, `"r1"`, `"`+strings.Repeat("r", license.MaxAuditLine)+`"`, 1),
		"many members":     strings.Replace(line, prev, manyMembers()+prev, 1),
	} {
		t.Run(name, func(t *testing.T) {
			if bad == line {
				t.Fatal("nothing was spoiled")
			}
			if _, err := license.ParseAuditLine([]byte(bad)); !errors.Is(err, license.Damaged) {
				t.Errorf("error is %v", err)
			}
		})
	}
	// What a later version may add is covered by the hash and skipped.
	more := strings.Replace(line, prev, `,"later":{"x":[1]}`+prev, 1)
	if l, err := license.ParseAuditLine([]byte(more)); err != nil || l.Seq != 2 {
		t.Errorf("%+v, %v", l, err)
	}
}

func manyMembers() string {
	var b strings.Builder
	for i := range 70 {
		fmt.Fprintf(&b, `,"x%s":1`, strings.Repeat("x", i))
	}
	return b.String()
}

func TestAuditHeadText(t *testing.T) {
	line, err := license.ParseAuditLine(auditLines(t)[1])
	if err != nil {
		t.Fatal(err)
	}
	h := line.Head()
	if got, err := license.ParseAuditHead(" " + h.String() + "\n"); err != nil || got != h {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := license.ParseAuditHead((license.AuditHead{}).String()); err != nil || got != (license.AuditHead{}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "2", "2:", ":" + h.HashText(), "-1:" + h.HashText(), "2:" + h.HashText()[1:], "2:" + h.HashText() + "A", "x:" + h.HashText(), "0:" + h.HashText()} {
		if _, err := license.ParseAuditHead(s); !errors.Is(err, license.BadRequest) {
			t.Errorf("%q: error is %v", s, err)
		}
	}
}

func TestAuditSealRefuses(t *testing.T) {
	private := auditEvents()[0]
	for name, test := range map[string]struct {
		head license.AuditHead
		e    license.AuditEvent
		salt []byte
	}{
		"the end":     {license.AuditHead{Seq: 1<<63 - 1}, private, auditSalt},
		"no salt":     {license.AuditHead{}, private, nil},
		"not JSON":    {license.AuditHead{}, license.AuditEvent{After: map[string]any{"x": func() {}}}, auditSalt},
		"private":     {license.AuditHead{}, license.AuditEvent{After: map[string]any{"customer": func() {}}}, auditSalt},
		"a hash":      {license.AuditHead{}, license.AuditEvent{After: map[string]any{"customer": map[string]any{"a": 1, "hash": "x"}}}, auditSalt},
		"no calendar": {license.AuditHead{}, license.AuditEvent{At: time.Unix(1<<60, 0)}, auditSalt},
		"too long":    {license.AuditHead{}, license.AuditEvent{Note: strings.Repeat("x", license.MaxAuditLine)}, auditSalt},
	} {
		if _, h, err := test.head.Seal(test.e, test.salt); !errors.Is(err, license.Internal) || h != test.head {
			t.Errorf("%s: %v, %v", name, h, err)
		}
	}
}

func FuzzAuditLine(f *testing.F) {
	var h license.AuditHead
	for _, e := range auditEvents() {
		line, next, err := h.Seal(e, auditSalt)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
		f.Add(line[:len(line)/2])
		h = next
	}
	f.Add([]byte(`{"seq":1,"a":"\"`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := license.ParseAuditLine(raw)
		if err != nil {
			if !errors.Is(err, license.Damaged) {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		_, _ = l.Event()
		_, fault := license.AuditHead{Seq: l.Seq - 1, Hash: l.Prev}.Follow(l)
		without, err := license.ParseAuditLine(bytes.Clone(l.Erased()))
		if err != nil || without.Personal || without.Head() != l.Head() {
			t.Fatalf("without personal data it is %+v, %v", without, err)
		}
		if _, again := (license.AuditHead{Seq: l.Seq - 1, Hash: l.Prev}).Follow(without); fault == nil && again != nil {
			t.Errorf("without personal data: %v", again)
		}
	})
}

func BenchmarkAuditSeal(b *testing.B) {
	e := auditEvents()[1]
	e.License, e.Install, e.Actor.Name = "lic_01k2m3n4p5q6r7s8t9v0w1x2y3", strings.Repeat("i", 43), strings.Repeat("i", 43)
	var h license.AuditHead
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if _, h, err = h.Seal(e, auditSalt); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAuditFollow(b *testing.B) {
	line, _, err := license.AuditHead{}.Seal(auditEvents()[0], auditSalt)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		l, err := license.ParseAuditLine(line)
		if err != nil {
			b.Fatal(err)
		}
		if _, f := (license.AuditHead{}).Follow(l); f != nil {
			b.Fatal(f)
		}
	}
}
