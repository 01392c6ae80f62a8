package client

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Op is what a request asks for.
type Op = token.Op

// The operations of a request.
const (
	OpActivate   = token.OpActivate
	OpRefresh    = token.OpRefresh
	OpTransfer   = token.OpTransfer
	OpDeactivate = token.OpDeactivate
)

// RequestOptions are what a request may carry.
type RequestOptions struct {
	// Code is the authorization code, for OpActivate and OpTransfer. Without it,
	// whoever hands the request in gives the code beside it.
	Code string
	// From is the install whose seat is to be freed, for OpTransfer; "" leaves the
	// choice to the merchant's policy.
	From string
}

// Request returns a request file, to be carried to the licence server where
// this machine cannot reach it; Import takes the answer. Asked again for the
// same, it returns the same bytes until they were answered.
//
// A request to deactivate gives the licence up at once: from then on this
// install has none, and the file is the receipt with which the seat is freed.
// Asking for it again returns the same receipt.
func (g *Guard) Request(ctx context.Context, op Op, o RequestOptions) ([]byte, error) {
	w, err := newWish(op, o)
	if err != nil {
		return nil, err
	}
	ctx, done, err := g.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if op == OpDeactivate && g.memory.License == "" && g.memory.Receipt != "" {
		return token.MarshalRequestFile(g.memory.Receipt), nil
	}
	if err := g.look(ctx); err != nil {
		return nil, err
	}
	p, repeated, err := g.prepare(w, g.memory.Carried)
	if err != nil {
		return nil, err
	}
	next := g.memory
	next.Carried = p
	if op == OpDeactivate {
		next, repeated = g.memory.giveUp(p.Request), false
	}
	if !repeated {
		if err := g.store(next); err != nil {
			return nil, err
		}
	}
	return token.MarshalRequestFile(p.Request), nil
}

// wish is what is asked for.
type wish struct {
	op   Op
	code license.Code
	from string
}

func newWish(op Op, o RequestOptions) (wish, error) {
	w := wish{op: op, from: o.From}
	switch op {
	case OpActivate, OpTransfer:
	case OpRefresh, OpDeactivate:
		if o.Code != "" {
			return wish{}, license.FieldErrorf("code", "a code does not belong to this request")
		}
	default:
		return wish{}, license.FieldErrorf("op", "a request is to activate, refresh, transfer or deactivate")
	}
	if o.From != "" && op != OpTransfer {
		return wish{}, license.FieldErrorf("from", "only a transfer names an install")
	}
	if o.Code != "" {
		code, err := license.ParseCode(o.Code)
		if err != nil {
			return wish{}, err
		}
		w.code = code
	}
	return w, nil
}

// byNewKey reports whether the op is signed by a key made for it.
func byNewKey(op Op) bool { return op == OpActivate || op == OpTransfer }

// prepare returns the request for a wish: the one that waits for its answer
// already, where it asks for just the same, or a new one.
func (g *Guard) prepare(w wish, waiting *pending) (_ *pending, repeated bool, err error) {
	m := g.memory
	r := token.Request{
		Op: w.op, Product: g.opts.Product, Code: w.code, From: w.from,
		Fingerprint: g.view.Load().machine.Digests(g.opts.Product),
	}
	if !byNewKey(w.op) {
		if m.License == "" {
			return nil, false, license.Errorf(license.NoLicense, "there is no licence yet; activate one first")
		}
		if len(m.Key) == 0 {
			return nil, false, license.FieldErrorf("op", "this licence was made without an install key; a new one comes as a file from the merchant")
		}
		r.License, r.Prev = m.License, m.Prev
	}
	subject, err := subjectOf(r)
	if err != nil {
		return nil, false, err
	}
	if waiting != nil && waiting.Op == w.op && hmac.Equal(waiting.Subject, subject) {
		return waiting, true, nil
	}
	p := &pending{Op: w.op, ID: rand.Text(), Subject: subject, MadeAt: g.opts.Now().Unix()}
	if byNewKey(w.op) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, false, fmt.Errorf("make an install key: %w", err)
		}
		p.Key = key.Seed()
	}
	key, err := token.NewSigningKey(ed25519.NewKeyFromSeed(m.signer(p)))
	if err != nil {
		return nil, false, fmt.Errorf("sign the request: %w", err)
	}
	r.ID, r.IssuedAt = p.ID, writable(g.opts.Now())
	if p.Request, err = token.SignRequest(r, key); err != nil {
		return nil, false, err
	}
	return p, false, nil
}

// writable is an instant that can be written down. A clock that shows another
// is wrong beyond measure, and who has it needs an answer all the more.
func writable(t time.Time) time.Time {
	if t.Unix() < 0 {
		return time.Unix(0, 0)
	}
	return earliest(t, license.Forever)
}

// subjectOf digests what a request asks for. A machine that changed meanwhile
// is another subject, except to leave it.
func subjectOf(r token.Request) ([]byte, error) {
	about := struct {
		Op                        Op
		Code, From, License, Prev string
		Components                license.Components
		MachineCode               license.Digest
	}{Op: r.Op, Code: r.Code.Reveal(), From: r.From, License: r.License, Prev: r.Prev}
	if r.Op != OpDeactivate {
		about.Components, about.MachineCode = r.Fingerprint.Components, r.Fingerprint.Code
	}
	data, err := json.Marshal(about)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	sum := sha256.Sum256(data)
	return sum[:], nil
}
