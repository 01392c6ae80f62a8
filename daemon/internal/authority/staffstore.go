package authority

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// errTried undoes the transaction of a dry run, in which nothing was wrong.
var errTried = errors.New("a dry run is undone")

// staffed is the store as a call of the staff sees it: it shows and changes only
// what the principal of the context may see, holds a licence against the revision
// that the caller knows, keeps what an idempotency key has made in the same
// transaction, and undoes what a dry run has decided. Without a call it is the
// store below.
type staffed struct {
	store.Store // a settled one
	// market names the product of a marketplace's product.
	market map[string]string
	keys   *callKeys
}

// View runs fn on what the call of ctx may see.
func (s staffed) View(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	c := CallOf(ctx)
	if c == nil || !c.Principal.Scoped() {
		return s.Store.View(ctx, fn)
	}
	return s.Store.View(ctx, func(ctx context.Context, tx store.Tx) error { return fn(ctx, s.tx(tx, c)) })
}

// Update runs fn on what the call of ctx may see and change.
func (s staffed) Update(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	c := CallOf(ctx)
	if c == nil {
		return s.Store.Update(ctx, fn)
	}
	var t *staffTx
	err := s.Store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		t = s.tx(tx, c)
		if err := s.keys.claim(ctx, tx, c); err != nil {
			return err
		}
		if err := fn(ctx, t); err != nil {
			return err
		}
		if c.DryRun {
			return errTried
		}
		return s.keys.record(ctx, tx, c, t.made)
	})
	if c.DryRun && errors.Is(err, errTried) {
		return nil
	}
	if err == nil {
		c.key.wrote(t.made)
		if len(t.made.Changed) > 0 {
			c.Match = Match{} // the revision is one that the call itself has made
		}
	}
	return err
}

func (s staffed) tx(tx store.Tx, c *Call) *staffTx {
	return &staffTx{Tx: tx, p: c.Principal, match: c.Match, market: s.market, products: make(map[string]string)}
}

// staffTx is one transaction of a call. Every method of store.Tx is either here or
// named by a test as one that shows nothing of a product.
type staffTx struct {
	store.Tx
	p        Principal
	match    Match
	market   map[string]string
	products map[string]string // of the licences seen
	made     Made
}

// Made is what a call has made or changed.
type Made struct {
	Licenses []string     `json:"licenses,omitzero"` // ids of new ones, in the order in which they were made
	Changed  []string     `json:"changed,omitzero"`  // ids of those that were there
	Installs [][2]string  `json:"installs,omitzero"` // licence and install
	Orders   []OrderNamed `json:"orders,omitzero"`
	Jobs     []string     `json:"jobs,omitzero"`
}

// OrderNamed names one line of an order.
type OrderNamed struct {
	Channel string `json:"channel"`
	ID      string `json:"id"`
	Line    string `json:"line"`
}

func (m *Made) add(o Made) {
	m.Licenses = append(m.Licenses, o.Licenses...)
	m.Changed = append(m.Changed, o.Changed...)
	m.Installs = append(m.Installs, o.Installs...)
	m.Orders = append(m.Orders, o.Orders...)
	m.Jobs = append(m.Jobs, o.Jobs...)
}

func hidden() error { return license.Errorf(license.NotFound, "there is no such record") }

func outside(product string) error {
	return license.Errorf(license.Forbidden, "this token is for other products than %q", printable(product))
}

// seen notes the product of a licence, holds it against the revision that the
// caller knows, and hides it where it is out of scope.
func (t *staffTx) seen(l license.License, err error) (license.License, error) {
	if err != nil {
		return l, err
	}
	t.products[l.ID] = l.Product
	if !t.p.Sees(l.Product) {
		return license.License{}, hidden()
	}
	if t.match.Revision != 0 && t.match.License == l.ID && t.match.Revision != l.Revision && len(t.made.Changed) == 0 {
		return license.License{}, &RevisionError{Given: t.match.Revision, Current: l}
	}
	return l, nil
}

