package authority

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Notice is what a marketplace says about an order that was paid, renewed,
// changed or unsubscribed (orderNotify).
type Notice struct {
	Channel   string
	Order     string
	Line      string // may be empty
	SentAt    time.Time
	ReplayKey []byte
}

// Notice has the order read that a marketplace speaks of. A line that it names is
// in the ledger at once: somebody may have to deliver it, also where the order can
// never be read.
func (a *Authority) Notice(ctx context.Context, n Notice) error {
	if err := errors.Join(plain("orderId", n.Order, 64), plain("orderLineId", n.Line, 64)); err != nil {
		return err
	}
	now := a.now()
	return a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if err := markSeen(ctx, tx, n.ReplayKey, n.SentAt.Add(store.MarkKept), now); err != nil {
			return err
		}
		if n.Line != "" {
			marketplace := license.Actor{Kind: license.ActorMarketplace, Name: n.Channel}
			o, known, err := a.orderLine(ctx, tx, marketplace, n.Channel, n.Order, n.Line)
			if err != nil {
				return err
			}
			if !known {
				if err := a.saveOrder(ctx, tx, known, o); err != nil {
					return err
				}
				if err := auditOrder(ctx, tx, marketplace, license.ActionOrderAdd, license.Order{}, o, o.SeenAt, ""); err != nil {
					return err
				}
			}
		}
		return a.readLater(ctx, tx, n.Channel, n.Order, n.Line)
	})
}

// readLater has an order read, or a line of one.
func (a *Authority) readLater(ctx context.Context, tx store.Tx, channel, order, line string) error {
	return a.enqueue(ctx, tx, license.Job{Kind: license.JobOrder, Key: channel + " order " + order, Channel: channel}, orderJob{Order: order, Line: line})
}

// orderLine returns the record of a line of an order, or, as one that is not known
// yet, what there is to say of it. Where the only record is of a line whose name
// nobody knew, that is the line, and is called so from then on; where no line is
// named, the only one is meant.
func (a *Authority) orderLine(ctx context.Context, tx store.Tx, actor license.Actor, channel, id, line string) (o license.Order, known bool, err error) {
	now := a.now()
	lines, err := ordersOf(ctx, tx, store.OrderFilter{Channel: channel, ID: id})
	if err != nil {
		return o, false, err
	}
	if line == "" && len(lines) == 1 {
		return lines[0], true, nil
	}
	line = cmp.Or(line, onlyLine)
	if i := slices.IndexFunc(lines, func(o license.Order) bool { return o.Line == line }); i >= 0 {
		return lines[i], true, nil
	}
	if len(lines) != 1 || lines[0].Line != onlyLine {
		return heardOf(channel, id, line, now), false, nil
	}
	o, err = renameLine(ctx, tx, actor, lines[0], line, now, "its line is known now")
	return o, true, err
}

func renameLine(ctx context.Context, tx store.Tx, actor license.Actor, was license.Order, line string, now time.Time, note string) (license.Order, error) {
	if err := tx.RenameOrder(ctx, was, line); err != nil {
		return was, fmt.Errorf("name the line of an order: %w", err)
	}
	o := was
	o.Line = line
	o.Revision++
	return o, auditOrder(ctx, tx, actor, license.ActionOrderEdit, was, o, now, note)
}

