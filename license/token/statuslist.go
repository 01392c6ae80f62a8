package token

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"io"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Statuses are the statuses of a list, two bits each, the first in the lowest
// bits of the first byte (IETF Token Status List, "Compressed Byte Array").
type Statuses []byte

// statusBits is how many bits a status has, statusesPerByte what follows.
const (
	statusBits      = 2
	statusesPerByte = 8 / statusBits
)

// maxStatuses is the most bytes of statuses that are read, which is 4,194,304
// installs: a list that inflates to more is damaged.
const maxStatuses = 1 << 20

// NewStatuses returns n statuses, all valid.
func NewStatuses(n int) Statuses { return make(Statuses, (n+statusesPerByte-1)/statusesPerByte) }

// Len is how many statuses there are: a multiple of four.
func (s Statuses) Len() int { return len(s) * statusesPerByte }

// Set sets the status at index, which must be below Len.
func (s Statuses) Set(index int, status license.ListStatus) {
	shift := index % statusesPerByte * statusBits
	b := &s[index/statusesPerByte]
	*b = *b&^(3<<shift) | byte(status&3)<<shift
}

// At returns the status at index, or ok false beyond the end, where the list
// says nothing.
func (s Statuses) At(index int) (status license.ListStatus, ok bool) {
	if index < 0 || index >= s.Len() {
		return 0, false
	}
	return license.ListStatus(s[index/statusesPerByte] >> (index % statusesPerByte * statusBits) & 3), true
}

// bestUpTo is up to how many bytes a list with few marks is compressed at the
// best level. It wins 3 % for three times the time, 17 ms for a list of
// license.StatusListLength; a longer one is to be made in its 100 ms too.
const bestUpTo = license.StatusListLength / statusesPerByte

// sparseLevel is the level at which a list with few marks is compressed.
func (s Statuses) sparseLevel() int {
	if len(s) <= bestUpTo {
		return zlib.BestCompression
	}
	return zlib.BestCompression - 1
}

// Compress returns the statuses as they stand in a list: base64url without
// padding of their zlib form (RFC 1950). The same statuses give the same text.
//
// A list with few marks is mostly repetition. One in which every twentieth
// place or more is marked is mostly noise, and a search for repetitions hides
// from the Huffman code how unequal its bytes are; so the shorter of both counts.
func (s Statuses) Compress() string {
	var shortest []byte
	for _, level := range []int{zlib.HuffmanOnly, s.sparseLevel()} {
		var buf bytes.Buffer
		w, _ := zlib.NewWriterLevel(&buf, level) // the level is one
		_, _ = w.Write(s)                        // a Buffer takes everything
		_ = w.Close()
		if shortest == nil || buf.Len() < len(shortest) {
			shortest = buf.Bytes()
		}
	}
	return b64.EncodeToString(shortest)
}

// inflate reads what Compress wrote, and no more than maxStatuses.
func inflate(list string) (Statuses, *fault) {
	const member = "status_list.lst"
	packed, err := b64.DecodeString(list)
	if err != nil {
		return nil, malformed(member, "is not base64url")
	}
	src := bytes.NewReader(packed)
	r, err := zlib.NewReader(src)
	if err != nil {
		return nil, malformed(member, "is not in zlib form")
	}
	out, err := io.ReadAll(io.LimitReader(r, maxStatuses+1))
	switch {
	case len(out) > maxStatuses:
		return nil, malformed(member, "inflates to more than 1 MiB")
	case err != nil:
		return nil, malformed(member, "is not whole")
	case src.Len() > 0:
		return nil, malformed(member, "has something after its end")
	case len(out) == 0:
		return nil, malformed(member, "is empty")
	}
	return out, nil
}

// StatusList is a list that says which installs are revoked or suspended
// (DESIGN: statuslist+jwt; IETF Token Status List).
type StatusList struct {
	Issuer    string
	URI       string // sub: where the list is published
	IssuedAt  time.Time
	ExpiresAt time.Time     // from then on it proves no freshness
	TTL       time.Duration // how long a copy may be used before a newer one is looked for
	List      string        // lst: Statuses.Compress of what it says

	KeyID string // kid that signed it; set by VerifyStatusList
	Raw   string // the token; set by VerifyStatusList

	statuses Statuses // inflated; set by VerifyStatusList
}

// At returns what a verified list says of an index, or ok false where it says
// nothing: beyond its end. It inflates nothing and allocates nothing.
func (l StatusList) At(index int) (status license.ListStatus, ok bool) { return l.statuses.At(index) }

