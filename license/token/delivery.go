package token

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

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
	// DeliveredAt is when the staff, or the marketplace's interface, delivered it
	// last; zero unless the order stands as delivered or is past that.
	DeliveredAt time.Time
	ExpiresAt   time.Time

	// Text is the SHA-256 of the text with a licence that the purchase was answered
	// with (licence 1.0), and TextAt when; zero where there was none. It was made
	// for no machine.
	Text   []byte
	TextAt time.Time
	// TextBefore are those that it was answered with before, newest first.
	TextBefore []HandedOut

	// Machines are those that it was delivered to, the last MaxDelivered of them,
	// and MachineCount how many there were.
	Machines     []DeliveredTo
	MachineCount int

	// History are the deliveries and the buyer's rejections of the order, oldest
	// first, the last MaxSupervised of them; Rejections is how many there were of
	// those.
	History    []Supervised
	Rejections int

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
	// Earlier are the files that were handed out before that one, newest first, as
	// far back as they are known.
	Earlier []HandedOut
}

// HasText reports whether the purchase was answered with a text of that SHA-256.
func (d Delivery) HasText(sum []byte) bool {
	return DeliveredTo{File: d.Text, Earlier: d.TextBefore}.Has(sum)
}

// HandedOut is a licence file that was handed out.
type HandedOut struct {
	File []byte // SHA-256
	At   time.Time
}

// Has reports whether a file with that SHA-256 was handed out, now or earlier.
func (m DeliveredTo) Has(file []byte) bool {
	return len(file) > 0 && (bytes.Equal(m.File, file) || slices.ContainsFunc(m.Earlier, func(h HandedOut) bool { return bytes.Equal(h.File, file) }))
}

// Supervised is a delivery of an order, or its rejection by the buyer.
type Supervised struct {
	At        time.Time
	EnteredAt time.Time     // when the staff entered it, where that was later; zero else
	Stage     license.Stage // StageDelivered or StageRejected
	Note      string        // why, no longer than CutNote makes it
}

// CutNote is as much of a note as a proof holds.
func CutNote(note string) string {
	const most = 300 // bytes, in JSON
	n := 0
	for i, r := range note {
		size := utf8.RuneLen(r)
		if r < ' ' || strings.ContainsRune(`<>&"\\`+"\u2028\u2029", r) || size < 0 {
			size = 6
		}
		if n += size; n > most {
			return note[:i]
		}
	}
	return note
}

// What a proof of delivery names at most, so that it stays a token.
const (
	MaxDelivered  = 64 // machines
	MaxEarlier    = 32 // earlier files, of all machines together
	MaxSupervised = 16 // deliveries and rejections
)

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
	Text         string              `json:"text_sha256,omitempty"`
	TextAt       int64               `json:"text_at,omitempty"`
	TextBefore   []fileClaims        `json:"text_before,omitempty"`
	Machines     []deliveredToClaims `json:"machines,omitempty"`
	MachineCount int                 `json:"machine_count"`
	History      []supervisedClaims  `json:"history,omitempty"`
	Rejections   int                 `json:"rejections,omitempty"`
}

type deliveredToClaims struct {
	Install string         `json:"install"`
	BoundAt int64          `json:"bound_at"`
	Device  license.Digest `json:"device,omitempty"`
	File    string         `json:"file_sha256,omitempty"`
	FileAt  int64          `json:"file_at,omitempty"`
	Earlier []fileClaims   `json:"earlier,omitempty"`
}

type fileClaims struct {
	File   string `json:"file_sha256"`
	FileAt int64  `json:"file_at"`
}

type supervisedClaims struct {
	At        int64         `json:"at"`
	EnteredAt int64         `json:"entered_at,omitempty"`
	Stage     license.Stage `json:"stage"`
	Note      string        `json:"note,omitempty"`
}

