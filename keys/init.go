package keys

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// How long things last.
const (
	// SetLife is how long a key set lasts: after it, a verifier that can reach
	// the server wants a newer one.
	SetLife = 400 * 24 * time.Hour
	// WarnBefore is how long before its end a key set is warned about.
	WarnBefore = 90 * 24 * time.Hour

	keyLife = 2 * SetLife
	slack   = 10 * time.Minute // how far clocks may differ
)

// Options say how to make or open a key folder.
type Options struct {
	// Issuer is the iss of everything that will be signed. Init requires it; Open
	// refuses a folder made for another one, unless it is empty.
	Issuer string
	// Passphrase seals the identity. Zero: the identity is a plain file.
	Passphrase Passphrase
	// Identity is the path of the age identity, plain or sealed, where it does not lie
	// in the folder. Init takes the one that is there, and makes none.
	Identity string
	// Anchors are used by Open in place of anchors.json. Empty: anchors.json counts.
	Anchors token.Anchors
	// Keystore keeps the private halves of signing keys; nil: files in the folder.
	// Files from before there was one are used until they are retired.
	Keystore Keystore
	// Ahead is how many keys to rotate to a proposed key set lists; zero means one.
	// So many rotations need no anchor.
	Ahead int
	// Now is the clock of Init; nil means time.Now.
	Now func() time.Time
}

func (o Options) validate() error {
	switch {
	case o.Issuer == "":
		return license.FieldErrorf("issuer", "an issuer is required")
	case len(o.Issuer) > 1024, strings.ContainsFunc(o.Issuer, func(r rune) bool { return r <= ' ' }):
		return license.FieldErrorf("issuer", "the issuer holds blanks or control characters, or is longer than 1024 bytes")
	}
	return nil
}

func (o Options) now() time.Time {
	now := o.Now
	if now == nil {
		now = time.Now //nolint:forbidigo // the default of Options.Now
	}
	return atSecond(now())
}

func atSecond(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// Created is what Init made.
type Created struct {
	Dir     string
	Anchors token.Anchors // primary, standby: to be compiled into the product
	KeySet  token.KeySet
	Current string // kid of the key that signs
	Next    string // kid of the key that a rotation moves to

	// MoveOffline are the files with the anchors' private halves. They belong on
	// a medium that is not connected to anything.
	MoveOffline []string
	// CopyOffline is the identity that opens them: a copy belongs beside them.
	CopyOffline string
	// Sealed says that the identity is sealed by a passphrase, which is needed
	// together with it.
	Sealed bool
}

// Init makes a key folder at dir, with everything that a first start needs:
// an identity, two anchors, two signing keys, the data key, and the first key
// set. It refuses a folder that holds anything already (license.Conflict). A
// crash leaves nothing at dir, and at most a hidden folder beside it that the
// next Init removes.
func Init(dir string, o Options) (Created, error) { return initWith(disk{}, dir, o) }

func initWith(d disk, dir string, o Options) (_ Created, err error) {
	if err := o.validate(); err != nil {
		return Created{}, err
	}
	dir = filepath.Clean(dir)
	if err := checkFree(dir); err != nil {
		return Created{}, err
	}
	parent, name := filepath.Dir(dir), filepath.Base(dir)
	if err := d.mkdir(parent); err != nil {
		return Created{}, err
	}
	if err := removeLeftovers(parent, name); err != nil {
		return Created{}, err
	}
	outer, err := os.MkdirTemp(parent, leftoverPrefix(name)) // 0700
	if err != nil {
		return Created{}, fmt.Errorf("make the key folder: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(outer) // the next Init tries again
		}
	}()
	f := newFolder(d, filepath.Join(outer, name), o)
	f.anchors = nil
	if o.Identity != "" {
		if f.vault, err = o.openVault(""); err != nil {
			return Created{}, err
		}
	}
	if err := f.build(o); err != nil {
		return Created{}, fmt.Errorf("make the key folder: %w", err)
	}
	v, err := f.load()
	if err != nil {
		return Created{}, fmt.Errorf("check the new key folder: %w", err)
	}
	if err := f.install(outer, dir); err != nil {
		return Created{}, fmt.Errorf("make the key folder %s: %w", dir, err)
	}
	return created(dir, v, o), nil
}

// install renames the folder to dir. Removing what was around it also syncs the
// folder above, and so makes the new name durable.
func (f *folder) install(outer, dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make room: %w", err) // an empty folder is in the way on Windows
	}
	if err := f.disk.rename(f.dir, dir); err != nil {
		return err
	}
	return f.disk.remove(outer)
}

func created(dir string, v *view, o Options) Created {
	c := Created{
		Dir: dir, Anchors: v.anchors, KeySet: v.set, Current: v.current.ID, Next: v.next.ID,
		MoveOffline: []string{filepath.Join(dir, anchorsDir, primaryFile), filepath.Join(dir, anchorsDir, standbyFile)},
		CopyOffline: cmp.Or(o.Identity, filepath.Join(dir, identityName(o.Passphrase))),
		Sealed:      !o.Passphrase.IsZero(),
	}
	return c
}

func identityName(p Passphrase) string {
	if p.IsZero() {
		return identityFile
	}
	return sealedIdentityFile
}

// checkFree refuses a place at which there is anything but an empty folder.
func checkFree(dir string) error {
	err := checkFolder(dir)
	if errors.Is(err, license.NotFound) {
		return nil
	}
	if err != nil && !errors.Is(err, license.Forbidden) {
		return err
	}
	if has, err := exists(filepath.Join(dir, keySetFile)); err != nil || has {
		return errors.Join(err, license.Errorf(license.Conflict, "%s holds keys already, which are never overwritten", dir))
	}
	return license.Errorf(license.Conflict, "%s is not empty, and holds no key set: give another folder, or look at what it is", dir)
}

