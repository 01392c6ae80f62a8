package license

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"
)

// Kind names one kind of machine component.
type Kind string

// The kinds of components of a machine.
const (
	KindMAC    Kind = "mac"    // permanent addresses of physical network adapters
	KindDisk   Kind = "disk"   // disk serials
	KindBoard  Kind = "board"  // board serial
	KindCPU    Kind = "cpu"    // processor model
	KindUUID   Kind = "uuid"   // system UUID of the firmware
	KindOS     Kind = "os"     // machine id of the operating system
	KindCustom Kind = "custom" // supplied by an administrator
	// KindCode is the identification code that a person types. It is not a
	// component: it stands for the whole machine.
	KindCode Kind = "code"
)

// Kinds returns the kinds of components in the order in which they are shown.
func Kinds() []Kind {
	return []Kind{KindCustom, KindOS, KindUUID, KindDisk, KindMAC, KindBoard, KindCPU}
}

// MaxDigests is how many digests of one kind count: the smallest ones.
const MaxDigests = 8

// digestLen is the length of a Digest: base64url without padding of digestBytes.
const (
	digestLen   = 22
	digestBytes = 16
)

// Digest is what stands for a component outside its machine: base64url
// without padding of the first 16 bytes of HMAC-SHA256(salt, kind + "\n" +
// value). It is a pseudonym, not a secret: a MAC address is found from its
// digest in minutes.
type Digest string

// Valid reports whether d has the form of a digest.
func (d Digest) Valid() bool {
	if len(d) != digestLen {
		return false
	}
	// The decoder skips line breaks: then fewer bytes come out.
	var sum [digestLen]byte
	n, err := strictBase64.Decode(sum[:], []byte(d))
	return err == nil && n == digestBytes
}

var strictBase64 = base64.RawURLEncoding.Strict()

// Components are the digests of a machine by kind.
type Components map[Kind][]Digest

// Normalize sorts the digests, drops repetitions and empty kinds, and keeps at
// most MaxDigests of each kind, the smallest first. The result is new.
func (c Components) Normalize() Components {
	out := make(Components, len(c))
	for kind, digests := range c {
		d := slices.Clone(digests)
		slices.Sort(d)
		d = slices.Compact(d)
		if len(d) > 0 {
			out[kind] = d[:min(len(d), MaxDigests)]
		}
	}
	return out
}

// ProductSalt returns the salt of a product's digests: the first 16 bytes of
// SHA-256("licensed fingerprint v1\n" + product id).
func ProductSalt(product string) []byte {
	sum := sha256.Sum256([]byte("licensed fingerprint v1\n" + product))
	return sum[:16]
}

// NormalizeValue brings the value of a component into the form of which the
// digest is made: a–z to upper case, bytes up to 0x20 cut at both ends. A
// value that is not UTF-8, or holds "|" or ",", is absent: ok is false, as it
// is for one that is empty.
func NormalizeValue(value string) (normal string, ok bool) {
	if !utf8.ValidString(value) || strings.ContainsAny(value, "|,") {
		return "", false
	}
	b := []byte(value)
	for len(b) > 0 && b[0] <= 0x20 {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] <= 0x20 {
		b = b[:len(b)-1]
	}
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b), len(b) > 0
}

// DigestValue returns the digest of a component's value, or ok false where
// NormalizeValue finds it absent. An identification code (KindCode) is
// digested without its blanks.
func DigestValue(salt []byte, kind Kind, value string) (d Digest, ok bool) {
	if kind == KindCode {
		value = strings.Join(strings.Fields(value), "")
	}
	normal, ok := NormalizeValue(value)
	if !ok {
		return "", false
	}
	mac := hmac.New(sha256.New, salt)
	mac.Write([]byte(string(kind) + "\n" + normal))
	return Digest(base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])), true
}

// Fingerprint is what a machine shows of itself: digests only.
type Fingerprint struct {
	Salt        []byte
	Components  Components
	Environment string // "metal", "vm" or "container"; informative
	Code        Digest // of an identification code, where one was typed
}

// Binding is what a licence was tied to.
type Binding struct {
	Policy     Policy     `json:"policy"`
	Salt       []byte     `json:"salt,omitzero"`
	Components Components `json:"components,omitzero"`
	Code       Digest     `json:"code,omitzero"`
}

// Bind ties a licence to the machine of fp under policy p. It fails with
// MachineWeak when the fingerprint would not even match itself.
func Bind(p Policy, fp Fingerprint) (Binding, error) {
	if p == PolicyNone {
		return Binding{Policy: p}, nil
	}
	b := Binding{Policy: p, Salt: fp.Salt, Components: fp.Components.Normalize(), Code: fp.Code}
	if counted := len(b.Components); counted > 0 && counted <= 3 && len(b.Components[KindCPU]) > 0 {
		// The processor model neither identifies a machine nor, among so few
		// components, may stand in for one that is lost (see Policy).
		delete(b.Components, KindCPU)
	}
	if !Match(b, fp).OK {
		return Binding{}, Errorf(MachineWeak, "this machine shows too little of itself to bind a licence to it; "+
			"supply a machine id (LICENSED_MACHINE_ID or /etc/licensed/machine-id), in a container always")
	}
	return b, nil
}

