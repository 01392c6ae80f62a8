package keys

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Keystore keeps the private halves of signing keys where they cannot be read: a
// PKCS #11 token, or a key management service. Nothing but this is asked of one:
// it makes Ed25519 keys, signs with them, and destroys them.
//
// A key is known by its kid, the RFC 7638 thumbprint of its public half. A
// keystore shows the keys of one installation only: a Ring takes what it lists for
// its own. All methods may be called at the same time, and those that wait for a
// device or a network end by themselves.
type Keystore interface {
	// List returns the kids of the keys whose private halves are here.
	List() ([]string, error)
	// Generate makes a key, which is kept when it returns, and returns its public half.
	Generate() (ed25519.PublicKey, error)
	// Signer returns what signs with a key, or license.NotFound. It goes on working
	// when a connection was lost meanwhile, as soon as there is another, and its Sign
	// makes Ed25519 signatures (RFC 8032, without prehash or context).
	Signer(kid string) (crypto.Signer, error)
	// Destroy makes an end of a private half. That it is not here is no error.
	Destroy(kid string) error
	// Where says for people where a private half is, as "token licensed, object 2S3v…".
	Where(kid string) string
}

// listPrivate returns the keys whose private half is at hand. Beside those of a
// keystore there may be files, from before there was one; they are used until they
// are retired.
func (f *folder) listPrivate() ([]string, error) {
	kids, err := f.fileKIDs()
	if err != nil || f.external == nil {
		return kids, err
	}
	held, err := f.external.List()
	if err != nil {
		return nil, fmt.Errorf("list the keys of the keystore: %w", err)
	}
	for _, kid := range held {
		if isKID(kid) && !slices.Contains(kids, kid) {
			kids = append(kids, kid)
		}
	}
	return kids, nil
}

// openPrivate returns what signs with a key.
func (f *folder) openPrivate(kid string) (crypto.Signer, error) {
	if f.external == nil {
		return f.openSigner(kid)
	}
	s, err := f.external.Signer(kid)
	if errors.Is(err, license.NotFound) {
		if found, err := exists(keyPath(f.dir, kid)); err != nil || found {
			return f.openSigner(kid)
		}
		return nil, license.Errorf(license.Damaged, "the private half of %s is neither in the keystore (%s) nor at %s",
			kid, f.external.Where(kid), keyPath(f.dir, kid)).WithCause(err)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.external.Where(kid), err)
	}
	public, ok := s.Public().(ed25519.PublicKey)
	if !ok || len(public) != ed25519.PublicKeySize || token.Thumbprint(public) != kid {
		return nil, license.Errorf(license.Damaged, "%s holds another key than %s", f.external.Where(kid), kid)
	}
	return &checkedSigner{signer: s, public: public, where: f.external.Where(kid), faults: f.faults}, nil
}

// generate makes a signing key and keeps its private half.
func (f *folder) generate() (ed25519.PublicKey, error) {
	if f.external == nil {
		return f.generateFile()
	}
	var public ed25519.PublicKey
	err := f.disk.step("generate", "", func() (err error) {
		public, err = f.external.Generate()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make a key in the keystore: %w", err)
	}
	if len(public) != ed25519.PublicKeySize {
		return nil, license.Errorf(license.Internal, "the keystore has made something else than an Ed25519 key")
	}
	return public, nil
}

// destroyPrivate makes an end of a private half, wherever it is.
func (f *folder) destroyPrivate(kid string) error {
	path := keyPath(f.dir, kid)
	found, err := exists(path)
	if err == nil && found {
		err = f.disk.remove(path)
	}
	if f.external == nil {
		return err
	}
	return errors.Join(err, f.disk.step("destroy", kid, func() error { return f.external.Destroy(kid) }))
}

// where says where a private half is.
func (f *folder) where(kid string) string {
	path := keyPath(f.dir, kid)
	if f.external == nil {
		return path
	}
	if found, err := exists(path); err == nil && found {
		return path
	}
	return f.external.Where(kid)
}

// fileKIDs lists the keys whose private half lies in the folder.
func (f *folder) fileKIDs() ([]string, error) {
	names, err := listFiles(filepath.Join(f.dir, signingDir))
	if err != nil {
		return nil, err
	}
	var kids []string
	for _, name := range names {
		if kid, ok := cutKID(name); ok {
			kids = append(kids, kid)
		}
	}
	return kids, nil
}

// faults remembers whether the keystore signed when it was asked last.
type faults struct{ last atomic.Pointer[error] }

func (f *faults) note(err error) {
	if err == nil {
		if f.last.Load() != nil {
			f.last.Store(nil)
		}
		return
	}
	f.last.Store(&err)
}

func (f *faults) err() error {
	if err := f.last.Load(); err != nil {
		return *err
	}
	return nil
}

// checkedSigner signs with a key of a keystore, and lets nothing out that does
// not verify: a device that errs in a signature can give its key away with it.
type checkedSigner struct {
	redacted
	signer crypto.Signer
	public ed25519.PublicKey
	where  string
	faults *faults
}

// Public returns the public half, an ed25519.PublicKey.
func (s *checkedSigner) Public() crypto.PublicKey { return s.public }

// Sign signs a message as crypto/ed25519 does.
func (s *checkedSigner) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	sig, err := s.signer.Sign(random, message, opts)
	switch {
	case err != nil:
		err = fmt.Errorf("sign with %s: %w", s.where, err)
	case len(sig) != ed25519.SignatureSize || !ed25519.Verify(s.public, message, sig):
		err = fmt.Errorf("sign with %s: what it made is not a signature of the key", s.where)
	}
	s.faults.note(err)
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// probe is what is signed to see whether the keystore signs: no token of ours,
// nor of anybody.
const probe = "licensed: this only shows that the key can be used"

// Signs returns nil where the current key could be used when it was used last.
// Else it tries again, and returns why it cannot.
func (r *Ring) Signs() error {
	if r.folder.faults.err() == nil {
		return nil
	}
	_, err := r.view.Load().current.Signer.Sign(nil, []byte(probe), crypto.Hash(0))
	r.folder.faults.note(err)
	return err
}
