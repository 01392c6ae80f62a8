package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/proofpage"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func (p *program) proofCommand() *cli.Command {
	return &cli.Command{
		Name: "proof", Category: "Orders", Usage: "make a signed proof of delivery, and check one offline",
		UsageText: "licensectl proof ORDER|LICENSE [-o F.html|F.json]\nlicensectl proof verify F",
		Description: "The proof says which licence was made for an order, when, and which machines and files it went to. It holds\n" +
			"no secret, and of a code only its end. A FILE that ends in .html is a page in Chinese and English, to be printed or\n" +
			"uploaded; any other, and standard output, is JSON. Both hold the signed form.\n\n" +
			"Examples:\n" +
			"  licensectl proof CS2211181819B4LVS -o proof.html\n" +
			"  licensectl proof verify proof.html --anchors anchors.json",
		Flags:       append([]cli.Flag{fileFlag("proof"), yesFlag()}, lineFlags()...),
		Subcommands: []*cli.Command{p.proofVerifyCommand()},
		Action:      p.proof,
	}
}

func (p *program) proof(c *cli.Context) error {
	args, err := arguments(c, "an ORDER or the ID or CODE of a LICENSE")
	if err != nil {
		return err
	}
	if err := noForm(c); err != nil {
		return err
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	made, err := admin.Prove(c.Context, adminwire.Prove{OrderLine: readLine(c), Ref: args[0]})
	if err != nil {
		return fmt.Errorf("proof: %w", err)
	}
	if c.Bool("dry-run") {
		return p.say("a proof of %s can be made", args[0])
	}
	f := token.DeliveryFile{Delivery: made.Delivery, Keys: made.Keys}
	var data []byte
	switch strings.ToLower(filepath.Ext(c.String("output"))) {
	case ".html", ".htm":
		data, err = proofpage.Render(f)
	default:
		var b bytes.Buffer
		err = writeJSON(&b, f)
		data = b.Bytes()
	}
	if err != nil {
		return err
	}
	return p.writeOutput(c, data, 0o644, "proof of delivery")
}

func (p *program) proofVerifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "check a proof of delivery, offline, and print what was signed",
		UsageText: "licensectl proof verify F [--anchors A] [--keys K] [--license L.lic] [--device CODE]",
		Description: "Exits 0 where it is authentic, 1 where it is damaged or forged, 3 where it is authentic and does not name the file\n" +
			"of --license, or the device of --device. What is printed is what was signed, whatever the page around it shows.\n\n" +
			"Example:\n  licensectl proof verify proof.html --anchors anchors.json --license license.lic",
		Flags: []cli.Flag{
			anchorsFlag(),
			&cli.StringFlag{Name: "keys", Usage: "`FILE` with a newer key set, such as a licence file: a key that it does not list any more is revoked", TakesFile: true},
			&cli.StringFlag{Name: "license", Usage: "the licence `FILE` that must have been handed out", TakesFile: true},
			deviceFlag("the identification `CODE` that must have been licensed"),
			outputFlag(formTable, formJSON),
		},
		Action: p.proofVerify,
	}
}

// proven is what verify found, and its json form.
type proven struct {
	Authentic bool            `json:"authentic"`
	Reason    license.Reason  `json:"reason,omitempty"`
	Detail    string          `json:"detail,omitempty"`
	KeyID     string          `json:"key_id,omitempty"`
	License   *bool           `json:"license_file,omitempty"` // names the file of --license
	Device    *bool           `json:"device,omitempty"`       // names the device of --device
	Claims    json.RawMessage `json:"claims,omitempty"`

	cut string // says that the proof does not name all machines, where that is so
}

func (p *program) proofVerify(c *cli.Context) error {
	args, form, err := commandLine(c, []string{formTable, formJSON}, "a proof FILE")
	if err != nil {
		return err
	}
	anchors, err := loadAnchors(c.String("anchors"))
	if err != nil {
		return err
	}
	data, err := p.readInput(args[0], "proof")
	if err != nil {
		return err
	}
	d, err := p.verifyProof(c, data, anchors)
	var found proven
	if refused, ok := errors.AsType[*license.Error](err); ok && (refused.Reason == license.Forged || refused.Reason == license.Damaged) {
		found.Reason, found.Detail = refused.Reason, refused.Detail
	} else if err != nil {
		return err
	} else if err := p.prove(c, d, &found); err != nil {
		return err
	}
	if form == formJSON {
		err = writeJSON(p.out, found)
	} else if found.Authentic {
		err = p.printProof(d, found)
	}
	if err != nil {
		return err
	}
	return found.status(args[0])
}

// verifyProof verifies a proof by the newest key set there is.
func (p *program) verifyProof(c *cli.Context, data []byte, anchors token.Anchors) (token.Delivery, error) {
	f, err := token.ParseDeliveryFile(data)
	if err != nil {
		return token.Delivery{}, err
	}
	keys, fault := newestSet(token.KeySet{}, []string{f.Keys}, anchors)
	if path := c.String("keys"); path != "" {
		more, err := p.readInput(path, "key set file")
		if err != nil {
			return token.Delivery{}, err
		}
		parsed, err := token.ParseFile(more)
		if err != nil || len(parsed.KeySets) == 0 {
			return token.Delivery{}, usagef("%s holds no key set", path)
		}
		// It may be what revokes the key of the proof, so it is not passed over.
		if keys, fault = newestSet(keys, parsed.KeySets, anchors); fault != nil {
			return token.Delivery{}, usagef("no key set of %s verifies: %v", path, fault)
		}
	}
	if fault != nil {
		return token.Delivery{}, fault
	}
	return token.VerifyDelivery(f.Delivery, keys)
}

