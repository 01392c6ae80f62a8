// Package freebsd reads what FreeBSD says of its machine: without a
// subprocess, and the same for root and for an ordinary user. Asking (Ask) is
// kept apart from understanding the answers, which every system can do.
package freebsd

import (
	"fmt"
	"strings"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/license"
)

// Answers is what FreeBSD says, as it says it. What could not be asked is empty.
type Answers struct {
	Jailed    bool   // sysctl security.jail.jailed
	Guest     string // sysctl kern.vm_guest, "none" on hardware
	Processor string // sysctl hw.model
	HostID    string // /etc/hostid

	// Of the kernel's environment: smbios.system.maker, .product and .uuid, and
	// smbios.planar.serial.
	Maker, Product, UUID, Board string

	Geometry   string // sysctl kern.geom.confxml
	Interfaces []Interface
	// USBDisks are sysctl dev.umass.N.%desc and .%pnpinfo, one text for each N.
	USBDisks []string
}

// Interface is a network interface.
type Interface struct {
	Driver string // the name that the driver gave it, as em0, however it is called now
	// Parent is what its device hangs on, as pci1 or uhub2; "" where there is no device.
	Parent  string
	Address []byte // of SIOCGHWADDR, as read from the hardware
}

// physical reports whether an interface is that of a built-in adapter.
func (i Interface) physical() bool {
	switch name := strings.TrimRight(i.Driver, "0123456789"); {
	case len(i.Address) != 6:
		return false
	case name == "mce" || name == "mlxen": // whose devices have another name
		return true
	default:
		return i.Parent != "" && !strings.HasPrefix(i.Parent, "uhub")
	}
}

// Parts says what the answers show.
func (a Answers) Parts() machine.Parts {
	p := machine.Parts{
		Environment: machine.Metal, OS: strings.TrimSpace(a.HostID), CPUs: nonEmpty(a.Processor),
		Boards: nonEmpty(a.Board), UUIDs: nonEmpty(a.UUID),
	}
	if p.OS == "" {
		p.OS = a.UUID // as package machineid has it
	}
	switch {
	case a.Jailed:
		p.Environment = machine.Container
	case a.Guest != "" && a.Guest != "none" || machine.Virtual(a.Maker, a.Product):
		p.Environment = machine.VM
	}
	for _, i := range a.Interfaces {
		if i.physical() {
			p.MACs = append(p.MACs, fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x",
				i.Address[0], i.Address[1], i.Address[2], i.Address[3], i.Address[4], i.Address[5]))
		}
	}
	disks, err := parseDisks(a.Geometry)
	if err != nil {
		p.Note(license.KindDisk, "kern.geom.confxml cannot be read whole")
	}
	for _, d := range disks {
		if d.builtIn(a.USBDisks) {
			p.Disks = append(p.Disks, nonEmpty(d.serial())...)
		}
	}
	return p
}

func nonEmpty(s string) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	return []string{s}
}
