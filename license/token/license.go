package token

import (
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Expect is what a verifier wants a licence to be for.
type Expect struct {
	Product string // among aud; "" is not checked
	Issuer  string // iss, beyond being the key set's; "" is not checked
}

type licenseClaims struct {
	Issuer    string        `json:"iss"`
	Subject   string        `json:"sub"`
	Audience  audience      `json:"aud"`
	ID        string        `json:"jti"`
	IssuedAt  int64         `json:"iat"`
	NotBefore int64         `json:"nbf"`
	Exp       int64         `json:"exp"`
	Lic       licClaims     `json:"lic"`
	Status    *statusClaims `json:"status,omitempty"`
	Cnf       *cnfClaims    `json:"cnf,omitempty"`
}

type licClaims struct {
	Version      int              `json:"ver"`
	Crit         []string         `json:"crit,omitempty"`
	Customer     string           `json:"customer,omitempty"`
	Order        string           `json:"order,omitempty"`
	Channel      string           `json:"channel,omitempty"`
	CodeLast4    string           `json:"code_last4,omitempty"`
	Features     license.Features `json:"features,omitempty"`
	Machines     int              `json:"machines,omitempty"`
	Mode         license.Mode     `json:"mode,omitempty"`
	Phases       phaseClaims      `json:"phases"`
	RefreshAfter int64            `json:"refresh_after"`
	LeaseUntil   int64            `json:"lease_until"`
	Binding      bindingClaims    `json:"binding"`
	StatusMaxAge *int64           `json:"status_max_age,omitempty"`
	Trial        bool             `json:"trial,omitempty"`
}

type statusClaims struct {
	List *statusPlaceClaims `json:"status_list,omitempty"`
}

type statusPlaceClaims struct {
	Index int    `json:"idx"`
	URI   string `json:"uri"`
}

type phaseClaims struct {
	WarnAt      int64               `json:"warn_at"`
	ExpiresAt   int64               `json:"expires_at"`
	BlockAt     int64               `json:"block_at"`
	Enforcement license.Enforcement `json:"enforcement"`
}

type bindingClaims struct {
	Policy     license.Policy `json:"policy"`
	Salt       string         `json:"salt,omitempty"`
	Components components     `json:"components,omitzero"`
	Code       license.Digest `json:"code,omitempty"`
}

type cnfClaims struct {
	JWK JWK `json:"jwk"`
}

// audience is aud: we write a text where there is one and read an array of texts
// too (RFC 7519 section 4.1.3).
type audience []string

func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

func (a *audience) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]string)(a))
	}
	var one string
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*a = audience{one}
	return nil
}

// maxAge caps lic.status_max_age, so that it fits a time.Duration.
const maxAge = 100 * 365 * 24 * time.Hour

// Payload returns the claims of l as SignLicense signs them: compact JSON with
// a fixed order of members, escaped as encoding/json does it, so that it comes
// back unchanged from a store that keeps it as a json.RawMessage. The same l
// gives the same bytes. InstallID, KeyID and Raw do not count.
//
// Instants are cut to whole seconds. Claims that VerifyLicense would refuse
// are Internal.
func (l License) Payload() ([]byte, error) {
	if f := l.check(); f != nil {
		return nil, formLicense.unsignable(f)
	}
	d := l.Dates
	c := licenseClaims{
		Issuer: l.Issuer, Subject: l.LicenseID, Audience: append(audience{l.Product}, l.Also...), ID: l.ID,
		IssuedAt: d.IssuedAt.Unix(), NotBefore: d.NotBefore.Unix(), Exp: d.Exp.Unix(),
		Lic: licClaims{
			Version: Version, Customer: l.Customer, Order: l.Order, Channel: l.Channel, CodeLast4: l.CodeLast4,
			Features: l.Features, Machines: l.Machines, Mode: l.Mode, Trial: l.Trial,
			Phases: phaseClaims{
				WarnAt: d.WarnAt.Unix(), ExpiresAt: d.ExpiresAt.Unix(), BlockAt: d.BlockAt.Unix(), Enforcement: d.Enforcement,
			},
			RefreshAfter: d.RefreshAfter.Unix(), LeaseUntil: d.LeaseUntil.Unix(),
			Binding: bindingClaims{
				Policy: l.Binding.Policy, Salt: b64.EncodeToString(l.Binding.Salt),
				Components: componentsOf(l.Binding.Components), Code: l.Binding.Code,
			},
		},
	}
	if l.InstallKey != nil {
		c.Cnf = &cnfClaims{JWK: JWK{KeyType: keyTypeOKP, Curve: curveEd25519, X: b64.EncodeToString(l.InstallKey)}}
	}
	if l.Status != (StatusPlace{}) {
		c.Status = &statusClaims{List: &statusPlaceClaims{Index: l.Status.Index, URI: l.Status.URI}}
	}
	if l.StatusMaxAge > 0 {
		seconds := int64(l.StatusMaxAge / time.Second)
		c.Lic.StatusMaxAge = &seconds
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return nil, license.Errorf(license.Internal, "the licence was not signed").WithCause(err)
	}
	if f := scan(payload, licenseShape); f != nil {
		return nil, formLicense.unsignable(f)
	}
	return payload, nil
}

