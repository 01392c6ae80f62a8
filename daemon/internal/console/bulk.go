package console

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// What becomes of a row.
const (
	rowChanges = "changes" // would be changed
	rowDone    = "done"
	rowNothing = "nothing"
	rowRefused = "refused"
)

// bulkRow is one of several licences that are changed at once.
type bulkRow struct {
	License  adminwire.License
	Revision int64 // that was looked at
	Came     string
	Changes  []changed
	Refused  *refusal
}

// Value names the row in the form: a licence and the revision that was looked at.
func (r bulkRow) Value() string { return r.License.ID + " " + strconv.FormatInt(r.Revision, 10) }

// bulkData is what the page of a change of several licences shows.
type bulkData struct {
	Action  string
	Back    string
	Danger  bool
	Fields  []field
	Ask     bool // what the fields hold is asked for first
	Done    bool
	Rows    []bulkRow
	Key     string
	Counts  map[string]int // of rows, by what becomes of them
	Sent    []hidden
	Refused *refusal
}

// bulkDeed is a change that can be made to several licences.
type bulkDeed struct {
	name   string
	danger bool
	fields []field
	call   func(context.Context, *visit, string) (adminwire.Edited, error)
}

func bulkDeeds() []bulkDeed {
	return []bulkDeed{
		{name: "suspend", call: func(ctx context.Context, v *visit, id string) (adminwire.Edited, error) {
			return v.api.Suspend(ctx, id)
		}},
		{name: "resume", call: func(ctx context.Context, v *visit, id string) (adminwire.Edited, error) {
			return v.api.Resume(ctx, id)
		}},
		{
			name: "extend", fields: []field{{Name: "for", Kind: "text", Required: true, Max: 32}},
			call: func(ctx context.Context, v *visit, id string) (adminwire.Edited, error) {
				return v.api.Renew(ctx, id, adminwire.Renew{For: v.form("for")})
			},
		},
		{
			name: "revoke", danger: true, fields: []field{{Name: "reason", Kind: "text", Required: true, Max: 512}},
			call: func(ctx context.Context, v *visit, id string) (adminwire.Edited, error) {
				return v.api.Revoke(ctx, id, v.form("reason"))
			},
		},
	}
}

// bulk changes several licences: what would come of each is shown first, then they are
// changed one by one, each for the revision that was looked at and under a key of its
// own, so that a form that is sent in twice changes each of them once.
func (v *visit) bulk() {
	if !v.who.Role.Covers(authority.RoleIssuer) {
		v.refuse(license.Errorf(license.Forbidden, "this needs the role %s, and you are a %s", authority.RoleIssuer, v.who.Role))
		return
	}
	v.longer()
	var deed bulkDeed
	for _, d := range bulkDeeds() {
		if d.name == v.form("action") {
			deed = d
		}
	}
	rows := v.bulkRows()
	switch {
	case deed.name == "":
		v.refuse(license.FieldErrorf("action", "%s", v.text("bulk.noAction")))
		return
	case len(rows) == 0:
		v.refuse(license.FieldErrorf("id", "%s", v.text("bulk.noRows")))
		return
	case len(rows) > perPage:
		v.refuse(license.FieldErrorf("id", "%s", v.site.Text(v.r, "bulk.tooMany", perPage)))
		return
	}
	d := bulkData{
		Action: deed.name, Danger: deed.danger, Rows: rows, Key: v.bulkKey(), Counts: make(map[string]int),
		Back: ownPage(v.form("back")), Sent: []hidden{{"action", deed.name}, {"back", ownPage(v.form("back"))}},
	}
	step := v.form(formStep)
	for _, f := range deed.fields {
		f.Value = v.form(f.Name)
		if f.Value == "" {
			d.Ask = true
			if step != "" {
				f.Error = v.text("form.required")
			}
		}
		d.Fields = append(d.Fields, f)
	}
	if !d.Ask {
		for _, f := range d.Fields {
			d.Sent = append(d.Sent, hidden{f.Name, f.Value})
		}
		d.Done = step == stepDo && v.form(formKey) != ""
	}
	for i := range d.Rows {
		v.bulkRow(&d, deed, &d.Rows[i])
	}
	v.show("bulk", sectionLicenses, d)
}

// bulkRow tries one row, or does it.
func (v *visit) bulkRow(d *bulkData, deed bulkDeed, r *bulkRow) {
	l, err := v.api.License(v.ctx(), r.License.ID)
	if err == nil {
		if r.License = l; r.Revision == 0 {
			r.Revision = l.Revision
		}
		if d.Ask {
			return
		}
		ctx := adminclient.WithRevision(v.ctx(), r.Revision)
		if d.Done {
			ctx = adminclient.WithIdempotencyKey(ctx, d.Key+"/"+l.ID)
		} else {
			ctx = adminclient.WithDryRun(ctx)
		}
		var e adminwire.Edited
		if e, err = deed.call(ctx, v, l.ID); err == nil {
			switch {
			case !e.Changed:
				r.Came = rowNothing
			case d.Done:
				r.Came, r.License = rowDone, e.License
			default:
				r.Came, r.Changes = rowChanges, differences(l, e.License)
			}
		}
	}
	if err != nil {
		f := newRefusal(v.ctx(), err)
		r.Came, r.Refused = rowRefused, &f
	}
	d.Counts[r.Came]++
}

// bulkRows are the licences that were chosen, each once.
func (v *visit) bulkRows() (out []bulkRow) {
	seen := make(map[string]bool)
	for _, value := range v.r.PostForm["id"] {
		id, revision, _ := strings.Cut(value, " ")
		if id == "" || seen[id] {
			continue
		}
		seen[id] = true
		n, err := strconv.ParseInt(revision, 10, 64)
		if err != nil || n < 1 {
			n = 0
		}
		out = append(out, bulkRow{License: adminwire.License{ID: id}, Revision: n})
	}
	return out
}

// bulkKey is the idempotency key of the form, which every row makes its own.
func (v *visit) bulkKey() string {
	if v.form(formKey) == "" {
		return rand.Text()
	}
	return v.key()
}
