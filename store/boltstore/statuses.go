package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func noList() error { return license.Errorf(license.NotFound, "there is no such status list") }

// LastStatusList returns the status list whose id is the greatest.
func (t *txn) LastStatusList(context.Context) (license.StatusList, error) {
	if err := t.readable(); err != nil {
		return license.StatusList{}, err
	}
	key, raw := t.b.get(bucketLists).Cursor().Last()
	if key == nil {
		return license.StatusList{}, noList()
	}
	return decodeList(key, raw)
}

// StatusList returns a status list.
func (t *txn) StatusList(_ context.Context, id string) (license.StatusList, error) {
	if err := t.readable(); err != nil {
		return license.StatusList{}, err
	}
	raw := t.b.get(bucketLists).Get([]byte(id))
	if raw == nil {
		return license.StatusList{}, noList()
	}
	return decodeList([]byte(id), raw)
}

// StatusLists returns all of them in the order of their ids.
func (t *txn) StatusLists(context.Context) ([]license.StatusList, error) {
	if err := t.readable(); err != nil {
		return nil, err
	}
	var out []license.StatusList
	c := t.b.get(bucketLists).Cursor()
	for key, raw := c.First(); key != nil; key, raw = c.Next() {
		l, err := decodeList(key, raw)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func decodeList(key, raw []byte) (license.StatusList, error) {
	var l license.StatusList
	err := decode(bucketLists, key, raw, &l)
	return l, err
}

// PutStatusList stores or replaces a status list.
func (t *txn) PutStatusList(_ context.Context, l license.StatusList) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("id", l.ID)); err != nil {
		return err
	}
	l.SignedAt = l.SignedAt.UTC()
	raw, err := encode(l)
	if err != nil {
		return err
	}
	return t.put(bucketLists, []byte(l.ID), raw)
}

// An entry is keyed by its list, a zero byte and its index, big-endian; its
// value is the status, and where it waits the seconds of FinalAt, big-endian.

func entryKey(list string, index int) []byte {
	key := make([]byte, 0, len(list)+5)
	key = append(key, list...)
	key = append(key, 0)
	return binary.BigEndian.AppendUint32(key, uint32(index))
}

const maxIndex = 1<<31 - 1

// StatusEntry returns what stands at an index of a list.
func (t *txn) StatusEntry(_ context.Context, list string, index int) (license.StatusEntry, error) {
	if err := t.readable(); err != nil {
		return license.StatusEntry{}, err
	}
	if index < 0 || index > maxIndex {
		return license.StatusEntry{Index: index}, nil
	}
	key := entryKey(list, index)
	raw := t.b.get(bucketStatuses).Get(key)
	if raw == nil {
		return license.StatusEntry{Index: index}, nil
	}
	return decodeEntry(key, raw)
}

// StatusEntries returns all that are not the zero Status, by index.
func (t *txn) StatusEntries(_ context.Context, list string) ([]license.StatusEntry, error) {
	if err := t.readable(); err != nil {
		return nil, err
	}
	prefix := append([]byte(list), 0)
	c := t.b.get(bucketStatuses).Cursor()
	var out []license.StatusEntry
	for key, raw := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, raw = c.Next() {
		if len(key) != len(prefix)+4 {
			return nil, unreadable(bucketStatuses, key)
		}
		e, err := decodeEntry(key, raw)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// PutStatusEntry stores, replaces or, where it is the zero Status, removes an entry.
func (t *txn) PutStatusEntry(_ context.Context, list string, e license.StatusEntry) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("list", list)); err != nil {
		return err
	}
	switch {
	case e.Index < 0 || e.Index > maxIndex:
		return license.FieldErrorf("index", "the index %d is out of range", e.Index)
	case t.b.get(bucketLists).Get([]byte(list)) == nil:
		return noList()
	case e.Status == license.StatusValid:
		return t.remove(bucketStatuses, entryKey(list, e.Index))
	}
	value := []byte{byte(e.Status)}
	if !e.FinalAt.IsZero() {
		value = binary.BigEndian.AppendUint64(value, uint64(e.FinalAt.Unix()))
	}
	return t.put(bucketStatuses, entryKey(list, e.Index), value)
}

func decodeEntry(key, raw []byte) (license.StatusEntry, error) {
	at := bytes.LastIndexByte(key[:max(len(key)-4, 0)], 0)
	if at < 0 || at != len(key)-5 || len(raw) != 1 && len(raw) != 9 {
		return license.StatusEntry{}, unreadable(bucketStatuses, key)
	}
	e := license.StatusEntry{Index: int(binary.BigEndian.Uint32(key[len(key)-4:])), Status: license.ListStatus(raw[0])}
	if len(raw) == 9 {
		e.FinalAt = time.Unix(int64(binary.BigEndian.Uint64(raw[1:])), 0).UTC()
	}
	return e, nil
}
