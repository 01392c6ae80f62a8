package authority_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

func (w *world) addOrder(n authority.NewOrder) license.Order {
	w.t.Helper()
	o, added, err := w.a.AddOrder(w.t.Context(), admin, n)
	if err != nil || !added {
		w.t.Fatalf("added %v: %v", added, err)
	}
	return o
}

func (w *world) order(id string) license.Order {
	w.t.Helper()
	o, err := w.a.Order(w.t.Context(), authority.OrderRef{ID: id})
	w.must(err, "")
	return o
}

func (w *world) moveOrder(id string, to license.Stage, note string) license.Order {
	w.t.Helper()
	o, changed, err := w.a.MoveOrder(w.t.Context(), admin, authority.OrderRef{ID: id}, license.Move{To: to, Note: note})
	if err != nil || !changed {
		w.t.Fatalf("%s: changed %v, %v", to, changed, err)
	}
	return o
}

// Who moved an order, when and why is in its history and in the audit log; what
// cannot have happened is refused and changes nothing.
func TestOrderStages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.addOrder(authority.NewOrder{ID: "CS1", Line: "CS1-000001", Product: "OFFI1", Customer: "ACME", Stage: license.StageAwaitingCode})
	if o.Channel != "koogallery" || o.SeenAt != w.a.Now() || len(o.History) != 1 || o.History[0].By != admin {
		t.Errorf("added as %+v", o)
	}
	ref := authority.OrderRef{ID: "CS1-000001"}
	for name, c := range map[string]struct {
		move license.Move
		want license.Reason
	}{
		"rejected before it was delivered": {license.Move{To: license.StageRejected, Note: "no"}, license.Conflict},
		"no such stage":                    {license.Move{To: "done"}, license.BadRequest},
		"note too long":                    {license.Move{To: license.StageDelivered, Note: strings.Repeat("x", 513)}, license.BadRequest},
		"note not printable":               {license.Move{To: license.StageDelivered, Note: "a\x00b"}, license.BadRequest},
		"correction without a note":        {license.Move{To: license.StageRejected, Correct: true}, license.BadRequest},
	} {
		_, _, err := w.a.MoveOrder(t.Context(), admin, ref, c.move)
		if license.ReasonOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if now := w.order("CS1"); now.Revision != o.Revision || len(now.History) != 1 || w.events(license.ActionOrderStage) != 0 {
		t.Errorf("a refused move left %+v", now)
	}
	w.moveOrder("CS1", license.StageDelivered, "")
	if _, _, err := w.a.MoveOrder(t.Context(), admin, ref, license.Move{To: license.StageRejected}); license.ReasonOf(err) != license.BadRequest {
		t.Errorf("a rejection without a reason: %v", err)
	}
	o = w.moveOrder("CS1", license.StageRejected, "another machine")
	if _, changed, err := w.a.MoveOrder(t.Context(), admin, ref, license.Move{To: license.StageRejected, Note: "another machine"}); err != nil || changed {
		t.Errorf("the same again: %v, %v", changed, err)
	}
	if _, _, err := w.a.MoveOrder(t.Context(), admin, ref, license.Move{To: license.StageRejected, Note: "it does not start"}); license.ReasonOf(err) != license.Conflict {
		t.Errorf("rejected for another reason: %v", err)
	}
	if o.Rejections != 1 || len(o.History) != 3 || o.History[2].Note != "another machine" || w.events(license.ActionOrderStage) != 2 {
		t.Errorf("rejected as %+v", o)
	}
	// It was another order's: the rejection is taken back and does not count.
	o, changed, err := w.a.MoveOrder(t.Context(), admin, ref, license.Move{To: license.StageDelivered, Note: "another order's", Correct: true})
	if err != nil || !changed || o.Rejections != 0 {
		t.Errorf("corrected to %+v, %v", o, err)
	}
	w.moveOrder("CS1", license.StageAccepted, "")
	w.moveOrder("CS1", license.StageCompleted, "")
	if _, _, err := w.a.MoveOrder(t.Context(), admin, ref, license.Move{To: license.StageDelivered}); license.ReasonOf(err) != license.Conflict {
		t.Errorf("delivered after its end: %v", err)
	}
}

