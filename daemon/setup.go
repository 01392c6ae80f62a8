package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/buildinfo"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/open"
)

// openKeys opens the key folder, or makes it at the first start.
func (d *Daemon) openKeys(ctx context.Context) error {
	o := keys.Options{
		Issuer: d.config.Issuer, Passphrase: d.settings.passphrase, Now: d.now, Ahead: aheadFor(time.Duration(d.config.Keys.RotateEvery)),
	}
	var err error
	if o.Keystore, err = d.openKeystore(); err != nil {
		return err
	}
	dir := filepath.Join(d.config.DataDir, "keys")
	if _, err := os.Stat(filepath.Join(dir, "keyset.jwt")); errors.Is(err, fs.ErrNotExist) {
		if err := d.makeKeys(ctx, dir, o); err != nil {
			return err
		}
	}
	o.Anchors = d.settings.anchors
	if !d.config.IssuerGiven {
		o.Issuer = "" // then the issuer is that of the keys, however the listener is called today
	}
	ring, err := keys.Open(dir, o)
	if err != nil {
		return fmt.Errorf("open the keys: %w", err)
	}
	d.ring = ring
	health := ring.Health(d.now())
	if health.Expiring {
		d.log.Warn("the key set nears its end; have an anchor sign the next one", "expires_at", health.ExpiresAt, "days_left", health.DaysLeft)
	}
	if len(health.Leftover) > 0 {
		d.log.Warn("private halves of retired keys could not be removed; remove them by hand", "files", health.Leftover)
	}
	if !d.config.PublicIsLoopback() && len(ring.AnchorPrivatesPresent()) > 0 && !d.config.Keys.AllowAnchorKeys {
		return &ConfigError{d.config.KeyError("public.listen", fmt.Errorf(
			"a listener beyond loopback is refused while private halves of anchors lie in the data folder (%s): "+
				"move them offline, or set keys.allow_anchor_keys", filepath.Join(dir, "anchors")))}
	}
	return d.tieKeys(ctx)
}

// makeKeys makes the keys of a first start. A store that has had keys before
// does not get others: they would stand where its own belong.
func (d *Daemon) makeKeys(ctx context.Context, dir string, o keys.Options) error {
	had, err := d.codesCheck(ctx)
	if err != nil {
		return err
	}
	if had != nil {
		return fmt.Errorf("there are no keys in %s, and the store %s was made with some; put back the keys folder that belongs to it",
			dir, d.config.Store)
	}
	if built := buildinfo.Read().Time; d.now().Before(built) {
		d.log.Warn("the clock shows a time before this program was built, and keys are made now that are valid from then on; is it right?",
			"now", d.now().UTC(), "built", built)
	}
	created, err := keys.Init(dir, o)
	if err != nil {
		return fmt.Errorf("make the keys: %w", err)
	}
	d.log.Warn("this is the first start: keys were made. Move the anchors' private halves to a medium that is kept offline, "+
		"together with a copy of the identity that opens them", "folder", dir, "move", created.MoveOffline, "copy", created.CopyOffline)
	return nil
}

// codesCheck is the name of the value that ties a store to its data key.
const codesCheck = "codes.check"

// upgrading says how far the upgrade of the store is, which is served only then.
func (d *Daemon) upgrading(u open.Upgrade) {
	d.log.Info("the store is brought up to date; it is served when that is done, and goes on where it was if it is stopped",
		"from", u.From, "to", u.To, "step", u.Step, "records", u.Done)
	if u.Unreadable > 0 {
		d.log.Warn("records of the store cannot be read and are left as they are; db check names them", "records", u.Unreadable)
	}
}

// codesCheck returns what the store keeps of the data key that its codes are
// sealed with, nil where it has none yet.
func (d *Daemon) codesCheck(ctx context.Context) (check []byte, err error) {
	err = d.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		check, err = tx.Value(ctx, codesCheck)
		if errors.Is(err, license.NotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	return check, nil
}

// tieKeys makes sure that the store's codes can be read with the data key.
func (d *Daemon) tieKeys(ctx context.Context) error {
	want := d.ring.CodeKey().Check()
	have, err := d.codesCheck(ctx)
	switch {
	case err != nil:
		return err
	case have == nil:
		return d.store.Update(ctx, func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, codesCheck, want) })
	case !bytes.Equal(have, want):
		return fmt.Errorf("the data key in %s is not the one that the store %s was made with; "+
			"put back the keys folder that belongs to it", filepath.Join(d.config.DataDir, "keys"), d.config.Store)
	}
	return nil
}

func (d *Daemon) makeAuthority(ctx context.Context) error {
	a, err := authority.New(authority.Options{
		Store: d.store, Custody: custody{d.ring}, Codes: d.ring.CodeKey(),
		Products: d.settings.products, Channels: d.settings.channels, Now: d.now, ClockChanged: d.clockChanged,
		UnknownCodes: d.config.Limits.UnknownCodesPerMinute, Certificate: d.certificateEnd,
		RotateEvery: time.Duration(d.config.Keys.RotateEvery),
		UndoWindow:  time.Duration(d.config.UndoWindow),
		Marks:       d.marks.files,
	})
	if err != nil {
		return &ConfigError{err}
	}
	d.authority = a
	return a.LoadStatusLists(ctx)
}

// custody shows the authority its side of the keys.
type custody struct{ *keys.Ring }

func (c custody) Keys() []authority.KeyInfo {
	var out []authority.KeyInfo
	for _, k := range c.List() {
		out = append(out, authority.KeyInfo{
			ID: k.KID, Role: string(k.Role), NotBefore: k.NotBefore, NotAfter: k.NotAfter, Private: k.PrivatePresent,
		})
	}
	return out
}

func (c custody) Rotate(now time.Time) (authority.Rotated, error) {
	r, err := c.Ring.Rotate(now)
	return authority.Rotated{Current: r.To, Retired: r.From, HasNext: r.Next != "", Leftover: r.Leftover}, err
}

func (c custody) RotateDue(now time.Time, every time.Duration) (authority.Rotated, bool, error) {
	r, done, err := c.Ring.RotateDue(now, every)
	return authority.Rotated{Current: r.To, Retired: r.From, HasNext: r.Next != "", Leftover: r.Leftover}, done, err
}

func (c custody) Standing(now time.Time) authority.KeyStanding {
	h := c.Health(now)
	return authority.KeyStanding{
		SetUntil: h.ExpiresAt, CurrentSince: h.Since, CurrentUntil: h.CurrentEnd, Next: h.Next, Ahead: h.Ahead, Fault: h.Fault,
	}
}

func (c custody) Propose(now time.Time, revoke ...string) ([]byte, error) {
	return c.ProposeKeySet(now, revoke...)
}
