package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

func (p *program) fingerprintCommand() *cli.Command {
	return &cli.Command{
		Name: "fingerprint", Category: "Machines without a network", Usage: "show what a licence could be bound to on this machine",
		UsageText: "licensectl fingerprint [--product P | --marketplace | --explain FILE.lic [--anchors F]]",
		Description: "Shows how much was found of each kind, never the values; --product shows the digests that would leave the\n" +
			"machine, --marketplace prints the marketplace's own string, which holds the values, and --explain compares\n" +
			"this machine with the one that a licence was made for (exits 3 where it is another one).\n" +
			"An id of your own comes from " + fingerprint.CustomVariable + " or " + fingerprint.CustomFile() + ".\n\n" +
			"Example:\n  licensectl fingerprint --explain customer.lic",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "product", Usage: "show the digests for this product, by `ID`"},
			&cli.BoolFlag{Name: "marketplace", Usage: "print MAC|DISK|BOARD|CPU as the marketplace wants it"},
			&cli.StringFlag{Name: "explain", Usage: "compare with the licence in `FILE`", TakesFile: true},
			anchorsFlag(), outputFlag(formTable, formJSON),
		},
		Action: p.fingerprint,
	}
}

func (p *program) fingerprint(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	f, err := form(c, formTable, formJSON)
	if err != nil {
		return err
	}
	if c.Bool("marketplace") && c.IsSet("explain") {
		return usagef("fingerprint takes one of --marketplace and --explain")
	}
	if c.IsSet("explain") {
		return p.explain(c, f)
	}
	machine, err := fingerprint.Collect(c.Context)
	if err != nil {
		return fmt.Errorf("look at this machine: %w", err)
	}
	if c.Bool("marketplace") {
		if f == formJSON {
			return writeJSON(p.out, map[string]string{"marketplace": machine.Marketplace()})
		}
		return p.say("%s", machine.Marketplace())
	}
	s := survey(machine, c.String("product"))
	if f == formJSON {
		return writeJSON(p.out, s)
	}
	return p.printSurvey(s, c.String("product"))
}

// machineSurvey is what was found on a machine, and its json form. Components
// holds digests, so it is there for a product only.
type machineSurvey struct {
	Environment string             `json:"environment"`
	Bindable    bool               `json:"bindable"` // under the fuzzy policy, which is the default
	Advice      string             `json:"advice,omitempty"`
	Product     string             `json:"product,omitempty"`
	Salt        []byte             `json:"salt,omitempty"`
	Components  license.Components `json:"components,omitempty"`
	Kinds       []surveyedKind     `json:"kinds"`
}

type surveyedKind struct {
	Kind  license.Kind `json:"kind"`
	Found int          `json:"found"`
	Note  string       `json:"note,omitempty"`
}

func survey(machine fingerprint.Set, product string) machineSurvey {
	fp := machine.Digests(product)
	s := machineSurvey{Environment: machine.Environment, Bindable: true}
	if _, err := license.Bind(license.PolicyFuzzy, fp); err != nil {
		s.Bindable = false
		s.Advice = "too little to bind a licence to: give the machine an id of your own by " + fingerprint.CustomVariable +
			" or " + fingerprint.CustomFile()
	}
	for _, kind := range license.Kinds() {
		s.Kinds = append(s.Kinds, surveyedKind{Kind: kind, Found: len(fp.Components[kind]), Note: machine.Notes[kind]})
	}
	if product != "" {
		s.Product, s.Salt, s.Components = product, fp.Salt, fp.Components
	}
	return s
}

func (p *program) printSurvey(s machineSurvey, product string) error {
	environment := s.Environment
	if environment == "" {
		environment = "not known"
	}
	if err := p.say("environment: %s", environment); err != nil {
		return err
	}
	t := newTable("COMPONENT", "FOUND")
	if product != "" {
		t = newTable("COMPONENT", "DIGEST FOR "+product)
	}
	for _, k := range s.Kinds {
		switch {
		case product == "":
			t.add(string(k.Kind), strconv.Itoa(k.Found))
		case k.Found == 0:
			t.add(string(k.Kind), "none")
		}
		for _, d := range s.Components[k.Kind] {
			t.add(string(k.Kind), string(d))
		}
	}
	if err := t.flush(p.out); err != nil {
		return err
	}
	if err := p.printNotes(s.Kinds); err != nil {
		return err
	}
	if s.Advice != "" {
		p.note("%s", s.Advice)
	}
	return nil
}

// printNotes says why kinds are absent, each reason once.
func (p *program) printNotes(kinds []surveyedKind) error {
	var notes []string
	of := map[string][]string{}
	for _, k := range kinds {
		if k.Note == "" {
			continue
		}
		if of[k.Note] == nil {
			notes = append(notes, k.Note)
		}
		of[k.Note] = append(of[k.Note], string(k.Kind))
	}
	for _, note := range notes {
		if err := p.say("%s: %s", strings.Join(of[note], ", "), note); err != nil {
			return err
		}
	}
	return nil
}

// explain compares this machine with the one that a licence was made for.
func (p *program) explain(c *cli.Context, f string) error {
	anchors, err := loadAnchors(c.String("anchors"))
	if err != nil {
		return err
	}
	path := c.String("explain")
	file, err := p.readInput(path, "licence file")
	if err != nil {
		return err
	}
	v, err := judge(c.Context, file, anchors, c.String("product"), p.now().UTC())
	if err != nil {
		return err
	}
	if !v.Authentic {
		return v.status(path)
	}
	e := *v.Machine
	if f == formJSON {
		err = writeJSON(p.out, e)
	} else {
		err = p.printMatch(e)
	}
	if err == nil && !e.OK {
		return &statusError{status: exitRefused, text: e.Advice}
	}
	return err
}

func (p *program) printMatch(e client.Explanation) error {
	if err := p.say("machine: %s", machineText(e)); err != nil {
		return err
	}
	return p.printExplanation(e)
}
