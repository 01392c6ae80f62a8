package pgstore_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
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

// A work is one kind of change: what it reads and writes in a store, and the
// statements that do the same by pgx alone, one after the other in a transaction of
// their own.
type work struct {
	store func(ctx context.Context, tx store.Tx, n int64) error
	bare  func(ctx context.Context, tx pgx.Tx, n int64) error
}

var works = map[string]work{
	"activate": {activate, bareActivate},
	"renew":    {renew, bareRenew},
	"refresh":  {refresh, bareRefresh},
}

func benchKey(n int64) []byte { return binary.BigEndian.AppendUint64([]byte("message "), uint64(n)) }

// activate binds an install to a licence that has none.
func activate(ctx context.Context, tx store.Tx, n int64) error {
	l, err := tx.LicenseByCode(ctx, codeIndex(n))
	if err != nil {
		return err
	}
	i := benchInstall(n)
	i.ID, i.LicenseID = "new "+i.ID, l.ID
	if _, err := tx.Install(ctx, l.ID, i.ID); !errors.Is(err, license.NotFound) {
		return errors.Join(err, errors.New("there is an install"))
	}
	if _, err := tx.Installs(ctx, l.ID); err != nil {
		return err
	}
	list, err := tx.LastStatusList(ctx)
	if err != nil {
		return err
	}
	i.Status = license.StatusRef{List: list.ID, Index: list.Next}
	list.Next++
	l.ActivatedAt = benchTime
	_, err = tx.Append(ctx, license.AuditEvent{At: benchTime, Action: license.ActionActivate, License: l.ID, After: map[string]any{"install": n}})
	if err := errors.Join(err, tx.PutStatusList(ctx, list), tx.UpdateLicense(ctx, l), tx.CreateInstall(ctx, i)); err != nil {
		return err
	}
	_, err = tx.StatusEntry(ctx, list.ID, i.Status.Index)
	return err
}

// renew takes a message of a marketplace, which moves the end of a licence.
func renew(ctx context.Context, tx store.Tx, n int64) error {
	if err := tx.MarkSeen(ctx, benchKey(n), benchTime.Add(store.MarkKept), benchTime); err != nil {
		return err
	}
	l, err := tx.LicenseByCode(ctx, codeIndex(n))
	if err != nil {
		return err
	}
	l.ExpiresAt = l.ExpiresAt.AddDate(1, 0, 0)
	_, err = tx.Append(ctx, license.AuditEvent{At: benchTime, Action: license.ActionRenew, License: l.ID, After: map[string]any{"expires_at": l.ExpiresAt}})
	return errors.Join(err, tx.UpdateLicense(ctx, l))
}

// refresh gives an install a new licence.
func refresh(ctx context.Context, tx store.Tx, n int64) error {
	i, err := tx.Install(ctx, benchLicense(n).ID, benchInstall(n).ID)
	if err != nil {
		return err
	}
	l, err := tx.License(ctx, i.LicenseID)
	if err != nil {
		return err
	}
	i.SeenAt = benchTime.Add(time.Hour)
	_, err = tx.Append(ctx, license.AuditEvent{At: benchTime, Action: license.ActionRefresh, License: l.ID, Install: i.ID})
	return errors.Join(err, tx.UpdateInstall(ctx, i))
}

const (
	sqlByCode        = "select id, record from licenses where code = $1"
	sqlByID          = "select id, record from licenses where id = $1"
	sqlInstall       = "select id, record, answer from installs where license = $1 and id = $2"
	sqlUpdateLicense = `update licenses set revision = $2, standing = $3, ends = $4, customer = $5, instance = $6, last4 = $7, ordered = $8, record = $9 where id = $1`
)

// bareAsk runs a query and reads what it returns.
func bareAsk(ctx context.Context, tx pgx.Tx, into *string, sql string, args ...any) error {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		*into, _ = values[1].(string)
	}
	return rows.Err()
}

func bareUpdate(ctx context.Context, tx pgx.Tx, n int64, record string) error {
	l := benchLicense(n)
	_, err := tx.Exec(ctx, sqlUpdateLicense, l.ID, 2, 5, l.ExpiresAt.Unix(), l.Customer, nil, l.Code.Last4, l.Order, record)
	return err
}

