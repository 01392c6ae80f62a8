// Package adminapi is the admin API: what licensectl does to a running daemon,
// one call for each. It decodes, calls the authority and encodes. Before every
// call stands a guard: on the unix socket the permissions of the file are the
// authentication, on TCP a token is.
package adminapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// Options of the admin API; Authority, Status and Webhooks are required.
type Options struct {
	Authority *authority.Authority
	Status    func(context.Context) adminwire.Status
	// SelfTest sends a marketplace entry debug calls through the public listener
	// or, where it is not "", to an address.
	SelfTest func(ctx context.Context, channel, address string) (adminwire.SelfTest, error)
	// Duration reads durations as the configuration does: Go's plus d.
	Duration func(string) (time.Duration, error)
	Webhooks Webhooks
	Version  string
	// Store hands out the whole store.
	Store WholeStore
}

// Register adds the admin API to mux. It is to be served behind its Guard.
func Register(mux *http.ServeMux, o Options) *API {
	api := operation.New(mux, operation.Options{
		Title: "licensed admin", Version: o.Version, OpenAPIPath: openAPIPath, Security: true,
		Formats: map[string]huma.Format{wire.TypePEM: operation.LicenseFile},
	})
	s := &server{a: o.Authority, status: o.Status, selfTest: o.SelfTest, duration: o.Duration}

	operation.Register(api, get("status", adminwire.PathStatus, "How the daemon is doing"), s.getStatus)
	operation.Register(api, get("overview", adminwire.PathOverview, "What needs a human, and how many licences there are"), s.overview)
	operation.Register(api, post("issue", adminwire.PathLicenses, "Issue licences"), s.issue)
	many := post("issue-many", adminwire.PathBulk, "Issue one licence for each row: all of them, or none")
	many.MaxBodyBytes = adminwire.MaxBulk
	operation.Register(api, many, s.issueMany)
	operation.Register(api, get("list", adminwire.PathLicenses, "List licences, oldest first"), s.list)
	operation.Register(api, get("show", adminwire.PathLicense, "One licence with its installs"), s.show)
	operation.Register(api, post("lookup", adminwire.PathLookup, "Find a licence by id or by code"), s.lookup)
	operation.Register(api, post("renew", adminwire.PathRenew, "Set another end"), s.renew)
	operation.Register(api, post("edit", adminwire.PathEdit, "Set other phases, leases or overage"), s.editPhases)
	for _, e := range []struct {
		id, path, summary string
		event             license.Event
	}{
		{"suspend", adminwire.PathSuspend, "Set the merchant's hold", license.EventSuspend},
		{"resume", adminwire.PathResume, "Lift the merchant's hold", license.EventResume},
		{"undo-revoke", adminwire.PathUndoRevoke, "Undo a revocation within its window", license.EventUndoRevoke},
		{"release", adminwire.PathRelease, "End a licence for good", license.EventRelease},
	} {
		operation.Register(api, post(e.id, e.path, e.summary), func(ctx context.Context, in *IDInput) (*body[adminwire.Edited], error) {
			return s.edit(ctx, in.ID, authority.Edit{Event: e.event})
		})
	}
	operation.Register(api, post("revoke", adminwire.PathRevoke, "Revoke a licence"), s.revoke)
	operation.Register(api, post("remove-install", adminwire.PathRemove, "End one install of a licence"), s.removeInstall)
	operation.Register(api, post("transfer", adminwire.PathTransfer, "Free a seat for another machine, which counts as a transfer"), s.moveOff)
	operation.Register(api, post("sign", adminwire.PathRequests, "Answer a request file of a machine without network"), s.sign)
	operation.Register(api, get("keys", adminwire.PathKeys, "The key set in force"), s.keys)
	operation.Register(api, get("anchors", adminwire.PathAnchors, "The anchors' public halves, primary first"), s.anchors)
	operation.Register(api, post("rotate", adminwire.PathRotate, "Move to the next signing key"), s.rotate)
	operation.Register(api, post("propose", adminwire.PathProposal, "Make the next key set, unsigned"), s.propose)
	operation.Register(api, post("install-keys", adminwire.PathKeySet, "Put a signed key set in force"), s.install)
	operation.Register(api, post("accept-clock", adminwire.PathClock, "Confirm the server's clock"), s.acceptClock)
	s.registerAudit(api)
	s.registerOrders(api)
	s.registerPolicies(api)
	s.registerMarketplaces(api)
	s.registerKeys(api)
	s.registerTokens(api)
	registerWebhooks(api, o.Webhooks)
	s.registerStore(api, o.Store)
	s.registerRestore(api)
	out := &API{API: api, s: s}
	out.describe()
	return out
}

