package token

import (
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of texts, in bytes. What only informs is limited by the token alone.
const (
	maxIssuer = 2048
	maxURI    = maxIssuer + 256 // of a status list: below the issuer
	maxName   = 256             // product and licence ids, policies
	maxID     = 128             // jti and nonce
)

// checkName judges a text that names something: there, printable, not too long.
func checkName(member, s string, limit int) *fault {
	switch {
	case s == "":
		return malformed(member, "is empty")
	case len(s) > limit:
		return malformed(member, "is too long")
	}
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return malformed(member, "holds a character that cannot be printed")
		}
	}
	return nil
}

// checkID judges a jti: 1 to 128 printable ASCII characters, no blank.
func checkID(member, s string) *fault {
	switch {
	case s == "":
		return malformed(member, "is empty")
	case len(s) > maxID:
		return malformed(member, "is longer than 128 characters")
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return malformed(member, "holds a character that is not printable ASCII")
		}
	}
	return nil
}

// stamp is an instant with the name of its member.
type stamp struct {
	member string
	at     time.Time
}

// checkInstants judges instants that are about to be written.
func checkInstants(stamps ...stamp) *fault {
	for _, s := range stamps {
		if n := s.at.Unix(); n < 0 || n > maxInstant {
			return malformed(s.member, "is out of range")
		}
	}
	return nil
}
