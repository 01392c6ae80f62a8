package authority

import (
	"fmt"
	"testing"
	"testing/synctest"
)

// What is asked at once is shared, too: nobody is broken off, and nobody is left
// without a turn.
func TestGateIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(0)
		var leaves []func()
		n := 0
		fill := func() (entered int) {
			for {
				ch := make(chan func(), 1)
				index := fmt.Appendf(nil, "%d", n)
				go func() {
					if leave, err := g.enter(t.Context(), index); err == nil {
						ch <- leave
					}
					close(ch)
				}()
				n++
				synctest.Wait()
				select {
				case leave := <-ch:
					leaves = append(leaves, leave)
					entered++
				default:
					<-ch // it has waited in vain
					return entered
				}
			}
		}
		empty := func() {
			for _, leave := range leaves {
				leave()
			}
			leaves = nil
		}
		for _, c := range []struct{ daemons, want int }{{1, 8}, {2, 4}, {3, 2}, {8, 1}, {100, 1}, {2, 4}, {1, 8}} {
			g.shareAmong(c.daemons)
			if got := fill(); got != c.want {
				t.Errorf("of %d daemons one makes %d calls at once, want %d", c.daemons, got, c.want)
			}
			empty()
		}
		if got := fill(); got != 8 {
			t.Fatal(got)
		}
		g.shareAmong(4) // all slots are in use
		empty()
		g.shareAmong(4)
		if got := fill(); got != 2 {
			t.Errorf("after those that were under way: %d at once", got)
		}
		empty()
	})
}
