package main

import (
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// The overview says first what needs somebody, and then how many licences there are.
func TestOverviewInWords(t *testing.T) {
	t.Parallel()
	s := newScreen(t, "")
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if err := s.printOverview(adminwire.Overview{}); err != nil {
		t.Fatal(err)
	}
	cad := adminwire.ProductCensus{
		Product: "cad", Licenses: 3, States: map[license.State]int{license.StateActive: 2, license.StateRevoked: 1}, Trials: 1,
		Ending: adminwire.Ending{Within7: 1, Within30: 1, Within90: 2},
	}
	total := cad
	total.Product = ""
	err := s.printOverview(adminwire.Overview{
		Attention: []adminwire.Attention{
			{Code: adminwire.AttentionMarketplace, Level: "fail", About: "koogallery", Count: 3, Detail: "no probe\ncame", Command: "licensectl marketplace status koogallery"},
			{Code: adminwire.AttentionTransfers, Level: "warn", Count: 2, Detail: "customers wait", Command: "licensectl transfer list"},
		},
		Census: &adminwire.Census{CountedAt: at, Total: total, Products: []adminwire.ProductCensus{cad}, Days: []adminwire.CensusDay{{Day: "2026-02-28"}, {Day: "2026-03-01", Activated: 2, Bound: 5}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `nothing needs you
fail  marketplace koogallery: no probe came, and 2 more; see licensectl marketplace status koogallery
warn  transfers: 2: customers wait; see licensectl transfer list

licences as of 2026-03-01 12:00:00 UTC
PRODUCT  ALL  ISSUED  ACTIVE  EXPIRED  SUSPENDED  RELEASED  REVOKED  TRIALS  END IN 7D  30D  90D
cad      3    0       2       0        0          0         1        1       1          1    2

DAY         ACTIVATED  MACHINES BOUND
2026-03-01  2          5
`
	if got := s.out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