func get(id, path, summary string) huma.Operation { return op(http.MethodGet, id, path, summary) }

func post(id, path, summary string) huma.Operation { return op(http.MethodPost, id, path, summary) }

func op(method, id, path, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		Errors: []int{http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable},
	}
}

type server struct {
	a        *authority.Authority
	status   func(context.Context) adminwire.Status
	selfTest func(ctx context.Context, channel, address string) (adminwire.SelfTest, error)
	duration func(string) (time.Duration, error)
}

type (
	empty       struct{}
	body[T any] struct{ Body T }
	// tagged is a body with the revision of what it shows.
	tagged[T any] struct {
		ETag string `header:"ETag"`
		Body T
	}
	// IDInput names a licence.
	IDInput struct {
		ID string `path:"id" maxLength:"128" doc:"Id of a licence."`
	}
)

func actor(ctx context.Context) license.Actor {
	who := license.Actor{Kind: license.ActorAdmin, Addr: operation.ClientAddr(ctx)}
	if c := authority.CallOf(ctx); c != nil {
		who.Name = c.Principal.Name
	}
	return who
}

func (s *server) getStatus(ctx context.Context, _ *empty) (*body[adminwire.Status], error) {
	return &body[adminwire.Status]{s.scoped(ctx, s.status(ctx))}, nil
}

func (s *server) issue(ctx context.Context, in *body[adminwire.Issue]) (*body[adminwire.LicenseList], error) {
	o, err := s.issueOrder(in.Body)
	if err != nil {
		return nil, err
	}
	issued, err := s.a.Issue(ctx, actor(ctx), o)
	if err != nil {
		return nil, err
	}
	return &body[adminwire.LicenseList]{s.issued(ctx, issued)}, nil
}

// issued is the answer of an issue: with the codes, unless none were made.
func (s *server) issued(ctx context.Context, issued []authority.Issued) adminwire.LicenseList {
	out := adminwire.LicenseList{Licenses: make([]adminwire.License, 0, len(issued))}
	for _, i := range issued {
		l := s.shown(i.License, nil)
		if l.Code = i.Code.Reveal(); authority.DryRun(ctx) {
			l.ID, l.Code, l.CodeLast4 = "", "", ""
		}
		out.Licenses = append(out.Licenses, l)
	}
	return out
}

// issueOrder reads what is to be issued.
func (s *server) issueOrder(b adminwire.Issue) (authority.Order, error) {
	o := authority.Order{
		Product: b.Product, Customer: b.Customer, Order: b.Order, Perpetual: b.Perpetual, Machines: b.Machines, Count: b.Count,
		Overage: b.Overage, Trial: b.Trial,
	}
	var err error
	if o.ExpiresAt, o.For, err = s.end(b.ExpiresAt, b.For); err != nil {
		return o, err
	}
	if o.Features, err = features(b.Features); err != nil {
		return o, err
	}
	own, err := s.phases(b.Phases)
	if err != nil {
		return o, err
	}
	o.Phases = own(license.Phases{})
	return o, nil
}

