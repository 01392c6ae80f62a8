package pgstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

// What an administrator should know of a database is told, with what to do about it.
func TestExamine(t *testing.T) {
	c := pgtest.New(t)
	url := c.Schema(t)
	open(t, url, pgstore.Options{}) // makes the tables
	most := connect(t, url)
	for name, test := range map[string]struct {
		settings string
		o        pgstore.Options
		ahead    time.Duration
		level    string
		want     string
	}{
		"sound":       {level: store.FindingOK, want: "PostgreSQL 1"},
		"tables":      {level: store.FindingOK, want: "tables of version 1"},
		"connections": {level: store.FindingOK, want: "connections are in use"},
		"clock":       {level: store.FindingOK, want: "the clock of the database is as"},
		"no sync":     {settings: "&synchronous_commit=off", level: store.FindingWarn, want: "synchronous_commit is off"},
		"read only":   {settings: "&default_transaction_read_only=on", o: pgstore.Options{ReadOnly: true}, level: store.FindingFail, want: "takes no changes"},
		"clock ahead": {ahead: time.Minute, level: store.FindingWarn, want: "differs from the one here by 1m0s"},
		"clock late":  {ahead: -time.Minute, level: store.FindingWarn, want: "differs from the one here by 1m0s"},
		"too many":    {o: pgstore.Options{Connections: 500}, level: store.FindingWarn, want: "raise max_connections"},
	} {
		s := open(t, url+test.settings, test.o)
		found, err := s.Examine(t.Context(), func() time.Time { return time.Now().Add(test.ahead) })
		if err != nil {
			t.Fatal(err)
		}
		told := false
		for _, f := range found {
			is := strings.Contains(f.Detail+"; "+f.Mend, test.want)
			if told = told || is && f.Level == test.level; is && f.Level != test.level {
				t.Errorf("%s: %+v", name, f)
			}
			if (f.Mend == "") != (f.Level == store.FindingOK) {
				t.Errorf("%s: says what to do of %+v", name, f)
			}
		}
		if !told {
			t.Errorf("%s: nothing says %q: %+v", name, test.want, found)
		}
	}
	if err := most.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := open(t, url, pgstore.Options{})
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Examine(t.Context(), time.Now); license.ReasonOf(err) != license.ReadOnly {
		t.Errorf("a database that is gone: %v", err)
	}
}
