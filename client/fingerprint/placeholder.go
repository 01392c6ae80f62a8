package fingerprint

import (
	"slices"
	"strings"

	"github.com/seed-357fa782/licensed/license"
)

// placeholders are values that makers of boards, disks and hypervisors leave
// where a serial should be, in upper case and without blanks at the ends.
// Add what turns up; a value that many machines share identifies none.
func placeholders() []string {
	return []string{
		"TO BE FILLED BY O.E.M.", "TO BE FILLED BY O.E.M", "TO BE FILLED BY OEM", "O.E.M.", "OEM", "OEM SERIAL",
		"DEFAULT STRING", "DEFAULT", "SYSTEM SERIAL NUMBER", "BASE BOARD SERIAL NUMBER", "CHASSIS SERIAL NUMBER",
		"SERIAL NUMBER", "SERIAL", "SERIALNUMBER", "BSN12345678901234567", "BOARD SERIAL", "NO SERIAL NUMBER",
		"NONE", "N/A", "NA", "NULL", "NIL", "EMPTY", "UNKNOWN", "UNDEFINED", "UNINITIALIZED", "UNSPECIFIED",
		"NOT SPECIFIED", "NOT AVAILABLE", "NOT APPLICABLE", "NOT PRESENT", "NOT SET", "INVALID", "EVAL", "TEST", "SAMPLE",
		"TYPE2 - BOARD SERIAL NUMBER", "PLATFORM-SERIAL-NUMBER", "SYSTEM MANUFACTURER", "TBD", "CHANGE ME", "CHANGEME",
		"0123456789", "0123456789ABCDEF", "1234567890", "123456789", "12345678", "1234567", "123456", "12345", "1234",
		"ABCDEFGH", "1234567890ABCDEF", "03000200-0400-0500-0006-000700080009", "12345678-1234-5678-90AB-CDDEEFAABBCC",
		"FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE",
		// Network addresses that hypervisors, modems and privacy features hand out alike.
		"52:54:00:12:34:56", "02:00:00:00:00:00", "00:53:45:00:00:00", "44:45:53:54:42:00", "44:45:53:54:00:00",
		"00:11:22:33:44:55", "02:50:F2:00:00:01", "02:FC:00:00:00:01", "00:05:9A:3C:7A:00", "0C:5B:8F:27:9A:64",
		// Disks of hypervisors.
		"NVME_CARD", "NVME_CARD-PD", "DRIVE-SCSI0", "VBOX HARDDISK",
	}
}

// placeholder reports whether a value, normalized, says nothing about the machine.
func (g *gathering) placeholder(kind license.Kind, normal string) bool {
	if slices.Contains(placeholders(), normal) || repeats(normal) {
		return true
	}
	for _, p := range g.Placeholders {
		if n, ok := license.NormalizeValue(p); ok && n == normal {
			return true
		}
	}
	switch kind {
	case license.KindMAC:
		return !goodMAC(normal)
	case license.KindDisk:
		// QEMU numbers its disks QM00001 and so on, the same in every machine.
		digits, found := strings.CutPrefix(normal, "QM")
		return found && len(digits) == 5 && strings.Trim(digits, "0123456789") == ""
	case license.KindUUID:
		return !goodUUID(normal)
	case license.KindBoard, license.KindCPU, license.KindOS, license.KindCustom, license.KindCode:
	}
	return false
}

// repeats reports whether nothing but one character is left without separators,
// as in 00000000, FF:FF:FF:FF:FF:FF, XXXX-XXXX and "...".
func repeats(s string) bool {
	var seen rune
	for _, r := range s {
		switch {
		case strings.ContainsRune(" -_.:/\\", r):
		case seen == 0:
			seen = r
		case r != seen:
			return false
		}
	}
	return true
}

// goodMAC reports whether s is a 48 bit address of one adapter.
func goodMAC(s string) bool {
	if len(s) != 17 {
		return false
	}
	for i := range len(s) {
		if i%3 == 2 {
			if s[i] != ':' {
				return false
			}
		} else if !isHex(s[i]) {
			return false
		}
	}
	return strings.IndexByte("02468ACE", s[1]) >= 0 // the group bit is clear
}

// goodUUID reports whether s has the form 8-4-4-4-12.
func goodUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return false
			}
		} else if !isHex(s[i]) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' }
