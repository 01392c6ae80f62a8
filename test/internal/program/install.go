package program

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Install is an installed copy: its key and its machine.
type Install struct {
	Product     string
	Key         token.SigningKey
	Fingerprint license.Fingerprint
}

// NewInstall makes a copy of a product on a machine, all of whose components have
// one value.
func NewInstall(product, machine string) (Install, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Install{}, err
	}
	key, err := token.NewSigningKey(private)
	if err != nil {
		return Install{}, err
	}
	fp := license.Fingerprint{Salt: license.ProductSalt(product), Components: license.Components{}}
	for _, kind := range []license.Kind{license.KindDisk, license.KindMAC, license.KindOS} {
		d, ok := license.DigestValue(fp.Salt, kind, machine)
		if !ok {
			return Install{}, fmt.Errorf("%q has no digest", machine)
		}
		fp.Components[kind] = []license.Digest{d}
	}
	return Install{Product: product, Key: key, Fingerprint: fp}, nil
}

// Activation is a signed request for a licence, by its code.
func (i Install) Activation(code string) (string, error) {
	c, err := license.ParseCode(code)
	if err != nil {
		return "", err
	}
	return token.SignRequest(token.Request{
		ID: rand.Text(), IssuedAt: time.Now(), Op: token.OpActivate, Product: i.Product, Fingerprint: i.Fingerprint, Code: c,
	}, i.Key)
}
