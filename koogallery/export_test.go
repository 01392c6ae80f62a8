package koogallery

var (
	ParseInstant = parseInstant
	SHA1PRNG     = sha1PRNG
)

// EncryptWith is Encrypt with a given iv.
func (d PersonalData) EncryptWith(key AccessKey, how Encryption, iv string) (string, error) {
	return d.encrypt(key, how, iv)
}
