package sandbox_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

// All codes that can be active are, whatever one of them is refused for, and each
// was activated once.
func TestActivateAll(t *testing.T) {
	s, c := start(t, sandbox.Options{})
	a, b, d := buy(t, s, year), buy(t, s, year), buy(t, s, year)
	unknown := koogallery.NewCode("PLunknown")
	_, err := c.Activate(t.Context(), b.Code, time.Time{})
	must(t, err)
	for range 2 { // what is given again is active already
		given := []koogallery.Code{a.Code, b.Code, unknown, d.Code}
		n := 0
		for r := range c.ActivateAll(t.Context(), slices.Values(given), time.Time{}, nil) {
			var wanted error
			if r.Code.Equal(unknown) {
				wanted = koogallery.ErrUnknownCode
			}
			if !errors.Is(r.Err, wanted) || r.Active != (wanted == nil) || r.Err == nil && r.Info.Status != koogallery.CodeAlive || !r.Code.Equal(given[n]) {
				t.Errorf("%d: active %v, %s, %v", n, r.Active, r.Info.Status, r.Err)
			}
			n++
		}
		if n != len(given) {
			t.Errorf("%d results", n)
		}
	}
	for r := range c.ActivateAll(t.Context(), slices.Values([]koogallery.Code{buy(t, s, year).Code, buy(t, s, 0).Code}), time.Time{}, nil) {
		if !r.Active || r.Err != nil || r.Info.Status != koogallery.CodeAlive {
			t.Errorf("together: active %v, %s, %v", r.Active, r.Info.Status, r.Err)
		}
	}
}
