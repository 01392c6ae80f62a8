package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Standby makes a synchronous standby of c and starts it: from when it returns, a
// commit on c is answered when it is on the disks of both. It ends with tb.
func (c *Cluster) Standby(tb testing.TB) *Cluster {
	tb.Helper()
	s, err := c.follow()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.end)
	if err := c.Await(s); err != nil {
		tb.Fatal(err)
	}
	return s
}

func (c *Cluster) follow() (*Cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(filepath.Base(dir))
	args := append([]string{c.args[0], "-D", filepath.Join(dir, "data"), "-k", dir}, c.args[5:]...)
	s := &Cluster{dir: dir, args: append(args, "-c", "cluster_name="+name), name: name}
	out, err := []byte(nil), own(dir)
	if err == nil {
		out, err = s.run([]string{
			filepath.Join(bin, "pg_basebackup"), "-D", filepath.Join(dir, "data"), "-h", c.dir, "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync",
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy the cluster: %w\n%s", err, out), os.RemoveAll(dir))
	}
	if err := s.Start(); err != nil {
		return nil, err
	}
	// It is asked for only now, so that the copy does not ask for itself.
	return s, c.waitFor(s)
}

// Take makes s, which was stopped and not killed, and had all that c has, a
// synchronous standby of c, and starts it.
func (c *Cluster) Take(s *Cluster) error {
	if s.name == "" {
		s.name = strings.ToLower(filepath.Base(s.dir))
		s.args = append(s.args, "-c", "cluster_name="+s.name)
	}
	signal := filepath.Join(s.dir, "data", "standby.signal")
	settings := filepath.Join(s.dir, "data", "postgresql.auto.conf")
	if err := errors.Join(os.WriteFile(signal, nil, 0o600), own(signal)); err != nil {
		return err
	}
	f, err := os.OpenFile(settings, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "synchronous_standby_names = ''\nprimary_conninfo = 'host=%s port=%s user=postgres'\n", c.dir, cmp.Or(c.port, "5432"))
	if err := errors.Join(err, f.Close(), s.Start()); err != nil {
		return err
	}
	return errors.Join(c.waitFor(s), c.Await(s))
}

// waitFor has c ask for s at each commit.
func (c *Cluster) waitFor(s *Cluster) error {
	return errors.Join(c.Do("alter system set synchronous_standby_names = '"+s.name+"'"), c.Do("select pg_reload_conf()"))
}

// Await waits until s, a standby of c, has what c has and c waits for it with each commit.
func (c *Cluster) Await(s *Cluster) error {
	return c.until("select exists (select from pg_stat_replication where application_name = $1 and sync_state = 'sync' and flush_lsn >= pg_current_wal_flush_lsn())", s.name)
}

// Promote makes a standby the server that takes changes. What it was a standby of has
// to be dead, or there are two.
func (c *Cluster) Promote() error {
	return errors.Join(c.Do("select pg_promote(false)"), c.until("select not pg_is_in_recovery()"))
}

// Do runs a statement as the superuser.
func (c *Cluster) Do(sql string) error {
	return c.with(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql)
		return err
	})
}

// until waits until a query returns true.
func (c *Cluster) until(sql string, args ...any) error {
	return c.with(func(ctx context.Context, conn *pgx.Conn) error {
		for {
			var is bool
			if err := conn.QueryRow(ctx, sql, args...).Scan(&is); err != nil || is {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("it does not become true: %s", sql)
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
}

func (c *Cluster) with(fn func(ctx context.Context, conn *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL())
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx, conn), conn.Close(ctx))
}

// Hosts returns the URL of a cluster, or of a schema of it, as one that names
// several clusters, of which a client takes the one that takes changes.
func Hosts(at string, clusters ...*Cluster) (string, error) {
	u, err := url.Parse(at)
	if err != nil {
		return "", err
	}
	var dirs, ports []string
	for _, c := range clusters {
		dirs, ports = append(dirs, c.dir), append(ports, cmp.Or(c.port, "5432"))
	}
	q := u.Query()
	q.Set("host", strings.Join(dirs, ","))
	q.Set("port", strings.Join(ports, ","))
	u.RawQuery = q.Encode()
	return u.String(), nil
}
