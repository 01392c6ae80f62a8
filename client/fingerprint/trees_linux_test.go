package fingerprint_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
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
	for p, content := range tr {
		path := filepath.Join(root, p)
		check(tb, os.MkdirAll(filepath.Dir(path), 0o755))
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			check(tb, os.Symlink(target, path))
			continue
		}
		mode := os.FileMode(0o644)
		if c, ok := strings.CutPrefix(content, "root: "); ok {
			content, mode = c, 0o400
		}
		check(tb, os.WriteFile(path, []byte(content), mode))
		check(tb, os.Chmod(path, mode))
	}
	return root
}

func (tr tree) collect(tb testing.TB) fingerprint.Set {
	tb.Helper()
	c := fingerprint.Collector{Root: tr.write(tb)}
	s, err := fingerprint.WithPermanent(c, func(adapter string) string {
		return tr["permanent/"+adapter]
	}).Collect(tb.Context())
	check(tb, err)
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

func vmCPU() string { return strings.Replace(metalCPU, "fpu vme", "fpu hypervisor vme", 1) }

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

// lxcMounts are mounts of an LXC or LXD container, whose lxcfs stands in for
// files of /proc.
const lxcMounts = "600 500 0:50 / / rw,relatime - btrfs /dev/sda2 rw\n" +
	"610 601 0:45 /proc/uptime /proc/uptime rw,nosuid - fuse.lxcfs lxcfs rw\n"

func values(s fingerprint.Set) map[license.Kind][]string { return s.Values }

func TestTrees(t *testing.T) {
	type want = map[license.Kind][]string
	const (
		mac, dsk, osid, cpu, board, uuid, custom = license.KindMAC, license.KindDisk, license.KindOS, license.KindCPU,
			license.KindBoard, license.KindUUID, license.KindCustom
	)
	const xeon = "INTEL(R) XEON(R) E-2288G CPU @ 3.70GHZ"
	metalWant := func(change ...func(want)) want {
		w := want{
			mac: {"3C:7C:3F:11:22:33", "3C:7C:3F:11:22:34"}, dsk: {"S4EMNX0R123456", "ZC1234AB"},
			osid: {"0F1E2D3C4B5A69788796A5B4C3D2E1F0"}, cpu: {xeon},
		}
		for _, c := range change {
			c(w)
		}
		return w
	}
	set := func(k license.Kind, v ...string) func(want) {
		return func(w want) {
			if len(v) == 0 {
				delete(w, k)
			} else {
				w[k] = v
			}
		}
	}
	virtio := func() tree {
		return metal().without("/sys/").with(
			tree{"/proc/cpuinfo": vmCPU(), "/sys/class/dmi/id/sys_vendor": "QEMU\n"},
			adapter("eth0", "pci0/0000:00:03.0/virtio2", "52:54:00:ab:cd:ef", "0"),
			disk("vda", "pci0/0000:00:02.0/virtio1", tree{"block/vda/serial": "vol-0a1b2c3d\n"}),
			disk("sda", "pci0/ata1/0:0:0:0", tree{"vpd_pg80": vpd("QM00001")}),
		)
	}
	bonded := func() tree {
		return metal().with(
			adapter("eno1", "pci0/0000:01:00.0", "3c:7c:3f:11:22:33", "3"),
			adapter("eno2", "pci0/0000:01:00.1", "3c:7c:3f:11:22:33", "3"),
			virtual("bond0", "3c:7c:3f:11:22:33"),
			tree{"permanent/eno1": "3c:7c:3f:11:22:33", "permanent/eno2": "3c:7c:3f:11:22:34"},
		)
	}
	functions := func() tree {
		tr := metal()
		for i := range 64 {
			bus := fmt.Sprintf("pci0/0000:01:10.%d", i)
			tr = tr.with(adapter(fmt.Sprintf("eno1v%d", i), bus, fmt.Sprintf("3c:7c:3f:aa:00:%02x", i), "0"),
				tree{"/sys/devices/" + bus + "/physfn": "-> ../0000:01:00.0"})
		}
		return tr
	}
	for name, c := range map[string]struct {
		tree tree
		env  string
		want want
	}{
		"metal":               {metal(), "metal", metalWant()},
		"adapter down":        {metal().with(tree{"/sys/devices/pci0/0000:01:00.0/net/eno1/operstate": "down\n"}), "metal", metalWant()},
		"bonded":              {bonded(), "metal", metalWant()},
		"64 functions":        {functions(), "metal", metalWant()},
		"random address":      {metal().with(tree{"/sys/devices/pci0/0000:01:00.1/net/eno2/addr_assign_type": "1\n"}), "metal", metalWant(set(mac, "3C:7C:3F:11:22:33"))},
		"fixed on USB":        {metal().with(tree{"/sys/devices/pci0/usb1/1-1/removable": "fixed\n"}), "metal", metalWant(set(mac, "00:E0:4C:68:00:01", "3C:7C:3F:11:22:33", "3C:7C:3F:11:22:34"))},
		"infiniband":          {metal().with(tree{"/sys/devices/pci0/0000:01:00.1/net/eno2/type": "32\n"}), "metal", metalWant(set(mac, "3C:7C:3F:11:22:33"))},
		"readable board":      {metal().with(tree{"/sys/class/dmi/id/board_serial": "XK123456789\n", "/sys/class/dmi/id/product_uuid": "4c4c4544-0036-5910-8052-b4c04f4d3532\n"}), "metal", metalWant(set(board, "XK123456789"), set(uuid, "4C4C4544-0036-5910-8052-B4C04F4D3532"))},
		"placeholder board":   {metal().with(tree{"/sys/class/dmi/id/board_serial": "To be filled by O.E.M.\n", "/sys/class/dmi/id/product_uuid": "03000200-0400-0500-0006-000700080009\n"}), "metal", metalWant()},
		"device tree":         {metal().with(tree{"/sys/firmware/devicetree/base/serial-number": "10000000a1b2c3d4\x00", "/proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 1\n"}), "metal", metalWant(set(board, "10000000A1B2C3D4"), set(cpu, "0X41 8 0X4 0XD0B 1"))},
		"uninitialized":       {metal().with(tree{"/etc/machine-id": "uninitialized\n"}), "metal", metalWant(set(osid))},
		"D-Bus id goes first": {metal().with(tree{"/var/lib/dbus/machine-id": "11112222333344445555666677778888\n"}), "metal", metalWant(set(osid, "11112222333344445555666677778888"))},
		"odd serials": {
			metal().with(
				disk("sdd", "pci0/ata4/4:0:0:0", tree{"vpd_pg80": vpd("A|B")}),
				disk("sde", "pci0/ata5/5:0:0:0", tree{"vpd_pg80": vpd("A,B")}),
				disk("sdf", "pci0/ata6/6:0:0:0", tree{"vpd_pg80": vpd("\xff\xfe\x01")}),
				disk("sdg", "pci0/ata7/7:0:0:0", tree{"vpd_pg80": vpd("größe")}),
				disk("sdh", "pci0/ata8/8:0:0:0", tree{"vpd_pg80": vpd("0000000000")}),
				disk("sdi", "pci0/ata9/9:0:0:0", tree{"vpd_pg80": "\x00\x80\xff\xffSHORT"}),
				disk("sdj", "pci0/ata10/10:0:0:0", tree{"vpd_pg80": "x"}),
				disk("sdk", "pci0/ata11/11:0:0:0", tree{"vpd_pg80": vpd("mid\x00dle"), "wwid": "naa.1\n"}),
				disk("sdl", "pci0/ata12/12:0:0:0", tree{"wwid": "naa.5000c500ffffffff\n"}),
			), "metal",
			metalWant(set(dsk, "GRößE", "NAA.1", "NAA.5000C500FFFFFFFF", "S4EMNX0R123456", "SHORT", "ZC1234AB")),
		},
		"eMMC":           {metal().with(tree{"/sys/devices/pci0/mmc_host/mmc0/mmc0:aaaa/type": "MMC\n"}), "metal", metalWant(set(dsk, "0X1234ABCD", "S4EMNX0R123456", "ZC1234AB"))},
		"multipath NVMe": {metal().with(disk("nvme1n1", "virtual/nvme-subsystem/nvme-subsys1", tree{"serial": "MP1\n"})), "metal", metalWant(set(dsk, "MP1", "S4EMNX0R123456", "ZC1234AB"))},
		"virtual machine": {virtio(), "vm", want{
			mac: {"52:54:00:AB:CD:EF"}, dsk: {"VOL-0A1B2C3D"}, osid: {"0F1E2D3C4B5A69788796A5B4C3D2E1F0"}, cpu: {xeon},
		}},
		"Xen guest":                   {virtio().with(tree{"/sys/hypervisor/type": "xen\n", "/sys/hypervisor/uuid": "5f3e1c2d-aaaa-bbbb-cccc-0123456789ab\n"}), "vm", want{mac: {"52:54:00:AB:CD:EF"}, dsk: {"VOL-0A1B2C3D"}, osid: {"0F1E2D3C4B5A69788796A5B4C3D2E1F0"}, cpu: {xeon}, uuid: {"5F3E1C2D-AAAA-BBBB-CCCC-0123456789AB"}}},
		"Docker":                      {metal().with(tree{"/.dockerenv": ""}), "container", want{cpu: {xeon}}},
		"Podman":                      {metal().with(tree{"/run/.containerenv": "engine=podman\n"}), "container", want{cpu: {xeon}}},
		"Kubernetes":                  {metal().with(tree{"/proc/1/cgroup": "1:name=systemd:/kubepods/burstable/pod1\n"}), "container", want{cpu: {xeon}}},
		"containerd":                  {metal().with(tree{"/proc/self/mountinfo": "600 500 0:99 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs\n"}), "container", want{cpu: {xeon}}},
		"Docker with an id":           {metal().with(tree{"/.dockerenv": "", "/etc/licensed/machine-id": "\ufeff# set by ops\n\n cluster-7 \n"}), "container", want{cpu: {xeon}, custom: {"CLUSTER-7"}}},
		"live system with overlay":    {metal().with(tree{"/proc/self/mountinfo": "20 1 0:22 / / rw - overlay overlay rw,lowerdir=/run/live/rootfs\n"}), "metal", metalWant()},
		"LXD virtual machine":         {virtio().with(tree{"/dev/lxd/sock": ""}), "vm", want{mac: {"52:54:00:AB:CD:EF"}, dsk: {"VOL-0A1B2C3D"}, osid: {"0F1E2D3C4B5A69788796A5B4C3D2E1F0"}, cpu: {xeon}}},
		"LXD container":               {metal().with(tree{"/dev/lxd/sock": "", "/proc/self/mountinfo": lxcMounts}), "container", want{cpu: {xeon}}},
		"LXD container, unprivileged": {metal().with(tree{"/dev/lxd/sock": "", "/proc/self/uid_map": "         0    1000000 1000000000\n"}), "container", want{cpu: {xeon}}},
		"Incus virtual machine":       {virtio().with(tree{"/dev/incus/sock": "", "/proc/self/uid_map": "         0          0 4294967295\n"}), "vm", want{mac: {"52:54:00:AB:CD:EF"}, dsk: {"VOL-0A1B2C3D"}, osid: {"0F1E2D3C4B5A69788796A5B4C3D2E1F0"}, cpu: {xeon}}},
		"LXD container, old":          {metal().with(tree{"/dev/lxd/sock": "", "/dev/.lxc/proc/uptime": "1\n"}), "container", want{cpu: {xeon}}},
		"lxcfs on its host":           {metal().with(tree{"/proc/self/mountinfo": "60 22 0:45 / /var/lib/lxcfs rw - fuse.lxcfs lxcfs rw\n"}), "metal", metalWant()},
		"WSL":                         {metal().with(tree{"/proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n", "/run/systemd/container": "wsl\n"}), "vm", metalWant(set(mac), set(dsk))},
		"empty":                       {tree{"/etc/hostname": "x"}, "metal", want{}},
		"asset tag is nonsense":       {metal().with(tree{"/etc/licensed/machine-id": "a|b\n"}), "metal", metalWant()},
		"asset tag of root's":         {metal().with(tree{"/etc/licensed/machine-id": "root: cluster-7\n"}), "metal", metalWant()},
		"asset tag is empty":          {metal().with(tree{"/etc/licensed/machine-id": "\n# nothing\n"}), "metal", metalWant()},
		"asset tag is a folder":       {metal().with(tree{"/etc/licensed/machine-id/x": "y"}), "metal", metalWant()},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.tree.collect(t)
			if s.Environment != c.env {
				t.Errorf("environment %q, want %q", s.Environment, c.env)
			}
			if d := cmp.Diff(c.want, values(s)); d != "" {
				t.Error(d)
			}
			if strings.HasPrefix(name, "asset tag") && s.Notes[custom] == "" {
				t.Error("nobody is told")
			}
		})
	}
}

