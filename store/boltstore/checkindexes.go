package boltstore

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/seed-357fa782/licensed/license"
)

// indexed checks that a licence is found in every way.
func (c *checker) indexed(l license.License) error {
	c.expected[bucketStanding]++
	if value := c.b.get(bucketStanding).Get(standingKey(l)); value == nil || !bytes.Equal(value, standingValue(l)) {
		return errors.New("it is not listed by its state and end")
	}
	return namesOf(l).each(func(kind lookup, value string) error {
		c.expected[bucketLookups]++
		if c.b.get(bucketLookups).Get(lookupKey(kind, value, l.ID)) == nil {
			return fmt.Errorf("it is not listed by its %s", kind)
		}
		return nil
	})
}

// indexes checks that nothing else is in the indexes. Where the numbers of keys
// are right that follows, and nothing need be read again.
func (c *checker) indexes() {
	for id, of := range map[bucketID]func(key []byte) error{bucketStanding: c.standing, bucketLookups: c.lookup} {
		keys := 0
		c.each(id, func([]byte, []byte) error { keys++; return nil })
		if keys != c.expected[id] || c.count > 0 {
			c.each(id, func(key, _ []byte) error { return of(key) })
		}
	}
}

func (c *checker) standing(key []byte) error {
	if len(key) <= 1+endLen {
		return errors.New("the key is too short")
	}
	l, err := c.license(key[1+endLen:])
	if err == nil && string(standingKey(l)) != string(key) {
		return fmt.Errorf("licence %q has another state or end", l.ID)
	}
	return err
}

func (c *checker) lookup(key []byte) error {
	// No value holds a zero byte here, and no id one.
	value, id, ok := cutLookup(key)
	if !ok {
		return errors.New("the key cannot be read")
	}
	l, err := c.license(id)
	if err != nil {
		return err
	}
	kind := lookup(key[0])
	if name := namesOf(l).of(kind); name == "" || string(lookupPrefix(kind, name)) != string(value) {
		return fmt.Errorf("licence %q has another %s", l.ID, kind)
	}
	return nil
}

func (c *checker) license(id []byte) (license.License, error) {
	var l license.License
	raw := c.b.get(bucketLicenses).Get(id)
	if raw == nil {
		return l, fmt.Errorf("there is no licence %q", id)
	}
	return l, decode(bucketLicenses, id, raw, &l)
}
