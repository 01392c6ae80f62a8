package client

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// listed is what the newest status list says of this install, "" where it says
// nothing against it. An expired list proves that as well as a fresh one.
func (l *License) listed() license.Reason {
	if l.list == nil {
		return ""
	}
	status, ok := l.list.At(l.claims.Status.Index)
	if !ok {
		return ""
	}
	return status.Reason()
}

// proven is the time for which the newest status list proves that nothing is
// listed: from its iat until it is too old for the licence, or expired. ok is
// false where there is none that says anything of this install.
func (l *License) proven() (from, until time.Time, ok bool) {
	if l.list != nil {
		_, ok = l.list.At(l.claims.Status.Index)
	}
	if !ok {
		return l.claims.Dates.IssuedAt, l.claims.Dates.IssuedAt, false
	}
	return l.list.IssuedAt, earliest(l.list.IssuedAt.Add(l.claims.StatusMaxAge), l.list.ExpiresAt), true
}

// heed applies the status list to a status: one that is absent, or older than
// the licence wants it, counts as a lease that has run out, and what is listed
// blocks.
func (l *License) heed(s Status) Status {
	if l.list != nil {
		s.ListedAt = l.list.IssuedAt
	}
	if l.claims.StatusMaxAge > 0 {
		from, until, ok := l.proven()
		s.LeaseUntil = earliest(s.LeaseUntil, until)
		s.RefreshAfter = earliest(s.RefreshAfter, from.Add(until.Sub(from)/2))
		switch {
		case s.Phase == license.PhaseBlocked:
		case !ok, !s.At.Before(until):
			s.Phase, s.Reason = license.PhaseBlocked, license.LeaseOver
		case !s.At.Before(until.Add(-until.Sub(from) / 4)):
			s.Phase = license.PhaseGrace
		}
	}
	return s
}

// newestLists verifies status lists and returns the newest of each address.
// What does not verify is as good as absent: whoever could spoil a list could
// leave it out.
func newestLists(raws []string, keys token.KeySet, issuer string) map[string]*token.StatusList {
	lists := make(map[string]*token.StatusList, len(raws))
	for _, raw := range raws {
		list, err := token.VerifyStatusList(raw, keys, token.ExpectStatusList{Issuer: issuer})
		if known := lists[list.URI]; err == nil && (known == nil || list.IssuedAt.After(known.IssuedAt)) {
			lists[list.URI] = &list
		}
	}
	return lists
}

// RefreshStatus fetches the status list that the licence held names, and
// remembers it if it is newer than the one seen last. It asks nothing of the
// server but that list, which caches on the way may answer as well, and neither
// extends the lease nor brings a licence up to date: Refresh does, and brings
// the list along.
//
// What the list says is in Status from then on; that something is listed is no
// error. Where it cannot be remembered, the error is ReadOnly, and what it says
// holds until the product is closed. The other reasons are NoLicense, NotFound
// where the licence names no list or the server has none there, Unreachable,
// Forged and Damaged.
func (g *Guard) RefreshStatus(ctx context.Context) error { return g.online(ctx, g.fetchStatus) }

// fetchStatus is RefreshStatus, for whose turn it is.
func (g *Guard) fetchStatus(ctx context.Context) error {
	held, err := token.PeekLicense(g.memory.License)
	switch {
	case g.memory.License == "":
		return license.Errorf(license.NoLicense, "there is no licence yet; activate one first")
	case err != nil:
		return err
	case held.Status.URI == "":
		return license.Errorf(license.NotFound, "the licence names no status list")
	}
	ctx, cancel := context.WithTimeout(ctx, g.opts.Timeout)
	defer cancel()
	address, err := g.server.addressOf(held.Status.URI, held.Issuer, g.opts.AllowPlain)
	if err != nil {
		return err
	}
	raw, err := g.server.get(ctx, address, wire.TypeStatusList)
	if err != nil {
		return err
	}
	take := func(m *memory) error { return g.takeList(m, raw) }
	if err = g.heeding(take); license.ReasonOf(err) != license.Forged {
		return err
	}
	// It may be signed by a key that this install has not heard of yet.
	keys, keysErr := g.server.get(ctx, g.server.base.String()+wire.PathKeys, wire.TypeJWT)
	if keysErr != nil {
		return err
	}
	return g.heeding(func(m *memory) error {
		if _, keysErr := g.takeKeys(m, keys); keysErr != nil {
			return err
		}
		return take(m)
	})
}

