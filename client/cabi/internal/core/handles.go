package core

import (
	"crypto/rand"
	"encoding/binary"
	"sync"

	"github.com/seed-357fa782/licensed/client"
)

// table holds what the handles of the caller stand for. A handle is a random
// number, so that one that was made up, or closed, stands for nothing.
type table struct {
	mu       sync.RWMutex
	guards   map[uint64]*client.Guard
	licenses map[uint64]*client.License
}

var handles = table{guards: map[uint64]*client.Guard{}, licenses: map[uint64]*client.License{}}

// add returns a new handle of a guard or a licence.
func (t *table) add(v any) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		handle := binary.NativeEndian.Uint64(b[:])
		if handle == 0 || t.guards[handle] != nil || t.licenses[handle] != nil {
			continue
		}
		switch v := v.(type) {
		case *client.Guard:
			t.guards[handle] = v
		case *client.License:
			t.licenses[handle] = v
		}
		return handle
	}
}

// remove returns what a handle stood for, nil where that was nothing.
func (t *table) remove(handle uint64) any {
	t.mu.Lock()
	defer t.mu.Unlock()
	if g, ok := t.guards[handle]; ok {
		delete(t.guards, handle)
		return g
	}
	if l, ok := t.licenses[handle]; ok {
		delete(t.licenses, handle)
		return l
	}
	return nil
}

func guardOf(handle uint64) (*client.Guard, bool) {
	handles.mu.RLock()
	defer handles.mu.RUnlock()
	g, ok := handles.guards[handle]
	return g, ok
}

func licenseOf(handle uint64) (*client.License, bool) {
	handles.mu.RLock()
	defer handles.mu.RUnlock()
	l, ok := handles.licenses[handle]
	return l, ok
}
