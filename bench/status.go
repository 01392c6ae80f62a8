package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// revokedShare is how many of the installs are revoked.
const revokedShare = 0.01

// statusLists are the status lists of a number of installs: the indexes that
// are revoked, by list, drawn as the server draws them.
type statusLists struct {
	length  int
	revoked [][]int
	key     token.SigningKey
	keys    token.KeySet
}

func newStatusLists(installs, length int) (*statusLists, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := token.NewSigningKey(private)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	s := &statusLists{length: length, key: key, keys: token.KeySet{
		Issuer: issuer, Keys: []token.Key{{ID: key.ID, Public: public, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}},
	}}
	rng := mrand.New(mrand.NewPCG(1, 2)) //nolint:gosec // the same lists each time
	for from := 0; from < installs; from += length {
		order := license.StatusOrder([license.StatusSeedLen]byte{byte(from / length)}, length)
		var revoked []int
		for _, index := range order[:min(length, installs-from)] {
			if rng.Float64() < revokedShare {
				revoked = append(revoked, int(index))
			}
		}
		s.revoked = append(s.revoked, revoked)
	}
	return s, nil
}

// build makes and signs all lists on so many processors at once.
func (s *statusLists) build(processors int) (tokens []string, lst int, took time.Duration, err error) {
	tokens = make([]string, len(s.revoked))
	sizes, errs := make([]int, len(s.revoked)), make([]error, len(s.revoked))
	slots := make(chan struct{}, processors)
	var wg sync.WaitGroup
	begin := time.Now()
	for k, revoked := range s.revoked {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			statuses := token.NewStatuses(s.length)
			for _, index := range revoked {
				statuses.Set(index, license.StatusRevoked)
			}
			list := statuses.Compress()
			sizes[k] = b64.DecodedLen(len(list))
			tokens[k], errs[k] = token.SignStatusList(token.StatusList{
				Issuer: issuer, URI: fmt.Sprintf("%s/v1/status/sl_%026d", issuer, k), IssuedAt: begin, ExpiresAt: begin.Add(72 * time.Hour),
				TTL: 15 * time.Minute, List: list,
			}, s.key)
		})
	}
	wg.Wait()
	took = time.Since(begin)
	for _, n := range sizes {
		lst += n
	}
	return tokens, lst, took, errors.Join(errs...)
}

// bound is what the lists cannot do without: the entropy of n installs of which
// the share p is revoked, each by itself, in bytes.
func bound(n int, p float64) float64 {
	return -(p*math.Log2(p) + (1-p)*math.Log2(1-p)) * float64(n) / 8
}

func gzipped(text string) int {
	var buf bytes.Buffer
	w, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression) // the level is one
	_, _ = w.Write([]byte(text))                            // a Buffer takes everything
	_ = w.Close()
	return buf.Len()
}

// measureStatus is the status lists of a million installs: as the server keeps
// them, and as one list, which a token holds while few are revoked.
func measureStatus(ctx context.Context, s *site) ([]line, error) {
	n := s.sizes.listed
	several, err := newStatusLists(n, license.StatusListLength)
	if err != nil {
		return nil, err
	}
	single, err := newStatusLists(n, 1<<20)
	if err != nil {
		return nil, err
	}
	lines, err := s.builtLines(fmt.Sprintf("%d status lists of %d installs, 1 %% revoked", len(several.revoked), n), several, true)
	if err != nil {
		return nil, err
	}
	more, err := s.builtLines("  as one list", single, false)
	if err != nil {
		return nil, err
	}
	lookup, err := s.lookupLine(several)
	if err != nil {
		return nil, err
	}
	served, err := s.servedList(ctx, several)
	return append(append(lines, more...), lookup, served), err
}

// builtLines says how long building takes and how large the lists are.
func (s *site) builtLines(title string, lists *statusLists, required bool) ([]line, error) {
	var all, one []time.Duration
	var tokens []string
	var lst int
	for range s.sizes.rounds {
		var u, v time.Duration
		var err error
		if tokens, lst, u, err = lists.build(runtime.GOMAXPROCS(0)); err != nil {
			return nil, err
		}
		if _, _, v, err = lists.build(1); err != nil {
			return nil, err
		}
		all, one = append(all, u), append(one, v)
	}
	raw, packed := 0, 0
	for _, t := range tokens {
		raw, packed = raw+len(t), packed+gzipped(t)
	}
	least := bound(s.sizes.listed, revokedShare)
	size := func(what string, bytes int, limit float64) line {
		return line{
			path: title + ": " + what, product: fmt.Sprintf("%d bytes", bytes), bare: fmt.Sprintf("%.0f bytes", least),
			ratio: float64(bytes) / least, limit: limit, most: true, note: "bare: the entropy bound",
		}
	}
	took, limit, share := median(all), 0.0, 0.0
	if required {
		limit, share = 100, 1.5
	}
	return []line{
		{
			path: title + ": building", product: duration(took), bare: duration(median(one)),
			ratio: float64(took) / float64(time.Millisecond), limit: limit, most: true,
			note: fmt.Sprintf("the ratio is milliseconds on %d processors; bare: on one", runtime.GOMAXPROCS(0)),
		},
		size("lst", lst, 0), size("token", raw, 0), size("on the wire, gzip", packed, share),
	}, nil
}

