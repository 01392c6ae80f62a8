package keys

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const hidden = "[redacted]"

// maxPassphrase is the longest passphrase that is taken, in bytes.
const maxPassphrase = 1024

// redacted makes the type that embeds it print as a fixed text, whatever the
// verb, the logger or the encoder.
type redacted struct{}

// Format writes a fixed text for every verb.
func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// String returns a fixed text.
func (redacted) String() string { return hidden }

// GoString returns a fixed text.
func (redacted) GoString() string { return hidden }

// LogValue returns a fixed text, for log/slog.
func (redacted) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText returns a fixed text, so that encoders (JSON among them) redact too.
func (redacted) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Passphrase seals an identity. The zero Passphrase is none. It does not print.
type Passphrase struct {
	redacted
	_ [0]func() // not comparable with ==
	p *string   // a pointer, since fmt prints unexported fields of a surrounding struct
}

// ParsePassphrase takes the content of a passphrase file: one line, whose final
// newline does not count.
func ParsePassphrase(b []byte) (Passphrase, error) {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
		if n := len(b); n > 0 && b[n-1] == '\r' {
			b = b[:n-1]
		}
	}
	switch {
	case len(b) == 0:
		return Passphrase{}, errors.New("the passphrase is empty")
	case len(b) > maxPassphrase:
		return Passphrase{}, fmt.Errorf("the passphrase is longer than %d bytes", maxPassphrase)
	}
	for _, c := range b {
		if c < ' ' {
			return Passphrase{}, errors.New("the passphrase is more than one line, or holds control characters")
		}
	}
	s := string(b)
	return Passphrase{p: &s}, nil
}

// IsZero reports whether there is no passphrase.
func (p Passphrase) IsZero() bool { return p.p == nil }

// reveal returns the clear text.
func (p Passphrase) reveal() string {
	if p.p == nil {
		return ""
	}
	return *p.p
}

// signer is the private half of an Ed25519 key that can sign and be stored, and
// does nothing else. The key is out of reach of fmt, which prints unexported
// fields of what it is given, and with some verbs follows a pointer to them.
type signer struct {
	redacted
	private func() ed25519.PrivateKey
	public  ed25519.PublicKey
}

var _ crypto.Signer = (*signer)(nil)

func newSigner(k ed25519.PrivateKey) *signer {
	return &signer{private: func() ed25519.PrivateKey { return k }, public: k.Public().(ed25519.PublicKey)}
}

func generateSigner(random io.Reader) (*signer, error) {
	_, k, err := ed25519.GenerateKey(random)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return newSigner(k), nil
}

// Public returns the public half, an ed25519.PublicKey.
func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign signs a message as crypto/ed25519 does.
func (s *signer) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.private().Sign(random, message, opts)
}
