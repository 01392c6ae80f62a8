package fingerprint

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-357fa782/licensed/license"
)

func (g *gathering) steps() []func() {
	return []func(){g.environment, g.cpu, g.hardware}
}

// hardware takes what identifies the machine, of which a container has nothing
// of its own: it sees its host's disks and its image's machine id.
func (g *gathering) hardware() {
	if g.set.Environment == Container {
		for _, kind := range []license.Kind{license.KindOS, license.KindUUID, license.KindDisk, license.KindMAC, license.KindBoard} {
			g.note(kind, "a container has none of its own; supply a machine id by %s or %s", CustomVariable, CustomFile())
		}
		return
	}
	g.machineID()
	g.firmware()
	if g.underWindows() {
		g.note(license.KindMAC, "the Linux subsystem of Windows gets another address at each start")
		g.note(license.KindDisk, "the Linux subsystem of Windows has virtual disks only")
		return
	}
	g.adapters()
	g.disks()
}

// firmware takes board serial and system UUID. The kernel lets only root read
// those of SMBIOS, unless an administrator decided otherwise; on boards with a
// device tree, and in Xen guests, everybody may.
func (g *gathering) firmware() {
	g.attribute(license.KindBoard, "/sys/class/dmi/id/board_serial", "/sys/firmware/devicetree/base/serial-number")
	g.attribute(license.KindUUID, "/sys/class/dmi/id/product_uuid", "/sys/hypervisor/uuid")
}

// attribute takes the first of the files that has a value.
func (g *gathering) attribute(kind license.Kind, files ...string) {
	for _, file := range files {
		value, err := g.read(file)
		if err == nil && g.add(kind, value) {
			return
		}
		if errors.Is(err, fs.ErrPermission) {
			g.note(kind, "only root can read it here, so it is left out")
		}
	}
}

// read reads a text that everybody may read. A final NUL, as device trees have
// it, is cut.
func (g *gathering) read(file string) (string, error) {
	data, err := readOpen(g.path(file))
	return strings.TrimRight(string(data), "\x00 \t\r\n"), err
}

func (g *gathering) exists(file string) bool {
	_, err := os.Stat(g.path(file))
	return err == nil
}

// list returns the names in a folder that are wanted, sorted, and no more than
// maxDevices. What is not wanted does not count: a node of a cluster has
// hundreds of interfaces for its containers.
func (g *gathering) list(folder string, wanted func(name string) bool) []string {
	entries, err := os.ReadDir(g.path(folder))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if len(names) < maxDevices && wanted(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// adapters takes the permanent addresses of the physical network adapters.
func (g *gathering) adapters() {
	permanent := g.permanent
	if permanent == nil && g.Root == "" {
		asker := &permanentAddress{}
		defer asker.close()
		permanent = asker.of
	}
	for _, name := range g.list("/sys/class/net", g.physicalAdapter) {
		dir := "/sys/class/net/" + name
		if assigned, err := g.read(dir + "/addr_assign_type"); err == nil && assigned == "0" { // NET_ADDR_PERM
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
	if !g.exists(dir+"/device") || g.exists(dir+"/device/physfn") || g.pluggable(dir) {
		return false
	}
	kind, err := g.read(dir + "/type")
	return err == nil && kind == "1" // ARPHRD_ETHER
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
	return !g.pluggable(dir)
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
	if page, err := readOpen(g.path(dir + "/device/vpd_pg80")); err == nil && g.add(license.KindDisk, unitSerial(page)) {
		return
	}
	for _, file := range []string{dir + "/device/wwid", dir + "/wwid"} {
		if v, err := g.read(file); err == nil && g.add(license.KindDisk, v) {
			return
		}
	}
}

// unitSerial reads the Unit Serial Number page (SPC, page code 0x80).
func unitSerial(page []byte) string {
	if len(page) < 4 || page[1] != 0x80 {
		return ""
	}
	n := int(page[2])<<8 | int(page[3])
	serial := page[4:]
	return string(bytes.Trim(serial[:min(n, len(serial))], "\x00 "))
}

// pluggable reports whether a device hangs on USB, and is not known to be
// fixed there, so that it may be carried to another machine. entry is its link
// in a folder of the kernel's, which leads through all that it hangs on.
func (g *gathering) pluggable(entry string) bool {
	target, err := os.Readlink(g.path(entry))
	if err != nil || !strings.Contains(target, "/usb") {
		return false
	}
	at, onUSB := filepath.Join(filepath.Dir(entry), target), false
	for ; strings.HasPrefix(at, "/sys/devices/"); at = filepath.Dir(at) {
		if fixed, err := g.read(at + "/removable"); err == nil && fixed == "fixed" {
			return false
		}
		bus, found := strings.CutPrefix(filepath.Base(at), "usb")
		onUSB = onUSB || found && bus != "" && strings.Trim(bus, "0123456789") == ""
	}
	return onUSB
}

// cpu takes the processor's model from the first entry of /proc/cpuinfo.
func (g *gathering) cpu() {
	data, _, err := readSome(g.path("/proc/cpuinfo"))
	if err != nil {
		return
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, value, found := strings.Cut(line, ":")
		if !found {
			if len(fields) > 0 {
				break
			}
			continue
		}
		fields[strings.ToLower(strings.TrimSpace(name))] = strings.Join(strings.Fields(value), " ")
	}
	for _, name := range []string{"model name", "cpu model", "cpu", "uarch"} {
		if v := fields[name]; v != "" {
			g.add(license.KindCPU, v)
			return
		}
	}
	if fields["cpu part"] != "" { // ARM
		g.add(license.KindCPU, strings.Join([]string{
			fields["cpu implementer"], fields["cpu architecture"], fields["cpu variant"], fields["cpu part"], fields["cpu revision"],
		}, " "))
	}
}
