package authority

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// A key folder is copied apart from the store, and so it can be put back older
// than the store. Products have seen the newer key set then: they refuse what a key
// has signed that it does not list, or lists as retired, and each set that is not
// newer still. Nothing of such a folder is noted as news.

// rank is the place of an anchor in the list that products compile in, -1 where it
// has none.
func (a *Authority) rank(kid string) int {
	return slices.IndexFunc(a.custody.Anchors(), func(k ed25519.PublicKey) bool { return token.Thumbprint(k) == kid })
}

// older reports whether the key set of is was replaced by that of was.
func (a *Authority) older(is, was notedKeys) bool {
	at, before := a.rank(is.Anchor), a.rank(was.Anchor)
	return before >= 0 && (at < before || at == before && is.Seq < was.Seq)
}

// noted is what the store knows of the key folder.
func (a *Authority) noted(ctx context.Context) (n notedKeys, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		n, err = readValue[notedKeys](ctx, tx, keysNoted)
		return err
	})
	return n, err
}

// olderFolder warns of a key folder that is older than the store.
func (a *Authority) olderFolder(ctx context.Context) ([]KeyWarning, error) {
	was, err := a.noted(ctx)
	if err != nil {
		return nil, err
	}
	is := a.keysNow()
	if !a.older(is, was) {
		return nil, nil
	}
	return []KeyWarning{{Kind: KeyWarnFolder, Text: fmt.Sprintf(
		"the key folder is older than the store: it holds key set no. %d, and no. %d was in force; products that know that one may refuse what is signed now. "+
			"Put back the newest copy of the folder, or, without one, have the anchor sign and install the next key set", is.Seq, was.Seq)}}, nil
}

// newerThanNoted gives an unsigned key set a number that no set has had.
func (a *Authority) newerThanNoted(ctx context.Context, unsigned []byte) ([]byte, error) {
	was, err := a.noted(ctx)
	if err != nil {
		return nil, err
	}
	set, err := token.ParseUnsignedKeySet(unsigned)
	if err != nil || set.Seq > was.Seq {
		return unsigned, err
	}
	set.Seq = was.Seq + 1
	return set.MarshalUnsigned()
}

// replacesNoted refuses a key set that is older than one which was in force.
func (a *Authority) replacesNoted(ctx context.Context, raw string) error {
	set, err := token.VerifyKeySet(raw, a.custody.Anchors())
	if err != nil {
		return nil //nolint:nilerr // the custody says what is wrong with it
	}
	was, err := a.noted(ctx)
	if err != nil {
		return err
	}
	if is := (notedKeys{Anchor: token.Thumbprint(a.custody.Anchors()[set.Rank]), Seq: set.Seq}); a.older(is, was) {
		return license.Errorf(license.Conflict, "the key set has seq %d, and products have seen a newer one, seq %d: request the next one anew, and sign that", set.Seq, was.Seq)
	}
	return nil
}
