package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Licences are found by where they stand and when they end (standing), and by
// what they are called (lookups). Both follow from the records, whose other facts
// are judged by store.Filter.Match.

// class is the state of a licence as far as it follows without a clock.
type class byte

// The classes, in the order of license.StateAt. Whether a licence was activated
// stands in the value, so that an activation writes one page and not two.
const (
	classRevoked class = iota + 1
	classReleased
	classSuspended
	classOpen // issued, active or expired
)

// The values of classOpen; those of the other classes are empty.
var (
	valueIssued    = []byte{'i'} //nolint:gochecknoglobals // a constant
	valueActivated = []byte{'a'} //nolint:gochecknoglobals // a constant
)

func classOf(l license.License) class {
	switch {
	case !l.RevokedAt.IsZero():
		return classRevoked
	case !l.ReleasedAt.IsZero():
		return classReleased
	case l.Holds != 0:
		return classSuspended
	}
	return classOpen
}

func standingValue(l license.License) []byte {
	switch {
	case classOf(l) != classOpen:
		return []byte{}
	case !l.ActivatedAt.IsZero():
		return valueActivated
	}
	return valueIssued
}

// perpetual stands for the end of a licence that has none: after all others.
const perpetual = math.MaxUint64

// endLen is the length of an end in a key.
const endLen = 8

// A key of standing is the class, the second of the end and the id.

