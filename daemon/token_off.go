//go:build !pkcs11

package daemon

import "github.com/seed-357fa782/licensed/internal/config"

// openToken says that this build cannot open a token.
func openToken(config.PKCS11) (keystore, error) { return nil, errNoPKCS11 }
