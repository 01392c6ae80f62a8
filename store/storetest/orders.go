package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func newOrder(channel, id, line string) license.Order {
	return license.Order{
		Channel:   channel,
		ID:        id,
		Line:      line,
		Revision:  77, // does not count for a new one
		Instance:  "inst-" + id,
		License:   "lic_" + id,
		Type:      "NEW",
		Product:   "OFFI1",
		Amount:    2,
		Customer:  "Müller & Söhne <info>",
		OrderedAt: base,
		ExpiresAt: base.AddDate(1, 0, 0),
		SeenAt:    base.Add(time.Minute),
		Stage:     license.StageToDeliver,
		StageAt:   base.Add(time.Minute),
		History: []license.StageChange{
			{At: base, Stage: license.StageAwaitingCode, By: license.Actor{Kind: license.ActorSystem}},
			{At: base.Add(time.Minute), Stage: license.StageToDeliver, By: license.Actor{Kind: license.ActorAdmin, Name: "ops"}, Note: "<\"客户\">"},
		},
	}
}

func createOrders(t *testing.T, st store.Store, orders ...license.Order) {
	t.Helper()
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for _, o := range orders {
			if err := tx.CreateOrder(ctx, o); err != nil {
				return err
			}
		}
		return nil
	})
}

// getOrder reads a line of the order CS1 of the channel k.
func getOrder(t *testing.T, st store.Store, line string) (o license.Order) {
	t.Helper()
	view(t, st, func(ctx context.Context, tx store.Tx) (err error) {
		o, err = tx.Order(ctx, "k", "CS1", line)
		return err
	})
	return o
}

func (s suite) orders(t *testing.T) {
	st := s.open(t)
	o := newOrder("k", "CS1", "CS1-000001")
	createOrders(t, st, o)
	o.Revision = 1
	wantSame(t, "created", getOrder(t, st, "CS1-000001"), o)
	next := o
	next.Instance, next.License, next.Type, next.Product, next.Amount, next.Customer = "", "", "", "", 0, ""
	next.OrderedAt, next.ExpiresAt, next.ReadAt = time.Time{}, time.Time{}, base
	next.Stage, next.StageAt, next.Rejections = license.StageRejected, base.Add(time.Hour), 3
	next.History = nil
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.UpdateOrder(ctx, next) })
	next.Revision = 2
	wantSame(t, "updated", getOrder(t, st, "CS1-000001"), next)
}

func (s suite) orderRefused(t *testing.T) {
	st := s.open(t)
	createOrders(t, st, newOrder("k", "CS1", "1"), newOrder("k", "CS1", "2"))
	one := getOrder(t, st, "1")
	stale := one
	stale.Revision = 0
	get := func(channel, id, line string) txFunc {
		return func(ctx context.Context, tx store.Tx) error { _, err := tx.Order(ctx, channel, id, line); return err }
	}
	create := func(channel, id, line string) txFunc {
		return func(ctx context.Context, tx store.Tx) error { return tx.CreateOrder(ctx, newOrder(channel, id, line)) }
	}
	rename := func(o license.Order, line string) txFunc {
		return func(ctx context.Context, tx store.Tx) error { return tx.RenameOrder(ctx, o, line) }
	}
	change := func(o license.Order) txFunc {
		return func(ctx context.Context, tx store.Tx) error { return tx.UpdateOrder(ctx, o) }
	}
	for name, test := range map[string]struct {
		do   txFunc
		want license.Reason
	}{
		"missing":           {get("k", "CS1", "3"), license.NotFound},
		"another channel":   {get("K", "CS1", "1"), license.NotFound},
		"another id":        {get("k", "CS", "11"), license.NotFound},
		"no line":           {get("k", "CS1", ""), license.NotFound},
		"nothing":           {get("", "", ""), license.NotFound},
		"joined parts":      {get("k\x00CS1", "", "1"), license.NotFound},
		"joined line":       {get("k", "CS1\x001", ""), license.NotFound},
		"taken":             {create("k", "CS1", "1"), store.Exists},
		"empty channel":     {create("", "CS1", "1"), license.BadRequest},
		"empty id":          {create("k", "", "1"), license.BadRequest},
		"empty line":        {create("k", "CS1", ""), license.BadRequest},
		"control channel":   {create("k\x00", "CS1", "1"), license.BadRequest},
		"control id":        {create("k", "CS1\x00", "1"), license.BadRequest},
		"control line":      {create("k", "CS1", "\x7f"), license.BadRequest},
		"id not text":       {create("k", "CS1\xff", "1"), license.BadRequest},
		"update missing":    {change(newOrder("k", "CS1", "3")), license.NotFound},
		"update nothing":    {change(license.Order{}), license.NotFound},
		"stale":             {change(stale), license.Conflict},
		"rename missing":    {rename(newOrder("k", "CS1", "3"), "4"), license.NotFound},
		"rename stale":      {rename(stale, "3"), license.Conflict},
		"rename to a taken": {rename(one, "2"), store.Exists},
		"rename to itself":  {rename(one, "1"), store.Exists},
		"rename to nothing": {rename(one, ""), license.BadRequest},
		"rename to no text": {rename(one, "\x00"), license.BadRequest},
		"rename and the other": {func(ctx context.Context, tx store.Tx) error {
			return errors.Join(tx.RenameOrder(ctx, one, "3"), tx.UpdateOrder(ctx, one))
		}, license.NotFound},
		"twice in one": {func(ctx context.Context, tx store.Tx) error {
			return errors.Join(tx.UpdateOrder(ctx, one), tx.UpdateOrder(ctx, one))
		}, license.Conflict},
	} {
		t.Run(name, func(t *testing.T) { wantReason(t, st.Update(t.Context(), test.do), test.want) })
	}
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		return errors.Join(expect("taken", tx.CreateOrder(ctx, one), store.Exists), expect("stale", tx.UpdateOrder(ctx, stale), license.Conflict),
			tx.CreateOrder(ctx, newOrder("k", "CS2", "1")))
	})
	wantSame(t, "first", getOrder(t, st, "1"), one)
}

