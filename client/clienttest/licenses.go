package clienttest

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Product is the id of the product that licences are for where no other is named.
const Product = "test-product"

// Kind names one of the states that Licenses has a licence for.
type Kind string

// The kinds, in the order of Licenses.
const (
	Good         Kind = "good"          // a year to go
	Warning      Kind = "warning"       // ends in ten days
	Grace        Kind = "grace"         // ended yesterday, in its grace
	LeaseGrace   Kind = "lease grace"   // the lease, not the licence, is about to run out
	Expired      Kind = "expired"       // ended, and its grace is over
	LeaseOver    Kind = "lease over"    // has not called home for longer than its lease
	NotYetValid  Kind = "not yet valid" // begins tomorrow
	Revoked      Kind = "revoked"       // a status list in the file says so
	Suspended    Kind = "suspended"     // as above
	WrongMachine Kind = "wrong machine" // good, for another machine
	OtherProduct Kind = "other product" // good, for another product
	Forged       Kind = "forged"        // signed by somebody else's anchor and keys
	Tampered     Kind = "tampered"      // good but for one byte of what is signed: it claims more machines
	Damaged      Kind = "damaged"       // good, cut off in the middle
	Perpetual    Kind = "perpetual"     // never ends and needs no server
	Degraded     Kind = "degraded"      // as Expired, under the enforcement "degrade"
	Advisory     Kind = "advisory"      // as Expired, under the enforcement "advisory"
	Floating     Kind = "floating"      // a floating seat, leased for a quarter of an hour
	Trial        Kind = "trial"         // good, to try the product out
	AnyMachine   Kind = "any machine"   // good, and bound to no machine
)

// Sample is a licence file in some state, and what a product has to make of it.
// Any program that verifies it under Anchors comes to the same.
type Sample struct {
	Kind    Kind
	Product string
	File    []byte    // a licence file, without an install key: Guard.Import takes it too
	Now     time.Time // the instant of the state
	Machine *Machine  // on which it is looked at

	// Refused is why client.Verifier.Verify refuses the file, "" where it does not.
	Refused license.Reason
	// Matches says whether client.License.Match finds Machine to be the one.
	Matches bool
	// State, Phase, Blocked (its Reason) and Enforcement are those of
	// client.License.Check(Now), zero where Verify refuses the file.
	State       license.State
	Phase       license.Phase
	Blocked     license.Reason
	Enforcement license.Enforcement

	// Usable says whether the product may run, and Reason why it may not, or why it
	// is blocked and may run all the same: that of Verify, then that of the machine,
	// then that of Check. It is what client.Guard.Status says of the file once it
	// was imported, but that Guard.Import refuses one that Verify or Match refuses.
	Usable bool
	Reason license.Reason
	// Features are those that hold then: "export" is on, "projects" a number,
	// "edition" a text. None where the product may not use any.
	Features license.Features
}

// Licenses returns a licence of every kind, as they stand at now, for Product
// and for a machine that all of them share. Maker makes them otherwise.
func Licenses(now time.Time) []Sample { return Maker{Now: now}.All() }

// Maker makes sample licences. The zero Maker can be used.
type Maker struct {
	Now     time.Time // the instant that they are judged at; zero is Epoch
	Product string    // "" is Product
	// Machine is the one that they are for, and shows enough to be bound to; nil is
	// NewMachine("sample").
	Machine *Machine
	// Features of every licence; nil is "export", "projects=10" and "edition=gold".
	Features license.Features
}

const day = 24 * time.Hour

// recipe is how a kind differs from a good licence. Durations are from now.
type recipe struct {
	kind     Kind
	issued   time.Duration
	starts   time.Duration // 0: ten minutes before it was issued
	ends     time.Duration // 0: never
	schedule license.Schedule
	change   func(*token.License)
	listed   license.ListStatus
	spoil    func(file []byte, f token.File) []byte

	refused license.Reason
	foreign bool // made for another machine
	state   license.State
	phase   license.Phase
	blocked license.Reason
}

func standard(e license.Enforcement) license.Schedule {
	return license.Schedule{Warn: 30 * day, Grace: 15 * day, Enforcement: e, Lease: 14 * day, Refresh: day}
}

