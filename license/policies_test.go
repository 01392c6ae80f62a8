package license_test

import (
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// A seat is taken by what is live on a machine, and a floating one while its lease
// runs; texts and what has ended take none.
func TestSeatsTaken(t *testing.T) {
	soon := now.Add(time.Minute)
	live := license.Install{ID: "a", Seat: "1", State: license.InstallLive, LeaseUntil: soon}
	beside, other, ended, text, over := live, live, live, live, live
	beside.ID, other.ID, other.Seat = "b", "c", "2"
	ended.Seat, ended.State = "3", license.InstallReleased
	text.Seat, text.Kind = "", license.InstallText
	over.Seat, over.LeaseUntil = "5", now
	all := []license.Install{live, beside, other, ended, text, over}
	for mode, want := range map[license.Mode]int{license.ModeNode: 3, license.ModeFloating: 2} {
		if got := (license.License{Mode: mode}).SeatsTaken(all, now); got != want {
			t.Errorf("%s: %d, want %d", mode, got, want)
		}
	}
}

func TestLimit(t *testing.T) {
	p := license.Product{Overage: 2}
	for want, l := range map[int]license.License{
		7: {Machines: 5}, 5: {Machines: 5, Overage: new(int)}, 9: {Machines: 5, Overage: new(4)},
		license.MaxMachines: {Machines: license.MaxMachines, Overage: new(license.MaxMachines)},
	} {
		if got := p.Limit(l); got != want {
			t.Errorf("%+v: %d, want %d", l, got, want)
		}
	}
}

// Only what has a key and no lease any more, and was away long enough, is silent.
func TestSilent(t *testing.T) {
	p := license.Product{ReleaseAfter: 90 * day}
	is := license.Install{ID: "a", Seat: "1", State: license.InstallLive, SeenAt: now.Add(-90 * day), LeaseUntil: now}
	for name, c := range map[string]struct {
		change func(*license.Install)
		want   bool
	}{
		"silent":          {func(*license.Install) {}, true},
		"a second before": {func(i *license.Install) { i.SeenAt = i.SeenAt.Add(time.Second) }, false},
		"leased":          {func(i *license.Install) { i.LeaseUntil = now.Add(time.Second) }, false},
		"for ever":        {func(i *license.Install) { i.LeaseUntil = license.Forever }, false},
		"ended":           {func(i *license.Install) { i.State = license.InstallReplaced }, false},
		"a device":        {func(i *license.Install) { i.ID = license.DevicePrefix + "x" }, false},
		"a text":          {func(i *license.Install) { i.Kind, i.Seat = license.InstallText, "" }, false},
	} {
		i := is
		if c.change(&i); p.Silent(license.License{}, i, now) != c.want {
			t.Errorf("%s: not %v", name, c.want)
		}
	}
	if (license.Product{}).Silent(license.License{}, is, now.Add(9999*day)) {
		t.Error("a product without the policy")
	}
	for name, l := range map[string]license.License{
		"suspended":      {Holds: license.HoldMerchant},
		"over":           {ExpiresAt: now},
		"just come back": {BackAt: now.Add(time.Second - 90*day)},
	} {
		if p.Silent(l, is, now) {
			t.Errorf("of a licence that is %s", name)
		}
	}
}

// Renewals are late after the window, to the second.
func TestRenewable(t *testing.T) {
	l := license.License{ExpiresAt: now}
	for after, want := range map[time.Duration]license.Reason{-day: "", 0: "", 90*day - time.Second: "", 90 * day: license.Expired} {
		if err := (license.Product{RenewWithin: 90 * day}).Renewable(l, now.Add(after)); license.ReasonOf(err) != want {
			t.Errorf("%s after the end: %v", after, err)
		}
		if err := (license.Product{}).Renewable(l, now.Add(after)); err != nil {
			t.Error(err)
		}
	}
}

// Two parts of medium weight or a strong one tell a machine; several of one kind
// are one, and its own licence is none.
func TestTrials(t *testing.T) {
	mark := func(ids ...string) (m license.TrialMark) {
		for _, id := range ids {
			m.Had = append(m.Had, license.HadTrial{License: id, At: now})
		}
		return m
	}
	at := func(k license.Kind, d string) license.Component {
		return license.Component{Kind: k, Digest: license.Digest(d)}
	}
	for name, c := range map[string]struct {
		marks map[license.Component]license.TrialMark
		want  int
	}{
		"nothing":       {nil, 0},
		"a strong part": {map[license.Component]license.TrialMark{at(license.KindDisk, "d"): mark("x")}, 1},
		"medium parts": {map[license.Component]license.TrialMark{
			at(license.KindMAC, "m"): mark("x"), at(license.KindBoard, "b"): mark("x"),
		}, 1},
		"of several": {map[license.Component]license.TrialMark{
			at(license.KindMAC, "m"): mark("x"), at(license.KindBoard, "b"): mark("y"),
		}, 0},
		"two of a kind": {map[license.Component]license.TrialMark{at(license.KindMAC, "m"): mark("x"), at(license.KindMAC, "n"): mark("x")}, 0},
		"its own":       {map[license.Component]license.TrialMark{at(license.KindDisk, "d"): mark("own", "x", "y")}, 2},
	} {
		if got := license.Trials(c.marks, "own"); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	m := license.TrialMark{}
	for i := range 40 {
		m = m.With(string(rune('a'+i)), now)
	}
	if len(m.Had) != license.MaxTrialLicenses || m.With(m.Had[3].License, now).Had[0] != m.Had[3] {
		t.Errorf("%d licences are known", len(m.Had))
	}
	m = license.TrialMark{}.With("old", now.Add(-day)).With("new", now.Add(time.Second-day))
	if m = m.Remembered(day, now); len(m.Had) != 1 || m.Had[0].License != "new" {
		t.Errorf("%+v is remembered", m)
	}
}
