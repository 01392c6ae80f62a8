package clienttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

// Machine is a machine for client.Options.Fingerprint. Make one with
// NewMachine. It is safe for any number of goroutines.
type Machine struct {
	mu       sync.Mutex
	name     string
	replaced map[license.Kind]int // how often
	set      fingerprint.Set
	err      error
}

// NewMachine returns a physical machine that shows one part of each kind that is
// collected. The same name gives the same machine in every run; two names have
// nothing but the processor's model in common.
func NewMachine(name string) *Machine {
	m := &Machine{name: name, replaced: map[license.Kind]int{}}
	m.set = fingerprint.Set{Environment: fingerprint.Metal, Values: map[license.Kind][]string{}}
	for _, kind := range []license.Kind{
		license.KindMAC, license.KindDisk, license.KindBoard, license.KindCPU, license.KindUUID, license.KindOS,
	} {
		m.set.Values[kind] = []string{m.part(kind)}
	}
	return m
}

// Fingerprint is what the machine shows now; it fits client.Options.Fingerprint.
func (m *Machine) Fingerprint(context.Context) (fingerprint.Set, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.set
	s.Values = make(map[license.Kind][]string, len(m.set.Values))
	for kind, values := range m.set.Values {
		s.Values[kind] = slices.Clone(values)
	}
	s.Notes = maps.Clone(m.set.Notes)
	return s, m.err
}

// Replace exchanges parts for new ones that it never had: "mac", "disk",
// "board", "cpu", "uuid" or "os". Replacing all of them makes it another machine.
func (m *Machine) Replace(kinds ...license.Kind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, kind := range kinds {
		m.replaced[kind]++
		m.set.Values[kind] = []string{m.part(kind)}
	}
}

// Remove takes parts out, or makes them unreadable: they are absent.
func (m *Machine) Remove(kinds ...license.Kind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, kind := range kinds {
		delete(m.set.Values, kind)
	}
}

// Supply has an administrator supply a machine id, as by LICENSED_MACHINE_ID;
// "" takes it away.
func (m *Machine) Supply(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id == "" {
		delete(m.set.Values, license.KindCustom)
		return
	}
	m.set.Values[license.KindCustom] = []string{id}
}

// Container makes the machine a container: it shows the processor's model, and
// an id that an administrator has supplied, and nothing else.
func (m *Machine) Container() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set.Environment = fingerprint.Container
	maps.DeleteFunc(m.set.Values, func(kind license.Kind, _ []string) bool {
		return kind != license.KindCPU && kind != license.KindCustom
	})
}

// Empty makes the machine one that shows nothing at all.
func (m *Machine) Empty() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set = fingerprint.Set{Values: map[license.Kind][]string{}}
}

// Fail has looking at the machine fail with err, until Fail(nil).
func (m *Machine) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// part makes up a value in the form of its kind.
func (m *Machine) part(kind license.Kind) string {
	if kind == license.KindCPU && m.replaced[kind] == 0 {
		return "Example CPU @ 3.00GHz"
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", m.name, kind, m.replaced[kind]))
	text := hex.EncodeToString(sum[:16])
	switch kind {
	case license.KindMAC:
		return fmt.Sprintf("3c:7c:3f:%s:%s:%s", text[:2], text[2:4], text[4:6])
	case license.KindUUID:
		return fmt.Sprintf("%s-%s-4%s-8%s-%s", text[:8], text[8:12], text[13:16], text[17:20], text[20:])
	case license.KindDisk, license.KindBoard:
		return "SN" + strings.ToUpper(text[:14])
	case license.KindCPU:
		return "Example CPU " + text[:4]
	case license.KindOS, license.KindCustom, license.KindCode:
	}
	return text
}
