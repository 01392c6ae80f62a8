package client_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

const (
	listURI   = issuer + "/v1/status/sl_1"
	listIndex = 5
)

// listed makes a licence name a place in a list.
func listed(c token.License) token.License {
	c.Status = token.StatusPlace{URI: listURI, Index: listIndex}
	return c
}

// statusList is a list of eight installs, signed at an instant, which says
// status of ours and that all others are revoked.
func statusList(tb testing.TB, at time.Time, status license.ListStatus, change ...func(*token.StatusList)) string {
	tb.Helper()
	s := token.NewStatuses(8)
	for i := range s.Len() {
		s.Set(i, license.StatusRevoked)
	}
	s.Set(listIndex, status)
	l := token.StatusList{Issuer: issuer, URI: listURI, IssuedAt: at, ExpiresAt: at.Add(72 * time.Hour), TTL: 15 * time.Minute, List: s.Compress()}
	for _, c := range change {
		c(&l)
	}
	return signList(tb, l, "sign-1")
}

func signList(tb testing.TB, l token.StatusList, keyName string) string {
	tb.Helper()
	raw, err := token.SignStatusList(l, signer(tb, keyName))
	check(tb, err)
	return raw
}

func withLists(keys, lic string, lists ...string) []byte {
	return token.File{Licenses: []string{lic}, KeySets: []string{keys}, Statuses: lists}.Marshal()
}

func TestVerifierHeedsStatusLists(t *testing.T) {
	keys := keySet(t, "anchor-1", 1, "sign-1")
	plain, named := sign(t, claims(epoch), "sign-1"), sign(t, listed(claims(epoch)), "sign-1")
	at := epoch.Add(time.Hour)
	says := func(s license.ListStatus) string { return statusList(t, at, s) }
	elsewhere := statusList(t, at, license.StatusRevoked, func(l *token.StatusList) { l.URI = issuer + "/v1/status/sl_2" })
	short := statusList(t, at, license.StatusRevoked, func(l *token.StatusList) { l.List = token.NewStatuses(4).Compress() })
	good := says(license.StatusValid)
	for name, test := range map[string]struct {
		file  []byte
		want  license.Reason
		state license.State
	}{
		"none":                               {withLists(keys, named), "", license.StateActive},
		"valid":                              {withLists(keys, named, good), "", license.StateActive},
		"revoked":                            {withLists(keys, named, says(license.StatusRevoked)), license.Revoked, license.StateRevoked},
		"suspended":                          {withLists(keys, named, says(license.StatusSuspended)), license.Suspended, license.StateSuspended},
		"the value that is left to us":       {withLists(keys, named, says(3)), license.Revoked, license.StateRevoked},
		"of another address":                 {withLists(keys, named, elsewhere), "", license.StateActive},
		"too short to say anything":          {withLists(keys, named, short), "", license.StateActive},
		"a licence that names none":          {withLists(keys, plain, says(license.StatusRevoked)), "", license.StateActive},
		"the newest counts, last":            {withLists(keys, named, good, statusList(t, at.Add(1e9), license.StatusRevoked)), license.Revoked, license.StateRevoked},
		"the newest counts, first":           {withLists(keys, named, statusList(t, at.Add(1e9), license.StatusValid), says(license.StatusRevoked)), "", license.StateActive},
		"under a key that is not of the set": {withLists(keys, named, good, signList(t, revokingList(at.Add(1e9)), "sign-3")), "", license.StateActive},
		"of another issuer":                  {withLists(keys, named, statusList(t, at, license.StatusRevoked, func(l *token.StatusList) { l.Issuer = "https://else.example" })), "", license.StateActive},
		"appended by hand":                   {append(file(keys, named), token.File{Statuses: []string{says(license.StatusRevoked)}}.Marshal()...), license.Revoked, license.StateRevoked},
	} {
		l, err := newVerifier().Verify(test.file)
		check(t, err)
		st := l.Check(epoch.Add(2 * time.Hour))
		if st.Reason != test.want || st.State != test.state || st.Usable != (test.want == "") || (st.Features == nil) != (test.want != "") {
			t.Errorf("%s: %+v", name, st)
		}
	}
}

