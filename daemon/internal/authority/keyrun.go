package authority

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// KeyWarningKind is what about the keys somebody has to see to.
type KeyWarningKind string

// The kinds of warnings.
const (
	KeyWarnSet      KeyWarningKind = "key_set"     // it nears its end
	KeyWarnCurrent  KeyWarningKind = "signing_key" // it nears its end
	KeyWarnRotation KeyWarningKind = "rotation"    // one is due before long, and there is no next key
	KeyWarnSigner   KeyWarningKind = "signer"      // the key cannot be used
	KeyWarnRevoked  KeyWarningKind = "revocation"  // a marked key is in the key set still
	KeyWarnFolder   KeyWarningKind = "key_folder"  // it is older than what the store knows of it
	KeyWarnNext     KeyWarningKind = "next_key"    // a rotation by another daemon moves to a key that is not here
	KeyWarnSealed   KeyWarningKind = "sealed_key"  // what the store keeps of a key is damaged
)

// KeyWarning is something about the keys that somebody has to see to.
type KeyWarning struct {
	Kind KeyWarningKind
	Due  time.Time // when it comes to a head; zero: it has
	Text string
}

const (
	keyLook = time.Minute // how often the loop looks at all there is

	keyWarnDays = 90 // before the end of a key set or of a key
	// rotateWarn is how long before a rotation the next key is asked for, at most;
	// of a short interval it is a third.
	rotateWarn = 30 * 24 * time.Hour
)

// RotateDue says when the signing key is to be rotated by schedule, zero where
// there is none.
func (a *Authority) RotateDue() time.Time {
	if a.rotateEvery <= 0 {
		return time.Time{}
	}
	return a.custody.Standing(a.now()).CurrentSince.Add(a.rotateEvery)
}

// KeyWarnings lists what about the keys somebody has to see to.
func (a *Authority) KeyWarnings(ctx context.Context) ([]KeyWarning, error) {
	marked, err := a.Revocations(ctx)
	if err != nil {
		return nil, err
	}
	old, err := a.olderFolder(ctx)
	if err != nil {
		return nil, err
	}
	return append(old, a.keyWarnings(marked, a.now())...), nil
}

func (a *Authority) keyWarnings(marked []KeyRevocation, now time.Time) (list []KeyWarning) {
	s := a.custody.Standing(now)
	add := func(kind KeyWarningKind, due time.Time, format string, args ...any) {
		list = append(list, KeyWarning{Kind: kind, Due: due, Text: fmt.Sprintf(format, args...)})
	}
	lead := keyWarnDays * 24 * time.Hour
	if s.SetUntil.Sub(now) < lead {
		add(KeyWarnSet, s.SetUntil, "the key set ends on %s: have an anchor sign the next one", s.SetUntil.Format(time.DateOnly))
	}
	if s.CurrentUntil.Sub(now) < lead {
		add(KeyWarnCurrent, s.CurrentUntil, "the signing key ends on %s, and nothing that it signs later verifies", s.CurrentUntil.Format(time.DateOnly))
	}
	due := s.CurrentSince.Add(a.rotateEvery)
	if a.rotateEvery > 0 && s.Next == "" && due.Sub(now) < min(rotateWarn, a.rotateEvery/3) {
		add(KeyWarnRotation, due, "the signing key is to be rotated on %s, and there is no next key: have an anchor sign the next key set", due.Format(time.DateOnly))
	}
	if s.Fault != "" {
		add(KeyWarnSigner, time.Time{}, "nothing can be signed: the signing key cannot be used (%s)", s.Fault)
	}
	if len(s.Lacking) > 0 && a.sharedStore {
		add(KeyWarnNext, time.Time{}, "the private half of %s, to which a rotation moves, is not in the key folder here: after the next rotation by another daemon this one signs nothing",
			strings.Join(s.Lacking, ", "))
	}
	list = append(list, a.sealedWarnings()...)
	for _, r := range marked {
		if !r.Ended() {
			add(KeyWarnRevoked, time.Time{}, "%s (%s) is being revoked and counts until a key set without it is installed", r.KID, r.Role)
		}
	}
	return list
}

// KeyNews is what RunKeys has to tell. One of the fields is set.
type KeyNews struct {
	Rotated  *Rotated
	Reloaded bool         // another process had changed the keys
	Warnings []KeyWarning // once a day, while there are any
	Err      error
}

// LoadKeys brings the key folder in step with the store, before anything is served.
// One that cannot follow, since it lacks a private half, is no error: what needs a
// signature is refused until it has it.
func (a *Authority) LoadKeys(ctx context.Context) error {
	_, err := a.followKeys(ctx)
	return err
}

// RunKeys looks after the keys until ctx ends: it takes over what another daemon on
// the same store or folder has changed, rotates by schedule, and warns before an
// anchor is needed, early and in the audit log at each of a few steps.
func (a *Authority) RunKeys(ctx context.Context, report func(KeyNews)) {
	k := keyRun{a: a, report: report}
	every := keyLook
	if a.sharedStore {
		every = keyLookShared
	}
	repeat(ctx, nil, func() time.Duration {
		err := k.look(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			k.failing = ""
		case k.failing != err.Error(): // once, and not each minute
			k.failing = err.Error()
			report(KeyNews{Err: err})
		}
		return every
	})
}

// keyRun is what the loop remembers.
type keyRun struct {
	a       *Authority
	report  func(KeyNews)
	failing string
	behind  string
	told    time.Time     // when warnings were
	said    []string      // those about what is here only, of the last look
	whole   time.Duration // when all there is was looked at, by the clock that nobody sets
	begun   bool
}

