package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

type requestClaims struct {
	ID          string            `json:"jti"`
	IssuedAt    int64             `json:"iat"`
	Op          Op                `json:"op"`
	Product     string            `json:"product"`
	Prev        string            `json:"prev"`
	Fingerprint fingerprintClaims `json:"fingerprint"`
	Code        *string           `json:"code,omitempty"`
	License     *string           `json:"license,omitempty"`
	From        *string           `json:"from,omitempty"`
	Instance    *string           `json:"instance,omitempty"`
}

type fingerprintClaims struct {
	Salt        string         `json:"salt,omitempty"`
	Components  components     `json:"components,omitzero"`
	Environment string         `json:"environment,omitempty"`
	Code        license.Digest `json:"code,omitempty"`
}

// SignRequest signs a request with the install key, whose public half goes
// into the header. InstallKey, InstallID, Digest and Raw of r do not count;
// digests are sorted and cut to the smallest eight of a kind. A request that
// VerifyRequest would refuse is BadRequest with its field.
func SignRequest(r Request, key SigningKey) (string, error) {
	r.Fingerprint.Components = r.Fingerprint.Components.Normalize()
	if f := r.check(); f != nil {
		return "", formRequest.unsignable(f)
	}
	fp := r.Fingerprint
	c := requestClaims{
		ID: r.ID, IssuedAt: r.IssuedAt.Unix(), Op: r.Op, Product: r.Product, Prev: r.Prev,
		Fingerprint: fingerprintClaims{
			Salt: b64.EncodeToString(fp.Salt), Components: componentsOf(fp.Components),
			Environment: fp.Environment, Code: fp.Code,
		},
		Code: optionalText(r.Code.Reveal()), License: optionalText(r.License), From: optionalText(r.From), Instance: optionalText(r.Instance),
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", license.Errorf(license.Internal, "the request was not signed").WithCause(err)
	}
	x := b64.EncodeToString(key.public())
	return formRequest.sign(payload, key, `,"jwk":{"crv":"`+curveEd25519+`","kty":"`+keyTypeOKP+`","x":"`+x+`"}`)
}

func optionalText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// VerifyRequest checks a request: signed by the key that stands in its own
// header, complete, with what its op carries and nothing that it does not.
// Who that key belongs to is for the caller to say.
//
// Unauthorized is a signature or key that does not fit; all else is
// BadRequest, with Field the claim at fault ("fingerprint.components.mac"), or
// "request" for the token as a whole.
func VerifyRequest(raw string) (Request, error) {
	r, err := verifyRequest(raw)
	if err != nil {
		return Request{}, err
	}
	return r, nil
}

func verifyRequest(raw string) (Request, error) {
	e, f := formRequest.open(raw)
	if f != nil {
		return Request{}, formRequest.err(f)
	}
	key, f := e.headerKey()
	if f == nil {
		f = e.verify(key.Public)
	}
	if f != nil {
		return Request{}, formRequest.err(f)
	}
	r, err := decodeRequest(e.payload)
	if err != nil {
		return Request{}, err
	}
	digest := sha256.Sum256([]byte(raw))
	r.InstallKey, r.InstallID, r.Digest, r.Raw = key.Public, key.ID, digest[:], raw
	return r, nil
}

// headerKey reads the key that a request carries in its header.
func (e envelope) headerKey() (Key, *fault) {
	if len(e.jwk) == 0 {
		return Key{}, forgery("header: jwk is missing")
	}
	k, f := decodeJWK(e.jwk)
	if f != nil {
		return Key{}, forgery("header: jwk: " + f.String())
	}
	return k, nil
}