// features reads the values that a feature can have; false takes one away.
func features(in map[string]any) (license.Features, error) {
	out := make(license.Features, len(in))
	for name, v := range in {
		if name == "" || len(name) > 128 || len(in) > 256 {
			return nil, license.FieldErrorf("features", "a feature's name has 1 to 128 bytes, and there are at most 256")
		}
		switch v := v.(type) {
		case bool:
			out[name] = license.Feature{}
			if v {
				out[name] = license.FeatureOn()
			}
		case string:
			if len(v) > 1024 {
				return nil, license.FieldErrorf("features."+name, "the value is longer than 1024 bytes")
			}
			out[name] = license.FeatureText(v)
		case float64:
			raw, err := json.Marshal(v)
			if err != nil {
				return nil, license.FieldErrorf("features."+name, "the value is not a number")
			}
			if out[name], err = license.FeatureNumber(string(raw)); err != nil {
				return nil, err
			}
		default:
			return nil, license.FieldErrorf("features."+name, "the value must be true, false, a number or a string")
		}
	}
	return out, nil
}

// end reads the two ways to give an end.
func (s *server) end(at *time.Time, in string) (time.Time, time.Duration, error) {
	var t time.Time
	var d time.Duration
	if at != nil {
		t = *at
	}
	if in != "" {
		var err error
		if d, err = s.span("for", in, "365d"); err != nil {
			return t, d, err
		}
	}
	return t, d, nil
}

// span reads a duration of more than 0; such is one that the field could have.
func (s *server) span(field, text, such string) (time.Duration, error) {
	d, err := s.duration(text)
	if err != nil || d <= 0 {
		return 0, license.FieldErrorf(field, "it is not a duration such as %s or 36h", such)
	}
	return d, nil
}

// phases reads what a licence is to have of its own.
func (s *server) phases(in adminwire.Phases) (authority.PhaseEdit, error) {
	var set license.Phases
	for _, d := range []struct {
		field, text string
		to          **time.Duration
	}{{"phases.warn", in.Warn, &set.Warn}, {"phases.grace", in.Grace, &set.Grace}, {"phases.lease", in.Lease, &set.Lease}, {"phases.refresh", in.Refresh, &set.Refresh}} {
		if d.text == "" || d.text == adminwire.FollowProduct {
			continue
		}
		v, err := s.duration(d.text)
		if err != nil {
			return nil, license.FieldErrorf(d.field, "it is not a duration such as 30d or 36h")
		}
		*d.to = &v
	}
	return func(p license.Phases) license.Phases {
		if in.Warn != "" {
			p.Warn = set.Warn
		}
		if in.Grace != "" {
			p.Grace = set.Grace
		}
		if in.Lease != "" {
			p.Lease = set.Lease
		}
		if in.Refresh != "" {
			p.Refresh = set.Refresh
		}
		if in.Enforcement == adminwire.FollowProduct {
			p.Enforcement = ""
		} else if in.Enforcement != "" {
			p.Enforcement = in.Enforcement
		}
		return p
	}, nil
}

func (s *server) editPhases(ctx context.Context, in *struct {
	IDInput
	Body adminwire.Edit
},
) (*body[adminwire.Edited], error) {
	if in.Body == (adminwire.Edit{}) {
		return nil, license.FieldErrorf("phases", "nothing to change is given")
	}
	change, err := s.phases(in.Body.Phases)
	if err != nil {
		return nil, err
	}
	over, err := overage(in.Body.Overage)
	if err != nil {
		return nil, err
	}
	return s.edit(ctx, in.ID, authority.Edit{Event: license.EventEdit, Phases: change, Overage: over})
}

func (s *server) acceptClock(ctx context.Context, in *body[adminwire.AcceptClock]) (*body[adminwire.ClockAccepted], error) {
	before, after, err := s.a.AcceptClock(ctx, actor(ctx), in.Body.Shown)
	if err != nil {
		return nil, err
	}
	return &body[adminwire.ClockAccepted]{adminwire.ClockAccepted{
		Before: Clock(before), After: Clock(after), Changed: !before.Trusted(),
	}}, nil
}

// Daemons gives those on a store their shown form.
func Daemons(list []authority.DaemonSeen) (out []adminwire.DaemonLine) {
	for _, d := range list {
		out = append(out, adminwire.DaemonLine{
			ID: d.ID, Host: d.Host, Version: d.Version, StartedAt: d.StartedAt, SeenAt: d.SeenAt, Self: d.Self, ClockAhead: d.Ahead.Milliseconds(),
		})
	}
	return out
}

