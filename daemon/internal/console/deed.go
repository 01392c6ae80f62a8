package console

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// deed is something that can be done from a page: a form, what would come of it, and
// the deed itself. The API tries it first, by a dry run, so that somebody sees what will
// be changed and confirms that. Both steps are for the revision that was seen, and the
// second carries an idempotency key that was made with the form: sent in twice, it is
// done once.
//
// Its texts are "deed.NAME.title", ".explain" and ".button"; those of its fields
// "field.FIELD", with ".hint" where they need one.
type deed struct {
	name    string
	section string // of the navigation
	least   authority.Role
	danger  bool // what it does is hard to mend
	untried bool // the API cannot try it: the second step only asks
	apart   bool // it is offered beside what it is about, not among the others
	fields  func(*visit, subject) []field
	about   func(*visit) (subject, error)
	do      func(context.Context, *visit, subject) (outcome, error)
}

// subject is what a deed is about.
type subject struct {
	Title    string // what a person calls it
	Back     string // its page
	Revision int64  // that is looked at; 0: it has none
	Shown    any    // as the API shows it, for comparison
}

// outcome is what a deed came to, or would come to.
type outcome struct {
	Changed bool
	Shown   any    // the subject afterwards; nil: it is not compared
	Facts   []fact // what else there is to say
	Calls   *table // rows that say what came of it
	Secret  string // shown this once, beside the facts
	Files   []download
	To      string // the page to go on to; "": that of the subject
}

// download is a file for whoever did it.
type download struct {
	Name, Kind, Data string
	Hidden           bool // it holds what is on the page already
}

// fact is one line that is shown: what it is called, by a text, and its value.
type fact struct {
	Name  string
	Value any
	As    string // how it is shown: time, day, num, bytes, code, a kind of word; "": as it is
	Badge string // the class of a badge; "": it is none
	Link  string // where it leads; "": nowhere
	Note  string // what stands below it
	Links []link // what can be done about it
}

type link struct{ Path, Text string }

// table is what a page shows in rows: the names of its columns, by texts, and its cells.
type table struct {
	Columns []string
	Rows    [][]fact
}

// field is one of a form.
type field struct {
	Name     string
	Kind     string // text, area, number, date, check, select, hidden
	Value    string
	Required bool
	Max      int // of a text, in characters
	Options  []option
	Few      string // where its hint needs a value
	Error    string
}

type option struct{ Value, Text string }

// What the form carries beside its fields.
const (
	formStep     = "step"
	formKey      = "key"
	formRevision = "revision"
	formFile     = "file"
	stepTry      = "try"
	stepDo       = "do"
)

// deedData is what the page of a deed shows.
type deedData struct {
	Name     string
	Title    string // of the subject
	Back     string
	Danger   bool
	Untried  bool
	Fields   []field
	Key      string
	Revision int64
	Refused  *refusal
	Stale    bool     // the subject was changed since
	Sent     []hidden // the fields, to be sent in again
	Changes  []changed
	Facts    []fact
	Calls    *table
	Secret   string
	Files    []download
	Nothing  bool // nothing would change
}

// serve is the page of a deed in all of its steps.
func (d deed) serve(v *visit) {
	if v.r.Method != http.MethodPost && !v.who.Role.Covers(d.least) { // the API refuses the rest, and writes it down
		v.refuse(license.Errorf(license.Forbidden, "this needs the role %s, and you are a %s", d.least, v.who.Role))
		return
	}
	s, err := d.about(v)
	if err != nil {
		v.refuse(err)
		return
	}
	step := v.r.PostForm.Get(formStep)
	if v.r.Method != http.MethodPost {
		d.form(v, s, nil)
		return
	}
	if step != stepDo || v.r.PostForm.Get(formKey) == "" {
		d.try(v, s)
		return
	}
	d.done(v, s)
}

// form shows the form, with what was sent in and why that is refused.
func (d deed) form(v *visit, s subject, refused error) {
	data := d.data(v, s)
	data.Revision, data.Key = s.Revision, rand.Text()
	status := http.StatusOK
	if refused != nil && !spent(refused) {
		data.Key = v.key()
	}
	if refused != nil {
		r := newRefusal(v.ctx(), refused)
		data.Refused, status = &r, wire.StatusOf(r.Reason)
		for i := range data.Fields {
			if data.Fields[i].Name == r.Field {
				data.Fields[i].Error = r.Detail
			}
		}
		if _, data.Stale = errors.AsType[*adminclient.RevisionError](refused); !data.Stale {
			data.Revision = v.seen(s) // what was entered is about what was seen then
		}
	}
	v.showAs(status, "deed", d.section, data)
}