func revokingList(at time.Time) token.StatusList {
	s := token.NewStatuses(8)
	s.Set(listIndex, license.StatusRevoked)
	return token.StatusList{Issuer: issuer, URI: listURI, IssuedAt: at, ExpiresAt: at.Add(72 * time.Hour), TTL: time.Minute, List: s.Compress()}
}

// What is listed blocks under every enforcement, and long after the list expired.
func TestListedBlocksWhateverTheEnforcement(t *testing.T) {
	keys := keySet(t, "anchor-1", 1, "sign-1")
	for _, e := range []license.Enforcement{license.EnforceBlock, license.EnforceDegrade, license.EnforceAdvisory} {
		c := listed(claims(epoch))
		c.Dates = license.Schedule{Enforcement: e}.DatesFor(epoch, time.Time{}, time.Time{})
		l, err := newVerifier().Verify(withLists(keys, sign(t, c, "sign-1"), statusList(t, epoch, license.StatusRevoked)))
		check(t, err)
		for _, at := range []time.Time{epoch, epoch.Add(1000 * time.Hour)} {
			if st := l.Check(at); st.Usable || st.Reason != license.Revoked || st.Phase != license.PhaseBlocked || len(st.Features) > 0 {
				t.Errorf("%s at %v: %+v", e, at, st)
			}
		}
	}
}

// TestStatusMaxAge walks along the time for which a list proves something.
func TestStatusMaxAge(t *testing.T) {
	keys := keySet(t, "anchor-1", 1, "sign-1")
	at := epoch.Add(24 * time.Hour)
	fresh := func(age time.Duration) token.License {
		c := listed(claims(epoch))
		c.StatusMaxAge = age
		return c
	}
	const hours = 40
	type row struct {
		now    time.Time
		phase  license.Phase
		reason license.Reason
	}
	end := at.Add(hours * time.Hour)
	for name, test := range map[string]struct {
		claims token.License
		lists  []string
		rows   []row
	}{
		"absent": {fresh(hours * time.Hour), nil, []row{
			{epoch, license.PhaseBlocked, license.LeaseOver}, {epoch.Add(time.Hour), license.PhaseBlocked, license.LeaseOver},
		}},
		"says nothing of this install": {fresh(hours * time.Hour), []string{statusList(t, at, license.StatusValid, func(l *token.StatusList) { l.List = token.NewStatuses(4).Compress() })}, []row{
			{at, license.PhaseBlocked, license.LeaseOver},
		}},
		"ages": {fresh(hours * time.Hour), []string{statusList(t, at, license.StatusValid)}, []row{
			{at, license.PhaseValid, ""},
			{at.Add(30*time.Hour - 1), license.PhaseValid, ""},
			{at.Add(30 * time.Hour), license.PhaseGrace, ""},
			{end.Add(-1), license.PhaseGrace, ""},
			{end, license.PhaseBlocked, license.LeaseOver},
		}},
		"expires before it is too old": {fresh(1000 * time.Hour), []string{statusList(t, at, license.StatusValid)}, []row{
			{at.Add(72*time.Hour - 1), license.PhaseGrace, ""}, {at.Add(72 * time.Hour), license.PhaseBlocked, license.LeaseOver},
		}},
		"the lease is over before": {fresh(10000 * time.Hour), []string{statusList(t, at, license.StatusValid, func(l *token.StatusList) { l.ExpiresAt = at.Add(9000 * time.Hour) })}, []row{
			{epoch.Add(14*24*time.Hour - 1), license.PhaseGrace, ""}, {epoch.Add(14 * 24 * time.Hour), license.PhaseBlocked, license.LeaseOver},
		}},
		"not asked for": {listed(claims(epoch)), nil, []row{{end, license.PhaseValid, ""}}},
	} {
		l, err := newVerifier().Verify(withLists(keys, sign(t, test.claims, "sign-1"), test.lists...))
		check(t, err)
		for _, r := range test.rows {
			if st := l.Check(r.now); st.Phase != r.phase || st.Reason != r.reason || st.Usable != (r.phase != license.PhaseBlocked) {
				t.Errorf("%s at %v: %s %s usable %v", name, r.now, st.Phase, st.Reason, st.Usable)
			}
		}
	}

	l, err := newVerifier().Verify(withLists(keys, sign(t, fresh(hours*time.Hour), "sign-1"), statusList(t, at, license.StatusValid)))
	check(t, err)
	if st := l.Check(at); !st.LeaseUntil.Equal(end) || !st.ListedAt.Equal(at) || st.RefreshAfter.After(at.Add(hours/2*time.Hour)) {
		t.Errorf("%+v", st)
	}
	c := fresh(hours * time.Hour)
	c.Dates = license.Schedule{Enforcement: license.EnforceAdvisory}.DatesFor(epoch, time.Time{}, time.Time{})
	l, err = newVerifier().Verify(withLists(keys, sign(t, c, "sign-1"), statusList(t, at, license.StatusValid)))
	check(t, err)
	if st := l.Check(end); !st.Usable || st.Phase != license.PhaseBlocked || st.Reason != license.LeaseOver || !st.Feature("export") {
		t.Errorf("a list that is too old blocks as a lease does, so under advisory it is only reported: %+v", st)
	}
	if n := testing.AllocsPerRun(100, func() { _ = l.Check(at).Feature("export") }); n > 0 {
		t.Errorf("Check allocates %v times", n)
	}
}