// Clock gives a clock its shown form.
func Clock(c authority.Clock) adminwire.Clock {
	out := adminwire.Clock{State: string(c.State), Now: c.Now, Others: c.Others}
	if !c.OthersNow.IsZero() {
		out.OthersNow = &c.OthersNow
	}
	if !c.Record.IsZero() {
		out.LastRecord = &c.Record
	}
	if !c.KeyMade.IsZero() {
		out.KeyFrom = &c.KeyMade
	}
	return out
}

type listInput struct {
	State    string `query:"state" maxLength:"16"`
	Product  string `query:"product" maxLength:"128"`
	Channel  string `query:"channel" maxLength:"64"`
	Customer string `query:"customer" maxLength:"256"`
	Order    string `query:"order" maxLength:"128"`
	Last4    string `query:"last4" maxLength:"16"`
	Expiring string `query:"expiring_within" maxLength:"32" doc:"A duration such as 30d."`
	Forked   bool   `query:"forked" doc:"Only those of which a fork was recorded."`
	Trial    bool   `query:"trial" doc:"Only trials."`
	PageInput
}

// PageInput asks for a part of a list. It is exported because the library sees
// only exported embedded fields, like IDInput.
type PageInput struct {
	Limit  int    `query:"limit" minimum:"0" maximum:"1000"`
	Cursor string `query:"cursor" maxLength:"512"`
}

func (in PageInput) page() authority.Page { return authority.Page{Limit: in.Limit, Cursor: in.Cursor} }

func (s *server) list(ctx context.Context, in *listInput) (*body[adminwire.LicenseList], error) {
	f := authority.Filter{Product: in.Product, Channel: in.Channel, Customer: in.Customer, Order: in.Order, Last4: in.Last4, Forked: in.Forked, Trial: in.Trial}
	var err error
	if in.State != "" {
		if f.State, err = license.ParseState(in.State); err != nil {
			return nil, err
		}
	}
	if in.Product != "" && !slices.Contains(s.a.Products(), in.Product) {
		return nil, license.FieldErrorf("product", "there is no such product")
	}
	if in.Expiring != "" {
		d, err := s.span("expiring_within", in.Expiring, "30d")
		if err != nil {
			return nil, err
		}
		f.ExpiringBefore = s.a.Now().Add(d)
	}
	ls, next, err := s.a.Licenses(ctx, f, in.page())
	if err != nil {
		return nil, err
	}
	out := adminwire.LicenseList{Licenses: make([]adminwire.License, 0, len(ls)), Next: next}
	for _, l := range ls {
		out.Licenses = append(out.Licenses, s.shown(l.License, l.Installs))
	}
	return &body[adminwire.LicenseList]{out}, nil
}

func (s *server) one(ctx context.Context, ref string) (adminwire.License, error) {
	l, installs, err := s.a.License(ctx, ref)
	if err != nil {
		return adminwire.License{}, err
	}
	return s.shown(l, installs), nil
}

// shown is the shown form of a licence, with the phases that count for it.
func (s *server) shown(l license.License, installs []license.Install) adminwire.License {
	out := adminwire.NewLicense(l, installs, s.a.Now())
	if schedule, ok := s.a.Schedule(l); ok {
		out.PhasesInForce = adminwire.NewPhases(schedule)
		out.OverageInForce = new(s.a.Overage(l))
	}
	return out
}

func (s *server) show(ctx context.Context, in *IDInput) (*tagged[adminwire.License], error) {
	l, err := s.one(ctx, in.ID)
	return &tagged[adminwire.License]{ETag: strconv.Quote(strconv.FormatInt(l.Revision, 10)), Body: l}, err
}

func (s *server) lookup(ctx context.Context, in *body[adminwire.Lookup]) (*body[adminwire.License], error) {
	l, err := s.one(ctx, in.Body.Ref)
	return &body[adminwire.License]{l}, err
}

