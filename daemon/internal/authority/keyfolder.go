package authority

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// A key folder can be older than what the store knows: another daemon, with a
// folder of its own, has rotated or installed, or an old copy was put back. Products
// have seen the newer key set then: they refuse what a key has signed that it does
// not list, or lists as retired. So nothing is signed by such a folder and nothing of
// it is noted as news. It follows what the store says, by itself where it has the
// private half of the current key; until then what needs a signature waits.

// How fresh the knowledge is that the key folder is in step.
const (
	// keyLookShared is how often a daemon that is not alone looks.
	keyLookShared = 2 * time.Second
	// keyTrust is for how long a look counts where there are several daemons: one
	// that was stopped, or that could not look, looks before it signs again.
	keyTrust = 10 * time.Second
	// keyRetry is when an install should ask again.
	keyRetry = 15 * time.Second

	keyLookTimeout = 5 * time.Second
	// keyAgain is how long nobody asks the store again that did not answer.
	keyAgain = time.Second
)

// ErrKeys is the cause of an error where the keys at hand are not those in force.
var ErrKeys = errors.New("the keys at hand are not those in force")

// errKeysBehind is what an install is told: it can do nothing but wait.
var errKeysBehind = license.Errorf(license.ReadOnly, "the licence server is being given new keys; please try again shortly").WithRetryAfter(keyRetry)

// keyLooked is what a look at the keys came to.
type keyLooked struct {
	at  time.Duration // by the clock that nobody sets
	err error         // nil: they are in step
}

// keysStand places the key folder against what was noted, as Custody.Stands does.
func (a *Authority) keysStand(was notedKeys) (int, error) {
	switch is, err := a.keysNow(); {
	case err != nil:
		return 0, err
	case was.InForce != nil:
		return a.custody.Stands(was.inForce())
	case was.Current == "":
		return 1, nil
	case a.older(is, was):
		return -1, nil
	}
	return 1, nil // an earlier version has noted it
}

// lookAtKeys finds out whether the keys at hand may sign.
func (a *Authority) lookAtKeys(ctx context.Context) error {
	at := a.guard.uptime()
	was, err := a.noted(ctx)
	if err != nil {
		return err
	}
	l := keyLooked{at: at}
	switch c, err := a.keysStand(was); {
	case err != nil:
		l.err = license.Errorf(license.ReadOnly, "the keys at hand do not belong to those in force: %v", err).WithRetryAfter(keyRetry).WithCause(errors.Join(ErrKeys, err))
	case c < 0:
		l.err = a.behind(was)
	}
	a.keyLooked.Store(&l)
	return nil
}

// behind says that the key folder is older than what is in force.
func (a *Authority) behind(was notedKeys) error {
	key, set := a.custody.Current()
	text := fmt.Sprintf("the key folder is older than the store: it holds key set no. %d, and no. %d is in force", set.Seq, was.Seq)
	if set.Seq == was.Seq {
		text = fmt.Sprintf("the key folder is older than the store: it signs with %s, and by now %s does, under key set no. %d", key.ID, was.Current, was.Seq)
	}
	if why, damaged := a.damagedSealed()[was.Current]; damaged {
		text += "; that key cannot be taken from the store, which keeps it for all daemons (" + why + ")"
	}
	return license.Errorf(license.ReadOnly, "%s; nothing is signed until it has the private half of %s", text, was.Current).
		WithRetryAfter(keyRetry).WithCause(ErrKeys)
}

// keysBehind is nil where the keys at hand may sign. It is asked for each signature,
// and rarely has to look itself.
func (a *Authority) keysBehind() error {
	if l := a.keysKnown(); l != nil {
		return l.err
	}
	// Who asks may be in a transaction, which this look is no part of.
	ctx, cancel := context.WithTimeout(context.Background(), keyLookTimeout)
	defer cancel()
	select { // one of those who ask looks for all of them
	case a.keyAsk <- struct{}{}:
		defer func() { <-a.keyAsk }()
	case <-ctx.Done():
		return keysUnknown(ctx.Err())
	}
	if l := a.keysKnown(); l != nil {
		return l.err
	}
	if err := a.lookAtKeys(ctx); err != nil {
		err = keysUnknown(err)
		a.keyFailed.Store(&keyLooked{at: a.guard.uptime(), err: err})
		return err
	}
	return a.keyLooked.Load().err
}

// keysKnown is what the last look came to, for as long as that counts; else nil.
func (a *Authority) keysKnown() *keyLooked {
	now := a.guard.uptime()
	if l := a.keyLooked.Load(); l != nil && (!a.sharedStore || now-l.at < keyTrust) {
		return l
	}
	if l := a.keyFailed.Load(); l != nil && a.sharedStore && now-l.at < keyAgain {
		return l
	}
	return nil
}

func keysUnknown(cause error) error {
	return license.Errorf(license.ReadOnly, "it is not known whether the keys at hand are those in force, since the store does not say so").
		WithRetryAfter(keyRetry).WithCause(errors.Join(ErrKeys, cause))
}

// signing is the key that signs now, and what keeps it from that.
func (a *Authority) signing() (s signing) {
	s.behind = a.keysBehind()
	s.key, s.keys = a.custody.Current()
	return s
}

