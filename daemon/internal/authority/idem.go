package authority

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// What is kept of calls that carry an idempotency key.
const (
	// KeyKept is for how long a key is remembered at least.
	KeyKept = 48 * time.Hour
	// MaxKey is how many characters a key has at most.
	MaxKey = 128

	keyPrefix    = "idempotency/"
	maxKept      = 256 << 10 // bytes of a sealed answer; a larger one is made again
	dropKeys     = 4         // old records that are looked at with each new one
	maxUnpacked  = 32 << 20
	keyFieldName = "Idempotency-Key"
)

// callKey is the idempotency key of a call.
type callKey struct {
	name    string // of its record
	digest  []byte
	at      time.Time
	written bool // the record is in the store
	made    Made // as it stands there
}

// wrote notes what a transaction of the call has made.
func (k *callKey) wrote(m Made) {
	if k != nil {
		k.written = true
		k.made.add(m)
	}
}

// keyRecord is what the store keeps of a key. The key itself it does not hold: a
// record is found by a digest of it.
type keyRecord struct {
	At        time.Time `json:"at"`
	Operation string    `json:"operation"`
	Digest    []byte    `json:"digest"` // of the call: method, path and body
	Made      Made      `json:"made,omitzero"`
	Answer    []byte    `json:"answer,omitzero"` // packed and sealed; absent until it was sent
	// Lost: the store was restored from a backup of before the call, so nothing else
	// is known of it but At.
	Lost bool `json:"lost,omitzero"`
}

// Kept is what an earlier call with the same key came to.
type Kept struct {
	At     time.Time
	Answer []byte // nil where the daemon ended before it could be kept, or it is too large
	Made   Made   // from which it can be made again
}

// BeginKeyed has c carry an idempotency key: what it changes and that the key was
// used are one. digest is that of the whole call, without its key. It returns what
// the call has come to where it was made before. The key is taken until end is
// called. A key that was used for another call, or whose call is under way, is a
// Conflict.
func (a *Authority) BeginKeyed(ctx context.Context, c *Call, key string, digest []byte) (kept *Kept, end func(), err error) {
	if err := checkCallKey(key); err != nil {
		return nil, nil, err
	}
	name := keyPrefix + base64.RawURLEncoding.EncodeToString(digestOf(c.Principal.ID, key)[:18])
	if end, err = a.keys.take(name); err != nil {
		return nil, nil, err
	}
	var rec keyRecord
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		rec, err = findValue[keyRecord](ctx, tx, name)
		return err
	})
	switch {
	case errors.Is(err, license.NotFound), err == nil && !rec.At.Add(KeyKept).After(a.now()):
		c.key = &callKey{name: name, digest: digest, at: a.now()}
		return nil, end, nil
	case err == nil && rec.Lost:
		err = license.Errorf(license.Conflict, "%s: a call with this key was answered at %s, and the store was restored since from a backup of before that; "+
			"look what there is of what it made, and use a new key", keyFieldName, rec.At.UTC().Format(time.RFC3339))
	case err == nil && subtle.ConstantTimeCompare(rec.Digest, digest) != 1:
		err = license.Errorf(license.Conflict, "%s: this key was used for another call, %s, at %s; use a new one", keyFieldName, rec.Operation,
			rec.At.UTC().Format(time.RFC3339))
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	kept = &Kept{At: rec.At, Made: rec.Made}
	if kept.Answer, err = a.keys.open(name, rec.Answer); err != nil {
		end()
		return nil, nil, err
	}
	c.key = &callKey{name: name, digest: digest, at: rec.At, written: true, made: rec.Made}
	return kept, end, nil
}

// checkCallKey refuses what is no key. The Field is that of the header.
func checkCallKey(key string) error {
	if key == "" || len(key) > MaxKey || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return license.FieldErrorf(keyFieldName, "a key has 1 to %d printable ASCII characters", MaxKey)
	}
	return nil
}

// ClaimKey records that the key of a call is used, before it does what is no
// transaction: after a crash nobody knows then whether it was done, and it is not
// done twice.
func (a *Authority) ClaimKey(ctx context.Context, c *Call) error {
	return a.store.Update(WithCall(ctx, &Call{Principal: c.Principal, Operation: c.Operation, key: c.key}),
		func(context.Context, store.Tx) error { return nil })
}

