// Package backup makes, checks and restores copies of a store while it serves.
//
// A backup is one file: the copy as the backend wrote it, then a manifest (JSON)
// with the SHA-256 of each block of the copy, and a last line that says where
// the manifest begins and what its own SHA-256 is. So a backup of the embedded
// store can be opened as it is, and one that was cut short or changed is
// refused with the place named. The digests guard against accidents; who can
// write the file can make others.
//
// The data key, the signing keys and the configuration are not in it.
//
// The package may change in any release.
package backup

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Form is the version of the manifest.
const Form = 1

// blockSize is how much of a copy one digest is of.
const blockSize = 1 << 20

// Manifest says what a backup holds.
type Manifest struct {
	Form    int            `json:"form"`
	Version string         `json:"version"` // of the program that made it
	MadeAt  time.Time      `json:"made_at"`
	Kind    string         `json:"kind"` // of store: "bolt"
	Size    int64          `json:"size"` // bytes of the copy, without the manifest
	Records map[string]int `json:"records"`
	Audit   store.Head     `json:"audit"`
	// BlockSize and Blocks are the SHA-256 of each block, base64url.
	BlockSize int      `json:"block_size"`
	Blocks    []string `json:"blocks"`
}

// Options say how a backup is made.
type Options struct {
	Version string    // of the program
	Now     time.Time // what the manifest is dated
	// Pause is called after each block, with nil for none: so that a copy in the
	// background leaves processor and disk to those who wait.
	Pause func(ctx context.Context)
}

// Write writes a backup of s to w. Reading and writing go on meanwhile. A kind
// of store that cannot copy itself is refused with license.BadRequest.
func Write(ctx context.Context, s store.Store, w io.Writer, o Options) (Manifest, error) {
	b, ok := s.(store.Backuper)
	if !ok {
		return Manifest{}, license.Errorf(license.BadRequest, "this kind of store makes no backups of itself: a database is backed up with pg_dump, or by base backups and its write-ahead log; licensectl dump writes every record as text")
	}
	m := Manifest{Form: Form, Version: o.Version, MadeAt: o.Now.UTC().Truncate(time.Second), BlockSize: blockSize, Blocks: []string{}}
	out := &blockWriter{ctx: ctx, w: w, block: make([]byte, 0, blockSize), pause: o.Pause}
	err := b.Backup(ctx, out, func(ctx context.Context, tx store.Tx, c store.Copy) (err error) {
		m.Kind, m.Size, m.Records = c.Kind, c.Size, c.Records
		m.Audit, err = store.HeadOf(ctx, tx)
		return err
	})
	if err == nil {
		err = out.flush()
	}
	if err != nil {
		return Manifest{}, err
	}
	if out.written != m.Size {
		return Manifest{}, license.Errorf(license.Internal, "the copy of the store has %d bytes, and was to have %d", out.written, m.Size)
	}
	m.Blocks = out.sums
	return m, m.append(w)
}

// blockWriter writes blocks and remembers their digests.
type blockWriter struct {
	ctx     context.Context //nolint:containedctx // lives for one call of Write
	w       io.Writer
	block   []byte
	sums    []string
	written int64
	pause   func(ctx context.Context)
}

func (b *blockWriter) Write(p []byte) (int, error) {
	taken := 0
	for taken < len(p) {
		n := min(len(p)-taken, blockSize-len(b.block))
		b.block = append(b.block, p[taken:taken+n]...)
		taken += n
		if len(b.block) == blockSize {
			if err := b.flush(); err != nil {
				return taken, err
			}
		}
	}
	return taken, nil
}

func (b *blockWriter) flush() error {
	if len(b.block) == 0 {
		return nil
	}
	b.sums = append(b.sums, digest(b.block))
	n, err := b.w.Write(b.block)
	b.written += int64(n)
	b.block = b.block[:0]
	if err == nil && b.pause != nil {
		b.pause(b.ctx)
	}
	return err
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// The last line of a backup: a word, the manifest's length and its SHA-256.
const (
	lastWord   = "licensed-backup"
	lastFormat = lastWord + " %019d %s\n"
	lastLen    = len(lastWord) + 1 + 19 + 1 + 43 + 1
)

// append writes the manifest and the last line.
func (m Manifest) append(w io.Writer) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	raw = append(raw, '\n')
	if _, err = w.Write(fmt.Appendf(raw, lastFormat, len(raw), digest(raw))); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	return nil
}

// WriteFile makes a backup of s at path, for the owner only. It has that name
// once it is on disk, was read back and every record of it was checked.
func WriteFile(ctx context.Context, s store.Store, path string, o Options) (Manifest, error) {
	return Receive(ctx, path, nil, func(w io.Writer) error {
		_, err := Write(ctx, s, w, o)
		return err
	})
}

// Receive keeps at path the backup that write writes, as WriteFile does.
// progress, which may be nil, is told how far the check has come.
func Receive(ctx context.Context, path string, progress func(done, of int64), write func(w io.Writer) error) (Manifest, error) {
	f, err := durable.Create(path, 0o600)
	if err != nil {
		return Manifest{}, err
	}
	defer f.Abort()
	if err := write(f); err != nil {
		return Manifest{}, err
	}
	if err := f.Sync(); err != nil {
		return Manifest{}, err
	}
	m, err := verify(ctx, f.Name(), progress)
	if err != nil {
		return m, fmt.Errorf("verify the backup %s: %w", path, err)
	}
	return m, f.Commit()
}
