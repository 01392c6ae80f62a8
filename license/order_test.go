package license_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
)

// The stages, whose turn it is and what may follow, and what is audited, are those
// in docs.
func TestOrdersDocument(t *testing.T) {
	data, err := os.ReadFile("../docs/state-machine.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(data), "\n## Orders\n")
	section, _, ok := strings.Cut(section, "\n## ")
	if !ok {
		t.Fatal("docs/state-machine.md has no section about orders")
	}
	var got, want []string
	for _, row := range regexp.MustCompile("(?m)^\\| `.*$").FindAllString(section, -1) {
		cells := strings.Split(row, "|")
		if len(cells) == 5 { // of the stages
			got = append(got, strings.Join(strings.Fields(strings.Join(cells, " ")), " "))
		} else {
			got = append(got, strings.TrimSpace(cells[1]))
		}
	}
	for _, s := range license.Stages() {
		var next []string
		for _, n := range s.Next() {
			next = append(next, "`"+string(n)+"`")
		}
		want = append(want, strings.TrimSpace(fmt.Sprintf("`%s` %s %s", s, s.Turn(), strings.Join(next, ", "))))
	}
	for _, a := range []license.Action{license.ActionOrderAdd, license.ActionOrderStage, license.ActionOrderLink, license.ActionProof} {
		want = append(want, "`"+string(a)+"`")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/state-machine.md (-have +written):\n%s", diff)
	}
}

// Each stage is left for those that may follow it and for no other; a correction
// goes anywhere. An order that is not moved is as it was.
func TestOrderMove(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, from := range license.Stages() {
		for _, to := range license.Stages() {
			o := license.Order{ID: "CS1", Stage: from, StageAt: at, Rejections: 2}
			may := map[license.Stage]bool{from: true}
			for _, n := range from.Next() {
				may[n] = true
			}
			m := license.Move{To: to, At: at.Add(time.Hour), By: license.Actor{Kind: license.ActorAdmin}, Note: "why"}
			next, changed, err := o.Move(m)
			switch {
			case !may[to]:
				if license.ReasonOf(err) != license.Conflict || changed || next.Stage != from || len(next.History) != 0 {
					t.Errorf("%s to %s: %v", from, to, err)
				}
			case err != nil || changed != (from != to) || next.Stage != to:
				t.Errorf("%s to %s: %v, %v", from, to, changed, err)
			case changed && (!next.StageAt.Equal(m.At) || next.History[0] != license.StageChange{At: m.At, Stage: to, By: m.By, Note: "why"}):
				t.Errorf("%s to %s: %+v", from, to, next)
			case (next.Rejections == 3) != (changed && to == license.StageRejected):
				t.Errorf("%s to %s: %d rejections", from, to, next.Rejections)
			}
			m.Correct = true
			if next, _, err := o.Move(m); err != nil || next.Stage != to {
				t.Errorf("corrected from %s to %s: %v", from, to, err)
			}
		}
	}
}

// The history of an order is its own, whoever else holds a copy.
func TestOrderMoveSharesNothing(t *testing.T) {
	o := license.Order{Stage: license.StageToDeliver, History: make([]license.StageChange, 1, 8)}
	a, _, _ := o.Move(license.Move{To: license.StageDelivered, Note: "a"})
	b, _, _ := o.Move(license.Move{To: license.StageCancelled, Note: "b"})
	if a.History[1].Note != "a" || b.History[1].Note != "b" || len(o.History) != 1 {
		t.Errorf("%+v, %+v", a.History, b.History)
	}
}