var filesShape = &shape{want: kindArray, limit: MaxEarlier, elem: &shape{want: kindObject, members: []field{
	{name: "file_sha256", required: true, shape: text},
	{name: "file_at", required: true, shape: instant},
}}}

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
		{name: "text_sha256", shape: text},
		{name: "text_at", shape: instant},
		{name: "text_before", shape: filesShape},
		{name: "machine_count", required: true, shape: count},
		{name: "machines", shape: &shape{want: kindArray, limit: MaxDelivered, elem: &shape{want: kindObject, members: []field{
			{name: "install", required: true, shape: text},
			{name: "bound_at", required: true, shape: instant},
			{name: "device", shape: text},
			{name: "file_sha256", shape: text},
			{name: "file_at", shape: instant},
			{name: "earlier", shape: filesShape},
		}}}},
		{name: "history", shape: &shape{want: kindArray, limit: MaxSupervised, elem: &shape{want: kindObject, members: []field{
			{name: "at", required: true, shape: instant},
			{name: "entered_at", shape: instant},
			{name: "stage", required: true, shape: text},
			{name: "note", shape: text},
		}}}},
		{name: "rejections", shape: count},
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
			Rejections: d.Rejections, Text: hex.EncodeToString(d.Text), TextAt: seconds(d.TextAt),
		},
	}
	c.Delivery.TextBefore = filesOf(d.TextBefore)
	for _, m := range d.Machines {
		to := deliveredToClaims{
			Install: m.Install, BoundAt: m.At.Unix(), Device: m.Device, File: hex.EncodeToString(m.File), FileAt: seconds(m.FileAt),
		}
		to.Earlier = filesOf(m.Earlier)
		c.Delivery.Machines = append(c.Delivery.Machines, to)
	}
	for _, h := range d.History {
		c.Delivery.History = append(c.Delivery.History, supervisedClaims{h.At.Unix(), seconds(h.EnteredAt), h.Stage, h.Note})
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
		DeliveredAt: orNever(b.DeliveredAt), ExpiresAt: orNever(b.ExpiresAt), TextAt: orNever(b.TextAt), MachineCount: b.MachineCount,
	}
	if b.Text != "" {
		var ok bool
		if d.Text, ok = fileSum(b.Text); !ok {
			return Delivery{}, malformed("delivery.text_sha256", notSum)
		}
	}
	if !readFiles(b.TextBefore, &d.TextBefore) {
		return Delivery{}, malformed("delivery.text_before.file_sha256", notSum)
	}
	for _, m := range b.Machines {
		to := DeliveredTo{Install: m.Install, At: time.Unix(m.BoundAt, 0).UTC(), Device: m.Device, FileAt: orNever(m.FileAt)}
		if m.File != "" {
			var ok bool
			if to.File, ok = fileSum(m.File); !ok {
				return Delivery{}, malformed("delivery.machines.file_sha256", notSum)
			}
		}
		if !readFiles(m.Earlier, &to.Earlier) {
			return Delivery{}, malformed("delivery.machines.earlier.file_sha256", notSum)
		}
		d.Machines = append(d.Machines, to)
	}
	d.Rejections = b.Rejections
	for _, h := range b.History {
		d.History = append(d.History, Supervised{time.Unix(h.At, 0).UTC(), orNever(h.EnteredAt), h.Stage, h.Note})
	}
	return d, d.check()
}

const notSum = "is not a SHA-256 in lower-case hex"

// fileSum reads the form of a SHA-256; check judges its length.
func fileSum(s string) ([]byte, bool) {
	sum, err := hex.DecodeString(s)
	return sum, err == nil && hex.EncodeToString(sum) == s
}

func filesOf(files []HandedOut) (out []fileClaims) {
	for _, h := range files {
		out = append(out, fileClaims{hex.EncodeToString(h.File), h.At.Unix()})
	}
	return out
}

func readFiles(files []fileClaims, to *[]HandedOut) bool {
	for _, h := range files {
		file, ok := fileSum(h.File)
		if !ok {
			return false
		}
		*to = append(*to, HandedOut{file, time.Unix(h.FileAt, 0).UTC()})
	}
	return true
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
		{"delivery.text_at", d.TextAt},
	} {
		if !s.at.IsZero() {
			stamps = append(stamps, s)
		}
	}
	if len(d.Text) != 0 && len(d.Text) != 32 {
		return malformed("delivery.text_sha256", notSum)
	}
	for _, h := range d.TextBefore {
		if len(h.File) != 32 {
			return malformed("delivery.text_before.file_sha256", notSum)
		}
		stamps = append(stamps, stamp{"delivery.text_before.file_at", h.At})
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
			return malformed("delivery.machines.file_sha256", notSum)
		}
		stamps = append(stamps, stamp{"delivery.machines.bound_at", m.At})
		if !m.FileAt.IsZero() {
			stamps = append(stamps, stamp{"delivery.machines.file_at", m.FileAt})
		}
		for _, h := range m.Earlier {
			if len(h.File) != 32 {
				return malformed("delivery.machines.earlier.file_sha256", notSum)
			}
			stamps = append(stamps, stamp{"delivery.machines.earlier.file_at", h.At})
		}
	}
	if len(d.History) > MaxSupervised || d.Rejections < 0 {
		return malformed("delivery.history", "has more elements than it may")
	}
	for _, h := range d.History {
		if h.Stage != license.StageDelivered && h.Stage != license.StageRejected {
			return malformed("delivery.history.stage", "is neither a delivery nor a rejection")
		}
		stamps = append(stamps, stamp{"delivery.history.at", h.At})
		if !h.EnteredAt.IsZero() {
			stamps = append(stamps, stamp{"delivery.history.entered_at", h.EnteredAt})
		}
	}
	return checkInstants(stamps...)
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
