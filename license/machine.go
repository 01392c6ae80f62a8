package license

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"
)

// Kind names one kind of machine component.
type Kind string

// The kinds of components of a machine.
const (
	KindMAC    Kind = "mac"    // permanent addresses of physical network adapters
	KindDisk   Kind = "disk"   // disk serials
	KindBoard  Kind = "board"  // board serial
	KindCPU    Kind = "cpu"    // processor model
	KindUUID   Kind = "uuid"   // system UUID of the firmware
	KindOS     Kind = "os"     // machine id of the operating system
	KindCustom Kind = "custom" // supplied by an administrator
	// KindCode is the identification code that a person types. It is not a
	// component: it stands for the whole machine.
	KindCode Kind = "code"
)

// Kinds returns the kinds of components in the order in which they are shown.
func Kinds() []Kind {
	return []Kind{KindCustom, KindOS, KindUUID, KindDisk, KindMAC, KindBoard, KindCPU}
}

// Description says in a few words what components of the kind are.
func (k Kind) Description() string {
	switch k {
	case KindCustom:
		return "machine id of your own"
	case KindOS:
		return "id of the operating system"
	case KindUUID:
		return "UUID of the firmware"
	case KindDisk:
		return "serials of disks"
	case KindMAC:
		return "addresses of network cards"
	case KindBoard:
		return "serial of the mainboard"
	case KindCPU:
		return "model of the processor"
	case KindCode:
		return "identification code"
	}
	return ""
}

// MaxDigests is how many digests of one kind a machine shows, and how many are
// bound: the smallest ones.
const MaxDigests = 8

// digestLen is the length of a Digest: base64url without padding of digestBytes.
const (
	digestLen   = 22
	digestBytes = 16
)

// Digest is what stands for a component outside its machine: base64url
// without padding of the first 16 bytes of HMAC-SHA256(salt, kind + "\n" +
// value). It is a pseudonym, not a secret: a MAC address is found from its
// digest in minutes.
type Digest string

// Valid reports whether d has the form of a digest.
func (d Digest) Valid() bool {
	if len(d) != digestLen {
		return false
	}
	// The decoder skips line breaks: then fewer bytes come out.
	var sum [digestLen]byte
	n, err := strictBase64.Decode(sum[:], []byte(d))
	return err == nil && n == digestBytes
}

var strictBase64 = base64.RawURLEncoding.Strict()

// Components are the digests of a machine by kind.
type Components map[Kind][]Digest

// Normalize sorts the digests, drops repetitions and empty kinds, and keeps at
// most MaxDigests of each kind, the smallest first. The result is new.
func (c Components) Normalize() Components {
	out := make(Components, len(c))
	for kind, digests := range c {
		d := slices.Clone(digests)
		slices.Sort(d)
		d = slices.Compact(d)
		if len(d) > 0 {
			out[kind] = d[:min(len(d), MaxDigests)]
		}
	}
	return out
}

// bindable is what of c can be bound: the digests that count, of kinds that are
// known.
func (c Components) bindable() Components {
	out := make(Components, len(c))
	for _, kind := range Kinds() {
		if d := counted(c[kind]); len(d) > 0 {
			out[kind] = d
		}
	}
	return out
}

// counted returns those of the digests that count: sorted, each once, at most
// MaxDigests, and none that has not the form of one.
func counted(digests []Digest) []Digest {
	d := slices.DeleteFunc(slices.Clone(digests), func(d Digest) bool { return !d.Valid() })
	slices.Sort(d)
	d = slices.Compact(d)
	return d[:min(len(d), MaxDigests)]
}

// ProductSalt returns the salt of a product's digests: the first 16 bytes of
// SHA-256("licensed fingerprint v1\n" + product id).
func ProductSalt(product string) []byte {
	sum := sha256.Sum256([]byte("licensed fingerprint v1\n" + product))
	return sum[:16]
}

// NormalizeValue brings the value of a component into the form of which the
// digest is made: a–z to upper case, bytes up to 0x20 cut at both ends. A
// value that is not UTF-8, or holds "|" or ",", is absent: ok is false, as it
// is for one that is empty.
func NormalizeValue(value string) (normal string, ok bool) {
	if !utf8.ValidString(value) || strings.ContainsAny(value, "|,") {
		return "", false
	}
	b := []byte(value)
	for len(b) > 0 && b[0] <= 0x20 {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] <= 0x20 {
		b = b[:len(b)-1]
	}
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b), len(b) > 0
}

// DigestValue returns the digest of a component's value, or ok false where
// NormalizeValue finds it absent. An identification code (KindCode) is
// digested without its blanks.
func DigestValue(salt []byte, kind Kind, value string) (d Digest, ok bool) {
	if kind == KindCode {
		value = strings.Join(strings.Fields(value), "")
	}
	normal, ok := NormalizeValue(value)
	if !ok {
		return "", false
	}
	mac := hmac.New(sha256.New, salt)
	mac.Write([]byte(string(kind) + "\n" + normal))
	return Digest(base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])), true
}

// Fingerprint is what a machine shows of itself: digests only.
type Fingerprint struct {
	Salt        []byte
	Components  Components
	Environment string // "metal", "vm" or "container"; informative
	Code        Digest // of an identification code, where one was typed
}
