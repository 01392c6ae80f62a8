package keys

import (
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Rotation says what a rotation did.
type Rotation struct {
	From string    `json:"from"` // kid of the retired key
	To   string    `json:"to"`   // kid of the key that signs now
	At   time.Time `json:"at"`
	Next string    `json:"next"` // kid of the next key, "" until a key set with a new one is installed
	// Leftover are private halves that should have been destroyed and could not
	// be; say so, and remove them by hand.
	Leftover []string `json:"leftover,omitempty"`
}

// Rotate makes the next key the current one, without an anchor, and destroys the
// private half of the key that it retires. Which key is current is on disk
// before anything is destroyed.
//
// It fails with license.Conflict when there is no next key, when the next key
// is not valid at now, or when another process has changed the folder, which
// has then been read again; with license.Clock when now is before the key set
// in force was made.
func (r *Ring) Rotate(now time.Time) (Rotation, error) {
	now = atSecond(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	changed, err := r.refresh()
	if err != nil {
		return Rotation{}, fmt.Errorf("rotate: %w", err)
	}
	if changed {
		return Rotation{}, license.Errorf(license.Conflict, "another process has changed the keys meanwhile: look at them, and rotate again if that is still wanted")
	}
	return r.rotate(now)
}

// rotate rotates under the lock.
func (r *Ring) rotate(now time.Time) (Rotation, error) {
	v := r.view.Load()
	if err := v.tryNext(now); err != nil {
		return Rotation{}, err
	}
	if err := r.folder.writeState(v.state.rotated(v.next.ID, now, v.private)); err != nil {
		_, _ = r.refresh() // the file may be in place all the same
		return Rotation{}, fmt.Errorf("rotate: %w", err)
	}
	if err := r.read(); err != nil {
		return Rotation{}, fmt.Errorf("read the keys after the rotation: %w", err)
	}
	after := r.view.Load()
	return Rotation{From: v.current.ID, To: after.current.ID, At: now, Next: after.next.ID, Leftover: r.folder.leftover(after)}, nil
}

// checkNext refuses a rotation that would leave nothing that verifies.
func (v *view) checkNext(now time.Time) error {
	if v.next.ID == "" {
		return license.Errorf(license.Conflict, "there is no next key to rotate to: sign and install a key set that lists one")
	}
	if err := v.checkClock(now); err != nil {
		return err
	}
	return checkValid(v.set, "the next key", v.next.ID, now)
}
