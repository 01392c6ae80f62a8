package keys

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// folder is where the files are, and what opens them.
type folder struct {
	dir     string
	disk    disk
	vault   *vault
	issuer  string        // "" accepts any
	anchors token.Anchors // nil reads anchors.json

	external Keystore // nil: private halves are files
	faults   *faults
	ahead    int // Options.Ahead
}

func newFolder(d disk, dir string, o Options) *folder {
	return &folder{
		dir: dir, disk: d, issuer: o.Issuer, anchors: slices.Clone(o.Anchors),
		external: o.Keystore, faults: &faults{}, ahead: min(max(o.Ahead, 1), MaxAhead),
	}
}

// view is what a key folder said at one time. It is never changed.
type view struct {
	anchors token.Anchors
	set     token.KeySet
	state   state
	current token.SigningKey
	next    token.SigningKey // zero where there is none
	private []string         // kids whose private half is at hand

	rawState, rawSet []byte // the bytes that this was made from
}

func (f *folder) loadCodeKey() (*CodeKey, error) {
	path := filepath.Join(f.dir, dataKeyFile)
	b, err := f.vault.open(path)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	if len(b) != dataKeySize {
		return nil, damaged(path, fmt.Sprintf("it does not hold a key of %d bytes", dataKeySize))
	}
	return NewCodeKey(b)
}

// load reads the folder. A key set above the mark is one whose installation a
// crash has interrupted: it is carried on.
func (f *folder) load() (*view, error) {
	v := &view{anchors: f.anchors}
	var err error
	if len(v.anchors) == 0 {
		if v.anchors, err = readAnchors(filepath.Join(f.dir, anchorsFile), public); err != nil {
			return nil, err
		}
	}
	if v.rawSet, v.set, err = f.readKeySet(v.anchors); err != nil {
		return nil, err
	}
	if v.state, v.rawState, err = f.readState(); err != nil {
		return nil, err
	}
	if v.private, err = f.listPrivate(); err != nil {
		return nil, err
	}
	if err := f.settle(v); err != nil {
		return nil, err
	}
	return v, f.loadKeys(v)
}

// settle places the key set against the mark.
func (f *folder) settle(v *view) error {
	path := filepath.Join(f.dir, keySetFile)
	c, err := v.state.compare(v.set, v.anchors)
	switch {
	case err != nil:
		return fmt.Errorf("judge %s: %w", path, err)
	case c < 0:
		return license.Errorf(license.Older, "%s is older (seq %d) than a key set that was in force before (seq %d): bring back the newer one",
			path, v.set.Seq, v.state.Seq)
	case c == 0 && !slices.Equal(v.state.Listed, kids(v.set)):
		return damaged(filepath.Join(f.dir, stateFile), "the keys that it lists are not those of the key set")
	case c == 0:
		return nil
	}
	if v.state, err = v.state.adopt(v.set, v.anchors, v.private); err != nil {
		return fmt.Errorf("carry on installing %s: %w", path, err)
	}
	if err := f.writeState(v.state); err != nil {
		return fmt.Errorf("carry on installing %s: %w", path, err)
	}
	v.rawState, err = v.state.marshal()
	return err
}

func readAnchors(path string, x exposure) (token.Anchors, error) {
	b, err := readFile(path, x)
	if err != nil {
		return nil, err
	}
	anchors, err := token.ParseAnchors(b)
	if err != nil {
		return nil, damaged(path, "it is not a list of anchors").WithCause(err)
	}
	if len(anchors) == 0 {
		return nil, damaged(path, "it lists no anchor")
	}
	return anchors, nil
}

func (f *folder) readKeySet(anchors token.Anchors) ([]byte, token.KeySet, error) {
	path := filepath.Join(f.dir, keySetFile)
	b, err := readFile(path, public)
	if err != nil {
		return nil, token.KeySet{}, err
	}
	set, err := token.VerifyKeySet(strings.TrimSpace(string(b)), anchors)
	if err != nil {
		return nil, set, damaged(path, "it does not verify under the anchors").WithCause(err)
	}
	return b, set, f.checkIssuer(path, set)
}

func (f *folder) checkIssuer(what string, set token.KeySet) error {
	if f.issuer == "" || f.issuer == set.Issuer {
		return nil
	}
	return license.Errorf(license.Conflict,
		"%s was made for the issuer %q, this server is %q: licences signed so far would no longer verify", what, set.Issuer, f.issuer)
}