// withStatus is a site whose server keeps a status list: each answer brings it,
// and it is published.
func withStatus(t *testing.T) (s *site, publish func(license.ListStatus)) {
	t.Helper()
	s = newSite(t)
	var list string
	s.vendor.grant = func(_ token.Request, c *token.License) { *c = listed(*c) }
	s.vendor.spoil = func(_ token.Request, a *wire.Answer) { a.Status = list }
	s.opts.HTTPClient = &http.Client{Transport: published{s, &list}}
	publish = func(status license.ListStatus) { list = statusList(t, s.clock.now(), status) }
	publish(license.StatusValid)
	return s, publish
}

// published serves the list and the key set, and leaves the rest to the vendor.
type published struct {
	s    *site
	list *string
}

func (p published) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.s.vendor.respond != nil || r.Method != http.MethodGet {
		return p.s.vendor.RoundTrip(r)
	}
	switch r.URL.String() {
	case "https://licence.example.com/base/v1/status/sl_1":
		return response(200, wire.TypeStatusList, []byte(*p.list+"\n")), nil
	case "https://licence.example.com/base/v1/keys":
		return response(200, wire.TypeJWT, []byte(p.s.vendor.keys)), nil
	}
	return response(404, wire.TypeProblem, wire.NewProblem(license.Errorf(license.NotFound, "nothing at %s", r.URL), "r")), nil
}

func wantListed(t *testing.T, g *client.Guard, want license.Reason) {
	t.Helper()
	if st := g.Status(); st.Reason != want || st.Usable != (want == "") || g.Feature("export") != (want == "") {
		t.Fatalf("want %q: %s %q %v", want, st, st.Reason, g.Warnings())
	}
}

