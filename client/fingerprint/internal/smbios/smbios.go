// Package smbios reads the tables in which a machine's firmware describes it,
// as far as they tell one machine from another (DMTF DSP0134).
package smbios

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxSize is the size up to which a table is read, in bytes. Servers with much
// memory come to about 20 KiB.
const MaxSize = 1 << 20

// maxStructures bounds what a table can hold: handles have 16 bits.
const maxStructures = 1 << 16

// The types of structures that are read.
const (
	typeSystem    = 1
	typeBoard     = 2
	typeProcessor = 4
	typeEnd       = 127
)

// Table is what the firmware says. Texts are as they stand there, placeholders
// and blanks included.
type Table struct {
	Maker   string // of the system
	Product string
	UUID    string // 8-4-4-4-12, lower case; "" where the firmware has none
	Boards  []string
	// Processors are the ids of the processors, as 16 digits of CPUID leaf 1: EDX,
	// then EAX.
	Processors []string
}

// ParseRaw reads what Windows hands out for the provider RSMB: a header of
// eight bytes, of which the last four are the length, then the table.
func ParseRaw(raw []byte) (Table, error) {
	if len(raw) < 8 {
		return Table{}, errors.New("SMBIOS: shorter than its header")
	}
	n := binary.LittleEndian.Uint32(raw[4:])
	if uint64(n) > uint64(len(raw)-8) {
		return Table{}, errors.New("SMBIOS: shorter than its header says")
	}
	return Parse(raw[8 : 8+n])
}

// Parse reads a table. What stands before damage counts, and is returned with
// the error.
//
// The first three fields of the UUID are read as little endian, as SMBIOS 2.6
// fixed it and as Windows and Linux print it.
func Parse(table []byte) (Table, error) {
	if len(table) > MaxSize {
		return Table{}, fmt.Errorf("SMBIOS: %d bytes are more than the limit of %d", len(table), MaxSize)
	}
	var t Table
	for range maxStructures {
		if len(table) == 0 {
			return t, nil
		}
		s, rest, err := next(table)
		if err != nil {
			return t, err
		}
		switch s.formatted[0] {
		case typeSystem:
			if t.Maker == "" && t.Product == "" && t.UUID == "" {
				t.Maker, t.Product, t.UUID = s.text(4), s.text(5), s.uuid(8)
			}
		case typeBoard:
			if serial := s.text(7); serial != "" {
				t.Boards = append(t.Boards, serial)
			}
		case typeProcessor:
			if id := s.processor(8); id != "" {
				t.Processors = append(t.Processors, id)
			}
		case typeEnd:
			return t, nil
		}
		table = rest
	}
	return t, errors.New("SMBIOS: more structures than there can be")
}

// structure is one structure: its formatted part and its texts, without the
// two zero bytes behind them.
type structure struct {
	formatted []byte
	texts     []byte
}

// next cuts the first structure off a table.
func next(table []byte) (structure, []byte, error) {
	if len(table) < 4 {
		return structure{}, nil, errors.New("SMBIOS: a structure is cut short")
	}
	n := int(table[1])
	if n < 4 || n > len(table) {
		return structure{}, nil, fmt.Errorf("SMBIOS: a structure of %d bytes in %d", n, len(table))
	}
	end := bytes.Index(table[n:], []byte{0, 0})
	if end < 0 {
		return structure{}, nil, errors.New("SMBIOS: the texts of a structure do not end")
	}
	return structure{table[:n], table[n : n+end]}, table[n+end+2:], nil
}

// text returns the text whose number stands at an offset, "" for none.
func (s structure) text(offset int) string {
	if offset >= len(s.formatted) || s.formatted[offset] == 0 {
		return ""
	}
	texts := s.texts
	for range s.formatted[offset] - 1 {
		_, rest, found := bytes.Cut(texts, []byte{0})
		if !found {
			return ""
		}
		texts = rest
	}
	text, _, _ := bytes.Cut(texts, []byte{0})
	return string(text)
}

// uuid returns the UUID at an offset. All zeros mean that it is not set, all
// ones that the machine has none.
func (s structure) uuid(offset int) string {
	if offset+16 > len(s.formatted) {
		return ""
	}
	u := s.formatted[offset : offset+16]
	if len(bytes.Trim(u, "\x00")) == 0 || len(bytes.Trim(u, "\xff")) == 0 {
		return ""
	}
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", le.Uint32(u), le.Uint16(u[4:]), le.Uint16(u[6:]), u[8:10], u[10:])
}

// processor returns the processor's id at an offset, "" where the socket is
// empty or the processor is none of the x86 family and has another form of id.
func (s structure) processor(offset int) string {
	if offset+8 > len(s.formatted) {
		return ""
	}
	eax, edx := binary.LittleEndian.Uint32(s.formatted[offset:]), binary.LittleEndian.Uint32(s.formatted[offset+4:])
	if eax == 0 || edx == 0 {
		return ""
	}
	return fmt.Sprintf("%08X%08X", edx, eax)
}
