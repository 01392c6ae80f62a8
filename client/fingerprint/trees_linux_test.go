package fingerprint_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed-357fa782/licensed/client/fingerprint"
)

// tree is a recorded file tree: path → content, "-> target" for a link, and
// "root: content" for what only root can read.
type tree map[string]string

func (tr tree) with(more ...tree) tree {
	out := maps.Clone(tr)
	for _, m := range more {
		maps.Copy(out, m)
	}
	return out
}

func (tr tree) without(prefix string) tree {
	out := tree{}
	for p, c := range tr {
		if !strings.HasPrefix(p, prefix) {
			out[p] = c
		}
	}
	return out
}

func (tr tree) write(tb testing.TB) string {
	tb.Helper()
	root := tb.TempDir()
	made := map[string]bool{}
	for p, content := range tr {
		path := filepath.Join(root, p)
		if dir := filepath.Dir(path); !made[dir] {
			check(tb, os.MkdirAll(dir, 0o755))
			made[dir] = true
		}
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			check(tb, os.Symlink(target, path))
			continue
		}
		secret, root := strings.CutPrefix(content, "root: ")
		check(tb, os.WriteFile(path, []byte(secret), 0o644))
		if root {
			check(tb, os.Chmod(path, 0o400))
		}
	}
	return root
}

// collected holds what was collected from a tree, as several tests begin with
// the same.
var collected sync.Map

func (tr tree) collect(tb testing.TB) fingerprint.Set {
	tb.Helper()
	key := fmt.Sprint(tr)
	if s, ok := collected.Load(key); ok {
		return s.(fingerprint.Set)
	}
	c := fingerprint.Collector{Root: tr.write(tb)}
	s, err := fingerprint.WithPermanent(c, func(adapter string) string {
		return tr["permanent/"+adapter]
	}).Collect(tb.Context())
	check(tb, err)
	collected.Store(key, s)
	return s
}

// adapter is a network adapter on a bus.
func adapter(name, bus, address, assigned string) tree {
	dev := "/sys/devices/" + bus + "/net/" + name
	return tree{
		"/sys/class/net/" + name:  "-> ../../devices/" + bus + "/net/" + name,
		dev + "/address":          address + "\n",
		dev + "/addr_assign_type": assigned + "\n",
		dev + "/type":             "1\n",
		dev + "/device":           "-> ../../../" + filepath.Base(bus),
	}
}

// virtual is an interface without a device: a bridge, bond, tunnel, veth.
func virtual(name, address string) tree {
	t := adapter(name, "virtual", address, "0")
	delete(t, "/sys/devices/virtual/net/"+name+"/device")
	return t
}

// disk is a block device below a bus, with files beside the disk.
func disk(name, bus string, files tree) tree {
	dev := "/sys/devices/" + bus + "/block/" + name
	t := tree{
		"/sys/block/" + name: "-> ../devices/" + bus + "/block/" + name,
		dev + "/removable":   "0\n",
		dev + "/device":      "-> ../../../" + filepath.Base(bus),
	}
	for p, c := range files {
		t["/sys/devices/"+bus+"/"+p] = c
	}
	return t
}

// vpd is page 0x80 with a serial.
func vpd(serial string) string { return "\x00\x80" + string([]byte{0, byte(len(serial))}) + serial }

const metalCPU = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) E-2288G CPU @ 3.70GHz\n" +
	"flags\t\t: fpu vme de sse2\n\nprocessor\t: 1\nmodel name\t: another\n"

