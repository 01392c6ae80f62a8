package token

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Delivery is the claims of a proof of delivery (license-delivery+jwt): what the
// server knows of an order, of the licence that was made for it, and of the
// machines that it went to. It holds no secret, and no more of a code than its
// end. Times that are not known are zero; so is ExpiresAt for a licence without
// end.
type Delivery struct {
	Issuer    string
	ID        string // jti: the number of the document
	IssuedAt  time.Time
	LicenseID string // sub
	Product   string // aud

	Customer  string
	Channel   string
	Order     string
	Line      string
	Instance  string
	CodeLast4 string

	OrderedAt   time.Time
	LicensedAt  time.Time // when the licence was made
	ActivatedAt time.Time
	DeliveredAt time.Time // when the staff, or the marketplace's interface, delivered it
	ExpiresAt   time.Time

	// Machines are those that it was delivered to, the last MaxDelivered of them,
	// and MachineCount how many there were.
	Machines     []DeliveredTo
	MachineCount int

	KeyID string // kid that signed it; set by VerifyDelivery
	Raw   string // the token; set by VerifyDelivery
}

// DeliveredTo is one machine that a licence was delivered to.
type DeliveredTo struct {
	Install string    // its id: the thumbprint of the install's key where it has one
	At      time.Time // when the licence was bound to it
	// Device is the digest of the identification code that the licence was asked
	// for by (license.DigestCode under the salt of the product), "" where there was
	// none.
	Device license.Digest
	// File is the SHA-256 of the licence file that was handed out, and FileAt when;
	// an install that fetched its licence itself has none.
	File   []byte
	FileAt time.Time
}

// MaxDelivered is how many machines a proof of delivery names.
const MaxDelivered = 64

// DeliveryVersion is the value of delivery.ver that this package writes and
// understands.
const DeliveryVersion = 1

type deliveryClaims struct {
	Issuer   string       `json:"iss"`
	Subject  string       `json:"sub"`
	Audience string       `json:"aud"`
	ID       string       `json:"jti"`
	IssuedAt int64        `json:"iat"`
	Delivery deliveryBody `json:"delivery"`
}

type deliveryBody struct {
	Version      int                 `json:"ver"`
	Customer     string              `json:"customer,omitempty"`
	Channel      string              `json:"channel,omitempty"`
	Order        string              `json:"order,omitempty"`
	Line         string              `json:"line,omitempty"`
	Instance     string              `json:"instance,omitempty"`
	CodeLast4    string              `json:"code_last4,omitempty"`
	OrderedAt    int64               `json:"ordered_at,omitempty"`
	LicensedAt   int64               `json:"licensed_at,omitempty"`
	ActivatedAt  int64               `json:"activated_at,omitempty"`
	DeliveredAt  int64               `json:"delivered_at,omitempty"`
	ExpiresAt    int64               `json:"expires_at,omitempty"`
	Machines     []deliveredToClaims `json:"machines,omitempty"`
	MachineCount int                 `json:"machine_count"`
}

type deliveredToClaims struct {
	Install string         `json:"install"`
	BoundAt int64          `json:"bound_at"`
	Device  license.Digest `json:"device,omitempty"`
	File    string         `json:"file_sha256,omitempty"`
	FileAt  int64          `json:"file_at,omitempty"`
}

var deliveryShape = &shape{want: kindObject, members: []field{
	{name: "iss", required: true, shape: text},
	{name: "sub", required: true, shape: text},
	{name: "aud", required: true, shape: text},
	{name: "jti", required: true, shape: text},
	{name: "iat", required: true, shape: instant},
	{name: "delivery", required: true, shape: &shape{want: kindObject, members: []field{
		{name: "ver", required: true, shape: count},
		{name: "customer", shape: text},
		{name: "channel", shape: text},
		{name: "order", shape: text},
		{name: "line", shape: text},
		{name: "instance", shape: text},
		{name: "code_last4", shape: text},
		{name: "ordered_at", shape: instant},
		{name: "licensed_at", shape: instant},
		{name: "activated_at", shape: instant},
		{name: "delivered_at", shape: instant},
		{name: "expires_at", shape: instant},
		{name: "machine_count", required: true, shape: count},
		{name: "machines", shape: &shape{want: kindArray, limit: MaxDelivered, elem: &shape{want: kindObject, members: []field{
			{name: "install", required: true, shape: text},
			{name: "bound_at", required: true, shape: instant},
			{name: "device", shape: text},
			{name: "file_sha256", shape: text},
			{name: "file_at", shape: instant},
		}}}},
	}}},
}}