func leftoverPrefix(name string) string { return "." + name + ".new-" }

// removeLeftovers removes what an Init that crashed has left: keys that never
// were in use.
func removeLeftovers(parent, name string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("make the key folder: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), leftoverPrefix(name)) {
			if err := os.RemoveAll(filepath.Join(parent, e.Name())); err != nil {
				return fmt.Errorf("remove an unfinished key folder: %w", err)
			}
		}
	}
	return nil
}

// build writes all files of a new key folder.
func (f *folder) build(o Options) error {
	for _, dir := range []string{"", anchorsDir, signingDir} {
		if err := f.disk.mkdir(filepath.Join(f.dir, dir)); err != nil {
			return err
		}
	}
	if err := f.buildVault(o.Passphrase); err != nil {
		return err
	}
	anchors, primary, err := f.buildAnchors()
	if err != nil {
		return err
	}
	return f.buildKeySet(o.Issuer, o.now(), anchors, primary)
}

// buildVault makes the identity, unless there is one, and the data key.
func (f *folder) buildVault(p Passphrase) error {
	v := f.vault
	if v == nil {
		var err error
		if v, err = f.makeIdentity(p); err != nil {
			return err
		}
	}
	var key [dataKeySize]byte
	defer clear(key[:])
	_, _ = rand.Read(key[:]) // never fails
	sealed, err := v.seal(key[:])
	if err != nil {
		return fmt.Errorf("seal the data key: %w", err)
	}
	return f.disk.write(filepath.Join(f.dir, dataKeyFile), sealed, secretPerm)
}

func (f *folder) makeIdentity(p Passphrase) (*vault, error) {
	v, err := newVault()
	if err != nil {
		return nil, err
	}
	f.vault = v
	text, err := v.identityText(p)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	return v, f.disk.write(filepath.Join(f.dir, identityName(p)), text, secretPerm)
}

// openVault opens the identity: the one that is named, or else the one in dir.
func (o Options) openVault(dir string) (*vault, error) {
	if o.Identity == "" {
		return openVault(o.Passphrase, dir)
	}
	found, err := exists(o.Identity)
	if err == nil && !found {
		err = license.Errorf(license.NotFound, "there is no identity at %s: copy the one that opens the keys there, or make one for a first start (age-keygen -o %s)",
			o.Identity, o.Identity)
	}
	if err != nil {
		return nil, err
	}
	return openIdentity(o.Identity, o.Passphrase)
}

func (f *folder) buildAnchors() (token.Anchors, token.SigningKey, error) {
	var anchors token.Anchors
	var primary token.SigningKey
	for _, name := range []string{primaryFile, standbyFile} {
		s, err := generateSigner(rand.Reader)
		if err != nil {
			return nil, primary, err
		}
		if anchors = append(anchors, s.public); len(anchors) == 1 {
			if primary, err = token.NewSigningKey(s); err != nil {
				return nil, primary, err
			}
		}
		if err := f.writeKey(filepath.Join(f.dir, anchorsDir, name), s); err != nil {
			return nil, primary, err
		}
	}
	b, err := token.MarshalAnchors(anchors)
	if err != nil {
		return nil, primary, err
	}
	return anchors, primary, f.disk.write(filepath.Join(f.dir, anchorsFile), b, publicPerm)
}

// buildKeySet makes two signing keys, and the first key set signed by primary.
func (f *folder) buildKeySet(issuer string, now time.Time, anchors token.Anchors, primary token.SigningKey) error {
	set := token.KeySet{Issuer: issuer, IssuedAt: now, ExpiresAt: now.Add(SetLife), Seq: 1}
	for range 1 + f.ahead {
		k, err := f.makeSigningKey(now)
		if err != nil {
			return err
		}
		set.Keys = append(set.Keys, k)
	}
	raw, err := token.SignKeySet(set, primary)
	if err != nil {
		return err
	}
	if set, err = token.VerifyKeySet(raw, anchors); err != nil {
		return err
	}
	s, err := state{Current: set.Keys[0].ID, Since: now.Unix()}.adopt(set, anchors, nil)
	if err != nil {
		return err
	}
	if err := f.writeState(s); err != nil {
		return err
	}
	return f.disk.write(filepath.Join(f.dir, keySetFile), []byte(raw+"\n"), publicPerm)
}

// makeSigningKey makes a signing key that can be listed from now on, and stores
// its private half.
func (f *folder) makeSigningKey(now time.Time) (token.Key, error) {
	public, err := f.generate()
	if err != nil {
		return token.Key{}, err
	}
	return newKey(public, now), nil
}

// generateFile makes a signing key whose private half is a file.
func (f *folder) generateFile() (ed25519.PublicKey, error) {
	s, err := generateSigner(rand.Reader)
	if err != nil {
		return nil, err
	}
	return s.public, f.writeKey(keyPath(f.dir, token.Thumbprint(s.public)), s)
}

func newKey(public ed25519.PublicKey, now time.Time) token.Key {
	return token.Key{ID: token.Thumbprint(public), Public: public, NotBefore: now.Add(-slack), NotAfter: now.Add(keyLife)}
}

func (f *folder) writeKey(path string, s *signer) error {
	sealed, err := f.vault.sealKey(s)
	if err != nil {
		return err
	}
	return f.disk.write(path, sealed, secretPerm)
}