// A line that is renamed is found under its new name only, as it was written, and
// its old name is free again.
func (s suite) orderRename(t *testing.T) {
	st := s.open(t)
	createOrders(t, st, newOrder("k", "CS1", "-"), newOrder("k", "CS2", "-"))
	o := getOrder(t, st, "-")
	o.Customer = "another"
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.RenameOrder(ctx, o, "CS1-1") })
	o.Line, o.Revision = "CS1-1", 2
	wantSame(t, "renamed", getOrder(t, st, "CS1-1"), o)
	wantReason(t, st.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Order(ctx, "k", "CS1", "-")
		return err
	}), license.NotFound)
	createOrders(t, st, newOrder("k", "CS1", "-"))
	again := getOrder(t, st, "-")
	undone := errors.New("undone")
	if err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.RenameOrder(ctx, again, "CS1-2"), undone)
	}); !errors.Is(err, undone) {
		t.Fatal(err)
	}
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		orders, _, err := tx.Orders(ctx, store.OrderFilter{Channel: "k", ID: "CS1"}, store.Page{})
		wantSame(t, "of the order", orders, []license.Order{again, o})
		return err
	})
}

// The orders of a licence are those that are linked to it, whatever they were
// linked to and called before.
func (s suite) orderLinks(t *testing.T) {
	st := s.open(t)
	one, two, free := newOrder("k", "CS1", "1"), newOrder("k", "CS2", "1"), newOrder("k", "CS3", "1")
	one.License, two.License, free.License = "lic_1", "lic_1", ""
	createOrders(t, st, one, two, free)
	want := func(when string, links map[string][]string) {
		t.Helper()
		view(t, st, func(ctx context.Context, tx store.Tx) error {
			for id, want := range links {
				orders, _, err := tx.Orders(ctx, store.OrderFilter{License: id}, store.Page{})
				if err != nil {
					return err
				}
				var got []string
				for _, o := range orders {
					got = append(got, o.ID+" "+o.Line)
				}
				wantSame(t, when+": of "+id, got, want)
			}
			return nil
		})
	}
	want("created", map[string][]string{"lic_1": {"CS1 1", "CS2 1"}, "lic_2": nil, "lic": nil})
	moved := getOrder(t, st, "1")
	moved.License = "lic_2"
	undone := errors.New("undone")
	for _, fail := range []error{undone, nil} {
		if err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			return errors.Join(tx.UpdateOrder(ctx, moved), fail)
		}); !errors.Is(err, fail) {
			t.Fatal(err)
		}
		if fail != nil {
			want("undone", map[string][]string{"lic_1": {"CS1 1", "CS2 1"}, "lic_2": nil})
		}
	}
	want("updated", map[string][]string{"lic_1": {"CS2 1"}, "lic_2": {"CS1 1"}})
	renamed := getOrder(t, st, "1")
	renamed.License = "lic_3"
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.RenameOrder(ctx, renamed, "7") })
	want("renamed and linked", map[string][]string{"lic_1": {"CS2 1"}, "lic_2": nil, "lic_3": {"CS1 7"}})
	renamed = getOrder(t, st, "7")
	renamed.License = ""
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.UpdateOrder(ctx, renamed), expect("control license", tx.CreateOrder(ctx, license.Order{
			Channel: "k", ID: "CS4", Line: "1", License: "lic\x00",
		}), license.BadRequest))
	})
	want("taken back", map[string][]string{"lic_1": {"CS2 1"}, "lic_2": nil, "lic_3": nil})
}