// SignDelivery signs a proof of delivery. KeyID and Raw of d do not count, and
// instants are cut to whole seconds.
func SignDelivery(d Delivery, key SigningKey) (string, error) {
	if f := d.check(); f != nil {
		return "", formDelivery.unsignable(f)
	}
	c := deliveryClaims{
		Issuer: d.Issuer, Subject: d.LicenseID, Audience: d.Product, ID: d.ID, IssuedAt: d.IssuedAt.Unix(),
		Delivery: deliveryBody{
			Version: DeliveryVersion, Customer: d.Customer, Channel: d.Channel, Order: d.Order, Line: d.Line, Instance: d.Instance,
			CodeLast4: d.CodeLast4, OrderedAt: seconds(d.OrderedAt), LicensedAt: seconds(d.LicensedAt), ActivatedAt: seconds(d.ActivatedAt),
			DeliveredAt: seconds(d.DeliveredAt), ExpiresAt: seconds(d.ExpiresAt), MachineCount: d.MachineCount,
		},
	}
	for _, m := range d.Machines {
		c.Delivery.Machines = append(c.Delivery.Machines, deliveredToClaims{
			Install: m.Install, BoundAt: m.At.Unix(), Device: m.Device, File: hex.EncodeToString(m.File), FileAt: seconds(m.FileAt),
		})
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", license.Errorf(license.Internal, "the proof of delivery was not signed").WithCause(err)
	}
	if f := scan(payload, deliveryShape); f != nil {
		return "", formDelivery.unsignable(f)
	}
	return formDelivery.sign(payload, key, "")
}

// VerifyDelivery checks a proof of delivery: signed by a key of the set that was
// valid at its iat, issued by the set's issuer. It does not expire. The reasons
// are Forged and Damaged.
func VerifyDelivery(raw string, keys KeySet) (Delivery, error) {
	d, f := verifyDelivery(raw, keys)
	if f != nil {
		return Delivery{}, formDelivery.err(f)
	}
	return d, nil
}

func verifyDelivery(raw string, keys KeySet) (Delivery, *fault) {
	e, f := formDelivery.open(raw)
	if f != nil {
		return Delivery{}, f
	}
	key, f := keys.signer(e)
	if f != nil {
		return Delivery{}, f
	}
	d, f := decodeDelivery(e.payload)
	switch {
	case f != nil:
		return Delivery{}, f
	case d.Issuer != keys.Issuer:
		return Delivery{}, forgery("its issuer is not that of the key set")
	}
	d.KeyID, d.Raw = e.kid, raw
	return d, key.validAt(d.IssuedAt)
}

func decodeDelivery(payload []byte) (Delivery, *fault) {
	var c deliveryClaims
	if f := decode(payload, deliveryShape, &c); f != nil {
		return Delivery{}, f
	}
	b := c.Delivery
	if b.Version != DeliveryVersion {
		return Delivery{}, malformed("delivery.ver", "is of a version that is not known")
	}
	d := Delivery{
		Issuer: c.Issuer, ID: c.ID, IssuedAt: time.Unix(c.IssuedAt, 0).UTC(), LicenseID: c.Subject, Product: c.Audience,
		Customer: b.Customer, Channel: b.Channel, Order: b.Order, Line: b.Line, Instance: b.Instance, CodeLast4: b.CodeLast4,
		OrderedAt: orNever(b.OrderedAt), LicensedAt: orNever(b.LicensedAt), ActivatedAt: orNever(b.ActivatedAt),
		DeliveredAt: orNever(b.DeliveredAt), ExpiresAt: orNever(b.ExpiresAt), MachineCount: b.MachineCount,
	}
	for _, m := range b.Machines {
		to := DeliveredTo{Install: m.Install, At: time.Unix(m.BoundAt, 0).UTC(), Device: m.Device, FileAt: orNever(m.FileAt)}
		if m.File != "" {
			file, err := hex.DecodeString(m.File)
			if err != nil || hex.EncodeToString(file) != m.File {
				return Delivery{}, malformed("delivery.machines.file_sha256", "is not a SHA-256 in lower-case hex")
			}
			to.File = file
		}
		d.Machines = append(d.Machines, to)
	}
	return d, d.check()
}

// seconds is 0 for a time that is not known.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func orNever(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// check judges what a proof says, whoever made it.
func (d Delivery) check() *fault {
	for _, name := range []struct {
		member, text string
		limit        int
	}{{"iss", d.Issuer, maxIssuer}, {"sub", d.LicenseID, maxName}, {"aud", d.Product, maxName}} {
		if f := checkName(name.member, name.text, name.limit); f != nil {
			return f
		}
	}
	if f := checkID("jti", d.ID); f != nil {
		return f
	}
	stamps := []stamp{{"iat", d.IssuedAt}}
	for _, s := range []stamp{
		{"delivery.ordered_at", d.OrderedAt},
		{"delivery.licensed_at", d.LicensedAt},
		{"delivery.activated_at", d.ActivatedAt},
		{"delivery.delivered_at", d.DeliveredAt},
		{"delivery.expires_at", d.ExpiresAt},
	} {
		if !s.at.IsZero() {
			stamps = append(stamps, s)
		}
	}
	if len(d.Machines) > MaxDelivered || d.MachineCount < len(d.Machines) {
		return malformed("delivery.machines", "has more elements than there are machines, or than it may")
	}
	for _, m := range d.Machines {
		if f := checkName("delivery.machines.install", m.Install, maxName); f != nil {
			return f
		}
		switch {
		case m.Device != "" && !m.Device.Valid():
			return malformed("delivery.machines.device", "is not a digest")
		case len(m.File) != 0 && len(m.File) != 32:
			return malformed("delivery.machines.file_sha256", "is not a SHA-256 in lower-case hex")
		}
		stamps = append(stamps, stamp{"delivery.machines.bound_at", m.At})
		if !m.FileAt.IsZero() {
			stamps = append(stamps, stamp{"delivery.machines.file_at", m.FileAt})
		}
	}
	return checkInstants(stamps...)
}

