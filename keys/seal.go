package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"filippo.io/age"

	"github.com/seed-357fa782/licensed/license"
)

const (
	// workFactor makes unsealing an identity cost 32 MB and a tenth of a second.
	workFactor = 15
	// maxWorkFactor bounds what an identity that was sealed with the age tool may cost.
	maxWorkFactor = 20

	ageHeader   = "age-encryption.org/"
	armorHeader = "-----BEGIN AGE ENCRYPTED FILE-----" // the same as text
	pemPrivate  = "PRIVATE KEY"
)

// vault seals and opens files with one age identity.
type vault struct {
	redacted
	identity func() *age.X25519Identity // out of reach of fmt
}

func vaultOf(id *age.X25519Identity) *vault {
	return &vault{identity: func() *age.X25519Identity { return id }}
}

func newVault() (*vault, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("make an identity: %w", err)
	}
	return vaultOf(id), nil
}

// openVault reads the identity of the first of dirs that has one, sealed or
// plain, and returns it with its path.
func openVault(p Passphrase, dirs ...string) (*vault, error) {
	for _, dir := range dirs {
		plain, sealed := filepath.Join(dir, identityFile), filepath.Join(dir, sealedIdentityFile)
		hasPlain, err := exists(plain)
		if err != nil {
			return nil, err
		}
		hasSealed, err := exists(sealed)
		if err != nil {
			return nil, err
		}
		switch {
		case hasPlain && hasSealed:
			return nil, license.Errorf(license.Conflict, "both %s and %s are there: remove the one that is not in use", plain, sealed)
		case hasPlain:
			return openIdentity(plain, p)
		case hasSealed:
			return openIdentity(sealed, p)
		}
	}
	return nil, license.Errorf(license.Damaged, "%s is missing, without which no key can be opened: bring it back from a copy",
		filepath.Join(dirs[0], identityFile))
}

// openIdentity reads the identity at path, which is sealed by p if it is sealed
// at all.
func openIdentity(path string, p Passphrase) (*vault, error) {
	b, err := readFile(path, secret)
	if err != nil {
		return nil, err
	}
	if isSealed(b) {
		if b, err = unsealByPassphrase(path, b, p); err != nil {
			return nil, err
		}
	} else if !p.IsZero() {
		return nil, license.Errorf(license.Conflict,
			"a passphrase is given, but %s is not sealed by one: seal it (age -p -o %s %s, then remove the plain file) or give none",
			path, filepath.Join(filepath.Dir(path), sealedIdentityFile), path)
	}
	defer clear(b)
	return parseIdentity(path, b)
}

// parseIdentity reads the text of an identity file. The causes of the age
// package stay out of the errors: they describe characters of the secret.
func parseIdentity(path string, b []byte) (*vault, error) {
	ids, err := age.ParseIdentities(bytes.NewReader(b))
	if err != nil || len(ids) != 1 {
		return nil, damaged(path, "it does not hold exactly one age identity")
	}
	id, ok := ids[0].(*age.X25519Identity)
	if !ok {
		return nil, damaged(path, "its identity is not an X25519 one")
	}
	return vaultOf(id), nil
}

// unsealByPassphrase opens what was read from path.
func unsealByPassphrase(path string, sealed []byte, p Passphrase) ([]byte, error) {
	if !forPassphrase(sealed) {
		return nil, damaged(path, "it is not sealed by a passphrase")
	}
	if p.IsZero() {
		return nil, license.Errorf(license.Unauthorized, "%s is sealed by a passphrase, and none is given", path)
	}
	id, err := age.NewScryptIdentity(p.reveal())
	if err != nil {
		return nil, fmt.Errorf("unseal %s: %w", path, err)
	}
	id.SetMaxWorkFactor(maxWorkFactor)
	defer debug.FreeOSMemory() // scrypt's, which would stay with the process otherwise
	plain, err := decrypt(sealed, id)
	if noMatch(err) {
		return nil, license.Errorf(license.Unauthorized, "the passphrase does not open %s", path)
	}
	if err != nil {
		return nil, damaged(path, "it cannot be unsealed").WithCause(err)
	}
	return plain, nil
}

// identityText is the content of an identity file, sealed by p if there is one.
func (v *vault) identityText(p Passphrase) ([]byte, error) {
	text := []byte("# opens the keys in this folder; public half: " + v.identity().Recipient().String() + "\n" +
		v.identity().String() + "\n")
	if p.IsZero() {
		return text, nil
	}
	defer clear(text)
	r, err := age.NewScryptRecipient(p.reveal())
	if err != nil {
		return nil, fmt.Errorf("seal the identity: %w", err)
	}
	r.SetWorkFactor(workFactor)
	defer debug.FreeOSMemory()
	sealed, err := encrypt(text, r)
	if err != nil {
		return nil, fmt.Errorf("seal the identity: %w", err)
	}
	return sealed, nil
}

func (v *vault) seal(plain []byte) ([]byte, error) {
	return encrypt(plain, v.identity().Recipient())
}

// open returns the clear content of the sealed file at path. The caller clears it.
func (v *vault) open(path string) ([]byte, error) {
	b, err := readFile(path, secret)
	if err != nil {
		return nil, err
	}
	return v.unseal(path, b)
}

// unseal opens what was read from path.
func (v *vault) unseal(path string, sealed []byte) ([]byte, error) {
	plain, err := decrypt(sealed, v.identity())
	if noMatch(err) {
		return nil, damaged(path, "it is sealed to another identity than the one beside it")
	}
	if err != nil {
		return nil, damaged(path, "it cannot be unsealed").WithCause(err)
	}
	return plain, nil
}

// openKey returns the private key in the sealed file at path.
func (v *vault) openKey(path string) (*signer, error) {
	plain, err := v.open(path)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return parsePrivatePEM(path, plain)
}

// sealKey is the content of the file that holds the private key of s.
func (v *vault) sealKey(s *signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(s.private())
	if err != nil {
		return nil, fmt.Errorf("encode a private key: %w", err)
	}
	defer clear(der)
	text := pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: der})
	defer clear(text)
	sealed, err := v.seal(text)
	if err != nil {
		return nil, fmt.Errorf("seal a private key: %w", err)
	}
	return sealed, nil
}

// parsePrivatePEM reads the first private key of a PEM file; other blocks are
// skipped.
func parsePrivatePEM(path string, b []byte) (*signer, error) {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return nil, damaged(path, "it holds no private key in PEM form (PKCS #8)")
		}
		if block.Type == pemPrivate {
			defer clear(block.Bytes)
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, damaged(path, "its private key is not in PKCS #8 form")
			}
			private, ok := k.(ed25519.PrivateKey)
			if !ok {
				return nil, damaged(path, "its private key is not an Ed25519 one")
			}
			return newSigner(private), nil
		}
		b = rest
	}
}

func isSealed(b []byte) bool { return bytes.HasPrefix(b, []byte(ageHeader)) }

// forPassphrase reports whether the first recipient of a sealed file is a passphrase.
func forPassphrase(sealed []byte) bool {
	_, rest, _ := bytes.Cut(sealed, []byte("\n"))
	return isSealed(sealed) && bytes.HasPrefix(rest, []byte("-> scrypt "))
}

func encrypt(plain []byte, r age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func decrypt(sealed []byte, ids ...age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), ids...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func noMatch(err error) bool {
	_, ok := errors.AsType[*age.NoIdentityMatchError](err)
	return ok
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a file: %w", err)
	}
	return true, nil
}

func damaged(path, why string) *license.Error {
	return license.Errorf(license.Damaged, "%s is damaged: %s", path, why)
}