// What a licence is bound to on one day is recognised on another.
func TestDriftStillMatches(t *testing.T) {
	binding, err := license.Bind(license.PolicyFuzzy, metal().collect(t).Digests("cad-pro"))
	check(t, err)
	for name, c := range map[string]struct {
		tree tree
		ok   bool
	}{
		"same":                  {metal(), true},
		"network card replaced": {metal().with(adapter("eno1", "pci0/0000:01:00.0", "aa:bb:cc:11:22:33", "0"), adapter("eno2", "pci0/0000:01:00.1", "aa:bb:cc:11:22:34", "0")), true},
		"disks replaced":        {metal().without("/sys/block").without("/sys/devices/pci0/ata1").without("/sys/devices/pci0/0000:02"), true},
		"installed anew":        {metal().with(tree{"/etc/machine-id": "ffff2d3c4b5a69788796a5b4c3d2e1f0\n"}), true},
		"moved to a container":  {metal().with(tree{"/.dockerenv": ""}), false},
		"garbage, then healed":  {metal().with(tree{"/etc/machine-id": "\x00\x00"}), true},
		"another machine": {metal().without("/sys/block").without("/sys/class/net").with(
			tree{"/etc/machine-id": "ffff2d3c4b5a69788796a5b4c3d2e1f0\n"}), false},
	} {
		if got := license.Match(binding, c.tree.collect(t).Digests("cad-pro")).OK; got != c.ok {
			t.Errorf("%s: match %v", name, got)
		}
	}
}