// DeliveryFile is a proof of delivery with the key set that verifies it: tokens,
// not verified.
type DeliveryFile struct {
	Delivery string
	Keys     string
}

// deliveryDocument is its JSON form. Claims is what is signed, for people to read.
type deliveryDocument struct {
	Claims   json.RawMessage `json:"claims,omitempty"`
	Delivery string          `json:"delivery"`
	Keys     string          `json:"keys"`
}

var deliveryDocumentShape = &shape{want: kindObject, members: []field{
	{name: "claims", shape: &shape{want: kindObject}},
	{name: "delivery", required: true, shape: text},
	{name: "keys", required: true, shape: text},
}}

// MarshalJSON writes the file as a JSON document that shows what is signed
// beside it.
func (f DeliveryFile) MarshalJSON() ([]byte, error) {
	e, ft := formDelivery.open(f.Delivery)
	if ft != nil {
		return nil, formDelivery.err(ft)
	}
	return json.Marshal(deliveryDocument{Claims: e.payload, Delivery: f.Delivery, Keys: f.Keys})
}

// PEM writes the file as PEM blocks, which may stand in any text: a page, a mail.
func (f DeliveryFile) PEM() []byte {
	return slices.Concat(marshalBlock(blockDelivery, f.Delivery), marshalBlock(blockKeys, f.Keys))
}

// ParseDeliveryFile reads a proof of delivery in either form: a JSON document, or
// PEM blocks with any text around them. Where the document shows other claims
// than are signed it is Forged; what cannot be read is Damaged.
func ParseDeliveryFile(data []byte) (DeliveryFile, error) {
	damaged := func(why string) (DeliveryFile, error) {
		return DeliveryFile{}, license.Errorf(license.Damaged, "not a proof of delivery: %s", why)
	}
	if len(data) > MaxFile {
		return damaged("it is longer than 1 MiB")
	}
	if isJSON(data) {
		var doc deliveryDocument
		if f := decode(data, deliveryDocumentShape, &doc); f != nil {
			return damaged(f.String())
		}
		if len(doc.Claims) > 0 && !showsPayload(doc) {
			return DeliveryFile{}, formDelivery.err(forgery("the claims that it shows are not those that are signed"))
		}
		return DeliveryFile{Delivery: doc.Delivery, Keys: doc.Keys}, nil
	}
	blocks, wrong := parseBlocks(data)
	if wrong != "" {
		return damaged(wrong)
	}
	var f DeliveryFile
	for _, b := range blocks {
		switch {
		case b.label == blockDelivery && f.Delivery != "":
			return damaged("it holds several")
		case b.label == blockDelivery:
			f.Delivery = b.token
		case b.label == blockKeys:
			f.Keys = b.token
		}
	}
	if f.Delivery == "" {
		return damaged(`it holds no "-----BEGIN LICENSE DELIVERY-----" block`)
	}
	return f, nil
}

func isJSON(data []byte) bool {
	for _, c := range data {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return c == '{'
	}
	return false
}

// showsPayload reports whether a document shows what its token holds, however it
// is indented.
func showsPayload(doc deliveryDocument) bool {
	e, f := formDelivery.open(doc.Delivery)
	if f != nil {
		return true // which is said of the token itself
	}
	shown, f := decodeDelivery(doc.Claims)
	if f != nil {
		return false
	}
	signed, f := decodeDelivery(e.payload)
	return f == nil && shown.equal(signed)
}

// equal compares what two proofs say.
func (d Delivery) equal(o Delivery) bool {
	a, errA := json.Marshal(d)
	b, errB := json.Marshal(o)
	return errA == nil && errB == nil && string(a) == string(b)
}

// PeekDelivery reads what a proof of delivery says without judging its
// signature: for whoever made it.
func PeekDelivery(raw string) (Delivery, error) {
	e, f := formDelivery.open(raw)
	if f != nil {
		return Delivery{}, formDelivery.err(f)
	}
	d, f := decodeDelivery(e.payload)
	if f != nil {
		return Delivery{}, formDelivery.err(f)
	}
	d.KeyID, d.Raw = e.kid, raw
	return d, nil
}