// spent reports whether a key can do nothing any more after a refusal: it was used for
// another call, or for a revision that has passed. Else it stays with the form, above all
// where the call may have been made, or is being made: then it has the same outcome.
func spent(refused error) bool {
	e, ok := errors.AsType[*license.Error](refused)
	return ok && e.Reason == license.Conflict && e.RetryAfter == 0
}

func (d deed) data(v *visit, s subject) deedData {
	data := deedData{Name: d.name, Title: s.Title, Back: s.Back, Danger: d.danger, Untried: d.untried}
	if d.fields != nil {
		data.Fields = d.fields(v, s)
	}
	for i, f := range data.Fields {
		if v.r.Method == http.MethodPost {
			data.Fields[i].Value = v.r.PostForm.Get(f.Name)
		} else if given := v.r.URL.Query().Get(f.Name); given != "" {
			data.Fields[i].Value = given
		}
	}
	return data
}

// try shows what would come of it.
func (d deed) try(v *visit, s subject) {
	data := d.data(v, s)
	for _, f := range data.Fields {
		if f.Required && strings.TrimSpace(f.Value) == "" {
			d.form(v, s, license.FieldErrorf(f.Name, "%s", v.text("form.required")))
			return
		}
		data.Sent = append(data.Sent, hidden{f.Name, f.Value})
	}
	data.Revision, data.Key = v.seen(s), v.key()
	if !d.untried {
		ctx := adminclient.WithDryRun(adminclient.WithRevision(v.ctx(), data.Revision))
		out, err := d.do(ctx, v, s)
		if err != nil {
			d.form(v, s, err)
			return
		}
		data.Facts, data.Nothing = out.Facts, !out.Changed
		if out.Shown != nil && s.Shown != nil {
			data.Changes = differences(s.Shown, out.Shown)
		}
	}
	v.show("confirm", d.section, data)
}

// done does it, and says so.
func (d deed) done(v *visit, s subject) {
	v.longer()
	ctx := adminclient.WithIdempotencyKey(adminclient.WithRevision(v.ctx(), v.seen(s)), v.key())
	out, err := d.do(ctx, v, s)
	if err != nil {
		d.form(v, s, err)
		return
	}
	if name := v.form(formFile); name != "" {
		for _, f := range out.Files {
			if f.Name == name {
				v.attach(f.Name, f.Kind)
				_, _ = io.WriteString(v.w, f.Data) // the browser may be gone
				return
			}
		}
		v.refuse(license.Errorf(license.NotFound, "there is no such file"))
		return
	}
	if out.Secret == "" && len(out.Files) == 0 && out.Calls == nil {
		to, done := s.Back, d.name
		if out.To != "" {
			to = out.To
		}
		if !out.Changed {
			done = "nothing"
		}
		v.to(withQuery(to, "done", done))
		return
	}
	data := d.data(v, s)
	for _, f := range data.Fields {
		data.Sent = append(data.Sent, hidden{f.Name, f.Value})
	}
	data.Revision, data.Key = v.seen(s), v.key()
	data.Facts, data.Calls, data.Secret, data.Files = out.Facts, out.Calls, out.Secret, out.Files
	if out.To != "" {
		data.Back = out.To
	}
	v.show("done", d.section, data)
}

// deedTime is how long a deed may take until its answer is given up: a webhook that is
// tested, or fifty licences.
const deedTime = 3 * time.Minute

// longer lets an answer take longer than a page does.
func (v *visit) longer() {
	_ = http.NewResponseController(v.w).SetWriteDeadline(time.Now().Add(deedTime)) //nolint:forbidigo // a deadline of the network, not of a record
}

// attach begins an answer that a browser keeps as a file.
func (v *visit) attach(name, kind string) {
	h := v.w.Header()
	v.site.Headers(h)
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
}