// lookFirst has it known which keys are in force when a transaction begins that signs.
// What it fails with is told to who signs.
func (a *Authority) lookFirst() { _ = a.keysBehind() }

// signingInside is signing in a transaction, which does not look itself: all other
// changes would wait for that.
func (a *Authority) signingInside() (s signing) {
	if l := a.keysKnown(); l != nil {
		s.behind = l.err
	} else {
		s.behind = keysUnknown(errors.New("the look before the transaction was too long ago"))
	}
	s.key, s.keys = a.custody.Current()
	return s
}

// rank is the place of an anchor in the list that products compile in, -1 where it
// has none.
func (a *Authority) rank(kid string) int {
	return slices.IndexFunc(a.custody.Anchors(), func(k ed25519.PublicKey) bool { return token.Thumbprint(k) == kid })
}

// older reports whether the key set of is was replaced by that of was.
func (a *Authority) older(is, was notedKeys) bool {
	at, before := a.rank(is.Anchor), a.rank(was.Anchor)
	return before >= 0 && (at < before || at == before && is.Seq < was.Seq)
}

// noted is what the store knows of the keys.
func (a *Authority) noted(ctx context.Context) (n notedKeys, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		n, err = readValue[notedKeys](ctx, tx, keysNoted)
		return err
	})
	return n, err
}

// olderFolder warns of a key folder that is not in step with the store.
func (a *Authority) olderFolder(ctx context.Context) ([]KeyWarning, error) {
	if err := a.lookAtKeys(ctx); err != nil {
		return nil, err
	}
	behind := a.keyLooked.Load().err
	if behind == nil {
		return nil, nil
	}
	return []KeyWarning{{Kind: KeyWarnFolder, Text: detailOf(behind) +
		". Copy the newest key folder here, or, where nobody has it any more, have the anchor sign and install the next key set"}}, nil
}

func detailOf(err error) string {
	if e, ok := errors.AsType[*license.Error](err); ok {
		return e.Detail
	}
	return err.Error()
}

// followKeys brings the key folder in step with the store, and reports whether it
// was changed.
func (a *Authority) followKeys(ctx context.Context) (changed bool, err error) {
	a.keyMu.Lock()
	defer a.keyMu.Unlock()
	was, err := a.noted(ctx)
	if err != nil {
		return false, err
	}
	share := a.shareKeys && was.Current != "" && (a.sealedSeen == nil || *a.sealedSeen != was.Sealed || len(a.damagedSealed()) > 0)
	if share {
		if err := a.takeSealed(ctx); err != nil {
			return false, err
		}
	}
	c, standErr := a.keysStand(was)
	if standErr == nil && c < 0 && was.InForce != nil {
		if changed, err = a.custody.Follow(was.inForce()); err != nil && !errors.Is(err, license.NotFound) {
			return false, fmt.Errorf("follow the keys in force: %w", err)
		} // what is not here is told by olderFolder
		c, standErr = a.keysStand(was)
	}
	if share && standErr == nil && c == 0 { // else what is here was destroyed there, or is not noted yet
		if err := a.settleSealed(ctx, was); err != nil {
			return changed, err
		}
		a.sealedSeen = &was.Sealed
	}
	return changed, a.lookAtKeys(ctx)
}

// catchUp has the key folder follow the store before somebody changes the keys: what
// another daemon has done a moment ago is not undone. It returns what the store said
// before. Where it cannot follow, the folder is as it is, which olderFolder tells.
func (a *Authority) catchUp(ctx context.Context) (was notedKeys, err error) {
	if was, err = a.noted(ctx); err != nil {
		return was, err
	}
	changed, err := a.followKeys(ctx)
	if changed {
		a.lists.signAgain(ctx)
	}
	if err != nil {
		if c, standErr := a.keysStand(was); standErr == nil && c >= 0 {
			err = nil // nothing had to be followed
		}
	}
	return was, err
}

// newerThanNoted gives an unsigned key set a number that no set has had.
func (a *Authority) newerThanNoted(ctx context.Context, unsigned []byte) ([]byte, error) {
	was, err := a.noted(ctx)
	if err != nil {
		return nil, err
	}
	set, err := token.ParseUnsignedKeySet(unsigned)
	if err != nil || set.Seq > was.Seq {
		return unsigned, err
	}
	set.Seq = was.Seq + 1
	return set.MarshalUnsigned()
}

// replacesNoted refuses a key set that is older than one which was in force.
func (a *Authority) replacesNoted(ctx context.Context, raw string) error {
	set, err := token.VerifyKeySet(raw, a.custody.Anchors())
	if err != nil {
		return nil //nolint:nilerr // the custody says what is wrong with it
	}
	was, err := a.noted(ctx)
	if err != nil {
		return err
	}
	if is := (notedKeys{Anchor: token.Thumbprint(a.custody.Anchors()[set.Rank]), Seq: set.Seq}); a.older(is, was) {
		return license.Errorf(license.Conflict, "the key set has seq %d, and products have seen a newer one, seq %d: request the next one anew, and sign that", set.Seq, was.Seq)
	}
	return nil
}