func TestGuardTakesStatusLists(t *testing.T) {
	s, publish := withStatus(t)
	g := s.activated()
	first := g.File()
	if parsed, err := token.ParseFile(first); err != nil || len(parsed.Statuses) != 1 {
		t.Errorf("the file holds %d lists (%v)", len(parsed.Statuses), err)
	}
	asked := len(s.vendor.seen())
	for _, step := range []struct {
		status license.ListStatus
		want   license.Reason
	}{
		{license.StatusSuspended, license.Suspended}, {license.StatusValid, ""}, {license.StatusSuspended, license.Suspended}, {license.StatusRevoked, license.Revoked},
	} {
		s.clock.add(time.Minute)
		publish(step.status)
		check(t, g.RefreshStatus(t.Context()))
		wantListed(t, g, step.want)
		wantListed(t, s.open(), step.want)
	}
	if n := len(s.vendor.seen()) - asked; n != 0 {
		t.Errorf("%d requests were made for status lists", n)
	}
	// What was seen is seen: neither the file of before nor an old list lifts it.
	check(t, g.Import(first))
	wantListed(t, g, license.Revoked)
	old := token.File{Statuses: []string{statusList(t, epoch, license.StatusValid)}}.Marshal()
	wantReason(t, g.Import(old), license.Older)
	wantListed(t, g, license.Revoked)
}

// A refusal by the server ends nothing; the list, at which it makes an install
// look, does, and a newer one lifts it.
func TestStatusListComesWithRefresh(t *testing.T) {
	s, publish := withStatus(t)
	s.opts.Cache = &client.MemoryCache{}
	g := s.activated()
	refuses := license.Suspended
	s.vendor.refuse = func(token.Request) error { return license.Errorf(refuses, "no") }
	for _, refuses = range []license.Reason{
		license.Suspended, license.Revoked, license.Released, license.Replaced, license.CloneDetected, license.Unauthorized,
		license.Expired, license.MachineMismatch, license.RateLimited,
	} {
		s.clock.add(time.Minute)
		publish(license.StatusValid)
		wantReason(t, g.Refresh(t.Context()), refuses)
		wantListed(t, g, "")
	}
	for status, want := range map[license.ListStatus]license.Reason{license.StatusSuspended: license.Suspended, license.StatusRevoked: license.Revoked} {
		for _, refuses = range []license.Reason{license.Suspended, license.Revoked, license.Released, license.Unauthorized} {
			s.clock.add(time.Minute)
			publish(license.StatusValid)
			check(t, g.RefreshStatus(t.Context()))
			s.clock.add(time.Minute)
			publish(status)
			wantReason(t, g.Refresh(t.Context()), refuses)
			wantListed(t, g, want)
		}
	}
	s.vendor.refuse = nil
	s.clock.add(time.Hour)
	publish(license.StatusValid)
	check(t, g.Refresh(t.Context()))
	wantListed(t, g, "")
	if st := g.Status(); !st.ListedAt.Equal(s.clock.now()) {
		t.Errorf("judged by the list of %v", st.ListedAt)
	}
}

func TestStatusListOnAStick(t *testing.T) {
	s, _ := withStatus(t)
	g := s.open()
	stick := func(lists ...string) []byte { return token.File{Statuses: lists}.Marshal() }
	revoking := statusList(t, epoch.Add(time.Hour), license.StatusRevoked)
	wantReason(t, g.Import(stick(revoking)), license.Damaged)
	withKeys := token.File{KeySets: []string{s.vendor.keys}, Statuses: []string{revoking}}.Marshal()
	wantReason(t, g.Import(withKeys), license.NoLicense)
	check(t, g.Activate(t.Context(), code))
	s.vendor.respond = func(*http.Request) (*http.Response, error) { return nil, errors.New("there is no network") }

	elsewhere := statusList(t, epoch.Add(2*time.Hour), license.StatusRevoked, func(l *token.StatusList) { l.URI += "2" })
	wantReason(t, g.Import(stick(elsewhere)), license.Conflict)
	wantReason(t, g.Import(stick(signList(t, revokingList(epoch.Add(time.Hour)), "evil"))), license.Forged)
	wantListed(t, g, "")
	check(t, g.Import(stick(elsewhere, revoking)))
	wantListed(t, g, license.Revoked)
	check(t, g.Import(stick(revoking))) // once more
	wantListed(t, s.open(), license.Revoked)
	if st := g.Status(); !st.ListedAt.Equal(epoch.Add(time.Hour)) {
		t.Errorf("judged by the list of %v", st.ListedAt)
	}
}

