package authority

import (
	"context"
	"crypto/sha256"
	"slices"

	"github.com/seed-357fa782/licensed/license"
)

// Role says what a member of the staff, or a script of theirs, may do. Each role
// may do what those before it may.
type Role string

// The roles.
const (
	RoleViewer Role = "viewer" // look at everything but codes
	RoleIssuer Role = "issuer" // make licences and look after them
	RoleAdmin  Role = "admin"  // all: keys, tokens, marketplaces, the clock
)

// Roles lists them, the least first.
func Roles() []Role { return []Role{RoleViewer, RoleIssuer, RoleAdmin} }

// ParseRole reads a role.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles(), r) {
		return r, nil
	}
	return "", license.FieldErrorf("role", "a role is viewer, issuer or admin")
}

// Covers reports whether r may do what least is needed for. A role that there is
// not covers nothing.
func (r Role) Covers(least Role) bool {
	have, need := slices.Index(Roles(), r), slices.Index(Roles(), least)
	return have >= 0 && need >= 0 && have >= need
}

// Principal is who calls for the merchant.
type Principal struct {
	ID       string // of the token, or of the user of the socket
	Name     string // for the audit log
	Role     Role
	Products []string // that it sees and changes; none: all
}

// Scoped reports whether p is confined to some products.
func (p Principal) Scoped() bool { return len(p.Products) > 0 }

// Sees reports whether p sees a product, and what belongs to it.
func (p Principal) Sees(product string) bool {
	return !p.Scoped() || slices.Contains(p.Products, product)
}

// Call is one call of a Principal on its way through the use cases. It travels
// in the context, and the store honours it: no use case can forget to.
type Call struct {
	Principal Principal
	Operation string
	// DryRun has every change checked and decided, and undone before it is made.
	DryRun bool
	// Match, unless zero, is the state in which the caller has seen a licence.
	Match Match

	key *callKey
}

// Match names the revision that a licence must have for a call to go ahead.
type Match struct {
	License  string
	Revision int64
}

type callContext struct{}

// WithCall returns a context whose changes are made for c.
func WithCall(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callContext{}, c)
}

// CallOf returns the call of ctx, nil where the daemon acts by itself.
func CallOf(ctx context.Context) *Call {
	c, _ := ctx.Value(callContext{}).(*Call)
	return c
}

// DryRun reports whether the call of ctx is a dry run. What a use case would do
// outside the store it must leave out then.
func DryRun(ctx context.Context) bool {
	c := CallOf(ctx)
	return c != nil && c.DryRun
}

// RevisionError is a call about a licence that was changed since it was looked at.
type RevisionError struct {
	Given   int64
	Current license.License
}

func (e *RevisionError) Error() string { return e.refusal().Error() }

// Unwrap makes it a license.Conflict.
func (e *RevisionError) Unwrap() error { return e.refusal() }

func (e *RevisionError) refusal() *license.Error {
	return license.Errorf(license.Conflict, "the licence was changed meanwhile: it has revision %d, and the call is for revision %d; look at it again",
		e.Current.Revision, e.Given)
}

// digestOf is a short name for something that may be long or secret.
func digestOf(parts ...string) []byte {
	h := sha256.New()
	for _, p := range parts {
		_, _ = h.Write([]byte(p))
		_, _ = h.Write([]byte{0})
	}
	return h.Sum(nil)
}
