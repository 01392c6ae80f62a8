package console

import (
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

const (
	sectionTransfers = "transfers"
	pathTransfers    = Prefix + sectionTransfers
)

// transferRow is a move to another machine with the licence that is to move.
type transferRow struct {
	adminwire.Transfer

	Of adminwire.License
}

// transfersData is what the list of moves shows.
type transfersData struct {
	pager
	Rows   []transferRow
	Decide bool
}

// transfers lists the moves to another machine that were asked for.
func (v *visit) transfers() {
	list, err := v.api.Transfers(v.ctx(), adminclient.TransferOptions{License: v.query("license"), Limit: perPage, Cursor: v.query("cursor")})
	if err != nil {
		v.refuse(err)
		return
	}
	d := transfersData{pager: v.pager(list.Next), Decide: v.who.Role.Covers(authority.RoleIssuer)}
	for _, t := range list.Transfers {
		l, err := v.api.License(v.ctx(), t.License)
		if err != nil { // it may be gone; the move is shown all the same
			l = adminwire.License{ID: t.License}
		}
		d.Rows = append(d.Rows, transferRow{t, l})
	}
	v.show("transfers", sectionTransfers, d)
}

// transferFacts is what is known of a move.
func transferFacts(t adminwire.Transfer) []fact {
	var bound []string
	for _, k := range t.Bound {
		bound = append(bound, string(k))
	}
	return []fact{
		{Name: "request", Value: t.ID, As: "code"},
		{Name: "transferState", Value: string(t.State), As: "transfer"},
		{Name: "bound", Value: strings.Join(bound, ", "), As: "component"},
		{Name: "environment", Value: t.Environment},
		{Name: "addr", Value: t.Addr},
		{Name: "asked_at", Value: t.AskedAt, As: "time"},
	}
}
