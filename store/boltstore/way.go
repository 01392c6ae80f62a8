package boltstore

import (
	"bytes"

	bolt "go.etcd.io/bbolt"
)

// way is a way through keys in their order: a cursor of bbolt, which knows no
// others, or one made of such.
type way interface {
	First() (key, value []byte)
	// Seek goes to the first key that is not before the given one.
	Seek(key []byte) (k, value []byte)
	Next() (key, value []byte)
}

// within is the part of a way whose keys begin with a prefix.
type within struct {
	way
	prefix []byte
}

func (w within) First() (key, value []byte) { return w.part(w.way.Seek(w.prefix)) }

func (w within) Seek(key []byte) (k, value []byte) {
	if bytes.Compare(key, w.prefix) < 0 {
		key = w.prefix
	}
	return w.part(w.way.Seek(key))
}

func (w within) Next() (key, value []byte) { return w.part(w.way.Next()) }

func (w within) part(key, value []byte) (k, v []byte) {
	if !bytes.HasPrefix(key, w.prefix) {
		return nil, nil
	}
	return key, value
}

// behind is the part of a way that comes after a key.
type behind struct {
	way
	after []byte
}

func (b behind) First() (key, value []byte) {
	key, value = b.way.Seek(b.after)
	if bytes.Equal(key, b.after) {
		return b.Next()
	}
	return key, value
}

func (b behind) Seek(key []byte) (k, value []byte) {
	if bytes.Compare(key, b.after) <= 0 {
		return b.First()
	}
	return b.way.Seek(key)
}

// under is the part of a way whose keys begin with a prefix, which is cut off.
type under struct {
	way
	prefix []byte
}

func (u under) First() (key, value []byte) { return u.part(u.way.Seek(u.prefix)) }

func (u under) Seek(key []byte) (k, value []byte) {
	return u.part(u.way.Seek(append(bytes.Clone(u.prefix), key...)))
}

func (u under) Next() (key, value []byte) { return u.part(u.way.Next()) }

func (u under) part(key, value []byte) (k, v []byte) {
	if !bytes.HasPrefix(key, u.prefix) {
		return nil, nil
	}
	return key[len(u.prefix):], value
}

// between is the part of a way whose keys begin with something from one text to
// another, both of them in it.
type between struct {
	way
	from, to []byte
}

func (b between) First() (key, value []byte) { return b.part(b.way.Seek(b.from)) }

func (b between) Seek(key []byte) (k, value []byte) {
	if bytes.Compare(key, b.from) < 0 {
		key = b.from
	}
	return b.part(b.way.Seek(key))
}

func (b between) Next() (key, value []byte) { return b.part(b.way.Next()) }

func (b between) part(key, value []byte) (k, v []byte) {
	if bytes.Compare(key[:min(len(key), len(b.to))], b.to) > 0 {
		return nil, nil
	}
	return key, value
}

// recorded is a way through an index: its keys, and the records whose ids stand
// in them behind what is skipped. Where there is no such record the value is nil,
// and passedOver where only keys of another value are wanted: the record is not
// looked at then.
type recorded struct {
	way
	skip    int
	only    []byte // nil: all
	records *bolt.Bucket
}

// passedOver stands for a record that is not wanted. It is known by where it lies.
var passedOver = []byte{0} //nolint:gochecknoglobals // a constant

func isPassedOver(raw []byte) bool { return len(raw) == 1 && &raw[0] == &passedOver[0] }

func (r *recorded) First() (key, value []byte) { return r.record(r.way.First()) }

func (r *recorded) Seek(key []byte) (k, value []byte) { return r.record(r.way.Seek(key)) }

func (r *recorded) Next() (key, value []byte) { return r.record(r.way.Next()) }

func (r *recorded) record(key, indexed []byte) (k, value []byte) {
	switch {
	case len(key) <= r.skip:
		return key, nil
	case r.only != nil && !bytes.Equal(indexed, r.only):
		return key, passedOver
	}
	return key, r.records.Get(key[r.skip:])
}

// merged goes several ways at once.
type merged []branch

// branch is a way, and where on it one is.
type branch struct {
	c          way
	key, value []byte // nil at the end
}

func (m merged) First() (key, value []byte) {
	for i := range m {
		m[i].key, m[i].value = m[i].c.First()
	}
	return m.at()
}

func (m merged) Seek(key []byte) (k, value []byte) {
	for i := range m {
		m[i].key, m[i].value = m[i].c.Seek(key)
	}
	return m.at()
}

func (m merged) Next() (key, value []byte) {
	if next := m.next(); next != nil {
		next.key, next.value = next.c.Next()
	}
	return m.at()
}

func (m merged) at() (key, value []byte) {
	if next := m.next(); next != nil {
		return next.key, next.value
	}
	return nil, nil
}

// next is the branch whose key comes first, nil at the end of all.
func (m merged) next() *branch {
	var first *branch
	for i := range m {
		if b := &m[i]; b.key != nil && (first == nil || bytes.Compare(b.key, first.key) < 0) {
			first = b
		}
	}
	return first
}
