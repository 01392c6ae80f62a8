package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func anchorsFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "anchors", Value: defaultAnchors, TakesFile: true,
		Usage: "the root keys to trust: `FILE` with the output of keys anchors -o json",
	}
}

func (p *program) verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Category: "Machines without a network", Usage: "check a licence file, offline",
		UsageText: "licensectl verify FILE.lic [--anchors F] [--product P] [--at TIME] [--status LIST] [--device CODE]",
		Description: "Says whether the licence is authentic, where it stands, and whether it was made for this machine.\n" +
			"Exits 0 where it is usable, 1 where it is damaged or forged, 3 where it is authentic but not usable here or now.\n" +
			"A key set in the file itself is never trusted by itself. Of the status lists in FILE and LIST the newest counts.\n" +
			"With --device it is judged for the machine that an identification code, or the marketplace's device\n" +
			"fingerprint, stands for.\n\n" +
			"Example:\n  licensectl verify customer.lic --anchors anchors.json --at 2027-01-31",
		Flags: []cli.Flag{
			anchorsFlag(),
			&cli.StringFlag{Name: "product", Usage: "the product it must be for, by `ID`; default: the one that the file names"},
			&cli.StringFlag{Name: "at", Usage: "judge it at this `TIME` instead of now: 2027-01-31 (its beginning), RFC 3339, or 30d from now"},
			&cli.StringFlag{Name: "status", Usage: "heed the status list in this `FILE` as well", TakesFile: true},
			&cli.StringFlag{Name: "device", Usage: "judge it for the machine with this identification `CODE` instead of this one; - reads it from standard input"},
			outputFlag(formTable, formJSON),
		},
		Action: p.verify,
	}
}

// verdict is what verify found, and its json form.
type verdict struct {
	Authentic    bool                `json:"authentic"`
	Usable       bool                `json:"usable"`
	Reason       license.Reason      `json:"reason,omitempty"` // why it is not usable
	Detail       string              `json:"detail,omitempty"`
	LicenseID    string              `json:"license_id,omitempty"`
	InstallID    string              `json:"install_id,omitempty"`
	Product      string              `json:"product,omitempty"`
	Customer     string              `json:"customer,omitempty"`
	Order        string              `json:"order,omitempty"`
	CodeLast4    string              `json:"code_last4,omitempty"`
	State        license.State       `json:"state,omitempty"`
	Phase        license.Phase       `json:"phase,omitempty"`
	Enforcement  license.Enforcement `json:"enforcement,omitempty"`
	At           *time.Time          `json:"at,omitempty"`
	Clock        client.ClockState   `json:"clock,omitempty"` // of an install: how far the clock is believed
	IssuedAt     *time.Time          `json:"issued_at,omitempty"`
	NotBefore    *time.Time          `json:"not_before,omitempty"`
	WarnAt       *time.Time          `json:"warn_at,omitempty"` // absent dates are those of a licence without end
	ExpiresAt    *time.Time          `json:"expires_at,omitempty"`
	BlockAt      *time.Time          `json:"block_at,omitempty"`
	RefreshAfter *time.Time          `json:"refresh_after,omitempty"`
	LeaseUntil   *time.Time          `json:"lease_until,omitempty"`
	StatusList   string              `json:"status_list,omitempty"` // the address that the licence names
	ListedAt     *time.Time          `json:"listed_at,omitempty"`   // of the list that was judged by
	Features     license.Features    `json:"features,omitempty"`
	Machine      *client.Explanation `json:"machine,omitempty"`

	guessed bool // the product is the one that the file names
}

