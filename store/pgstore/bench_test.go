package pgstore_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

var benchTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func codeIndex(n int64) []byte {
	index := make([]byte, 32)
	binary.BigEndian.PutUint64(index, uint64(n)*0x9E3779B97F4A7C15)
	return index
}

func benchLicense(n int64) license.License {
	return license.License{
		ID:        fmt.Sprintf("lic_%026d", n),
		Product:   "cad-pro",
		Channel:   license.ChannelManual,
		Customer:  fmt.Sprintf("Example GmbH %d", n/3),
		Order:     fmt.Sprintf("CS%d", n),
		Code:      license.StoredCode{Last4: fmt.Sprintf("%04d", n%10000), Index: codeIndex(n), Sealed: make([]byte, 60)},
		Machines:  1,
		Mode:      license.ModeNode,
		Features:  license.Features{"export": license.FeatureOn(), "edition": license.FeatureText("pro")},
		IssuedAt:  benchTime,
		ExpiresAt: benchTime.AddDate(1, 0, 0),
	}
}

func benchInstall(n int64) license.Install {
	return license.Install{
		ID: fmt.Sprintf("%043d", n), LicenseID: benchLicense(n).ID, State: license.InstallLive, BoundAt: benchTime, SeenAt: benchTime,
		Answer: make([]byte, 900),
	}
}

// activate is what an activation reads and writes.
func activate(ctx context.Context, tx store.Tx, n int64) error {
	l, err := tx.LicenseByCode(ctx, codeIndex(n))
	if err != nil {
		return err
	}
	if _, err := tx.LiveInstalls(ctx, l.ID); err != nil {
		return err
	}
	list, err := tx.LastStatusList(ctx)
	if err != nil {
		return err
	}
	list.Next++
	l.ActivatedAt = benchTime
	_, err = tx.Append(ctx, license.AuditEvent{At: benchTime, Action: license.ActionActivate, License: l.ID, After: map[string]any{"install": n}})
	return errors.Join(err, tx.PutStatusList(ctx, list), tx.CreateInstall(ctx, benchInstall(n)), tx.UpdateLicense(ctx, l))
}

// bare does the same with pgx alone: the statements one after the other, each
// activation in its own transaction and on its own connection. What is not
// serializable waits for the head in the database's own queue, so that nobody fails.
func bare(ctx context.Context, pool *pgxpool.Pool, level pgx.TxIsoLevel, n int64) error {
	l := benchLicense(n)
	for {
		err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: level}, func(tx pgx.Tx) error {
			var seq int64
			var hash, answer []byte
			var id, record string
			if err := tx.QueryRow(ctx, "select seq, hash from head for update").Scan(&seq, &hash); err != nil {
				return err
			}
			if err := tx.QueryRow(ctx, "select id, record from licenses where code = $1", l.Code.Index).Scan(&id, &record); err != nil {
				return err
			}
			rows, err := tx.Query(ctx, "select id, record, answer from installs where license = $1 and live order by id", l.ID) //nolint:rowserrcheck // ForEachRow does
			if err != nil {
				return err
			}
			if _, err := pgx.ForEachRow(rows, []any{&id, &record, &answer}, func() error { return nil }); err != nil {
				return err
			}
			if err := tx.QueryRow(ctx, "select id, record from status_lists order by id desc limit 1").Scan(&id, &record); err != nil {
				return err
			}
			list := record
			var is1, is2 bool
			if err := tx.QueryRow(ctx, "select exists (select 1 from licenses where id = $1), exists (select 1 from installs where license = $1 and id = $2)", l.ID, benchInstall(n).ID).Scan(&is1, &is2); err != nil {
				return err
			}
			line := make([]byte, 400)
			for _, s := range []struct {
				sql  string
				args []any
			}{
				{"insert into audit (seq, license, grp, line) values ($1, $2, $3, $4)", []any{seq + 1, l.ID, seq, line}},
				{"insert into status_lists (id, record) values ($1, $2) on conflict (id) do update set record = excluded.record", []any{id, list}},
				{"insert into installs (license, id, revision, live, record, answer) values ($1, $2, $3, $4, $5, $6)", []any{l.ID, benchInstall(n).ID, 1, true, record, make([]byte, 900)}},
				{"update licenses set revision = $2, standing = $3, ends = $4, customer = $5, instance = $6, last4 = $7, ordered = $8, record = $9 where id = $1", []any{
					l.ID, 2, 5, l.ExpiresAt.Unix(), l.Customer, nil, l.Code.Last4, l.Order, record,
				}},
				{"update head set seq = $1, hash = $2", []any{seq + 1, hash}},
			} {
				if _, err := tx.Exec(ctx, s.sql, s.args...); err != nil {
					return err
				}
			}
			return nil
		})
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "40001" {
			return err
		}
	}
}

// BenchmarkActivate is a whole change, through the store and by bare pgx.
func BenchmarkActivate(b *testing.B) {
	c := pgtest.New(b)
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("store/%d", writers), func(b *testing.B) {
			s := filled(b, c.Schema(b))
			b.ResetTimer()
			spread(b, writers, func(n int64) error {
				return s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error { return activate(ctx, tx, n) })
			})
		})
		for name, level := range map[string]pgx.TxIsoLevel{"bare": pgx.Serializable, "bare-queued": pgx.ReadCommitted} {
			b.Run(fmt.Sprintf("%s/%d", name, writers), func(b *testing.B) {
				url := c.Schema(b)
				filled(b, url)
				config, err := pgxpool.ParseConfig(url)
				if err != nil {
					b.Fatal(err)
				}
				config.MaxConns = int32(writers)
				pool, err := pgxpool.NewWithConfig(b.Context(), config)
				if err != nil {
					b.Fatal(err)
				}
				defer pool.Close()
				b.ResetTimer()
				spread(b, writers, func(n int64) error { return bare(b.Context(), pool, level, n) })
			})
		}
	}
}

// filled is a store with b.N licences that can be activated.
func filled(b *testing.B, url string) *pgstore.Store {
	b.Helper()
	s, err := pgstore.Open(b.Context(), url, pgstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	if err := s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error {
		for n := range int64(b.N) {
			if err := tx.CreateLicense(ctx, benchLicense(n+1)); err != nil {
				return err
			}
		}
		return tx.PutStatusList(ctx, license.StatusList{ID: "sl_1", Length: 1 << 17, Seed: make([]byte, license.StatusSeedLen)})
	}); err != nil {
		b.Fatal(err)
	}
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
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
}