func recipes() []recipe {
	block := standard(license.EnforceBlock)
	usual := recipe{issued: -time.Hour, ends: 365 * day, schedule: block, state: license.StateActive, phase: license.PhaseValid}
	var all []recipe
	add := func(k Kind, differ func(*recipe)) {
		r := usual
		r.kind = k
		differ(&r)
		all = append(all, r)
	}
	over := func(e license.Enforcement) func(*recipe) {
		return func(r *recipe) {
			r.issued, r.ends, r.schedule = -20*day, -16*day, standard(e)
			r.schedule.Lease = 0
			r.state, r.phase, r.blocked = license.StateExpired, license.PhaseBlocked, license.Expired
		}
	}
	refused := func(reason license.Reason) func(*recipe) { return func(r *recipe) { r.refused = reason } }

	add(Good, func(*recipe) {})
	add(Warning, func(r *recipe) { r.ends, r.phase = 10*day, license.PhaseWarning })
	add(Grace, func(r *recipe) { r.ends, r.state, r.phase = -day, license.StateExpired, license.PhaseGrace })
	add(LeaseGrace, func(r *recipe) { r.issued, r.phase = -12*day, license.PhaseGrace })
	add(Expired, over(license.EnforceBlock))
	add(LeaseOver, func(r *recipe) {
		r.issued, r.phase, r.blocked = -15*day, license.PhaseBlocked, license.LeaseOver
	})
	add(NotYetValid, func(r *recipe) {
		r.starts, r.phase, r.blocked = day, license.PhaseBlocked, license.NotYetValid
	})
	add(Revoked, func(r *recipe) {
		r.listed, r.state, r.phase, r.blocked = license.StatusRevoked, license.StateRevoked, license.PhaseBlocked, license.Revoked
	})
	add(Suspended, func(r *recipe) {
		r.listed, r.state, r.phase, r.blocked = license.StatusSuspended, license.StateSuspended, license.PhaseBlocked, license.Suspended
	})
	add(WrongMachine, func(r *recipe) { r.foreign = true })
	add(OtherProduct, func(r *recipe) {
		r.refused, r.change = license.WrongProduct, func(c *token.License) { c.Product = "another-" + c.Product }
	})
	add(Forged, refused(license.Forged))
	add(Tampered, func(r *recipe) { r.refused, r.spoil = license.Forged, tamper })
	add(Damaged, func(r *recipe) {
		r.refused, r.spoil = license.Damaged, func(file []byte, _ token.File) []byte { return file[:len(file)/3] }
	})
	add(Perpetual, func(r *recipe) { r.ends, r.schedule.Lease = 0, 0 })
	add(Degraded, over(license.EnforceDegrade))
	add(Advisory, over(license.EnforceAdvisory))
	add(Floating, func(r *recipe) {
		r.issued, r.schedule.Lease, r.schedule.Refresh = -time.Minute, 15*time.Minute, 5*time.Minute
		r.change = func(c *token.License) { c.Mode, c.Machines = license.ModeFloating, 5 }
	})
	add(Trial, func(r *recipe) {
		r.ends, r.phase, r.change = 14*day, license.PhaseWarning, func(c *token.License) { c.Trial = true }
	})
	add(AnyMachine, func(r *recipe) {
		r.change = func(c *token.License) { c.Binding = license.Binding{Policy: license.PolicyNone} }
	})
	return all
}

// All returns a licence of every kind. See Of for when it panics.
func (m Maker) All() []Sample {
	var out []Sample
	for _, r := range recipes() {
		out = append(out, m.make(r))
	}
	return out
}

// Of returns the licence of one kind. Like All it panics for what can only be a
// mistake in the test: no such kind, or a Maker that no licence can be made of.
func (m Maker) Of(k Kind) Sample {
	for _, r := range recipes() {
		if r.kind == k {
			return m.make(r)
		}
	}
	panic(fmt.Sprintf("clienttest: there is no kind of licence %q", string(k)))
}

func (m Maker) withDefaults() Maker {
	if m.Now.IsZero() {
		m.Now = Epoch
	}
	m.Now = m.Now.UTC().Truncate(time.Second)
	if m.Product == "" {
		m.Product = Product
	}
	if m.Machine == nil {
		m.Machine = NewMachine("sample")
	}
	if m.Features == nil {
		m.Features = Features("export", "projects=10", "edition=gold")
	}
	return m
}

