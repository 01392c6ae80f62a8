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
// Import each answer before this install asks for anything else. A file that is
// handed in after the install has called the server, and whose answer is never
// imported, leaves the server with a licence that this install never saw: when
// it calls next, it looks like a copy of an install, and the merchant's policy
// for copies applies.
//
// A request to deactivate gives the licence up at once: from then on this
// install has none, and the file is the receipt with which the seat is freed.
// Asking for it again returns the same receipt. Its answer need not be
// imported; Import takes it all the same, and says whether it is one.
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
	if err := g.look(ctx); err != nil {
		return nil, err
	}
	var request string
	err = g.update(func(m *memory) error {
		if op == OpDeactivate && m.License == "" && m.Receipt != "" {
			request = m.Receipt
			return nil
		}
		d, err := g.draft(*m, w)
		if err != nil {
			return err
		}
		at := m.Carried.of(op)
		if op == OpDeactivate {
			*at = m.Sent.Deactivation // the server may have it already
		}
		if !d.askedBy(*at) || !d.sameMachine(*at) {
			if *at, err = g.signed(*m, d); err != nil {
				return err
			}
		}
		request = (*at).Request
		if op == OpDeactivate {
			m.stayAway()
			m.giveUp(request, false)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return token.MarshalRequestFile(request), nil
}

// wish is what is asked for.
type wish struct {
	op   Op
	code license.Code
	from string

	leaves bool // a floating seat is given back, to be taken again
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

// draft is a request that was not signed yet.
type draft struct {
	request          token.Request
	subject, machine []byte
}

// draft makes a request of a wish.
func (g *Guard) draft(m memory, w wish) (draft, error) {
	d := draft{request: token.Request{
		Op: w.op, Product: g.opts.Product, Code: w.code, From: w.from,
		Fingerprint: g.view.Load().machine.Digests(g.opts.Product),
	}}
	r := &d.request
	if byNewKey(w.op) {
		r.Instance = g.opts.Instance
	} else {
		if m.License == "" {
			return draft{}, license.Errorf(license.NoLicense, "there is no licence yet; activate one first")
		}
		if !m.refreshable() {
			return draft{}, license.FieldErrorf("op", "this licence was made without an install key; a new one comes as a file from the merchant")
		}
		r.License, r.Prev = m.License, m.Prev
	}
	var err error
	if d.subject, err = digestOf(struct {
		Op                        Op
		Code, From, License, Prev string
		Instance                  string `json:",omitempty"`
	}{r.Op, r.Code.Reveal(), r.From, r.License, r.Prev, r.Instance}); err != nil {
		return draft{}, err
	}
	if w.op == OpDeactivate {
		return d, nil // a machine that changed is left all the same
	}
	d.machine, err = digestOf(struct {
		Components license.Components
		Code       license.Digest
	}{r.Fingerprint.Components, r.Fingerprint.Code})
	return d, err
}

// askedBy reports whether a request asks for just the same, on whatever machine.
// The end of an install is the same, whichever licence it holds by now.
func (d draft) askedBy(p *pending) bool {
	return p != nil && p.Op == d.request.Op && (p.Op == OpDeactivate || hmac.Equal(p.Subject, d.subject))
}

func (d draft) sameMachine(p *pending) bool { return hmac.Equal(p.Machine, d.machine) }

// signed makes a draft a request, with a new key where the op wants one.
func (g *Guard) signed(m memory, d draft) (*pending, error) {
	r := d.request
	p := &pending{
		Op: r.Op, ID: rand.Text(), Subject: d.subject, Machine: d.machine, MadeAt: g.opts.Now().Unix(),
		Proven: m.Floor,
	}
	seed := m.Key
	if byNewKey(r.Op) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, fmt.Errorf("make an install key: %w", err)
		}
		p.Key = key.Seed()
		seed = p.Key
	}
	key, err := token.NewSigningKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	p.Install = key.ID
	r.ID, r.IssuedAt = p.ID, writable(g.opts.Now())
	if p.Request, err = token.SignRequest(r, key); err != nil {
		return nil, err
	}
	g.made = made{id: p.ID, at: g.ran(), shown: g.opts.Now()}
	return p, nil
}

// writable is an instant that can be written down. A clock that shows another
// is wrong beyond measure, and who has it needs an answer all the more.
func writable(t time.Time) time.Time {
	if t.Unix() < 0 {
		return time.Unix(0, 0)
	}
	return earliest(t, license.Forever)
}

func digestOf(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	sum := sha256.Sum256(data)
	return sum[:], nil
}
