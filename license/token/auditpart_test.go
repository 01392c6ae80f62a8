package token_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// A part goes on from the head of the export before it, and from no other.
func TestAuditVerifierPartAfterHead(t *testing.T) {
	l := newAuditLog(t)
	v := token.AuditVerifier{Anchors: anchors, Part: true, Heads: l.heads[3:4]}
	if _, err := verifyAudit(t, v, text(l.lines[4:])); err != nil {
		t.Error(err)
	}
	for name, test := range map[string]struct {
		heads []license.AuditHead
		lines []string
		kind  license.AuditFaultKind
		line  int64
	}{
		"another before":   {[]license.AuditHead{{Seq: 4, Hash: [32]byte{1}}}, l.lines[4:], license.AuditOtherHead, 1},
		"before the first": {nil, rootless(t), license.AuditReplaced, 1},
	} {
		_, err := verifyAudit(t, token.AuditVerifier{Part: true, Heads: test.heads}, text(test.lines))
		var f *license.AuditFault
		if !errors.As(err, &f) || f.Kind != test.kind || f.Line != test.line {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// rootless is a log whose first entry says that it follows another.
func rootless(t *testing.T) []string {
	t.Helper()
	line, _, err := (license.AuditHead{Hash: [32]byte{1}}).Seal(license.AuditEvent{At: signedAt, Action: license.ActionRenew}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return []string{string(line)}
}

// A log that goes on after a restore is whole, and says why it is another than is
// known from before.
func TestAuditVerifierRestored(t *testing.T) {
	before := newAuditLog(t)
	after := &auditLog{tb: t, head: before.heads[5], lines: slices.Clone(before.lines[:6]), heads: slices.Clone(before.heads[:6])}
	after.add(license.AuditEvent{
		Actor: license.Actor{Kind: license.ActorSystem, Name: "restore"}, Action: license.ActionRestore,
		Before: map[string]any{"audit_seq": before.head.Seq}, After: map[string]any{"audit_seq": 6},
	})
	got, err := verifyAudit(t, token.AuditVerifier{Anchors: anchors, Heads: before.heads[5:6]}, text(after.lines))
	if want := (token.AuditRestore{Seq: 7, Until: 9}); err != nil || got.Restores != 1 || got.Restored != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, known := range before.heads[6:] {
		_, err := verifyAudit(t, token.AuditVerifier{Heads: []license.AuditHead{known}}, text(after.lines))
		var f *license.AuditFault
		if !errors.As(err, &f) || f.Kind != license.AuditOtherHead || f.Seq != known.Seq || !strings.Contains(f.Detail, "By entry 7 the store was restored") || !strings.Contains(f.Detail, "up to entry 9") {
			t.Errorf("%s: error is %v", known, err)
		}
	}
	// What is another for another reason is not explained by it.
	_, err = verifyAudit(t, token.AuditVerifier{Heads: []license.AuditHead{{Seq: 3, Hash: [32]byte{1}}}}, text(after.lines))
	if err == nil || strings.Contains(err.Error(), "restored") {
		t.Errorf("error is %v", err)
	}
}

// However much was erased, a log is whole; what would need too much memory is
// refused, and not called broken.
func TestAuditVerifierManyErased(t *testing.T) {
	const licenses, each = 40, 30
	l := &auditLog{tb: t}
	for n := range licenses * each {
		l.add(personalEvent(fmt.Sprintf("lic_%d", n%licenses)))
	}
	// Of half of them a bit was erased before.
	for n := range licenses {
		if n%2 == 0 {
			l.add(eraseEvent(fmt.Sprintf("lic_%d", n), licenses*each/2))
		}
	}
	for n := range licenses {
		l.add(eraseEvent(fmt.Sprintf("lic_%d", n), int(l.head.Seq)))
	}
	lines := slices.Clone(l.lines)
	for i := range licenses * each {
		lines[i] = without(lines[i])
	}
	got, err := verifyAudit(t, token.AuditVerifier{}, text(lines))
	if err != nil || got.Erased != licenses*each {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = verifyAudit(t, token.AuditVerifier{}.WithRoom(10_000), text(lines))
	wantReason(t, err, license.BadRequest)
	// Erasures give the room free again.
	again := slices.Clone(lines)
	for range 3 {
		more := &auditLog{tb: t, head: l.head}
		for n := range 300 {
			more.add(personalEvent(fmt.Sprintf("lic_%d", n%10)))
		}
		for n := range 10 {
			more.add(eraseEvent(fmt.Sprintf("lic_%d", n), int(more.head.Seq)))
		}
		for i := range 300 {
			more.lines[i] = without(more.lines[i])
		}
		again, l.head = append(again, more.lines...), more.head
	}
	if _, err := verifyAudit(t, token.AuditVerifier{}.WithRoom(licenses*each*16+licenses*192), text(again)); err != nil {
		t.Error(err)
	}
	// No erasure can be about what has no id of a licence.
	long := &auditLog{tb: t}
	long.add(personalEvent(strings.Repeat("x", 65)))
	_, err = verifyAudit(t, token.AuditVerifier{}, without(long.lines[0]))
	wantReason(t, err, license.Damaged)
}
