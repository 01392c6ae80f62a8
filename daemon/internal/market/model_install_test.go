package market_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// installed is one installed copy of the product, which calls by itself.
type installed struct {
	key     token.SigningKey
	machine int
	request string // that waits for its answer; the same bytes are sent until there is one
	held    token.License
	refused license.Reason // the last answer
}

func machine(n int) license.Fingerprint {
	fp := license.Fingerprint{Salt: license.ProductSalt("cad"), Components: license.Components{}}
	for _, kind := range []license.Kind{license.KindOS, license.KindDisk} {
		d, _ := license.DigestValue(fp.Salt, kind, fmt.Sprint("machine ", n))
		fp.Components[kind] = []license.Digest{d}
	}
	return fp
}

// call has a copy call the merchant: one that is new, or one that was installed.
func (m *modelled) call(p *purchase, code string) bool {
	if code == "" {
		return false // nobody has it yet
	}
	i := m.random.IntN(len(p.copies) + 1 + len(p.copies)%2)
	if i >= len(p.copies) {
		i = m.install(p, code, m.random.IntN(4))
	}
	return m.checkIn(p, p.copies[i])
}

// install installs a copy on a machine.
func (m *modelled) install(p *purchase, code string, on int) int {
	seed := sha256.Sum256(fmt.Appendf(nil, "%d copy %d of %s", m.seed, len(p.copies), p.ID))
	key, err := token.NewSigningKey(ed25519.NewKeyFromSeed(seed[:]))
	m.must(err)
	c := &installed{key: key, machine: on}
	parsed, err := license.ParseCode(code)
	m.must(err)
	c.request = m.sign(c, token.Request{Op: token.OpActivate, Code: parsed})
	p.copies = append(p.copies, c)
	return len(p.copies) - 1
}

func (m *modelled) sign(c *installed, rq token.Request) string {
	m.n++
	rq.ID, rq.IssuedAt, rq.Product, rq.Fingerprint = fmt.Sprint("request-", m.n), m.options.Now(), "cad", machine(c.machine)
	raw, err := token.SignRequest(rq, c.key)
	m.must(err)
	return raw
}

// checkIn has a copy ask for a newer licence, or again for what it was not
// answered. It reports whether it was answered.
func (m *modelled) checkIn(p *purchase, c *installed) bool {
	l := m.alive()
	if l == nil {
		return false
	}
	if c.request == "" && c.held.ID == "" {
		return false // it was refused, for good or for ill
	}
	if c.request == "" {
		c.request = m.sign(c, token.Request{Op: token.OpRefresh, License: c.held.Raw, Prev: c.held.ID})
	}
	ctx := as(m.t.Context(), request)
	answer, err := l.authority.Request(ctx, c.request, license.Code{}, authority.Caller{})
	if l.pass(ctx, answering); l.dead() || errors.Is(err, license.MarketplaceUnavailable) {
		return false
	}
	c.request, c.refused = "", license.ReasonOf(err)
	switch c.refused { //nolint:exhaustive // all others are no answer to expect
	case "":
		m.got(p, c, answer)
	case license.MachineLimit, license.Suspended, license.Expired, license.Released, license.Replaced, license.RateLimited:
	default:
		m.errorf("a copy of %s is refused: %v", p, err)
	}
	return true
}

// got takes the answer to a copy.
func (m *modelled) got(p *purchase, c *installed, answer authority.Answer) {
	set, err := token.VerifyKeySet(answer.Keys, m.keys.Anchors())
	m.must(err)
	got, err := token.VerifyLicense(answer.License, set, token.Expect{Product: "cad", Issuer: issuer})
	switch {
	case err != nil:
		m.errorf("a copy of %s is answered with a licence that does not verify: %v", p, err)
		return
	case got.InstallID != c.key.ID || !license.Match(got.Binding, machine(c.machine)).OK:
		m.errorf("a copy of %s is answered with the licence of another one", p)
	case got.Machines != int(p.Amount) || got.Order != p.ID:
		m.errorf("a copy of %s is told of %d machines of the order %s, want %d", p, got.Machines, got.Order, p.Amount)
	}
	c.held = got
}

// presentAll has every code presented that nobody has presented yet, and every
// copy ask again that was not answered.
func (m *modelled) presentAll() {
	a := m.awake().authority
	for _, p := range m.bought {
		if p.Product == codes {
			if _, _, err := a.License(m.t.Context(), p.Code.Reveal()); err != nil {
				m.install(p, p.Code.Reveal(), 0)
			}
		}
		for _, c := range p.copies {
			if c.request != "" && !m.checkIn(p, c) {
				m.errorf("a copy of %s is not answered though nothing is wrong any more", p)
			}
		}
	}
}

// copiesAgree has every copy call once more, and compares what it is told with
// what is true, and what is recorded of it.
func (m *modelled) copiesAgree(p *purchase, l license.License, installs []license.Install) {
	seats := make(map[string]bool)
	for _, inst := range installs {
		known := inst.Seat == "" || slices.ContainsFunc(p.copies, func(c *installed) bool { return c.key.ID == inst.ID })
		if !known {
			m.errorf("%s: there is an install that nobody installed: %s", p, inst.ID)
		}
		if inst.State == license.InstallLive && inst.Seat != "" {
			seats[inst.Seat] = true
		}
	}
	if len(seats) > int(p.Amount) {
		m.errorf("%s: %d machines have a seat, %d were bought", p, len(seats), p.Amount)
	}
	for _, c := range p.copies {
		n := slices.IndexFunc(installs, func(i license.Install) bool { return i.ID == c.key.ID })
		if c.held.ID == "" {
			if c.refused == license.MachineLimit && (n >= 0 || len(seats) < int(p.Amount)) {
				m.errorf("%s: a copy was refused a seat, and %d of %d are taken", p, len(seats), p.Amount)
			}
			continue
		}
		if n < 0 {
			m.errorf("%s: a copy that was activated is not known", p)
			continue
		}
		now := m.options.Now()
		want := l.StateAt(now).Refusal()
		switch {
		case installs[n].State != license.InstallLive:
			want = license.Replaced
		case want == license.Expired && now.Before(l.ExpiresAt.Add(m.options.Products[0].Schedule.Grace)):
			want = ""
		}
		if !m.checkIn(p, c) || c.refused != want {
			m.errorf("%s: a copy is answered %q, want %q", p, c.refused, want)
		}
		if c.refused == "" && !c.held.Dates.ExpiresAt.Equal(l.ExpiresAt) {
			m.errorf("%s: a copy is told that it ends %s, want %s", p, c.held.Dates.ExpiresAt, l.ExpiresAt)
		}
		m.seen["a copy that calls"]++
	}
}
