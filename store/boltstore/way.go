package boltstore

import "bytes"

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

// merged goes two ways at once.
type merged struct{ a, b branch }

// branch is a way, and where on it one is.
type branch struct {
	c          way
	key, value []byte // nil at the end
}

func (m *merged) First() (key, value []byte) {
	m.a.key, m.a.value = m.a.c.First()
	m.b.key, m.b.value = m.b.c.First()
	return m.at()
}

func (m *merged) Seek(key []byte) (k, value []byte) {
	m.a.key, m.a.value = m.a.c.Seek(key)
	m.b.key, m.b.value = m.b.c.Seek(key)
	return m.at()
}

func (m *merged) Next() (key, value []byte) {
	if next := m.next(); next.key != nil {
		next.key, next.value = next.c.Next()
	}
	return m.at()
}

func (m *merged) at() (key, value []byte) {
	next := m.next()
	return next.key, next.value
}

// next is the branch whose key comes first.
func (m *merged) next() *branch {
	if m.a.key == nil || m.b.key != nil && bytes.Compare(m.b.key, m.a.key) < 0 {
		return &m.b
	}
	return &m.a
}
