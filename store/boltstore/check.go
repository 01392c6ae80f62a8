package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
)

// maxFindings is how many findings Check reports; a damaged file can have millions.
const maxFindings = 20

// Check reads the whole store and returns nil if it is sound, and what it
// found otherwise, with reason license.Damaged: bbolt's own consistency, every
// record readable and under its own key, every code index and every install
// with its licence, every licence in the indexes and nothing else in them, every place of an install and every entry in a status list
// that there is, every job in its turn and no other, every order with
// its licence, the audit log without gaps and as its hashes say.
// Writers wait meanwhile.
func (s *Store) Check(ctx context.Context) error {
	if err := s.admit(ctx); err != nil {
		return err
	}
	if err := s.trust(ctx); err != nil {
		return err
	}
	// bbolt asks that nobody writes while it checks. The gate comes before the
	// transaction: a writer that holds it may be waiting for readers to end.
	s.gate.RLock()
	defer s.gate.RUnlock()
	return s.sure(s.read(ctx, func(ctx context.Context, btx *bolt.Tx) error {
		c := checker{ctx: ctx, b: openBuckets(btx)}
		// The channel is read to its end, else bbolt's goroutine never ends.
		for err := range btx.Check() {
			c.found("bbolt: %v", err)
		}
		return c.records()
	}))
}

// checker collects findings.
type checker struct {
	ctx      context.Context //nolint:containedctx // lives for one call of Check
	b        *buckets
	lengths  map[string]int   // of the status lists
	expected [bucketCount]int // keys of the indexes of licences
	findings []error
	count    int
	read     int
}

func (c *checker) found(format string, args ...any) {
	if c.count++; c.count <= maxFindings {
		c.findings = append(c.findings, fmt.Errorf(format, args...))
	}
}

func (c *checker) result() error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if c.count == 0 {
		return nil
	}
	return license.Errorf(license.Damaged, "the check of the store found %d faults", c.count).
		WithCause(errors.Join(c.findings...))
}

// records checks every record, each bucket after those that it is checked by.
func (c *checker) records() error {
	for _, check := range []func(){c.licenses, c.indexes, c.codes, c.lists, c.installs, c.audit, c.jobs, c.turns, c.rest} {
		check()
	}
	return c.result()
}

// each gives every record of a bucket to fn until ctx ends.
func (c *checker) each(id bucketID, fn func(key, raw []byte) error) {
	cur := c.b.get(id).Cursor()
	for key, raw := cur.First(); key != nil; key, raw = cur.Next() {
		if c.read++; c.read%scanStep == 0 && c.ctx.Err() != nil {
			return
		}
		if err := fn(key, raw); err != nil {
			c.found("%s %q: %w", layout[id].name, key, err)
		}
	}
}

func (c *checker) licenses() {
	codes := c.b.get(bucketCodes)
	c.each(bucketLicenses, func(key, raw []byte) error {
		var l license.License
		if err := decode(bucketLicenses, key, raw, &l); err != nil {
			return err
		}
		switch {
		case l.ID != string(key):
			return fmt.Errorf("the record is that of %q", l.ID)
		case l.Revision < 1:
			return fmt.Errorf("its revision is %d", l.Revision)
		case !bytes.Equal(codes.Get(l.Code.Index), key):
			return errors.New("its code does not lead to it")
		}
		return c.indexed(l)
	})
}

func (c *checker) codes() {
	licenses := c.b.get(bucketLicenses)
	c.each(bucketCodes, func(key, id []byte) error {
		raw := licenses.Get(id)
		if raw == nil {
			return fmt.Errorf("there is no licence %q", id)
		}
		var l struct {
			Code license.StoredCode `json:"code"`
		}
		if err := decode(bucketLicenses, id, raw, &l); err != nil {
			return err
		}
		if !bytes.Equal(l.Code.Index, key) {
			return fmt.Errorf("licence %q has another code", id)
		}
		return nil
	})
}

