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
	for _, a := range []license.Action{license.ActionOrderAdd, license.ActionOrderEdit, license.ActionOrderStage, license.ActionOrderLink, license.ActionProof} {
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
			case changed && (!next.StageAt.Equal(m.At) || !cmp.Equal(next.History[0], license.StageChange{At: m.At, Stage: to, By: m.By, Note: "why"})):
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

// moved moves an order and fails the test where that is refused or no change.
func moved(t *testing.T, o license.Order, to license.Stage, at time.Time, note string, correct bool) license.Order {
	t.Helper()
	o, changed, err := o.Move(license.Move{To: to, At: at, Note: note, Correct: correct})
	if err != nil || !changed {
		t.Fatalf("%s: %v %v", to, changed, err)
	}
	return o
}

// A delivery that was entered by mistake after a rejection and is taken back
// leaves the one rejection that there was.
func TestCorrectionBackToRejectedCountsOnce(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	o := license.Order{Stage: license.StageToDeliver, StageAt: at}
	o = moved(t, o, license.StageDelivered, at, "", false)
	o = moved(t, o, license.StageRejected, at, "no", false)
	o = moved(t, o, license.StageDelivered, at, "", false) // meant another order
	o = moved(t, o, license.StageRejected, at, "meant another order", true)
	if o.Rejections != 1 {
		t.Errorf("%d rejections, the buyer rejected once", o.Rejections)
	}
	// The rejection itself was wrong too, and then the delivery before it.
	o = moved(t, o, license.StageDelivered, at, "meant another order", true)
	if o.Rejections != 0 || !o.DeliveredAt().Equal(at) {
		t.Errorf("%d rejections, delivered %v", o.Rejections, o.DeliveredAt())
	}
	// A correction to a rejection that was not entered counts it.
	o = moved(t, o, license.StageRejected, at, "it was rejected", true)
	if o.Rejections != 1 {
		t.Errorf("%d rejections", o.Rejections)
	}
}

// A wrong entry that is taken back does not begin the buyer's five days anew.
func TestCorrectionKeepsTheAge(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	o := license.Order{Stage: license.StageToDeliver, StageAt: at}
	o = moved(t, o, license.StageDelivered, at, "", false)
	o = moved(t, o, license.StageAccepted, at.Add(6*24*time.Hour), "", false) // meant another order
	o = moved(t, o, license.StageDelivered, at.Add(6*24*time.Hour+time.Minute), "meant another order", true)
	if w := o.Warnings(at.Add(6*24*time.Hour + time.Hour)); len(w) != 1 || w[0] != license.WarnBuyer {
		t.Errorf("delivered more than six days ago, warns of %v", w)
	}
	if !o.History[1].Void || !o.History[2].Correct || !o.DeliveredAt().Equal(at) {
		t.Errorf("history %+v", o.History)
	}
	// Taken back altogether, nothing was delivered.
	o = moved(t, o, license.StageToDeliver, at.Add(7*24*time.Hour), "meant another order", true)
	if !o.DeliveredAt().IsZero() {
		t.Errorf("delivered %v, which was taken back", o.DeliveredAt())
	}
}

// A second rejection with another reason is no repetition of the first, and is
// not lost without a word; the same one is.
func TestRejectedForAnotherReason(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	o := license.Order{Stage: license.StageDelivered, StageAt: at}
	o = moved(t, o, license.StageRejected, at, "wrong machine", false)
	for note, want := range map[string]license.Reason{
		"wrong machine": "", " wrong machine ": "", "it does not start": license.Conflict, "": license.BadRequest, "\x00": license.BadRequest,
	} {
		next, changed, err := o.Move(license.Move{To: license.StageRejected, At: at.Add(48 * time.Hour), Note: note})
		if changed || next.Rejections != 1 || license.ReasonOf(err) != want {
			t.Errorf("%q: changed %v, %d rejections, %v", note, changed, next.Rejections, err)
		}
	}
}

// What happened earlier is entered with its time: not in the future, nor before
// what it follows.
func TestMoveSince(t *testing.T) {
	at := time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)
	o := license.Order{Stage: license.StageToDeliver, StageAt: at, OrderedAt: at.Add(-5 * 24 * time.Hour)}
	for name, c := range map[string]struct {
		since time.Time
		ok    bool
	}{
		"in the future":                 {at.Add(time.Second), false},
		"before the order":              {at.Add(-6 * 24 * time.Hour), false},
		"before the order was heard of": {at.Add(-4 * 24 * time.Hour), true},
		"now":                           {at, true},
	} {
		next, _, err := o.Move(license.Move{To: license.StageDelivered, At: at, Since: c.since})
		if (err == nil) != c.ok || c.ok && (!next.StageAt.Equal(c.since) || !next.DeliveredAt().Equal(c.since)) {
			t.Errorf("%s: %v, %v", name, next.StageAt, err)
		}
	}
	o, _, _ = o.Move(license.Move{To: license.StageDelivered, At: at, Since: at.Add(-24 * time.Hour)})
	if h := o.History[0]; !h.EnteredAt.Equal(at) || !h.At.Equal(at.Add(-24*time.Hour)) {
		t.Errorf("history %+v", h)
	}
	if _, _, err := o.Move(license.Move{To: license.StageRejected, At: at, Since: at.Add(-48 * time.Hour), Note: "no"}); license.ReasonOf(err) != license.BadRequest {
		t.Errorf("rejected before it was delivered: %v", err)
	}
}

