package console

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

const (
	sectionLicenses = "licenses"
	pathLicenses    = Prefix + "licenses"
	// perPage is how many rows a list has: a page of them stays below 60 KB.
	perPage = 50
	// timelinePage is how many entries of the audit log a licence shows.
	timelinePage = 50
)

// listData is what the list of licences shows.
type listData struct {
	pager

	Filter   adminclient.ListOptions
	Within   []option
	States   []option
	Products []option
	Licenses []adminwire.License
	CSV      string
	Bulk     bool // several can be changed at once
	Key      string
	Refused  *refusal
	Filtered bool
}

// licenseFilter is the filter that stands in the address.
func (v *visit) licenseFilter() adminclient.ListOptions {
	return adminclient.ListOptions{
		State: license.State(v.query("state")), Product: v.query("product"), Customer: v.query("customer"), Order: v.query("order"),
		Channel: v.query("channel"), Last4: strings.ToUpper(v.query("last4")), ExpiringWithin: v.query("within"),
		Forked: v.query("forked") != "", Trial: v.query("trial") != "", Cursor: v.query("cursor"),
	}
}

// licenses lists licences, by what stands in the address.
func (v *visit) licenses() {
	f := v.licenseFilter()
	f.Limit = perPage
	d := listData{
		Filter: f, CSV: withPath(v.r.URL, pathLicenses+".csv", "cursor", "done"), Filtered: len(withoutQuery(v.r.URL, "cursor", "done")) > 0,
		Bulk: v.who.Role.Covers(authority.RoleIssuer), Key: rand.Text(),
	}
	for _, s := range license.States() {
		d.States = append(d.States, option{string(s), v.text("state." + string(s))})
	}
	for _, span := range []string{"7d", "30d", "90d"} {
		d.Within = append(d.Within, option{span, v.text("within." + span)})
	}
	if f.ExpiringWithin != "" && !slices.ContainsFunc(d.Within, func(o option) bool { return o.Value == f.ExpiringWithin }) {
		d.Within = append(d.Within, option{f.ExpiringWithin, f.ExpiringWithin})
	}
	st, err := v.api.Status(v.ctx())
	if err != nil {
		v.refuse(err)
		return
	}
	for _, p := range st.Products {
		d.Products = append(d.Products, option{p, p})
	}
	page, err := v.api.Licenses(v.ctx(), f)
	if err != nil {
		r := newRefusal(v.ctx(), err)
		d.Refused = &r
		v.show("licenses", sectionLicenses, d)
		return
	}
	d.Licenses, d.pager = page.Licenses, v.pager(page.Next)
	v.show("licenses", sectionLicenses, d)
}

// withoutQuery is the query of an address without some of its names, and without what
// is empty.
func withoutQuery(u *url.URL, names ...string) url.Values {
	q := u.Query()
	for name, values := range q {
		if slices.Contains(names, name) || len(values) == 1 && values[0] == "" {
			q.Del(name)
		}
	}
	return q
}

// withPath is another address with the query of u, without some names.
func withPath(u *url.URL, path string, names ...string) string {
	if q := withoutQuery(u, names...); len(q) > 0 {
		return path + "?" + q.Encode()
	}
	return path
}

// find goes to the licence that a code or an id names, or to the list of those that an
// order, a customer or the last four characters of a code name. A code is never part
// of an address.
func (v *visit) find() {
	what := v.form("what")
	if what == "" {
		v.to(pathLicenses)
		return
	}
	l, err := v.api.Lookup(v.ctx(), what)
	if err == nil {
		v.to(licensePath(l.ID))
		return
	}
	if !slices.Contains([]license.Reason{license.UnknownCode, license.UnknownLicense, license.NotFound, license.BadRequest}, license.ReasonOf(err)) {
		v.refuse(err)
		return
	}
	for _, try := range []adminclient.ListOptions{{Last4: strings.ToUpper(what)}, {Order: what}, {Customer: what}} {
		if try.Last4 != "" && len(what) != 4 || len(what) > 256 {
			continue
		}
		try.Limit = 1
		page, err := v.api.Licenses(v.ctx(), try)
		if err != nil && license.ReasonOf(err) != license.BadRequest {
			v.refuse(err)
			return
		}
		if len(page.Licenses) > 0 {
			q := url.Values{}
			for name, value := range map[string]string{"last4": try.Last4, "order": try.Order, "customer": try.Customer} {
				if value != "" {
					q.Set(name, value)
				}
			}
			v.to(pathLicenses + "?" + q.Encode())
			return
		}
	}
	v.refuse(license.Errorf(license.NotFound, "%s", v.text("find.nothing")))
}