func TestRefreshStatusTroubles(t *testing.T) {
	s, publish := withStatus(t)
	g := s.open()
	wantReason(t, g.RefreshStatus(t.Context()), license.NoLicense)
	check(t, g.Activate(t.Context(), code))
	before, good := string(g.File()), statusList(t, epoch.Add(time.Hour), license.StatusRevoked)
	answer := func(status int, mediaType, body string) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) { return response(status, mediaType, []byte(body)), nil }
	}
	for name, test := range map[string]struct {
		respond func(*http.Request) (*http.Response, error)
		want    license.Reason
	}{
		"no network":              {func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") }, license.Unreachable},
		"a login page":            {answer(200, "text/html", "<html>"), license.Unreachable},
		"a server in trouble":     {answer(500, "text/plain", "oops"), license.Unreachable},
		"an endless answer":       {answer(200, wire.TypeStatusList, good+strings.Repeat("A", token.MaxToken)), license.Unreachable},
		"a problem":               {answer(404, wire.TypeProblem, `{"reason":"not_found","detail":"there is no such list"}`), license.NotFound},
		"half a list":             {answer(200, wire.TypeStatusList, good[:len(good)/2]), license.Damaged},
		"a list by somebody else": {answer(200, wire.TypeStatusList, signList(t, revokingList(epoch.Add(time.Hour)), "evil")), license.Forged},
		"the key set instead":     {answer(200, wire.TypeStatusList, s.vendor.keys), license.Forged},
		"nothing":                 {answer(200, wire.TypeStatusList, ""), license.Damaged},
	} {
		s.vendor.respond = test.respond
		if err := g.RefreshStatus(t.Context()); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if wantListed(t, g, ""); string(g.File()) != before {
			t.Errorf("%s changed what is held", name)
		}
	}
	s.vendor.respond = nil
	s.clock.add(time.Hour)
	publish(license.StatusRevoked)
	check(t, g.RefreshStatus(t.Context()))
	wantListed(t, g, license.Revoked)
}

func TestLicenseWithoutAListHasNoneToFetch(t *testing.T) {
	s := newSite(t)
	wantReason(t, s.activated().RefreshStatus(t.Context()), license.NotFound)
}

// A list under a key that this install has not heard of yet brings the key set.
func TestRefreshStatusAfterARotation(t *testing.T) {
	s, _ := withStatus(t)
	s.activated()
	s.clock.add(time.Hour)
	list := signList(t, revokingList(s.clock.now()), "sign-3")
	s.opts.HTTPClient = &http.Client{Transport: published{s, &list}}
	g := s.open()
	wantReason(t, g.RefreshStatus(t.Context()), license.Forged)
	wantListed(t, g, "")
	s.vendor.keys = keySet(t, "anchor-1", 2, "sign-1", "sign-3")
	check(t, g.RefreshStatus(t.Context()))
	wantListed(t, g, license.Revoked)
}

// After a compromise a list under the stolen key proves nothing any more, be it
// held already and as new as it likes.
func TestStatusListUnderAStolenKey(t *testing.T) {
	s, _ := withStatus(t)
	g := s.activated()
	stolen := token.File{Statuses: []string{statusList(t, epoch.Add(time.Hour), license.StatusRevoked)}}.Marshal()
	check(t, g.Import(stolen))
	wantListed(t, g, license.Revoked)
	s.vendor.keys, s.vendor.signer = keySet(t, "anchor-1", 2, "sign-2"), "sign-2"
	list := signList(t, token.StatusList{
		Issuer: issuer, URI: listURI, IssuedAt: epoch, ExpiresAt: epoch.Add(time.Hour), TTL: time.Minute, List: token.NewStatuses(8).Compress(),
	}, "sign-2")
	s.vendor.spoil = func(_ token.Request, a *wire.Answer) { a.Status = list }
	check(t, g.Refresh(t.Context()))
	wantListed(t, g, "")
	wantListed(t, s.open(), "")
}

