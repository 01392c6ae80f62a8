package license_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/license"
)

func digestBytes(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// step answers a request and returns the chain after it.
func step(c license.Chain, issued, prev, request string) license.Chain {
	return c.Next(issued, prev, request, digestBytes(request), now)
}

func TestChain(t *testing.T) {
	first := step(license.Chain{}, "t1", "", "r1")
	second := step(first, "t2", "t1", "r2")
	lost := step(first, "t2", "", "r2") // the answer t1 never arrived
	for _, c := range []struct {
		name  string
		chain license.Chain
		prev  string
		want  bool
	}{
		{"the first request", license.Chain{}, "", false},
		{"the last licence", first, "t1", false},
		{"the one before it, whose answer was lost", first, "", false},
		{"some other", first, "t9", true},
		{"the last of two", second, "t2", false},
		{"the one before, once more", second, "t1", false},
		{"nothing, after the second was given for the first", second, "", true},
		{"the last after a lost answer", lost, "t2", false},
		{"what was lost, after another was given in its place", lost, "t1", true},
		{"the same lost answer a second time", lost, "", true},
	} {
		if got := c.chain.Forked(c.prev); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	forked := step(second, "t3", "t9", "r3")
	if !forked.Forked("t2") || forked.Forked("t3") {
		t.Error("after a fork only the newest line goes on")
	}
}

func TestChainRepeats(t *testing.T) {
	var c license.Chain
	if c.Repeats("", nil) != license.RequestNew {
		t.Error("an empty chain knows a request")
	}
	for i := range 36 {
		c = step(c, fmt.Sprint("t", i), c.Last, fmt.Sprint("r", i))
	}
	for jti, want := range map[string]license.Repeat{
		"r35": license.RequestSame, "r34": license.RequestOlder, "r3": license.RequestOlder, "r2": license.RequestNew, "r36": license.RequestNew,
	} {
		got := c.Repeats(jti, digestBytes(jti))
		if got != want {
			t.Errorf("%s: %v, want %v", jti, got, want)
		}
		why := map[license.Repeat]license.Reason{license.RequestOlder: license.Replayed}[want]
		if err := got.Err(); license.ReasonOf(err) != why {
			t.Errorf("%s: %v", jti, err)
		}
	}
	if got := c.Repeats("r35", digestBytes("other bytes")); got != license.RequestConflict || license.ReasonOf(got.Err()) != license.Conflict {
		t.Errorf("the same jti with other bytes: %v", got)
	}
}

// TestHonestInstallsNeverFork: an install that stores each request, repeats it
// until it is answered and names what it holds is never taken for two, even
// where some of its answers are lost for good.
func TestHonestInstallsNeverFork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c license.Chain
		held, lostLast := "", false
		for i := range rapid.IntRange(1, 40).Draw(t, "requests") {
			request, issued := fmt.Sprint("r", i), fmt.Sprint("t", i)
			if c.Forked(held) {
				t.Fatalf("request %d, which holds %q, is a fork: %+v", i, held, c)
			}
			before := c
			c = step(c, issued, held, request)
			if before.RequestID != "" && before.Repeats(before.RequestID, before.Digest) != license.RequestSame {
				t.Fatal("a repetition is not recognised")
			}
			// At most every second answer is lost for good.
			lostLast = !lostLast && rapid.Bool().Draw(t, "lost")
			if !lostLast {
				held = issued
			}
		}
	})
}

// TestCopiesFork: of two copies of one install that take turns, one is noticed
// at its second request at the latest.
func TestCopiesFork(t *testing.T) {
	c := step(license.Chain{}, "t0", "", "r0")
	held := [2]string{"t0", "t0"}
	for i := range 4 {
		who := i % 2
		if c.Forked(held[who]) {
			return
		}
		held[who] = fmt.Sprint("t", i+1)
		c = step(c, held[who], map[bool]string{true: c.Last, false: "t0"}[i == 0], fmt.Sprint("r", i+1))
	}
	t.Error("two copies took turns unnoticed")
}

func TestInstallClone(t *testing.T) {
	i := license.Install{
		ID: "k", Binding: license.Binding{Salt: []byte{1}, Components: license.Components{license.KindOS: {"a"}}},
		Chain: license.Chain{Digest: []byte{1}, Older: []byte{4}}, Answer: []byte("{}"),
	}
	c := i.Clone()
	if diff := cmp.Diff(i, c); diff != "" {
		t.Fatal(diff)
	}
	c.Binding.Salt[0], c.Binding.Components[license.KindOS][0], c.Chain.Digest[0], c.Chain.Older[0], c.Answer[0] = 2, "b", 2, 5, '['
	if i.Binding.Salt[0] != 1 || i.Binding.Components[license.KindOS][0] != "a" || i.Chain.Digest[0] != 1 || i.Chain.Older[0] != 4 || i.Answer[0] != '{' {
		t.Error("the copy shares something")
	}
}

// What was granted under a name is known by it, and no more than so many are.
func TestGrants(t *testing.T) {
	var i license.Install
	for n := range license.MaxGrants + 2 {
		before := i
		i = i.WithGrant(license.Grant{Request: fmt.Sprint(n), ID: fmt.Sprint("jti-", n)})
		i = i.WithGrant(license.Grant{Request: fmt.Sprint(n), ID: fmt.Sprint("again-", n)})
		if len(before.Grants) > 0 && before.Grants[0].Request != fmt.Sprint(n-1) {
			t.Fatal("the install that it was made from was changed")
		}
	}
	if len(i.Grants) != license.MaxGrants {
		t.Fatalf("%d grants are kept", len(i.Grants))
	}
	if g, ok := i.Granted("3"); !ok || g.ID != "again-3" {
		t.Errorf("granted %+v, %v", g, ok)
	}
	if _, ok := i.Granted("1"); ok {
		t.Error("the oldest is still there")
	}
}

func TestOnMachine(t *testing.T) {
	for _, c := range []struct {
		install license.Install
		want    bool
	}{
		{license.Install{Seat: "seat_1"}, true},
		{license.Install{Seat: "seat_1", State: license.InstallRemoved}, true},
		{license.Install{Kind: license.InstallText}, false},
		{license.Install{Kind: license.InstallText, Seat: "seat_1"}, false},
		{license.Install{}, false}, // a text of before there were kinds
		{license.Install{Kind: "of a newer version", Seat: "seat_1"}, false},
	} {
		if got := c.install.OnMachine(); got != c.want {
			t.Errorf("%+v: %v", c.install, got)
		}
	}
}
