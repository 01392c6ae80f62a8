package market

import (
	"testing"
	"testing/synctest"
	"time"
)

// However many daemons compare, together they call once each pause.
func TestPaceIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, err := NewUpstream(UpstreamOptions{AccessKeyID: "ak", SecretAccessKey: "sk"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = u.Close() }()
		for _, daemons := range []int{0, 1, 3, 1} {
			u.ShareAmong(daemons)
			time.Sleep(time.Second)
			if err := u.pace(t.Context()); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			for range 5 {
				if err := u.pace(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := time.Since(start), time.Duration(5*max(daemons, 1))*queryPause; got != want {
				t.Errorf("%d daemons: five calls in %s, want %s", daemons, got, want)
			}
		}
		time.Sleep(time.Second)
	})
}
