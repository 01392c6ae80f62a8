// Package token is the signed form of everything that licensed signs: key
// sets, licences, status lists, requests, times and proofs of delivery, all
// compact JWS (RFC 7515) with Ed25519 (RFC 8037), and the files that carry them.
//
// One function per form checks it in full, for server and client alike:
// VerifyKeySet, VerifyLicense, VerifyStatusList, VerifyRequest, VerifyTime,
// VerifyDelivery. They follow the rules that a shipped verifier can never be taught later:
//
//   - the algorithm is Ed25519, named "EdDSA" or "Ed25519"; we sign "EdDSA";
//   - kid is required, is the RFC 7638 thumbprint of the key, and is sought
//     among the anchors for a key set, among the key set for a licence, a status
//     list, a time and a proof of delivery, and in the request's own header for a request, nowhere else;
//   - typ is checked; a header with crit is refused;
//   - a member name that occurs twice in one object, or differs only in case
//     from one that we know, nesting over 16 and a token over 64 KiB are
//     refused; base64url is read strictly;
//   - unknown claims, keys, and feature values are skipped; a version that is
//     not known and a lic.crit that names a member that is not known are not;
//   - a signature is judged at its iat: the key must have been valid then. exp
//     is not judged here: Verify answers whether something is authentic, and
//     one other place, license.Dates.PhaseAt, where it stands in time.
//
// The package holds no private key: whoever signs passes a crypto.Signer.
package token