// sees reports whether the licence with an id belongs to what is seen.
func (t *staffTx) sees(ctx context.Context, id string) (bool, error) {
	if !t.p.Scoped() {
		return true, nil
	}
	product, known := t.products[id]
	if !known {
		l, err := t.Tx.License(ctx, id)
		if errors.Is(err, license.NotFound) || errors.Is(err, license.BadRequest) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		product = l.Product
		t.products[id] = product
	}
	return t.p.Sees(product), nil
}

// must hides what belongs to a licence that is out of scope.
func (t *staffTx) must(ctx context.Context, id string) error {
	ok, err := t.sees(ctx, id)
	if err == nil && !ok {
		err = hidden()
	}
	return err
}

// License reads one that is seen.
func (t *staffTx) License(ctx context.Context, id string) (license.License, error) {
	return t.seen(t.Tx.License(ctx, id))
}

// LicenseByCode reads one that is seen.
func (t *staffTx) LicenseByCode(ctx context.Context, index []byte) (license.License, error) {
	return t.seen(t.Tx.LicenseByCode(ctx, index))
}

// CreateLicense makes one of a product that is seen.
func (t *staffTx) CreateLicense(ctx context.Context, l license.License) error {
	if !t.p.Sees(l.Product) {
		return outside(l.Product)
	}
	if err := t.Tx.CreateLicense(ctx, l); err != nil {
		return err
	}
	t.products[l.ID] = l.Product
	t.made.Licenses = append(t.made.Licenses, l.ID)
	return nil
}

// UpdateLicense changes one that is seen, and leaves it so.
func (t *staffTx) UpdateLicense(ctx context.Context, l license.License) error {
	if err := t.must(ctx, l.ID); err != nil {
		return err
	}
	if !t.p.Sees(l.Product) {
		return outside(l.Product)
	}
	if err := t.Tx.UpdateLicense(ctx, l); err != nil {
		return err
	}
	t.products[l.ID] = l.Product
	t.made.Changed = append(t.made.Changed, l.ID)
	return nil
}

// morePages is how many pages of a list are looked through for what is seen before
// a short one is returned.
const morePages = 8

// filtered fills a page of a list with what is seen. The cursor is that of the
// list, so a page can be short, or empty, and have a next one.
func filtered[T any](p Page, list func(Page) ([]T, string, error), sees func(T) (bool, error)) (out []T, next string, err error) {
	for range morePages {
		var found []T
		rest := p
		rest.Limit = p.Size() - len(out)
		if found, next, err = list(rest); err != nil {
			return nil, "", err
		}
		for _, x := range found {
			ok, err := sees(x)
			if err != nil {
				return nil, "", err
			}
			if ok {
				out = append(out, x)
			}
		}
		if next == "" || len(out) >= p.Size() {
			break
		}
		p.Cursor = next
	}
	return out, next, nil
}

// Licenses lists those that are seen.
func (t *staffTx) Licenses(ctx context.Context, f store.Filter, p store.Page) ([]license.License, string, error) {
	if !t.p.Scoped() {
		return t.Tx.Licenses(ctx, f, p)
	}
	switch {
	case f.Product == "" && len(t.p.Products) == 1:
		f.Product = t.p.Products[0]
	case f.Product != "" && !t.p.Sees(f.Product):
		return nil, "", nil
	}
	return filtered(p, func(p Page) ([]license.License, string, error) { return t.Tx.Licenses(ctx, f, p) },
		func(l license.License) (bool, error) {
			t.products[l.ID] = l.Product
			return t.p.Sees(l.Product), nil
		})
}

// Install reads one of a licence that is seen.
func (t *staffTx) Install(ctx context.Context, licenseID, installID string) (license.Install, error) {
	if err := t.must(ctx, licenseID); err != nil {
		return license.Install{}, err
	}
	return t.Tx.Install(ctx, licenseID, installID)
}

// Installs lists those of a licence that is seen.
func (t *staffTx) Installs(ctx context.Context, licenseID string) ([]license.Install, error) {
	if ok, err := t.sees(ctx, licenseID); err != nil || !ok {
		return nil, err
	}
	return t.Tx.Installs(ctx, licenseID)
}

// LiveInstalls lists those of a licence that is seen which have not ended.
func (t *staffTx) LiveInstalls(ctx context.Context, licenseID string) ([]license.Install, error) {
	if ok, err := t.sees(ctx, licenseID); err != nil || !ok {
		return nil, err
	}
	return t.Tx.LiveInstalls(ctx, licenseID)
}

