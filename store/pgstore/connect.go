package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	neturl "net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-357fa782/licensed/license"
)

// Check says what is wrong with a database's URL. It connects to nothing.
func Check(url string) error {
	u, err := checkURL(url)
	if err != nil {
		return err
	}
	if _, err := pgxpool.ParseConfig(u); err != nil {
		return badURL("it cannot be read: %v", err) // it holds no password
	}
	return nil
}

func badURL(format string, args ...any) error {
	return license.FieldErrorf("store", "the URL of the database: "+format, args...)
}

// checkURL returns the URL with what it has to say and does not.
func checkURL(url string) (string, error) {
	u, err := neturl.Parse(url)
	if err != nil {
		return "", badURL("it cannot be read; write postgres://user@host/database") // its error would show it
	}
	q := u.Query()
	_, has := u.User.Password()
	switch {
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		return "", badURL("it has the scheme %q; write postgres://user@host/database", u.Scheme)
	case has || q.Has("password") || q.Has("sslpassword"):
		return "", badURL("it holds a password; put that in a file, and name the file")
	case q.Has("servicefile"):
		return "", badURL("servicefile is not supported")
	}
	hosts := cmp.Or(q.Get("host"), u.Host)
	switch mode := q.Get("sslmode"); {
	case mode == "prefer" || mode == "allow":
		return "", badURL("sslmode=%s would fall back to plain text; write verify-full, verify-ca, require or disable", mode)
	case mode == "" && !local(hosts):
		q.Set("sslmode", "verify-full")
	}
	if strings.Contains(hosts, ",") && !q.Has("target_session_attrs") {
		q.Set("target_session_attrs", "read-write") // of several servers the one that takes changes
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// local reports whether no host of a list lies beyond this machine.
func local(hosts string) bool {
	for host := range strings.SplitSeq(cmp.Or(hosts, "/"), ",") {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if !strings.HasPrefix(host, "/") && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// pools makes the pool for reading and the connection for changes, and fills
// in what o leaves open. They connect when they are used.
func pools(ctx context.Context, url string, o *Options) (reads, writes *pgxpool.Pool, err error) {
	checked, err := checkURL(url)
	if err != nil {
		return nil, nil, err
	}
	o.Connections = cmp.Or(o.Connections, 16)
	o.StatementTimeout = cmp.Or(o.StatementTimeout, 30*time.Second)
	o.LockTimeout = cmp.Or(o.LockTimeout, 10*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 15*time.Second)
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 5*time.Second)
	if o.Connections < 2 {
		return nil, nil, license.FieldErrorf("connections", "a store needs 2 connections at least, not %d", o.Connections)
	}
	config, err := pgxpool.ParseConfig(checked)
	if err != nil {
		return nil, nil, badURL("it cannot be read: %v", err) // it holds no password
	}
	c := config.ConnConfig
	c.ConnectTimeout = o.ConnectTimeout
	maps.Copy(c.RuntimeParams, map[string]string{
		"application_name":                    cmp.Or(o.ApplicationName, c.RuntimeParams["application_name"], "licensed"),
		"statement_timeout":                   milliseconds(o.StatementTimeout),
		"lock_timeout":                        milliseconds(o.LockTimeout),
		"idle_in_transaction_session_timeout": milliseconds(o.IdleTimeout),
		"timezone":                            "UTC",
	})
	if o.PasswordFile != "" {
		config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) (err error) {
			c.Password, err = readPassword(o.PasswordFile)
			return err
		}
		if _, err := readPassword(o.PasswordFile); err != nil {
			return nil, nil, license.FieldErrorf("password_file", "the password of the database cannot be read: %v", err)
		}
	}
	config.PingTimeout = o.ConnectTimeout
	config.MinConns, config.MinIdleConns = 0, 0
	forWrites := config.Copy()
	config.MaxConns, forWrites.MaxConns = int32(o.Connections-1), 1
	if reads, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, nil, asError(err)
	}
	if writes, err = pgxpool.NewWithConfig(ctx, forWrites); err != nil {
		reads.Close()
		return nil, nil, asError(err)
	}
	return reads, writes, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// readPassword reads the file of a password, whose final newline does not count.
func readPassword(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	if password == "" || strings.ContainsAny(password, "\x00\n") {
		return "", fmt.Errorf("%s holds no password, or more than one line", path)
	}
	return password, nil
}
