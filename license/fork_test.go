package license_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
)

func TestForks(t *testing.T) {
	var f license.Forks
	if f.Total() != 0 || f.Has("") {
		t.Error("nothing recorded is something")
	}
	one := f.With(license.ForkChain, "r1", now)
	two := one.With(license.ForkChain, "r2", now.Add(time.Hour)).With(license.ForkRetired, "r3", now.Add(time.Minute))
	if f != nil || one.Total() != 1 || two.Total() != 3 || two[license.ForkChain].Count != 2 {
		t.Errorf("%v, %v", one, two)
	}
	if !two.Has("r3") || !two.Has("r2") || two.Has("r1") {
		t.Error("another request than the last of its kind is known")
	}
	var back license.Forks
	data, err := json.Marshal(two)
	if err == nil {
		err = json.Unmarshal(data, &back)
	}
	if diff := cmp.Diff(two, back); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// A fork that is refused is recorded once an hour at most, and once for the
// same request.
func TestForksDue(t *testing.T) {
	f := license.Forks{}.With(license.ForkChain, "r1", now)
	for _, c := range []struct {
		name    string
		kind    license.ForkKind
		request string
		after   time.Duration
		want    bool
	}{
		{"the same request", license.ForkChain, "r1", 0, false},
		{"the same request a day later", license.ForkChain, "r1", day, false},
		{"another at once", license.ForkChain, "r2", 0, false},
		{"another within the hour", license.ForkChain, "r2", time.Hour - time.Second, false},
		{"another after an hour", license.ForkChain, "r2", time.Hour, true},
		{"another kind for the same request", license.ForkRetired, "r1", 0, false},
		{"another kind at once", license.ForkRetired, "r2", 0, true},
		{"by a clock that was set right", license.ForkChain, "r2", -day, true},
	} {
		if got := f.Due(c.kind, c.request, now.Add(c.after)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestReactivationsAllowed(t *testing.T) {
	for _, c := range []struct {
		installs   int
		lease      time.Duration
		wantMost   int
		wantWithin time.Duration
	}{
		{3, 336 * time.Hour, 5, 336 * time.Hour},
		{1, time.Hour, 5, time.Hour},
		{0, 30 * day, 5, 30 * day},
		{20, 30 * day, 22, 30 * day},
		{3, 0, 5, 14 * day},
	} {
		p := license.Product{InstallsPerMachine: c.installs, Schedule: license.Schedule{Lease: c.lease}}
		if most, within := p.Reactivations(); most != c.wantMost || within != c.wantWithin {
			t.Errorf("%d installs, lease %s: %d within %s", c.installs, c.lease, most, within)
		}
	}
}

func TestReactivations(t *testing.T) {
	const window = 10 * day
	at := func(d int) time.Time { return now.Add(-time.Duration(d) * day) }
	bound := func(seat string, days ...int) (out []license.Install) {
		for _, d := range days {
			out = append(out, license.Install{Seat: seat, State: license.InstallLive, BoundAt: at(d)})
		}
		return out
	}
	ended := func(state license.InstallState, endedDaysAgo int, in ...license.Install) []license.Install {
		for i := range in {
			in[i].State, in[i].EndedAt = state, at(endedDaysAgo)
		}
		return in
	}
	join := func(parts ...[]license.Install) (out []license.Install) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	for name, c := range map[string]struct {
		installs []license.Install
		want     int
		next     time.Time
	}{
		"the first":                            {nil, 0, time.Time{}},
		"the first of this seat":               {bound("other", 1, 2), 0, time.Time{}},
		"the second":                           {bound("s", 3), 1, time.Time{}},
		"five before it":                       {bound("s", 3, 2, 2, 1, 0), 5, at(2 - 10)},
		"the first one lies before the window": {bound("s", 30, 2, 1), 3, at(2 - 10)},
		"at the edge of the window":            {bound("s", 10), 1, time.Time{}},
		"all lie before the window":            {bound("s", 40, 30, 20), 1, time.Time{}},
		"the ended count":                      {join(ended(license.InstallDeactivated, 1, bound("s", 4, 3)...), bound("s", 1)), 3, at(3 - 10)},
		"ended because of a fork":              {ended(license.InstallForked, 1, bound("s", 4, 3, 2)...), 0, time.Time{}},
		"since they were ended because of a fork": {
			join(ended(license.InstallReplaced, 3, bound("s", 5, 5)...), ended(license.InstallForked, 2, bound("s", 4, 3)...), bound("s", 1, 0)),
			2, at(0 - 10),
		},
		"dated by a clock that was far ahead": {bound("s", 3, -11, -300), 2, at(3 - 10)},
		"dated by a clock that was ahead":     {bound("s", 3, -1), 2, at(-1 - 10)},
		"a fork on another seat":              {join(ended(license.InstallForked, 1, bound("other", 4)...), bound("s", 3, 2)), 2, at(2 - 10)},
	} {
		n, next := license.Reactivations(c.installs, "s", window, now)
		if n != c.want || !next.Equal(c.next) {
			t.Errorf("%s: %d until %v, want %d until %v", name, n, next, c.want, c.next)
		}
	}
}

// The states of installs, and what is audited of them, are those in docs.
func TestInstallsDocument(t *testing.T) {
	data, err := os.ReadFile("../docs/state-machine.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(data), "\n## Installs\n")
	if !ok {
		t.Fatal("docs/state-machine.md has no section about installs")
	}
	var got, want []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(section, -1) {
		got = append(got, row[1])
	}
	for _, s := range license.InstallStates() {
		want = append(want, string(s))
	}
	for _, a := range []license.Action{
		license.ActionBind, license.ActionRefresh, license.ActionTransfer, license.ActionDrift, license.ActionFork,
		license.ActionReplace, license.ActionDeactivate, license.ActionRemove, license.ActionEnd, license.ActionDeliver,
		license.ActionIdentify, license.ActionInstallRelease, license.ActionOverage, license.ActionFloatingTakeover,
	} {
		want = append(want, string(a))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/state-machine.md (-have +written):\n%s", diff)
	}
}