// An install that moves to another list forgets the one before.
func TestAnotherListAddress(t *testing.T) {
	s, publish := withStatus(t)
	g := s.activated()
	s.clock.add(time.Hour)
	publish(license.StatusRevoked)
	s.vendor.grant = func(_ token.Request, c *token.License) { c.Status = token.StatusPlace{URI: listURI + "2", Index: 0} }
	check(t, g.Refresh(t.Context()))
	wantListed(t, g, "")
	if st := g.Status(); !st.ListedAt.IsZero() {
		t.Errorf("judged by the list of %v", st.ListedAt)
	}
	wantListed(t, s.open(), "")
}

// What a list says counts in the process that has seen it, also where it cannot
// be kept: else it would do to make the memory read-only.
func TestStatusListThatCannotBeKept(t *testing.T) {
	s, publish := withStatus(t)
	c := &failing{}
	s.opts.Cache = c
	g := s.activated()
	before := statusList(t, epoch.Add(time.Minute), license.StatusValid)
	c.store = errors.New("read-only file system")
	for _, step := range []struct {
		status license.ListStatus
		want   license.Reason
	}{{license.StatusSuspended, license.Suspended}, {license.StatusValid, ""}, {license.StatusRevoked, license.Revoked}} {
		s.clock.add(time.Hour)
		publish(step.status)
		wantReason(t, g.RefreshStatus(t.Context()), license.ReadOnly)
		wantListed(t, g, step.want)
	}
	wantReason(t, g.Import(token.File{Statuses: []string{before}}.Marshal()), license.ReadOnly)
	wantListed(t, g, license.Revoked)
	c.store = nil
	check(t, g.RefreshStatus(t.Context()))
	wantListed(t, g, license.Revoked)
	wantListed(t, s.open(), license.Revoked)

	// Where it cannot even be locked.
	s, publish = withStatus(t)
	g = s.activated()
	lock := filepath.Join(s.opts.StateDir, "install.json.lock")
	check(t, os.Remove(lock))
	check(t, os.Mkdir(lock, 0o700))
	s.clock.add(time.Hour)
	publish(license.StatusRevoked)
	wantReason(t, g.Refresh(t.Context()), license.ReadOnly)
	wantListed(t, g, license.Revoked)
}

// A file made for many machines brings a list for all of them: it is verified
// and inflated once.
func TestManyLicencesShareAList(t *testing.T) {
	keys := keySet(t, "anchor-1", 1, "sign-1")
	list := statusList(t, epoch, license.StatusRevoked, func(l *token.StatusList) {
		s := token.NewStatuses(1 << 20)
		s.Set(listIndex, license.StatusRevoked)
		l.List = s.Compress()
	})
	var licenses []string
	for i := range 50 {
		licenses = append(licenses, sign(t, listed(claims(epoch.Add(time.Duration(i)*time.Second))), "sign-1"))
	}
	data := withLists(keys, licenses[0], list)
	data = append(data, token.File{Licenses: licenses[1:]}.Marshal()...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	all, err := newVerifier().VerifyAll(data)
	runtime.ReadMemStats(&after)
	check(t, err)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("it allocated %d bytes for a list of 256 KiB", n)
	}
	for _, l := range all {
		if st := l.Check(epoch); st.Reason != license.Revoked {
			t.Errorf("%s: %+v", l.ID(), st)
		}
	}
	if len(all) != len(licenses) {
		t.Errorf("%d licences", len(all))
	}
}
