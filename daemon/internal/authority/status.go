package authority

import (
	"bytes"
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
	"github.com/seed-357fa782/licensed/store"
)

// StatusTTL is how long a copy of a status list may be used before a newer one
// is looked for, and how old a list gets at its origin.
const StatusTTL = 15 * time.Minute

// statusLife is for how long a list proves at least that nothing was added:
// over a weekend during which the server is down. Where a product takes older
// lists than that it is as long as that.
const statusLife = 72 * time.Hour

// StatusList is a status list as it is published.
type StatusList struct {
	ID       string
	Token    string // statuslist+jwt
	IssuedAt time.Time
	KeyID    string

	statuses token.Statuses // what it says
}

// clears reports whether the list says nothing against the install at index.
func (l *StatusList) clears(index int) bool {
	status, ok := l.statuses.At(index)
	return !ok || status == license.StatusValid
}

// StatusList returns the status list with the given id from memory: whoever
// asks does not reach the store. While the list is being made after a start it
// waits, for as long as ctx does. The reasons are NotFound, and ReadOnly
// where the list could not be made yet.
func (a *Authority) StatusList(ctx context.Context, id string) (*StatusList, error) {
	l := a.lists.get(id)
	if l == nil {
		return nil, a.lists.unknown(id)
	}
	if p := l.published.Load(); p != nil {
		return p, nil
	}
	select {
	case <-l.tried:
	case <-a.lists.ended:
	case <-ctx.Done():
	}
	if p := l.published.Load(); p != nil {
		return p, nil
	}
	return nil, errNotReady
}

var (
	errNoList   = license.Errorf(license.NotFound, "there is no such status list")
	errNotReady = license.Errorf(license.ReadOnly, "the status list is not ready yet; please try again shortly").WithRetryAfter(time.Second)
)

// LoadStatusLists learns which lists there are. It is called once, before
// RunStatusLists and before StatusList is asked.
func (a *Authority) LoadStatusLists(ctx context.Context) error {
	return a.lists.withBusy(ctx, func() error { return a.lists.follow(ctx) })
}

// RunStatusLists publishes the lists until ctx ends: all of them at first, and
// then each when what it says has changed, here or through another daemon on the
// store, when a revocation becomes final,
// when its key is no longer trusted, and when it is as old as StatusTTL. A
// failure is given to failed, which is called by one goroutine at a time, and
// tried again; what was published last is served meanwhile.
func (a *Authority) RunStatusLists(ctx context.Context, failed func(error)) {
	a.lists.run(ctx, failed)
}

// statusLists draws places in the lists and publishes them.
type statusLists struct {
	store   store.Store // not the settled one: what is written here settles nothing
	signing func() signing
	clock   func() time.Time
	dated   func(context.Context) (time.Time, error) // fails while the clock is not trusted
	draws   draws
	life    time.Duration // from iat to exp

	shared bool          // other daemons may be on the store
	wake   chan struct{} // holds one token
	busy   chan struct{} // holds a token while somebody publishes
	ended  chan struct{} // closed when the loop has ended
	once   sync.Once

	// place is up to where the feed was taken in, zero before that was begun. They
	// belong to whoever holds busy.
	place  feedPlace
	placed bool

	touched atomic.Bool // something was written here that may not be taken in

	mu    sync.RWMutex
	lists map[string]*statusList
	dirty map[string]map[int]bool // indexes to be read again, by list
}

// statusList is one list as it is published. What is not atomic belongs to
// whoever holds busy.
type statusList struct {
	id        string
	published atomic.Pointer[StatusList]
	tried     chan struct{} // closed when it was published once, or that has failed
	once      sync.Once

	loaded   bool
	statuses token.Statuses    // what the store says, as of the time that it was looked at
	undoable map[int]time.Time // revocations that can be undone, by index: until when
	finalAt  time.Time         // the earliest of undoable
	digest   [sha256.Size]byte // of statuses
	lst      string            // statuses, compressed
	lstOf    [sha256.Size]byte // what lst was made from

	// What the record says of the list as it was signed last.
	unsure       bool // it has to be read again
	signedAt     time.Time
	signedDigest []byte

	aheadAt time.Time // when it was last dated ahead of a clock that was set back
}