// serveOne is the page of the deed that the address names.
func (v *visit) serveOne(deeds []deed) {
	name := v.r.PathValue("action")
	for _, d := range deeds {
		if d.name == name {
			d.serve(v)
			return
		}
	}
	v.refuse(license.Errorf(license.NotFound, "there is no such page"))
}

// offers are links to those of some deeds that whoever looks may do.
func (v *visit) offers(deeds []deed, fits func(deed) bool) (out []offer) {
	for _, d := range deeds {
		if !d.apart && v.who.Role.Covers(d.least) && (fits == nil || fits(d)) {
			out = append(out, offer{d.name, d.danger})
		}
	}
	return out
}

// seen is the revision that the form was made for.
func (v *visit) seen(s subject) int64 {
	if s.Revision == 0 {
		return 0
	}
	n, err := strconv.ParseInt(v.r.PostForm.Get(formRevision), 10, 64)
	if err != nil || n < 1 {
		return s.Revision
	}
	return n
}

// key is the idempotency key of a form; one that is none would be refused as a header.
func (v *visit) key() string {
	key := v.r.PostForm.Get(formKey)
	if key == "" || len(key) > 64 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return rand.Text()
	}
	return "console-" + strings.TrimPrefix(key, "console-")
}

func (v *visit) form(name string) string { return strings.TrimSpace(v.r.PostForm.Get(name)) }

func withQuery(path, name, value string) string {
	u, err := url.Parse(path)
	if err != nil {
		return path
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// changed is one thing that would be another one.
type changed struct {
	Name          string // by a text
	Of            string // the id of the part that it is about; "": the whole
	Kind          string // of a word
	Before, After string
}

// kinds are those of the words that members of the API's forms hold.
var kinds = map[string]string{
	"state": "state", "installs.state": "install", "phases.enforcement": "enforcement", "holds": "hold", "stage": "stage", "mode": "mode", "turn": "turn",
}

// differences compares two forms of the API, member by member. What counts changes and
// what says when it was looked at is left out, as is what counts for a licence where
// what it has of its own says so already.
func differences(before, after any) (out []changed) {
	b, a := flatten(before), flatten(after)
	names := make(map[string]bool)
	for name := range a {
		names[name] = a[name] != b[name]
	}
	for name := range b {
		names[name] = a[name] != b[name]
	}
	for name, differs := range names {
		own := strings.Replace(name, "_in_force", "", 1)
		if part, _, _ := strings.Cut(name, ":"); part == "history" || part == "made" || part == "warnings" {
			continue // they follow from the rest
		}
		if !differs || name == "revision" || name == "waits" || own != name && names[own] {
			continue
		}
		c := changed{Name: own, Before: cmp.Or(b[name], inForce(b, own)), After: cmp.Or(a[name], inForce(a, own))}
		if part, of, ok := strings.Cut(own, ":"); ok {
			id, member, _ := strings.Cut(of, ".")
			c.Name, c.Of = part+"."+member, id
		}
		c.Kind = kinds[c.Name]
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y changed) int {
		return cmp.Or(strings.Compare(x.Of, y.Of), strings.Compare(x.Name, y.Name))
	})
	return out
}

// inForce is what counts for a licence where it has nothing of its own.
func inForce(of map[string]string, own string) string {
	if part, member, ok := strings.Cut(own, "."); ok {
		return of[part+"_in_force."+member]
	}
	return of[own+"_in_force"]
}

// flatten gives every member of a form a name and a text: "phases.warn", and
// "installs:ID.state" for a member of the part with this id.
func flatten(v any) map[string]string {
	out := make(map[string]string)
	var walk func(name string, v any)
	walk = func(name string, v any) {
		switch v := v.(type) {
		case nil:
		case map[string]any:
			for k, e := range v {
				walk(strings.TrimPrefix(name+"."+k, "."), e)
			}
		case []any:
			texts := make([]string, 0, len(v))
			for i, e := range v {
				if m, ok := e.(map[string]any); ok {
					id := fmt.Sprint(i)
					if s, ok := m["id"].(string); ok {
						id = s
					}
					walk(name+":"+id, m)
					continue
				}
				texts = append(texts, fmt.Sprint(e))
			}
			if len(texts) > 0 {
				out[name] = strings.Join(texts, ", ")
			}
		default:
			if s := fmt.Sprint(v); s != "" {
				out[name] = s
			}
		}
	}
	walk("", plainForm(v))
	return out
}
