package client

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// memoryFormat is the version of the form in which memory is kept. History: 1,
// the first. A newer form has a check of its own: one that fits as that of an
// older form says that the number was damaged.
const memoryFormat = 1

// memory is everything that an install must not forget. It is one value in one
// file on purpose: who deletes it to forget a floor or a newer licence deletes
// the key with it, and the licence is worth nothing without.
type memory struct {
	Product string `json:"product"`
	// Key is the seed of the live install key, absent until something was activated.
	Key []byte `json:"key,omitempty"`
	// Install is the install that Key is of. The first derivation of it in a process
	// takes longer than all else that Open does, so Open believes it, and the
	// background looks at once.
	Install string `json:"install,omitempty"`
	provenTime
	// Keys is the newest key set seen.
	Keys string `json:"keys,omitempty"`
	// License is the newest licence held; IssuedAt and Prev are its iat and jti.
	// IssuedAt stays when the licence is given up. An answer lowers it where it is
	// doubted.
	License  string `json:"license,omitempty"`
	IssuedAt int64  `json:"issued_at,omitempty"`
	Prev     string `json:"prev,omitempty"`
	// StatusList is the newest status list seen of the address that the licence names.
	StatusList string `json:"status_list,omitempty"`
	// Sent is what was sent and waits for its answer, Carried what went out as a
	// file: the answer to one must not cost the other.
	Sent    requests `json:"sent,omitzero"`
	Carried requests `json:"carried,omitzero"`
	// Receipt is the signed deactivation with which the licence was given up. Left:
	// it was a floating seat, which is to be taken again at the next start.
	Receipt string `json:"receipt,omitempty"`
	Left    bool   `json:"left,omitempty"`
	// Code is the authorization code of a floating licence, and of no other.
	Code string `json:"code,omitempty"`
}

// requests wait for their answers: one by a new key and two by the live one.
// None takes the place of another. The server may have ended the install by a
// deactivation whose answer was lost: only the same bytes end it here, so they
// are kept until then, or until the install holds a licence by another key.
type requests struct {
	Activation   *pending `json:"activation,omitempty"` // or transfer
	Refresh      *pending `json:"refresh,omitempty"`
	Deactivation *pending `json:"deactivation,omitempty"`
}

// of returns the place of a request by its op.
func (r *requests) of(op token.Op) **pending {
	switch {
	case byNewKey(op):
		return &r.Activation
	case op == OpDeactivate:
		return &r.Deactivation
	}
	return &r.Refresh
}

// drop forgets a request, where it still waits.
func (r *requests) drop(p *pending) {
	if at := r.of(p.Op); *at != nil && (*at).ID == p.ID {
		*at = nil
	}
}

// refused marks a request that was refused and is kept all the same.
func (r *requests) refused(p *pending) {
	if r.waits(p) {
		at := r.of(p.Op)
		*at = (*at).marked(true)
	}
}

// spend keeps the answers to the requests that wait from lowering the floor.
func (r *requests) spend() {
	for _, at := range []**pending{&r.Activation, &r.Refresh, &r.Deactivation} {
		if *at != nil && (*at).Proven != 0 {
			c := **at
			c.Proven = 0
			*at = &c
		}
	}
}

func (r *requests) waits(p *pending) bool {
	at := *r.of(p.Op)
	return at != nil && at.ID == p.ID
}

func (r *requests) whole() bool {
	return r.Activation.whole() && r.Refresh.whole() && r.Deactivation.whole()
}

// pending is a request that was made and not answered yet. The same bytes are
// sent until they are.
type pending struct {
	Op      token.Op `json:"op"`
	ID      string   `json:"id"`
	Request string   `json:"request"`
	// Install is the install whose key signed it.
	Install string `json:"install"`
	// Subject is a digest of what was asked for, Machine of the machine that it
	// was asked for on: another wish is another request.
	Subject []byte `json:"subject"`
	Machine []byte `json:"machine,omitempty"`
	MadeAt  int64  `json:"made_at"`
	// Proven is what counted as proven when it was made: an answer that is dated
	// before it proves that wrong. 0: its answer, or one to another request that
	// waited then, has come, and no other lowers anything.
	Proven int64 `json:"proven,omitempty"`
	// Anew: it took the place of one that was repeated in vain.
	Anew bool `json:"anew,omitempty"`
	// Refused: the server said no to a deactivation, which nothing proves. It is
	// sent again where it is wished for again, and not by a call home.
	Refused bool `json:"refused,omitempty"`
	// Leaves: a floating seat is given back by it, and no licence given up for good.
	Leaves bool `json:"leaves,omitempty"`
	// Key is the seed of the new key that signed it, where the op wants one.
	Key []byte `json:"key,omitempty"`
}

