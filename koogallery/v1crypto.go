package koogallery

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the vendor's key derivation is made of SHA-1; nothing else here uses it
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxEncrypted bounds an encrypted value of licence 1.0 in bytes. Mobile
// numbers and e-mail addresses stay far below.
const MaxEncrypted = 4096

// Encryption is the encryptType of licence 1.0.
type Encryption string

// The two encryptions, AES-CBC both. EncryptAES256 is the default, which an
// empty text means too.
const (
	EncryptAES256 Encryption = "1"
	EncryptAES128 Encryption = "2"
)

func (e Encryption) keySize() (int, error) {
	switch e {
	case EncryptAES256, "":
		return 32, nil
	case EncryptAES128:
		return 16, nil
	}
	return 0, errors.New("encryptType is neither 1 nor 2")
}

// ErrDecrypt means that a value is not the encryption of any text under the
// key. A value which was never encrypted gives it too.
var ErrDecrypt = errors.New("personal data cannot be decrypted")

// Decrypt returns the clear text of a value which was encrypted for key by
// licence 1.0: iv + base64(AES-CBC-PKCS5(text)), where iv are 16 characters and
// the AES key comes from Java's SHA1PRNG seeded with the access key.
//
// The cipher has no authentication tag. A value is as authentic as the call it
// came with, so decrypt nothing which a V1Verifier has not accepted.
func (d PersonalData) Decrypt(key AccessKey, how Encryption) (PersonalData, error) {
	block, err := personalCipher(key, how)
	if err != nil {
		return PersonalData{}, err
	}
	value := d.Reveal()
	if len(value) > MaxEncrypted || len(value) < aes.BlockSize {
		return PersonalData{}, ErrDecrypt
	}
	iv, rest := value[:aes.BlockSize], value[aes.BlockSize:]
	// A "+" that was not encoded arrives as a blank, as in an authToken.
	data, err := base64.StdEncoding.Strict().DecodeString(strings.ReplaceAll(rest, " ", "+"))
	if err != nil || len(data) == 0 || len(data)%aes.BlockSize != 0 {
		return PersonalData{}, ErrDecrypt // the decoder's error would quote the value
	}
	cipher.NewCBCDecrypter(block, []byte(iv)).CryptBlocks(data, data)
	pad := int(data[len(data)-1])
	if pad == 0 || pad > aes.BlockSize {
		return PersonalData{}, ErrDecrypt
	}
	for _, b := range data[len(data)-pad:] {
		if int(b) != pad {
			return PersonalData{}, ErrDecrypt
		}
	}
	text := data[:len(data)-pad]
	if !utf8.Valid(text) {
		return PersonalData{}, ErrDecrypt
	}
	return NewPersonalData(string(text)), nil
}

// Encrypt is the reverse of Decrypt, with random letters and digits as iv: for
// what a merchant returns, and for stand-ins.
func (d PersonalData) Encrypt(key AccessKey, how Encryption) (string, error) {
	return d.encrypt(key, how, rand.Text()[:aes.BlockSize])
}

func (d PersonalData) encrypt(key AccessKey, how Encryption, iv string) (string, error) {
	block, err := personalCipher(key, how)
	if err != nil {
		return "", err
	}
	data := []byte(d.Reveal())
	pad := aes.BlockSize - len(data)%aes.BlockSize
	for range pad {
		data = append(data, byte(pad))
	}
	cipher.NewCBCEncrypter(block, []byte(iv)).CryptBlocks(data, data)
	value := iv + base64.StdEncoding.EncodeToString(data)
	if len(value) > MaxEncrypted {
		return "", fmt.Errorf("encrypt personal data: longer than %d bytes", MaxEncrypted)
	}
	return value, nil
}

func personalCipher(key AccessKey, how Encryption) (cipher.Block, error) {
	size, err := how.keySize()
	if err != nil {
		return nil, err
	}
	if key.IsZero() {
		return nil, errors.New("no access key")
	}
	return aes.NewCipher(sha1PRNG([]byte(key.Reveal()), size))
}

// sha1PRNG returns the first n bytes of Java's SecureRandom "SHA1PRNG" of the
// SUN provider after setSeed(seed). The marketplace takes its AES keys from
// there, so the way to the key is given and no choice of ours; it adds nothing
// to the strength of the access key and takes little from it.
func sha1PRNG(seed []byte, n int) []byte {
	state := sha1.Sum(seed) //nolint:gosec // see above
	var out []byte
	for len(out) < n {
		block := sha1.Sum(state[:]) //nolint:gosec // see above
		out = append(out, block[:]...)
		stepSHA1PRNG(&state, &block)
	}
	return out[:n]
}

// stepSHA1PRNG makes state = state + out + 1 in little-endian order, adding
// signed bytes with an arithmetic carry, as Java does.
func stepSHA1PRNG(state, out *[sha1.Size]byte) {
	carry, changed := 1, false
	for i := range state {
		v := int(int8(state[i])) + int(int8(out[i])) + carry
		b := byte(v)
		changed = changed || b != state[i]
		state[i] = b
		carry = v >> 8
	}
	if !changed {
		state[0]++
	}
}
