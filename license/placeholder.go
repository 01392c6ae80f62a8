package license

import (
	"slices"
	"strings"
)

// placeholders are values that makers of boards, disks and hypervisors leave
// where a serial should be, in upper case and without blanks at the ends.
// Add what turns up; a value that many machines share identifies none. What
// follows a rule (repeats, counts, nearly zero, and those of a kind) need not
// stand here.
func placeholders() []string {
	return []string{
		// Of boards.
		"TO BE FILLED BY O.E.M.", "TO BE FILLED BY O.E.M", "TO BE FILLED BY OEM", "TO BE FILLED BY O.E.M. BY MORE STRING",
		"TO BE FILLED", "FILLED BY OEM", "FILL BY OEM", "O.E.M.", "OEM", "OEM SERIAL", "OEM_SERIAL", "OEM DEFINED", "OEM-DEFINED",
		"DEFAULT STRING", "DEFAULT_STRING", "DEFAULT", "SYSTEM SERIAL NUMBER", "SYSTEM SERIAL", "SYS-1234567890",
		"BASE BOARD SERIAL NUMBER", "BASEBOARD SERIAL NUMBER", "BASE BOARD SERIAL", "BOARD SERIAL NUMBER", "BOARD SERIAL",
		"CHASSIS SERIAL NUMBER", "MB SERIAL NUMBER", "MB-1234567890", "MBSN", "MB_SN", "NB-1234567890", "PRODUCT SERIAL NUMBER",
		"TYPE2 - BOARD SERIAL NUMBER", "PLATFORM-SERIAL-NUMBER", "BSN12345678901234567", "SERNUM0", "SSN", "SN", "S/N", "ASSET-1234567890",
		"SERIAL NUMBER", "SERIAL NO", "SERIAL", "SERIALNUMBER", "SERIAL-NUMBER", "NO SERIAL NUMBER", "NO SERIAL", "NOSERIAL", "SYSTEM MANUFACTURER",
		"NONE", "NO", "N/A", "NA", "#N/A", "NULL", "NIL", "NAN", "EMPTY", "BLANK", "UNKNOWN", "UNDEFINED", "UNINITIALIZED", "UNSPECIFIED", "UNUSED",
		"NOT SPECIFIED", "NOT_SPECIFIED", "NOT AVAILABLE", "NOT APPLICABLE", "NOT PRESENT", "NOT SET", "NOT DEFINED", "NOT SETTABLE", "NOTSET",
		"INVALID", "ERROR", "EVAL", "TEST", "SAMPLE", "STANDARD", "GENERIC", "VIRTUAL", "TBD", "CHANGE ME", "CHANGEME", "<OUT OF SPEC>", "<BAD INDEX>",
		"STRING", "INTEL", "ASUS", "MSI", "PC", "DEADBEEF", "FOO", "BAR",
		// UUIDs of the firmware.
		"03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009",
		"03020100-0504-0706-0809-0A0B0C0D0E0F", "00010203-0405-0607-0809-0A0B0C0D0E0F",
		"33221100-5544-7766-8899-AABBCCDDEEFF", "00112233-4455-6677-8899-AABBCCDDEEFF",
		"12345678-1234-5678-90AB-CDDEEFAABBCC", "78563412-3412-7856-90AB-CDDEEFAABBCC", "12345678-1234-1234-1234-123456789ABC",
		"FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE", "4C4C4544-0000-2010-8020-80C04F202020",
		// Network addresses of chips without a memory for one, and such as modems,
		// security chips and privacy features hand out alike.
		"52:54:00:12:34:56", "02:00:00:00:00:00", "00:11:22:33:44:55", "00:11:22:33:44:66", "66:55:44:33:22:11", "AA:BB:CC:DD:EE:FF",
		"00:AA:BB:CC:DD:EE", "DE:AD:BE:EF:00:00", "DE:AD:BE:EF:CA:FE", "AC:DE:48:00:11:22", "02:50:F2:00:00:01", "02:50:F3:00:00:00",
		"02:50:F4:00:00:00", "02:FC:00:00:00:01", "00:A0:C6:00:00:00", "00:1E:10:1F:00:00", "58:2C:80:13:92:63", "0C:5B:8F:27:9A:64",
		"00:90:4C:C5:12:38", "00:90:4C:11:22:33", "00:03:07:12:34:56", "00:03:7F:11:22:33", "00:E0:4C:53:44:58", "00:E0:4C:81:92:00",
		"00:0C:43:28:80:A0", "00:0C:43:26:60:60", "00:50:43:02:02:02", "00:50:C2:12:34:56",
		// Network addresses of VPN and dial-up adapters.
		"00:05:9A:3C:78:00", "00:05:9A:3C:7A:00", "02:05:85:7F:EB:80", "00:09:0F:FE:00:01", "00:09:0F:AA:00:01", "00:53:45:00:00:00",
		"44:45:53:54:42:00", "44:45:53:54:00:00", "20:41:53:59:4E:FF", "50:50:54:50:30:30", "33:50:6F:45:30:30", "00:FF:FF:FF:FF:FF",
		// Disks of hypervisors and of RAID controllers.
		"VBOX HARDDISK", "QEMU HARDDISK", "VIRTUAL DISK", "VB00000000-00000000", "NVME-0", "NVME-1", "NVME0", "NVME1", "VOLUME0", "VOLUME1",
		"VOLUME_0000", "RAID0", "RAID1", "ARRAY", "ARRAY0", "ARRAY1",
	}
}

