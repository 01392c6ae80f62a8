package clienttest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/client/clienttest"
)

func TestClock(t *testing.T) {
	t.Parallel()
	var zero clienttest.Clock
	if !zero.Now().Equal(clienttest.Epoch) {
		t.Errorf("the zero clock shows %s", zero.Now())
	}
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.FixedZone("", 7200))
	c := clienttest.NewClock(at)
	if got := c.Now(); !got.Equal(at) || got.Location() != time.UTC {
		t.Errorf("shows %s", got)
	}
	c.Advance(-time.Hour)
	if got := c.Now(); !got.Equal(at.Add(-time.Hour)) {
		t.Errorf("shows %s", got)
	}
	c.Set(time.Unix(0, 0))
	if got := c.Now(); got.Unix() != 0 {
		t.Errorf("shows %s", got)
	}
}

func TestRunningClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clienttest.NewRunningClock()
		if !c.Now().Equal(time.Now()) {
			t.Errorf("shows %s at %s", c.Now(), time.Now())
		}
		c.Set(clienttest.Epoch)
		time.Sleep(time.Hour)
		c.Advance(time.Minute)
		if got := c.Now(); !got.Equal(clienttest.Epoch.Add(time.Hour + time.Minute)) {
			t.Errorf("shows %s", got)
		}
	})
}
