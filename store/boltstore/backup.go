package boltstore

import (
	"context"
	"fmt"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// A copy that is read slowly keeps bbolt from using the pages again that are
// freed meanwhile, so the file grows, and once it has outgrown its mapping the
// next writer waits for the copy to end. So a copy ends first.
const (
	maxGrowth = mapAhead / 2
	lookAfter = 16 << 20 // bytes copied between two looks at the file
)

var _ store.Backuper = (*Store)(nil)

// Backup writes a copy of the store as it stands to w: a file that Open opens.
// Reading and writing go on meanwhile. Where the store grows by more than
// 512 MiB until w has taken the copy, it is given up with license.Conflict.
func (s *Store) Backup(ctx context.Context, w io.Writer, begin func(ctx context.Context, tx store.Tx, c store.Copy) error) error {
	err := s.view(ctx, func(ctx context.Context, btx *bolt.Tx) error {
		b := openBuckets(btx)
		if begin != nil {
			c := store.Copy{Kind: "bolt", Size: btx.Size(), Records: make(map[string]int, len(layout))}
			for id := range bucketCount {
				c.Records[layout[id].name] = b.get(id).Stats().KeyN
			}
			t := newTxn(b, false)
			defer t.end()
			if err := begin(ctx, t, c); err != nil {
				return err
			}
		}
		out := &copyWriter{ctx: ctx, w: w, path: s.path, size: btx.Size()}
		_, err := btx.WriteTo(out)
		if err != nil && out.err != nil {
			return out.err // bbolt keeps only its text
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("back up the store: %w", err)
	}
	return nil
}

// copyWriter ends a copy that nobody wants any more, or that takes too long.
type copyWriter struct {
	ctx    context.Context //nolint:containedctx // lives for one call of Backup
	w      io.Writer
	path   string
	size   int64 // of the store when the copy began
	copied int64
	err    error
}

func (c *copyWriter) Write(p []byte) (n int, err error) {
	if c.err == nil {
		c.err = c.look(int64(len(p)))
	}
	if c.err == nil {
		n, c.err = c.w.Write(p)
	}
	return n, c.err
}

func (c *copyWriter) look(more int64) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	before := c.copied / lookAfter
	if c.copied += more; c.copied/lookAfter == before {
		return nil
	}
	info, err := os.Stat(c.path)
	if err != nil {
		return err
	}
	if grown := info.Size() - c.size; grown > maxGrowth {
		return license.Errorf(license.Conflict, "the store grew by %d MiB while it was copied: the copy is taken too slowly", grown>>20)
	}
	return nil
}
