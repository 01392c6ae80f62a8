package boltstore_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

var benchTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func benchLicense(n int64) license.License {
	index := make([]byte, 32)
	binary.BigEndian.PutUint64(index, uint64(n)*0x9E3779B97F4A7C15)
	return license.License{
		ID:        fmt.Sprintf("lic_%026d", n),
		Product:   "cad-pro",
		Channel:   license.ChannelManual,
		Customer:  "Example GmbH",
		Order:     "CS2403011200",
		Code:      license.StoredCode{Last4: "7K2M", Index: index, Sealed: make([]byte, 60)},
		Machines:  1,
		Mode:      license.ModeNode,
		Features:  license.Features{"export": license.FeatureOn(), "edition": license.FeatureText("pro")},
		IssuedAt:  benchTime,
		ExpiresAt: benchTime.AddDate(1, 0, 0),
	}
}

// BenchmarkCommit puts one small value in each change, through the store and
// through bbolt itself: what differs is the way to the disk.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("store/%d", writers), func(b *testing.B) {
			s := openBench(b)
			b.ResetTimer()
			spread(b, writers, func(n int64) error {
				return s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error {
					return tx.SetValue(ctx, fmt.Sprintf("%016d", n), make([]byte, 100))
				})
			})
		})
		for _, how := range []string{"update", "batch"} {
			b.Run(fmt.Sprintf("bbolt-%s/%d", how, writers), func(b *testing.B) {
				db, put := openBare(b)
				do := db.Update
				if how == "batch" {
					do = db.Batch
				}
				b.ResetTimer()
				spread(b, writers, func(n int64) error { return do(put(n)) })
			})
		}
	}
}

func openBare(b *testing.B) (*bolt.DB, func(n int64) func(*bolt.Tx) error) {
	b.Helper()
	db, err := bolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	name := []byte("values")
	if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(name); return err }); err != nil {
		b.Fatal(err)
	}
	return db, func(n int64) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			return tx.Bucket(name).Put(fmt.Appendf(nil, "%016d", n), make([]byte, 100))
		}
	}
}

func openBench(b *testing.B) *boltstore.Store {
	b.Helper()
	s, err := boltstore.Open(filepath.Join(b.TempDir(), "licensed.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// spread has b.N changes made by so many goroutines.
func spread(b *testing.B, writers int, change func(n int64) error) {
	b.Helper()
	var next atomic.Int64
	errs := make(chan error, writers)
	for range writers {
		go func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					errs <- nil
					return
				}
				if err := change(n); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIssue is a whole change: a licence and its audit event.
func BenchmarkIssue(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := openBench(b)
			b.ReportAllocs()
			spread(b, writers, func(n int64) error { return issue(s, n) })
		})
	}
}

func issue(s store.Store, n int64) error {
	return s.Update(context.Background(), func(ctx context.Context, tx store.Tx) error {
		l := benchLicense(n)
		if err := tx.CreateLicense(ctx, l); err != nil {
			return err
		}
		_, err := tx.Append(ctx, license.AuditEvent{At: benchTime, Action: license.ActionIssue, License: l.ID})
		return err
	})
}

// BenchmarkRecord is what reading and replacing a licence costs beside the
// commit: the changes run inside one transaction.
func BenchmarkRecord(b *testing.B) {
	s := openBench(b)
	if err := issue(s, 1); err != nil {
		b.Fatal(err)
	}
	id := benchLicense(1).ID
	for name, change := range map[string]bool{"read": false, "update": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			err := s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error {
				for b.Loop() {
					l, err := tx.License(ctx, id)
					if err != nil {
						return err
					}
					if change {
						if err := tx.UpdateLicense(ctx, l); err != nil {
							return err
						}
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkInstalls reads the installs of a licence of which 3,000 have ended.
func BenchmarkInstalls(b *testing.B) {
	s := openBench(b)
	id := benchLicense(1).ID
	err := s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error {
		if err := tx.CreateLicense(ctx, benchLicense(1)); err != nil {
			return err
		}
		for n := range 3001 {
			i := license.Install{ID: fmt.Sprintf("%043d", n), LicenseID: id, State: license.InstallDeactivated, BoundAt: benchTime, Answer: make([]byte, 900)}
			if n == 1500 {
				i.State = license.InstallLive
			}
			if err := tx.CreateInstall(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for name, read := range map[string]func(tx store.Tx) ([]license.Install, error){
		"all":  func(tx store.Tx) ([]license.Install, error) { return tx.Installs(b.Context(), id) },
		"live": func(tx store.Tx) ([]license.Install, error) { return tx.LiveInstalls(b.Context(), id) },
	} {
		b.Run(name, func(b *testing.B) {
			err := s.View(b.Context(), func(_ context.Context, tx store.Tx) error {
				for b.Loop() {
					if got, err := read(tx); err != nil || len(got) == 0 {
						return fmt.Errorf("%d installs, %w", len(got), err)
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}
