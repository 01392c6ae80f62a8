package license

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// InstallState says whether an install may still ask for licences.
type InstallState string

// The states of an install. All but live are final: a key lives once.
const (
	InstallLive        InstallState = "live"
	InstallReplaced    InstallState = "replaced"    // another install took its place
	InstallDeactivated InstallState = "deactivated" // it gave itself up
	InstallRemoved     InstallState = "removed"     // the merchant removed it
	InstallTransferred InstallState = "transferred" // its seat moved to another machine
	InstallForked      InstallState = "forked"      // it was found to have several holders (ForkRefuseBoth)
	InstallReleased    InstallState = "released"    // it was not seen for so long that its seat was freed
)

// InstallStates returns all states.
func InstallStates() []InstallState {
	return []InstallState{InstallLive, InstallReplaced, InstallDeactivated, InstallRemoved, InstallTransferred, InstallForked, InstallReleased}
}

// InstallKind says what an install stands for.
type InstallKind string

// The kinds of install.
const (
	// InstallMachine is a copy of the software on a machine, or a device.
	InstallMachine InstallKind = ""
	// InstallText is the licence in the text that a purchase was answered with. It
	// is bound to no machine, so it takes no seat and counts for no machine.
	InstallText InstallKind = "text"
)

// Install is one installed copy of the software: an install key and the
// machine it was bound to. Its id is the RFC 7638 thumbprint of the key.
type Install struct {
	ID          string       `json:"id"`
	LicenseID   string       `json:"license_id"`
	Revision    int64        `json:"revision"`
	Kind        InstallKind  `json:"kind,omitzero"`
	Seat        string       `json:"seat"` // installs on one machine share one; "" where OnMachine is false
	State       InstallState `json:"state"`
	Environment string       `json:"environment,omitzero"`
	Instance    string       `json:"instance,omitzero"` // what it calls itself; see Product.FloatingLease
	Binding     Binding      `json:"binding"`
	Unproven    Unproven     `json:"unproven,omitzero"`
	Drifted     Drifted      `json:"drifted,omitzero"`
	BoundAt     time.Time    `json:"bound_at"`
	SeenAt      time.Time    `json:"seen_at"`
	DatedAt     time.Time    `json:"dated_at,omitzero"` // iat of its newest licence, where that is later than SeenAt
	EndedAt     time.Time    `json:"ended_at,omitzero"`
	LeaseUntil  time.Time    `json:"lease_until"`
	Status      StatusRef    `json:"status,omitzero"`
	Chain       Chain        `json:"chain"`
	Forks       Forks        `json:"forks,omitzero"`
	// Contested: another install on its seat was bound to what looks like another
	// machine (Binding.Apart).
	Contested bool `json:"contested,omitzero"`
	// MovedOff: the merchant's staff has moved the licence off its machine, and that
	// move is counted already (License.Transfers): the next machine takes its seat.
	MovedOff bool `json:"moved_off,omitzero"`
	// Reactivation is how often its seat had been activated again within one lease
	// when it was bound, this time included; 0 for the first activation.
	Reactivation int `json:"reactivation,omitzero"`
	// Device is, of a licence that was made for a device, the digest of what named
	// the device, taken as an identification code.
	Device Digest `json:"device,omitzero"`
	// Grants are what was granted to it under a name of its own each, the newest
	// first, MaxGrants at most: an application that is repeated gets the same again.
	Grants []Grant `json:"grants,omitzero"`
	// Handed is the file in which its licence was handed out last; that of an
	// install with a key goes to the install itself, and is not recorded here.
	Handed Handed `json:"handed,omitzero"`
	// HandedBefore are the files in which it was handed out before, the newest
	// first: the last MaxHandedBefore of them. What was delivered may be one of them.
	HandedBefore []Handed `json:"handed_before,omitzero"`
	// SignedBy is the kid under which its newest licence was signed when it was made,
	// or handed out last; "" in a record from before that was noted.
	SignedBy string `json:"signed_by,omitzero"`
	// ByHand: what it was given last was carried to it, since it reaches no server.
	ByHand bool `json:"by_hand,omitzero"`
	// Answer holds what the last answer was made from: the claims of the licence
	// as they were signed, or nothing after a deactivation. Ed25519 being
	// deterministic, the same request gets the same answer from it.
	Answer json.RawMessage `json:"answer,omitzero"`
}

