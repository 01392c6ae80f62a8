package fingerprint

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/seed-357fa782/licensed/license"
)

func (g *gathering) steps(context.Context) []func() {
	return []func(){g.findEnvironment, g.processorID, g.cpu, g.hardware}
}

// hardware takes what identifies the machine.
func (g *gathering) hardware() {
	if g.set.Environment == Container {
		g.noteContainer()
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

// machineID takes the operating system's machine id, from the files and in the
// order in which package machineid looks for it.
func (g *gathering) machineID() {
	for _, file := range []string{"/var/lib/dbus/machine-id", "/etc/machine-id"} {
		if id, err := g.read(file); err == nil {
			g.add(license.KindOS, id)
			return
		}
	}
	g.note(license.KindOS, "the operating system has no machine id that everybody can read")
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

func (g *gathering) cpu() { g.add(license.KindCPU, processorModel(g.head("/proc/cpuinfo", maxRead))) }

// read reads a text that everybody may read. A final NUL, as device trees have
// it, is cut.
func (g *gathering) read(file string) (string, error) {
	data, err := g.readOpen(file)
	return strings.TrimRight(string(data), "\x00 \t\r\n"), err
}

// readOpen is readSome of a file that everybody may read. What root alone can
// read is refused to root as well.
func (g *gathering) readOpen(file string) ([]byte, error) {
	data, mode, err := readSome(g.path(file), maxRead)
	if err == nil && mode.Perm()&0o004 == 0 {
		return nil, fs.ErrPermission
	}
	return data, err
}

// head returns at most n bytes of a file, or nothing.
func (g *gathering) head(file string, n int) string {
	data, _, err := readSome(g.path(file), n)
	if err != nil {
		return ""
	}
	return string(data)
}

func (g *gathering) exists(file string) bool {
	const toSee = 0 // F_OK
	return syscall.Access(g.path(file), toSee) == nil
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