// KeepAnswer keeps what c was answered with, for whoever asks again with its key.
func (a *Authority) KeepAnswer(ctx context.Context, c *Call, answer []byte) error {
	sealed, err := a.keys.seal(c.key.name, answer)
	if err != nil {
		return err
	}
	rec := keyRecord{At: c.key.at, Operation: c.Operation, Digest: c.key.digest, Made: c.key.made, Answer: sealed}
	err = a.below.Update(ctx, func(ctx context.Context, tx store.Tx) error { return writeValue(ctx, tx, c.key.name, rec) })
	if err != nil {
		return fmt.Errorf("keep what was answered: %w", err)
	}
	return nil
}

// DropKey forgets the key of a call that has changed nothing.
func (a *Authority) DropKey(ctx context.Context, c *Call) error {
	return a.below.Update(ctx, func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, c.key.name, nil) })
}

// Keyed reports whether c has a key, and whether it has changed something.
func (c *Call) Keyed() (keyed, changed bool) {
	return c.key != nil, c.key != nil && c.key.written
}

// take keeps a key for one call at a time.
func (k *callKeys) take(name string) (end func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy[name] {
		return nil, keyBusy()
	}
	k.busy[name] = true
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.busy, name)
	}, nil
}

func keyBusy() error {
	return license.Errorf(license.Conflict, "%s: a call with this key is under way; repeat it in a moment", keyFieldName).WithRetryAfter(time.Second)
}

// claim refuses a call whose key another daemon has used since it began.
func (k *callKeys) claim(ctx context.Context, tx store.Tx, c *Call) error {
	if c.key == nil || c.key.written || c.DryRun {
		return nil
	}
	rec, err := findValue[keyRecord](ctx, tx, c.key.name)
	switch {
	case errors.Is(err, license.NotFound):
		return nil
	case err != nil:
		return err
	case !rec.At.Add(KeyKept).After(k.a.now()):
		return nil
	}
	return keyBusy()
}

// record writes, with the change itself, that the key was used and for what.
func (k *callKeys) record(ctx context.Context, tx store.Tx, c *Call, made Made) error {
	if c.key == nil {
		return nil
	}
	rec := keyRecord{At: c.key.at, Operation: c.Operation, Digest: c.key.digest}
	rec.Made.add(c.key.made)
	rec.Made.add(made)
	if err := writeValue(ctx, tx, c.key.name, rec); err != nil {
		return fmt.Errorf("record an idempotency key: %w", err)
	}
	return k.dropOld(ctx, tx)
}

// dropOld drops the next few records that are older than they must be. Each new
// record looks at several, so that they do not grow.
func (k *callKeys) dropOld(ctx context.Context, tx store.Tx) error {
	k.mu.Lock()
	from := k.cursor
	k.mu.Unlock()
	values, next, err := tx.Values(ctx, keyPrefix, Page{Limit: dropKeys, Cursor: from})
	if errors.Is(err, license.BadRequest) {
		values, next, err = tx.Values(ctx, keyPrefix, Page{Limit: dropKeys})
	}
	if err != nil {
		return fmt.Errorf("look for old idempotency keys: %w", err)
	}
	for _, v := range values {
		if rec, err := parseValue[keyRecord](v); err == nil && rec.At.Add(KeyKept).After(k.a.now()) {
			continue
		}
		if err := tx.SetValue(ctx, v.Name, nil); err != nil {
			return fmt.Errorf("drop an old idempotency key: %w", err)
		}
	}
	k.mu.Lock()
	k.cursor = next
	k.mu.Unlock()
	return nil
}

// seal packs and encrypts an answer, which may hold codes; nil where it is too large.
func (k *callKeys) seal(name string, answer []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("pack an answer: %w", err)
	}
	if _, err := w.Write(answer); err != nil {
		return nil, fmt.Errorf("pack an answer: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack an answer: %w", err)
	}
	if b.Len() > maxKept {
		return nil, nil
	}
	return k.a.codes.SealText(b.String(), name)
}

func (k *callKeys) open(name string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	packed, err := k.a.codes.OpenText(sealed, name)
	if err != nil {
		return nil, fmt.Errorf("open a kept answer: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(flate.NewReader(strings.NewReader(packed)), maxUnpacked))
	if err != nil {
		return nil, fmt.Errorf("unpack a kept answer: %w", err)
	}
	return answer, nil
}

// Reissued returns the licences with these ids and their codes, for the answer of
// an issue that was lost.
func (a *Authority) Reissued(ctx context.Context, ids []string) ([]Issued, error) {
	out := make([]Issued, 0, len(ids))
	err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		out = out[:0]
		for _, id := range ids {
			l, err := tx.License(ctx, id)
			if err != nil {
				return err
			}
			code, err := a.codes.Open(l.Code.Sealed, l.ID)
			if err != nil {
				return err
			}
			out = append(out, Issued{License: l, Code: code})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what was issued: %w", err)
	}
	return out, nil
}
