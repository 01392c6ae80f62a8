package main

import (
	"fmt"
	"slices"
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
	_, f, err := commandLine(c, []string{formTable, formJSON})
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
	return p.printSurvey(s)
}

// machineSurvey is what was found on a machine, and its json form. Components
// holds digests, so it is there for a product only.
type machineSurvey struct {
	Environment string             `json:"environment"`
	Bindable    bool               `json:"bindable"` // under the fuzzy policy, which is the default
	Policies    []license.Policy   `json:"policies"` // under which it is
	Advice      string             `json:"advice,omitempty"`
	Product     string             `json:"product,omitempty"`
	Salt        []byte             `json:"salt,omitempty"`
	Components  license.Components `json:"components,omitempty"`
	Kinds       []surveyedKind     `json:"kinds"`
}

type surveyedKind struct {
	Kind   license.Kind   `json:"kind"`
	Found  int            `json:"found"`  // how many of them count: at most license.MaxDigests
	Weight license.Weight `json:"weight"` // under the fuzzy policy
	Note   string         `json:"note,omitempty"`
}

func survey(machine fingerprint.Set, product string) machineSurvey {
	fp := machine.Digests(product)
	s := machineSurvey{Environment: machine.Environment, Policies: []license.Policy{}}
	for _, policy := range []license.Policy{license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose} {
		if _, err := license.Bind(policy, fp); err == nil {
			s.Policies = append(s.Policies, policy)
		}
	}
	s.Bindable = slices.Contains(s.Policies, license.PolicyFuzzy)
	supply := "give it a machine id of your own by " + fingerprint.CustomVariable + " or " + fingerprint.CustomFile()
	switch {
	case s.Bindable:
	case machine.Environment == fingerprint.Container:
		s.Advice = "a container has nothing of its own to bind a licence to; " + supply +
			", the same whenever it is made anew and another one for each container"
	default:
		s.Advice = "this machine shows too little to bind a licence to under fuzzy, which is the default; " + supply
	}
	for _, kind := range license.Kinds() {
		k := surveyedKind{Kind: kind, Found: len(fp.Components[kind]), Weight: license.PolicyFuzzy.Weight(kind), Note: machine.Notes[kind]}
		if found := len(machine.Values[kind]); k.Note == "" && found > license.MaxDigests {
			k.Note = fmt.Sprintf("%d were found, of which %d count", found, license.MaxDigests)
		}
		s.Kinds = append(s.Kinds, k)
	}
	if product != "" {
		s.Product, s.Salt, s.Components = product, fp.Salt, fp.Components
	}
	return s
}

func (p *program) printSurvey(s machineSurvey) error {
	var f fields
	f.add("environment", environmentText(s.Environment))
	f.add("can be bound", bindableText(s.Policies))
	if err := f.write(p.out); err != nil {
		return err
	}
	if err := p.say(""); err != nil {
		return err
	}
	t := newTable("COMPONENT", "FOUND", "WEIGHT", "WHAT IT IS")
	if s.Product != "" {
		t = newTable("COMPONENT", "DIGEST FOR "+s.Product)
	}
	for _, k := range s.Kinds {
		switch {
		case s.Product == "":
			t.add(string(k.Kind), strconv.Itoa(k.Found), k.Weight.String(), k.Kind.Description())
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
	var notes []remark
	for _, k := range s.Kinds {
		notes = append(notes, remark{k.Kind, k.Note})
	}
	if err := p.printRemarks(notes); err != nil {
		return err
	}
	if s.Advice != "" {
		return p.paragraph(s.Advice)
	}
	return nil
}

func environmentText(environment string) string {
	if environment == "" {
		return "not known"
	}
	return environment
}

func bindableText(policies []license.Policy) string {
	if len(policies) == 0 {
		return "no"
	}
	var names []string
	for _, policy := range policies {
		names = append(names, string(policy))
	}
	return "under " + strings.Join(names, ", ")
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
	v, err := judge(c.Context, file, anchors, c.String("product"), p.now().UTC(), fingerprint.Collect)
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

// printMatch says whether this is the machine, and why.
func (p *program) printMatch(e client.Explanation) error {
	if err := p.say("machine: %s", machineText(e)); err != nil {
		return err
	}
	if err := p.say("environment: %s", environmentText(e.Environment)); err != nil {
		return err
	}
	return p.printExplanation(e)
}

func machineText(e client.Explanation) string {
	if e.Policy == license.PolicyNone {
		return "not bound to a machine"
	}
	var same []string
	for _, c := range e.Components {
		if c.Outcome == license.OutcomeMatch {
			same = append(same, string(c.Kind))
		}
	}
	text := "this one"
	if !e.OK {
		text = "another one"
	}
	text += fmt.Sprintf(" (%s", e.Policy)
	if len(same) > 0 {
		text += ", same " + strings.Join(same, ", ")
	}
	return text + ")"
}

// printExplanation says component by component why a machine does or does not
// match. What to do where it does not is left to the error that follows.
func (p *program) printExplanation(e client.Explanation) error {
	if len(e.Components) > 0 {
		if err := p.say(""); err != nil {
			return err
		}
		t := newTable("COMPONENT", "OUTCOME", "WEIGHT", "COUNTS", "BOUND", "HERE")
		for _, c := range e.Components {
			bound, seen := digestEnds(c.Bound), digestEnds(c.Seen)
			t.add(string(c.Kind), string(c.Outcome), c.Weight.String(), string(c.Effect), bound[0], seen[0])
			for i := 1; i < max(len(bound), len(seen)); i++ {
				t.add("", "", "", "", at(bound, i), at(seen, i))
			}
		}
		if err := t.flush(p.out); err != nil {
			return err
		}
	}
	var remarks []remark
	for _, c := range e.Components {
		remarks = append(remarks, remark{c.Kind, c.Advice})
	}
	if err := p.printRemarks(remarks); err != nil {
		return err
	}
	text := e.Finding
	if e.OK && e.Advice != "" {
		text += "; " + e.Advice
	}
	return p.paragraph(text)
}

// remark is what there is to say about a kind.
type remark struct {
	kind license.Kind
	text string
}

// printRemarks says each remark once, with all the kinds that it is about.
func (p *program) printRemarks(remarks []remark) error {
	var texts []string
	of := map[string][]string{}
	for _, r := range remarks {
		if r.text == "" {
			continue
		}
		if of[r.text] == nil {
			texts = append(texts, r.text)
		}
		of[r.text] = append(of[r.text], string(r.kind))
	}
	if len(texts) == 0 {
		return nil
	}
	if err := p.say(""); err != nil {
		return err
	}
	for _, text := range texts {
		if err := p.lines(strings.Join(of[text], ", ")+": "+text, "  "); err != nil {
			return err
		}
	}
	return nil
}

// paragraph writes text after an empty line.
func (p *program) paragraph(text string) error {
	if err := p.say(""); err != nil {
		return err
	}
	return p.lines(text, "")
}

// lines writes text at the width of a table, all lines but the first indented.
func (p *program) lines(text, indent string) error {
	for i, line := range wrap(printable(text), maxWidth-len(indent)) {
		if i > 0 {
			line = indent + line
		}
		if err := p.say("%s", line); err != nil {
			return err
		}
	}
	return nil
}

// digestEnds marks ends of digests as ends, a few in each line.
func digestEnds(ends []string) []string {
	if len(ends) == 0 {
		return []string{"-"}
	}
	var lines []string
	for some := range slices.Chunk(ends, 4) {
		lines = append(lines, "…"+strings.Join(some, " …"))
	}
	return lines
}

// at is the line with a number, where there is one.
func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}