func (s suite) orderList(t *testing.T) {
	st := s.open(t)
	names := [][3]string{ // in order: a space sorts before every letter, and a part that ends before both
		{"K", "b", "1"},
		{"k", "a", "1"},
		{"k", "a", "10"},
		{"k", "a", "2"},
		{"k", "a", "é"},
		{"k", "a b", "1"},
		{"k", "aa", "1"},
		{"k", "b", "1"},
		{"k ", "a", "1"},
		{"kk", "a", "1"},
		{"ä", "a", "1"},
	}
	name := func(o license.Order) string { return fmt.Sprintf("%s|%s|%s", o.Channel, o.ID, o.Line) }
	var all []string
	stages := license.Stages()
	var orders []license.Order
	for i, n := range names {
		o := newOrder(n[0], n[1], n[2])
		o.Stage = stages[i%len(stages)]
		o.Instance = fmt.Sprintf("inst-%d", i/2)
		if i%3 == 0 {
			o.License, o.Instance = `lic_"<2>`, ""
		}
		orders = append([]license.Order{o}, orders...)
		all = append(all, name(o))
	}
	createOrders(t, st, orders...)
	pick := func(at ...int) (out []string) {
		for _, i := range at {
			out = append(out, all[i])
		}
		return out
	}
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		for f, want := range map[store.OrderFilter][]string{
			{}:                                    all,
			{Channel: "k"}:                        pick(1, 2, 3, 4, 5, 6, 7),
			{Channel: "k", ID: "a"}:               pick(1, 2, 3, 4),
			{Channel: "k", ID: "a "}:              nil,
			{Channel: "k\x00a"}:                   nil,
			{Channel: "z"}:                        nil,
			{ID: "a"}:                             pick(1, 2, 3, 4, 8, 9, 10),
			{ID: "b"}:                             pick(0, 7),
			{License: `lic_"<2>`}:                 pick(0, 3, 6, 9),
			{License: `lic_"<2>`, Channel: "k"}:   pick(3, 6),
			{Instance: "inst-2"}:                  pick(4, 5),
			{Instance: "inst"}:                    nil,
			{Stage: license.StageToDeliver}:       pick(1, 9),
			{Stage: license.StageCompleted}:       pick(6),
			{Open: true}:                          pick(0, 1, 2, 3, 4, 5, 8, 9, 10),
			{Open: true, Stage: "completed"}:      nil,
			{Open: true, Channel: "k", ID: "a b"}: pick(5),
			{Open: true, Channel: "k", ID: "aa"}:  nil,
		} {
			for _, limit := range []int{1, 2, 3, len(want), 0} {
				got, err := pageThrough(store.Page{Limit: limit},
					func(p store.Page) ([]license.Order, string, error) { return tx.Orders(ctx, f, p) }, name)
				if err != nil {
					return err
				}
				wantSame(t, fmt.Sprintf("%+v by %d", f, limit), got, want)
			}
		}
		// A cursor of one selection goes on in another.
		_, cursor, err := tx.Orders(ctx, store.OrderFilter{}, store.Page{Limit: 1})
		if err != nil {
			return err
		}
		got, err := pageThrough(store.Page{Cursor: cursor},
			func(p store.Page) ([]license.Order, string, error) {
				return tx.Orders(ctx, store.OrderFilter{Channel: "k", ID: "b"}, p)
			}, name)
		wantSame(t, "from before it", got, pick(7))
		return err
	})
}
