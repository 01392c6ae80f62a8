package fingerprint_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
)

// phy is a radio with its own address, and link the way to it from an interface.
func phy(bus, address string) tree {
	return tree{"/sys/devices/" + bus + "/ieee80211/phy0/macaddress": address + "\n"}
}

func link(name, bus string) tree {
	return tree{"/sys/devices/" + bus + "/net/" + name + "/phy80211": "-> ../../ieee80211/phy0"}
}

func TestTrees(t *testing.T) {
	type want = values
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
	virtio := func() tree { return guest("52:54:00:ab:cd:ef", "vol-0a1b2c3d") }
	for name, c := range map[string]struct {
		tree tree
		env  string
		want want
	}{
		"metal":        {metal(), "metal", metalWant()},
		"adapter down": {metal().with(tree{"/sys/devices/pci0/0000:01:00.0/net/eno1/operstate": "down\n"}), "metal", metalWant()},
		"bonded":       {bonded(), "metal", metalWant()},
		"64 functions": {functions(), "metal", metalWant()},
		"random address": {
			metal().with(tree{"/sys/devices/pci0/0000:01:00.1/net/eno2/addr_assign_type": "1\n"}), "metal", metalWant(set(mac, "3C:7C:3F:11:22:33")),
		},
		"fixed on USB": {
			metal().with(tree{"/sys/devices/pci0/usb1/1-1/removable": "fixed\n"}), "metal", metalWant(set(mac, "00:E0:4C:68:00:01", "3C:7C:3F:11:22:33", "3C:7C:3F:11:22:34")),
		},
		"infiniband": {
			metal().with(tree{"/sys/devices/pci0/0000:01:00.1/net/eno2/type": "32\n"}), "metal", metalWant(set(mac, "3C:7C:3F:11:22:33")),
		},
		"readable board": {
			metal().with(
				tree{"/sys/class/dmi/id/board_serial": "XK123456789\n", "/sys/class/dmi/id/product_uuid": "4c4c4544-0036-5910-8052-b4c04f4d3532\n"},
			), "metal", metalWant(set(board, "XK123456789"), set(uuid, "4C4C4544-0036-5910-8052-B4C04F4D3532")),
		},
		"placeholder board": {
			metal().with(
				tree{"/sys/class/dmi/id/board_serial": "To be filled by O.E.M.\n", "/sys/class/dmi/id/product_uuid": "03000200-0400-0500-0006-000700080009\n"},
			), "metal", metalWant(),
		},
		"device tree": {
			metal().with(
				tree{"/sys/firmware/devicetree/base/serial-number": "10000000a1b2c3d4\x00", "/proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 1\n"},
			), "metal", metalWant(set(board, "10000000A1B2C3D4"), set(cpu, "0X41 8 0X4 0XD0B 1")),
		},
		"uninitialized": {metal().with(tree{"/etc/machine-id": "uninitialized\n"}), "metal", metalWant(set(osid))},
		"D-Bus id goes first": {
			metal().with(tree{"/var/lib/dbus/machine-id": "11112222333344445555666677778888\n"}), "metal", metalWant(set(osid, "11112222333344445555666677778888")),
		},
		"odd serials": {
			metal().with(
				disk("sdd", "pci0/ata4/4:0:0:0", tree{"vpd_pg80": vpd("A|B")}),
				disk("sde", "pci0/ata5/5:0:0:0", tree{"vpd_pg80": vpd("A,B")}),
				disk("sdf", "pci0/ata6/6:0:0:0", tree{"vpd_pg80": vpd("\xff\xfe\x01")}),
				disk("sdg", "pci0/ata7/7:0:0:0", tree{"vpd_pg80": vpd("größe")}),
				disk("sdh", "pci0/ata8/8:0:0:0", tree{"vpd_pg80": vpd("0000000000")}),
				disk("sdi", "pci0/ata9/9:0:0:0", tree{"vpd_pg80": "\x00\x80\xff\xffSHORT"}),
				disk("sdj", "pci0/ata10/10:0:0:0", tree{"vpd_pg80": "x"}),
				disk("sdk", "pci0/ata11/11:0:0:0", tree{"vpd_pg80": vpd("mid\x00dle"), "wwid": "naa.5002538f41b2c3d4\n"}),
				disk("sdl", "pci0/ata12/12:0:0:0", tree{"wwid": "naa.5000c500ffffffff\n"}),
			), "metal",
			metalWant(set(dsk, "GRößE", "NAA.5000C500FFFFFFFF", "NAA.5002538F41B2C3D4", "S4EMNX0R123456", "SHORT", "ZC1234AB")),
		},
		"eMMC": {
			metal().with(tree{"/sys/devices/pci0/mmc_host/mmc0/mmc0:aaaa/type": "MMC\n"}), "metal", metalWant(set(dsk, "0X1234ABCD", "S4EMNX0R123456", "ZC1234AB")),
		},
		"multipath NVMe": {
			metal().with(disk("nvme1n1", "virtual/nvme-subsystem/nvme-subsys1", tree{"serial": "MP1\n"})), "metal", metalWant(set(dsk, "MP1", "S4EMNX0R123456", "ZC1234AB")),
		},
		"virtual machine": {virtio(), "vm", want{
			mac: {"52:54:00:AB:CD:EF"}, dsk: {"VOL-0A1B2C3D"}, osid: {"0F1E2D3C4B5A69788796A5B4C3D2E1F0"}, cpu: {xeon},
		}},
		"Xen guest": {
			virtio().with(
				tree{"/sys/hypervisor/type": "xen\n", "/sys/hypervisor/uuid": "5f3e1c2d-aaaa-bbbb-cccc-0123456789ab\n"},
			), "vm", want{mac: {"52:54:00:AB:CD:EF"}, dsk: {"VOL-0A1B2C3D"}, osid: {"0F1E2D3C4B5A69788796A5B4C3D2E1F0"}, cpu: {xeon}, uuid: {"5F3E1C2D-AAAA-BBBB-CCCC-0123456789AB"}},
		},
		"Docker":     {metal().with(tree{"/.dockerenv": ""}), "container", want{cpu: {xeon}}},
		"Podman":     {metal().with(tree{"/run/.containerenv": "engine=podman\n"}), "container", want{cpu: {xeon}}},
		"Kubernetes": {metal().with(tree{"/proc/1/cgroup": "1:name=systemd:/kubepods/burstable/pod1\n"}), "container", want{cpu: {xeon}}},
		"containerd": {
			metal().with(
				tree{"/proc/self/mountinfo": "600 500 0:99 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs\n"},
			), "container", want{cpu: {xeon}},
		},
		"Docker with an id": {
			metal().with(
				tree{"/.dockerenv": "", "/etc/licensed/machine-id": "\ufeff# set by ops\n\n cluster-7 \n"},
			), "container", want{cpu: {xeon}, custom: {"CLUSTER-7"}},
		},
		"live system with overlay": {
			metal().with(
				tree{"/proc/self/mountinfo": "20 1 0:22 / / rw - overlay overlay rw,lowerdir=/run/live/rootfs\n"},
			), "metal", metalWant(),
		},
		"LXD virtual machine": {
			virtio().with(tree{"/dev/lxd/sock": ""}), "vm", want{mac: {"52:54:00:AB:CD:EF"}, dsk: {"VOL-0A1B2C3D"}, osid: {"0F1E2D3C4B5A69788796A5B4C3D2E1F0"}, cpu: {xeon}},
		},
		"LXD container": {metal().with(tree{"/dev/lxd/sock": "", "/proc/self/mountinfo": lxcMounts}), "container", want{cpu: {xeon}}},
		"LXD container, unprivileged": {
			metal().with(tree{"/dev/lxd/sock": "", "/proc/self/uid_map": "         0    1000000 1000000000\n"}), "container", want{cpu: {xeon}},
		},
		"Incus virtual machine": {
			virtio().with(
				tree{"/dev/incus/sock": "", "/proc/self/uid_map": "         0          0 4294967295\n"},
			), "vm", want{mac: {"52:54:00:AB:CD:EF"}, dsk: {"VOL-0A1B2C3D"}, osid: {"0F1E2D3C4B5A69788796A5B4C3D2E1F0"}, cpu: {xeon}},
		},
		"LXD container, old": {metal().with(tree{"/dev/lxd/sock": "", "/dev/.lxc/proc/uptime": "1\n"}), "container", want{cpu: {xeon}}},
		"lxcfs on its host": {
			metal().with(tree{"/proc/self/mountinfo": "60 22 0:45 / /var/lib/lxcfs rw - fuse.lxcfs lxcfs rw\n"}), "metal", metalWant(),
		},
		"WSL": {subsystem("00:15:5d:aa:bb:cc"), "vm", metalWant(set(mac), set(dsk))},
		// Adapters.
		"Wi-Fi with a private address": {
			metal().with(
				adapter("wlan0", "pci0/0000:03:00.0", "5e:aa:bb:cc:dd:ee", "3"),
				phy("pci0/0000:03:00.0", "f8:e4:e3:01:02:03"),
				link("wlan0", "pci0/0000:03:00.0"),
				tree{"permanent/wlan0": "f8:e4:e3:01:02:03"},
			), "metal", metalWant(set(mac, "3C:7C:3F:11:22:33", "3C:7C:3F:11:22:34", "F8:E4:E3:01:02:03")),
		},
		"access point upon Wi-Fi": {
			metal().with(
				adapter("wlan0", "pci0/0000:03:00.0", "f8:e4:e3:01:02:03", "0"),
				adapter("ap0", "pci0/0000:03:00.0", "fa:e4:e3:01:02:03", "0"),
				phy("pci0/0000:03:00.0", "f8:e4:e3:01:02:03"),
				link("wlan0", "pci0/0000:03:00.0"),
				link("ap0", "pci0/0000:03:00.0"),
			), "metal", metalWant(set(mac, "3C:7C:3F:11:22:33", "3C:7C:3F:11:22:34", "F8:E4:E3:01:02:03")),
		},
		"fixed within a dock": {
			metal().with(
				tree{"/sys/devices/pci0/usb1/1-2/removable": "removable\n", "/sys/devices/pci0/usb1/1-2/1-2.1/removable": "fixed\n"},
				adapter("enxin", "pci0/usb1/1-2/1-2.1/1-2.1:1.0", "00:e0:4c:11:22:33", "0"),
			), "metal", metalWant(),
		},
		"Thunderbolt dock": {
			metal().with(
				tree{"/sys/devices/pci0/0000:05:00.0/removable": "removable\n"},
				adapter("ens9", "pci0/0000:05:00.0/0000:06:00.0", "48:2a:e3:11:22:33", "0"),
				disk("nvme9n1", "pci0/0000:05:00.0/0000:07:00.0/nvme/nvme9", tree{"serial": "CASE1\n"}),
				adapter("enxin", "pci0/0000:05:00.0/usb7/7-1/7-1:1.0", "00:e0:4c:11:22:33", "0"),
				tree{"/sys/devices/pci0/0000:05:00.0/usb7/7-1/removable": "fixed\n"},
			), "metal", metalWant(),
		},
		"Thunderbolt cable": {
			metal().with(
				adapter("thunderbolt0", "pci0/0000:05:00.0/domain0/0-0/0-1/0-1.0", "02:8e:6b:11:22:33", "0"),
			), "metal", metalWant(),
		},
		"Bluetooth": {
			metal().with(
				tree{"/sys/devices/pci0/usb1/1-9/removable": "fixed\n"},
				adapter("bnep0", "pci0/usb1/1-9/1-9:1.0/bluetooth/hci0/hci0:1", "48:2a:e3:44:55:66", "0"),
			), "metal", metalWant(),
		},
		"mobile modem": {
			metal().with(
				tree{"/sys/devices/pci0/usb1/1-7/removable": "fixed\n", "/sys/devices/pci0/usb1/1-7/1-7:1.0/net/wwan0/uevent": "DEVTYPE=wwan\nINTERFACE=wwan0\n"},
				adapter("wwan0", "pci0/usb1/1-7/1-7:1.0", "5a:11:22:33:44:55", "0"),
			), "metal", metalWant(),
		},
		"part of an adapter": {
			metal().with(adapter("ens1s88", "pci0/0000:01:00.0/mlx5_core.sf.4", "3c:7c:3f:bb:00:01", "0")), "metal", metalWant(),
		},
		"VPN adapters": {
			metal().with(
				virtual("wg0", "00:00:00:00:00:00"),
				virtual("tap0", "4e:11:22:33:44:55"),
				virtual("cscotun0", "00:05:9a:3c:7a:00"),
				virtual("zt5u4y", "2e:11:22:33:44:55"),
				adapter("ppp0", "virtual/x", "00:53:45:00:00:00", "0"),
			), "metal", metalWant(),
		},
		"driver without an address": {
			metal().with(
				adapter("eno2", "pci0/0000:01:00.1", "3c:7c:3f:99:99:99", "3"),
				tree{"permanent/eno2": "00:00:00:00:00:00"},
			), "metal", metalWant(set(mac, "3C:7C:3F:11:22:33")),
		},
		// Disks.
		"storage network": {
			metal().with(
				disk("sdm", "platform/host3/session1/target3:0:0/3:0:0:1", tree{"vpd_pg80": vpd("LUN1")}),
				disk("sdn", "pci0/0000:04:00.0/host1/rport-1:0-2/target1:0:2/1:0:2:0", tree{"vpd_pg80": vpd("LUN2")}),
				disk("nvme3n1", "virtual/nvme-fabrics/ctl/nvme3", tree{"serial": "LUN3\n"}),
				disk("nvme4n1", "virtual/nvme-subsystem/nvme-subsys4", tree{"serial": "LUN4\n", "nvme4/transport": "tcp\n"}),
			), "metal", metalWant(),
		},
		"two paths on PCI": {
			metal().with(
				disk("nvme4n1", "virtual/nvme-subsystem/nvme-subsys4", tree{"serial": "DUAL4\n", "nvme4/transport": "pcie\n", "nvme5/transport": "pcie\n"}),
			), "metal", metalWant(set(dsk, "DUAL4", "S4EMNX0R123456", "ZC1234AB")),
		},
		"SATA by its name": {
			metal().with(disk("sdd", "pci0/ata4/4:0:0:0", tree{"wwid": ataName("ST4000NM0035", "ZC9876XY")})), "metal", metalWant(set(dsk, "S4EMNX0R123456", "ZC1234AB", "ZC9876XY")),
		},
		"disks of templates": {
			metal().with(
				disk("nvme5n1", "pci0/0000:08:00.0/nvme/nvme5", tree{"serial": "nvme_card-pd\n", "block/nvme5n1/wwid": "nvme.1ae0-6e766d655f636172642d7064-6e766d655f636172642d7064-00000001\n"}),
				disk("nvme6n1", "pci0/0000:09:00.0/nvme/nvme6", tree{"serial": "SN: 000001\n"}),
				disk("sdo", "pci0/virtio4/host0/0:0:1:0", tree{"vpd_pg80": vpd("persistent-disk-0")}),
				disk("sdp", "pci0/virtio4/host0/0:0:2:0", tree{"vpd_pg80": vpd("drive-scsi0")}),
				disk("sdq", "pci0/ata9/9:0:0:0", tree{"vpd_pg80": vpd("00000000000000000001"), "wwid": "t10.ATA     VMware Virtual IDE Hard Drive\n"}),
				disk("sdr", "pci0/ata10/10:0:0:0", tree{"wwid": "eui.0000000000000000\n"}),
			), "metal", metalWant(),
		},
		"VirtualBox": {
			metal().without("/sys/block").with(
				disk("sda", "pci0/ata3/2:0:0:0", tree{"vpd_pg80": vpd("VB0250140b-3cdb5e2c")}),
			), "metal", metalWant(set(dsk, "VB0250140B-3CDB5E2C")),
		},
		// Wrappings and containers.
		"Flatpak": {
			metal().with(tree{"/run/host/container-manager": "flatpak\n", "/.flatpak-info": "[Application]\n"}), "metal", metalWant(),
		},
		"Docker without a machine id": {metal().without("/etc/machine-id").with(tree{"/.dockerenv": ""}), "container", want{cpu: {xeon}}},
		"pod without a token": {
			metal().with(
				tree{"/proc/self/mountinfo": "800 700 0:99 / / rw - btrfs /dev/sda2 rw\n810 800 8:2 /var/lib/kubelet/pods/5a/etc-hosts /etc/hosts rw - ext4 /dev/sda2 rw\n"},
			), "container", want{cpu: {xeon}},
		},
		"Docker on another file system": {
			metal().with(
				tree{"/proc/self/mountinfo": "810 800 8:2 /var/lib/docker/containers/5a/resolv.conf /etc/resolv.conf rw - ext4 /dev/sda2 rw\n"},
			), "container", want{cpu: {xeon}},
		},
		"Virtuozzo":        {metal().with(tree{"/proc/vz/veinfo": ""}), "container", want{cpu: {xeon}}},
		"Virtuozzo's host": {metal().with(tree{"/proc/vz/veinfo": "", "/proc/bc/resources": ""}), "metal", metalWant()},
		"machine of a cloud": {
			metal().with(
				tree{"/sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "/sys/class/dmi/id/product_name": "m6g.large\n"},
			), "vm", metalWant(),
		},
		"whole machine of a cloud": {
			metal().with(
				tree{"/sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "/sys/class/dmi/id/product_name": "m6g.metal\n"},
			), "metal", metalWant(),
		},
		"id of D-Bus for root alone": {
			metal().with(tree{"/var/lib/dbus/machine-id": "root: 11112222333344445555666677778888\n"}), "metal", metalWant(),
		},
		"empty": {tree{"/etc/hostname": "x"}, "metal", want{}},
		"id in UTF-16": {
			metal().with(tree{"/etc/licensed/machine-id": "\xff\xfec\x007\x00\r\x00\n\x00"}), "metal", metalWant(set(custom, "C7")),
		},
		"id in UTF-16, big endian":    {metal().with(tree{"/etc/licensed/machine-id": "\xfe\xff\x00c\x007\x00"}), "metal", metalWant(set(custom, "C7"))},
		"id that counts":              {metal().with(tree{"/etc/licensed/machine-id": "00000042\n"}), "metal", metalWant(set(custom, "00000042"))},
		"asset tag is half of UTF-16": {metal().with(tree{"/etc/licensed/machine-id": "\xff\xfe"}), "metal", metalWant()},
		"asset tag is endless":        {metal().with(tree{"/etc/licensed/machine-id": strings.Repeat("x", 5000)}), "metal", metalWant()},
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
			if d := cmp.Diff(c.want, s.Values); d != "" {
				t.Error(d)
			}
			if strings.HasPrefix(name, "asset tag") && s.Notes[custom] == "" {
				t.Error("nobody is told")
			}
		})
	}
}
