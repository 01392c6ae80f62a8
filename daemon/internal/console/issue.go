package console

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// maxIssue is how many licences are issued at once: as many as a page can show.
const maxIssue = 100

// issueDeed makes licences, and shows their codes this once.
func issueDeed() deed {
	return deed{
		name: "issue", section: sectionLicenses, least: authority.RoleIssuer, fields: issueFields, do: issue,
		about: func(v *visit) (subject, error) {
			return subject{Title: v.text("section.licenses"), Back: pathLicenses}, nil
		},
	}
}

func (v *visit) issue() { issueDeed().serve(v) }

func issueFields(v *visit, _ subject) []field {
	products := v.products("form.choose")
	if len(products) == 2 { // there is nothing to choose
		products = products[1:]
	}
	return append(append([]field{
		{Name: "product", Kind: "select", Required: true, Options: products},
		{Name: "customer", Kind: "text", Max: 256},
		{Name: "order", Kind: "text", Max: 128},
	}, endFields()...),
		field{Name: "trial", Kind: "check"},
		field{Name: "machines", Kind: "number"},
		field{Name: "features", Kind: "area", Max: 8192},
		field{Name: "count", Kind: "number", Value: "1"},
	)
}

func issue(ctx context.Context, v *visit, _ subject) (out outcome, err error) {
	o := adminwire.Issue{
		Product: v.form("product"), Customer: v.form("customer"), Order: v.form("order"), For: v.form("for"),
		Perpetual: v.form("perpetual") != "", Trial: v.form("trial") != "",
	}
	if o.ExpiresAt, err = v.day("expires_at"); err != nil {
		return out, err
	}
	if o.Machines, err = v.number("machines"); err != nil {
		return out, err
	}
	if o.Features, err = v.features("features"); err != nil {
		return out, err
	}
	if o.Count, err = v.number("count"); err != nil || o.Count > maxIssue {
		return out, license.FieldErrorf("count", "%s", v.site.Text(v.r, "issue.count", maxIssue))
	}
	o.Count = max(o.Count, 1)
	made, err := v.api.Issue(ctx, o)
	if err != nil {
		return out, err
	}
	out = outcome{Changed: true, Facts: issueFacts(v, made.Licenses), To: pathLicenses}
	if len(made.Licenses) == 0 || made.Licenses[0].Code == "" { // a dry run makes none
		return out, nil
	}
	if len(made.Licenses) == 1 {
		out.To = licensePath(made.Licenses[0].ID)
	}
	var codes []string
	var b bytes.Buffer
	b.WriteString(byteOrderMark)
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"code", "id", "product", "customer", "order", "expires_at"}) // a buffer takes all
	for _, l := range made.Licenses {
		codes = append(codes, l.Code)
		_ = w.Write(safeCells(l.Code, l.ID, l.Product, l.Customer, l.Order, stamp(l.ExpiresAt)))
	}
	w.Flush()
	out.Secret = strings.Join(codes, "\n")
	out.Files = []download{{Name: "codes.csv", Kind: typeCSV, Data: b.String(), Hidden: true}}
	return out, nil
}

// issueFacts is what the licences of one issue have in common.
func issueFacts(v *visit, made []adminwire.License) []fact {
	if len(made) == 0 {
		return nil
	}
	l := made[0]
	facts := []fact{
		{Name: "count", Value: len(made), As: "num"},
		{Name: "product", Value: l.Product},
		{Name: "customer", Value: l.Customer},
		{Name: "order", Value: l.Order},
		{Name: "expires_at", Value: l.ExpiresAt, As: "time"},
		{Name: "machines", Value: l.Machines, As: "num"},
	}
	if l.ExpiresAt == nil {
		facts[4] = fact{Name: "expires_at", Value: v.text("license.perpetual")}
	}
	if l.Trial {
		facts = append(facts, fact{Name: "trial", Value: v.text("word.yes")})
	}
	var features []string
	for _, f := range sortedFeatures(l.Features) {
		features = append(features, f.Name+"="+fmt.Sprint(f.Value))
	}
	if len(features) > 0 {
		facts = append(facts, fact{Name: "features", Value: strings.Join(features, ", "), As: "code"})
	}
	return facts
}
