package console

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// endFields are the three ways to give an end.
func endFields() []field {
	return []field{
		{Name: "expires_at", Kind: "date"},
		{Name: "for", Kind: "text", Max: 32},
		{Name: "perpetual", Kind: "check"},
	}
}

// day is the end of the day that a field of the form holds, nil for none.
func (v *visit) day(name string) (*time.Time, error) {
	day := v.form(name)
	if day == "" {
		return nil, nil //nolint:nilnil // none was given, which is no error
	}
	end, err := license.EndOfDay(day, v.o.Zone)
	if err != nil {
		return nil, license.FieldErrorf(name, "%s", newRefusal(v.ctx(), err).Detail)
	}
	return &end, nil
}

// instant is the instant that a field of the form holds, as browsers write one.
func (v *visit) instant(name string) (*time.Time, error) { return v.time(name, v.form(name)) }

// time reads an instant, or the beginning of a day; nil for none.
func (v *visit) time(name, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // none was given, which is no error
	}
	for _, form := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly} {
		if at, err := time.ParseInLocation(form, text, v.o.Zone); err == nil {
			return &at, nil
		}
	}
	return nil, license.FieldErrorf(name, "%s", v.text("form.day"))
}

// end is the end that a field holds: that of a day, or an instant.
func (v *visit) end(name string) (*time.Time, error) {
	if strings.Contains(v.form(name), "T") {
		return v.instant(name)
	}
	return v.day(name)
}

// written is an instant as such a field shows it: the day where the time is that which a
// day stands for.
func (v *visit) written(t *time.Time, meant string) string {
	if t == nil {
		return ""
	}
	day, at, _ := strings.Cut(t.In(v.o.Zone).Format("2006-01-02T15:04:05"), "T")
	if at == meant {
		return day
	}
	return day + "T" + at
}

// number is the number that a field of the form holds, 0 for none.
func (v *visit) number(name string) (int, error) {
	text := v.form(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, license.FieldErrorf(name, "%s", v.text("form.number"))
	}
	return n, nil
}

// features reads name=value from the lines of a field; a name alone is switched on, and
// one that is false is taken away.
func (v *visit) features(name string) (map[string]any, error) {
	out := make(map[string]any)
	for line := range strings.Lines(v.r.PostForm.Get(name)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		feature, value, given := strings.Cut(line, "=")
		feature, value = strings.TrimSpace(feature), strings.TrimSpace(value)
		if !given {
			value = "true"
		}
		if _, twice := out[feature]; feature == "" || value == "" || twice {
			return nil, license.FieldErrorf(name, "%s", v.site.Text(v.r, "form.feature", line))
		}
		if value == "false" {
			out[feature] = false
			continue
		}
		out[feature] = license.ParseFeature(value)
	}
	if len(out) == 0 {
		return nil, nil //nolint:nilnil // none were given, which is no error
	}
	return out, nil
}

// words are options for the words of a kind, after one for none of them.
func words[T ~string](v *visit, kind, none string, values []T) []option {
	out := []option{{"", v.text(none)}}
	for _, value := range values {
		text := v.text(kind + "." + string(value))
		if text == kind+"."+string(value) {
			text = string(value)
		}
		out = append(out, option{string(value), text})
	}
	return out
}

func renewFields(*visit, subject) []field {
	return append(endFields(), field{Name: "force", Kind: "check"})
}

func renew(ctx context.Context, v *visit, l adminwire.License) (adminwire.Edited, error) {
	end, err := v.day("expires_at")
	if err != nil {
		return adminwire.Edited{}, err
	}
	return v.api.Renew(ctx, l.ID, adminwire.Renew{
		ExpiresAt: end, For: v.form("for"), Perpetual: v.form("perpetual") != "", Force: v.form("force") != "",
	})
}

// editFields hold what a licence has of its own; what is empty follows the product.
func editFields(v *visit, s subject) []field {
	l, _ := s.Shown.(adminwire.License)
	overage := ""
	if l.Overage != nil {
		overage = strconv.Itoa(*l.Overage)
	}
	return []field{
		{Name: "phases.warn", Kind: "text", Max: 32, Value: l.Phases.Warn},
		{Name: "phases.grace", Kind: "text", Max: 32, Value: l.Phases.Grace},
		{
			Name: "phases.enforcement", Kind: "select", Value: string(l.Phases.Enforcement),
			Options: words(v, "enforcement", "form.product", []license.Enforcement{license.EnforceBlock, license.EnforceDegrade, license.EnforceAdvisory}),
		},
		{Name: "phases.lease", Kind: "text", Max: 32, Value: l.Phases.Lease},
		{Name: "phases.refresh", Kind: "text", Max: 32, Value: l.Phases.Refresh},
		{Name: "overage", Kind: "number", Value: overage},
	}
}