// A container without an id is too weak to bind to, one with an id is not.
func TestContainerBinding(t *testing.T) {
	docker := metal().with(tree{"/.dockerenv": ""})
	s := docker.collect(t)
	if _, err := license.Bind(license.PolicyFuzzy, s.Digests("p")); license.ReasonOf(err) != license.MachineWeak {
		t.Errorf("got %v", err)
	}
	for _, kind := range []license.Kind{license.KindOS, license.KindDisk, license.KindMAC} {
		if !strings.Contains(s.Notes[kind], "LICENSED_MACHINE_ID") {
			t.Errorf("%s: note %q", kind, s.Notes[kind])
		}
	}
	_, err := license.Bind(license.PolicyFuzzy, docker.with(tree{"/etc/licensed/machine-id": "c7\n"}).collect(t).Digests("p"))
	check(t, err)
}

// A node of a cluster has hundreds of interfaces that are none of its own.
func TestManyInterfaces(t *testing.T) {
	tr := metal()
	for i := range 600 {
		tr = tr.with(virtual(fmt.Sprintf("cali%04d", i), "ee:ee:ee:ee:ee:ee"), disk(fmt.Sprintf("dm-%04d", i), "virtual/l", nil))
	}
	if d := cmp.Diff(values(metal().collect(t)), values(tr.collect(t))); d != "" {
		t.Error(d)
	}
}

