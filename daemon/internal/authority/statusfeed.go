package authority

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// The feed of the status lists says which entries were written, and which lists
// were dated, in the order in which that was committed. It is written in the transaction that writes them, so
// whoever has read it up to its end and then the entries that it names knows all
// that the lists have to say: each daemon on a store follows it, and looks at it
// once more in the transaction that dates a list.
//
// The newest block is a value that each such transaction replaces, which is why it
// is short; the ones before it lie beside it. Whoever has fallen behind by more
// than there is reads the lists from the beginning.
const (
	statusFeed     = "status.feed"
	statusFeedOld  = "status.feed/" // and where the block begins
	feedBlockSize  = 32             // entries in a block, from which on it is followed by another
	feedBlocksKept = 128            // beside the newest
	// feedWhole is how many entries of a list one transaction names one by one: of
	// more it is cheaper to read the whole list.
	feedWhole = 256
)

// Indexes that stand for no entry. All further ones say when the list was dated.
const (
	listNew   = -1 // the list was begun
	listWhole = -2 // any of its entries may have been written
)

// listDated is the index that says when a list was dated: below all others, and
// small enough for the int of any machine.
func listDated(at time.Time) int {
	const since = 1_577_836_800 // 2020
	return listWhole - 1 - int(max(at.Unix()-since, 0))
}

// feedPlace is a place in the feed, behind what a transaction has added. The seal
// is that transaction's own: where a database comes back without its last
// transactions, what is added then has other seals at the same numbers.
type feedPlace struct {
	Seq  int64  `json:"seq"`
	Seal string `json:"seal,omitzero"`
}

// feedBlock is a part of the feed.
type feedBlock struct {
	feedPlace           // where it begins
	Runs      []feedRun `json:"runs,omitzero"`
	Old       []int64   `json:"old,omitzero"` // of the newest: where the ones that are kept begin
}

// feedRun is what one transaction has written of one list.
type feedRun struct {
	List string `json:"list"`
	At   []int  `json:"at"`
	Seal string `json:"seal"`
}

// end is the place behind a block.
func (b feedBlock) end() feedPlace {
	p := b.feedPlace
	for _, r := range b.Runs {
		p = feedPlace{p.Seq + int64(len(r.At)), r.Seal}
	}
	return p
}

// after returns what of a block lies behind a place, all of it where that is not
// found in it.
func (b feedBlock) after(at feedPlace) (runs []feedRun, found bool) {
	p := b.feedPlace
	if p == at {
		return b.Runs, true
	}
	for k, r := range b.Runs {
		if p = (feedPlace{p.Seq + int64(len(r.At)), r.Seal}); p == at {
			return b.Runs[k+1:], true
		}
	}
	return b.Runs, false
}

func feedName(seq int64) string { return fmt.Sprintf("%s%016x", statusFeedOld, seq) }

// readFeed returns the newest block. One that cannot be read is followed by a feed
// that nobody has followed yet.
func readFeed(ctx context.Context, tx store.Tx) (b feedBlock, err error) {
	raw, err := tx.Value(ctx, statusFeed)
	switch {
	case errors.Is(err, license.NotFound):
		return b, nil
	case err != nil:
		return b, fmt.Errorf("read which status lists were changed: %w", err)
	}
	if json.Unmarshal(raw, &b) != nil {
		return feedBlock{feedPlace: feedPlace{Seal: "unread"}}, nil
	}
	return b, nil
}

// writeFeed adds the places of entries that this transaction has written.
func writeFeed(ctx context.Context, tx store.Tx, places []license.StatusRef) error {
	if len(places) == 0 {
		return nil
	}
	b, err := readFeed(ctx, tx)
	if err != nil {
		return err
	}
	if b.end().Seq-b.Seq >= feedBlockSize {
		if b, err = b.followed(ctx, tx); err != nil {
			return err
		}
	}
	byList := make(map[string][]int)
	for _, p := range places {
		byList[p.List] = append(byList[p.List], p.Index)
	}
	seal := rand.Text()[:13]
	for _, list := range slices.Sorted(maps.Keys(byList)) {
		at := byList[list]
		slices.Sort(at)
		if at = slices.Compact(at); len(at) > feedWhole {
			at = []int{listWhole}
		}
		b.Runs = append(b.Runs, feedRun{List: list, At: at, Seal: seal})
	}
	return writeValue(ctx, tx, statusFeed, b)
}

// followed puts a block aside, drops the oldest that is kept, and returns an empty
// one.
func (b feedBlock) followed(ctx context.Context, tx store.Tx) (feedBlock, error) {
	next := feedBlock{feedPlace: b.end(), Old: append(b.Old, b.Seq)}
	if len(next.Old) > feedBlocksKept {
		if err := tx.SetValue(ctx, feedName(next.Old[0]), nil); err != nil {
			return next, err
		}
		next.Old = next.Old[1:]
	}
	b.Old = nil
	return next, writeValue(ctx, tx, feedName(b.Seq), b)
}

// feedSince returns what was written behind a place, by list, and the place behind
// that. known is false where the feed does not go back so far, or has another
// history.
func feedSince(ctx context.Context, tx store.Tx, at feedPlace) (written map[string][]int, end feedPlace, known bool, err error) {
	b, err := readFeed(ctx, tx)
	if err != nil {
		return nil, end, false, err
	}
	end, old := b.end(), b.Old
	written = make(map[string][]int)
	for {
		runs, found := b.after(at)
		for _, r := range runs {
			written[r.List] = append(written[r.List], r.At...)
		}
		switch {
		case found:
			return written, end, true, nil
		case at.Seq >= b.Seq || len(old) == 0:
			return nil, end, false, nil
		}
		var raw []byte
		raw, err = tx.Value(ctx, feedName(old[len(old)-1]))
		if err != nil && !errors.Is(err, license.NotFound) {
			return nil, end, false, fmt.Errorf("read which status lists were changed: %w", err)
		}
		if b = (feedBlock{}); json.Unmarshal(raw, &b) != nil {
			return nil, end, false, nil // what cannot be read is not known
		}
		old = old[:len(old)-1]
	}
}