// instanceLine is orderLine for a purchase that wants an instance. A line that has
// one has its own: that of a sale through licence 1.0, which names no line, is of
// another purchase, whatever line the sale was taken for meanwhile. Its record is
// then again that of a line whose name nobody knows.
func (a *Authority) instanceLine(ctx context.Context, tx store.Tx, p Purchase, now time.Time) (o license.Order, known bool, err error) {
	lines, err := ordersOf(ctx, tx, store.OrderFilter{Channel: p.Channel, ID: p.Order})
	if err != nil {
		return o, false, err
	}
	line := cmp.Or(p.Line, onlyLine)
	at := func(line string) int {
		return slices.IndexFunc(lines, func(o license.Order) bool { return o.Line == line })
	}
	i := at(line)
	if p.Line == "" && len(lines) == 1 {
		i = 0
	}
	if i < 0 && (len(lines) != 1 || lines[0].Line != onlyLine || lines[0].Instance != "") {
		return heardOf(p.Channel, p.Order, line, now), false, nil
	}
	if i < 0 {
		o, err = renameLine(ctx, tx, marketActor(p.Channel), lines[0], line, now, "its line is known now")
		return o, true, err
	}
	mine := lines[i].Instance == ""
	if !mine {
		mine, err = a.madeByProvisioning(ctx, tx, p.Channel, lines[i].Instance)
	}
	switch {
	case err != nil:
		return o, false, err
	case mine:
		return lines[i], true, nil
	case p.Line == "" || at(onlyLine) >= 0:
		return o, false, license.Errorf(license.Conflict, "the order was delivered by another interface, and which line of it is meant cannot be told")
	}
	if _, err := renameLine(ctx, tx, marketActor(p.Channel), lines[i], onlyLine, now, "the sale was of another line"); err != nil {
		return o, false, err
	}
	return heardOf(p.Channel, p.Order, line, now), false, nil
}

// madeByProvisioning reports whether an instance was made by newInstance, whether
// or not its licence was made yet.
func (a *Authority) madeByProvisioning(ctx context.Context, tx store.Tx, channel, instance string) (bool, error) {
	index, _, err := a.instanceIndex(channel, instance)
	if err != nil {
		return false, err
	}
	if _, err := tx.LicenseByCode(ctx, index); !errors.Is(err, license.NotFound) {
		return err == nil, err
	}
	p, err := tx.Pending(ctx, channel, index)
	if errors.Is(err, license.NotFound) {
		return false, nil
	}
	return err == nil && p.Instance != "", err
}

// orderJob is the payload of a JobOrder.
type orderJob struct {
	Order string `json:"order"`
	Line  string `json:"line,omitzero"`
	// Instance is that whose end the order is about, where it is no purchase.
	Instance string `json:"instance,omitzero"`
}

