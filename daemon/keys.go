package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/keys"
)

// keystore is a keys.Keystore that is closed with the daemon.
type keystore interface {
	keys.Keystore
	io.Closer
}

// errNoPKCS11 is why a token cannot be used by a build without the tag.
var errNoPKCS11 = errors.New("this build cannot use a PKCS #11 token: build licensed with -tags pkcs11 and cgo (make build-pkcs11)")

// openKeystore opens the token that the configuration names, nil where it names none.
func (d *Daemon) openKeystore() (keys.Keystore, error) {
	k := d.config.Keys.PKCS11
	if !k.Enabled() {
		return nil, nil
	}
	s, err := openToken(k)
	if err != nil {
		return nil, fmt.Errorf("open the token that holds the signing keys: %w", err)
	}
	d.closers = append(d.closers, s.Close)
	return s, nil
}

// checkToken refuses a token where this build cannot use one: keys in files instead
// would be what nobody asked for.
func checkToken(c config.Config) error {
	if !c.Keys.PKCS11.Enabled() || tokens {
		return nil
	}
	return c.KeyError("keys.pkcs11", errNoPKCS11)
}

// aheadFor is how many keys to rotate to a key set lists, so that a schedule needs
// an anchor no more often than a key set lasts.
func aheadFor(every time.Duration) int {
	if every <= 0 {
		return 1
	}
	return min(int((keys.SetLife+every-1)/every), keys.MaxAhead)
}

// reportKeys logs what happened to the keys, and once a day what has to be done
// about them.
func (d *Daemon) reportKeys(n authority.KeyNews) {
	switch {
	case n.Err != nil:
		d.log.Error("the signing keys cannot be looked after", "error", n.Err.Error())
	case n.Rotated != nil:
		d.log.Info("the signing key was rotated by schedule", "current", n.Rotated.Current, "retired", n.Rotated.Retired, "has_next", n.Rotated.HasNext)
		if len(n.Rotated.Leftover) > 0 {
			d.log.Warn("private halves of retired keys could not be removed; remove them by hand", "files", n.Rotated.Leftover)
		}
	case n.Reloaded:
		d.log.Info("the keys were changed by another process, and read again", "current", d.ring.Signing().ID, "seq", d.ring.KeySet().Seq)
	}
	for _, w := range n.Warnings {
		attrs := []any{"kind", string(w.Kind), "what", w.Text}
		if !w.Due.IsZero() {
			attrs = append(attrs, "due", w.Due)
		}
		d.log.Log(context.Background(), slog.LevelWarn, "the keys need somebody", attrs...)
	}
}