func (s *server) edit(ctx context.Context, id string, e authority.Edit) (*body[adminwire.Edited], error) {
	l, changed, err := s.a.Edit(ctx, actor(ctx), id, e)
	if err != nil {
		return nil, err
	}
	now, installs, err := s.a.License(ctx, l.ID)
	if authority.DryRun(ctx) {
		now = l // as it would be
	}
	return &body[adminwire.Edited]{adminwire.Edited{License: s.shown(now, installs), Changed: changed}}, err
}

func (s *server) renew(ctx context.Context, in *struct {
	IDInput
	Body adminwire.Renew
},
) (*body[adminwire.Edited], error) {
	at, d, err := s.end(in.Body.ExpiresAt, in.Body.For)
	if err != nil {
		return nil, err
	}
	return s.edit(ctx, in.ID, authority.Edit{Event: license.EventRenew, ExpiresAt: at, For: d, Perpetual: in.Body.Perpetual, Force: in.Body.Force})
}

func (s *server) revoke(ctx context.Context, in *struct {
	IDInput
	Body adminwire.Revoke
},
) (*body[adminwire.Edited], error) {
	return s.edit(ctx, in.ID, authority.Edit{Event: license.EventRevoke, Reason: in.Body.Reason})
}

func (s *server) removeInstall(ctx context.Context, in *struct {
	IDInput
	Install string `path:"install" maxLength:"128" doc:"Id of an install."`
	Body    adminwire.Remove
},
) (*body[adminwire.Removed], error) {
	i, changed, err := s.a.RemoveInstall(ctx, actor(ctx), in.ID, in.Install, in.Body.Reason)
	if err != nil {
		return nil, err
	}
	return &body[adminwire.Removed]{adminwire.Removed{Changed: changed, Install: adminwire.NewInstall(i)}}, nil
}

func (s *server) sign(ctx context.Context, in *body[wire.Request]) (*body[wire.Answer], error) {
	code, err := in.Body.BesideCode()
	if err != nil {
		return nil, err
	}
	staff := actor(ctx)
	ans, err := s.a.Request(ctx, in.Body.Request, code, authority.Caller{Addr: staff.Addr, Staff: &staff})
	return &body[wire.Answer]{wire.Answer(ans)}, err
}

func (s *server) keys(context.Context, *empty) (*body[adminwire.KeyList], error) {
	set := s.a.KeySet()
	return keyList(authority.InstalledKeys{Seq: set.Seq, ExpiresAt: set.ExpiresAt, Keys: s.a.Keys()}), nil
}

func keyList(in authority.InstalledKeys) *body[adminwire.KeyList] {
	out := adminwire.KeyList{Seq: in.Seq, ExpiresAt: in.ExpiresAt, Keys: []adminwire.Key{}}
	for _, k := range in.Keys {
		out.Keys = append(out.Keys, adminwire.Key(k))
	}
	return &body[adminwire.KeyList]{out}
}

func (s *server) anchors(context.Context, *empty) (*body[json.RawMessage], error) {
	data, err := token.MarshalAnchors(s.a.Anchors())
	return &body[json.RawMessage]{data}, err
}

func (s *server) rotate(ctx context.Context, _ *empty) (*body[adminwire.Rotated], error) {
	r, err := s.a.RotateKeys(ctx, actor(ctx))
	return &body[adminwire.Rotated]{adminwire.Rotated(r)}, err
}

func (s *server) propose(ctx context.Context, in *struct {
	Revoke []string `query:"revoke,explode" maxItems:"64" maxLength:"64" doc:"Ids of keys to leave out, which revokes them and all that they have signed."`
},
) (*body[adminwire.Proposal], error) {
	unsigned, err := s.a.ProposeKeySet(ctx, actor(ctx), in.Revoke...)
	return &body[adminwire.Proposal]{adminwire.Proposal{KeySet: unsigned}}, err
}

func (s *server) install(ctx context.Context, in *body[adminwire.KeySet]) (*body[adminwire.KeyList], error) {
	installed, err := s.a.InstallKeySet(ctx, actor(ctx), in.Body.Token)
	return keyList(installed), err
}