// readOrder reads an order, or the line of one that is named, and makes the licence
// of an instance that waits for what it says.
func (a *Authority) readOrder(ctx context.Context, j license.Job) (effect, error) {
	var p orderJob
	if err := readPayload(j, &p); err != nil {
		return nil, err
	}
	ch, ok := a.channel(j.Channel)
	if !ok || ch.Desk == nil {
		return nil, errNoWay
	}
	info, err := ch.Desk.Order(ctx, p.Order, p.Line)
	if err != nil {
		return nil, err
	}
	lines := []OrderInfo{info}
	switch {
	case p.Line != "" || len(info.Lines) < 2:
	case p.Instance != "":
		return nil, license.Errorf(license.NotFound, "the order has %d lines, and the message names none of them", len(info.Lines))
	default:
		lines = info.Lines
	}
	for _, l := range lines {
		if plain("orderLineId", l.Line, 64) != nil {
			return nil, license.FieldErrorf("orderLineId", "the marketplace names a line that cannot be kept")
		}
	}
	return func(ctx context.Context, tx store.Tx) error {
		for _, l := range lines {
			if err := a.lineRead(ctx, tx, ch, p, l); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// lineRead records what a marketplace says of a line of an order.
func (a *Authority) lineRead(ctx context.Context, tx store.Tx, ch Channel, p orderJob, info OrderInfo) error {
	now, marketplace := a.now(), license.Actor{Kind: license.ActorMarketplace, Name: ch.Name}
	was, known, err := a.orderLine(ctx, tx, marketplace, ch.Name, p.Order, cmp.Or(p.Line, info.Line))
	if err != nil {
		return err
	}
	o := told(was, info, now)
	if info.OrderedAt = o.OrderedAt; info.OrderedAt.IsZero() {
		info.OrderedAt = o.SeenAt // when it was placed is not said: of several orders it counts as what it was heard as
	}
	if o.Instance != "" {
		if o.License, err = a.licenceOfInstance(ctx, tx, ch, o, info, now); err != nil {
			return err
		}
	}
	if p.Instance != "" {
		if o.License, err = a.instanceTerm(ctx, tx, ch.Name, p, info, now); err != nil {
			return err
		}
	}
	if !delivered(o.Type) && o.Stage == license.StageToDeliver && len(o.History) == 1 && o.History[0].By == marketplace {
		// It was taken for a purchase as long as nobody knew what it is.
		o.Stage, o.StageAt = license.StageCompleted, now
		o.History = []license.StageChange{{At: now, Stage: o.Stage, By: marketplace}}
	}
	if err := a.relinked(ctx, tx, marketplace, was, o, now); err != nil {
		return err
	}
	if err := a.saveOrder(ctx, tx, known, o); err != nil {
		return err
	}
	if !known {
		return auditOrder(ctx, tx, marketplace, license.ActionOrderAdd, license.Order{}, o, now, "")
	}
	if !saysOtherwise(was, o) {
		return nil
	}
	if was.License != "" {
		was.License = o.License // of which relinked has told
	}
	return auditOrder(ctx, tx, marketplace, license.ActionOrderEdit, was, o, now, "as "+ch.Name+" says")
}

// told is an order with what its marketplace says of it. What that leaves out stays
// as it is, and so does an end that was entered where the marketplace's is only
// computed.
func told(o license.Order, info OrderInfo, now time.Time) license.Order {
	o.Type, o.Product = cmp.Or(info.Type, o.Type), cmp.Or(info.Product, o.Product)
	o.Amount, o.Customer = cmp.Or(info.Amount, o.Amount), cmp.Or(info.Customer, o.Customer)
	if info.OrderedAt.Year() >= firstYear && !info.OrderedAt.After(license.Forever) {
		o.OrderedAt = info.OrderedAt
	}
	switch {
	case info.Perpetual:
		o.ExpiresAt = time.Time{}
	case info.ExpiresAt.IsZero(), info.Estimated && !o.ExpiresAt.IsZero():
	default:
		o.ExpiresAt = info.ExpiresAt
	}
	o.ReadAt = now
	return o
}

// saysOtherwise reports whether anything is known otherwise that was known before.
func saysOtherwise(was, is license.Order) bool {
	before, after := map[string]any{}, map[string]any{}
	orderDifference(was, is, before, after)
	for _, v := range before {
		if v != nil && v != "" && v != 0 {
			return true
		}
	}
	return false
}

// licenceOfInstance returns the id of the licence of the instance that was made for
// an order, and makes it where there is none: also where the staff has linked
// another one to the order meanwhile. Where that was made for this purchase, as far
// as can be told, it becomes the instance's, so that nothing is sold twice.
func (a *Authority) licenceOfInstance(ctx context.Context, tx store.Tx, ch Channel, o license.Order, info OrderInfo, now time.Time) (string, error) {
	index, _, err := a.instanceIndex(ch.Name, o.Instance)
	if err != nil {
		return "", err
	}
	l, err := a.byInstance(ctx, tx, ch.Name, index)
	switch {
	case err == nil:
		return cmp.Or(o.License, l.ID), nil
	case !errors.Is(err, license.NotFound):
		return "", fmt.Errorf("look an instance up: %w", err)
	}
	return a.instanceSold(ctx, tx, ch, o, info, now)
}

// linkedLicence returns the licence that the staff has linked to an order, and
// whether it can be that of the order's instance: issued by hand for what was
// ordered, and in nobody else's place.
func (a *Authority) linkedLicence(ctx context.Context, tx store.Tx, o license.Order, now time.Time) (l license.License, fits bool, err error) {
	if o.License == "" {
		return l, false, nil
	}
	if l, err = tx.License(ctx, o.License); err != nil {
		return l, false, fmt.Errorf("read the licence of an order: %w", err)
	}
	state := l.StateAt(now)
	return l, !l.Sold() && l.Product == a.ProductOf(o) && (l.Order == "" || l.Order == o.ID) &&
		state != license.StateReleased && state != license.StateRevoked, nil
}