// Placeholder reports whether a value of a kind, in the form that NormalizeValue
// gives it, says nothing about its machine: what makers and hypervisors leave
// where a serial should be, and what has not the form of its kind.
func Placeholder(kind Kind, normal string) bool {
	if slices.Contains(placeholders(), normal) || repeats(normal) {
		return true
	}
	if kind != KindCustom && (counts(normal) || nearlyZero(normal)) { // an administrator may count so
		return true
	}
	switch kind {
	case KindMAC:
		return !goodMAC(normal) || hostOnly(normal)
	case KindDisk:
		return sharedDisk(normal)
	case KindUUID:
		return !goodUUID(normal)
	case KindBoard, KindCPU, KindOS, KindCustom, KindCode:
	}
	return false
}

// separators stand between the parts of serials and addresses.
const separators = " -_.:/\\"

// repeats reports whether nothing but one character is left without separators,
// as in 00000000, FF:FF:FF:FF:FF:FF, XXXX-XXXX and "...". The forms of numbers
// that are written before them (0X…, NAA.…, EUI.…, UUID.…) do not count.
func repeats(s string) bool {
	for _, form := range []string{"0X", "NAA.", "EUI.", "UUID."} {
		if rest, found := strings.CutPrefix(s, form); found {
			s = rest
			break
		}
	}
	var seen rune
	for _, r := range s {
		switch {
		case strings.ContainsRune(separators, r):
		case seen == 0:
			seen = r
		case r != seen:
			return false
		}
	}
	return true
}

// counts reports whether a value of four or more characters counts up through
// the digits, and from 9 on to 0 or to A, or down, or through the letters, as
// in 1234567890, 0123456789ABCDEF, 01:23:45:67:89:AB and 87654321.
func counts(s string) bool {
	var last byte
	up, down, n := true, true, 0
	for i := range len(s) {
		c := s[i]
		if strings.IndexByte(separators, c) >= 0 {
			continue
		}
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
		if n++; n > 1 {
			up = up && (c == last+1 || last == '9' && (c == '0' || c == 'A'))
			down = down && (c == last-1 || last == '0' && c == '9')
		}
		last = c
	}
	return n >= 4 && (up || down)
}

// nearlyZero reports whether a value of eight or more digits is a number below
// 256, as in 00000000000000000001 and 00:00:00:00:00:01.
func nearlyZero(s string) bool {
	n, last := 0, 0 // how many digits, and the place of the first that is not zero
	for i := range len(s) {
		switch {
		case strings.IndexByte(separators, s[i]) >= 0:
			continue
		case !isHex(s[i]):
			return false
		}
		if n++; last == 0 && s[i] != '0' {
			last = n
		}
	}
	return n >= 8 && (last == 0 || n-last < 2)
}

// sharedDisk reports whether a serial is one that a hypervisor or a cloud gives
// to disks by their number or their place, so that the same is seen in every
// machine.
func sharedDisk(s string) bool {
	for _, form := range []struct {
		prefix string
		digits int // exactly so many, or any number for 0
	}{
		{"QM", 5},        // QEMU
		{"SN: ", 0},      // Azure
		{"NVME_CARD", 0}, // Google
		{"PERSISTENT-DISK-", 0},
		{"LOCAL-SSD-", 0},
		{"LOCAL-NVME-SSD-", 0},
		{"VMWARE NVME_", 0},
		{"VMWARE NVME-", 0},
		{"DRIVE-SCSI", 0}, // QEMU
		{"DRIVE-SATA", 0},
		{"DRIVE-IDE", 0},
		{"DRIVE-VIRTIO", 0},
	} {
		rest, found := strings.CutPrefix(s, form.prefix)
		if found && strings.Trim(rest, "0123456789-") == "" && (form.digits == 0 || len(rest) == form.digits) && len(rest) <= 8 {
			return true
		}
	}
	return s == "NVME_CARD-PD"
}

// hostOnly reports whether an address is that of a hypervisor's own network
// between host and guests, which is the same on every host.
func hostOnly(address string) bool {
	return strings.HasPrefix(address, "00:50:56:C0:00:") || // VMware
		strings.HasPrefix(address, "0A:00:27:00:00:") // VirtualBox
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
