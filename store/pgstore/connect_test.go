package pgstore_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

func TestCheck(t *testing.T) {
	for at, want := range map[string]string{
		"postgres://licensed@db.example.com/licensed":                       "",
		"postgresql:///licensed?host=/run/postgresql":                       "",
		"postgres://licensed@127.0.0.1:5432/licensed?sslmode=disable":       "",
		"postgres://licensed@a,b/licensed":                                  "",
		"postgres://licensed@a:5432,b:5433/licensed":                        "",
		"postgres://a,b:5433":                                               "",
		"postgres://licensed@[::1]:5432,[fe80::1]/licensed":                 "",
		"postgres://licensed@a:5432,b:port/licensed":                        "cannot be read",
		"postgres://licensed@a,b/licensed?host=c":                           "two places",
		"postgres://licensed:hunter2@a:5432,b:5433/licensed":                "password",
		"postgres://licensed:hunter2@a:5432,b:hunter2/licensed":             "cannot be read",
		"postgres://licensed:hunter2,/@a/licensed":                          "cannot be read",
		"postgres://licensed:hunter2@db.example.com/licensed":               "password",
		"postgres://licensed@db.example.com/licensed?password=hunter2":      "password",
		"postgres://licensed@db.example.com/licensed?sslmode=prefer":        "plain text",
		"postgres://licensed@db.example.com/licensed?sslmode=allow":         "plain text",
		"postgres://licensed@db.example.com/licensed?sslmode=hunter2":       "",
		"postgres://licensed@db.example.com/licensed?servicefile=/etc/pg":   "servicefile",
		"mysql://licensed@db.example.com/licensed":                          "scheme",
		"postgres://licensed:hunter2@db.example.com:port/licensed":          "cannot be read",
		"postgres://licensed@db.example.com/licensed?connect_timeout=never": "cannot be read",
	} {
		err := pgstore.Check(at)
		if strings.HasSuffix(at, "sslmode=hunter2") {
			want = "cannot be read"
		}
		var ours *license.Error
		switch {
		case want == "" && err == nil:
		case want == "" || !errors.As(err, &ours) || ours.Reason != license.BadRequest || ours.Field != "store" || !strings.Contains(err.Error(), want):
			t.Errorf("%s: error is %v, want one about %q", at, err, want)
		case strings.Contains(at, ":hunter2") && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: the error shows the password: %v", at, err)
		}
	}
}

// TestOpenRefused has nothing to connect to, and no password.
func TestOpenRefused(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := "postgres://licensed@localhost/licensed?host=" + dir
	for name, test := range map[string]struct {
		o    pgstore.Options
		want license.Reason
	}{
		"no server":       {pgstore.Options{}, license.ReadOnly},
		"with a password": {pgstore.Options{PasswordFile: secret}, license.ReadOnly},
		"no such file":    {pgstore.Options{PasswordFile: filepath.Join(dir, "none")}, license.BadRequest},
		"one connection":  {pgstore.Options{Connections: 1}, license.BadRequest},
	} {
		s, err := pgstore.Open(t.Context(), at, test.o)
		if err == nil {
			t.Errorf("%s: it was opened: %v", name, s.Close())
			continue
		}
		if !errors.Is(err, test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error is %v, want reason %s", name, err, test.want)
		}
	}
}

// TestSession checks what the database knows of a connection.
func TestSession(t *testing.T) {
	at := pgtest.URL(t)
	s := open(t, at, pgstore.Options{StatementTimeout: 7 * time.Second, LockTimeout: 5 * time.Second, IdleTimeout: 3 * time.Second})
	if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error { _, err := tx.AuditHead(ctx); return err }); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, at)
	var n int
	if err := conn.QueryRow(t.Context(), "select count(*) from pg_stat_activity where application_name = 'licensed'").Scan(&n); err != nil || n == 0 {
		t.Errorf("%d connections are known as ours, %v", n, err)
	}
}

func open(t *testing.T, at string, o pgstore.Options) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Open(t.Context(), at, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func connect(tb testing.TB, at string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), at)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.WithoutCancel(tb.Context())) })
	return conn
}

// withPassword is a cluster that asks the role merchant for a password, and its URL
// for that role. exec runs a statement as the superuser.
func withPassword(t *testing.T) (at string, exec func(sql string)) {
	t.Helper()
	c := pgtest.New(t)
	u, err := url.Parse(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	exec = func(sql string) {
		t.Helper()
		if err := c.Do(sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("create role merchant login password 'hunter2'")
	exec("create schema merchant authorization merchant")
	access := filepath.Join(u.Query().Get("host"), "data", "pg_hba.conf")
	if err := os.WriteFile(access, []byte("local all merchant scram-sha-256\nlocal all all trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	exec("select pg_reload_conf()")
	q := u.Query()
	q.Set("user", "merchant")
	u.RawQuery = q.Encode()
	for { // the reload takes its time
		free, err := pgx.Connect(t.Context(), u.String())
		if err != nil {
			return u.String(), exec
		}
		if err := free.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPassword has the password of a role changed while the store is open, and the
// file that holds it wrong for a while.
func TestPassword(t *testing.T) {
	at, exec := withPassword(t)
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("hunter3")
	if s, err := pgstore.Open(t.Context(), at, pgstore.Options{PasswordFile: file}); err == nil || strings.Contains(err.Error(), "hunter") {
		t.Errorf("the wrong password: %v, %v", s, err)
	}
	write("hunter2")
	s := open(t, at, pgstore.Options{PasswordFile: file})
	view := func() error {
		return s.View(t.Context(), func(ctx context.Context, tx store.Tx) error { _, err := tx.AuditHead(ctx); return err })
	}
	if err := errors.Join(view(), s.Update(t.Context(), issueEvent)); err != nil {
		t.Error(err)
	}
	exec("alter role merchant password 'hunter4'")
	const hangUp = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = 'merchant'"
	for what, mistake := range map[string]func(){
		"the old password": func() { write("hunter2") },
		"an empty file":    func() { write("") },
		"no file": func() {
			if err := os.Remove(file); err != nil {
				t.Error(err)
			}
		},
	} {
		mistake()
		exec(hangUp)
		for _, err := range []error{view(), s.Update(t.Context(), issueEvent)} {
			if !canTryAgain(err) || strings.Contains(err.Error(), "hunter") {
				t.Errorf("with %s: %v", what, err)
			}
		}
		write("hunter4")
		if err := errors.Join(view(), s.Update(t.Context(), issueEvent)); err != nil {
			t.Errorf("with the new password after %s: %v", what, err)
		}
	}
}

// canTryAgain reports whether an error says that nothing was done, and when to try again.
func canTryAgain(err error) bool {
	var ours *license.Error
	return errors.As(err, &ours) && ours.Reason == license.ReadOnly && ours.RetryAfter > 0
}
