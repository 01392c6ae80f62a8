package webhook

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// What an endpoint is told only where its configuration includes it: it may be,
// or hold, personal data.
const (
	IncludeCustomer = "customer" // the customer's name
	IncludeActor    = "actor"    // name and address of who caused the event
	IncludeNote     = "note"     // what staff wrote, as the reason of a revocation
)

// Includes returns what can be included.
func Includes() []string { return []string{IncludeCustomer, IncludeActor, IncludeNote} }

// message is what is sent: the payload of the Standard Webhooks specification.
type message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // of the event
	Data      any       `json:"data"`
}

// data is the payload of an event. Names are those of the admin API.
type data struct {
	Seq     int64          `json:"seq"` // position in the audit log
	Action  license.Action `json:"action"`
	Actor   actor          `json:"actor"`
	License *shownLicense  `json:"license,omitempty"`
	Install string         `json:"install,omitempty"`
	Product string         `json:"product,omitempty"`
	Request string         `json:"request,omitempty"`
	Before  map[string]any `json:"before,omitempty"`
	After   map[string]any `json:"after,omitempty"`
	Note    string         `json:"note,omitempty"`
}

type actor struct {
	Kind license.ActorKind `json:"kind"`
	Name string            `json:"name,omitempty"`
	Addr string            `json:"addr,omitempty"`
}

// shownLicense is a licence as it stands when the message is made, in part: by
// the names of the admin API, and never with a code.
type shownLicense struct {
	ID          string         `json:"id"`
	CodeLast4   string         `json:"code_last4"`
	Product     string         `json:"product"`
	Customer    string         `json:"customer,omitempty"`
	Channel     string         `json:"channel"`
	Order       string         `json:"order"`
	State       license.State  `json:"state"`
	IssuedAt    *time.Time     `json:"issued_at"`
	ActivatedAt *time.Time     `json:"activated_at"`
	ExpiresAt   *time.Time     `json:"expires_at"`
	ReleasedAt  *time.Time     `json:"released_at"`
	RevokedAt   *time.Time     `json:"revoked_at"`
	Holds       []string       `json:"holds"`
	Machines    int            `json:"machines"`
	Mode        license.Mode   `json:"mode"`
	Features    map[string]any `json:"features"`
	Revision    int64          `json:"revision"`
}

// EventID is the id under which an entry of the audit log is sent. It follows
// from the entry, so it is the same at each attempt, at each endpoint and when the
// event is told again. Position alone would not do: after a restore from a backup
// another event has it.
func EventID(issuer string, e license.AuditEvent) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "licensed event v1\n%s\n%d\n%d\n%s\n%s", issuer, e.Seq, e.At.Unix(), e.Action, e.License) // a hash does not fail
	return "evt_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:20]))
}

// body is the message about an event, for an endpoint.
func (e Endpoint) body(name string, t authority.Told, now time.Time) ([]byte, error) {
	ev := t.Event
	d := data{
		Seq: ev.Seq, Action: ev.Action, Actor: actor{Kind: ev.Actor.Kind}, Install: ev.Install, Product: ev.Product, Request: ev.Request,
		Before: e.public(ev.Before), After: e.public(ev.After),
	}
	if e.includes(IncludeActor) {
		d.Actor = actor(ev.Actor)
	}
	if e.includes(IncludeNote) {
		d.Note = ev.Note
	}
	// A licence that has become one of another product is none of who is told of
	// its former product.
	if l := t.License; l != nil && (len(e.Products) == 0 || slices.Contains(e.Products, l.Product)) {
		d.License = e.shown(*l, now)
		d.Product = l.Product
	}
	out, err := json.Marshal(message{Type: name, Timestamp: ev.At.UTC(), Data: d})
	if err != nil {
		return nil, fmt.Errorf("write the message about entry %d: %w", ev.Seq, err)
	}
	return out, nil
}

func (e Endpoint) includes(what string) bool { return slices.Contains(e.Include, what) }

// private are the members of what an event changed that are told only where they
// are included.
var private = map[string]string{
	"customer": IncludeCustomer, "name": IncludeActor, "addr": IncludeActor,
	"note": IncludeNote, "reason": IncludeNote, "revoke_reason": IncludeNote,
}

// public is what an event changed without what the endpoint is not told.
func (e Endpoint) public(in map[string]any) map[string]any {
	out := make(map[string]any, len(in))
	for name, v := range in {
		if of, is := private[name]; is && !e.includes(of) {
			continue
		}
		out[name] = e.publicValue(v)
	}
	return out
}

func (e Endpoint) publicValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return e.public(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = e.publicValue(v[i])
		}
		return out
	}
	return v
}

func (e Endpoint) shown(l license.License, now time.Time) *shownLicense {
	out := &shownLicense{
		ID: l.ID, CodeLast4: l.Code.Last4, Product: l.Product, Channel: l.Channel, Order: l.Order, State: l.StateAt(now),
		IssuedAt: instant(l.IssuedAt), ActivatedAt: instant(l.ActivatedAt), ExpiresAt: instant(l.ExpiresAt),
		ReleasedAt: instant(l.ReleasedAt), RevokedAt: instant(l.RevokedAt), Holds: append([]string{}, l.Holds.Names()...),
		Machines: l.Machines, Mode: l.Mode, Features: make(map[string]any, len(l.Features)), Revision: l.Revision,
	}
	if e.includes(IncludeCustomer) {
		out.Customer = l.Customer
	}
	for name, f := range l.Features {
		out.Features[name] = f
	}
	return out
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
