package boltstore

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// A page looks at so many records at most, and then ends early: a long one would
// hold up its caller, and keep what it may read from being written over. One that
// is passed over, for its text or for what an index says, costs a tenth of one that is read.
const (
	maxLooks = 100_000
	readLook = 10
	// backLooks is that of a page of the audit log that is listed newest first: a person
	// waits for it, who can go on from there.
	backLooks = 20_000
)

// scanStep is after how many records a long scan looks whether anybody still waits for it.
const scanStep = 1024

// walk goes a way from where the page begins and gives every record that holds
// all needles to take, which says whether it counts. It returns the cursor of the
// next page, empty when there is no further record. A page that has looked at many
// ends early. id tells the cursors of a list from those of others.
func walk(ctx context.Context, c way, id bucketID, p store.Page, needles [][]byte, take func(key, raw []byte) (bool, error)) (string, error) {
	return walkMost(ctx, c, id, p, maxLooks, needles, take)
}

// walkMost is walk with another number of records that a page looks at.
func walkMost(ctx context.Context, c way, id bucketID, p store.Page, most int, needles [][]byte, take func(key, raw []byte) (bool, error)) (string, error) {
	after, err := parseCursor(id, p.Cursor)
	if err != nil {
		return "", err
	}
	key, raw := c.First()
	if after != nil {
		if key, raw = c.Seek(after); bytes.Equal(key, after) {
			key, raw = c.Next()
		}
	}
	last := after
	for taken, n, looks := 0, 1, 0; key != nil; key, raw = c.Next() {
		if taken == p.Size() || looks >= most {
			return makeCursor(id, last), nil
		}
		if n++; n%scanStep == 0 && ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		last = key
		// One that an index leads to and is not there is no record: take says so.
		if looks++; isPassedOver(raw) || raw != nil && !holdsAll(raw, needles) {
			continue
		}
		looks += readLook - 1
		ok, err := take(key, raw)
		if err != nil {
			return "", err
		}
		if ok {
			taken++
		}
	}
	return "", nil
}

// needles are the texts that a record must hold somewhere to be selected, as
// they stand in its JSON. Looking for them is many times cheaper than decoding
// every record of a large store, and cannot miss one.
func needles(values ...string) [][]byte {
	var out [][]byte
	for _, v := range values {
		if v == "" {
			continue
		}
		if raw, err := encode(v); err == nil {
			out = append(out, raw)
		}
	}
	return out
}

func holdsAll(raw []byte, needles [][]byte) bool {
	for _, n := range needles {
		if !bytes.Contains(raw, n) {
			return false
		}
	}
	return true
}

// A cursor names the last key that was looked at, so it stays right while
// records are added. A checksum binds it to its list.

const cursorSum = 4 // bytes

func makeCursor(id bucketID, key []byte) string {
	raw := make([]byte, 0, cursorSum+len(key))
	raw = binary.BigEndian.AppendUint32(raw, cursorCheck(id, key))
	return base64.RawURLEncoding.EncodeToString(append(raw, key...))
}

func parseCursor(id bucketID, s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) <= cursorSum || binary.BigEndian.Uint32(raw) != cursorCheck(id, raw[cursorSum:]) {
		return nil, license.FieldErrorf("cursor", "the cursor is not one of this list")
	}
	return raw[cursorSum:], nil
}

func cursorCheck(id bucketID, key []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte(layout[id].name)), crc32.IEEETable, key)
}
