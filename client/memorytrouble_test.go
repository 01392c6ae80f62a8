package client_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
)

// newerMemory is a memory that a newer version wrote, as this one sees it.
const newerMemory = `{"format":2,"check":"AAAA","memory":{}}`

// A machine that has changed is found out where the memory cannot be used, too.
func TestMachineIsLookedAtWithoutMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		other := false
		l.opts.Fingerprint = func(context.Context) (fingerprint.Set, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if other {
				return machineB(), nil
			}
			return machineA(), nil
		}
		l.activate()
		l.forget()
		check(t, os.WriteFile(filepath.Join(l.opts.StateDir, "install.json"), []byte(newerMemory), 0o600))
		l.change(func() { other = true })
		l.until(1, 1, 0)
		l.wantTold("trouble valid conflict", "machine blocked", "blocked blocked machine_mismatch")
		l.stop()
	})
}

// slots is a cache that somebody else wrote.
type slots struct{ kept client.MemoryCache }

func (c *slots) Load() ([]byte, error)   { return c.kept.Load() }
func (c *slots) Store(data []byte) error { return c.kept.Store(data) }

// Damage that was mended is over in a cache of the product's own, too.
func TestDamageIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		c := &slots{}
		l.opts.Cache = c
		l.activate()
		l.forget()
		check(t, c.Store([]byte("damaged")))
		l.until(0, 7, 0)
		l.wantTold("trouble valid damaged", "reached valid")
		l.change(func() { l.down = true })
		l.until(0, 14, 0)
		l.wantTold("trouble valid unreachable")
		l.stop()
	})
}

// Nothing is written without the lock, not even in place of damage: who has it may
// be writing.
func TestDamageWaitsForTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.activate()
		l.forget()
		path := filepath.Join(l.opts.StateDir, "install.json")
		whole, err := os.ReadFile(path)
		check(t, err)
		check(t, os.Remove(path+".lock"))
		check(t, os.Mkdir(path+".lock", 0o700))
		check(t, os.WriteFile(path, whole[:100], 0o600))
		l.until(0, 3, 0)
		l.wantTold("trouble valid damaged")
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, whole[:100]) {
			t.Errorf("it was written: %v", err)
		}
		check(t, os.Remove(path+".lock"))
		l.until(0, 3, 3)
		l.wantTold("reached valid")
		wantLicensed(t, l.g)
		l.stop()
		l.start()
		wantLicensed(t, l.g)
		l.stop()
	})
}
