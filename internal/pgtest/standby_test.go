package pgtest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/internal/pgtest"
)

// TestStandby kills a cluster right after an answer: the standby has what was answered.
func TestStandby(t *testing.T) {
	c := pgtest.New(t)
	s := c.Standby(t)
	if err := c.Do("create table a (b int)"); err != nil {
		t.Fatal(err)
	}
	if err := s.Do("create table b (b int)"); err == nil {
		t.Error("a standby takes changes")
	}
	for range 20 {
		if err := c.Do("insert into a values (1)"); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Kill(); err != nil {
		t.Log(err) // the guard tells how the server ended
	}
	if err := s.Promote(); err != nil {
		t.Fatal(err)
	}
	at, err := pgtest.Hosts(c.URL(), c, s)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := conn.QueryRow(t.Context(), "select count(*) from a").Scan(&n); err != nil || n != 20 {
		t.Errorf("%d rows are there, %v", n, err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