// Policy names a frozen way of matching. The plain names are version one; a
// later version gets a name of its own, such as "fuzzy-2".
type Policy string

// The binding policies.
const (
	// PolicyExact wants what PolicyFuzzy wants, and of three or more components
	// at most one to differ or be gone, of fewer none to differ.
	PolicyExact Policy = "exact"
	// PolicyFuzzy wants one strong or two medium components to be the same.
	PolicyFuzzy Policy = "fuzzy"
	// PolicyLoose wants any one component to be the same, the processor aside.
	PolicyLoose Policy = "loose"
	// PolicyNone binds to no machine.
	PolicyNone Policy = "none"
)

// Known reports whether this version can judge by the policy.
func (p Policy) Known() bool {
	switch p {
	case PolicyExact, PolicyFuzzy, PolicyLoose, PolicyNone:
		return true
	}
	return false
}

// Weights of components. A match needs an overlap that weighs enough.
const (
	weightNone   = 0
	weightMedium = 1
	weightStrong = 2
	enough       = 2
)

func (p Policy) weight(k Kind) int {
	switch k {
	case KindCustom, KindDisk, KindOS, KindUUID:
		return weightStrong
	case KindMAC, KindBoard:
		if p == PolicyLoose {
			return weightStrong
		}
		return weightMedium
	case KindCPU, KindCode:
	}
	return weightNone
}

// Outcome is how one component compares.
type Outcome string

// The outcomes for a component. An unreadable component is absent, never changed.
const (
	OutcomeMatch   Outcome = "match"
	OutcomeChanged Outcome = "changed"
	OutcomeAbsent  Outcome = "absent"
	// OutcomeUnbound: the machine shows it, the licence was not bound to it.
	OutcomeUnbound Outcome = "unbound"
)

// ComponentMatch explains one component of a match.
type ComponentMatch struct {
	Kind    Kind     `json:"kind"`
	Outcome Outcome  `json:"outcome"`
	Bound   []Digest `json:"bound,omitzero"`
	Seen    []Digest `json:"seen,omitzero"`
}

// MatchReport says whether a machine is the bound one, and why.
type MatchReport struct {
	OK         bool             `json:"ok"`
	Policy     Policy           `json:"policy"`
	Components []ComponentMatch `json:"components,omitzero"`
}

// Match compares a machine with a binding.
//
// Components are compared as sets: they match when they overlap. Nothing to
// compare is no match, and a policy that is not known matches nothing. A
// component that was not bound never makes a difference.
func Match(b Binding, fp Fingerprint) MatchReport {
	r := MatchReport{Policy: b.Policy}
	if b.Policy == PolicyNone {
		r.OK = true
		return r
	}
	if b.Code != "" {
		c := compare(KindCode, digests(b.Code), digests(fp.Code))
		r.Components = append(r.Components, c)
		r.OK = b.Policy.Known() && c.Outcome == OutcomeMatch
		return r
	}
	weight, bound, lost, changed := 0, 0, 0, 0
	for _, kind := range Kinds() {
		was, is := b.Components[kind], fp.Components[kind]
		if len(was) == 0 && len(is) == 0 {
			continue
		}
		c := compare(kind, was, is)
		r.Components = append(r.Components, c)
		switch c.Outcome {
		case OutcomeMatch:
			bound++
			weight += b.Policy.weight(kind)
		case OutcomeChanged:
			bound++
			changed++
			lost++
		case OutcomeAbsent:
			bound++
			lost++
		case OutcomeUnbound:
		}
	}
	r.OK = b.Policy.Known() && weight >= enough
	if b.Policy == PolicyExact && (bound >= 3 && lost > 1 || bound < 3 && changed > 0) {
		r.OK = false
	}
	return r
}

func compare(kind Kind, was, is []Digest) ComponentMatch {
	c := ComponentMatch{Kind: kind, Bound: was, Seen: is, Outcome: OutcomeChanged}
	switch {
	case len(was) == 0:
		c.Outcome = OutcomeUnbound
	case len(is) == 0:
		c.Outcome = OutcomeAbsent
	case slices.ContainsFunc(was, func(d Digest) bool { return slices.Contains(is, d) }):
		c.Outcome = OutcomeMatch
	}
	return c
}

func digests(d Digest) []Digest {
	if d == "" {
		return nil
	}
	return []Digest{d}
}
