package wire_test

import (
	"math"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// Whatever number a server sends, nobody is told to try again in the past.
func TestAbsurdRetryAfter(t *testing.T) {
	for seconds, want := range map[int64]time.Duration{
		math.MinInt64: 0, -1: 0, 0: 0, 90: 90 * time.Second, math.MaxInt64: 366 * 24 * time.Hour, math.MaxInt64 / int64(time.Second): 366 * 24 * time.Hour,
	} {
		p := wire.Problem{Reason: license.RateLimited, RetryAfter: seconds}
		if got := p.Err().RetryAfter; got != want {
			t.Errorf("%d seconds: %v", seconds, got)
		}
	}
}
