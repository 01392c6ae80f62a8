package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	neturl "net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	one, several, ports := splitHosts(url)
	u, err := neturl.Parse(one)
	if err != nil {
		return "", badURL("it cannot be read; write postgres://user@host/database") // its error would show it
	}
	q := u.Query()
	if several != "" && (q.Has("host") || q.Has("port")) {
		return "", badURL("it names hosts in two places")
	}
	if several != "" {
		q.Set("host", several)
		q.Set("port", ports)
	}
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

// splitHosts takes several hosts out of a URL, which no URL of others has. Each
// host has a port, that of PostgreSQL where it names none.
func splitHosts(url string) (rest, hosts, ports string) {
	scheme, after, found := strings.Cut(url, "://")
	end := strings.IndexAny(after, "/?#")
	if end < 0 {
		end = len(after)
	}
	at := strings.LastIndex(after[:end], "@") + 1
	if !found || !strings.Contains(after[at:end], ",") || strings.Contains(after[end:], "@") {
		return url, "", ""
	}
	var names, numbers []string
	for host := range strings.SplitSeq(after[at:end], ",") {
		port := "5432"
		if i := strings.LastIndex(host, ":"); i > strings.LastIndex(host, "]") {
			host, port = host[:i], host[i+1:]
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return url, "", "" // which says so, and shows nothing: it may be of a password
		}
		names, numbers = append(names, strings.Trim(host, "[]")), append(numbers, port)
	}
	return scheme + "://" + after[:at] + after[end:], strings.Join(names, ","), strings.Join(numbers, ",")
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
	neverCancel(forWrites)
	forWrites.ConnConfig.OnNotice = func(c *pgconn.PgConn, n *pgconn.Notice) {
		if n.Code == stateWarning {
			c.CustomData()[warned] = n.Message
		}
	}
	if reads, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, nil, asError(err)
	}
	if writes, err = pgxpool.NewWithConfig(ctx, forWrites); err != nil {
		reads.Close()
		return nil, nil, asError(err)
	}
	return reads, writes, nil
}

// warned is under what a connection for changes keeps the last warning of its server.
const warned = "warned"

var errNeverCancel = errors.New("a change is not cancelled")

// neverCancel has the connections of a pool never ask their server to break off
// what they have given up, which the driver does on a connection of its own. A
// commit that waits for a synchronous standby, and is cancelled, is there without
// it: everybody would see it, and none of them would wait.
func neverCancel(config *pgxpool.Config) {
	before := config.BeforeConnect
	config.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) error {
		if before != nil {
			if err := before(ctx, c); err != nil {
				return err
			}
		}
		var mu sync.Mutex
		var conn net.Conn // the last that was dialled
		connected := false
		dial := c.DialFunc
		c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if connected { // what it asks for is given up, and need not be waited for
				return nil, errors.Join(errNeverCancel, conn.Close())
			}
			var err error
			conn, err = dial(ctx, network, addr)
			return conn, err
		}
		c.AfterConnect = func(context.Context, *pgconn.PgConn) error {
			mu.Lock()
			defer mu.Unlock()
			connected = true
			return nil
		}
		return nil
	}
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
