package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
	"github.com/seed-357fa782/licensed/store"
)

// work is a series of requests, what the server wrote for each of them, and
// the stores before and after. The first ones are for warming up.
type work struct {
	path   string // where the requests go at the server
	bare   string // and at the prototype
	before string // store that the series begins with
	after  string // and what the server made of it
	shots  []shot
	items  []*item
	status string // the status list that goes along with the answers

	// renew makes the shots anew where they do not keep, and the keys of their
	// marks in the store.
	renew func() (shots []shot, marks [][]byte, err error)
}

// round returns the shots of a round at the server, and at the prototype.
func (w *work) round() (shots, bare []shot, err error) {
	shots = w.shots
	if w.renew != nil {
		if shots, _, err = w.renew(); err != nil {
			return nil, nil, err
		}
	}
	for _, sh := range shots {
		bare = append(bare, sh.to(w.path, w.bare))
	}
	return shots, bare, nil
}

// item is what the server wrote for one request, and what the prototype needs
// to do the same.
type item struct {
	code    license.Code
	index   []byte // key of the code in the store
	id      string // of the licence
	install []byte // key of the install in the store
	mark    []byte // key of the message's mark
	puts    []put
	claims  licenseClaims
	answer  wire.Answer // to the first install
}

// install is one installed copy of the software.
type install struct {
	key token.SigningKey
	fp  license.Fingerprint
}

func newInstall(n int) (install, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return install{}, err
	}
	key, err := token.NewSigningKey(private)
	machine := fingerprint.Set{Environment: fingerprint.Metal, Values: map[license.Kind][]string{
		license.KindMAC:  {fmt.Sprintf("02:00:%02X:%02X:%02X:%02X", byte(n>>24), byte(n>>16), byte(n>>8), byte(n))},
		license.KindDisk: {fmt.Sprintf("S4EWNX0R%08d", n)},
		license.KindCPU:  {"Example CPU @ 3.00GHz"},
		license.KindOS:   {fmt.Sprintf("%032x", n)},
	}}
	return install{key: key, fp: machine.Digests(product)}, err
}

func (in install) request(r token.Request, status int) (shot, error) {
	r.ID, r.IssuedAt, r.Product, r.Fingerprint = rand.Text(), time.Now(), product, in.fp
	raw, err := token.SignRequest(r, in.key)
	if err != nil {
		return shot{}, err
	}
	body, err := json.Marshal(wire.Request{Request: raw})
	return shot{bytes: post(wire.PathRequests, body), status: status}, err
}

// activations is the activation of every manual licence by a machine of its own.
func (s *site) activations(ctx context.Context) (*work, error) {
	if s.activation != nil {
		return s.activation, nil
	}
	w := &work{path: wire.PathRequests, bare: "/activate", before: s.fresh, after: s.path("activated.db")}
	holders := make([]install, len(s.manual))
	for i, l := range s.manual {
		in, err := newInstall(i)
		if err != nil {
			return nil, err
		}
		sh, err := in.request(token.Request{Op: token.OpActivate, Code: l.code}, ok)
		if err != nil {
			return nil, err
		}
		holders[i] = in
		w.shots = append(w.shots, sh)
		w.items = append(w.items, &item{code: l.code, index: l.index, id: l.id, install: []byte(l.id + "/" + in.key.ID)})
	}
	err := s.capture(ctx, w, func(i int, body []byte) error { return json.Unmarshal(body, &w.items[i].answer) })
	if err != nil {
		return nil, err
	}
	w.status = w.items[0].answer.Status
	s.activation, s.holders = w, holders
	return w, nil
}

