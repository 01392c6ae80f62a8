package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// Stages of the end of keys.
const (
	stageNone    = "none"    // no key was ever marked
	stageSign    = "sign"    // an anchor has to sign a key set without them
	stageRefresh = "refresh" // it is in force, and installs have to get new licences
	stageDone    = "done"
)

func (p *program) keysDrillCommand() *cli.Command {
	return &cli.Command{
		Name: "drill", Usage: "say how far the revocation of keys is, and what to do next",
		UsageText: "licensectl keys drill",
		Description: "Run it after each step, until it says that nothing is left to do. It changes nothing.\n\n" +
			"Example:\n  licensectl keys drill",
		Flags:  []cli.Flag{outputFlag(formTable, formJSON)},
		Action: p.keysDrill,
	}
}

// keyDrill is what keys drill prints as JSON.
type keyDrill struct {
	Stage       string                    `json:"stage"`
	Next        []string                  `json:"next"` // what to do
	Revocations []adminwire.KeyRevocation `json:"revocations"`
	Affected    affectedCounts            `json:"affected"`
}

func (p *program) keysDrill(c *cli.Context) error {
	_, f, admin, err := p.begin(c, []string{formTable, formJSON})
	if err != nil {
		return err
	}
	list, err := admin.KeyRevocations(c.Context)
	if err != nil {
		return err
	}
	status, err := admin.Status(c.Context)
	if err != nil {
		return err
	}
	d := keyDrill{Revocations: list.Revocations, Affected: affectedCounts{Counts: []affectedCount{}}}
	if len(list.Revocations) > 0 {
		if d.Affected, err = countAffected(c.Context, admin, byCustomer, nil); err != nil {
			return err
		}
	}
	d.Stage, d.Next = drillStage(d, status.Keys)
	if f == formJSON {
		return writeJSON(p.out, d)
	}
	return p.printDrill(d)
}

// drillStage says where the end of the keys stands, and what comes next.
func drillStage(d keyDrill, health adminwire.KeyHealth) (stage string, next []string) {
	if len(d.Revocations) == 0 {
		return stageNone, []string{"nothing: no key is being revoked. Where one may be stolen: licensectl keys revoke KID --reason R"}
	}
	var signs, anchor bool
	open := 0
	for _, r := range d.Revocations {
		if r.EndedAt == nil {
			open++
			signs, anchor = signs || r.Signs, anchor || r.Role == "anchor"
		}
	}
	if open > 0 {
		return stageSign, signSteps(signs, anchor, health.HasNext)
	}
	online := d.Affected.Installs - d.Affected.ByHand
	if d.Affected.Installs == 0 {
		return stageDone, []string{"nothing: no install holds what a revoked key has signed"}
	}
	if online > 0 {
		next = append(next, fmt.Sprintf("wait: %s, and each gets a new licence with its next call", count(online, "install calls home", "installs call home")))
	}
	if d.Affected.ByHand > 0 {
		next = append(next,
			fmt.Sprintf("%s: a new file has to be made and carried there. Until it has heard of the new key set, such an install trusts "+
				"the old key as before", count(d.Affected.ByHand, "install reaches no server", "installs reach no server")),
			"see whom to tell: licensectl keys affected --by install --all -o csv")
	}
	return stageRefresh, next
}

// signSteps are the steps up to a key set without the keys.
func signSteps(signs, anchor, hasNext bool) (steps []string) {
	if signs {
		why := "there is no next key to move to"
		if hasNext {
			why = "the next key is being revoked too"
		}
		steps = append(steps, "hurry: the key to be ended goes on signing until the new set is in force, since "+why)
	}
	who := "ANCHOR"
	if anchor {
		steps = append(steps, "take the standby anchor: only a set that it signs ends an anchor which ranks before it, and for good")
		who = "STANDBY"
	}
	return append(steps,
		"licensectl keys keyset --request -o next.json",
		"offline: licensectl keys keyset --sign next.json --anchor "+who+" -o next.jwt   (see docs/key-ceremony.md)",
		"licensectl keys keyset --install next.jwt",
		"then: licensectl keys drill")
}

func (p *program) printDrill(d keyDrill) error {
	if len(d.Revocations) > 0 {
		t := newTable("KEY", "WAS", "STANDING", "~REASON")
		for _, r := range d.Revocations {
			standing := "in force still"
			if r.EndedAt != nil {
				standing = fmt.Sprintf("ended %s, no. %d", whenShort(r.EndedAt, ""), r.Seq)
			}
			if r.Signs {
				standing = "SIGNS NOW"
			}
			t.add(r.KID, r.Role, standing, r.Reason)
		}
		if err := t.flush(p.out); err != nil {
			return err
		}
		text := affectedText(d.Affected)
		if d.Affected.Installs == 0 {
			text = "no install must get a new licence"
		}
		if err := p.say("\n%s", text); err != nil {
			return err
		}
	}
	for i, step := range d.Next {
		if len(d.Next) == 1 {
			return p.say("next: %s", step)
		}
		if err := p.say("%d. %s", i+1, step); err != nil {
			return err
		}
	}
	return nil
}

// heldKeys are the keys whose private halves lie with the daemon.
func heldKeys(list adminwire.KeyList) (kids []string) {
	for _, k := range list.Keys {
		if k.Private {
			kids = append(kids, k.ID)
		}
	}
	return kids
}

// noteMarked says what came of marking keys.
// sayWouldMark says what a revocation would come to.
func (p *program) sayWouldMark(would adminwire.KeyRevocations) error {
	for _, r := range would.Revocations {
		then := ""
		if r.Signs && r.EndedAt == nil {
			then = ", and would go on signing until a set without it is installed: there is no other key to move to"
		}
		if err := p.say("%s (%s) would be marked%s", r.KID, r.Role, then); err != nil {
			return err
		}
	}
	if r := would.Rotated; r != nil {
		return p.say("%s would sign, and the private half of %s would be destroyed", r.Current, r.Retired)
	}
	return nil
}

func (p *program) noteMarked(done adminwire.KeyRevocations) {
	kids := make([]string, len(done.Revocations))
	for i, r := range done.Revocations {
		kids[i] = r.KID
	}
	slices.Sort(kids)
	p.note("marked: no key set that lists %s is accepted here any more", strings.Join(kids, ", "))
	if r := done.Rotated; r != nil {
		p.note("%s signs now; %s signs nothing any more, and its private half is destroyed here", r.Current, r.Retired)
		for _, path := range r.Leftover {
			p.note("the private half of a retired key could not be destroyed; remove it by hand: %s", path)
		}
	}
	for _, r := range done.Revocations {
		if r.Signs && r.EndedAt == nil {
			p.note("%s goes on signing until the new set is in force: there is no other key to move to", r.KID)
		}
	}
}