// CreateInstall adds one to a licence that is seen.
func (t *staffTx) CreateInstall(ctx context.Context, i license.Install) error {
	if err := t.must(ctx, i.LicenseID); err != nil {
		return err
	}
	if err := t.Tx.CreateInstall(ctx, i); err != nil {
		return err
	}
	t.made.Installs = append(t.made.Installs, [2]string{i.LicenseID, i.ID})
	return nil
}

// UpdateInstall changes one of a licence that is seen.
func (t *staffTx) UpdateInstall(ctx context.Context, i license.Install) error {
	if err := t.must(ctx, i.LicenseID); err != nil {
		return err
	}
	if err := t.Tx.UpdateInstall(ctx, i); err != nil {
		return err
	}
	t.made.Installs = append(t.made.Installs, [2]string{i.LicenseID, i.ID})
	return nil
}

// Events lists those about what is seen.
func (t *staffTx) Events(ctx context.Context, f store.EventFilter, p store.Page) ([]license.AuditEvent, string, error) {
	if !t.p.Scoped() {
		return t.Tx.Events(ctx, f, p)
	}
	return filtered(p, func(p Page) ([]license.AuditEvent, string, error) { return t.Tx.Events(ctx, f, p) },
		func(e license.AuditEvent) (bool, error) {
			if e.License != "" {
				return t.sees(ctx, e.License)
			}
			return e.Product != "" && t.p.Sees(e.Product), nil
		})
}

// EventLines are of all products: an export with gaps would not verify.
func (t *staffTx) EventLines(ctx context.Context, f store.EventFilter, p store.Page) ([][]byte, string, error) {
	if t.p.Scoped() {
		return nil, "", ofAll()
	}
	return t.Tx.EventLines(ctx, f, p)
}

// Records are those of the whole store.
func (t *staffTx) Records(ctx context.Context, kind store.RecordKind, p store.Page) ([]store.Record, string, error) {
	if t.p.Scoped() {
		return nil, "", ofAll()
	}
	return t.Tx.Records(ctx, kind, p)
}

// PutRecord is for whoever is responsible for all products.
func (t *staffTx) PutRecord(ctx context.Context, r store.Record) error {
	if t.p.Scoped() {
		return ofAll()
	}
	return t.Tx.PutRecord(ctx, r)
}

// EraseEvents is for whoever is responsible for all products.
func (t *staffTx) EraseEvents(ctx context.Context, positions ...int64) (erased int, err error) {
	if t.p.Scoped() {
		return 0, ofAll()
	}
	return t.Tx.EraseEvents(ctx, positions...)
}

func ofAll() error {
	return license.Errorf(license.Forbidden, "this is about all products, and the token is for some")
}

// Job reads one about a licence that is seen.
func (t *staffTx) Job(ctx context.Context, id string) (license.Job, error) {
	j, err := t.Tx.Job(ctx, id)
	if err == nil {
		err = t.must(ctx, j.License)
	}
	if err != nil {
		return license.Job{}, err
	}
	return j, nil
}

// CreateJob writes one about a licence that is seen.
func (t *staffTx) CreateJob(ctx context.Context, j license.Job) error {
	return t.changeJob(ctx, j, t.Tx.CreateJob)
}

// UpdateJob changes one about a licence that is seen.
func (t *staffTx) UpdateJob(ctx context.Context, j license.Job) error {
	return t.changeJob(ctx, j, t.Tx.UpdateJob)
}

func (t *staffTx) changeJob(ctx context.Context, j license.Job, write func(context.Context, license.Job) error) error {
	if err := t.must(ctx, j.License); err != nil {
		return err
	}
	if err := write(ctx, j); err != nil {
		return err
	}
	t.made.Jobs = append(t.made.Jobs, j.ID)
	return nil
}

// DeleteJob removes one about a licence that is seen.
func (t *staffTx) DeleteJob(ctx context.Context, j license.Job) error {
	if t.p.Scoped() {
		if _, err := t.Job(ctx, j.ID); err != nil {
			return err
		}
	}
	if err := t.Tx.DeleteJob(ctx, j); err != nil {
		return err
	}
	t.made.Jobs = append(t.made.Jobs, j.ID)
	return nil
}

