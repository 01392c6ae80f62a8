package console

import (
	"net/http"
	"strings"

	"github.com/seed-357fa782/licensed/license/wire"
)

// pager are the links of a list that is shown by pages.
type pager struct {
	Next  string // address of the next page; "" on the last
	First string // address of the first one; "" on it
}

// pager leads from the page that is looked at to the one behind a cursor.
func (v *visit) pager(next string) (p pager) {
	path := v.r.URL.Path
	if v.query("cursor") != "" {
		p.First = withPath(v.r.URL, path, "cursor", "done")
	}
	if next != "" {
		p.Next = withQuery(withPath(v.r.URL, path, "cursor", "done"), "cursor", next)
	}
	return p
}

// query is what the address holds under a name.
func (v *visit) query(name string) string { return strings.TrimSpace(v.r.URL.Query().Get(name)) }

// list is a page that is a table with what selects its rows. Its texts are
// "section.NAME", "NAME.explain" and "NAME.none".
type list struct {
	pager

	Name     string
	Path     string // of the deeds
	Deeds    []offer
	Facts    []fact
	Filters  []field
	Filtered bool
	Plain    string // the address without a filter
	Table    table
	Refused  *refusal
}

// list is one for the page that is looked at. Its filters have the values that stand in
// the address.
func (v *visit) list(name string, columns []string, filters ...field) list {
	l := list{Name: name, Plain: v.r.URL.Path, Table: table{Columns: columns}, Filters: filters}
	for i, f := range l.Filters {
		l.Filters[i].Value = v.query(f.Name)
		l.Filtered = l.Filtered || l.Filters[i].Value != ""
	}
	return l
}

// showList shows a list, or why the rows that the address selects cannot be shown.
func (v *visit) showList(l list, next string, err error) {
	status := http.StatusOK
	if err != nil {
		r := newRefusal(v.ctx(), err)
		l.Refused, status = &r, wire.StatusOf(r.Reason)
	}
	l.pager = v.pager(next)
	section := l.Name
	if section == "restore" { // which belongs to the settings
		section = sectionSettings
	}
	v.showAs(status, "list", section, l)
}

// deedLink is a link to a deed about a row.
func (v *visit) deedLink(path, name string) link {
	return link{path, v.text("deed." + name + ".title")}
}
