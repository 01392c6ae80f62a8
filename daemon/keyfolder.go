package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/custody"
	"github.com/seed-357fa782/licensed/internal/buildinfo"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/open"
)

// codesCheck is the name of the value that ties a store to its data key, and so to
// the keys that were made for it.
const codesCheck = "codes.check"

func (d *Daemon) keyFolder() string { return filepath.Join(d.config.DataDir, "keys") }

// firstMark is the path of a file that says when a first start made its keys, and is
// there until they are tied to the store: nothing was signed with them before.
func (d *Daemon) firstMark() string { return filepath.Join(d.config.DataDir, "keys.first") }

// storeName is what errors call the store: the address of a database can hold a password.
func (d *Daemon) storeName() string {
	if open.Exclusive(d.config.Store) {
		return "the store " + d.config.Store
	}
	return "the database"
}

func (d *Daemon) sharesKeys() bool { return d.config.Keys.Share == config.ShareStore }

// openKeys opens the key folder, or makes it at the first start.
func (d *Daemon) openKeys(ctx context.Context) error {
	o := keys.Options{
		Issuer: d.config.Issuer, Passphrase: d.settings.passphrase, Identity: d.config.Keys.IdentityFile,
		Now: d.now, Ahead: aheadFor(time.Duration(d.config.Keys.RotateEvery)),
	}
	var err error
	if o.Keystore, err = d.openKeystore(); err != nil {
		return err
	}
	made := false
	if _, err := os.Stat(filepath.Join(d.keyFolder(), "keyset.jwt")); errors.Is(err, fs.ErrNotExist) {
		if made, err = d.firstKeys(ctx, o); err != nil {
			return err
		}
	}
	if err := d.readKeys(o); err != nil {
		return err
	}
	if err := d.tieKeys(ctx); !errors.Is(err, errOtherKeys) {
		return err
	} else if !made && !d.neverInUse() {
		return err
	}
	// Another daemon on this store has had its first start at the same time, or since
	// one here was broken off. What was made here was never in use.
	if err := os.RemoveAll(d.keyFolder()); err != nil {
		return fmt.Errorf("remove keys that were never in use: %w", err)
	}
	if !d.sharesKeys() {
		return fmt.Errorf("another daemon has made the keys for %s meanwhile, and those made here were never in use and are removed; "+
			"copy its keys folder to %s", d.storeName(), d.keyFolder())
	}
	if err := d.takeKeys(ctx, o); err != nil {
		return err
	}
	if err := d.readKeys(o); err != nil {
		return err
	}
	return d.tieKeys(ctx)
}

// readKeys opens the key folder that there is, and judges it.
func (d *Daemon) readKeys(o keys.Options) error {
	o.Anchors = d.settings.anchors
	if !d.config.IssuerGiven {
		o.Issuer = "" // then the issuer is that of the keys, however the listener is called today
	}
	ring, err := keys.Open(d.keyFolder(), o)
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
				"move them offline, or set keys.allow_anchor_keys", filepath.Join(d.keyFolder(), "anchors")))}
	}
	return nil
}

// firstKeys takes the keys from the store, where daemons share them there, or makes
// them. A store that has had keys before does not get others: they would stand where
// its own belong.
func (d *Daemon) firstKeys(ctx context.Context, o keys.Options) (made bool, err error) {
	had, err := d.codesCheck(ctx)
	switch {
	case err != nil:
		return false, err
	case had == nil:
		return true, d.makeKeys(o)
	case d.sharesKeys():
		return false, d.takeKeys(ctx, o)
	}
	return false, fmt.Errorf("there are no keys in %s, and %s was made with some; put back the keys folder that belongs to it",
		d.keyFolder(), d.storeName())
}