// marked returns a copy with another Refused.
func (p *pending) marked(refused bool) *pending {
	c := *p
	c.Refused = refused
	return &c
}

// String hides what is secret from logs.
func (memory) String() string { return "client.memory{…}" }

// GoString hides what is secret from %#v.
func (memory) GoString() string { return "client.memory{…}" }

// LogValue hides what is secret from slog.
func (memory) LogValue() slog.Value { return slog.StringValue("client.memory{…}") }

type memoryFile struct {
	Format int             `json:"format"`
	Check  []byte          `json:"check"` // of Memory, keyed by the install key
	Memory json.RawMessage `json:"memory"`
}

func (m memory) encode() ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write the install's memory: %w", err)
	}
	data, err := json.Marshal(memoryFile{Format: memoryFormat, Check: m.check(body), Memory: body})
	if err != nil {
		return nil, fmt.Errorf("write the install's memory: %w", err)
	}
	return append(data, '\n'), nil
}

// check tells a memory that was damaged, or edited by hand, from a whole one.
// It is no secret from somebody who reads the key beside it; that one could
// keep an old copy of the file as well.
func (m memory) check(body []byte) []byte {
	h := hmac.New(sha256.New, m.Key)
	h.Write([]byte("licensed install memory v1\n"))
	h.Write(body)
	return h.Sum(nil)
}

// decodeMemory reads what encode wrote. It fails with Conflict on a newer form
// and with Damaged on anything else that it did not write.
func decodeMemory(data []byte) (memory, error) {
	damaged := func(what string) (memory, error) {
		return memory{}, license.Errorf(license.Damaged, "the install's memory is damaged: %s", what)
	}
	if len(data) > maxMemory {
		return damaged("it is too large")
	}
	var f memoryFile
	if err := json.Unmarshal(data, &f); err != nil {
		return damaged("it is not JSON")
	}
	var m memory
	err := json.Unmarshal(f.Memory, &m)
	whole := err == nil && hmac.Equal(f.Check, m.check(f.Memory))
	switch {
	case f.Format > memoryFormat && !whole:
		return memory{}, license.Errorf(license.Conflict, "the install's memory was written by a newer version of this product; "+
			"it was left as it is, so please run that version")
	case f.Format != memoryFormat, err != nil: // whole: the check is of this form, whatever the number says
		return damaged("it has not the form that this version knows")
	case !whole:
		return damaged("its check does not fit; it was changed by hand or by a failing disk")
	}
	if p := m.Sent.Refresh; p != nil && p.Op == OpDeactivate {
		m.Sent.Refresh, m.Sent.Deactivation = nil, p // they shared a place once
	}
	if !m.whole() {
		return damaged("a time in it is out of range")
	}
	if !seedOrNone(m.Key) || !m.Sent.whole() || !m.Carried.whole() {
		return damaged("a key or a request in it is incomplete")
	}
	return m, nil
}

func seedOrNone(seed []byte) bool { return len(seed) == 0 || len(seed) == ed25519.SeedSize }

// installID is the id of the install that a seed is the key of, "" of none.
func installID(seed []byte) string {
	if len(seed) != ed25519.SeedSize {
		return ""
	}
	pub, ok := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	if !ok {
		return ""
	}
	return token.Thumbprint(pub)
}

func (p *pending) whole() bool {
	return p == nil || seedOrNone(p.Key) && byNewKey(p.Op) == (len(p.Key) > 0) && p.ID != "" && p.Request != "" && p.Install != ""
}

// install is the install that the live key is of, as it is believed.
func (m *memory) install() string {
	if m.Install != "" {
		return m.Install
	}
	return installID(m.Key)
}

