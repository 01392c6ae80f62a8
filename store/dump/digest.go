package dump

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// digests sums up the records of each kind: the SHA-256 of all of them, added as
// numbers of 256 bits. So it does not depend on the order in which a backend has
// them, and says which kind differs. It is against accidents, not against forgers.
type digests map[store.RecordKind]*big.Int

// modulus is 2^256.
func modulus() *big.Int { return new(big.Int).Lsh(big.NewInt(1), 8*sha256.Size) }

// add adds a record. What a load keeps of itself is none of the store's.
func (d digests) add(kind store.RecordKind, data []byte) {
	if kind == store.RecordValue && isState(data) {
		return
	}
	sum := d[kind]
	if sum == nil {
		sum = new(big.Int)
		d[kind] = sum
	}
	one := sha256.Sum256(data)
	sum.Mod(sum.Add(sum, new(big.Int).SetBytes(one[:])), modulus())
}

func isState(data []byte) bool {
	var v struct{ Name string }
	return json.Unmarshal(data, &v) == nil && v.Name == valueState
}

// String is the digest of all kinds, in hexadecimal digits.
func (d digests) String() string {
	all := sha256.New()
	for _, kind := range store.RecordKinds() {
		if sum := d[kind]; sum != nil {
			fmt.Fprintf(all, "%s %064x\n", kind, sum)
		}
	}
	return hex.EncodeToString(all.Sum(nil))
}

// differs names a kind whose records are not the same.
func (d digests) differs(from digests) (store.RecordKind, bool) {
	for _, kind := range store.RecordKinds() {
		a, b := d[kind], from[kind]
		if (a == nil) != (b == nil) || a != nil && a.Cmp(b) != 0 {
			return kind, true
		}
	}
	return "", false
}

// Digest reads every record of one consistent state of s, and returns how many there
// are and their digest: the same for two stores that hold the same records, whatever
// their kinds. The first record that cannot be read is named.
func Digest(ctx context.Context, s store.Store, progress func(records int64)) (Summary, error) {
	sum, _, err := digest(ctx, s, progress)
	return sum, err
}

func digest(ctx context.Context, s store.Store, progress func(records int64)) (Summary, digests, error) {
	var counts map[store.RecordKind]int64
	var sums digests
	err := s.View(ctx, func(ctx context.Context, tx store.Tx) error {
		counts, sums = make(map[store.RecordKind]int64), make(digests)
		return walk(ctx, tx, func(r store.Record) error {
			if r.Kind != store.RecordValue || !isState(r.Data) {
				counts[r.Kind]++
				sums.add(r.Kind, r.Data)
			}
			return nil
		}, progress)
	})
	if err != nil {
		return Summary{}, nil, fmt.Errorf("read the store: %w", err)
	}
	return Summary{Records: counts, Digest: sums.String()}, sums, nil
}

// walk gives every record of a store to fn, by kind.
func walk(ctx context.Context, tx store.Tx, fn func(store.Record) error, progress func(records int64)) error {
	done := int64(0)
	for _, kind := range store.RecordKinds() {
		for cursor := ""; ; {
			records, next, err := tx.Records(ctx, kind, store.Page{Limit: store.MaxPage, Cursor: cursor})
			if err != nil {
				return fmt.Errorf("of the kind %s: %w", kind, err)
			}
			for _, r := range records {
				if err := fn(store.Record{Kind: kind, Data: r.Data}); err != nil {
					return err
				}
			}
			if done += int64(len(records)); progress != nil {
				progress(done)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if cursor = next; next == "" {
				break
			}
		}
	}
	return nil
}

// compare reads what was stored and compares it with what was read of the dump.
func compare(ctx context.Context, s store.Store, want digests) error {
	_, have, err := digest(ctx, s, nil)
	if err != nil {
		return err
	}
	if kind, differ := have.differs(want); differ {
		return license.Errorf(license.Damaged, "the store does not hold what the dump does: records of the kind %s differ; begin with a new store", kind)
	}
	return nil
}
