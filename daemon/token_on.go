//go:build pkcs11

package daemon

import (
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/keys/pkcs11"
)

// tokens says whether this build can use one.
const tokens = true

// openToken opens a token.
func openToken(k config.PKCS11) (keystore, error) {
	pin, err := readPIN(k)
	if err != nil {
		return nil, err
	}
	return pkcs11.Open(pkcs11.Options{
		Module: k.Module, TokenLabel: k.TokenLabel, PIN: pin.Reveal(), KeyLabel: k.KeyLabel, Sessions: k.Sessions,
	})
}
