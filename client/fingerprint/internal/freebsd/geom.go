package freebsd

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// Limits of the description of disks.
const (
	MaxGeometry = 8 << 20 // bytes; a storage server with many partitions comes to some 100 KiB
	maxDisks    = 512
)

// disk is a geom of the class DISK.
type disk struct {
	Name  string `xml:"name"`
	Ident string `xml:"provider>config>ident"`
	LunID string `xml:"provider>config>lunid"`
	Descr string `xml:"provider>config>descr"`
}

// parseDisks reads the class DISK of kern.geom.confxml and passes over the
// others, in which labels of disks stand that anybody can write. What stands
// before damage is returned with the error.
func parseDisks(text string) ([]disk, error) {
	if len(text) > MaxGeometry {
		return nil, fmt.Errorf("geometry: %d bytes are more than the limit of %d", len(text), MaxGeometry)
	}
	const begin, end = "<name>DISK</name>", "</class>"
	_, class, found := strings.Cut(text, begin)
	if !found {
		return nil, nil
	}
	class, _, found = strings.Cut(class, end)
	var parsed struct {
		Disks []disk `xml:"geom"`
	}
	err := xml.Unmarshal([]byte("<class>"+class+end), &parsed)
	if err == nil && !found {
		err = fmt.Errorf("geometry: the class of disks does not end")
	}
	return parsed.Disks[:min(len(parsed.Disks), maxDisks)], err
}

// serial returns what tells a disk from others.
func (d disk) serial() string {
	if s := strings.TrimSpace(d.Ident); s != "" {
		return s
	}
	return strings.TrimSpace(d.LunID)
}

// builtIn reports whether a disk is one of the machine's own.
func (d disk) builtIn(usb []string) bool {
	switch strings.TrimRight(d.Name, "0123456789") {
	case "", "cd", "md", "fd":
		return false
	case "mmcsd":
		return strings.HasPrefix(d.Descr, "MMC") // else a memory card
	case "da":
		return !d.onUSB(usb)
	}
	return true
}

// onUSB reports whether one of the disks on USB has the serial or the name of
// this one. The system does not say what a disk of the driver da hangs on.
func (d disk) onUSB(usb []string) bool {
	serial, name := strings.ToLower(d.serial()), strings.ToLower(strings.Join(strings.Fields(d.Descr), " "))
	for _, text := range usb {
		text = strings.ToLower(text)
		_, rest, _ := strings.Cut(text, `sernum="`)
		number, _, _ := strings.Cut(rest, `"`)
		if serial != "" && serial == strings.TrimSpace(number) || name != "" && strings.Contains(text, name) {
			return true
		}
	}
	return false
}
