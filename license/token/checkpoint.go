package token

import (
	"encoding/json"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Checkpoint is the claims of a signed head of the audit log
// (audit-checkpoint+jwt): that the log had, at IssuedAt, the entry at Head.Seq,
// whose hash stands for it and all before it.
type Checkpoint struct {
	Issuer   string
	IssuedAt time.Time
	Head     license.AuditHead
	KeyID    string // kid that signed it; set by VerifyCheckpoint
	Raw      string // the token; set by VerifyCheckpoint
}

type checkpointClaims struct {
	Issuer   string `json:"iss"`
	IssuedAt int64  `json:"iat"`
	Seq      int64  `json:"seq"`
	Hash     string `json:"hash"`
}

var checkpointShape = &shape{want: kindObject, members: []field{
	{name: "iss", required: true, shape: text},
	{name: "iat", required: true, shape: instant},
	{name: "seq", required: true, shape: serial},
	{name: "hash", required: true, shape: text},
}}

// SignCheckpoint signs a head of the audit log. KeyID and Raw of c do not count.
func SignCheckpoint(c Checkpoint, key SigningKey) (string, error) {
	if f := c.check(); f != nil {
		return "", formCheckpoint.unsignable(f)
	}
	payload, err := json.Marshal(checkpointClaims{
		Issuer: c.Issuer, IssuedAt: c.IssuedAt.Unix(), Seq: c.Head.Seq, Hash: c.Head.HashText(),
	})
	if err != nil {
		return "", license.Errorf(license.Internal, "the checkpoint was not signed").WithCause(err)
	}
	return formCheckpoint.sign(payload, key, "")
}

// VerifyCheckpoint checks a checkpoint: signed by a key of the set that was valid
// at its iat, and issued by the set's issuer. Whether the log is the one that it
// is about is not judged. The reasons are Forged and Damaged.
func VerifyCheckpoint(raw string, keys KeySet) (Checkpoint, error) {
	c, f := verifyCheckpoint(raw, keys)
	if f != nil {
		return Checkpoint{}, formCheckpoint.err(f)
	}
	return c, nil
}

// PeekCheckpoint reads a checkpoint without checking who signed it: for a log that
// is trusted. The reasons are Forged, for another form, and Damaged.
func PeekCheckpoint(raw string) (Checkpoint, error) {
	e, f := formCheckpoint.open(raw)
	var c Checkpoint
	if f == nil {
		c, f = decodeCheckpoint(e)
	}
	if f != nil {
		return Checkpoint{}, formCheckpoint.err(f)
	}
	return c, nil
}

func verifyCheckpoint(raw string, keys KeySet) (Checkpoint, *fault) {
	e, f := formCheckpoint.open(raw)
	if f != nil {
		return Checkpoint{}, f
	}
	key, f := keys.signer(e)
	if f != nil {
		return Checkpoint{}, f
	}
	c, f := decodeCheckpoint(e)
	if f != nil {
		return Checkpoint{}, f
	}
	if c.Issuer != keys.Issuer {
		return Checkpoint{}, forgery("its issuer is not that of the key set")
	}
	c.Raw = raw
	return c, key.validAt(c.IssuedAt)
}

func decodeCheckpoint(e envelope) (Checkpoint, *fault) {
	var claims checkpointClaims
	if f := decode(e.payload, checkpointShape, &claims); f != nil {
		return Checkpoint{}, f
	}
	c := Checkpoint{Issuer: claims.Issuer, IssuedAt: time.Unix(claims.IssuedAt, 0).UTC(), KeyID: e.kid}
	sum, err := b64.DecodeString(claims.Hash)
	if err != nil || copy(c.Head.Hash[:], sum) != len(c.Head.Hash) || len(sum) != len(c.Head.Hash) {
		return Checkpoint{}, malformed("hash", "is not a SHA-256 in base64url")
	}
	c.Head.Seq = claims.Seq
	return c, c.check()
}

// check judges what a checkpoint says, whoever made it.
func (c Checkpoint) check() *fault {
	f := checkName("iss", c.Issuer, maxIssuer)
	if f == nil {
		f = checkInstants(stamp{"iat", c.IssuedAt})
	}
	if f == nil && (c.Head.Seq < 1 || c.Head.Seq > maxSafe) {
		f = malformed("seq", "is no position of an entry")
	}
	return f
}