// Features reads features as "licensectl issue --feature" takes them: "export"
// is on, "projects=10" a number, "edition=gold" a text.
func Features(features ...string) license.Features {
	out := license.Features{}
	for _, f := range features {
		name, value, valued := strings.Cut(f, "=")
		if out[name] = license.FeatureOn(); valued {
			out[name] = license.ParseFeature(value)
		}
	}
	return out
}

func (m Maker) make(r recipe) Sample {
	m = m.withDefaults()
	s := Sample{
		Kind: r.kind, Product: m.Product, Now: m.Now, Machine: m.Machine, Refused: r.refused, Matches: !r.foreign && r.refused == "",
	}
	switch {
	case r.refused != "":
		s.Reason = r.refused
	default:
		s.State, s.Phase, s.Blocked, s.Enforcement = r.state, r.phase, r.blocked, r.schedule.Enforcement
		s.Reason = r.blocked
		s.Usable = r.blocked == "" || r.blocked == license.Expired && r.schedule.Enforcement != license.EnforceBlock
		if r.foreign {
			s.Reason, s.Usable = license.MachineMismatch, false
		}
		if s.Usable && (r.blocked == "" || r.schedule.Enforcement == license.EnforceAdvisory) {
			s.Features = m.Features
		}
	}
	file, err := m.file(r)
	if err != nil {
		panic(fmt.Sprintf("clienttest: make a licence that is %s: %v", r.kind, err)) // a product id or features that no licence can have
	}
	s.File = file
	return s
}

// file makes and signs the licence file of a recipe.
func (m Maker) file(r recipe) ([]byte, error) {
	issued := m.Now.Add(r.issued)
	var starts, ends time.Time
	if r.starts != 0 {
		starts = m.Now.Add(r.starts)
	}
	if r.ends != 0 {
		ends = m.Now.Add(r.ends)
	}
	machine := m.Machine
	if r.foreign {
		machine = NewMachine("somebody else's")
	}
	shown, err := machine.Fingerprint(context.Background())
	if err != nil {
		return nil, err
	}
	binding, err := license.Bind(license.PolicyFuzzy, shown.Digests(m.Product))
	if err != nil {
		return nil, err
	}
	c := token.License{
		Issuer: Issuer, ID: "sample-" + strings.ReplaceAll(string(r.kind), " ", "-"), LicenseID: license.LicensePrefix + "00000000000000000000000000",
		Product: m.Product, Dates: r.schedule.DatesFor(issued, starts, ends),
		Customer: "Example Ltd", Channel: license.ChannelManual, CodeLast4: "TEST", Features: m.Features,
		Machines: 1, Mode: license.ModeNode, Binding: binding, Status: token.StatusPlace{URI: Issuer + "/v1/status/samples", Index: 3},
	}
	if r.change != nil {
		r.change(&c)
	}
	anchor, key := "anchor", "samples"
	if r.kind == Forged {
		anchor, key = "somebody else's anchor", "somebody else's key"
	}
	v, err := vouch(anchor, issued.Add(-time.Hour), 1, key)
	if err != nil {
		return nil, err
	}
	payload, err := c.Payload()
	if err != nil {
		return nil, err
	}
	raw, err := token.SignLicense(payload, v.key)
	if err != nil {
		return nil, err
	}
	f := token.File{Licenses: []string{raw}, KeySets: []string{v.set.Raw}}
	if r.listed != license.StatusValid {
		statuses := token.NewStatuses(8)
		statuses.Set(c.Status.Index, r.listed)
		list, err := token.SignStatusList(token.StatusList{
			Issuer: Issuer, URI: c.Status.URI, IssuedAt: issued, ExpiresAt: issued.Add(statusLife), TTL: statusTTL, List: statuses.Compress(),
		}, v.key)
		if err != nil {
			return nil, err
		}
		f.Statuses = []string{list}
	}
	file := f.Marshal()
	if r.spoil != nil {
		file = r.spoil(file, f)
	}
	return file, nil
}

// tamper changes one digit of what is signed: the number of machines.
func tamper(file []byte, f token.File) []byte {
	parts := strings.Split(f.Licenses[0], ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return file
	}
	payload = bytes.Replace(payload, []byte(`"machines":1`), []byte(`"machines":9`), 1)
	parts[1] = base64.RawURLEncoding.EncodeToString(payload)
	f.Licenses[0] = strings.Join(parts, ".")
	return f.Marshal()
}