func bareActivate(ctx context.Context, tx pgx.Tx, n int64) error {
	var record, list, none string
	l, id := benchLicense(n), "new "+benchInstall(n).ID
	for _, err := range []error{
		bareAsk(ctx, tx, &record, sqlByCode, l.Code.Index),
		bareAsk(ctx, tx, &none, sqlInstall, l.ID, id),
		bareAsk(ctx, tx, &none, "select id, record, answer from installs where license = $1", l.ID),
		bareAsk(ctx, tx, &list, "select id, record from status_lists order by id desc limit 1"),
		bareAsk(ctx, tx, &none, "select list, idx, status, final_at from statuses where list = $1 and idx = $2", "sl_1", n),
		bareUpdate(ctx, tx, n, record),
	} {
		if err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, "insert into status_lists (id, record) values ($1, $2) on conflict (id) do update set record = excluded.record", "sl_1", list); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "insert into installs (license, id, revision, live, record, answer) values ($1, $2, $3, $4, $5, $6)", l.ID, id, 1, true, record, make([]byte, 900))
	return err
}

func bareRenew(ctx context.Context, tx pgx.Tx, n int64) error {
	var record, none string
	until := benchTime.Add(store.MarkKept).UnixMilli()
	for _, err := range []error{
		bareAsk(ctx, tx, &none, "select until, key from marks where until = $1 and key = $2", until, benchKey(n)),
		bareAsk(ctx, tx, &record, sqlByCode, codeIndex(n)),
		bareUpdate(ctx, tx, n, record),
	} {
		if err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, "insert into marks (until, key) values ($1, $2)", until, benchKey(n))
	return err
}

func bareRefresh(ctx context.Context, tx pgx.Tx, n int64) error {
	var record, none string
	l, id := benchLicense(n), benchInstall(n).ID
	for _, err := range []error{
		bareAsk(ctx, tx, &record, sqlInstall, l.ID, id),
		bareAsk(ctx, tx, &none, sqlByID, l.ID),
	} {
		if err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, "update installs set revision = $3, live = $4, record = $5, answer = $6 where license = $1 and id = $2", l.ID, id, 2, true, record, make([]byte, 900))
	return err
}

// bare makes a change by pgx alone, at READ COMMITTED: there transactions wait for the
// head in the database's own queue, and none fails. At SERIALIZABLE, which the store
// uses, all but one of those that run at once would fail and have to be tried again.
func bare(ctx context.Context, pool *pgxpool.Pool, w work, n int64) error {
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		var seq int64
		var hash []byte
		if err := tx.QueryRow(ctx, "select seq, hash from head for update").Scan(&seq, &hash); err != nil {
			return err
		}
		if err := w.bare(ctx, tx, n); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "insert into audit (seq, license, grp, line) values ($1, $2, $3, $4)", seq+1, benchLicense(n).ID, seq, make([]byte, 400)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "update head set seq = $1, hash = $2", seq+1, hash)
		return err
	})
}

// BenchmarkChange makes changes in turn through the store, by bare pgx and through
// the bolt store, a part of each at a time, and reports the rates of the store as
// ratios to those of the others: the median of the parts. Everything is synced.
func BenchmarkChange(b *testing.B) {
	c := pgtest.New(b)
	for name, w := range works {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d", name, writers), func(b *testing.B) {
				s, at := benchStore(b, c.Schema(b)), c.Schema(b)
				benchStore(b, at)
				config, err := pgxpool.ParseConfig(at)
				if err != nil {
					b.Fatal(err)
				}
				config.MaxConns = int32(writers)
				pool, err := pgxpool.NewWithConfig(b.Context(), config)
				if err != nil {
					b.Fatal(err)
				}
				defer pool.Close()
				beside, err := boltstore.Open(filepath.Join(b.TempDir(), "licensed.db"), boltstore.Options{})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = beside.Close() })
				fill(b, beside)
				through := func(s store.Store) func(n int64) error {
					return func(n int64) error {
						return s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error { return w.store(ctx, tx, n) })
					}
				}
				subjects := []func(n int64) error{through(s), func(n int64) error { return bare(b.Context(), pool, w, n) }, through(beside)}
				const parts = 7
				var rates [3][parts]float64
				b.ResetTimer()
				for part := range int64(parts) {
					for k, change := range subjects {
						from, to := part*int64(b.N)/parts, (part+1)*int64(b.N)/parts
						begin := time.Now()
						spread(b, writers, from, to, change)
						rates[k][part] = float64(to-from) / time.Since(begin).Seconds()
					}
				}
				b.StopTimer()
				var toBare, toBolt [parts]float64
				for part := range parts {
					toBare[part], toBolt[part] = rates[0][part]/rates[1][part], rates[0][part]/rates[2][part]
				}
				slices.Sort(rates[0][:])
				slices.Sort(toBare[:])
				slices.Sort(toBolt[:])
				b.ReportMetric(rates[0][parts/2], "changes/s")
				b.ReportMetric(toBare[parts/2], "/bare")
				b.ReportMetric(toBolt[parts/2], "/bolt")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkDaemons makes changes through one store, through two on one database, and