func (d *Daemon) makeKeys(o keys.Options) error {
	if built := buildinfo.Read().Time; d.now().Before(built) {
		d.log.Warn("the clock shows a time before this program was built, and keys are made now that are valid from then on; is it right?",
			"now", d.now().UTC(), "built", built)
	}
	now := d.now()
	o.Now = func() time.Time { return now }
	if err := durable.WriteFile(d.firstMark(), []byte(now.UTC().Format(time.RFC3339)+"\n"), 0o600); err != nil {
		return fmt.Errorf("make the keys: %w", err)
	}
	created, err := keys.Init(d.keyFolder(), o)
	if err != nil {
		return fmt.Errorf("make the keys: %w", err)
	}
	d.log.Warn("this is the first start: keys were made. Move the anchors' private halves to a medium that is kept offline, "+
		"together with a copy of the identity that opens them", "folder", created.Dir, "move", created.MoveOffline, "copy", created.CopyOffline)
	return nil
}

// neverInUse reports whether the keys here are those of a first start that was broken
// off before they were tied to the store: the first key set, of the very time that
// the mark names, which goes with the tie.
func (d *Daemon) neverInUse() bool {
	at, err := os.ReadFile(d.firstMark())
	set := d.ring.KeySet()
	return err == nil && set.Seq == 1 && strings.TrimSpace(string(at)) == set.IssuedAt.UTC().Format(time.RFC3339)
}

// takeKeys makes the key folder of what the store keeps.
func (d *Daemon) takeKeys(ctx context.Context, o keys.Options) error {
	sealed, err := authority.StoredKeys(ctx, d.store)
	if errors.Is(err, license.NotFound) {
		return fmt.Errorf("there are no keys in %s, and %s, which was made with some, does not keep them: "+
			"put the keys folder there, or start a daemon that has it with keys.share: store first", d.keyFolder(), d.storeName())
	}
	if err != nil {
		return fmt.Errorf("read the keys that the store keeps: %w", err)
	}
	if err := keys.Unpack(d.keyFolder(), custody.Bundle(sealed), o); err != nil {
		return fmt.Errorf("take the keys that the store keeps, which needs the identity file that they were sealed to (keys.identity_file, or identity in %s): %w",
			d.keyFolder(), err)
	}
	d.log.Info("the keys were taken from the store", "folder", d.keyFolder())
	return nil
}

// codesCheck returns what the store keeps of the data key that its codes are
// sealed with, nil where it has none yet.
func (d *Daemon) codesCheck(ctx context.Context) (check []byte, err error) {
	err = d.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		check, err = tx.Value(ctx, codesCheck)
		return ignore(err, license.NotFound)
	})
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	return check, nil
}

// errOtherKeys is the cause where the store was made with another data key.
var errOtherKeys = errors.New("the store was made with another data key")

// tieKeys makes sure that the store's codes can be read with the data key. Of several
// daemons at their first start one ties its keys to the store, and where they are
// shared there, they are there from the same moment on.
func (d *Daemon) tieKeys(ctx context.Context) error {
	want := d.ring.CodeKey().Check()
	have, err := d.codesCheck(ctx)
	if err == nil && have == nil {
		err = d.store.Update(ctx, func(ctx context.Context, tx store.Tx) (err error) {
			if have, err = tx.Value(ctx, codesCheck); err == nil || !errors.Is(err, license.NotFound) {
				return err
			}
			have = want
			if err := tx.SetValue(ctx, codesCheck, want); err != nil || !d.sharesKeys() {
				return err
			}
			return authority.StoreKeys(ctx, tx, custody.Ring{Ring: d.ring})
		})
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		return fmt.Errorf("the data key in %s is not the one that %s was made with; put back the keys folder that belongs to it%w",
			d.keyFolder(), d.storeName(), silent{errOtherKeys})
	}
	if _, err := os.Lstat(d.firstMark()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := durable.Remove(d.firstMark()); err != nil { // from now on they may be in use
		return fmt.Errorf("note that the keys are in use: %w", err)
	}
	return nil
}

// silent is a cause that adds nothing to a text.
type silent struct{ error }

func (silent) Error() string { return "" }

// Unwrap returns the cause.
func (s silent) Unwrap() error { return s.error }