func (c *checker) installs() {
	licenses := c.b.get(bucketLicenses)
	c.each(bucketInstalls, func(key, raw []byte) error {
		i, err := decodeInstall(key, raw)
		switch {
		case err != nil:
			return err
		case !bytes.Equal(key, installKey(i.LicenseID, i.ID)):
			return fmt.Errorf("the record is that of %q of %q", i.ID, i.LicenseID)
		case licenses.Get([]byte(i.LicenseID)) == nil:
			return fmt.Errorf("there is no licence %q", i.LicenseID)
		}
		return c.place(i.Status)
	})
}

func (c *checker) audit() {
	var head license.AuditHead
	c.each(bucketAudit, func(key, raw []byte) error {
		line, err := parseLine(key, raw)
		if err != nil {
			return err
		}
		if _, err := line.Event(); err != nil {
			return err
		}
		next, fault := head.Follow(line)
		head = line.Head() // the next one is judged by this, whatever is wrong with it
		if fault != nil {
			return fault
		}
		head = next
		return nil
	})
}

func (c *checker) rest() {
	c.each(bucketPending, func(key, raw []byte) error {
		var p license.Pending
		if err := decode(bucketPending, key, raw, &p); err != nil {
			return err
		}
		if !bytes.Equal(key, pendingKey(p.Channel, p.CodeIndex)) {
			return errors.New("the record is that of another code")
		}
		return nil
	})
	links := c.b.get(bucketOrdersLicense)
	c.each(bucketOrders, func(key, raw []byte) error {
		o, err := decodeOrder(key, raw)
		switch {
		case err != nil:
			return err
		case !bytes.Equal(key, orderKey(o.Channel, o.ID, o.Line)):
			return errors.New("the record is that of another order line")
		case o.Revision < 1:
			return fmt.Errorf("its revision is %d", o.Revision)
		case o.License != "" && links.Get(linkKey(o.License, key)) == nil:
			return errors.New("its licence does not lead to it")
		}
		return nil
	})
	orders := c.b.get(bucketOrders)
	c.each(bucketOrdersLicense, func(key, _ []byte) error {
		licenseID, at, _ := bytes.Cut(key, []byte{0})
		raw := orders.Get(at)
		if raw == nil {
			return errors.New("there is no such order")
		}
		switch o, err := decodeOrder(at, raw); {
		case err != nil:
			return err
		case o.License != string(licenseID):
			return fmt.Errorf("the order is linked to %q", o.License)
		}
		return nil
	})
	c.each(bucketMarks, func(key, _ []byte) error {
		if len(key) <= 8 {
			return errors.New("the mark is too short")
		}
		return nil
	})
}

// lists checks the status lists and the entries in them.
func (c *checker) lists() {
	c.lengths = make(map[string]int)
	c.each(bucketLists, func(key, raw []byte) error {
		l, err := decodeList(key, raw)
		switch {
		case err != nil:
			return err
		case l.ID != string(key):
			return fmt.Errorf("the record is that of %q", l.ID)
		case len(l.Seed) != license.StatusSeedLen, l.Length < 1, l.Next < 0, l.Next > l.Length:
			return errors.New("indexes cannot be drawn from it")
		}
		c.lengths[l.ID] = l.Length
		return nil
	})
	c.each(bucketStatuses, func(key, raw []byte) error {
		e, err := decodeEntry(key, raw)
		if err != nil {
			return err
		}
		length, ok := c.lengths[string(key[:len(key)-5])]
		switch {
		case !ok:
			return errors.New("there is no such status list")
		case e.Index >= length:
			return fmt.Errorf("the list is of %d", length)
		case e.Status == license.StatusValid, e.Status > license.StatusSuspended:
			return fmt.Errorf("the status is %d", e.Status)
		}
		return nil
	})
}

// place checks where an install is listed.
func (c *checker) place(ref license.StatusRef) error {
	length, ok := c.lengths[ref.List]
	switch {
	case ref == license.StatusRef{}:
		return nil
	case !ok:
		return fmt.Errorf("it has a place in %q, and there is no such status list", ref.List)
	case ref.Index < 0 || ref.Index >= length:
		return fmt.Errorf("it has place %d, beyond the end of its status list", ref.Index)
	}
	return nil
}
