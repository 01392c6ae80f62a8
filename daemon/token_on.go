//go:build pkcs11

package daemon

import (
	"fmt"

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

// readPIN reads the PIN of a token.
func readPIN(k config.PKCS11) (config.Secret, error) {
	pin, err := config.ReadSecret(k.PINFile)
	if err != nil {
		return pin, fmt.Errorf("read the PIN: %w", err)
	}
	return pin, nil
}
