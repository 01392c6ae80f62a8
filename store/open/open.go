// Package open opens a store from its URL, so that what runs on a store need
// not know the backends. The package may change in any release.
package open

import (
	"context"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

// Forms are the URLs that Open takes, in words for an error or a manual.
const Forms = "bolt:PATH (a file) or postgres://USER@HOST/DATABASE (PostgreSQL)"

// Check says what is wrong with the form of a store's URL. It opens nothing.
func Check(url string) error {
	scheme, rest, ok := strings.Cut(url, ":")
	switch {
	case url == "":
		return license.FieldErrorf("store", "no store is named; write %s", Forms)
	case !ok:
		return license.FieldErrorf("store", "the store has no scheme; write %s", Forms)
	case scheme == "bolt":
		return checkBolt(rest)
	case isDatabase(url):
		return pgstore.Check(url)
	}
	return license.FieldErrorf("store", "there is no kind of store %q; write %s", scheme, Forms)
}

// Exclusive reports whether the store that url names is open in one process at a
// time, so that what another one has left there is nobody's any more.
func Exclusive(url string) bool { return strings.HasPrefix(url, "bolt:") }

func isDatabase(url string) bool {
	return strings.HasPrefix(url, "postgres:") || strings.HasPrefix(url, "postgresql:")
}

// Option is a rare wish of Open.
type Option func(*options)

type options struct {
	readOnly  bool
	upgrading func(Upgrade)
	database  Database
}

// Database says how a database is used. What is zero is as package pgstore has it
// by default.
type Database struct {
	PasswordFile                                               string // read again for each connection
	MaxConnections                                             int    // open at once
	StatementTimeout, LockTimeout, IdleTimeout, ConnectTimeout time.Duration
}

// Using has a database used as d says. A file takes nothing of it.
func Using(d Database) Option { return func(o *options) { o.database = d } }

// Upgrade is how far Open is in bringing a store of an older version up to date.
type Upgrade struct {
	From, To   int    // formats
	Step       string // what is being done
	Done       int64  // records of this step
	Unreadable int64  // records that were left as they are, because they cannot be read
}

// Upgrading has fn told at the beginning of an upgrade, and again each time that
// some of it is safe. Most opens are none.
func Upgrading(fn func(Upgrade)) Option { return func(o *options) { o.upgrading = fn } }

// ReadOnly opens a store that exists, for reading only, and changes nothing of it.
// One of an older version is refused.
func ReadOnly() Option { return func(o *options) { o.readOnly = true } }

// Open opens the store that url names: bolt:PATH for a file, which is made if
// there is none, or postgres:// for a database, whose tables are made if there are
// none. A store of an older version is brought up to date first, which can take
// minutes; the end of ctx stops that, and the next Open goes on with it.
// Errors never show a secret that is in the url of a database.
func Open(ctx context.Context, url string, opts ...Option) (store.Store, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := Check(url); err != nil {
		return nil, err
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if isDatabase(url) {
		return openDatabase(ctx, url, o)
	}
	s, err := boltstore.Open(strings.TrimPrefix(url, "bolt:"), boltstore.Options{ReadOnly: o.readOnly, Upgrading: func(u boltstore.Upgrade) error {
		if o.upgrading != nil {
			o.upgrading(Upgrade(u))
		}
		return context.Cause(ctx)
	}})
	if err != nil {
		return nil, err // not s, which would make an interface that is not nil
	}
	return s, nil
}

func openDatabase(ctx context.Context, url string, o options) (store.Store, error) {
	d := o.database
	s, err := pgstore.Open(ctx, url, pgstore.Options{
		PasswordFile: d.PasswordFile, Connections: d.MaxConnections,
		StatementTimeout: d.StatementTimeout, LockTimeout: d.LockTimeout, IdleTimeout: d.IdleTimeout, ConnectTimeout: d.ConnectTimeout,
		ReadOnly: o.readOnly,
		Upgrading: func(from, to int) {
			if o.upgrading != nil {
				o.upgrading(Upgrade{From: from, To: to, Step: "tables"})
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func checkBolt(path string) error {
	switch {
	case path == "":
		return license.FieldErrorf("store", "bolt: needs the path of a file; write %s", Forms)
	case strings.HasPrefix(path, "//") && !strings.HasPrefix(path, "///"):
		// bolt://a/b reads like a host "a", and would be the path /a/b.
		return license.FieldErrorf("store", "bolt: takes a path without two slashes before it; write %s", Forms)
	}
	return nil
}