func decodeRequest(payload []byte) (Request, error) {
	var c requestClaims
	if f := decode(payload, requestShape, &c); f != nil {
		return Request{}, formRequest.err(f)
	}
	salt, f := decodeSalt(c.Fingerprint.Salt)
	if f != nil {
		return Request{}, formRequest.err(f.in("fingerprint"))
	}
	r := Request{
		ID: c.ID, IssuedAt: time.Unix(c.IssuedAt, 0).UTC(), Op: c.Op, Product: c.Product, Prev: c.Prev,
		Fingerprint: license.Fingerprint{
			Salt: salt, Components: c.Fingerprint.Components.decode(),
			Environment: c.Fingerprint.Environment, Code: c.Fingerprint.Code,
		},
	}
	if c.Code != nil {
		code, err := license.ParseCode(*c.Code)
		if err != nil {
			return Request{}, err // BadRequest, field "code"
		}
		r.Code = code
	}
	if f := presentText("license", c.License, &r.License); f != nil {
		return Request{}, formRequest.err(f)
	}
	if f := presentText("from", c.From, &r.From); f != nil {
		return Request{}, formRequest.err(f)
	}
	if f := presentText("instance", c.Instance, &r.Instance); f != nil {
		return Request{}, formRequest.err(f)
	}
	if f := r.check(); f != nil {
		return Request{}, formRequest.err(f)
	}
	r.Fingerprint.Components = r.Fingerprint.Components.Normalize()
	return r, nil
}

// presentText takes over an optional claim, which is not empty where it is there.
func presentText(member string, s *string, to *string) *fault {
	if s == nil {
		return nil
	}
	if *s == "" {
		return malformed(member, "is empty")
	}
	*to = *s
	return nil
}

// check judges what a request says, whoever made it.
func (r Request) check() *fault {
	f := checkID("jti", r.ID)
	if f == nil {
		f = checkInstants(stamp{"iat", r.IssuedAt})
	}
	if f == nil {
		f = r.checkOp()
	}
	if f == nil {
		f = checkName("product", r.Product, maxName)
	}
	if f == nil && r.Instance != "" {
		f = checkName("instance", r.Instance, maxName)
	}
	if f == nil && r.Prev != "" {
		f = checkID("prev", r.Prev)
	}
	if f == nil {
		f = checkFingerprint(r.Fingerprint, r.Product)
	}
	return f
}

// carries is what a request of each op may hold beside what all hold.
type carries struct{ code, license, from bool }

// checkOp judges op and the claims that depend on it.
func (r Request) checkOp() *fault {
	var may carries
	switch r.Op {
	case OpActivate:
		may = carries{code: true}
	case OpTransfer:
		may = carries{code: true, from: true}
	case OpRefresh, OpDeactivate:
		may = carries{license: true}
		if r.License == "" {
			return malformed("license", "is missing")
		}
	default:
		return malformed("op", "is not activate, refresh, transfer or deactivate")
	}
	switch {
	case !may.code && !r.Code.IsZero():
		return malformed("code", "does not belong to this op")
	case !may.license && r.License != "":
		return malformed("license", "does not belong to this op")
	case !may.from && r.From != "":
		return malformed("from", "does not belong to this op")
	case r.From != "" && !isThumbprint(r.From):
		return malformed("from", "is not an install id")
	}
	return nil
}

// maxEnvironment is the longest environment that is read, in bytes.
const maxEnvironment = 32

// checkFingerprint judges the form of a fingerprint, and that its salt is the
// product's: digests under another would match nothing.
func checkFingerprint(fp license.Fingerprint, product string) *fault {
	f := checkDigests(fp.Salt, fp.Components, fp.Code, license.MaxDigests)
	if f == nil && len(fp.Salt) > 0 && !bytes.Equal(fp.Salt, license.ProductSalt(product)) {
		f = malformed("salt", "is not that of the product")
	}
	if f == nil && fp.Environment != "" {
		f = checkName("environment", fp.Environment, maxEnvironment)
	}
	if f != nil {
		return f.in("fingerprint")
	}
	return nil
}

// String names the request without what it holds: its token contains the code.
func (r Request) String() string { return "token.Request(" + string(r.Op) + " " + r.ID + ")" }

// GoString hides the token from %#v.
func (r Request) GoString() string { return r.String() }

// LogValue hides the token from slog.
func (r Request) LogValue() slog.Value { return slog.StringValue(r.String()) }