// SignLicense signs what Payload returned, byte for byte. Ed25519 is
// deterministic: the same payload and key give the same token.
func SignLicense(payload []byte, key SigningKey) (string, error) {
	return formLicense.sign(payload, key, "")
}

// VerifyLicense checks that a licence is authentic and meant for want: signed
// by a key of the set that was valid at its iat, issued by the set's issuer,
// complete, and for this product. It judges no clock: where the licence stands
// in time is for license.Dates to say; and no machine.
//
// The reasons are Forged for its signature, key and issuer, Damaged for its
// form, which includes a version or a critical member that is not known here,
// and WrongProduct.
func VerifyLicense(raw string, keys KeySet, want Expect) (License, error) {
	l, f := verifyLicense(raw, keys, want)
	if f != nil {
		return License{}, formLicense.err(f)
	}
	if want.Product != "" && l.Product != want.Product {
		return License{}, license.Errorf(license.WrongProduct, "the licence is for another product")
	}
	return l, nil
}

func verifyLicense(raw string, keys KeySet, want Expect) (License, *fault) {
	e, f := formLicense.open(raw)
	if f != nil {
		return License{}, f
	}
	key, f := keys.signer(e)
	if f != nil {
		return License{}, f
	}
	l, f := decodeLicense(e.payload, want.Product)
	switch {
	case f != nil:
		return License{}, f
	case l.Issuer != keys.Issuer:
		return License{}, forgery("its issuer is not that of the key set")
	case want.Issuer != "" && l.Issuer != want.Issuer:
		return License{}, forgery("its issuer is not the expected one")
	}
	if f := key.validAt(l.Dates.IssuedAt); f != nil {
		return License{}, f
	}
	l.KeyID, l.Raw = e.kid, raw
	return l, nil
}

// PeekLicense reads a licence as strictly as VerifyLicense does and verifies
// NOTHING: not the signature, not the issuer, not the product. Anybody can
// have written what it returns.
//
// It is for a server that knows by other means who presents the licence, and
// only wants to see which one it is, after the key that signed it has gone
// from the set. Nothing may be granted because of it.
func PeekLicense(raw string) (License, error) {
	e, f := formLicense.open(raw)
	if f != nil {
		return License{}, formLicense.err(f)
	}
	l, f := decodeLicense(e.payload, "")
	if f != nil {
		return License{}, formLicense.err(f)
	}
	l.KeyID, l.Raw = e.kid, raw
	return l, nil
}

// decodeLicense reads the claims of a licence. Of several audiences it takes
// product, else the first.
func decodeLicense(payload []byte, product string) (License, *fault) {
	var c licenseClaims
	if f := decode(payload, licenseShape, &c); f != nil {
		return License{}, f
	}
	if c.Lic.Version != Version {
		return License{}, malformed("lic.ver", "is a version that only a newer version of this software knows")
	}
	for _, name := range c.Lic.Crit {
		if !slices.Contains(licEnforced, name) {
			return License{}, malformed("lic.crit", "names what only a newer version of this software knows")
		}
	}
	if len(c.Audience) == 0 {
		return License{}, malformed("aud", "is empty")
	}
	l := License{
		Issuer: c.Issuer, ID: c.ID, LicenseID: c.Subject, Product: c.Audience[0], Dates: c.dates(),
		Customer: c.Lic.Customer, Order: c.Lic.Order, Channel: c.Lic.Channel, CodeLast4: c.Lic.CodeLast4,
		Features: c.Lic.Features, Machines: c.Lic.Machines, Mode: c.Lic.Mode, Trial: c.Lic.Trial,
	}
	if slices.Contains(c.Audience, product) {
		l.Product = product
	}
	if len(c.Audience) > 1 {
		l.Also = slices.DeleteFunc(slices.Clone([]string(c.Audience)), func(id string) bool { return id == l.Product })
	}
	if c.Status != nil && c.Status.List != nil {
		if f := checkName("status.status_list.uri", c.Status.List.URI, maxURI); f != nil {
			return License{}, f
		}
		l.Status = StatusPlace{URI: c.Status.List.URI, Index: c.Status.List.Index}
	}
	if n := c.Lic.StatusMaxAge; n != nil {
		l.StatusMaxAge = time.Duration(min(*n, int64(maxAge/time.Second))) * time.Second
	}
	var f *fault
	if l.Binding, f = c.Lic.Binding.decode(); f != nil {
		return License{}, f.in("lic.binding")
	}
	if c.Cnf != nil {
		k, f := c.Cnf.JWK.key()
		if f != nil {
			return License{}, f.in("cnf.jwk")
		}
		l.InstallKey, l.InstallID = k.Public, k.ID
	}
	return l, l.check()
}

