package clienttest

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// book is what a server knows: licences, their installs, and its keys.
type book struct {
	product  license.Product
	others   map[string]bool // ids of further products
	ids      *license.IDs
	licenses map[string]*entry // by id
	codes    map[string]string // ids by code
	lists    []*statusList
	places   int // how many places in lists were given

	vouched
	anchor string
	seq    int64
}

// entry is one licence.
type entry struct {
	license  license.License
	undo     time.Duration // how long after a revocation the lists show a suspension
	installs []license.Install
}

func newBook(p license.Product, now time.Time) (book, error) {
	b := book{
		product: p, others: map[string]bool{}, ids: &license.IDs{}, licenses: map[string]*entry{}, codes: map[string]string{},
		anchor: "anchor", seq: 1,
	}
	var err error
	b.vouched, err = vouch(b.anchor, now.Add(-time.Hour), b.seq, "server-1", "server-2")
	return b, err
}

// clone is a copy that shares nothing which changes.
func (b *book) clone() book {
	c := *b
	c.others, c.codes = maps.Clone(b.others), maps.Clone(b.codes)
	c.licenses = make(map[string]*entry, len(b.licenses))
	for id, e := range b.licenses {
		copied := &entry{license: e.license.Clone(), undo: e.undo}
		for _, i := range e.installs {
			copied.installs = append(copied.installs, i.Clone())
		}
		c.licenses[id] = copied
	}
	c.lists = nil
	for _, l := range b.lists {
		c.lists = append(c.lists, new(*l))
	}
	return c
}

// productOf is the product with an id, as far as there is one.
func (b *book) productOf(id string) (license.Product, error) {
	p := b.product
	if id != p.ID && !b.others[id] {
		return p, license.Errorf(license.WrongProduct, "this server has no product %q", id)
	}
	p.ID = id
	return p, nil
}

// issue makes a licence and its code.
func (b *book) issue(spec LicenseSpec, now time.Time) (license.Code, error) {
	code, err := license.ParseCode(spec.Code)
	if spec.Code == "" {
		code, err = license.NewCode(rand.Reader)
	}
	if err != nil {
		return code, err
	}
	if _, known := b.codes[code.Reveal()]; known {
		return code, license.Errorf(license.Conflict, "there is a licence with this code")
	}
	id, err := b.ids.New(license.LicensePrefix, now)
	if err != nil {
		return code, err
	}
	l := license.License{
		ID: id, Product: b.product.ID, Channel: license.ChannelManual, Customer: "Example Ltd", Order: spec.Order,
		Code: license.StoredCode{Last4: code.Last4()}, Machines: b.product.Machines, Mode: b.product.Mode, Features: b.product.Features,
		Phases: spec.Phases, Overage: spec.Overage, Trial: spec.Trial, IssuedAt: now, ExpiresAt: spec.end(now),
	}
	setUnlessZero(&l.Product, spec.Product)
	setUnlessZero(&l.Customer, spec.Customer)
	setUnlessZero(&l.Machines, spec.Machines)
	setUnlessZero(&l.Mode, spec.Mode)
	if spec.Features != nil {
		l.Features = spec.Features
	}
	if err := spec.Phases.Check(); err != nil {
		return code, err
	}
	if l.Product != b.product.ID {
		b.others[l.Product] = true
	}
	b.licenses[id], b.codes[code.Reveal()] = &entry{license: l}, id
	return code, nil
}

func setUnlessZero[T comparable](v *T, to T) {
	if to != *new(T) {
		*v = to
	}
}

// find is the licence of a code.
func (b *book) find(code string) (*entry, error) {
	c, err := license.ParseCode(code)
	if err != nil {
		return nil, err
	}
	e, ok := b.licenses[b.codes[c.Reveal()]]
	if !ok {
		return nil, license.Errorf(license.UnknownCode, "this server has no licence with this code")
	}
	return e, nil
}

// change changes a licence as the merchant or the marketplace does.
func (b *book) change(code string, c license.Change) error {
	e, err := b.find(code)
	if err != nil {
		return err
	}
	next, _, err := e.license.Apply(c)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Event, err)
	}
	e.license = next
	return nil
}

// rotate moves to the next key, and puts a new one beside it. Without revoked
// the keys that signed before stay, for what they have signed.
func (b *book) rotate(now time.Time, revoke bool) error {
	b.seq++
	names := []string{fmt.Sprintf("server-%d", b.seq), fmt.Sprintf("server-%d", b.seq+1)}
	for n := b.seq - 1; n > 0 && !revoke; n-- {
		names = append(names, fmt.Sprintf("server-%d", n))
	}
	var err error
	b.vouched, err = vouch(b.anchor, latest(now, b.set.IssuedAt), b.seq, names...)
	return err
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// live are the installs that sit on a seat, by seat.
func (e *entry) live(now time.Time) map[string][]license.Install {
	out := make(map[string][]license.Install)
	for _, i := range e.installs {
		if e.license.Sits(i, now) {
			out[i.Seat] = append(out[i.Seat], i)
		}
	}
	return out
}

func (e *entry) install(id string) (license.Install, bool) {
	at := slices.IndexFunc(e.installs, func(i license.Install) bool { return i.ID == id })
	if at < 0 {
		return license.Install{}, false
	}
	return e.installs[at], true
}

// put stores an install, a new one as the newest.
func (e *entry) put(i license.Install) {
	at := slices.IndexFunc(e.installs, func(o license.Install) bool { return o.ID == i.ID })
	if at < 0 {
		e.installs = append(e.installs, i)
		return
	}
	e.installs[at] = i
}

// end ends installs.
func (e *entry) end(installs []license.Install, as license.InstallState, now time.Time) {
	for _, i := range installs {
		i.State, i.EndedAt, i.Answer = as, now, nil
		e.put(i)
	}
}

// place gives an install its place in the status lists.
func (b *book) place(i *license.Install) error {
	if i.Status != (license.StatusRef{}) {
		return nil
	}
	n := b.places / listLength
	if n == len(b.lists) {
		l, err := newStatusList(n)
		if err != nil {
			return err
		}
		b.lists = append(b.lists, l)
	}
	l := b.lists[n]
	i.Status = license.StatusRef{List: l.id, Index: int(l.order[b.places%listLength])}
	b.places++
	return nil
}

func (b *book) statusPlace(i license.Install) token.StatusPlace {
	return token.StatusPlace{URI: statusURI(i.Status.List), Index: i.Status.Index}
}