// OnMachine reports whether the install is on a machine, and so takes a seat and
// counts. What has no seat is a text, also in a record from before there were kinds.
func (i Install) OnMachine() bool { return i.Kind == InstallMachine && i.Seat != "" }

// MaxGrants is how many grants of one install are known by name.
const MaxGrants = 8

// Grant is a licence that was made under a name: for a device, the flow number
// of the marketplace that it was applied for under.
type Grant struct {
	Request string    `json:"request"`
	ID      string    `json:"id"`            // jti of the licence
	At      time.Time `json:"at"`            // its iat
	From    time.Time `json:"from,omitzero"` // what was asked for
	Until   time.Time `json:"until,omitzero"`
	// Answer are the claims that it was made of, where another one was made since;
	// those of the last one are the install's.
	Answer []byte `json:"answer,omitzero"`
}

// Granted returns what was granted under a name, as far back as that is known.
func (i Install) Granted(request string) (Grant, bool) {
	at := slices.IndexFunc(i.Grants, func(g Grant) bool { return g.Request == request })
	if at < 0 {
		return Grant{}, false
	}
	return i.Grants[at], true
}

// Superseded returns i ready for another licence: the grant that its last one was
// made for keeps what that was made of.
func (i Install) Superseded() Install {
	i.Grants = slices.Clone(i.Grants)
	for n, g := range i.Grants {
		if g.ID == i.Chain.Last && g.Answer == nil {
			i.Grants[n].Answer = slices.Clone(i.Answer)
		}
	}
	return i
}

// WithGrant returns i with one more grant, in place of one of the same name.
func (i Install) WithGrant(g Grant) Install {
	kept := slices.DeleteFunc(slices.Clone(i.Grants), func(old Grant) bool { return old.Request == g.Request })
	i.Grants = append([]Grant{g}, kept[:min(len(kept), MaxGrants-1)]...)
	return i
}

// Handed is a licence file that was handed out.
type Handed struct {
	At     time.Time `json:"at"`     // the first time
	SHA256 []byte    `json:"sha256"` // of its bytes
}

// MaxHandedBefore is how many files of one install are known besides the last one.
const MaxHandedBefore = 7

// WithHanded returns i with the file that it was handed out in, and whether that is
// another one than the last.
func (i Install) WithHanded(h Handed) (Install, bool) {
	if bytes.Equal(i.Handed.SHA256, h.SHA256) {
		return i, false
	}
	before := slices.DeleteFunc(slices.Clone(i.HandedBefore), func(old Handed) bool { return bytes.Equal(old.SHA256, h.SHA256) })
	if len(i.Handed.SHA256) > 0 {
		before = append([]Handed{i.Handed}, before...)
	}
	i.Handed, i.HandedBefore = h, before[:min(len(before), MaxHandedBefore)]
	return i, true
}

// Dated is the iat of the licence that the install was given last. It lies after
// SeenAt where the clock of the server was set back in between: of two licences
// of one install the later counts, so the date of the next never goes back.
func (i Install) Dated() time.Time {
	if i.DatedAt.After(i.SeenAt) {
		return i.DatedAt
	}
	return i.SeenAt
}

// Clone returns a copy that shares nothing with i.
func (i Install) Clone() Install {
	i.Binding.Salt = slices.Clone(i.Binding.Salt)
	if i.Binding.Components != nil {
		c := make(Components, len(i.Binding.Components))
		for k, d := range i.Binding.Components {
			c[k] = slices.Clone(d)
		}
		i.Binding.Components = c
	}
	i.Unproven = maps.Clone(i.Unproven)
	i.Drifted.Kinds = slices.Clone(i.Drifted.Kinds)
	i.Forks = maps.Clone(i.Forks)
	i.Chain.Digest = slices.Clone(i.Chain.Digest)
	i.Chain.Older = slices.Clone(i.Chain.Older)
	i.Grants = slices.Clone(i.Grants)
	for n := range i.Grants {
		i.Grants[n].Answer = slices.Clone(i.Grants[n].Answer)
	}
	i.Handed.SHA256 = slices.Clone(i.Handed.SHA256)
	i.HandedBefore = slices.Clone(i.HandedBefore)
	for n := range i.HandedBefore {
		i.HandedBefore[n].SHA256 = slices.Clone(i.HandedBefore[n].SHA256)
	}
	i.Answer = slices.Clone(i.Answer)
	return i
}