func edit(ctx context.Context, v *visit, l adminwire.License) (adminwire.Edited, error) {
	own := func(name string) string { // depends on the form alone, so that it is the same call when it is sent in again
		if text := v.form(name); text != "" {
			return text
		}
		return adminwire.FollowProduct
	}
	return v.api.Edit(ctx, l.ID, adminwire.Edit{
		Phases: adminwire.Phases{
			Warn: own("phases.warn"), Grace: own("phases.grace"), Enforcement: license.Enforcement(own("phases.enforcement")),
			Lease: own("phases.lease"), Refresh: own("phases.refresh"),
		},
		Overage: own("overage"),
	})
}

// products are options for the products that whoever looks may see.
func (v *visit) products(none string) []option {
	out := []option{{"", v.text(none)}}
	if st, err := v.api.Status(v.ctx()); err == nil {
		for _, p := range st.Products {
			out = append(out, option{p, p})
		}
	}
	return out
}

func upgradeFields(v *visit, _ subject) []field {
	return append(append([]field{
		{Name: "to_product", Kind: "select", Options: v.products("form.asIs")},
		{Name: "machines", Kind: "number"},
		{Name: "features", Kind: "area", Max: 8192},
	}, endFields()...), field{Name: "end_installs", Kind: "check"})
}

func upgrade(ctx context.Context, v *visit, l adminwire.License) (out adminwire.Edited, err error) {
	u := adminwire.Upgrade{
		Product: v.form("to_product"), For: v.form("for"), Perpetual: v.form("perpetual") != "", Force: v.form("end_installs") != "",
	}
	if u.Machines, err = v.number("machines"); err != nil {
		return out, err
	}
	if u.Features, err = v.features("features"); err != nil {
		return out, err
	}
	if u.ExpiresAt, err = v.day("expires_at"); err != nil {
		return out, err
	}
	return v.api.Upgrade(ctx, l.ID, u)
}

// installs are options for the installs of a licence that are in use.
func installs(l adminwire.License, onMachine bool) (out []option) {
	for _, i := range l.Installs {
		if i.State == license.InstallLive && (!onMachine || i.OnMachine()) {
			text := i.ID
			if i.Environment != "" {
				text += " (" + i.Environment + ")"
			}
			out = append(out, option{i.ID, text})
		}
	}
	return out
}

func transferFields(_ *visit, s subject) []field {
	l, _ := s.Shown.(adminwire.License)
	return []field{
		{Name: "install", Kind: "select", Required: true, Options: installs(l, true)},
		{Name: "reason", Kind: "text", Max: 512},
		{Name: "despite_policy", Kind: "check"},
	}
}

func moveOff(ctx context.Context, v *visit, s subject) (outcome, error) {
	l, _ := s.Shown.(adminwire.License)
	m, err := v.api.MoveOff(ctx, l.ID, adminwire.MoveOff{
		Install: v.form("install"), Reason: v.form("reason"), Force: v.form("despite_policy") != "",
	})
	if err != nil {
		return outcome{}, err
	}
	facts := []fact{{Name: "ends", Value: strings.Join(m.Ended, ", "), As: "code"}}
	if m.Forced {
		facts = append(facts, fact{Name: "forced", Value: v.text("word.yes")})
	}
	return outcome{Changed: m.Changed, Facts: facts}, nil
}

func removeFields(v *visit, s subject) []field {
	l, _ := s.Shown.(adminwire.License)
	choice := installs(l, false)
	if asked := v.form("install"); v.r.Method == "POST" && !slices.ContainsFunc(choice, func(o option) bool { return o.Value == asked }) {
		choice = append(choice, option{asked, asked}) // it has ended since
	}
	return []field{
		{Name: "install", Kind: "select", Required: true, Options: choice},
		{Name: "reason", Kind: "text", Max: 512},
	}
}

func removeInstall(ctx context.Context, v *visit, s subject) (outcome, error) {
	l, _ := s.Shown.(adminwire.License)
	r, err := v.api.RemoveInstall(ctx, l.ID, v.form("install"), v.form("reason"))
	if err != nil {
		return outcome{}, err
	}
	return outcome{Changed: r.Changed, Facts: []fact{
		{Name: "install", Value: r.Install.ID, As: "code"}, {Name: "installState", Value: string(r.Install.State), As: "install"},
	}}, nil
}

func decideFields(*visit, subject) []field {
	return []field{{Name: "request", Kind: "hidden"}, {Name: "reason", Kind: "text", Max: 512}}
}

// decide decides about a move to another machine.
func decide(call func(*adminclient.Client, context.Context, string, adminwire.DecideTransfer) (adminwire.Decided, error)) func(context.Context, *visit, subject) (outcome, error) {
	return func(ctx context.Context, v *visit, s subject) (outcome, error) {
		l, _ := s.Shown.(adminwire.License)
		d, err := call(v.api, ctx, l.ID, adminwire.DecideTransfer{Request: v.form("request"), Reason: v.form("reason")})
		if err != nil {
			return outcome{}, err
		}
		return outcome{Changed: d.Changed, Facts: transferFacts(d.Transfer), To: pathTransfers}, nil
	}
}