// look is one look at the keys.
func (k *keyRun) look(ctx context.Context) error {
	a := k.a
	changed, err := a.custody.Reload()
	if err != nil {
		return fmt.Errorf("read the keys again: %w", err)
	}
	followed, err := a.followKeys(ctx)
	if err != nil {
		return err
	}
	if changed || followed {
		a.lists.signAgain(ctx)
		k.report(KeyNews{Reloaded: true})
	}
	behind := ""
	if l := a.keyLooked.Load(); l != nil && l.err != nil {
		behind = detailOf(l.err)
	}
	news := behind != k.behind
	k.behind = behind
	at := a.guard.uptime()
	if k.begun && !changed && !followed && !news && at-k.whole < keyLook {
		return nil
	}
	k.begun, k.whole = true, at
	now, warnings, err := a.keepKeys(ctx, k.report)
	if err != nil {
		return err
	}
	said := k.said
	k.said = nil
	for _, w := range warnings {
		if w.Kind == KeyWarnNext || w.Kind == KeyWarnSealed {
			k.said = append(k.said, w.Text)
			news = news || !slices.Contains(said, w.Text)
		}
	}
	if len(warnings) > 0 && (k.told.IsZero() || news || now.Sub(k.told).Abs() >= 24*time.Hour) {
		k.told = now
		k.report(KeyNews{Warnings: warnings})
	}
	return nil
}

// keepKeys does what is to be done about the keys, and warns.
func (a *Authority) keepKeys(ctx context.Context, report func(KeyNews)) (now time.Time, warnings []KeyWarning, err error) {
	if now, err = a.dated(ctx); err != nil {
		return now, nil, nil //nolint:nilerr // the clock is not trusted, which is told elsewhere; nothing is dated by it
	}
	if err := a.noteKeys(ctx, systemKeys, now); err != nil { // what was not noted before a crash
		return now, nil, err
	}
	marked, err := a.Revocations(ctx)
	if err != nil {
		return now, nil, err
	}
	if err := a.rotateDue(ctx, marked, now, report); err != nil {
		return now, nil, err
	}
	old, err := a.olderFolder(ctx)
	if err != nil {
		return now, nil, err
	}
	warnings = append(old, a.keyWarnings(marked, now)...)
	return now, warnings, a.recordWarnings(ctx, warnings, now)
}

// rotateDue rotates by schedule. Of several daemons that find it due at the same
// time one notes it, and the others follow.
func (a *Authority) rotateDue(ctx context.Context, marked []KeyRevocation, now time.Time, report func(KeyNews)) error {
	is := a.custody.Standing(now)
	if a.rotateEvery <= 0 || is.Next == "" || now.Before(is.CurrentSince.Add(a.rotateEvery)) || a.keysBehind() != nil ||
		slices.ContainsFunc(marked, func(r KeyRevocation) bool { return r.KID == is.Next }) {
		return nil
	}
	r, err := a.rotate(ctx, systemKeys, now)
	if errors.Is(err, license.Conflict) { // another daemon has
		changed, err := a.followKeys(ctx)
		if changed {
			a.lists.signAgain(ctx)
			report(KeyNews{Reloaded: true})
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("by schedule: %w", err)
	}
	report(KeyNews{Rotated: &r})
	return nil
}

// warnSteps are the days before the end at which a warning gets another audit
// event, and so another notice to who listens.
var warnSteps = []int{keyWarnDays, 60, 30, 14, 7, 3, 1, 0}

// warnedKeys is, by kind, what was recorded last of a warning.
type warnedKeys map[KeyWarningKind]warnedKey

type warnedKey struct {
	Due  time.Time `json:"due"`
	Step int       `json:"step"`
}

// recordWarnings writes an audit event for each warning about an end that is new,
// or has come a step nearer. Several daemons on one store write one together.
func (a *Authority) recordWarnings(ctx context.Context, warnings []KeyWarning, now time.Time) error {
	want := warnedKeys{}
	texts := map[KeyWarningKind]string{}
	for _, w := range warnings {
		if !w.Due.IsZero() {
			want[w.Kind], texts[w.Kind] = warnedKey{Due: w.Due, Step: stepOf(w.Due.Sub(now))}, w.Text
		}
	}
	var was warnedKeys
	err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		was, err = readValue[warnedKeys](ctx, tx, keysWarned)
		return err
	})
	if err != nil || sameWarnings(was, want) {
		return err
	}
	return a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		was, err := readValue[warnedKeys](ctx, tx, keysWarned)
		if err != nil || sameWarnings(was, want) {
			return err
		}
		for _, kind := range slices.Sorted(maps.Keys(want)) {
			w := want[kind]
			if old, had := was[kind]; had && old.Due.Equal(w.Due) && old.Step <= w.Step {
				continue
			}
			_, err := tx.Append(ctx, license.AuditEvent{
				At: now, Actor: systemKeys, Action: license.ActionKeysExpiring, Note: texts[kind],
				After: map[string]any{"kind": kind, "due": w.Due.Format(time.RFC3339), "days_left": daysIn(w.Due.Sub(now))},
			})
			if err != nil {
				return fmt.Errorf("record a warning about the keys: %w", err)
			}
		}
		return writeValue(ctx, tx, keysWarned, want)
	})
}

func sameWarnings(a, b warnedKeys) bool {
	return maps.EqualFunc(a, b, func(x, y warnedKey) bool { return x.Step == y.Step && x.Due.Equal(y.Due) })
}

// stepOf is the last of warnSteps that was reached.
func stepOf(left time.Duration) int {
	step := warnSteps[0]
	for _, s := range warnSteps {
		if left <= time.Duration(s)*24*time.Hour {
			step = s
		}
	}
	return step
}

func daysIn(d time.Duration) int { return int(max(d, 0) / (24 * time.Hour)) }