func standingKey(l license.License) []byte {
	key := make([]byte, 0, 1+endLen+len(l.ID))
	key = append(key, byte(classOf(l)))
	if l.ExpiresAt.IsZero() {
		key = append(key, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	} else {
		key = appendSecond(key, l.ExpiresAt)
	}
	return append(key, l.ID...)
}

// lookup is what a licence is called by: each kind has its own.
type lookup byte

// The kinds of lookups.
const (
	lookupCustomer lookup = 'c'
	lookupInstance lookup = 'i'
	lookupLast4    lookup = 'l'
	lookupOrder    lookup = 'o'
)

func (k lookup) String() string {
	switch k {
	case lookupCustomer:
		return "customer"
	case lookupInstance:
		return "instance"
	case lookupLast4:
		return "last four"
	case lookupOrder:
		return "order"
	}
	return fmt.Sprintf("value of kind %d", byte(k))
}

// maxLookup is how much of a value stands in a key. Values that begin alike
// are told apart by their records.
const maxLookup = 64

// lookupPrefix is what the keys of all licences begin with that have the value:
// the kind, the value without zero bytes, which would end it, and a zero byte.
func lookupPrefix(kind lookup, value string) []byte {
	value = value[:min(len(value), maxLookup)]
	prefix := make([]byte, 0, 1+len(value)+1+32) // room for an id
	prefix = append(prefix, byte(kind))
	at := len(prefix)
	prefix = append(prefix, value...)
	if strings.IndexByte(value, 0) >= 0 {
		for i, c := range prefix[at:] {
			prefix[at+i] = max(c, 1)
		}
	}
	return append(prefix, 0)
}

func lookupKey(kind lookup, value, id string) []byte {
	return append(lookupPrefix(kind, value), id...)
}

// cutLookup parts a key into the prefix and the id.
func cutLookup(key []byte) (prefix, id []byte, ok bool) {
	at := bytes.IndexByte(key, 0) + 1
	return key[:at], key[at:], at > 2 && at < len(key)
}

// names are the values that a licence is found by.
type names struct{ customer, instance, last4, order string }

func namesOf(l license.License) names {
	return names{asText(l.Customer), asText(l.Instance), asText(l.Code.Last4), asText(l.Order)}
}

// asText is s as it comes back from its record, which is JSON.
func asText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// each gives those that there are to fn until it fails.
func (n names) each(fn func(kind lookup, value string) error) error {
	for _, v := range []struct {
		kind  lookup
		value string
	}{{lookupCustomer, n.customer}, {lookupInstance, n.instance}, {lookupLast4, n.last4}, {lookupOrder, n.order}} {
		if v.value == "" {
			continue
		}
		if err := fn(v.kind, v.value); err != nil {
			return err
		}
	}
	return nil
}

// index puts a new licence into the indexes.
func (t *txn) index(h licenseHead) error {
	if err := t.putNew(bucketStanding, h.standing, h.value); err != nil {
		return err
	}
	return h.names.each(func(kind lookup, value string) error {
		return t.putNew(bucketLookups, lookupKey(kind, value, h.ID), []byte{})
	})
}

// reindex has the indexes follow a licence that was changed. Most changes move
// no key, and none more than they must: each costs a page.
func (t *txn) reindex(was, now licenseHead) error {
	if !bytes.Equal(was.standing, now.standing) {
		if err := t.remove(bucketStanding, was.standing); err != nil {
			return err
		}
	}
	if !bytes.Equal(was.standing, now.standing) || !bytes.Equal(was.value, now.value) {
		if err := t.put(bucketStanding, now.standing, now.value); err != nil {
			return err
		}
	}
	if was.names == now.names {
		return nil
	}
	if err := was.names.each(func(kind lookup, value string) error {
		if now.names.of(kind) == value {
			return nil
		}
		return t.remove(bucketLookups, lookupKey(kind, value, was.ID))
	}); err != nil {
		return err
	}
	return now.names.each(func(kind lookup, value string) error {
		return t.put(bucketLookups, lookupKey(kind, value, now.ID), []byte{})
	})
}

func (n names) of(kind lookup) string {
	switch kind {
	case lookupCustomer:
		return n.customer
	case lookupInstance:
		return n.instance
	case lookupLast4:
		return n.last4
	case lookupOrder:
		return n.order
	}
	return ""
}

// selected is the way to the licences that a filter can select, and which list
// it goes through: that of bucketStanding in the order of ends, else in that of ids.
func (t *txn) selected(f store.Filter) (way, bucketID) {
	// The value that the fewest licences share comes first.
	for _, v := range []struct {
		kind  lookup
		value string
	}{{lookupInstance, f.Instance}, {lookupOrder, f.Order}, {lookupLast4, f.Last4}, {lookupCustomer, f.Customer}} {
		if v.value != "" {
			ids := under{t.b.get(bucketLookups).Cursor(), lookupPrefix(v.kind, v.value)}
			return &recorded{way: ids, records: t.b.get(bucketLicenses)}, bucketLicenses
		}
	}
	if f.State == "" && f.ExpiringBefore.IsZero() {
		return t.b.get(bucketLicenses).Cursor(), bucketLicenses
	}
	c := &recorded{way: t.standing(f), skip: endLen, records: t.b.get(bucketLicenses)}
	switch f.State { //nolint:exhaustive // the others are of any value
	case license.StateActive:
		c.only = valueActivated
	case license.StateIssued:
		c.only = valueIssued
	}
	return c, bucketStanding
}

// standing is the way through the ends and ids that a filter with a state or an
// end can select, without their classes.
func (t *txn) standing(f store.Filter) way {
	// Both ends of the part are in it: Match judges what ends within these seconds.
	from, to := uint64(0), uint64(perpetual)
	second := func(at time.Time) uint64 { return uint64(at.Unix()) ^ signBit }
	var classes []class
	switch f.State {
	case license.StateRevoked:
		classes = []class{classRevoked}
	case license.StateReleased:
		classes = []class{classReleased}
	case license.StateSuspended:
		classes = []class{classSuspended}
	case license.StateExpired:
		classes, to = []class{classOpen}, second(f.Now)
	case license.StateActive, license.StateIssued:
		classes, from = []class{classOpen}, second(f.Now)
	case "":
		classes = []class{classRevoked, classReleased, classSuspended, classOpen}
	default: // no licence is in it
	}
	if !f.ExpiringBefore.IsZero() {
		from, to = max(from, second(f.Now)), min(to, second(f.ExpiringBefore))
	}
	var m merged
	for _, c := range classes {
		part := between{under{t.b.get(bucketStanding).Cursor(), []byte{byte(c)}}, endKey(from), endKey(to)}
		m = append(m, branch{c: part})
	}
	return m
}

func endKey(second uint64) []byte { return binary.BigEndian.AppendUint64(nil, second) }

// indexLicenses is the step of an upgrade that fills the indexes.
func indexLicenses(*buckets, []byte) (convert, error) {
	return func(key, raw []byte, put putFunc) error {
		var l license.License
		if decode(bucketLicenses, key, raw, &l) != nil || l.ID != string(key) {
			return errUnreadable
		}
		put(bucketStanding, standingKey(l), standingValue(l))
		return namesOf(l).each(func(kind lookup, value string) error {
			put(bucketLookups, lookupKey(kind, value, l.ID), []byte{})
			return nil
		})
	}, nil
}