// DueJobs is for the outbox, which no principal with a scope runs.
func (t *staffTx) DueJobs(ctx context.Context, now time.Time, limit int) ([]license.Job, time.Time, error) {
	if t.p.Scoped() {
		return nil, time.Time{}, nil
	}
	return t.Tx.DueJobs(ctx, now, limit)
}

// Jobs lists those about licences that are seen.
func (t *staffTx) Jobs(ctx context.Context, f store.JobFilter, p store.Page) ([]license.Job, string, error) {
	if !t.p.Scoped() {
		return t.Tx.Jobs(ctx, f, p)
	}
	return filtered(p, func(p Page) ([]license.Job, string, error) { return t.Tx.Jobs(ctx, f, p) },
		func(j license.Job) (bool, error) { return t.sees(ctx, j.License) })
}

// seesOrder reports whether an order is for what is seen: by the licence that was
// made for it, else by what was ordered.
func (t *staffTx) seesOrder(ctx context.Context, o license.Order) (bool, error) {
	switch {
	case !t.p.Scoped():
		return true, nil
	case o.License != "":
		return t.sees(ctx, o.License)
	}
	product, known := t.market[o.Product]
	return known && t.p.Sees(product), nil
}

// Order reads one that is seen.
func (t *staffTx) Order(ctx context.Context, channel, id, line string) (license.Order, error) {
	o, err := t.Tx.Order(ctx, channel, id, line)
	if err != nil {
		return o, err
	}
	if ok, err := t.seesOrder(ctx, o); err != nil || !ok {
		return license.Order{}, errors.Join(err, hidden())
	}
	return o, nil
}

// CreateOrder writes one for what is seen.
func (t *staffTx) CreateOrder(ctx context.Context, o license.Order) error {
	return t.changeOrder(ctx, o, func() error { return t.Tx.CreateOrder(ctx, o) })
}

// UpdateOrder changes one that is seen, and leaves it so.
func (t *staffTx) UpdateOrder(ctx context.Context, o license.Order) error {
	if err := t.mustOrder(ctx, o.Channel, o.ID, o.Line); err != nil {
		return err
	}
	return t.changeOrder(ctx, o, func() error { return t.Tx.UpdateOrder(ctx, o) })
}

// RenameOrder changes one that is seen.
func (t *staffTx) RenameOrder(ctx context.Context, o license.Order, line string) error {
	if err := t.mustOrder(ctx, o.Channel, o.ID, o.Line); err != nil {
		return err
	}
	named := o
	named.Line = line
	return t.changeOrder(ctx, named, func() error { return t.Tx.RenameOrder(ctx, o, line) })
}

// mustOrder hides an order that is out of scope.
func (t *staffTx) mustOrder(ctx context.Context, channel, id, line string) error {
	if !t.p.Scoped() {
		return nil
	}
	_, err := t.Order(ctx, channel, id, line)
	return err
}

func (t *staffTx) changeOrder(ctx context.Context, o license.Order, write func() error) error {
	ok, err := t.seesOrder(ctx, o)
	if err != nil {
		return err
	}
	if !ok {
		return outside(o.Product)
	}
	if err := write(); err != nil {
		return err
	}
	t.made.Orders = append(t.made.Orders, OrderNamed{Channel: o.Channel, ID: o.ID, Line: o.Line})
	return nil
}

// Orders lists those that are seen.
func (t *staffTx) Orders(ctx context.Context, f store.OrderFilter, p store.Page) ([]license.Order, string, error) {
	if !t.p.Scoped() {
		return t.Tx.Orders(ctx, f, p)
	}
	return filtered(p, func(p Page) ([]license.Order, string, error) { return t.Tx.Orders(ctx, f, p) },
		func(o license.Order) (bool, error) { return t.seesOrder(ctx, o) })
}

// callKeys keeps what calls with an idempotency key have made.
type callKeys struct {
	a *Authority

	mu     sync.Mutex
	busy   map[string]bool // keys of calls under way
	cursor string          // how far old records were looked for
}