// lookupLine is what a verifier pays for a status of a list that it has
// verified, against reading two bits.
func (s *site) lookupLine(lists *statusLists) (line, error) {
	tokens, _, _, err := lists.build(runtime.GOMAXPROCS(0))
	if err != nil {
		return line{}, err
	}
	list, err := token.VerifyStatusList(tokens[0], lists.keys, token.ExpectStatusList{})
	if err != nil {
		return line{}, err
	}
	bits := make([]byte, list.Len()/4)
	for i := range list.Len() {
		status, _ := list.At(i)
		bits[i/4] |= byte(status) << (i % 4 * 2)
	}
	order := license.StatusOrder([license.StatusSeedLen]byte{1}, list.Len())
	var ours, bare []time.Duration
	var ratios []float64
	for range s.sizes.verifies {
		found, same := 0, 0
		begin := time.Now()
		for _, index := range order {
			if status, ok := list.At(int(index)); ok && status == license.StatusRevoked {
				found++
			}
		}
		a := time.Since(begin)
		begin = time.Now()
		for _, index := range order {
			if bits[index/4]>>(index%4*2)&3 == 1 {
				same++
			}
		}
		b := time.Since(begin)
		if found != same || found != len(lists.revoked[0]) {
			return line{}, fmt.Errorf("%d places are revoked, and %d, of %d", found, same, len(lists.revoked[0]))
		}
		ours, bare, ratios = append(ours, a/time.Duration(len(order))), append(bare, b/time.Duration(len(order))), append(ratios, float64(a)/float64(b))
	}
	return line{
		path: "a lookup in a verified list", product: fmt.Sprintf("%d ns", median(ours).Nanoseconds()), bare: fmt.Sprintf("%d ns", median(bare).Nanoseconds()),
		ratio: median(ratios), note: "bare: reading two bits",
	}, nil
}

// servedList is a list as the daemon answers with it from memory, against an
// answer of the same size.
func (s *site) servedList(ctx context.Context, lists *statusLists) (line, error) {
	first, err := s.activations(ctx)
	if err != nil {
		return line{}, err
	}
	path := s.path("listed.db")
	if err := copyFile(path, first.after); err != nil {
		return line{}, err
	}
	st, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return line{}, err
	}
	var id string
	err = st.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		l, err := tx.LastStatusList(ctx)
		if err != nil {
			return err
		}
		id = l.ID
		for _, index := range lists.revoked[0] {
			if err := tx.PutStatusEntry(ctx, id, license.StatusEntry{Index: index, Status: license.StatusRevoked}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, st.Close()); err != nil {
		return line{}, err
	}
	// Go's own client, and most others, ask for the gzip form.
	l, err := s.cachedLine(ctx, path, strings.Replace(wire.PathStatus, "{list}", id, 1), "Accept-Encoding: gzip")
	l.path = "status list (cached, gzip), 64 connections"
	return l, err
}

// cachedLine is what the server answers from memory at a path, against an answer
// of the same size.
func (s *site) cachedLine(ctx context.Context, storePath, path string, header ...string) (line, error) {
	var f [3][]float64
	var size int
	err := s.serve(ctx, storePath, "cached", func(addr string) error {
		body, err := fetch(ctx, addr, get(path, header...))
		if err != nil {
			return err
		}
		size = len(body)
		p, err := newPrototype(&work{}, string(body))
		if err != nil {
			return err
		}
		return p.serve(ctx, func(bareAddr string) error {
			for range s.sizes.rounds {
				var ours, bare load
				sides := make([]side, 0, 2)
				for _, of := range []struct {
					addr, path string
					sum        *load
				}{{addr, path, &ours}, {bareAddr, "/keys", &bare}} {
					c, err := dial(ctx, of.addr, s.sizes.conns)
					if err != nil {
						return err
					}
					defer c.close() //nolint:errcheck // all was answered
					shots := slices.Repeat([]shot{{get(of.path, header...), ok}}, s.sizes.cached)
					do := func(from, to int) (load, error) { return c.fire(ctx, shots[from:to], nil) }
					sides = append(sides, side{
						warm: func() error { _, err := do(0, s.sizes.cached/turns); return err }, do: do, sum: of.sum,
					})
				}
				if err := takeTurns(sides, s.sizes.cached); err != nil {
					return err
				}
				note(&f, ours.rate(), bare.rate())
			}
			return nil
		})
	})
	return line{
		product: perSecond(median(f[0])), bare: perSecond(median(f[1])), ratio: median(f[2]), limit: 0.85,
		note: fmt.Sprintf("bare: net/http, the same %d bytes", size),
	}, err
}

// fetch is one answer of a server.
func fetch(ctx context.Context, addr string, request []byte) (body []byte, err error) {
	c, err := dial(ctx, addr, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	_, err = c.fire(ctx, []shot{{request, ok}}, func(_ int, b []byte) error {
		body = bytes.Clone(b)
		return nil
	})
	return body, err
}