func (c *licenseClaims) dates() license.Dates {
	at := func(n int64) time.Time { return time.Unix(n, 0).UTC() }
	return license.Dates{
		IssuedAt: at(c.IssuedAt), NotBefore: at(c.NotBefore), Exp: at(c.Exp),
		WarnAt: at(c.Lic.Phases.WarnAt), ExpiresAt: at(c.Lic.Phases.ExpiresAt), BlockAt: at(c.Lic.Phases.BlockAt),
		RefreshAfter: at(c.Lic.RefreshAfter), LeaseUntil: at(c.Lic.LeaseUntil), Enforcement: c.Lic.Phases.Enforcement,
	}
}

func (b bindingClaims) decode() (license.Binding, *fault) {
	salt, f := decodeSalt(b.Salt)
	if f != nil {
		return license.Binding{}, f
	}
	return license.Binding{
		Policy: b.Policy, Salt: salt, Components: b.Components.decode(), Code: b.Code,
	}, nil
}

// check judges what a licence says, whoever made it.
func (l License) check() *fault {
	f := checkName("iss", l.Issuer, maxIssuer)
	if f == nil {
		f = checkName("sub", l.LicenseID, maxName)
	}
	if f == nil {
		f = checkName("aud", l.Product, maxName)
	}
	for _, id := range l.Also {
		if f == nil {
			f = checkName("aud", id, maxName)
		}
	}
	if f == nil {
		f = checkID("jti", l.ID)
	}
	if f == nil {
		f = checkDates(l.Dates)
	}
	if f == nil {
		f = checkBinding(l.Binding)
	}
	if f == nil && l.Status != (StatusPlace{}) {
		f = checkName("status.status_list.uri", l.Status.URI, maxURI)
	}
	switch {
	case f != nil:
		return f
	case len(l.Features) > maxFeatures:
		return malformed("lic.features", "has too many members")
	case l.Machines < 0:
		return malformed("lic.machines", "is out of range")
	case l.Status.Index < 0 || l.Status.Index > 1<<31-1:
		return malformed("status.status_list.idx", "is out of range")
	case l.InstallKey != nil && len(l.InstallKey) != ed25519.PublicKeySize:
		return malformed("cnf.jwk.x", "is not 32 bytes")
	}
	return nil
}

// checkDates judges the order that makes phases one after the other.
func checkDates(d license.Dates) *fault {
	f := checkInstants(
		stamp{"iat", d.IssuedAt}, stamp{"nbf", d.NotBefore}, stamp{"exp", d.Exp},
		stamp{"lic.phases.warn_at", d.WarnAt}, stamp{"lic.phases.expires_at", d.ExpiresAt},
		stamp{"lic.phases.block_at", d.BlockAt}, stamp{"lic.refresh_after", d.RefreshAfter},
		stamp{"lic.lease_until", d.LeaseUntil},
	)
	switch {
	case f != nil:
		return f
	case d.WarnAt.Unix() > d.ExpiresAt.Unix():
		return malformed("lic.phases.warn_at", "is after expires_at")
	case d.ExpiresAt.Unix() > d.BlockAt.Unix():
		return malformed("lic.phases.expires_at", "is after block_at")
	case d.BlockAt.Unix() > d.Exp.Unix():
		return malformed("lic.phases.block_at", "is after exp")
	case d.LeaseUntil.Unix() > d.Exp.Unix():
		return malformed("lic.lease_until", "is after exp")
	}
	switch d.Enforcement {
	case license.EnforceBlock:
		return nil
	case license.EnforceDegrade, license.EnforceAdvisory:
		if d.Exp.Unix() != maxInstant {
			// Whoever reads the token with a library of their own would refuse it then.
			return malformed("exp", "is not 253402300799, as degrade and advisory want it")
		}
		return nil
	}
	return malformed("lic.phases.enforcement", "is not block, degrade or advisory")
}

// checkBinding judges the form only: a policy that is not known matches no
// machine, which license.Match says.
func checkBinding(b license.Binding) *fault {
	f := checkName("policy", string(b.Policy), maxName)
	if f == nil {
		f = checkDigests(b.Salt, b.Components, b.Code, maxList)
	}
	if f != nil {
		return f.in("lic.binding")
	}
	return nil
}

// String names the licence without the token, which whoever holds could use.
func (l License) String() string { return "token.License(" + l.LicenseID + " " + l.ID + ")" }

// GoString hides the token from %#v.
func (l License) GoString() string { return l.String() }

// LogValue hides the token from slog.
func (l License) LogValue() slog.Value { return slog.StringValue(l.String()) }
