package console

import (
	"context"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

const (
	sectionKeys = "keys"
	pathKeys    = Prefix + sectionKeys
	// affectedPage is up to how many installs that a key's end affects are counted, for
	// affectedKeys keys.
	affectedPage = 1000
	affectedKeys = 5
)

// keysData is what the page of the keys shows.
type keysData struct {
	Path    string
	Deeds   []offer
	Health  adminwire.KeyHealth
	Facts   []fact
	Keys    *table
	Revoked *table
}

// keys shows the key set, how old its keys are, and those that are being revoked.
func (v *visit) keys() {
	revoked, err := v.api.KeyRevocations(v.ctx()) // of the whole: the API refuses it to somebody for some products
	if err != nil {
		v.refuse(err)
		return
	}
	set, err := v.api.Keys(v.ctx())
	if err != nil {
		v.refuse(err)
		return
	}
	st, err := v.api.Status(v.ctx())
	if err != nil {
		v.refuse(err)
		return
	}
	h := st.Keys
	d := keysData{Path: pathKeys, Deeds: v.offers(keyDeeds(), nil), Health: h, Keys: &table{Columns: []string{"kid", "key_role", "not_before", "not_after", "private"}}}
	d.Facts = []fact{
		{Name: "key_seq", Value: set.Seq, As: "num"},
		{Name: "set_expires_at", Value: set.ExpiresAt, As: "time"},
		{Name: "current_since", Value: h.CurrentSince, As: "time"},
		{Name: "current_until", Value: h.CurrentUntil, As: "time"},
		{Name: "ahead", Value: h.Ahead, As: "num"},
		{Name: "standbys", Value: h.Standbys, As: "num"},
	}
	if h.RotateAt != nil {
		d.Facts = append(d.Facts, fact{Name: "rotate_at", Value: h.RotateAt, As: "time"})
	}
	for _, k := range set.Keys {
		private := fact{Value: v.text("word.no")}
		if k.Private {
			private.Value = v.text("word.yes")
		}
		d.Keys.Rows = append(d.Keys.Rows, []fact{
			{Value: k.ID, As: "code"}, {Value: k.Role, As: "keyRole", Badge: k.Role}, {Value: k.NotBefore, As: "day"}, {Value: k.NotAfter, As: "day"}, private,
		})
	}
	d.Revoked = &table{Columns: []string{"kid", "key_role", "reason", "revoke_asked_at", "revoke_ended_at", "affected"}}
	for i, r := range revoked.Revocations {
		affected := fact{}
		if i < affectedKeys {
			list, err := v.api.Affected(v.ctx(), adminclient.AffectedOptions{Keys: []string{r.KID}, Limit: affectedPage})
			if err != nil {
				v.refuse(err)
				return
			}
			affected = fact{Value: len(list.Installs), As: "num"}
			if list.Next != "" {
				affected.Note = v.text("keys.orMore")
			}
		}
		d.Revoked.Rows = append(d.Revoked.Rows, []fact{
			{Value: r.KID, As: "code"}, {Value: r.Role, As: "keyRole"}, {Value: r.Reason}, {Value: r.AskedAt, As: "time"}, {Value: r.EndedAt, As: "time"}, affected,
		})
	}
	v.show("keys", sectionKeys, d)
}

func (v *visit) keyAction() { v.serveOne(keyDeeds()) }

func keyDeeds() []deed {
	return []deed{{
		name: "rotate", section: sectionKeys, least: authority.RoleAdmin, danger: true,
		about: func(v *visit) (subject, error) { return subject{Title: v.text("section.keys"), Back: pathKeys}, nil },
		do: func(ctx context.Context, v *visit, _ subject) (outcome, error) {
			r, err := v.api.Rotate(ctx)
			if err != nil {
				return outcome{}, err
			}
			return outcome{Changed: true, Facts: []fact{{Name: "key_current", Value: r.Current, As: "code"}, {Name: "key_retired", Value: r.Retired, As: "code"}}}, nil
		},
	}}
}