func (p *program) verify(c *cli.Context) error {
	args, f, err := commandLine(c, []string{formTable, formJSON}, "a licence FILE")
	if err != nil {
		return err
	}
	at := p.now().UTC().Truncate(time.Second)
	if c.IsSet("at") {
		if at, err = p.readMoment(c, "--at", c.String("at"), ahead, p.zoneHere); err != nil {
			return err
		}
	}
	anchors, err := loadAnchors(c.String("anchors"))
	if err != nil {
		return err
	}
	file, err := p.readInput(args[0], "licence file")
	if err != nil {
		return err
	}
	if list := c.String("status"); list != "" {
		more, err := p.readInput(list, "status list file")
		if err != nil {
			return err
		}
		file = append(append(file, '\n'), more...)
	}
	machine := fingerprint.Collect
	if device, err := p.readDevice(c); err != nil {
		return err
	} else if !device.IsZero() {
		machine = func(context.Context) (fingerprint.Set, error) { return fingerprint.ParseMarketplace(device.Reveal()) }
	}
	v, err := judge(c.Context, file, anchors, c.String("product"), at, machine)
	if err != nil {
		return err
	}
	if f == formJSON {
		err = writeJSON(p.out, v)
	} else if v.Authentic {
		err = p.printVerdict(v)
	}
	if err != nil {
		return err
	}
	if !c.IsSet("at") && v.IssuedAt != nil && at.Add(client.ClockTolerance).Before(*v.IssuedAt) {
		p.note("warning: the clock of this machine shows %s, and the licence was issued on %s: set the clock right", when(&at, ""), when(v.IssuedAt, ""))
	}
	return v.status(args[0])
}

// judge verifies a file and looks at a machine. What is wrong with the licence
// stands in the verdict.
func judge(ctx context.Context, file []byte, anchors token.Anchors, product string, at time.Time,
	look func(context.Context) (fingerprint.Set, error),
) (verdict, error) {
	var v verdict
	if product == "" {
		named, err := productOf(file)
		if err != nil {
			return v.refused(err)
		}
		product, v.guessed = named, true
	}
	all, err := (&client.Verifier{Anchors: anchors, Product: product}).VerifyAll(file)
	if err != nil {
		return v.refused(err)
	}
	machine, err := look(ctx)
	if err != nil {
		return v, fmt.Errorf("look at the machine: %w", err)
	}
	// Of several licences in one file the one for this machine counts.
	lic := all[0]
	for _, l := range all {
		if l.Match(machine).OK {
			lic = l
			break
		}
	}
	v.fill(lic, lic.Check(at), lic.Explain(machine))
	return v, nil
}

// productOf is the product that the first licence of a file names.
func productOf(file []byte) (string, error) {
	parsed, err := token.ParseFile(file)
	if err != nil {
		return "", err
	}
	if len(parsed.Licenses) == 0 {
		return "", license.Errorf(license.Damaged, "the file holds no licence")
	}
	l, err := token.PeekLicense(parsed.Licenses[0])
	return l.Product, err
}

// refused notes why the file is not authentic or not for the product.
func (v verdict) refused(err error) (verdict, error) {
	var l *license.Error
	if !errors.As(err, &l) || l.Reason == license.BadRequest || l.Reason == license.Internal {
		return v, err
	}
	v.Reason, v.Detail = l.Reason, l.Detail
	return v, nil
}

func (v *verdict) fill(lic *client.License, st client.Status, machine client.Explanation) {
	claims := lic.Claims()
	v.Authentic, v.Usable, v.Reason = true, st.Usable && machine.OK, st.Reason
	v.LicenseID, v.InstallID, v.Product = claims.LicenseID, claims.InstallID, claims.Product
	v.Customer, v.Order, v.CodeLast4 = claims.Customer, claims.Order, claims.CodeLast4
	v.State, v.Phase, v.Enforcement, v.At, v.Clock = st.State, st.Phase, st.Enforcement, dated(st.At), st.Clock
	v.IssuedAt, v.NotBefore, v.WarnAt = dated(claims.Dates.IssuedAt), dated(st.NotBefore), dated(st.WarnAt)
	v.ExpiresAt, v.BlockAt = dated(st.ExpiresAt), dated(st.BlockAt)
	v.RefreshAfter, v.LeaseUntil = dated(st.RefreshAfter), dated(st.LeaseUntil)
	if v.StatusList = claims.Status.URI; !st.ListedAt.IsZero() {
		v.ListedAt = dated(st.ListedAt)
	}
	v.Features, v.Machine = claims.Features, &machine
	if st.Usable && !machine.OK {
		v.Reason = license.MachineMismatch
	}
	if !v.Usable {
		v.Detail = st.String()
		if v.Reason == license.MachineMismatch {
			v.Detail = machine.Advice
		}
	}
}