// A long history keeps its end.
func TestOrderHistoryIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addOrder(authority.NewOrder{ID: "CS1"})
	for i := range license.MaxHistory {
		w.moveOrder("CS1", license.StageDelivered, fmt.Sprint(i))
		w.moveOrder("CS1", license.StageRejected, fmt.Sprint(i))
	}
	o := w.order("CS1")
	if n := len(o.History); n != license.MaxHistory || o.History[n-1].Note != fmt.Sprint(license.MaxHistory-1) || o.Rejections != license.MaxHistory {
		t.Errorf("%d entries, %+v", n, o)
	}
}

// What is to be done is said when its time has come, and not before.
func TestOrderWarnings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addOrder(authority.NewOrder{ID: "CS1"})
	want := func(warnings ...license.OrderWarning) {
		t.Helper()
		if got := w.order("CS1").Warnings(w.a.Now()); fmt.Sprint(got) != fmt.Sprint(warnings) {
			t.Errorf("warns of %v, want %v", got, warnings)
		}
		list, _, err := w.a.Orders(t.Context(), authority.OrderFilter{Warned: true}, authority.Page{})
		if err != nil || (len(list) == 1) != (len(warnings) > 0) {
			t.Errorf("listed %d, %v", len(list), err)
		}
	}
	w.pass(day)
	want()
	w.pass(time.Second)
	want(license.WarnDeliver)
	w.moveOrder("CS1", license.StageDelivered, "")
	w.pass(5 * day)
	want()
	w.pass(time.Second)
	want(license.WarnBuyer)
	for range 3 {
		w.moveOrder("CS1", license.StageRejected, "no")
		w.moveOrder("CS1", license.StageDelivered, "")
	}
	want(license.WarnRejections)
	w.moveOrder("CS1", license.StageAccepted, "")
	w.pass(30 * day)
	want()
}

// Orders are listed by when they were heard of, page by page, whatever selects
// them.
func TestOrderList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []string
	for i := range 25 {
		id := fmt.Sprintf("CS%d", 100-i) // the store's own order is another one
		n := authority.NewOrder{ID: id, Product: "OFFI1"}
		if i%2 == 1 {
			n.Product = "OFFI2"
		}
		w.addOrder(n)
		all = append(all, id)
		w.pass(time.Minute)
	}
	w.moveOrder("CS100", license.StageCompleted, "")
	list := func(f authority.OrderFilter, limit int) (ids []string) {
		t.Helper()
		p := authority.Page{Limit: limit}
		for range 100 {
			page, next, err := w.a.Orders(t.Context(), f, p)
			w.must(err, "")
			for _, o := range page {
				ids = append(ids, o.ID)
			}
			if p.Cursor = next; next == "" {
				return ids
			}
			if len(page) != limit {
				t.Errorf("a page of %d", len(page))
			}
		}
		t.Fatal("the list has no end")
		return nil
	}
	var odd []string
	for i, id := range all {
		if i%2 == 1 {
			odd = append(odd, id)
		}
	}
	for _, limit := range []int{1, 2, 7, 24, 25, 26, 1000} {
		for name, c := range map[string]struct {
			f    authority.OrderFilter
			want []string
		}{
			"all":             {authority.OrderFilter{}, all},
			"open":            {authority.OrderFilter{Open: true}, all[1:]},
			"our product":     {authority.OrderFilter{Product: "other"}, odd},
			"theirs":          {authority.OrderFilter{Product: "OFFI2"}, odd},
			"stage":           {authority.OrderFilter{Stage: license.StageCompleted}, all[:1]},
			"another channel": {authority.OrderFilter{Channel: "manual"}, nil},
		} {
			if got := list(c.f, limit); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%s by %d: %v", name, limit, got)
			}
		}
	}
	if _, _, err := w.a.Orders(t.Context(), authority.OrderFilter{}, authority.Page{Cursor: "x"}); license.ReasonOf(err) != license.BadRequest {
		t.Errorf("with another list's cursor: %v", err)
	}
}

