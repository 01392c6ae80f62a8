// Package pkcs11 is a keys.Keystore on a PKCS #11 token, such as a hardware
// security module: signing keys are made there, sign there, and never leave.
//
// The package has an implementation in builds with the tag pkcs11 and cgo only; a
// vendor's module is a C library. Without them it is empty, and programs link none
// of it. It may change in any release.
//
// # What a token has to do
//
// It needs Ed25519 as PKCS #11 version 3.0 has it (OASIS PKCS #11 Cryptographic
// Token Interface Current Mechanisms, section 2.3.14): CKM_EC_EDWARDS_KEY_PAIR_GEN
// and CKM_EDDSA, without parameters, with keys of the type CKK_EC_EDWARDS. The curve
// is named as RFC 8410 does, or where a token does not know that, by the text
// "edwards25519"; a public point is read with and without its DER wrapping.
//
// A key is found by its public half: its kid is the thumbprint of that, and the
// private half has the same CKA_ID. CKA_LABEL is Options.KeyLabel, and behind it
// the kid, for people to read. Keys with another label are none of ours, so that
// several installations can share a token under labels of their own. Keys are made
// CKA_SENSITIVE and not CKA_EXTRACTABLE.
//
// # Loss
//
// A session or a token that was lost is looked for again by the next signature,
// once; where that fails, so does the signature, and the next one tries anew. A PIN
// that the token has refused is not tried again until the process is started anew,
// since tokens lock after a few wrong ones.
package pkcs11
