package fingerprint

import (
	"bytes"
	"strings"
)

// unitSerial reads the Unit Serial Number page of a SCSI disk (SPC, vital
// product data, page code 0x80), "" where it has none.
func unitSerial(page []byte) string {
	if len(page) < 4 || page[1] != 0x80 {
		return ""
	}
	n := int(page[2])<<8 | int(page[3])
	serial := page[4:]
	return string(bytes.Trim(serial[:min(n, len(serial))], "\x00 "))
}

// worldwideName takes from a disk's name, as Linux shows it, what tells the
// disk from others: a number that is unique by its form (naa.…, eui.…, uuid.…)
// as it is, and the serial out of the name that ATA disks get, which is made of
// eight bytes for the word ATA, forty for the model and twenty for the serial.
// Other names repeat the maker and a serial that was seen before, or none.
func worldwideName(wwid string) string {
	for _, form := range []string{"naa.", "eui.", "uuid."} {
		if strings.HasPrefix(wwid, form) {
			return wwid
		}
	}
	const ata, serialAt = "t10.ATA     ", len("t10.") + 8 + 40
	if strings.HasPrefix(wwid, ata) && len(wwid) > serialAt {
		return strings.TrimSpace(wwid[serialAt:])
	}
	return ""
}