func TestOrderAdd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := authority.NewOrder{ID: "CS1", Line: "1", Customer: "ACME", Amount: 2}
	w.addOrder(n)
	if _, added, err := w.a.AddOrder(t.Context(), admin, n); err != nil || added || w.events(license.ActionOrderAdd) != 1 {
		t.Errorf("the same again: %v, %v", added, err)
	}
	w.addOrder(authority.NewOrder{ID: "CS1", Line: "2", Channel: license.ChannelManual})
	_, err := w.a.Order(t.Context(), authority.OrderRef{ID: "CS1"})
	w.must(err, license.Conflict)
	_, err = w.a.Order(t.Context(), authority.OrderRef{ID: "CS2"})
	w.must(err, license.NotFound)
	_, err = w.a.Order(t.Context(), authority.OrderRef{})
	w.must(err, license.BadRequest)
	o, err := w.a.Order(t.Context(), authority.OrderRef{ID: "CS1", Channel: "manual"})
	if err != nil || o.Line != "2" {
		t.Errorf("%+v, %v", o, err)
	}
	for name, c := range map[string]struct {
		n    authority.NewOrder
		want license.Reason
	}{
		"says something else": {authority.NewOrder{ID: "CS1", Line: "1", Customer: "other"}, license.Conflict},
		"no id":               {authority.NewOrder{}, license.BadRequest},
		"id too long":         {authority.NewOrder{ID: strings.Repeat("x", 65)}, license.BadRequest},
		"unknown channel":     {authority.NewOrder{ID: "CS3", Channel: "koogalery"}, license.BadRequest},
		"unknown stage":       {authority.NewOrder{ID: "CS3", Stage: "x"}, license.BadRequest},
		"negative":            {authority.NewOrder{ID: "CS3", Amount: -1}, license.BadRequest},
		"from the future":     {authority.NewOrder{ID: "CS3", OrderedAt: w.a.Now().Add(2 * day)}, license.BadRequest},
		"unknown licence":     {authority.NewOrder{ID: "CS3", License: "lic_01k2m3n4p5q6r7s8t9v0w1x2y3"}, license.UnknownLicense},
		"not printable":       {authority.NewOrder{ID: "CS\x003"}, license.BadRequest},
	} {
		_, _, err := w.a.AddOrder(t.Context(), admin, c.n)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if list, _, err := w.a.Orders(t.Context(), authority.OrderFilter{}, authority.Page{}); err != nil || len(list) != 2 {
		t.Errorf("%d orders, %v", len(list), err)
	}
}

func TestOrderLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	l, code := is.License, is.Code
	w.addOrder(authority.NewOrder{ID: "CS1"})
	ref := authority.OrderRef{ID: "CS1"}
	o, changed, err := w.a.LinkOrder(t.Context(), admin, ref, code.Reveal())
	if err != nil || !changed || o.License != l.ID {
		t.Fatalf("%+v, %v, %v", o, changed, err)
	}
	if _, changed, err = w.a.LinkOrder(t.Context(), admin, ref, l.ID); err != nil || changed || w.events(license.ActionOrderLink) != 1 {
		t.Errorf("the same again: %v, %v", changed, err)
	}
	_, _, err = w.a.LinkOrder(t.Context(), admin, ref, "LIC-nothing")
	w.must(err, license.UnknownLicense)
	if o, changed, err = w.a.LinkOrder(t.Context(), admin, ref, ""); err != nil || !changed || o.License != "" {
		t.Errorf("%+v, %v, %v", o, changed, err)
	}
}

// The activation of a code passes its node of the supervision by itself, which
// the ledger hears of; and of nothing else that it cannot be sure of.
func TestOrderOfAnActivatedCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, c := range []struct {
		name  string
		lines []authority.NewOrder
		moved string // the line that is moved on
	}{
		{"one line", []authority.NewOrder{{Line: "1", Stage: license.StageDelivered}}, "1"},
		{"not delivered yet, as far as anybody entered", []authority.NewOrder{{Line: "1"}}, "1"},
		{"accepted already", []authority.NewOrder{{Line: "1", Stage: license.StageAccepted}}, ""},
		{"two products", []authority.NewOrder{{Line: "1", Product: "OFFI2"}, {Line: "2", Product: "OFFI1"}}, "2"},
		{"nobody says which", []authority.NewOrder{{Line: "1"}, {Line: "2"}}, ""},
		{"of another channel", []authority.NewOrder{{Line: "1", Channel: license.ChannelManual}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := fmt.Sprintf("CS%d", i)
			for _, n := range c.lines {
				n.ID = id
				w.addOrder(n)
			}
			code, _ := w.sell(fmt.Sprintf("PL%d", i))
			w.up.codes[code.Reveal()].e.Order = id
			w.must(w.install(fmt.Sprintf("machine-%d", i)).activate(code), "")
			for _, n := range c.lines {
				o, err := w.a.Order(t.Context(), authority.OrderRef{ID: id, Line: n.Line, Channel: n.Channel})
				w.must(err, "")
				if (o.Stage == license.StageActivated && o.License != "") != (n.Line == c.moved) {
					t.Errorf("line %s: %+v", n.Line, o)
				}
			}
		})
	}
}

