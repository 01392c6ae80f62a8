package token_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// auditLog is a log that grows.
type auditLog struct {
	tb    testing.TB
	head  license.AuditHead
	lines []string
	heads []license.AuditHead
}

func (l *auditLog) add(events ...license.AuditEvent) {
	l.tb.Helper()
	for _, e := range events {
		e.At = signedAt
		line, next, err := l.head.Seal(e, []byte("0123456789abcdef"))
		if err != nil {
			l.tb.Fatal(err)
		}
		l.head = next
		l.lines, l.heads = append(l.lines, string(line)), append(l.heads, next)
	}
}

func personalEvent(id string) license.AuditEvent {
	return license.AuditEvent{
		Actor: license.Actor{Kind: license.ActorInstall, Addr: "192.0.2.1"}, Action: license.ActionRefresh, License: id,
		After: map[string]any{"customer": "Example GmbH"},
	}
}

func (l *auditLog) checkpoint(of license.AuditHead, key, set string) license.AuditEvent {
	raw, err := token.SignCheckpoint(token.Checkpoint{Issuer: issuer, IssuedAt: signedAt, Head: of}, signingKey(l.tb, key))
	if err != nil {
		l.tb.Fatal(err)
	}
	return license.AuditEvent{Actor: license.Actor{Kind: license.ActorSystem}, Action: license.ActionCheckpoint, After: map[string]any{"token": raw, "keys": set}}
}

func eraseEvent(id string, to int) license.AuditEvent {
	return license.AuditEvent{Actor: license.Actor{Kind: license.ActorAdmin}, Action: license.ActionErase, License: id, After: map[string]any{"to": to, "reason": "asked"}}
}

// newAuditLog is a log of nine entries: 1 to 4 of two licences, 5 a checkpoint, 6
// and 7, 8 erases lic_1 up to 4, and 9 signs 7.
func newAuditLog(tb testing.TB) *auditLog {
	tb.Helper()
	l := &auditLog{tb: tb}
	l.add(personalEvent("lic_1"), personalEvent("lic_2"), personalEvent("lic_1"), personalEvent(""))
	l.add(l.checkpoint(l.head, "current", keySetToken()))
	l.add(personalEvent("lic_1"), license.AuditEvent{Action: license.ActionKeysRotate}, eraseEvent("lic_1", 4))
	l.add(l.checkpoint(l.heads[6], "current", keySetToken()))
	return l
}

func without(line string) string {
	l, err := license.ParseAuditLine([]byte(line))
	if err != nil {
		panic(err)
	}
	return string(l.Erased())
}

func text(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	return b.String()
}

func verifyAudit(t *testing.T, v token.AuditVerifier, log string) (token.AuditReport, error) {
	t.Helper()
	report, err := v.Verify(t.Context(), strings.NewReader(log))
	// In pieces of one byte it is the same.
	again, err2 := v.Verify(t.Context(), iotest.OneByteReader(strings.NewReader(log)))
	if report != again || fmt.Sprint(err) != fmt.Sprint(err2) {
		t.Errorf("%+v, %v in one piece, %+v, %v in many", report, err, again, err2)
	}
	return report, err
}

