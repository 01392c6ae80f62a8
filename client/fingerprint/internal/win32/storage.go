package win32

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
)

// The kinds of buses (STORAGE_BUS_TYPE) whose disks are built in. USB, IEEE
// 1394 and SD are carried from machine to machine; fibre channel, iSCSI and
// NVMe over fabrics reach disks that several machines may share; the others
// are made by software.
const (
	busSCSI = 0x1
	busATA  = 0x3
	busRAID = 0x8
	busSAS  = 0xa
	busSATA = 0xb
	busMMC  = 0xd
	busNVMe = 0x11
	busSCM  = 0x12
	busUFS  = 0x13
)

func builtIn(bus uint32) bool {
	switch bus {
	case busSCSI, busATA, busRAID, busSAS, busSATA, busMMC, busNVMe, busSCM, busUFS:
		return true
	}
	return false
}

// serial returns what tells a disk from others, "" for one that is not built
// in: its serial, else its worldwide name.
func (d Disk) serial() string {
	device, err := parseDevice(d.Device)
	if err != nil || device.removable || !builtIn(device.bus) {
		return ""
	}
	if s := strings.TrimSpace(device.serial); s != "" {
		return s
	}
	return worldwideName(d.IDs)
}

// device is the part of a STORAGE_DEVICE_DESCRIPTOR that counts.
type device struct {
	removable bool
	bus       uint32
	serial    string
}

// parseDevice reads a STORAGE_DEVICE_DESCRIPTOR, in which numbers have four
// bytes and texts end with a zero.
func parseDevice(b []byte) (device, error) {
	const header = 36
	if len(b) < header {
		return device{}, errors.New("the descriptor of a disk is cut short")
	}
	if size := binary.LittleEndian.Uint32(b[4:]); size >= header && uint64(size) < uint64(len(b)) {
		b = b[:size]
	}
	d := device{removable: b[10] != 0, bus: binary.LittleEndian.Uint32(b[28:])}
	if at := binary.LittleEndian.Uint32(b[24:]); at >= header && uint64(at) < uint64(len(b)) { // else there is none
		text, _, _ := bytes.Cut(b[at:], []byte{0})
		d.serial = string(text)
	}
	return d, nil
}

// Values of STORAGE_IDENTIFIER_CODE_SET, _TYPE and STORAGE_ASSOCIATION_TYPE.
const (
	codeBinary  = 1
	idEUI64     = 2
	idNAA       = 3
	ofTheDevice = 0
)

// worldwideName returns the first name of a STORAGE_DEVICE_ID_DESCRIPTOR that
// is unique by its form, written as Linux writes it: naa.… or eui.…; "" where
// there is none.
func worldwideName(b []byte) string {
	const header, entry = 12, 16
	if len(b) < header {
		return ""
	}
	count := min(binary.LittleEndian.Uint32(b[8:]), 64)
	b = b[header:]
	for range count {
		if len(b) < entry {
			return ""
		}
		codeSet, kind := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		size, next := int(binary.LittleEndian.Uint16(b[8:])), int(binary.LittleEndian.Uint16(b[10:]))
		if entry+size > len(b) {
			return ""
		}
		if codeSet == codeBinary && binary.LittleEndian.Uint32(b[12:]) == ofTheDevice && size >= 8 {
			switch kind {
			case idNAA:
				return "naa." + hex.EncodeToString(b[entry:entry+size])
			case idEUI64:
				return "eui." + hex.EncodeToString(b[entry:entry+size])
			}
		}
		if next < entry || next > len(b) {
			return ""
		}
		b = b[next:]
	}
	return ""
}