// keyed disbelieves an install that the live key is not of.
func (m *memory) keyed() {
	if m.Install != "" && m.Install != installID(m.Key) {
		m.Install = ""
	}
}

// hold takes a licence, and with it the key that it was made for, which is the
// live one or of a request that waits. One without a key leaves the live key
// where it is: nothing says that its install has ended.
func (m *memory) hold(c token.License) {
	if c.InstallID != "" && c.InstallID != installID(m.Key) {
		m.Key = nil
		for _, p := range []*pending{m.Sent.Activation, m.Carried.Activation} {
			if p != nil && p.Install == c.InstallID {
				m.Key = p.Key
			}
		}
	}
	if c.ID != m.Prev {
		// What was asked for on the ground of the licence before is moot.
		m.Sent.Refresh, m.Carried.Refresh = nil, nil
	}
	if p := m.Sent.Deactivation; p != nil && (p.Install != c.InstallID || p.Refused && c.ID != m.Prev) {
		// Another install took its place; or this one lives on at the server,
		// which did not only say no to its end.
		m.Sent.Deactivation = nil
	}
	m.Install = installID(m.Key)
	m.remember(c)
	for _, r := range []*requests{&m.Sent, &m.Carried} {
		if r.Activation != nil && r.Activation.Install == c.InstallID {
			r.Activation = nil
		}
	}
	if was, err := token.PeekLicense(m.License); err != nil || was.Status.URI != c.Status.URI {
		m.StatusList = ""
	}
	m.License, m.Prev, m.Receipt, m.Left = c.Raw, c.ID, "", false
	m.IssuedAt = c.Dates.IssuedAt.Unix()
	m.raise(c.Dates.IssuedAt)
}

// giveUp drops licence and key; the signed request is the receipt. What was
// seen stays seen, and an activation that waits keeps its key. leaves: a seat
// was given back, to be taken again by its code.
func (m *memory) giveUp(request string, leaves bool) {
	if m.Left = leaves; !leaves {
		m.Code = ""
	}
	m.Key, m.Install, m.License, m.Prev, m.StatusList = nil, "", "", "", ""
	m.Sent.Refresh, m.Carried.Refresh = nil, nil
	m.Sent.Deactivation, m.Carried.Deactivation = nil, nil
	m.Receipt = request
}

// stayAway forgets an activation that waits for the code of the licence held:
// it would bring back what is to be given up. One that is wished for later, while
// the deactivation waits for its answer, is meant.
func (m *memory) stayAway() {
	if p := m.Sent.Activation; p != nil {
		if w, err := p.wish(); err != nil || w.code.Last4() == m.codeEnds() {
			m.Sent.Activation = nil
		}
	}
}

// wish is what an activation asks for.
func (p *pending) wish() (wish, error) {
	r, err := token.VerifyRequest(p.Request)
	return wish{op: r.Op, code: r.Code, from: r.From}, err
}

// codeEnds returns the last characters of the code of the licence held.
func (m *memory) codeEnds() string {
	l, err := token.PeekLicense(m.License)
	if err != nil {
		return ""
	}
	return l.CodeLast4
}

// refreshable reports whether the licence held is one of the live key.
func (m *memory) refreshable() bool {
	if len(m.Key) == 0 {
		return false
	}
	l, err := token.PeekLicense(m.License)
	return err != nil || l.InstallID != ""
}

// waiting returns the request that a signed time answers, or nil where this
// install did not make it or has taken its answer.
func (m *memory) waiting(t token.Time) *pending {
	for _, r := range []*requests{&m.Sent, &m.Carried} {
		for _, p := range []*pending{r.Activation, r.Refresh, r.Deactivation} {
			if p != nil && p.ID == t.Nonce && p.Install == t.InstallID {
				return p
			}
		}
	}
	return nil
}

// answered takes the time of the answer to a request that waits. The first to
// come may lower the floor, since it was asked for when that stood; the others
// were made before its like.
func (m *memory) answered(p *pending, t token.Time) {
	m.answer(t.IssuedAt, p.Proven)
	if p.Proven != 0 && m.doubts(time.Unix(m.IssuedAt, 0)) {
		m.IssuedAt = t.IssuedAt.Unix() // what a wrong clock has dated keeps no licence out
	}
	m.Sent.spend()
	m.Carried.spend()
}