// metal is a server as it stands in a rack: two adapters, an NVMe and a SATA
// disk, a USB stick, a card reader, a dock's adapter, a bridge.
func metal() tree {
	return tree{
		"/proc/cpuinfo":                    metalCPU,
		"/proc/1/cgroup":                   "0::/init.scope\n",
		"/proc/self/mountinfo":             "22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n",
		"/proc/sys/kernel/osrelease":       "6.8.0-41-generic\n",
		"/etc/machine-id":                  "0f1e2d3c4b5a69788796a5b4c3d2e1f0\n",
		"/sys/class/dmi/id/board_serial":   "root: XK123456789\n",
		"/sys/class/dmi/id/product_uuid":   "root: 4c4c4544-0036-5910-8052-b4c04f4d3532\n",
		"/sys/class/dmi/id/sys_vendor":     "Dell Inc.\n",
		"/sys/class/dmi/id/product_name":   "PowerEdge R240\n",
		"/sys/class/net/bonding_masters":   "\n",
		"/sys/devices/pci0/usb1/1-1/1-1.2": "",
	}.without("/sys/devices/pci0/usb1/1-1/1-1.2").with(
		adapter("eno1", "pci0/0000:01:00.0", "3c:7c:3f:11:22:33", "0"),
		adapter("eno2", "pci0/0000:01:00.1", "3c:7c:3f:11:22:34", "0"),
		adapter("enxdock", "pci0/usb1/1-1/1-1:1.0", "00:e0:4c:68:00:01", "0"),
		virtual("lo", "00:00:00:00:00:00"),
		virtual("docker0", "02:42:8a:11:22:33"),
		virtual("tun0", "5e:11:22:33:44:55"),
		disk("nvme0n1", "pci0/0000:02:00.0/nvme/nvme0", tree{"serial": "S4EMNX0R123456      \n"}),
		disk("sda", "pci0/ata1/host0/target0:0:0/0:0:0:0", tree{"vpd_pg80": vpd("            ZC1234AB"), "wwid": "naa.5000c500a1b2c3d4\n"}),
		disk("sdb", "pci0/usb1/1-2/1-2:1.0/host1/1:0:0:0", tree{"vpd_pg80": vpd("STICK123")}),
		disk("sdc", "pci0/ata2/host2/2:0:0:0", tree{"vpd_pg80": vpd("TRAY1"), "block/sdc/removable": "1\n"}),
		disk("mmcblk0", "pci0/mmc_host/mmc0/mmc0:aaaa", tree{"type": "SD\n", "serial": "0x1234abcd\n"}),
		disk("loop0", "virtual/l", tree{"serial": "LOOP\n"}),
	)
}

// guest is a virtual machine of KVM with a disk of a cloud, and the disk that
// QEMU gives to all.
func guest(address, volume string) tree {
	return metal().without("/sys/").with(
		tree{"/proc/cpuinfo": strings.Replace(metalCPU, "fpu vme", "fpu hypervisor vme", 1), "/sys/class/dmi/id/sys_vendor": "QEMU\n"},
		adapter("eth0", "pci0/0000:00:03.0/virtio2", address, "0"),
		disk("vda", "pci0/0000:00:02.0/virtio1", tree{"block/vda/serial": volume + "\n"}),
		disk("sda", "pci0/ata1/0:0:0:0", tree{"vpd_pg80": vpd("QM00001"), "wwid": ataName("QEMU HARDDISK", "QM00001")}),
	)
}

// ataName is the name that Linux makes of an ATA disk's model and serial.
func ataName(model, serial string) string {
	return fmt.Sprintf("t10.ATA     %-40s%-20s\n", model, serial)
}

// bonded is the server with both adapters in one bond, which gave both of them
// the address of the first.
func bonded() tree {
	return metal().with(
		adapter("eno1", "pci0/0000:01:00.0", "3c:7c:3f:11:22:33", "3"),
		adapter("eno2", "pci0/0000:01:00.1", "3c:7c:3f:11:22:33", "3"),
		virtual("bond0", "3c:7c:3f:11:22:33"),
		tree{"permanent/eno1": "3c:7c:3f:11:22:33", "permanent/eno2": "3c:7c:3f:11:22:34"},
	)
}

// functions is the server with 64 virtual functions of an adapter.
func functions() tree {
	tr := metal()
	for i := range 64 {
		bus := fmt.Sprintf("pci0/0000:01:10.%d", i)
		tr = tr.with(adapter(fmt.Sprintf("eno1v%d", i), bus, fmt.Sprintf("3c:7c:3f:aa:00:%02x", i), "0"),
			tree{"/sys/devices/" + bus + "/physfn": "-> ../0000:01:00.0"})
	}
	return tr
}

// subsystem is the Linux subsystem of Windows, which shows virtual disks and
// another address at each start.
func subsystem(address string) tree {
	return metal().without("/sys/").with(
		tree{
			"/proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n", "/run/systemd/container": "wsl\n",
			"/proc/cpuinfo": strings.Replace(metalCPU, "fpu vme", "fpu hypervisor vme", 1),
		},
		adapter("eth0", "LNXSYSTM:00/VMBUS:00/5ec0d1a2", address, "0"),
		disk("sda", "LNXSYSTM:00/VMBUS:00/fd1d2cbd/host0/0:0:0:0", tree{"wwid": "naa.60022480" + strings.ReplaceAll(address, ":", "") + "\n"}),
	)
}

// lxcMounts are mounts of an LXC or LXD container, whose lxcfs stands in for
// files of /proc.
const lxcMounts = "600 500 0:50 / / rw,relatime - btrfs /dev/sda2 rw\n" +
	"610 601 0:45 /proc/uptime /proc/uptime rw,nosuid - fuse.lxcfs lxcfs rw\n"