// What only root can read would make two machines of one.
func TestCustomOnlyForRoot(t *testing.T) {
	s := metal().with(tree{"/etc/licensed/machine-id": "root: cluster-7\n"}).collect(t)
	closed := metal().with(tree{"/etc/licensed/machine-id": "cluster-7\n"}).write(t)
	check(t, os.Chmod(filepath.Join(closed, "/etc/licensed"), 0o700))
	inside, err := fingerprint.Collector{Root: closed}.Collect(t.Context())
	check(t, err)
	if v := inside.Values[license.KindCustom]; v != nil {
		t.Errorf("in a closed folder: %v", v)
	}
	if note := s.Notes[license.KindCustom]; !strings.Contains(note, "chmod o+r "+fingerprint.CustomFile()) {
		t.Errorf("note %q", note)
	}
}

func TestNotes(t *testing.T) {
	s := metal().with(tree{"/sys/devices/pci0/ata1/host0/target0:0:0/0:0:0:0/vpd_pg80": vpd("none")}).collect(t)
	for kind, want := range map[license.Kind]string{
		license.KindBoard: "only root", license.KindUUID: "only root", license.KindDisk: "placeholder",
	} {
		if !strings.Contains(s.Notes[kind], want) {
			t.Errorf("%s: %q", kind, s.Notes[kind])
		}
	}
}

func TestPlaceholders(t *testing.T) {
	c := fingerprint.Collector{Root: metal().write(t), Placeholders: []string{" zc1234ab "}}
	s, err := c.Collect(t.Context())
	check(t, err)
	if d := cmp.Diff([]string{"NAA.5000C500A1B2C3D4", "S4EMNX0R123456"}, s.Values[license.KindDisk]); d != "" {
		t.Error(d)
	}
	for _, serial := range []string{
		"None", "N/A", "Default string", "0123456789", "00000000", "FFFF-FFFF", "................", "XXXXXXXX",
		"System Serial Number", "QM00007", "not specified",
	} {
		tr := tree{"/etc/hostname": "x"}.with(disk("sda", "pci0/ata1/0:0:0:0", tree{"serial": serial}))
		if got := tr.collect(t).Values[license.KindDisk]; got != nil {
			t.Errorf("%q counts as %q", serial, got)
		}
	}
	for _, address := range []string{"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "52:54:00:12:34:56", "3c:7c:3f:11:22", "3c:7c:3f:11:22:zz"} {
		tr := tree{"/etc/hostname": "x"}.with(adapter("eth0", "pci0/0000:01:00.0", address, "0"))
		if got := tr.collect(t).Values[license.KindMAC]; got != nil {
			t.Errorf("%q counts as %q", address, got)
		}
	}
}

func BenchmarkCollectMetal(b *testing.B) {
	c := fingerprint.Collector{Root: metal().write(b)}
	b.ReportAllocs()
	for b.Loop() {
		_, err := c.Collect(b.Context())
		check(b, err)
	}
}