// heeding is update with a change that takes a status list, which counts in
// this process also where it cannot be kept: else it would do to make the
// memory read-only in order not to hear of a revocation.
func (g *Guard) heeding(take func(m *memory) error) error {
	err := g.update(take)
	if errors.Is(err, license.ReadOnly) {
		m := g.memory
		_ = take(&m) // the error is there already
	}
	return err
}

// takeList takes a status list that came by itself.
func (g *Guard) takeList(m *memory, raw string) error {
	keys, err := g.newest(m.Keys, nil)
	if err != nil {
		return err
	}
	if _, err := g.remembers(m, raw, keys); err != nil {
		return err
	}
	return nil
}

// takeLists remembers what lists prove, and the newest of the address that the
// licence held names. It returns the first fault where none was of use, and
// Older where the newest was seen before.
func (g *Guard) takeLists(m *memory, raws []string, keys token.KeySet) error {
	var fault error
	for _, raw := range raws {
		news, err := g.remembers(m, raw, keys)
		switch {
		case news:
			fault = nil
			continue
		case err == nil:
			err = errOlderList()
		}
		if fault == nil {
			fault = err
		}
	}
	return fault
}

// remembers takes one status list, and reports whether it is the newest of the
// address that the licence held names.
func (g *Guard) remembers(m *memory, raw string, keys token.KeySet) (newest bool, _ error) {
	list, err := token.VerifyStatusList(raw, keys, token.ExpectStatusList{Issuer: g.opts.Issuer})
	if err != nil {
		return false, err
	}
	m.raise(list.IssuedAt)
	held, err := token.PeekLicense(m.License)
	if m.License == "" || err != nil {
		return false, license.Errorf(license.NoLicense, "there is no licence yet that the status list could be about; import one first")
	}
	if held.Status.URI != list.URI {
		return false, license.Errorf(license.Conflict, "the status list is not the one that the licence of this install names")
	}
	if g.disowned(*m, list.IssuedAt) {
		return false, errDisowned()
	}
	if m.StatusList != "" {
		// One that no longer verifies, such as under a key that was removed, is none,
		// and neither is one that was dated by a clock that has been proved wrong.
		seen, err := token.VerifyStatusList(m.StatusList, keys, token.ExpectStatusList{Issuer: g.opts.Issuer, URI: list.URI})
		if err == nil && !g.disowned(*m, seen.IssuedAt) && !list.IssuedAt.After(seen.IssuedAt) {
			return list.IssuedAt.Equal(seen.IssuedAt), nil
		}
	}
	m.StatusList = raw
	g.heedAtOnce(m.License, &list)
	return true, nil
}

// heedAtOnce lets a list count in this process before it is kept, and where it
// cannot be.
func (g *Guard) heedAtOnce(raw string, list *token.StatusList) {
	v := *g.view.Load()
	if v.license == nil || v.license.claims.Raw != raw || v.license.list != nil && !list.IssuedAt.After(v.license.list.IssuedAt) {
		return
	}
	l := *v.license
	l.list = list
	v.license = &l
	g.view.Store(&v)
}

func errOlderList() error {
	return license.Errorf(license.Older, "this install has seen a newer status list; an older one is not accepted again")
}

// addressOf is where a status list is fetched: at the server that this install
// calls, under the path that the licence names, since the issuer's name need
// not be the address by which it is reached. A list that is published elsewhere
// is fetched there.
func (s *server) addressOf(uri, issuer string, allowPlain bool) (string, error) {
	if path, ok := strings.CutPrefix(uri, strings.TrimRight(issuer, "/")+"/"); ok {
		u, err := url.Parse("/" + path)
		if err == nil && u.Host == "" && u.RawQuery == "" && u.Fragment == "" {
			return s.base.String() + "/" + path, nil
		}
	}
	u, err := endpoint(uri, allowPlain)
	if err != nil {
		return "", license.Errorf(license.NotFound, "the status list of this licence has an address that cannot be fetched").WithCause(err)
	}
	return u.String(), nil
}
