//go:build !pkcs11

package daemon

import "github.com/seed-357fa782/licensed/internal/config"

// tokens says whether this build can use one.
const tokens = false

// openToken says that this build cannot open a token.
func openToken(config.PKCS11) (keystore, error) { return nil, errNoPKCS11 }