// refreshes is one refresh by each install of the activations.
func (s *site) refreshes(ctx context.Context) (*work, error) {
	first, err := s.activations(ctx)
	if err != nil {
		return nil, err
	}
	w := &work{path: wire.PathRequests, bare: "/refresh", before: first.after, after: s.path("refreshed.db"), status: first.status}
	for i, it := range first.items {
		sh, err := s.holders[i].request(token.Request{Op: token.OpRefresh, License: it.answer.License, Prev: it.claims.ID}, ok)
		if err != nil {
			return nil, err
		}
		w.shots = append(w.shots, sh)
		w.items = append(w.items, &item{code: it.code, index: it.index, id: it.id, install: it.install})
	}
	return w, s.capture(ctx, w, nil)
}

// callbackPath is where the marketplace sends its callbacks.
const callbackPath = "/marketplace/" + marketplace

// renewals is one RENEWAL callback for each licence of the marketplace.
func (s *site) renewals(ctx context.Context) (*work, error) {
	w := &work{path: callbackPath, bare: callbackPath, before: s.fresh, after: s.path("renewed.db")}
	for _, l := range s.market {
		w.items = append(w.items, &item{code: l.code, index: l.index, id: l.id})
	}
	end := time.Now().UTC().AddDate(2, 0, 0)
	// Callbacks are refused a minute after they were signed.
	w.renew = func() ([]shot, [][]byte, error) {
		shots, marks := make([]shot, len(w.items)), make([][]byte, len(w.items))
		for i, it := range w.items {
			var err error
			if shots[i], marks[i], err = renewal(it.code, end); err != nil {
				return nil, nil, err
			}
		}
		return shots, marks, nil
	}
	return w, s.capture(ctx, w, nil)
}

// renewal is a callback that sets the end of a code, signed now, and the key of
// its mark in the store.
func renewal(code license.Code, end time.Time) (sh shot, mark []byte, err error) {
	now := time.Now()
	body := fmt.Appendf(nil, `{"activity":"refreshLicenseCode","expireTime":%q,"license":%q,"orderId":"CS2602010000000001",`+
		`"orderLineId":"CS2602010000000001-000001","productId":%q,"scene":"RENEWAL","testFlag":"0"}`, end.Format(marketTime), code.Reveal(), soldProduct)
	key := koogallery.NewAccessKey(accessKey)
	q := koogallery.SignedQuery(key, rand.Text(), now, body)
	v := koogallery.Verifier{Keys: []koogallery.AccessKey{key}}
	cb, err := v.Verify(q, body)
	if err != nil {
		return shot{}, nil, err
	}
	mark = append(binary.BigEndian.AppendUint64(nil, uint64(now.Add(store.MarkKept).UnixMilli())), cb.Replay.Signature[:]...)
	return shot{bytes: post(callbackPath+"?"+q.Encode(), body), status: ok}, mark, nil
}

// marketTime is how the marketplace writes an instant, in UTC.
const marketTime = "20060102150405"

// accepted checks the answer to a callback, whose status is always 200.
func accepted(_ int, body []byte) error {
	if !bytes.Contains(body, []byte(`"000000"`)) {
		return fmt.Errorf("the callback was refused: %.300s", body)
	}
	return nil
}

// capture has the server answer all of w once, not measured, and reads what it
// wrote for each request.
func (s *site) capture(ctx context.Context, w *work, each check) error {
	if w.renew != nil {
		shots, marks, err := w.renew()
		if err != nil {
			return err
		}
		for i, mark := range marks {
			w.items[i].mark = mark
		}
		w.shots, each = shots, accepted
	}
	if err := copyFile(w.after, w.before); err != nil {
		return err
	}
	err := s.serve(ctx, w.after, "capture", func(addr string) (err error) {
		c, err := dial(ctx, addr, s.sizes.conns)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.close()) }()
		_, err = c.fire(ctx, w.shots, each)
		return err
	})
	if err != nil {
		return err
	}
	return w.read()
}