// dated is nil for "no end".
func dated(t time.Time) *time.Time {
	if !t.Before(license.Forever) {
		return nil
	}
	t = t.UTC()
	return &t
}

// status is the exit status as an error.
func (v verdict) status(file string) error {
	switch {
	case v.Usable:
		return nil
	case v.Authentic:
		return &statusError{status: exitRefused, text: fmt.Sprintf("%s is authentic and not usable here or now: %s (%s)", file, v.Detail, v.Reason)}
	case v.Reason == license.WrongProduct:
		return &statusError{status: exitRefused, text: fmt.Sprintf("%s: %s (%s)", file, v.Detail, v.Reason)}
	}
	return &statusError{status: exitFailed, text: fmt.Sprintf("%s is not authentic: %s (%s)", file, v.Detail, v.Reason)}
}

func (p *program) printVerdict(v verdict) error {
	product := v.Product
	if v.guessed {
		product += " (as the file names it; --product says which it must be)"
	}
	usable := "yes"
	if !v.Usable {
		usable = "no: " + strings.ReplaceAll(string(v.Reason), "_", " ")
	}
	var f fields
	f.add("authentic", "yes")
	f.add("usable", usable)
	f.add("licence", v.LicenseID)
	f.add("product", product)
	f.add("customer", v.Customer)
	f.add("order", v.Order)
	f.add("code", "…"+v.CodeLast4)
	f.add("state", string(v.State))
	f.add("phase", phaseText(v))
	f.add("judged at", when(v.At, ""))
	f.add("issued", when(v.IssuedAt, ""))
	f.add("warns from", when(v.WarnAt, ""))
	f.add("ends", when(v.ExpiresAt, "never"))
	f.add("blocks from", blockText(v))
	f.add("calls home", when(v.RefreshAfter, ""))
	f.add("lease until", when(v.LeaseUntil, "no lease"))
	f.add("status list", listText(v))
	for i, line := range featureLines(v.Features) {
		name := ""
		if i == 0 {
			name = "features"
		}
		f = append(f, [2]string{name, line})
	}
	f.add("machine", machineText(*v.Machine))
	if err := f.write(p.out); err != nil {
		return err
	}
	if v.Machine.OK {
		return nil
	}
	return p.printExplanation(*v.Machine)
}

func phaseText(v verdict) string {
	if v.Phase == license.PhaseBlocked && v.Reason != "" {
		return string(v.Phase) + ": " + strings.ReplaceAll(string(v.Reason), "_", " ")
	}
	return string(v.Phase)
}

// listText says which status list was judged by.
func listText(v verdict) string {
	switch {
	case v.StatusList == "":
		return ""
	case v.ListedAt == nil:
		return "none known of " + v.StatusList
	}
	return "of " + when(v.ListedAt, "")
}

func blockText(v verdict) string {
	if v.BlockAt == nil {
		return ""
	}
	return when(v.BlockAt, "") + " (" + string(v.Enforcement) + ")"
}

// featureLines wraps the features at the width of a screen.
func featureLines(features license.Features) []string {
	shown := make(map[string]any, len(features))
	for name, f := range features {
		shown[name] = f.String()
	}
	if len(shown) == 0 {
		return nil
	}
	return wrap(featureText(shown), maxWidth-16)
}
