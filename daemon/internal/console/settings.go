package console

import (
	"context"
	"net/url"
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

const (
	sectionSettings = "settings"
	pathSettings    = Prefix + sectionSettings
	pathRestore     = Prefix + "restore"
)

// settingsData is what the page of the settings shows. Nothing can be changed there:
// settings stand in the configuration file.
type settingsData struct {
	Status   adminwire.Status
	Daemon   []fact
	Store    []fact
	Clock    []fact
	Backups  []fact
	Daemons  *table
	Restored bool // there is a restore to look at
}

// settings shows what the daemon says of itself.
func (v *visit) settings() {
	r, err := v.api.Restore(v.ctx()) // of the whole: the API refuses it to somebody for some products
	if err != nil {
		v.refuse(err)
		return
	}
	st, err := v.api.Status(v.ctx())
	if err != nil {
		v.refuse(err)
		return
	}
	d := settingsData{Status: st, Restored: r.BegunAt != nil}
	d.Daemon = []fact{
		{Name: "version", Value: st.Version},
		{Name: "started_at", Value: st.StartedAt, As: "time"},
		{Name: "issuer", Value: st.Issuer, As: "code"},
		{Name: "public", Value: st.Public, As: "code"},
		{Name: "ops", Value: st.Ops, As: "code"},
		{Name: "time_zone", Value: st.TimeZone},
		{Name: "products", Value: strings.Join(st.Products, ", ")},
		{Name: "channels", Value: strings.Join(st.Channels, ", ")},
	}
	d.Store = []fact{{Name: "store", Value: st.Store, As: "code"}, {Name: "store_bytes", Value: st.StoreBytes, As: "bytes"}, {Name: "data_dir", Value: st.DataDir, As: "code"}}
	if st.Disk != nil {
		d.Store = append(d.Store, fact{Name: "disk_free", Value: st.Disk.Free, As: "bytes"}, fact{Name: "disk_total", Value: st.Disk.Total, As: "bytes"})
	}
	d.Clock = []fact{
		{Name: "clock_state", Value: st.Clock.State, As: "clock", Badge: clockBadge(st.Clock.State)},
		{Name: "clock_now", Value: st.Clock.Now, As: "time"},
		{Name: "last_record", Value: st.Clock.LastRecord, As: "time"},
	}
	if b := st.Backups; b != nil {
		d.Backups = []fact{
			{Name: "backup_dir", Value: b.Dir, As: "code"},
			{Name: "backup_every", Value: b.Every},
			{Name: "backup_last", Value: b.Last, As: "time", Note: b.LastFile},
			{Name: "backup_bytes", Value: b.Bytes, As: "bytes"},
			{Name: "backup_kept", Value: b.Kept, As: "num"},
			{Name: "backup_next", Value: b.Next, As: "time"},
		}
		if b.Failure != "" {
			d.Backups = append(d.Backups, fact{Name: "failure", Value: b.Failure})
		}
	}
	d.Daemons = &table{Columns: []string{"host", "version", "started_at", "seen_at", "clock_ahead"}}
	for _, one := range st.Daemons {
		host := fact{Value: one.Host, Note: one.ID}
		if one.Self {
			host.Note += " " + v.text("settings.self")
		}
		d.Daemons.Rows = append(d.Daemons.Rows, []fact{
			host, {Value: one.Version}, {Value: one.StartedAt, As: "time"}, {Value: one.SeenAt, As: "time"}, {Value: one.ClockAhead, As: "num"},
		})
	}
	v.show("settings", sectionSettings, d)
}

func clockBadge(state string) string {
	if state == adminwire.Trusted {
		return "ok"
	}
	return "fail"
}

// restore shows reconcile mode: what a restored store has lost, and what there is to
// decide.
func (v *visit) restore() {
	l := v.list("restore", []string{"restore_kind", "license", "at", "done_since", "proven", "deeds"})
	r, err := v.api.Restore(v.ctx())
	if err != nil {
		v.refuse(err)
		return
	}
	l.Path = pathRestore
	if r.Open {
		l.Deeds = v.offers(restoreDeeds(), nil)
	}
	state := fact{Name: "restore_state", Value: "closed", As: "restore", Badge: "ok"}
	if r.Open {
		state.Value, state.Badge = "open", "warn"
	}
	complete := v.text("word.no")
	if r.Complete {
		complete = v.text("word.yes")
	}
	l.Facts = []fact{
		state,
		{Name: "begun_at", Value: r.BegunAt, As: "time"},
		{Name: "finished_at", Value: r.FinishedAt, As: "time"},
		{Name: "made_at", Value: r.HeadAt, As: "time"},
		{Name: "complete", Value: complete},
		{Name: "lost", Value: r.Lost, As: "num"},
		{Name: "applied", Value: r.Applied, As: "num"},
		{Name: "adopted", Value: r.Adopted, As: "num"},
	}
	items, err := v.api.RestoreItems(v.ctx(), perPage, v.query("cursor"))
	acts := v.who.Role.Covers(authority.RoleAdmin)
	for _, i := range items.Items {
		proven := v.text("word.no")
		if i.Proven {
			proven = v.text("word.yes")
		}
		var done []string
		for _, a := range i.Actions {
			done = append(done, v.word("action", a))
		}
		row := []fact{
			{Value: i.Kind, As: "restoreKind", Note: i.Install},
			{Value: i.License, As: "code", Link: licensePath(i.License)},
			{Value: i.At, As: "time"},
			{Value: strings.Join(done, ", ")},
			{Value: proven},
			{},
		}
		if acts {
			q := url.Values{"id": {i.ID}}.Encode()
			row[5] = fact{Links: []link{v.deedLink(pathRestore+"/adopt?"+q, "adopt"), v.deedLink(pathRestore+"/forgo?"+q, "forgo")}}
		}
		l.Table.Rows = append(l.Table.Rows, row)
	}
	v.showList(l, items.Next, err)
}

func (v *visit) restoreAction() { v.serveOne(restoreDeeds()) }

// restoreDeeds is what there is to decide after a restore.
func restoreDeeds() []deed {
	of := func(name string, d deed) deed {
		d.name, d.section, d.least = name, sectionSettings, authority.RoleAdmin
		d.about = func(v *visit) (subject, error) {
			return subject{Title: v.text("section.restore"), Back: pathRestore}, nil
		}
		return d
	}
	decide := func(decision string) func(context.Context, *visit, subject) (outcome, error) {
		return func(ctx context.Context, v *visit, _ subject) (outcome, error) {
			i, err := v.api.RestoreDecide(ctx, adminwire.RestoreDecide{ID: v.form("id"), Decision: decision})
			if err != nil {
				return outcome{}, err
			}
			return outcome{Changed: true, Facts: []fact{
				{Name: "restore_kind", Value: i.Kind, As: "restoreKind"}, {Name: "license", Value: i.License, As: "code"}, {Name: "install", Value: i.Install, As: "code"},
			}}, nil
		}
	}
	id := func(*visit, subject) []field { return []field{{Name: "id", Kind: "hidden"}} }
	return []deed{
		of("adopt", deed{apart: true, fields: id, do: decide("adopt")}),
		of("forgo", deed{apart: true, danger: true, fields: id, do: decide("drop")}),
		of("finish", deed{danger: true, fields: func(*visit, subject) []field {
			return []field{{Name: "drop_rest", Kind: "check"}}
		}, do: func(ctx context.Context, v *visit, _ subject) (outcome, error) {
			r, err := v.api.RestoreFinish(ctx, adminwire.RestoreFinish{DropRest: v.form("drop_rest") != ""})
			if err != nil {
				return outcome{}, err
			}
			return outcome{Changed: true, Facts: []fact{{Name: "dropped", Value: r.Dropped, As: "num"}}}, nil
		}}),
	}
}
