package keys

import (
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Anchor is a root key with its private half, for the moment in which it signs
// a key set offline. It does not print.
type Anchor struct {
	redacted
	key    token.SigningKey
	public ed25519.PublicKey
	others token.Anchors // those that are known beside it, maybe itself among them
}

// AnchorOptions say how to open an anchor's file.
type AnchorOptions struct {
	// Identity is the path of the age identity that the file is sealed to. Empty:
	// "identity" or "identity.age" in the file's folder or the one above it.
	Identity string
	// Passphrase opens the identity, or the file itself if it was sealed with a
	// passphrase.
	Passphrase Passphrase
	// Anchors are the public halves of all anchors, none of which may be listed in
	// what this one signs. Empty: those of "anchors.json" in the file's folder or
	// the one above it, if there is one.
	Anchors token.Anchors
}

// OpenAnchor reads an anchor's private half: as Init made it, sealed with a
// passphrase by the age tool, or a plain PKCS #8 PEM.
func OpenAnchor(path string, o AnchorOptions) (*Anchor, error) {
	s, err := openAnchorFile(path, o)
	if err != nil {
		return nil, err
	}
	key, err := token.NewSigningKey(s)
	if err != nil {
		return nil, fmt.Errorf("take the anchor in %s: %w", path, err)
	}
	others := o.Anchors
	if len(others) == 0 {
		if others, err = anchorsBeside(path); err != nil {
			return nil, err
		}
	}
	return &Anchor{key: key, public: s.public, others: slices.Clone(others)}, nil
}

// anchorsBeside reads the list of anchors in the folder of an anchor's file or
// the one above it. That there is none is no error.
func anchorsBeside(path string) (token.Anchors, error) {
	dir := filepath.Dir(path)
	for _, dir := range []string{dir, filepath.Dir(dir)} {
		list := filepath.Join(dir, anchorsFile)
		found, err := exists(list)
		if err != nil {
			return nil, err
		}
		if found {
			return readAnchors(list, anyone)
		}
	}
	return nil, nil
}

func openAnchorFile(path string, o AnchorOptions) (*signer, error) {
	if found, err := exists(path); err != nil || !found {
		if err == nil {
			err = license.Errorf(license.NotFound, "there is no anchor at %s", path)
		}
		return nil, err
	}
	b, err := readFile(path, anyone)
	if err != nil {
		return nil, err
	}
	var plain []byte
	switch {
	case !isSealed(b):
		// A sealed file may lie on a medium without permissions; a plain one is read
		// again, strictly.
		plain, err = readFile(path, secret)
	case forPassphrase(b):
		plain, err = unsealByPassphrase(path, b, o.Passphrase)
	default:
		plain, err = unsealByIdentity(path, b, o)
	}
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return parsePrivatePEM(path, plain)
}

func unsealByIdentity(path string, sealed []byte, o AnchorOptions) ([]byte, error) {
	v, err := anchorVault(path, o)
	if err != nil {
		return nil, fmt.Errorf("open the anchor %s: %w", path, err)
	}
	return v.unseal(path, sealed)
}

func anchorVault(path string, o AnchorOptions) (*vault, error) {
	if o.Identity != "" {
		return openIdentity(o.Identity, o.Passphrase)
	}
	dir := filepath.Dir(path)
	return openVault(o.Passphrase, dir, filepath.Dir(dir))
}

// ID returns the anchor's kid.
func (a *Anchor) ID() string { return a.key.ID }

// Public returns the anchor's public half.
func (a *Anchor) Public() ed25519.PublicKey { return slices.Clone(a.public) }

// SignKeySet signs a key set that Ring.ProposeKeySet has made, exactly as it is.
// It refuses what no verifier should ever see: a set without keys, issuer or
// positive seq, one that is expired at now or made after it, one none of whose
// keys is valid at now, and one that lists an anchor: itself, or another that is
// known (AnchorOptions.Anchors).
func (a *Anchor) SignKeySet(unsigned []byte, now time.Time) (string, error) {
	set, err := token.ParseUnsignedKeySet(unsigned)
	if err != nil {
		return "", license.FieldErrorf("keyset", "this is not an unsigned key set").WithCause(err)
	}
	if err := a.checkUnsigned(set, atSecond(now)); err != nil {
		return "", err
	}
	raw, err := token.SignKeySet(set, a.key)
	if err != nil {
		return "", fmt.Errorf("sign the key set: %w", err)
	}
	if _, err := token.VerifyKeySet(raw, token.Anchors{a.public}); err != nil {
		return "", fmt.Errorf("check the signed key set: %w", err)
	}
	return raw, nil
}

func (a *Anchor) checkUnsigned(set token.KeySet, now time.Time) error {
	refuse := func(format string, args ...any) error { return license.FieldErrorf("keyset", format, args...) }
	switch {
	case set.Issuer == "":
		return refuse("the key set has no issuer")
	case set.Seq < 1:
		return refuse("the seq of the key set is %d, and must be positive", set.Seq)
	case len(set.Keys) == 0:
		return refuse("the key set lists no keys")
	case len(set.Keys) > maxKeys:
		return refuse("the key set lists more than %d keys", maxKeys)
	case !set.IssuedAt.Before(set.ExpiresAt):
		return refuse("the key set ends before it begins")
	case !now.Before(set.ExpiresAt):
		return refuse("the key set expired at %s", set.ExpiresAt.Format(time.RFC3339))
	case set.IssuedAt.After(now.Add(slack)):
		return license.Errorf(license.Clock, "the key set was made at %s, which the clock of this machine has not reached", set.IssuedAt.Format(time.RFC3339))
	}
	return a.checkKeys(set.Keys, now, refuse)
}

func (a *Anchor) checkKeys(keys []token.Key, now time.Time, refuse func(string, ...any) error) error {
	seen := make(map[string]bool, len(keys))
	valid := false
	for _, k := range keys {
		switch {
		case len(k.Public) != ed25519.PublicKeySize || token.Thumbprint(k.Public) != k.ID:
			return refuse("the key %q does not fit its id", k.ID)
		case seen[k.ID]:
			return refuse("the key %s is listed twice", k.ID)
		case isAnchor(a.others, k.Public), k.ID == a.key.ID:
			return refuse("the key %s is an anchor, which signs nothing but key sets", k.ID)
		case !k.NotBefore.Before(k.NotAfter):
			return refuse("the key %s ends before it begins", k.ID)
		}
		seen[k.ID] = true
		valid = valid || !now.Before(k.NotBefore) && now.Before(k.NotAfter)
	}
	if !valid {
		return refuse("no key of the set is valid now")
	}
	return nil
}
