package license_test

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// TestStatusOrder: the order is a permutation, follows from the seed, and is
// the same for ever, since what was drawn must not be drawn again by a later
// version.
func TestStatusOrder(t *testing.T) {
	seed := [license.StatusSeedLen]byte{1, 2, 3}
	order := license.StatusOrder(seed, license.StatusListLength)
	seen := make([]bool, license.StatusListLength)
	for _, i := range order {
		if seen[i] {
			t.Fatalf("%d is drawn twice", i)
		}
		seen[i] = true
	}
	if again := license.StatusOrder(seed, license.StatusListLength); !slices.Equal(order, again) {
		t.Error("the same seed gives another order")
	}
	seed[31] = 1
	if other := license.StatusOrder(seed, license.StatusListLength); slices.Equal(order, other) {
		t.Error("another seed gives the same order")
	}
	if got, want := license.StatusOrder([32]byte{}, 8), []uint32{2, 5, 0, 6, 4, 3, 7, 1}; !slices.Equal(got, want) {
		t.Errorf("the order of seed zero is %v, want %v", got, want)
	}
	for _, n := range []int{0, 1} {
		if got := license.StatusOrder(seed, n); len(got) != n {
			t.Errorf("%d indexes of %d", len(got), n)
		}
	}
}

func TestStatusOf(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	undo := 24 * time.Hour
	live := license.Install{State: license.InstallLive, Status: license.StatusRef{List: "l", Index: 7}}
	ended := live
	ended.State = license.InstallRemoved
	for name, test := range map[string]struct {
		l    license.License
		i    license.Install
		now  time.Time
		want license.ListStatus
	}{
		"good":                            {license.License{}, live, at, license.StatusValid},
		"expired":                         {license.License{ExpiresAt: at.Add(-undo)}, live, at, license.StatusValid},
		"held":                            {license.License{Holds: license.HoldMerchant}, live, at, license.StatusSuspended},
		"revoked just now":                {license.License{RevokedAt: at}, live, at, license.StatusSuspended},
		"revoked, last second to undo":    {license.License{RevokedAt: at}, live, at.Add(undo - time.Second), license.StatusSuspended},
		"revoked for good":                {license.License{RevokedAt: at}, live, at.Add(undo), license.StatusRevoked},
		"released":                        {license.License{ReleasedAt: at}, live, at, license.StatusRevoked},
		"released, then revoked just now": {license.License{ReleasedAt: at, RevokedAt: at}, live, at, license.StatusRevoked},
		"install removed":                 {license.License{}, ended, at, license.StatusRevoked},
		"removed, and the licence held":   {license.License{Holds: license.HoldMerchant}, ended, at, license.StatusRevoked},
		"removed, and revoked just now":   {license.License{RevokedAt: at}, ended, at, license.StatusRevoked},
	} {
		e := license.StatusOf(test.l, test.i, undo)
		if got := e.At(test.now); got != test.want || e.Index != 7 {
			t.Errorf("%s: %d at index %d, want %d", name, got, e.Index, test.want)
		}
	}
}
