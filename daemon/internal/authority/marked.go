package authority

import (
	"context"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Mark is what is kept outside the store of one change: enough to make it again
// in a store that was restored from a backup of before it, and no secret.
type Mark struct {
	Seq     int64          `json:"seq"` // position in the audit log
	At      time.Time      `json:"at"`
	Action  license.Action `json:"action"`
	License string         `json:"license,omitzero"`
	Install string         `json:"install,omitzero"`
	Product string         `json:"product,omitzero"`
	Facts   map[string]any `json:"facts,omitzero"` // those of AuditEvent.After that markFacts names
	// Place is that of the install in a status list, of a change that binds or ends one.
	Place license.StatusRef `json:"place,omitzero"`
	// Key names the idempotency key that the change was made with: a digest, as the
	// store keeps it. Of the changes of one transaction the first has it.
	Key string `json:"key,omitzero"`
	// Past: the change was made in a history that was given up at a restore, and
	// Seq is the position at which the store took note of that. A store that lacks
	// that position has to be told of the change again.
	Past bool `json:"past,omitzero"`
}

// Digest is that of the audit event (store.DigestOf).
func (m Mark) Digest() string {
	return store.DigestOf(license.AuditEvent{Seq: m.Seq, At: m.At, Action: m.Action, License: m.License, Install: m.Install})
}

// Marks keeps marks outside the store.
type Marks interface {
	// Note takes in changes that are on disk in the store, in their order. With
	// now the marks are on disk too when it returns; else they may lag a little.
	// What fails it keeps, tries again and reports by itself: the change is made.
	Note(ms []Mark, now bool)
}

// markFacts are the facts that a change can be made again by.
var markFacts = []string{ //nolint:gochecknoglobals // a table
	"seat", "state", "expires_at", "holds", "device", "token", "kid", "role", "approval", "cleared", "webhook", "after",
}

// MarkOf is the mark of an audit event, and whether it has one. Refreshes have
// none: an install that calls shows by its licence how far it had come.
func MarkOf(e license.AuditEvent) (Mark, bool) {
	switch e.Action { //nolint:exhaustive // all others have one
	case license.ActionRefresh, license.ActionBackup, license.ActionDump:
		return Mark{}, false
	}
	m := Mark{Seq: e.Seq, At: e.At.UTC(), Action: e.Action, License: e.License, Install: e.Install, Product: e.Product}
	for _, name := range markFacts {
		v, ok := e.After[name]
		if !ok {
			continue
		}
		if m.Facts == nil {
			m.Facts = make(map[string]any)
		}
		m.Facts[name] = v
	}
	return m, true
}

// pressing reports whether a mark has to be on disk before anybody is told of
// the change: it takes something away, which a restored store would give back.
func (m Mark) pressing() bool {
	switch m.Action { //nolint:exhaustive // the others give, or say
	case license.ActionRevoke, license.ActionRelease, license.ActionSuspend, license.ActionFreeze,
		license.ActionTokenRevoke, license.ActionKeysRevoke, license.ActionErase, license.ActionWebhookDisable:
		return true
	}
	return m.ends()
}

// marked is a store whose changes leave marks outside it.
type marked struct {
	store.Store
	marks Marks
}

func (s marked) Update(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	var t *markingTx
	err := s.Store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		t = &markingTx{Tx: tx}
		return fn(ctx, t)
	})
	if err == nil && t != nil && len(t.marks) > 0 {
		s.marks.Note(t.marks, t.pressing)
	}
	return err
}

type markingTx struct {
	store.Tx
	marks    []Mark
	pressing bool
	keyed    bool
	places   map[string]license.StatusRef // of the installs that were written
}

// CreateInstall writes, and keeps in mind which place the install has.
func (t *markingTx) CreateInstall(ctx context.Context, i license.Install) error {
	t.placed(i)
	return t.Tx.CreateInstall(ctx, i)
}

// UpdateInstall writes, and keeps in mind which place the install has.
func (t *markingTx) UpdateInstall(ctx context.Context, i license.Install) error {
	t.placed(i)
	return t.Tx.UpdateInstall(ctx, i)
}

func (t *markingTx) placed(i license.Install) {
	if t.places == nil {
		t.places = make(map[string]license.StatusRef)
	}
	t.places[itemID(i.LicenseID, i.ID)] = i.Status
}

func (t *markingTx) Append(ctx context.Context, e license.AuditEvent) (int64, error) {
	seq, err := t.Tx.Append(ctx, e)
	if err != nil {
		return seq, err
	}
	e.Seq = seq
	if m, ok := MarkOf(e); ok {
		if c := CallOf(ctx); c != nil && c.key != nil && !t.keyed {
			m.Key, t.keyed = strings.TrimPrefix(c.key.name, keyPrefix), true
		}
		if m.binds() || m.ends() {
			m.Place = t.places[itemID(m.License, m.Install)]
		}
		t.marks = append(t.marks, m)
		t.pressing = t.pressing || m.pressing()
	}
	return seq, nil
}
