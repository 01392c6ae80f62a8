package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"

	"github.com/seed-357fa782/licensed/license"
)

const (
	dataKeySize = 32

	// indexSize is enough: by accident two of 2^32 codes meet with a chance of
	// 2^-65, and nobody without the key can look for two that do. It is half of
	// what every record and index entry of a store would hold otherwise.
	indexSize = 16
	checkSize = 16

	// sealedV1 is AES-256-GCM with a random nonce: byte 1, nonce (12), text, tag (16).
	sealedV1 = 1
	// sealedTextV1 is the same of a text that is no code: byte 2, nonce (12), text, tag (16).
	sealedTextV1 = 2
)

// What the keys derived from the data key are for.
const (
	infoIndex = "licensed code index v1"
	infoSeal  = "licensed code seal v1"
	infoCheck = "licensed data key check v1"
)

// CodeKey finds codes and seals them for a store: the store holds an index and a
// sealed form of each code, and neither says anything without this key. It is
// safe for concurrent use and does not print.
type CodeKey struct {
	redacted
	indexers *sync.Pool         // of *indexer
	aead     func() cipher.AEAD // out of reach of fmt
	check    []byte
}

// indexer is a keyed hash, ready for use again and again, with room to work.
type indexer struct {
	mac hash.Hash
	buf []byte
}

// NewCodeKey derives the keys from a data key of 32 bytes.
func NewCodeKey(dataKey []byte) (*CodeKey, error) {
	if len(dataKey) != dataKeySize {
		return nil, fmt.Errorf("take the data key: it has %d bytes, not %d", len(dataKey), dataKeySize)
	}
	derive := func(info string, size int) []byte {
		k, err := hkdf.Key(sha256.New, dataKey, nil, info, size)
		if err != nil { // only for sizes beyond any of ours
			panic("keys: " + err.Error())
		}
		return k
	}
	block, err := aes.NewCipher(derive(infoSeal, 32))
	if err != nil {
		return nil, fmt.Errorf("take the data key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("take the data key: %w", err)
	}
	index := derive(infoIndex, sha256.Size)
	pool := &sync.Pool{New: func() any { return &indexer{mac: hmac.New(sha256.New, index)} }}
	return &CodeKey{indexers: pool, aead: func() cipher.AEAD { return aead }, check: derive(infoCheck, checkSize)}, nil
}

// Index returns the 16 bytes under which a code is found: HMAC-SHA256 under a
// key of its own, cut. The same code always has the same index.
func (k *CodeKey) Index(code license.Code) []byte {
	x := k.indexers.Get().(*indexer)
	x.mac.Reset()
	x.buf = append(x.buf[:0], code.Reveal()...)
	_, _ = x.mac.Write(x.buf)
	clear(x.buf)
	x.buf = x.mac.Sum(x.buf[:0])
	index := make([]byte, indexSize)
	copy(index, x.buf)
	k.indexers.Put(x)
	return index
}

// Seal encrypts a code for the licence with the given id, to which it is bound:
// it does not open as another licence's.
func (k *CodeKey) Seal(code license.Code, licenseID string) ([]byte, error) {
	if code.IsZero() || licenseID == "" {
		return nil, fmt.Errorf("seal the code of licence %q: the code or the id is missing", licenseID)
	}
	text := code.Reveal()
	out := make([]byte, 1, 1+len(text)+k.aead().Overhead())
	out[0] = sealedV1
	return k.aead().Seal(out, nil, []byte(text), sealContext(licenseID)), nil //nolint:gosec // G407: this mode draws the nonce itself
}

// Open returns the code that Seal has encrypted for the same licence.
func (k *CodeKey) Open(sealed []byte, licenseID string) (license.Code, error) {
	if len(sealed) == 0 || sealed[0] != sealedV1 {
		return license.Code{}, fmt.Errorf("open the code of licence %q: its form is not known", licenseID)
	}
	text, err := k.aead().Open(nil, nil, sealed[1:], sealContext(licenseID))
	if err != nil {
		return license.Code{}, fmt.Errorf("open the code of licence %q: it is damaged, or was sealed under another data key", licenseID)
	}
	defer clear(text)
	code, err := license.ParseCode(string(text))
	if err != nil {
		return license.Code{}, fmt.Errorf("open the code of licence %q: %w", licenseID, err)
	}
	return code, nil
}

// SealText encrypts a text that is no code, such as what identifies a device,
// and binds it to what it is about. An empty text has an empty form.
func (k *CodeKey) SealText(text, about string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	if about == "" {
		return nil, errors.New("seal a text: it is about nothing")
	}
	out := make([]byte, 1, 1+len(text)+k.aead().Overhead())
	out[0] = sealedTextV1
	return k.aead().Seal(out, nil, []byte(text), textContext(about)), nil //nolint:gosec // G407: this mode draws the nonce itself
}

// OpenText returns the text that SealText has encrypted about the same.
func (k *CodeKey) OpenText(sealed []byte, about string) (string, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	if sealed[0] != sealedTextV1 {
		return "", errors.New("open a sealed text: its form is not known")
	}
	text, err := k.aead().Open(nil, nil, sealed[1:], textContext(about))
	if err != nil {
		return "", errors.New("open a sealed text: it is damaged, is about something else, or was sealed under another data key")
	}
	return string(text), nil
}

func textContext(about string) []byte { return append([]byte{sealedTextV1}, about...) }

// sealContext binds a sealed code to its form and its licence.
func sealContext(licenseID string) []byte {
	return append([]byte{sealedV1}, licenseID...)
}

// Check returns a fingerprint of the data key, which says nothing about it. A
// store that keeps it notices when another data key is in use.
func (k *CodeKey) Check() []byte { return slices.Clone(k.check) }
