package config

import (
	"strings"
	"time"
)

// Database says how a store in PostgreSQL is used. With a store that is a file
// nothing of it may be set.
type Database struct {
	// PasswordFile holds the password, and is read again for each connection; none:
	// the server asks for none, or the URL names a certificate.
	PasswordFile string `yaml:"password_file" config:"secret"`
	// MaxConnections is how many connections this daemon has open at most: 16. One of
	// them is for changes.
	MaxConnections   int      `yaml:"max_connections"`
	StatementTimeout Duration `yaml:"statement_timeout"` // of one statement: 30s
	LockTimeout      Duration `yaml:"lock_timeout"`      // how long a change waits for those of the other daemons: 10s
	// IdleTimeout is after which silence in the middle of a change the database gives
	// the turn to another daemon: 15s.
	IdleTimeout    Duration `yaml:"idle_timeout"`
	ConnectTimeout Duration `yaml:"connect_timeout"` // of one connection: 5s
}

func defaultDatabase() Database {
	return Database{
		MaxConnections: 16, StatementTimeout: Duration(30 * time.Second), LockTimeout: Duration(10 * time.Second),
		IdleTimeout: Duration(15 * time.Second), ConnectTimeout: Duration(5 * time.Second),
	}
}

// InDatabase reports whether the store is a database and no file.
func (c Config) InDatabase() bool { return !strings.HasPrefix(c.Store, boltScheme) }

// Bounds of the settings of a database. A store needs a connection for changes and
// one for reading at least.
const (
	minConnections = 2
	maxConnections = 1000
	minTimeout     = Duration(time.Second)
	maxTimeout     = Duration(10 * time.Minute)
)

func (v *validator) database(c Config) {
	d, std := c.Database, defaultDatabase()
	timeouts := []struct {
		key       string
		value, is Duration
	}{
		{"statement_timeout", d.StatementTimeout, std.StatementTimeout},
		{"lock_timeout", d.LockTimeout, std.LockTimeout},
		{"idle_timeout", d.IdleTimeout, std.IdleTimeout},
		{"connect_timeout", d.ConnectTimeout, std.ConnectTimeout},
	}
	if !c.InDatabase() {
		refuse := func(key string, set bool) {
			if set {
				v.failf("database."+key, "the store is a file, which takes no such setting; a database is set with store: postgres://user@host/database")
			}
		}
		refuse("password_file", d.PasswordFile != "")
		refuse("max_connections", d.MaxConnections != std.MaxConnections)
		for _, t := range timeouts {
			refuse(t.key, t.value != t.is)
		}
		return
	}
	v.within("database.max_connections", d.MaxConnections, minConnections, maxConnections)
	for _, t := range timeouts {
		if t.value < minTimeout || t.value > maxTimeout {
			v.failf("database."+t.key, "%s is not between %s and %s", t.value, minTimeout, maxTimeout)
		}
	}
}