// cutKID returns the key whose private half a file of that name holds.
func cutKID(name string) (string, bool) {
	kid, ok := strings.CutSuffix(name, keySuffix)
	return kid, ok && isKID(kid)
}

// loadKeys opens the current and the next signing key.
func (f *folder) loadKeys(v *view) (err error) {
	if _, ok := v.set.Key(v.state.Current); !ok {
		return damaged(filepath.Join(f.dir, stateFile), "the current key that it names is not in the key set")
	}
	if v.current, err = f.openSigningKey(v.state.Current); err != nil {
		return err
	}
	if kid := v.state.next(v.set, v.private); kid != "" {
		v.next, err = f.openSigningKey(kid)
	}
	return err
}

func (f *folder) openSigningKey(kid string) (token.SigningKey, error) {
	s, err := f.openPrivate(kid)
	if err != nil {
		return token.SigningKey{}, err
	}
	return token.NewSigningKey(s)
}

// openSigner opens the private half of a signing key and checks that it is the
// one that its name says.
func (f *folder) openSigner(kid string) (*signer, error) {
	path := keyPath(f.dir, kid)
	s, err := f.vault.openKey(path)
	if err != nil {
		return nil, err
	}
	if id := token.Thumbprint(s.public); id != kid {
		return nil, damaged(path, "it holds another key, "+id)
	}
	return s, nil
}

// destroy removes the private halves that must not be used again, and reports
// whether any was there and is gone. What cannot be removed stays in
// Health.Leftover.
func (f *folder) destroy(v *view) bool {
	gone := false
	for _, kid := range v.doomed() {
		gone = f.destroyPrivate(kid) == nil || gone
	}
	return gone
}

// leftover says where the private halves are that should have been destroyed.
func (f *folder) leftover(v *view) []string {
	var places []string
	for _, kid := range v.doomed() {
		places = append(places, f.where(kid))
	}
	return places
}

// doomed returns the keys at hand that must not be used again.
func (v *view) doomed() []string {
	var kids []string
	for _, kid := range v.state.Destroy {
		if slices.Contains(v.private, kid) {
			kids = append(kids, kid)
		}
	}
	return kids
}

// holds reports whether the files that change are still those of v.
func (f *folder) holds(v *view) (bool, error) {
	for name, want := range map[string][]byte{stateFile: v.rawState, keySetFile: v.rawSet} {
		b, err := os.ReadFile(filepath.Join(f.dir, name))
		if err != nil {
			return false, fmt.Errorf("read the key folder again: %w", err)
		}
		if !bytes.Equal(b, want) {
			return false, nil
		}
	}
	return !f.cameSince(v), nil
}

// cameSince reports whether the private half of a listed key, which was not here, was
// put into the folder. One that cannot be opened is not here yet.
func (f *folder) cameSince(v *view) bool {
	for _, kid := range v.state.Listed {
		if _, retired := v.state.retiredAt(kid); retired || slices.Contains(v.private, kid) {
			continue
		}
		if found, err := exists(keyPath(f.dir, kid)); err != nil || !found {
			continue
		}
		if _, err := f.openSigningKey(kid); err == nil {
			return true
		}
	}
	return false
}

// pending returns the keys that are here and neither listed nor given up.
func (v *view) pending() []string {
	var kids []string
	for _, kid := range v.private {
		if !slices.Contains(v.state.Listed, kid) && !slices.Contains(v.state.Destroy, kid) {
			kids = append(kids, kid)
		}
	}
	return kids
}

// checkValid refuses a key that is not listed as valid at now.
func checkValid(set token.KeySet, what, kid string, now time.Time) error {
	k, ok := set.Key(kid)
	switch {
	case !ok:
		return license.Errorf(license.Conflict, "%s, %s, is not in the key set", what, kid)
	case now.Before(k.NotBefore):
		return license.Errorf(license.Conflict, "%s, %s, is not valid before %s", what, kid, k.NotBefore.Format(time.RFC3339))
	case !now.Before(k.NotAfter):
		return license.Errorf(license.Conflict, "%s, %s, was valid until %s only", what, kid, k.NotAfter.Format(time.RFC3339))
	}
	return nil
}

// checkClock refuses to note instants by a clock that is known to be wrong.
func (v *view) checkClock(now time.Time) error {
	if now.Before(v.set.IssuedAt.Add(-slack)) {
		return license.Errorf(license.Clock, "the clock is before the key set in force was made, %s", v.set.IssuedAt.Format(time.RFC3339))
	}
	return nil
}