// When a stage began is corrected without counting it again.
func TestCorrectSince(t *testing.T) {
	at := time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)
	o := license.Order{Stage: license.StageToDeliver, StageAt: at}
	o = moved(t, o, license.StageDelivered, at, "", false)
	o = moved(t, o, license.StageRejected, at, "no", false)
	earlier := at.Add(-24 * time.Hour)
	next, changed, err := o.Move(license.Move{To: license.StageRejected, At: at, Since: earlier, Note: "it was the day before", Correct: true})
	if err != nil || !changed || !next.StageAt.Equal(earlier) || next.Rejections != 1 {
		t.Fatalf("%+v, %v, %v", next, changed, err)
	}
	if again, changed, err := next.Move(license.Move{To: license.StageRejected, At: at, Since: earlier, Note: "again", Correct: true}); err != nil || changed {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	// Back to the delivery, which was earlier too.
	next, changed, err = next.Move(license.Move{To: license.StageDelivered, At: at, Since: earlier, Note: "not rejected, and delivered before", Correct: true})
	if err != nil || !changed || !next.StageAt.Equal(earlier) || !next.DeliveredAt().Equal(earlier) || next.Rejections != 0 {
		t.Errorf("%+v, %v, %v", next, changed, err)
	}
	if o.History[1].Void || o.History[0].Void {
		t.Error("the order that was corrected is another one now")
	}
	if _, _, err := next.Move(license.Move{To: license.StageDelivered, At: at, Since: at.Add(time.Second), Note: "no", Correct: true}); license.ReasonOf(err) != license.BadRequest {
		t.Errorf("in the future: %v", err)
	}
}

// An order that only programs have moved says nothing of an appeal: whether the
// buyer has to accept it is not known until somebody enters something of it.
func TestNoAppealOfWhatOnlyProgramsDelivered(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	o := license.Order{Stage: license.StageToDeliver, StageAt: at}
	o, _, _ = o.Move(license.Move{To: license.StageDelivered, At: at, By: license.Actor{Kind: license.ActorSystem, Name: "outbox"}})
	if w := o.Warnings(at.AddDate(0, 0, 6)); len(w) != 0 {
		t.Errorf("warns of %v", w)
	}
	staff := license.Actor{Kind: license.ActorAdmin}
	o, _, _ = o.Move(license.Move{To: license.StageRejected, At: at, By: staff, Note: "no"})
	o, _, _ = o.Move(license.Move{To: license.StageDelivered, At: at, By: license.Actor{Kind: license.ActorSystem, Name: "outbox"}})
	if w := o.Warnings(at.AddDate(0, 0, 6)); len(w) != 1 || w[0] != license.WarnBuyer {
		t.Errorf("warns of %v", w)
	}
}