func licensePath(id string) string { return pathLicenses + "/" + url.PathEscape(id) }

// licenseData is what the page of one licence shows.
type licenseData struct {
	License  adminwire.License
	Live     []adminwire.Install
	Past     []adminwire.Install
	Features []feature
	Orders   []adminwire.Order
	Waiting  []adminwire.Transfer
	Events   []adminwire.Event
	More     string // address of those before them
	Deeds    []offer
	Remove   bool // an install can be removed
	Beyond   int  // how many machines more are let in
}

// offer is a link to a deed.
type offer struct {
	Name   string
	Danger bool
}

type feature struct {
	Name  string
	Value any
}

func sortedFeatures(features map[string]any) (out []feature) {
	for name, value := range features {
		out = append(out, feature{name, value})
	}
	slices.SortFunc(out, func(x, y feature) int { return strings.Compare(x.Name, y.Name) })
	return out
}

// license shows one licence.
func (v *visit) license() {
	id := v.r.PathValue("id")
	l, err := v.api.License(v.ctx(), id)
	if err != nil {
		v.refuse(err)
		return
	}
	d := licenseData{License: l}
	for _, i := range l.Installs {
		if i.State == license.InstallLive {
			d.Live = append(d.Live, i)
		} else {
			d.Past = append(d.Past, i)
		}
	}
	d.Features = sortedFeatures(l.Features)
	events, err := v.api.Events(v.ctx(), adminclient.EventOptions{License: l.ID, Newest: true, Limit: timelinePage, Cursor: v.r.URL.Query().Get("events")})
	if err != nil {
		v.refuse(err)
		return
	}
	d.Events = events.Events
	if events.Next != "" {
		d.More = licensePath(l.ID) + "?events=" + url.QueryEscape(events.Next) + "#timeline"
	}
	if transfers, err := v.api.Transfers(v.ctx(), adminclient.TransferOptions{License: l.ID}); err == nil {
		d.Waiting = slices.DeleteFunc(transfers.Transfers, func(t adminwire.Transfer) bool { return t.State != license.TransferWaiting })
	}
	if orders, err := v.api.Orders(v.ctx(), adminclient.OrderOptions{License: l.ID}); err == nil {
		d.Orders = orders.Orders
	}
	d.Deeds = v.offers(licenseDeeds(), func(one deed) bool { return offered(one, l) })
	if l.OverageInForce != nil {
		d.Beyond = *l.OverageInForce
	}
	d.Remove = v.who.Role.Covers(authority.RoleIssuer)
	v.show("license", sectionLicenses, d)
}

// licenseAction is the page of something that can be done to a licence.
func (v *visit) licenseAction() { v.serveOne(licenseDeeds()) }

// holdMerchant is the name of the merchant's hold.
const holdMerchant = "merchant"

// eventOf are the events of the table of states that deeds are.
var eventOf = map[string]license.Event{
	"renew": license.EventRenew, "edit": license.EventEdit, "upgrade": license.EventUpgrade, "suspend": license.EventSuspend,
	"resume": license.EventResume, "release": license.EventRelease, "revoke": license.EventRevoke, "undo-revoke": license.EventUndoRevoke,
}

// offered reports whether a deed makes sense for a licence as it is.
func offered(d deed, l adminwire.License) bool {
	held := slices.Contains(l.Holds, holdMerchant)
	switch d.name {
	case "suspend":
		if held {
			return false
		}
	case "resume":
		if !held {
			return false
		}
	case "release", "revoke":
		if l.State == license.StateReleased || l.State == license.StateRevoked {
			return false
		}
	case "transfer":
		return l.InUse > 0
	}
	for _, rule := range license.Rules() {
		if rule.Event == eventOf[d.name] {
			return rule.In[l.State] == license.Apply
		}
	}
	return true
}