// newestSet returns the newest of the key sets that verify and the one at hand. It
// fails where none verifies.
func newestSet(keys token.KeySet, sets []string, anchors token.Anchors) (token.KeySet, error) {
	var fault error
	found := false
	for _, raw := range sets {
		set, err := token.VerifyKeySet(raw, anchors)
		if err != nil {
			fault = err
			continue
		}
		if found = true; keys.Raw == "" || set.Newer(keys) {
			keys = set
		}
	}
	if found {
		return keys, nil
	}
	return keys, fault
}

// prove compares what was signed with what the command line names.
func (p *program) prove(c *cli.Context, d token.Delivery, found *proven) error {
	found.Authentic, found.KeyID = true, d.KeyID
	if n := len(d.Machines); d.MachineCount > n {
		found.cut = fmt.Sprintf("; of %d machines it names only the last %d", d.MachineCount, n)
	}
	data, err := token.DeliveryFile{Delivery: d.Raw}.MarshalJSON()
	if err != nil {
		return err
	}
	var doc struct{ Claims json.RawMessage }
	if err := json.Unmarshal(data, &doc); err != nil {
		return err
	}
	found.Claims = doc.Claims
	device, err := p.readDevice(c)
	if err != nil {
		return err
	}
	if !device.IsZero() {
		digest, _ := license.DigestCode(license.ProductSalt(d.Product), device.Reveal())
		found.Device = names(d, func(m token.DeliveredTo) bool { return m.Device != "" && m.Device == digest })
	}
	if path := c.String("license"); path != "" {
		file, err := p.readInput(path, "licence file")
		if err != nil {
			return err
		}
		sum := sha256.Sum256(file)
		found.License = names(d, func(m token.DeliveredTo) bool { return m.Has(sum[:]) })
		if d.HasText(sum[:]) {
			found.License = new(true)
		}
	}
	return nil
}

func names(d token.Delivery, is func(token.DeliveredTo) bool) *bool {
	return new(slices.ContainsFunc(d.Machines, is))
}

// status is the exit status as an error.
func (f proven) status(file string) error {
	switch {
	case !f.Authentic:
		return &statusError{status: exitFailed, text: fmt.Sprintf("%s is not authentic: %s (%s)", file, f.Detail, f.Reason)}
	case f.License != nil && !*f.License:
		return &statusError{status: exitRefused, text: file + " is authentic and does not name this licence file" + f.cut}
	case f.Device != nil && !*f.Device:
		return &statusError{status: exitRefused, text: file + " is authentic and does not name this device" + f.cut}
	}
	return nil
}

func (p *program) printProof(d token.Delivery, found proven) error {
	at := func(t time.Time, none string) string {
		return when(&t, none)
	}
	yes := func(is *bool) string {
		switch {
		case is == nil:
			return ""
		case *is:
			return "it is named"
		}
		return "it is not named"
	}
	var f fields
	f.add("authentic", "yes")
	f.add("number", d.ID)
	f.add("issued", at(d.IssuedAt, ""))
	f.add("issuer", d.Issuer)
	f.add("key", d.KeyID)
	f.add("order", d.Order)
	f.add("line", d.Line)
	f.add("channel", d.Channel)
	f.add("instance", d.Instance)
	f.add("customer", d.Customer)
	f.add("product", d.Product)
	f.add("licence", d.LicenseID)
	if d.CodeLast4 != "" {
		f.add("code", "…"+d.CodeLast4)
	}
	f.add("ordered", at(d.OrderedAt, ""))
	f.add("licence made", at(d.LicensedAt, ""))
	f.add("activated", at(d.ActivatedAt, ""))
	f.add("delivered", at(d.DeliveredAt, ""))
	f.add("ends", at(d.ExpiresAt, "never"))
	f.add("licence file", yes(found.License))
	f.add("device", yes(found.Device))
	if len(d.Text) > 0 {
		f.add("text", hex.EncodeToString(d.Text)+" of "+at(d.TextAt, ""))
	}
	if d.Rejections > 0 {
		f.add("rejected", count(d.Rejections, "time", "times"))
	}
	for _, h := range d.History {
		text := string(h.Stage) + " " + at(h.At, "")
		if !h.EnteredAt.IsZero() {
			text += ", entered " + at(h.EnteredAt, "")
		}
		if h.Note != "" {
			text += ": " + h.Note
		}
		f.add("history", text)
	}
	machines := fmt.Sprint(d.MachineCount)
	if d.MachineCount > len(d.Machines) {
		machines += fmt.Sprintf(", of which the last %d are named", len(d.Machines))
	}
	f.add("machines", machines)
	for _, m := range d.Machines {
		f.add("", m.Install+", "+at(m.At, ""))
		if m.Device != "" {
			f.add("", "  identification code with the digest "+string(m.Device))
		}
		if len(m.File) > 0 {
			f.add("", "  file "+hex.EncodeToString(m.File)+" of "+at(m.FileAt, ""))
		}
		for _, h := range m.Earlier {
			f.add("", "  before it "+hex.EncodeToString(h.File)+" of "+at(h.At, ""))
		}
	}
	return f.write(p.out)
}