// read finds what the server wrote for each request: the audit events say in
// which order, and which records they are about.
func (w *work) read() error {
	old, err := openBolt(w.before)
	if err != nil {
		return err
	}
	defer old.Close() //nolint:errcheck // it was only read
	now, err := openBolt(w.after)
	if err != nil {
		return err
	}
	defer now.Close() //nolint:errcheck // it was only read
	byLicense := make(map[string]*item, len(w.items))
	for _, it := range w.items {
		byLicense[it.id] = it
	}
	return old.View(func(was *bolt.Tx) error {
		return now.View(func(is *bolt.Tx) error {
			a, err := openPage(was)
			if err != nil {
				return err
			}
			b, err := openPage(is)
			if err != nil {
				return err
			}
			return compare(&a, &b, byLicense)
		})
	})
}

func compare(was, is *page, items map[string]*item) error {
	events := is[audit].Cursor()
	key, value := events.First()
	if last, _ := was[audit].Cursor().Last(); last != nil {
		events.Seek(last)
		key, value = events.Next()
	}
	found := 0
	for ; key != nil; key, value = events.Next() {
		var e struct {
			License string         `json:"license"`
			Action  license.Action `json:"action"`
		}
		if err := json.Unmarshal(value, &e); err != nil {
			return fmt.Errorf("read an audit event: %w", err)
		}
		if e.Action == license.ActionCheckpoint { // of the daemon's end
			continue
		}
		it := items[e.License]
		if it == nil || it.puts != nil {
			return fmt.Errorf("audit event %x, %s of %q, is not of one of the requests", key, e.Action, e.License)
		}
		it.add(was, is, licenses, []byte(it.id))
		it.add(was, is, installs, it.install)
		it.add(was, is, marks, it.mark)
		if len(it.install) > 0 && was[installs].Get(it.install) == nil {
			// A place was drawn. Of the record as it was just then only the size is
			// known, which is that of the last one.
			list, _ := is[lists].Cursor().Last()
			it.add(was, is, lists, list)
		}
		it.add(was, is, audit, key)
		if err := it.readClaims(); err != nil {
			return err
		}
		found++
	}
	if found != len(items) {
		return fmt.Errorf("the server wrote for %d requests of %d", found, len(items))
	}
	for _, in := range []bucket{standing, lookups} {
		if err := moved(was, is, in, items); err != nil {
			return err
		}
	}
	return nil
}

// moved notes the keys of an index that the server removed, and those that it
// wrote. Each ends in the id of its licence.
func moved(was, is *page, in bucket, items map[string]*item) error {
	each := func(from, other *bolt.Bucket, removed bool) error {
		return from.ForEach(func(key, value []byte) error {
			have := other.Get(key)
			if have != nil && (removed || bytes.Equal(have, value)) {
				return nil
			}
			it := items[string(key[max(0, len(key)-idLen):])]
			if it == nil {
				return fmt.Errorf("%q in %s is not of one of the requests", key, bucketNames[in])
			}
			w := put{in: in, key: bytes.Clone(key)}
			if !removed {
				w.value = append([]byte{}, value...)
			}
			it.puts = append(it.puts, w)
			return nil
		})
	}
	if err := each(was[in], is[in], true); err != nil {
		return err
	}
	return each(is[in], was[in], false)
}

// idLen is the length of a licence's id.
const idLen = len(license.LicensePrefix) + 26

// add notes a key that the server wrote.
func (it *item) add(was, is *page, in bucket, key []byte) {
	if len(key) == 0 {
		return
	}
	value := is[in].Get(key)
	if value == nil || bytes.Equal(was[in].Get(key), value) && was[in].Get(key) != nil {
		return
	}
	it.puts = append(it.puts, put{in: in, key: bytes.Clone(key), value: append([]byte{}, value...)})
}

// readClaims reads the claims of the licence that was granted: they stand in
// the install's record, after a line break.
func (it *item) readClaims() error {
	for _, w := range it.puts {
		if w.in != installs {
			continue
		}
		_, answer, _ := bytes.Cut(w.value, []byte{'\n'})
		if err := json.Unmarshal(answer, &it.claims); err != nil {
			return fmt.Errorf("read the claims of %s: %w", it.id, err)
		}
	}
	return nil
}