// aboutLicense is the licence that the address names.
func aboutLicense(v *visit) (subject, error) {
	l, err := v.api.License(v.ctx(), v.r.PathValue("id"))
	if err != nil {
		return subject{}, err
	}
	title := l.Product + " …" + l.CodeLast4
	if l.Customer != "" {
		title += ", " + l.Customer
	}
	return subject{Title: title, Back: licensePath(l.ID), Revision: l.Revision, Shown: l}, nil
}

// withoutRevision is a subject of a deed that the API makes for any revision.
func withoutRevision(about func(*visit) (subject, error)) func(*visit) (subject, error) {
	return func(v *visit) (subject, error) {
		s, err := about(v)
		s.Revision = 0
		return s, err
	}
}

func licenseRef(s subject) (string, adminwire.OrderLine) {
	l, _ := s.Shown.(adminwire.License)
	return l.ID, adminwire.OrderLine{}
}

// edits is a deed that comes to an edited licence.
func edits(call func(context.Context, *visit, adminwire.License) (adminwire.Edited, error)) func(context.Context, *visit, subject) (outcome, error) {
	return func(ctx context.Context, v *visit, s subject) (outcome, error) {
		l, _ := s.Shown.(adminwire.License)
		e, err := call(ctx, v, l)
		if err != nil {
			return outcome{}, err
		}
		return outcome{Changed: e.Changed, Shown: e.License}, nil
	}
}

// licenseDeeds is what can be done to a licence, in the order in which it is offered.
func licenseDeeds() []deed {
	of := func(name string, d deed) deed {
		d.name, d.section, d.least, d.about = name, sectionLicenses, authority.RoleIssuer, aboutLicense
		if name == "identify" || name == "prove" {
			d.about = withoutRevision(aboutLicense)
		}
		return d
	}
	plain := func(call func(*adminclient.Client, context.Context, string) (adminwire.Edited, error)) func(context.Context, *visit, subject) (outcome, error) {
		return edits(func(ctx context.Context, v *visit, l adminwire.License) (adminwire.Edited, error) {
			return call(v.api, ctx, l.ID)
		})
	}
	return []deed{
		of("renew", deed{fields: renewFields, do: edits(renew)}),
		of("edit", deed{fields: editFields, do: edits(edit)}),
		of("upgrade", deed{fields: upgradeFields, do: edits(upgrade)}),
		of("transfer", deed{fields: transferFields, do: moveOff}),
		of("suspend", deed{do: plain((*adminclient.Client).Suspend)}),
		of("resume", deed{do: plain((*adminclient.Client).Resume)}),
		of("revoke", deed{danger: true, fields: func(*visit, subject) []field {
			return []field{{Name: "reason", Kind: "text", Required: true, Max: 512}}
		}, do: edits(func(ctx context.Context, v *visit, l adminwire.License) (adminwire.Edited, error) {
			return v.api.Revoke(ctx, l.ID, v.form("reason"))
		})}),
		of("undo-revoke", deed{do: plain((*adminclient.Client).UndoRevoke)}),
		of("release", deed{danger: true, do: plain((*adminclient.Client).Release)}),
		of("identify", deed{fields: identifyFields, do: identify(licenseRef)}),
		of("prove", deed{do: prove(licenseRef)}),
		of("remove", deed{danger: true, apart: true, fields: removeFields, do: removeInstall}),
		of("approve", deed{apart: true, fields: decideFields, do: decide((*adminclient.Client).ApproveTransfer)}),
		of("deny", deed{apart: true, fields: decideFields, do: decide((*adminclient.Client).DenyTransfer)}),
	}
}

// plainForm is a form of the API as JSON makes it, with numbers as they stand.
func plainForm(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	var out any
	if dec.Decode(&out) != nil {
		return nil
	}
	return out
}