// Len is how many installs a verified list speaks of.
func (l StatusList) Len() int { return l.statuses.Len() }

type statusListClaims struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"`
	IssuedAt  int64            `json:"iat"`
	ExpiresAt int64            `json:"exp"`
	TTL       int64            `json:"ttl"`
	List      statusListMember `json:"status_list"`
}

type statusListMember struct {
	Bits int    `json:"bits"`
	List string `json:"lst"`
}

// SignStatusList signs a list. Instants and TTL are cut to whole seconds. The
// same list and key give the same bytes. What VerifyStatusList would refuse is
// Internal, and so is a list that would be longer than MaxToken.
func SignStatusList(l StatusList, key SigningKey) (string, error) {
	if f := l.check(); f != nil {
		return "", formStatusList.unsignable(f)
	}
	if _, f := inflate(l.List); f != nil {
		return "", formStatusList.unsignable(f)
	}
	payload, err := json.Marshal(statusListClaims{
		Issuer: l.Issuer, Subject: l.URI, IssuedAt: l.IssuedAt.Unix(), ExpiresAt: l.ExpiresAt.Unix(),
		TTL: int64(l.TTL / time.Second), List: statusListMember{Bits: statusBits, List: l.List},
	})
	if err != nil {
		return "", license.Errorf(license.Internal, "the status list was not signed").WithCause(err)
	}
	return formStatusList.sign(payload, key, "")
}

// ExpectStatusList is what a verifier wants a list to be. What is "" is not
// compared.
type ExpectStatusList struct {
	Issuer string // iss, beyond being the key set's
	URI    string // sub: the address that the licence names
}

// VerifyStatusList checks a status list: signed by a key of the set that was
// valid at its iat, issued by the set's issuer, whole, and inflated within a
// limit. exp is not judged: an expired list still proves what it says, and
// only no longer that nothing was added since.
//
// The reasons are Forged, also for a list of another address, and Damaged.
func VerifyStatusList(raw string, keys KeySet, want ExpectStatusList) (StatusList, error) {
	l, f := verifyStatusList(raw, keys)
	switch {
	case f != nil:
	case want.Issuer != "" && l.Issuer != want.Issuer:
		f = forgery("its issuer is not the expected one")
	case want.URI != "" && l.URI != want.URI:
		f = forgery("it is the list of another address")
	}
	if f != nil {
		return StatusList{}, formStatusList.err(f)
	}
	return l, nil
}

func verifyStatusList(raw string, keys KeySet) (StatusList, *fault) {
	e, f := formStatusList.open(raw)
	if f != nil {
		return StatusList{}, f
	}
	key, f := keys.signer(e)
	if f != nil {
		return StatusList{}, f
	}
	var c statusListClaims
	if f := decode(e.payload, statusListShape, &c); f != nil {
		return StatusList{}, f
	}
	l := StatusList{
		Issuer: c.Issuer, URI: c.Subject, IssuedAt: time.Unix(c.IssuedAt, 0).UTC(), ExpiresAt: time.Unix(c.ExpiresAt, 0).UTC(),
		TTL: time.Duration(min(c.TTL, int64(maxAge/time.Second))) * time.Second, List: c.List.List, KeyID: e.kid, Raw: raw,
	}
	if f := l.check(); f != nil {
		return StatusList{}, f
	}
	switch {
	case c.List.Bits != statusBits:
		return StatusList{}, malformed("status_list.bits", "is not 2")
	case l.Issuer != keys.Issuer:
		return StatusList{}, forgery("its issuer is not that of the key set")
	}
	if f := key.validAt(l.IssuedAt); f != nil {
		return StatusList{}, f
	}
	if l.statuses, f = inflate(c.List.List); f != nil {
		return StatusList{}, f
	}
	return l, nil
}

// check judges what a list says, whoever made it.
func (l StatusList) check() *fault {
	f := checkName("iss", l.Issuer, maxIssuer)
	if f == nil {
		f = checkName("sub", l.URI, maxURI)
	}
	if f == nil {
		f = checkInstants(stamp{"iat", l.IssuedAt}, stamp{"exp", l.ExpiresAt})
	}
	switch {
	case f != nil:
		return f
	case l.ExpiresAt.Unix() <= l.IssuedAt.Unix():
		return malformed("exp", "is not after iat")
	case l.TTL < time.Second:
		return malformed("ttl", "is not positive")
	}
	return nil
}

// String names the list without the token.
func (l StatusList) String() string { return "token.StatusList(" + l.URI + ")" }