// What is delivered online is delivered, as far as the ledger is concerned.
func TestOrderOfAnInstance(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		if o := m.order("CS1"); o.Stage != license.StageToDeliver || o.Instance != id || len(o.History) != 1 {
			t.Errorf("%+v", o)
		}
		m.must(m.apply(id, "event-1", pc), "")
		m.must(m.apply(id, "event-2", "HW-2"), "")
		synctest.Wait()
		o := m.order("CS1")
		if o.Stage != license.StageDelivered || len(o.History) != 2 || o.History[1].By.Name != "outbox" {
			t.Errorf("%+v", o)
		}
		_, _, err := m.a.LinkOrder(m.t.Context(), admin, authority.OrderRef{ID: "CS1"}, "")
		m.must(err, license.Conflict)
	})
}

// What the staff corrects stays so when the marketplace is asked about the licence
// again: that it was activated is said once.
func TestComparisonKeepsACorrection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addOrder(authority.NewOrder{ID: "CS1", Product: "OFFI1", Stage: license.StageDelivered})
	c, _ := w.sell("PL001")
	w.must(w.install("m").activate(c), "")
	w.wantStage("activated", "CS1", license.StageActivated)
	compare := func() {
		t.Helper()
		w.pass(day)
		if r, err := w.a.Reconcile(t.Context(), "koogallery"); err != nil || r.Failed != 0 || r.Checked != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	w.correctOrder("CS1", license.StageDelivered, "the buyer has not accepted it yet")
	compare()
	w.wantStage("after a comparison", "CS1", license.StageDelivered)
	w.moveOrder("CS1", license.StageRejected, "wrong edition")
	if _, _, err := w.a.LinkOrder(t.Context(), admin, authority.OrderRef{ID: "CS1"}, ""); err != nil {
		t.Fatal(err)
	}
	compare()
	if o := w.wantStage("after another one", "CS1", license.StageRejected); o.License != "" {
		t.Errorf("linked to %s again", o.License)
	}
}

// What the buyer rejected is delivered again by the next licence that is uploaded
// for the order, for whichever device.
func TestRedeliveryOfAnInstance(t *testing.T) {
	t.Parallel()
	for name, device := range map[string]string{"the same device": pc, "another device": "HW-2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inMarket(t, func(m *market) {
				id := m.buy("CS1")
				synctest.Wait()
				m.must(m.apply(id, "event-1", pc), "")
				synctest.Wait()
				m.wantStage("delivered", "CS1", license.StageDelivered)
				time.Sleep(time.Hour)
				m.moveOrder("CS1", license.StageRejected, "does not start")
				m.must(m.apply(id, "event-2", device), "")
				synctest.Wait()
				if len(m.desk.files("event-2")) != 1 {
					m.t.Fatal("not delivered")
				}
				if o := m.wantStage("delivered again", "CS1", license.StageDelivered); o.Rejections != 1 {
					t.Errorf("%+v", o)
				}
				m.moveOrder("CS1", license.StageAccepted, "")
				m.must(m.apply(id, "event-3", device), "")
				synctest.Wait()
				m.wantStage("accepted", "CS1", license.StageAccepted)
			})
		})
	}
}

// An order that is entered when its code is in use already is found by the next
// comparison, be it in the same second, or by a daemon whose clock is behind.
func TestOrderHeardOfLater(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]time.Duration{"an hour later": time.Hour, "in the same second": 0, "by a clock that is behind": -time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			orderHeardOfLater(t, after)
		})
	}
}

func orderHeardOfLater(t *testing.T, after time.Duration) {
	t.Helper()
	w := newWorld(t)
	c, _ := w.sell("PL001")
	w.must(w.install("m").activate(c), "")
	w.pass(after)
	w.addOrder(authority.NewOrder{ID: "CS1", Product: "OFFI1", Stage: license.StageDelivered, Offline: true})
	w.wantStage("entered", "CS1", license.StageDelivered)
	for range 2 {
		w.pass(day)
		if r, err := w.a.Reconcile(t.Context(), "koogallery"); err != nil || r.Failed != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		w.wantStage("compared", "CS1", license.StageActivated)
	}
}
