// Package keys is the custody of everything that licensed keeps secret for
// itself: the anchors that vouch for key sets, the signing keys, and the data
// key under which codes are stored. The package may change in any release; it
// is importable so that a merchant can build tools of their own around a key
// folder.
//
// # The folder
//
// A key folder (data_dir/keys, 0700) holds, each secret file 0600:
//
//	identity or identity.age   the age X25519 identity that opens all the rest;
//	                           identity.age is sealed by a passphrase
//	anchors.json               the public halves of the anchors, primary first
//	anchors/*.pem.age          their private halves, to be moved offline
//	signing/KID.pem.age        private halves of the current and the next signing keys
//	data.key.age               the data key for codes
//	keyset.jwt                 the key set in force, signed by an anchor
//	state.json                 which key is current, and the mark below which no
//	                           key set is accepted any more
//
// Private keys are PKCS #8 in PEM, sealed to the identity; every file can be
// opened with the age tool. The identity protects copies of single files, not
// the machine: whoever reads the whole folder of a running daemon has its keys,
// unless a passphrase seals the identity, and then still its memory.
//
// Anchors' private halves are sealed to the same identity. Who moves them
// offline needs a copy of the identity beside them; without one they cannot be
// opened once this folder is lost.
//
// # What changes, and in which order
//
// Init builds a folder beside its final place and renames it, so there is a
// whole one or none. Afterwards only two files are ever replaced, each as one
// step: state.json by Rotate, keyset.jwt and then state.json by Install. A
// folder in which a crash came between is carried on at the next Open: a key
// set above the mark is one whose installation was not finished. A private half
// is destroyed only after the file that says so is on disk, and Open destroys
// what a crash has left.
//
// # Keystores
//
// The private halves of signing keys can be kept by a [Keystore] instead of in
// files: by a PKCS #11 token (package keys/pkcs11), or a key management service.
// All else stays in the folder, sealed. A folder moves to a keystore by itself:
// new keys are made there, and a file is used until its key is retired. What a
// keystore has signed is verified before it leaves; a key that cannot sign is
// never rotated to; and while the current one cannot, Health says so.
//
// # Times
//
// A key is valid from ten minutes before it was made, which forgives clocks
// that differ, and for twice the life of a key set: a key set that nobody
// renewed is something to warn about, not a day on which new licences stop
// verifying.
//
// A rotation does not change the key set: the set in force goes on listing the
// retired key with its old end, until an anchor has signed the next one. That
// one and all after it list the key still, as valid until ten minutes after its
// retirement; since a signature is judged at its iat, licences outlive the key
// that signed them. A key that is missing from a newer set is revoked, and with
// it everything that it ever signed.
package keys