// Drifted is how the binding of an install followed its machine.
type Drifted struct {
	Count int       `json:"count"`
	At    time.Time `json:"at"`    // the last time
	Kinds []Kind    `json:"kinds"` // what was bound anew then
}

// With returns d and one more drift.
func (d Drifted) With(drift Drift, now time.Time) Drifted {
	return Drifted{Count: d.Count + 1, At: now, Kinds: drift.Kinds()}
}

// olderRequests is how many requests before the last one are recognised as
// replays, by as many bytes of a digest of their jti. Past that, an old request
// looks like the fork that it also is.
const (
	olderRequests = 32
	olderBytes    = 8
)

// Chain is the check-in chain of one install: which licence it was given last,
// and which request it was given for.
type Chain struct {
	Last      string    `json:"last"`            // jti of the licence issued last
	Before    string    `json:"before,omitzero"` // jti of the one before it, "" at the beginning
	Spent     bool      `json:"spent,omitzero"`  // Before is not accepted (again)
	RequestID string    `json:"request_id"`      // jti of the last request
	RequestAt time.Time `json:"request_at"`      // its iat: recorded, never judged
	Digest    []byte    `json:"digest"`          // of the last request's bytes
	Older     []byte    `json:"older,omitzero"`  // short digests of the jtis of the requests before it, newest first
}

// Repeat says how a request stands to those before it.
type Repeat int

// The answers of Chain.Repeats.
const (
	RequestNew      Repeat = iota
	RequestSame            // the same bytes again: the same answer
	RequestConflict        // the same jti with other bytes
	RequestOlder           // a request from before the last one
)

// Repeats compares a request, by its jti and the digest of its bytes, with
// those that came before.
func (c Chain) Repeats(jti string, digest []byte) Repeat {
	switch {
	case c.RequestID == "":
		return RequestNew
	case jti == c.RequestID && subtle.ConstantTimeCompare(digest, c.Digest) == 1:
		return RequestSame
	case jti == c.RequestID:
		return RequestConflict
	case c.before(jti):
		return RequestOlder
	}
	return RequestNew
}

// Err is why a request is refused that is neither the last one again nor new: one
// that is either has none.
func (r Repeat) Err() error {
	switch r {
	case RequestConflict:
		return Errorf(Conflict, "a request with this id was made before, with other content")
	case RequestOlder:
		return Errorf(Replayed, "this request was answered before, and newer ones since; make a new one on the machine")
	case RequestNew, RequestSame:
	}
	return nil
}

// before reports whether jti is of a request before the last one.
func (c Chain) before(jti string) bool {
	short := shortDigest(jti)
	for older := range slices.Chunk(c.Older, olderBytes) {
		if bytes.Equal(older, short) {
			return true
		}
	}
	return false
}

func shortDigest(jti string) []byte {
	sum := sha256.Sum256([]byte(jti))
	return sum[:olderBytes]
}

// Forked reports whether a new request that names prev as the newest licence
// it holds comes from another line than the one that was issued to: neither
// the last licence nor, once, the one before it while the last was never
// presented (its answer may have been lost).
func (c Chain) Forked(prev string) bool {
	return prev != c.Last && (c.Spent || prev != c.Before)
}

// Next is the chain after a request was answered with the licence issued.
func (c Chain) Next(issued, prev, requestID string, digest []byte, requestAt time.Time) Chain {
	n := c
	if c.RequestID != "" {
		n.Older = append(shortDigest(c.RequestID), c.Older...)
		n.Older = n.Older[:min(len(n.Older), olderRequests*olderBytes)]
	}
	// The answer to this request may be lost, and then the licence that it named
	// is named once more. Where that was not the last one, its turn is over.
	n.Before, n.Last = c.Last, issued
	if n.Spent = c.RequestID != "" && prev != c.Last; n.Spent {
		n.Before = ""
	}
	n.RequestID, n.Digest, n.RequestAt = requestID, slices.Clone(digest), requestAt
	return n
}