func newStatusLists(s store.Store, a *Authority) *statusLists {
	return &statusLists{
		store: s, signing: a.signing, clock: a.clock, dated: a.dated, life: statusLife, shared: a.sharedStore,
		draws: draws{ids: license.IDs{Random: a.random}, length: license.StatusListLength},
		wake:  make(chan struct{}, 1), busy: make(chan struct{}, 1), ended: make(chan struct{}),
		lists: make(map[string]*statusList), dirty: make(map[string]map[int]bool),
	}
}

// wasTried lets nobody wait for the list any longer.
func (l *statusList) wasTried() { l.once.Do(func() { close(l.tried) }) }

func (s *statusLists) get(id string) *statusList {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.lists[id]
}

// add returns the list with the given id, which is known from now on.
func (s *statusLists) add(id string) *statusList {
	if l := s.get(id); l != nil {
		return l
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lists[id]
	if l == nil {
		l = &statusList{id: id, tried: make(chan struct{})}
		s.lists[id] = l
	}
	return l
}

// forget drops a list that there is not.
func (s *statusLists) forget(l *statusList) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lists, l.id)
	delete(s.dirty, l.id)
	l.wasTried()
}

// all returns the lists that are known, oldest first.
func (s *statusLists) all() []*statusList {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*statusList, 0, len(s.lists))
	for _, id := range slices.Sorted(maps.Keys(s.lists)) {
		out = append(out, s.lists[id])
	}
	return out
}

// touch has places published whose entries were written here: which those are the
// loop learns from the feed.
func (s *statusLists) touch(places []license.StatusRef) {
	for _, p := range places {
		s.add(p.List)
	}
	s.touched.Store(true)
	s.look()
}

// unknown is why there is no list with the given id: no list has it, or another
// daemon has begun it just now, since lists are called in the order of their begin.
func (s *statusLists) unknown(id string) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	body, ok := strings.CutPrefix(id, statusListPrefix)
	if !ok || !license.IsLicenseID(license.LicensePrefix+body) {
		return errNoList
	}
	for known := range s.lists {
		if id < known {
			return errNoList
		}
	}
	return errNotReady
}

// look has the loop look at all lists.
func (s *statusLists) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// takeDirty returns the indexes of a list that have to be read again.
func (s *statusLists) takeDirty(id string) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dirty[id]
	delete(s.dirty, id)
	return slices.Collect(maps.Keys(d))
}

// current returns the token of the list of an install that is answered, and so
// is in good standing. The first of a list is made here, so that whoever draws
// its first place gets it along; and so is the next one where the last still
// says something against the install, such as that it is suspended, since a
// licence that comes with that would be worth nothing. It returns "" where that
// fails, or where so many were made within this second that the next has to
// wait; that keeps nobody from being answered.
//
// back says that the install was in bad standing not long ago: then it may have
// seen a list that says so, by another daemon and newer than what is published
// here, and gets one that is newer still.
func (s *statusLists) current(ctx context.Context, place license.StatusRef, back bool) string {
	l := s.add(place.List)
	if p := l.published.Load(); p != nil && p.clears(place.Index) && !back {
		return p.Token
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if p := l.published.Load(); p != nil && p.clears(place.Index) && s.isNewest(ctx, l) {
		return p.Token
	}
	_, _ = s.publishNow(ctx, l) // the loop meets the same failure, and reports it
	if p := l.published.Load(); p != nil && p.clears(place.Index) {
		return p.Token
	}
	return ""
}

// isNewest reports whether what is published of a list says all that is committed by
// now.
func (s *statusLists) isNewest(ctx context.Context, l *statusList) (is bool) {
	err := s.withBusy(ctx, func() error {
		if err := s.follow(ctx); err != nil {
			return err
		}
		s.mu.RLock()
		defer s.mu.RUnlock()
		is = l.loaded && !l.unsure && len(s.dirty[l.id]) == 0 && bytes.Equal(l.digest[:], l.signedDigest) &&
			l.published.Load().IssuedAt.Equal(l.signedAt)
		return nil
	})
	return is && err == nil
}

// signAgain signs the lists at once whose key is no longer trusted. What fails
// is met again by the loop, which reports it.
func (s *statusLists) signAgain(ctx context.Context) {
	_, _ = s.publishNow(context.WithoutCancel(ctx))
	s.look()
}

// statusURI is where the list with the given id is published.
func statusURI(issuer, id string) string {
	return strings.TrimRight(issuer, "/") + strings.Replace(wire.PathStatus, "{list}", id, 1)
}