// through one that is 0.3 ms away each way.
func BenchmarkDaemons(b *testing.B) {
	c := pgtest.New(b)
	for _, name := range []string{"activate", "renew", "refresh"} {
		w := works[name]
		run := func(writers int, open func(b *testing.B) []*pgstore.Store) func(b *testing.B) {
			return func(b *testing.B) {
				b.Helper()
				all := open(b)
				b.ResetTimer()
				spread(b, writers, 0, int64(b.N), func(n int64) error {
					return all[n%int64(len(all))].Update(b.Context(), func(ctx context.Context, tx store.Tx) error { return w.store(ctx, tx, n) })
				})
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
				commits := int64(0)
				for _, s := range all {
					commits += s.Stats().Commits
				}
				b.ReportMetric(float64(b.N)/float64(commits), "changes/commit")
			}
		}
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/one/%d", name, writers), run(writers, func(b *testing.B) []*pgstore.Store {
				b.Helper()
				return []*pgstore.Store{benchStore(b, c.Schema(b))}
			}))
			b.Run(fmt.Sprintf("%s/two/%d", name, writers), run(writers, func(b *testing.B) []*pgstore.Store {
				b.Helper()
				at := c.Schema(b)
				return []*pgstore.Store{benchStore(b, at), openBench(b, at)}
			}))
			b.Run(fmt.Sprintf("%s/far/%d", name, writers), run(writers, func(b *testing.B) []*pgstore.Store {
				b.Helper()
				at := c.Schema(b)
				benchStore(b, at)
				return []*pgstore.Store{openBench(b, away(b, at, 300*time.Microsecond))}
			}))
		}
	}
}

// away returns the URL of a proxy to the server that url names on a unix socket, which
// holds up what it passes on.
func away(b *testing.B, url string, by time.Duration) string {
	b.Helper()
	u, err := neturl.Parse(url)
	if err != nil {
		b.Fatal(err)
	}
	q := u.Query()
	server := filepath.Join(q.Get("host"), ".s.PGSQL.5432")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	pass := func(to, from net.Conn) {
		defer to.Close()
		buf := make([]byte, 1<<20)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			time.Sleep(by)
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			go pass(in, out)
			go pass(out, in)
		}
	}()
	host, port, _ := net.SplitHostPort(l.Addr().String())
	q.Set("host", host)
	q.Set("port", port)
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	return u.String()
}

func openBench(b *testing.B, url string) *pgstore.Store {
	b.Helper()
	s, err := pgstore.Open(b.Context(), url, pgstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// benchStore is a store with b.N licences.
func benchStore(b *testing.B, url string) *pgstore.Store {
	b.Helper()
	s := openBench(b, url)
	fill(b, s)
	return s
}

// fill makes b.N licences with an install each.
func fill(b *testing.B, s store.Store) {
	b.Helper()
	for from := int64(0); from < int64(b.N); from += 1000 {
		if err := s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error {
			for n := from; n < min(from+1000, int64(b.N)); n++ {
				if err := errors.Join(tx.CreateLicense(ctx, benchLicense(n)), tx.CreateInstall(ctx, benchInstall(n))); err != nil {
					return err
				}
			}
			return tx.PutStatusList(ctx, license.StatusList{ID: "sl_1", Length: 1 << 17, Seed: make([]byte, license.StatusSeedLen)})
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// spread has the changes from one to another made by so many goroutines.
func spread(b *testing.B, writers int, from, to int64, change func(n int64) error) {
	b.Helper()
	var next atomic.Int64
	next.Store(from - 1)
	errs := make(chan error, writers)
	for range writers {
		go func() {
			for {
				n := next.Add(1)
				if n >= to {
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
