package token

import (
	"github.com/seed-357fa782/licensed/license"
)

// Limits of counts in what is read.
const (
	maxKeys     = 64  // of a key set
	maxFeatures = 256 // of a licence
	maxList     = 64  // of any other list
)

// maxInstant is license.Forever, the last second that RFC 3339 can write.
const maxInstant = 253402300799

// maxSafe is the largest whole number that every JSON reader reads exactly
// (RFC 7493 section 2.2).
const maxSafe = 1<<53 - 1

// The shapes of what we read: DESIGN 3 as tables for the scanner. The names
// that encoding/json decodes are exactly those that stand here (tested).
var (
	text    = &shape{want: kindText}
	texts   = &shape{want: kindArray, elem: text, limit: maxList}
	instant = &shape{want: kindNumber, whole: true, max: maxInstant}
	count   = &shape{want: kindNumber, whole: true, max: 1<<31 - 1}
	serial  = &shape{want: kindNumber, whole: true, max: maxSafe}
	flag    = &shape{want: kindBool}
	refused = &shape{refused: true}
)

// headerShape is what a JOSE header (RFC 7515 section 4.1) may mean to us. An
// extension that must be understood, or an unencoded payload (RFC 7797), is
// refused; parameters without a meaning to us are skipped.
var headerShape = &shape{want: kindObject, members: []field{
	{name: "alg", shape: text},
	{name: "typ", shape: text},
	{name: "kid", shape: text},
	{name: "jwk", shape: &shape{want: kindObject, members: looseKeyShape.members}},
	{name: "crit", shape: refused},
	{name: "b64", shape: refused},
}}

// keyShape is a JWK (RFC 7517, RFC 8037 section 2) with an Ed25519 key.
var keyShape = &shape{want: kindObject, members: []field{
	{name: "kty", required: true, shape: text},
	{name: "crv", required: true, shape: text},
	{name: "x", required: true, shape: text},
	{name: "kid", shape: text},
	{name: "alg", shape: text},
	{name: "use", shape: text},
	{name: "nbf", shape: instant},
	{name: "exp", shape: instant},
}}

// looseKeyShape is a JWK of any kind: what its members hold is judged once it
// turns out to be an Ed25519 key.
var looseKeyShape = &shape{want: kindObject, members: []field{
	{name: "kty"}, {name: "crv"}, {name: "x"}, {name: "kid"}, {name: "alg"}, {name: "use"}, {name: "nbf"}, {name: "exp"},
}}

var keySetShape = &shape{want: kindObject, members: []field{
	{name: "iss", required: true, shape: text},
	{name: "iat", required: true, shape: instant},
	{name: "exp", required: true, shape: instant},
	{name: "seq", required: true, shape: serial},
	{name: "keys", required: true, shape: &shape{want: kindArray, elem: looseKeyShape, limit: maxKeys}},
}}

var anchorsShape = &shape{want: kindObject, members: []field{
	{name: "anchors", required: true, shape: &shape{want: kindArray, elem: keyShape, limit: maxKeys}},
}}

// licEnforced is the members of lic that lic.crit may name: those that this
// version understands and does something about, or that only inform.
var licEnforced = []string{
	"ver", "crit", "customer", "order", "channel", "code_last4", "features", "machines", "mode", "phases",
	"refresh_after", "lease_until", "binding", "status_max_age", "trial",
}

// licShape is the members of lic.
var licShape = &shape{want: kindObject, members: []field{
	{name: "ver", required: true, shape: count},
	{name: "crit", shape: texts},
	{name: "customer", shape: text},
	{name: "order", shape: text},
	{name: "channel", shape: text},
	{name: "code_last4", shape: text},
	{name: "features", shape: &shape{want: kindObject, limit: maxFeatures}},
	{name: "machines", shape: count},
	{name: "mode", shape: text},
	{name: "phases", required: true, shape: &shape{want: kindObject, members: []field{
		{name: "warn_at", required: true, shape: instant},
		{name: "expires_at", required: true, shape: instant},
		{name: "block_at", required: true, shape: instant},
		{name: "enforcement", required: true, shape: text},
	}}},
	{name: "refresh_after", required: true, shape: instant},
	{name: "lease_until", required: true, shape: instant},
	{name: "binding", required: true, shape: &shape{want: kindObject, members: []field{
		{name: "policy", required: true, shape: text},
		{name: "salt", shape: text},
		{name: "components", shape: componentsShape},
		{name: "code", shape: text},
	}}},
	{name: "status_max_age", shape: instant},
	{name: "trial", shape: flag},
}}

var licenseShape = &shape{want: kindObject, members: []field{
	{name: "iss", required: true, shape: text},
	{name: "sub", required: true, shape: text},
	{name: "aud", required: true, shape: &shape{want: kindText | kindArray, elem: text, limit: maxList}},
	{name: "jti", required: true, shape: text},
	{name: "iat", required: true, shape: instant},
	{name: "nbf", required: true, shape: instant},
	{name: "exp", required: true, shape: instant},
	{name: "lic", required: true, shape: licShape},
	{name: "status", shape: statusShape},
	{name: "cnf", shape: &shape{want: kindObject, members: []field{
		{name: "jwk", required: true, shape: keyShape},
	}}},
}}

// statusShape is the claim that names a place in a status list (IETF Token
// Status List, "Referenced Token"). Other mechanisms than a list are skipped.
var statusShape = &shape{want: kindObject, members: []field{
	{name: "status_list", shape: &shape{want: kindObject, members: []field{
		{name: "idx", required: true, shape: count},
		{name: "uri", required: true, shape: text},
	}}},
}}

var statusListShape = &shape{want: kindObject, members: []field{
	{name: "iss", required: true, shape: text},
	{name: "sub", required: true, shape: text},
	{name: "iat", required: true, shape: instant},
	{name: "exp", required: true, shape: instant},
	{name: "ttl", required: true, shape: serial},
	{name: "status_list", required: true, shape: &shape{want: kindObject, members: []field{
		{name: "bits", required: true, shape: count},
		{name: "lst", required: true, shape: text},
	}}},
}}

var requestShape = &shape{want: kindObject, members: []field{
	{name: "jti", required: true, shape: text},
	{name: "iat", required: true, shape: instant},
	{name: "op", required: true, shape: text},
	{name: "product", required: true, shape: text},
	{name: "prev", required: true, shape: text},
	{name: "fingerprint", required: true, shape: &shape{want: kindObject, members: []field{
		{name: "salt", shape: text},
		{name: "components", shape: componentsShape},
		{name: "environment", shape: text},
		{name: "code", shape: text},
	}}},
	{name: "code", shape: text},
	{name: "license", shape: text},
	{name: "from", shape: text},
	{name: "instance", shape: text},
}}

var timeShape = &shape{want: kindObject, members: []field{
	{name: "iss", required: true, shape: text},
	{name: "iat", required: true, shape: instant},
	{name: "sub", required: true, shape: text},
	{name: "nonce", required: true, shape: text},
}}

// componentsShape is kind → digests. Kinds that are not known are skipped.
var componentsShape = func() *shape {
	s := &shape{want: kindObject, limit: maxList}
	for _, kind := range license.Kinds() {
		s.members = append(s.members, field{name: string(kind), shape: texts})
	}
	return s
}()
