package pgstore

import (
	"context"
	"maps"
	"slices"
)

// A store is filled with records that are not there yet, in an order in which each
// comes behind those that it belongs to. PutRecord takes that for granted, where
// nothing else is known, and goes on without a round trip of its own. Before any of it is sent,
// and when the function has ended, also with an error, all that was taken for granted is asked for
// at once. Where it is not so the group is undone and run again, without guesses: then
// PutRecord says what is wrong.

// guesses says of places whether something is taken to be there.
type guesses map[place]bool

// guessError: what was taken for granted was not so.
type guessError struct{}

func (guessError) Error() string {
	return "a record that is loaded is there already, or what it belongs to is not"
}

// guess reports whether it can be taken for granted that something is at a place, or
// nothing, and notes that it was.
func (t *txn) guess(p place, there bool) bool {
	if !t.loading || t.d.careful || t.known(p) != nil {
		return false
	}
	if other, is := t.guesses[p]; is && other != there {
		return false
	}
	if t.guesses == nil {
		t.guesses = make(guesses)
	}
	t.guesses[p] = there
	return true
}

// fetchFree is fetch for places where a new record needs nothing to be.
func (t *txn) fetchFree(ctx context.Context, places ...place) error {
	for _, p := range places {
		if t.guess(p, false) {
			t.cells[p] = &cell{}
		}
	}
	return t.fetch(ctx, places...)
}

// prove looks whether what was taken for granted is so.
func (t *txn) prove() {
	if len(t.guesses) == 0 || t.practice != nil {
		return
	}
	guessed := t.guesses
	t.guesses = nil
	g, err := t.d.gather(context.Background(), slices.Collect(maps.Keys(guessed)))
	switch {
	case t.d.failure != nil:
	case err != nil:
		t.d.failure = err
	default:
		for p, there := range guessed {
			if g[p].there != there {
				t.d.failure = guessError{}
			}
		}
	}
}
