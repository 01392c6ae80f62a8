// Package macos reads what macOS says of its machine: the same for root and
// for an ordinary user. Asking (Ask) is kept apart from understanding the
// answers, which every system can do.
package macos

import (
	"fmt"
	"strings"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/client/internal/plist"
	"github.com/seed-357fa782/licensed/license"
)

// Answers is what macOS says, as it says it. What could not be asked is empty.
type Answers struct {
	// Platform is the output of ioreg -a -r -d 1 -c IOPlatformExpertDevice.
	Platform []byte
	// Storage is the output of ioreg -a -r -d 1 -c IOBlockStorageDevice.
	Storage []byte
	// Interfaces is the file NetworkInterfaces.plist of the system's configuration.
	// Its addresses are those of the hardware, whatever private address Wi-Fi shows.
	Interfaces []byte

	Processor  string // sysctl machdep.cpu.brand_string
	Model      string // sysctl hw.model
	Hypervisor bool   // sysctl kern.hv_vmm_present
}

// Parts says what the answers show.
func (a Answers) Parts() machine.Parts {
	p := machine.Parts{Environment: machine.Metal, CPUs: nonEmpty(a.Processor)}
	if a.Hypervisor || machine.Virtual("", a.Model) {
		p.Environment = machine.VM
	}
	a.platform(&p)
	a.interfaces(&p)
	a.storage(&p)
	return p
}

// platform takes the machine's serial and its UUID. The machine id of the
// operating system is that UUID too: macOS has no other, and package machineid
// takes the same.
func (a Answers) platform(p *machine.Parts) {
	list, err := plist.Parse(a.Platform)
	for _, d := range plist.Dicts(list) {
		p.Boards = append(p.Boards, nonEmpty(plist.Text(d, "IOPlatformSerialNumber"))...)
		if id := plist.Text(d, "IOPlatformUUID"); id != "" {
			p.UUIDs = append(p.UUIDs, id)
			p.OS = id
		}
	}
	if err != nil || p.OS == "" {
		for _, kind := range []license.Kind{license.KindBoard, license.KindUUID, license.KindOS} {
			p.Note(kind, "ioreg does not say what machine this is")
		}
	}
}

// interfaces takes the addresses of built-in adapters that are there now.
func (a Answers) interfaces(p *machine.Parts) {
	list, err := plist.Parse(a.Interfaces)
	if err != nil {
		p.Note(license.KindMAC, "the system's list of network interfaces cannot be read")
	}
	d, _ := list.(plist.Dict)
	for _, i := range plist.Dicts(d["Interfaces"]) {
		address, _ := i["IOMACAddress"].([]byte)
		if len(address) == 6 && i["Active"] == true && i["IOBuiltin"] == true && builtIn(plist.Text(i, "IOPathMatch")) {
			p.MACs = append(p.MACs, fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x",
				address[0], address[1], address[2], address[3], address[4], address[5]))
		}
	}
}

// builtIn reports whether the path of an interface in the registry leads to an
// adapter. Thunderbolt's own interfaces count as built in for macOS, and so
// does the one to the security chip on USB, whose address all Macs share.
func builtIn(path string) bool {
	path = strings.ToLower(path)
	return path != "" && !strings.Contains(path, "thunderboltip") && !strings.Contains(path, "usb") && !strings.Contains(path, "bluetooth")
}

// storage takes the serials of the disks within the machine, without memory
// cards, disk images and what hangs on a cable.
func (a Answers) storage(p *machine.Parts) {
	if len(a.Storage) == 0 {
		p.Note(license.KindDisk, "ioreg does not say what disks there are")
		return
	}
	list, err := plist.Parse(a.Storage)
	if err != nil {
		p.Note(license.KindDisk, "ioreg's list of disks cannot be read whole")
	}
	for _, d := range plist.Dicts(list) {
		protocol := plist.In(d, "Protocol Characteristics")
		if plist.Text(protocol, "Physical Interconnect Location") != "Internal" {
			continue
		}
		switch plist.Text(protocol, "Physical Interconnect") {
		case "Secure Digital", "USB", "FireWire", "Virtual Interface", "iSCSI", "Fibre Channel Interface":
			continue
		}
		serial := plist.Text(plist.In(d, "Device Characteristics"), "Serial Number")
		if serial == "" {
			serial = plist.Text(d, "Serial Number")
		}
		p.Disks = append(p.Disks, nonEmpty(serial)...)
	}
}

func nonEmpty(s string) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	return []string{s}
}
