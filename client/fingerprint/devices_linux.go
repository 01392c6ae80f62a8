package fingerprint

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-357fa782/licensed/license"
)

// adapters takes the permanent addresses of the physical network adapters. The
// address that an adapter has now counts where the kernel says that it came
// from the hardware; else its driver is asked, as for one that is bonded or
// was given another address. Wi-Fi has its address at the radio, upon which
// there may be several interfaces.
func (g *gathering) adapters() {
	permanent := g.permanent
	if permanent == nil && g.Root == "" {
		asker := &permanentAddress{}
		defer asker.close()
		permanent = asker.of
	}
	for _, name := range g.list("/sys/class/net", g.physicalAdapter) {
		dir := "/sys/class/net/" + name
		if address, err := g.read(dir + "/phy80211/macaddress"); err == nil {
			g.add(license.KindMAC, address)
		} else if assigned, err := g.read(dir + "/addr_assign_type"); err == nil && assigned == "0" { // NET_ADDR_PERM
			if address, err := g.read(dir + "/address"); err == nil {
				g.add(license.KindMAC, address)
			}
		} else if permanent != nil {
			g.add(license.KindMAC, permanent(name))
		}
	}
}

func (g *gathering) physicalAdapter(name string) bool {
	dir := "/sys/class/net/" + name
	// Bridges, bonds, tunnels and the like have no device; a virtual function
	// names its physical one.
	if !g.exists(dir+"/device") || g.exists(dir+"/device/physfn") || g.carried(dir) {
		return false
	}
	if kind, err := g.read(dir + "/type"); err != nil || kind != "1" { // ARPHRD_ETHER
		return false
	}
	// A modem for mobile networks makes its address up.
	return !strings.Contains(g.head(dir+"/uevent", 512), "DEVTYPE=wwan")
}

// disks takes the serials of the disks that are built in.
func (g *gathering) disks() {
	for _, name := range g.list("/sys/block", g.builtIn) {
		g.disk("/sys/block/" + name)
	}
}

func (g *gathering) builtIn(name string) bool {
	for _, virtual := range []string{"loop", "ram", "zram", "dm-", "md", "sr"} {
		if strings.HasPrefix(name, virtual) {
			return false
		}
	}
	dir := "/sys/block/" + name
	if !g.exists(dir + "/device") {
		return false
	}
	if removable, err := g.read(dir + "/removable"); err == nil && removable != "0" {
		return false
	}
	if kind, err := g.read(dir + "/device/type"); err == nil && (kind == "SD" || kind == "SDIO" || kind == "SDcombo") {
		return false // a memory card
	}
	return !g.carried(dir) && !g.overNetwork(name)
}

// disk takes the serial of one disk: of NVMe, eMMC and others beside the
// device, of virtio beside the disk, of SCSI and SATA in page 0x80 of its vital
// product data. Where there is none, its worldwide name stands in.
func (g *gathering) disk(dir string) {
	for _, file := range []string{dir + "/device/serial", dir + "/serial"} {
		if v, err := g.read(file); err == nil && g.add(license.KindDisk, v) {
			return
		}
	}
	if page, err := g.readOpen(dir + "/device/vpd_pg80"); err == nil && g.add(license.KindDisk, unitSerial(page)) {
		return
	}
	for _, file := range []string{dir + "/device/wwid", dir + "/wwid"} {
		if v, err := g.read(file); err == nil && g.add(license.KindDisk, worldwideName(v)) {
			return
		}
	}
}

// carried reports whether a device may be carried to another machine, or comes
// and goes, or is reached over a network and so may be seen by several
// machines. entry is its link in a folder of the kernel's, which leads through
// all that it hangs on.
func (g *gathering) carried(entry string) bool {
	target, err := os.Readlink(g.path(entry))
	if err != nil {
		return false
	}
	path, found := strings.CutPrefix(filepath.Join(filepath.Dir(entry), target), "/sys/devices/")
	if !found {
		return false
	}
	at, onUSB := "/sys/devices", false
	for part := range strings.SplitSeq(path, "/") {
		at += "/" + part
		switch {
		case part == "bluetooth", part == "nvme-fabrics", strings.HasPrefix(part, "rport-"), // fibre channel
			numbered(part, "session"),      // iSCSI
			numbered(part, "domain"),       // a network over Thunderbolt
			strings.Contains(part, ".sf."): // a part of an adapter that is lent to a container or a virtual machine
			return true
		case numbered(part, "usb"):
			onUSB = true
		case onUSB && usbDevice(part):
			// A device within a dock is fixed in the dock, so all must be.
			if fixed, err := g.read(at + "/removable"); err != nil || fixed != "fixed" {
				return true
			}
		case !onUSB && strings.Count(part, ":") == 2 && strings.Contains(part, "."): // on PCI
			if removable, err := g.read(at + "/removable"); err == nil && removable == "removable" {
				return true
			}
		}
	}
	return false
}

// numbered reports whether name is word and a number.
func numbered(name, word string) bool {
	n, found := strings.CutPrefix(name, word)
	return found && n != "" && strings.Trim(n, "0123456789") == ""
}

// usbDevice reports whether name is that of a USB device in its bus, as 1-4.2,
// and not that of an interface of one, as 1-4.2:1.0.
func usbDevice(name string) bool {
	bus, port, found := strings.Cut(name, "-")
	return found && bus != "" && port != "" && strings.Trim(bus, "0123456789") == "" && strings.Trim(port, "0123456789.") == ""
}

// overNetwork reports whether an NVMe disk that has several paths is reached by
// another than the machine's own bus.
func (g *gathering) overNetwork(name string) bool {
	if target, err := os.Readlink(g.path("/sys/block/" + name)); err != nil || !strings.Contains(target, "/nvme-subsystem/") {
		return false
	}
	device := "/sys/block/" + name + "/device"
	controllers := g.list(device, func(entry string) bool { return numbered(entry, "nvme") })
	return slices.ContainsFunc(controllers, func(c string) bool {
		transport, err := g.read(device + "/" + c + "/transport")
		return err == nil && slices.Contains([]string{"tcp", "rdma", "fc", "loop"}, transport)
	})
}
