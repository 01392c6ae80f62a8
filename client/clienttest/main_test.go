package clienttest_test

import (
	"crypto/ed25519"
	"testing"

	"go.uber.org/goleak"

	"github.com/seed-357fa782/licensed/license/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func thumbprint(key ed25519.PublicKey) string { return token.Thumbprint(key) }
