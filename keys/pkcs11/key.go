//go:build pkcs11

package pkcs11

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Of PKCS #11 version 3.0; the library has version 2.40.
const (
	ckkECEdwards           = 0x40
	ckmECEdwardsKeyPairGen = 0x1055
	ckmEdDSA               = 0x1057
)

// curves are the DER forms by which tokens know Ed25519: the object identifier of
// RFC 8410, the name of PKCS #11 version 3.0, and the older object identifier there.
var curves = [][]byte{
	{0x06, 0x03, 0x2b, 0x65, 0x70},
	append([]byte{0x13, 0x0c}, "edwards25519"...),
	{0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01},
}

// key is a key on the token. Its handles are those of one connection.
type key struct {
	public          ed25519.PublicKey
	private, shared p11.ObjectHandle // of the two halves
}

// List returns the kids of our keys whose private halves are on the token.
func (t *Token) List() (kids []string, err error) {
	err = t.with(func(c *connection, s p11.SessionHandle) error {
		found, err := t.scan(c, s)
		kids = slices.Sorted(maps.Keys(found))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return kids, nil
}

// Generate makes a key on the token.
func (t *Token) Generate() (public ed25519.PublicKey, err error) {
	err = t.with(func(c *connection, s p11.SessionHandle) error {
		public, err = t.generate(c, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return public, nil
}

func (t *Token) generate(c *connection, s p11.SessionHandle) (ed25519.PublicKey, error) {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	var errs []error
	for _, curve := range curves {
		shared, private, err := t.module.GenerateKeyPair(s, []*p11.Mechanism{p11.NewMechanism(ckmECEdwardsKeyPairGen, nil)},
			[]*p11.Attribute{
				p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY), p11.NewAttribute(p11.CKA_KEY_TYPE, ckkECEdwards),
				p11.NewAttribute(p11.CKA_EC_PARAMS, curve), p11.NewAttribute(p11.CKA_TOKEN, true), p11.NewAttribute(p11.CKA_PRIVATE, false),
				p11.NewAttribute(p11.CKA_VERIFY, true), p11.NewAttribute(p11.CKA_ID, id), p11.NewAttribute(p11.CKA_LABEL, t.label),
			},
			[]*p11.Attribute{
				p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY), p11.NewAttribute(p11.CKA_KEY_TYPE, ckkECEdwards),
				p11.NewAttribute(p11.CKA_TOKEN, true), p11.NewAttribute(p11.CKA_PRIVATE, true), p11.NewAttribute(p11.CKA_SENSITIVE, true),
				p11.NewAttribute(p11.CKA_EXTRACTABLE, false), p11.NewAttribute(p11.CKA_SIGN, true), p11.NewAttribute(p11.CKA_ID, id),
				p11.NewAttribute(p11.CKA_LABEL, t.label),
			})
		if lost(err) {
			return nil, err
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		return t.adopt(c, s, key{private: private, shared: shared})
	}
	return nil, errors.Join(errs...)
}

// adopt reads the public half of a key that was just made, and writes its kid into
// the labels, for people.
func (t *Token) adopt(c *connection, s p11.SessionHandle, k key) (ed25519.PublicKey, error) {
	attrs, err := t.module.GetAttributeValue(s, k.shared, []*p11.Attribute{p11.NewAttribute(p11.CKA_EC_POINT, nil)})
	if err == nil {
		k.public, err = point(attrs[0].Value)
	}
	if err != nil {
		return nil, errors.Join(err, t.module.DestroyObject(s, k.private), t.module.DestroyObject(s, k.shared))
	}
	kid := token.Thumbprint(k.public)
	label := []*p11.Attribute{p11.NewAttribute(p11.CKA_LABEL, t.label+" "+kid)}
	for _, h := range []p11.ObjectHandle{k.private, k.shared} {
		_ = t.module.SetAttributeValue(s, h, label) // not all tokens allow it, and nothing depends on it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		c.keys = make(map[string]key)
	}
	c.keys[kid] = k
	return k.public, nil
}

// Signer returns what signs with a key, or license.NotFound.
func (t *Token) Signer(kid string) (crypto.Signer, error) {
	var k key
	err := t.with(func(c *connection, s p11.SessionHandle) error {
		var err error
		k, err = t.key(c, s, kid)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &signer{token: t, kid: kid, public: k.public}, nil
}

// Destroy makes an end of a private half, and of the public one beside it.
func (t *Token) Destroy(kid string) error {
	err := t.with(func(c *connection, s p11.SessionHandle) error {
		c.mu.Lock()
		delete(c.keys, kid)
		c.mu.Unlock()
		k, err := t.key(c, s, kid)
		if err != nil {
			return err
		}
		c.mu.Lock()
		delete(c.keys, kid)
		c.mu.Unlock()
		if err := t.module.DestroyObject(s, k.private); err != nil {
			return err
		}
		_ = t.module.DestroyObject(s, k.shared) // without the private half it is nothing
		return nil
	})
	if err != nil && !errors.Is(err, license.NotFound) {
		return fmt.Errorf("destroy a key: %w", err)
	}
	return nil
}

// Where says for people where a private half is.
func (t *Token) Where(kid string) string { return "token " + t.token + ", key " + t.label + " " + kid }

// key returns a key by its handles, which are looked up where they are not known.
func (t *Token) key(c *connection, s p11.SessionHandle, kid string) (key, error) {
	c.mu.Lock()
	k, known := c.keys[kid]
	c.mu.Unlock()
	if known {
		return k, nil
	}
	found, err := t.scan(c, s)
	if err != nil {
		return k, err
	}
	if k, known = found[kid]; !known {
		return k, license.Errorf(license.NotFound, "there is no key %s on the token %s", kid, t.token)
	}
	return k, nil
}

// scan looks up all our keys.
func (t *Token) scan(c *connection, s p11.SessionHandle) (map[string]key, error) {
	private, err := t.objects(s, p11.CKO_PRIVATE_KEY)
	if err != nil {
		return nil, err
	}
	shared, err := t.objects(s, p11.CKO_PUBLIC_KEY)
	if err != nil {
		return nil, err
	}
	found := make(map[string]key)
	for id, public := range shared {
		half, ok := private[id]
		if !ok {
			continue
		}
		attrs, err := t.module.GetAttributeValue(s, public, []*p11.Attribute{p11.NewAttribute(p11.CKA_EC_POINT, nil)})
		if err != nil {
			return nil, err
		}
		p, err := point(attrs[0].Value)
		if err != nil {
			continue // a key of another curve
		}
		found[token.Thumbprint(p)] = key{public: p, private: half, shared: public}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = maps.Clone(found)
	return found, nil
}

// objects returns our objects of a class, by CKA_ID.
func (t *Token) objects(s p11.SessionHandle, class uint) (map[string]p11.ObjectHandle, error) {
	err := t.module.FindObjectsInit(s, []*p11.Attribute{p11.NewAttribute(p11.CKA_CLASS, class), p11.NewAttribute(p11.CKA_KEY_TYPE, ckkECEdwards)})
	if err != nil {
		return nil, err
	}
	var handles []p11.ObjectHandle
	for {
		more, _, err := t.module.FindObjects(s, 64)
		if err != nil {
			_ = t.module.FindObjectsFinal(s)
			return nil, err
		}
		if handles = append(handles, more...); len(more) == 0 {
			break
		}
	}
	if err := t.module.FindObjectsFinal(s); err != nil {
		return nil, err
	}
	found := make(map[string]p11.ObjectHandle)
	for _, h := range handles {
		attrs, err := t.module.GetAttributeValue(s, h, []*p11.Attribute{p11.NewAttribute(p11.CKA_ID, nil), p11.NewAttribute(p11.CKA_LABEL, nil)})
		if err != nil {
			return nil, err
		}
		if label := string(attrs[1].Value); label == t.label || strings.HasPrefix(label, t.label+" ") {
			found[string(attrs[0].Value)] = h
		}
	}
	return found, nil
}

// point reads CKA_EC_POINT: the 32 bytes of RFC 8032, mostly wrapped in a DER OCTET
// STRING, or in a BIT STRING.
func point(b []byte) (ed25519.PublicKey, error) {
	if len(b) == ed25519.PublicKeySize {
		return slices.Clone(b), nil
	}
	var octets []byte
	if rest, err := asn1.Unmarshal(b, &octets); err == nil && len(rest) == 0 && len(octets) == ed25519.PublicKeySize {
		return octets, nil
	}
	var bits asn1.BitString
	if rest, err := asn1.Unmarshal(b, &bits); err == nil && len(rest) == 0 && bits.BitLength == 8*ed25519.PublicKeySize {
		return bits.Bytes, nil
	}
	return nil, errors.New("the public half on the token is not that of an Ed25519 key")
}

// signer signs with one key.
type signer struct {
	token  *Token
	kid    string
	public ed25519.PublicKey
}

// Public returns the public half, an ed25519.PublicKey.
func (k *signer) Public() crypto.PublicKey { return slices.Clone(k.public) }

// Sign signs a message as crypto/ed25519 does, without prehash or context.
func (k *signer) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) (sig []byte, err error) {
	if opts != nil && opts.HashFunc() != 0 {
		return nil, errors.New("messages are signed whole, and not their digests")
	}
	err = k.token.with(func(c *connection, s p11.SessionHandle) error {
		at, err := k.token.key(c, s, k.kid)
		if err != nil {
			return err
		}
		if err := k.token.module.SignInit(s, []*p11.Mechanism{p11.NewMechanism(ckmEdDSA, nil)}, at.private); err != nil {
			return err
		}
		sig, err = k.token.module.Sign(s, message)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sign with a key of the token %s: %w", k.token.token, err)
	}
	return sig, nil
}