func TestAuditVerifier(t *testing.T) {
	l := newAuditLog(t)
	lines := slices.Clone(l.lines)
	lines[0], lines[2] = without(lines[0]), without(lines[2])
	for name, test := range map[string]struct {
		v    token.AuditVerifier
		log  string
		want token.AuditReport
	}{
		"whole": {token.AuditVerifier{Anchors: anchors}, text(l.lines), token.AuditReport{
			Entries: 9, First: 1, Head: l.head, Checkpoints: 2, Signed: l.heads[6], SignedAt: signedAt,
		}},
		"erased": {token.AuditVerifier{Anchors: anchors, Heads: []license.AuditHead{l.heads[2], l.head, {}}}, text(lines), token.AuditReport{
			Entries: 9, First: 1, Head: l.head, Checkpoints: 2, Signed: l.heads[6], SignedAt: signedAt, Erased: 2,
		}},
		"no last line break": {token.AuditVerifier{}, strings.TrimSuffix(text(l.lines), "\n"), token.AuditReport{Entries: 9, First: 1, Head: l.head, Checkpoints: 2}},
		"line breaks of Windows": {token.AuditVerifier{}, strings.ReplaceAll(text(l.lines), "\n", "\r\n"), token.AuditReport{
			Entries: 9, First: 1, Head: l.head, Checkpoints: 2,
		}},
		"nothing": {token.AuditVerifier{Anchors: anchors}, "", token.AuditReport{}},
		"a part": {token.AuditVerifier{Anchors: anchors, Part: true}, text(l.lines[4:]), token.AuditReport{
			Entries: 5, First: 5, Head: l.head, Checkpoints: 2, Signed: l.heads[6], SignedAt: signedAt,
		}},
		"a part after what is signed": {token.AuditVerifier{Anchors: anchors, Part: true}, text(l.lines[8:]), token.AuditReport{
			Entries: 1, First: 9, Head: l.head, Checkpoints: 1,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := verifyAudit(t, test.v, test.log)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuditVerifierFaults(t *testing.T) {
	l := newAuditLog(t)
	other := newAuditLog(t)
	other.tb = t
	edit := func(n int, from, to string) []string {
		lines := slices.Clone(l.lines)
		lines[n-1] = strings.Replace(lines[n-1], from, to, 1)
		if lines[n-1] == l.lines[n-1] {
			t.Fatalf("%q is not in %s", from, lines[n-1])
		}
		return lines
	}
	swapped := slices.Clone(l.lines)
	swapped[2], swapped[5] = swapped[5], swapped[2]
	strip := func(n int) []string {
		lines := slices.Clone(l.lines)
		lines[n-1] = without(lines[n-1])
		return lines
	}
	signed := func(add func(l *auditLog)) []string {
		l := newAuditLog(t)
		add(l)
		return l.lines
	}
	older := forge("anchor", header("anchor", "license-keys+jwt"), swap(keySetPayload(), `"seq":7`, `"seq":6`))
	foreign := forge("install", header("install", "license-keys+jwt"), keySetPayload())
	for name, test := range map[string]struct {
		lines     []string
		v         token.AuditVerifier
		kind      license.AuditFaultKind
		line, seq int64
	}{
		"edited":              {edit(2, "refresh", "release"), token.AuditVerifier{}, license.AuditEdited, 2, 2},
		"personal edited":     {edit(3, "GmbH", "gmbh"), token.AuditVerifier{}, license.AuditPersonalEdited, 3, 3},
		"missing":             {slices.Delete(slices.Clone(l.lines), 3, 5), token.AuditVerifier{}, license.AuditMissing, 4, 6},
		"beginning cut":       {l.lines[1:], token.AuditVerifier{}, license.AuditMissing, 1, 2},
		"swapped":             {swapped, token.AuditVerifier{}, license.AuditOutOfOrder, 3, 6},
		"repeated":            {slices.Insert(slices.Clone(l.lines), 3, l.lines[2]), token.AuditVerifier{}, license.AuditRepeated, 4, 3},
		"repeated later":      {slices.Insert(slices.Clone(l.lines), 6, l.lines[1]), token.AuditVerifier{}, license.AuditRepeated, 7, 2},
		"not JSON":            {slices.Insert(slices.Clone(l.lines), 1, "hello"), token.AuditVerifier{}, license.AuditDamaged, 2, 0},
		"empty line":          {slices.Insert(slices.Clone(l.lines), 1, ""), token.AuditVerifier{}, license.AuditDamaged, 2, 0},
		"endless line":        {slices.Insert(slices.Clone(l.lines), 1, strings.Repeat("x", 3<<20)), token.AuditVerifier{}, license.AuditDamaged, 2, 0},
		"stripped":            {strip(2), token.AuditVerifier{}, license.AuditPersonalRemoved, 2, 2},
		"stripped after":      {strip(6), token.AuditVerifier{}, license.AuditPersonalRemoved, 6, 6},
		"stripped of none":    {strip(4), token.AuditVerifier{}, license.AuditPersonalRemoved, 4, 4},
		"tail cut":            {l.lines[:6], token.AuditVerifier{Heads: []license.AuditHead{l.head}}, license.AuditOtherHead, 0, 9},
		"another log":         {l.lines, token.AuditVerifier{Heads: []license.AuditHead{{Seq: 3, Hash: [32]byte{1}}}}, license.AuditOtherHead, 3, 3},
		"nothing left":        {nil, token.AuditVerifier{Heads: []license.AuditHead{l.head}}, license.AuditOtherHead, 0, 9},
		"erase of the future": {signed(func(l *auditLog) { l.add(eraseEvent("lic_1", 10)) }), token.AuditVerifier{}, license.AuditDamaged, 10, 10},
		"checkpoint of a stranger": {
			signed(func(l *auditLog) { l.add(l.checkpoint(l.head, "current", foreign)) }),
			token.AuditVerifier{Anchors: anchors},
			license.AuditBadCheckpoint, 10, 10,
		},
		"checkpoint by another key": {
			signed(func(l *auditLog) { l.add(l.checkpoint(l.head, "removed", keySetToken())) }),
			token.AuditVerifier{Anchors: anchors},
			license.AuditBadCheckpoint, 10, 10,
		},
		"checkpoint, older keys": {
			signed(func(l *auditLog) { l.add(l.checkpoint(l.head, "current", older)) }),
			token.AuditVerifier{Anchors: anchors},
			license.AuditBadCheckpoint, 10, 10,
		},
		"checkpoint of another hash": {signed(func(l *auditLog) {
			l.add(l.checkpoint(license.AuditHead{Seq: 9, Hash: [32]byte{1}}, "current", keySetToken()))
		}), token.AuditVerifier{Anchors: anchors}, license.AuditBadCheckpoint, 10, 10},
		"checkpoint of the future": {signed(func(l *auditLog) {
			l.add(l.checkpoint(license.AuditHead{Seq: 10, Hash: [32]byte{1}}, "current", keySetToken()))
		}), token.AuditVerifier{Anchors: anchors}, license.AuditBadCheckpoint, 10, 10},
		"checkpoint of nothing": {signed(func(l *auditLog) {
			l.add(license.AuditEvent{Action: license.ActionCheckpoint, After: map[string]any{"token": 1}})
		}), token.AuditVerifier{Anchors: anchors}, license.AuditBadCheckpoint, 10, 10},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyAudit(t, test.v, text(test.lines))
			var f *license.AuditFault
			if !errors.As(err, &f) || f.Kind != test.kind || f.Line != test.line || f.Seq != test.seq || !errors.Is(err, license.Damaged) {
				t.Errorf("got %v, want %s in line %d at entry %d", err, test.kind, test.line, test.seq)
			}
		})
	}
	// A file that is cut off at any byte is found, but between two lines.
	whole := text(l.lines)
	for n := range len(whole) - 1 {
		v := token.AuditVerifier{}
		_, err := v.Verify(t.Context(), strings.NewReader(whole[:n]))
		var f *license.AuditFault
		if atEnd := n == 0 || whole[n-1] == '\n' || whole[n] == '\n'; atEnd != (err == nil) || !atEnd && (!errors.As(err, &f) || f.Kind != license.AuditTruncated) {
			t.Fatalf("cut off at %d: %v", n, err)
		}
	}
}

// The checkpoints of a key that was revoked since prove nothing, and are no fault:
// what came before is held by the next one.
func TestAuditVerifierRevokedKey(t *testing.T) {
	next := forge("anchor", header("anchor", "license-keys+jwt"), fmt.Sprintf(`{"iss":"%s","iat":%d,"exp":%d,"seq":8,"keys":[%s]}`,
		issuer, signedAt.Unix(), signedAt.Add(390*day).Unix(), jwk("next", signedAt.Add(-30*day), signedAt.Add(770*day))))
	l := newAuditLog(t)
	l.add(license.AuditEvent{Action: license.ActionKeysInstall})
	l.add(l.checkpoint(l.head, "next", next))
	got, err := verifyAudit(t, token.AuditVerifier{Anchors: anchors}, text(l.lines))
	if err != nil || got.Revoked != 2 || got.Signed != l.heads[9] || got.Checkpoints != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAuditVerifierInput(t *testing.T) {
	l := newAuditLog(t)
	v := token.AuditVerifier{Heads: []license.AuditHead{{Seq: 1}, {Seq: 1, Hash: [32]byte{1}}}}
	_, err := v.Verify(t.Context(), strings.NewReader(""))
	wantReason(t, err, license.BadRequest)
	v = token.AuditVerifier{Part: true, Heads: l.heads[:1]}
	_, err = v.Verify(t.Context(), strings.NewReader(text(l.lines[4:])))
	wantReason(t, err, license.BadRequest)
	broken := errors.New("broken")
	if _, err = (token.AuditVerifier{}).Verify(t.Context(), iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	many := &auditLog{tb: t}
	for range 10_000 {
		many.add(license.AuditEvent{Action: license.ActionRenew})
	}
	told := int64(0)
	v = token.AuditVerifier{Progress: func(n int64) { told = n; cancel(broken) }}
	if _, err = v.Verify(ctx, strings.NewReader(text(many.lines))); err != nil || told != 8192 {
		t.Errorf("told %d, %v", told, err)
	}
	if _, err = v.Verify(ctx, strings.NewReader(text(many.lines))); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
}

func FuzzAuditVerifier(f *testing.F) {
	l := newAuditLog(f)
	f.Add([]byte(text(l.lines)))
	f.Add([]byte(text(l.lines[3:])))
	f.Fuzz(func(t *testing.T, log []byte) {
		for _, part := range []bool{false, true} {
			v := token.AuditVerifier{Anchors: anchors, Part: part}
			_, err := v.Verify(t.Context(), bytes.NewReader(log))
			allowed(t, err, license.Damaged)
		}
	})
}

// BenchmarkAuditVerifier is a log like that of a store in use: entries of installs, each with
// an address, and a checkpoint after each 10,000.
func BenchmarkAuditVerifier(b *testing.B) {
	const entries = 100_000
	l := &auditLog{tb: b}
	for n := range entries {
		e := personalEvent(fmt.Sprintf("lic_%026d", n%5000))
		e.Install, e.Actor.Name, e.Product, e.Request = strings.Repeat("i", 43), strings.Repeat("i", 43), product, strings.Repeat("r", 26)
		if n%10_000 == 9_999 {
			e = l.checkpoint(l.head, "current", keySetToken())
		}
		l.add(e)
	}
	log := text(l.lines)
	v := token.AuditVerifier{Anchors: anchors}
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		if r, err := v.Verify(b.Context(), strings.NewReader(log)); err != nil || r.Entries != entries {
			b.Fatal(r, err)
		}
	}
	b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
