// Package open opens a store from its URL, so that what runs on a store need
// not know the backends. The package may change in any release.
package open

import (
	"context"
	"strings"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// Forms are the URLs that Open takes, in words for an error or a manual.
const Forms = "bolt:PATH (a file)"

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
	case scheme == "postgres", scheme == "postgresql":
		return license.FieldErrorf("store", "PostgreSQL is not built into this program yet; write %s", Forms)
	}
	return license.FieldErrorf("store", "there is no kind of store %q; write %s", scheme, Forms)
}

// Exclusive reports whether the store that url names is open in one process at a
// time, so that what another one has left there is nobody's any more.
func Exclusive(url string) bool { return strings.HasPrefix(url, "bolt:") }

// Option is a rare wish of Open.
type Option func(*options)

type options struct {
	readOnly  bool
	upgrading func(Upgrade)
}

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
// there is none. A store of an older version is brought up to date first, which
// can take minutes; the end of ctx stops that, and the next Open goes on with it.
// Errors never show the url of a database, which may hold a password.
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
