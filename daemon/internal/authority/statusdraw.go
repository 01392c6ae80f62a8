package authority

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// statusListPrefix is what the id of a status list begins with.
const statusListPrefix = "sl_"

// maxListLength is the longest list whose record is believed.
const maxListLength = 1 << 22

// draws draws the places of installs. The order of the list that is drawn from
// is kept in memory, since it takes a while to make.
type draws struct {
	ids    license.IDs // of its own: those of lists may have to run ahead of the clock
	length int         // of a new list
	order  atomic.Pointer[drawOrder]
}

type drawOrder struct {
	list  string
	order []uint32
}

// listed returns where the status of inst is listed. An install that has no
// place draws one: when it is bound, or when it is granted the next licence
// where it was bound before there were lists.
func (c *call) listed(ctx context.Context, tx store.Tx, inst *license.Install) (token.StatusPlace, error) {
	if inst.Status == (license.StatusRef{}) {
		var err error
		if inst.Status, err = c.a.lists.draws.place(ctx, tx, c.now); err != nil {
			return token.StatusPlace{}, err
		}
	}
	return token.StatusPlace{URI: statusURI(c.keys.Issuer, inst.Status.List), Index: inst.Status.Index}, nil
}

// place draws a place from the newest list, or from a new one where there is
// none or it is full. It writes the record of the list, and nothing else.
func (d *draws) place(ctx context.Context, tx store.Tx, now time.Time) (license.StatusRef, error) {
	l, err := tx.LastStatusList(ctx)
	switch {
	case errors.Is(err, license.NotFound), err == nil && (l.Full() || l.SignedAt.Sub(now) > clockStep):
		// A list that was dated when the clock was far ahead goes on from there; who
		// has not seen it is spared the sight.
		l, err = d.newList(l.ID, now)
	case err == nil && (len(l.Seed) != license.StatusSeedLen || l.Next < 0 || l.Length > maxListLength):
		err = license.Errorf(license.Internal, "the record of the status list %s is damaged", l.ID)
	}
	if err != nil {
		return license.StatusRef{}, fmt.Errorf("draw a place in a status list: %w", err)
	}
	order := d.orderOf(l)
	ref := license.StatusRef{List: l.ID, Index: int(order[l.Next])}
	l.Next++
	if err := tx.PutStatusList(ctx, l); err != nil {
		return license.StatusRef{}, fmt.Errorf("draw a place in a status list: %w", err)
	}
	return ref, nil
}

// newList makes a list whose id is greater than last, also where the clock was
// set back: places are drawn from the greatest.
func (d *draws) newList(last string, now time.Time) (license.StatusList, error) {
	l := license.StatusList{Length: d.length, Seed: make([]byte, license.StatusSeedLen)}
	source := d.ids.Random
	if source == nil {
		source = rand.Reader
	}
	if _, err := io.ReadFull(source, l.Seed); err != nil {
		return l, err
	}
	for ahead := time.Duration(0); ; ahead = 2*ahead + time.Second {
		var err error
		if l.ID, err = d.ids.New(statusListPrefix, now.Add(ahead)); err != nil {
			return l, err
		}
		if l.ID > last {
			return l, nil
		}
		if ahead > 1<<62 {
			return l, license.Errorf(license.Internal, "no status list can follow %q", last)
		}
	}
}

func (d *draws) orderOf(l license.StatusList) []uint32 {
	if o := d.order.Load(); o != nil && o.list == l.ID {
		return o.order
	}
	o := &drawOrder{list: l.ID, order: license.StatusOrder([license.StatusSeedLen]byte(l.Seed), l.Length)}
	d.order.Store(o)
	return o.order
}
