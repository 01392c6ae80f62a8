package fingerprint_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

const (
	match   = license.OutcomeMatch
	changed = license.OutcomeChanged
	absent  = license.OutcomeAbsent
	unbound = license.OutcomeUnbound
)

// One machine on two days, or what looks like one: what each component did, and
// whether the licence of the first day holds on the second.
func TestTwoStates(t *testing.T) {
	type outcomes = map[license.Kind]license.Outcome
	all := func(change outcomes) outcomes {
		o := outcomes{"os": match, "disk": match, "mac": match, "cpu": match}
		maps.Copy(o, change)
		return o
	}
	open := tree{"/sys/class/dmi/id/board_serial": "XK123456789\n", "/sys/class/dmi/id/product_uuid": "4c4c4544-0036-5910-8052-b4c04f4d3532\n"}
	otherID := tree{"/etc/machine-id": "ffff2d3c4b5a69788796a5b4c3d2e1f0\n"}
	docker := metal().with(tree{"/.dockerenv": "", "/etc/licensed/machine-id": "cluster-7\n"})
	vm := guest("52:54:00:ab:cd:ef", "vol-0a1b2c3d")
	template := guest("52:54:00:12:34:56", "drive-scsi0")
	for name, c := range map[string]struct {
		before, after tree
		want          outcomes
		ok            bool // it is the bound machine by the policy fuzzy
		same          bool // the very same set
	}{
		"after a reboot": {before: metal(), after: metal(), want: all(nil), ok: true, same: true},
		"adapters down": {
			before: metal(), after: metal().with(tree{"/sys/devices/pci0/0000:01:00.0/net/eno1/operstate": "down\n", "/sys/devices/pci0/0000:01:00.1/net/eno2/operstate": "down\n"}),
			want: all(nil), ok: true, same: true,
		},
		"adapters bonded": {before: metal(), after: bonded(), want: all(nil), ok: true, same: true},
		"adapters renamed": {
			before: metal(), after: metal().without("/sys/class/net/eno").without("/sys/devices/pci0/0000:01").with(
				adapter("enp1s0f0", "pci0/0000:01:00.0", "3c:7c:3f:11:22:33", "0"), adapter("lan", "pci0/0000:01:00.1", "3c:7c:3f:11:22:34", "0")),
			want: all(nil), ok: true, same: true,
		},
		"another address set": {
			before: metal(), after: metal().with(adapter("eno1", "pci0/0000:01:00.0", "02:11:22:33:44:55", "3"), tree{"permanent/eno1": "3c:7c:3f:11:22:33"}),
			want: all(nil), ok: true, same: true,
		},
		"64 functions made": {before: metal(), after: functions(), want: all(nil), ok: true, same: true},
		"VPN set up": {
			before: metal(), after: metal().with(virtual("wg0", "00:00:00:00:00:00"), virtual("tap0", "4e:11:22:33:44:55"), virtual("cscotun0", "00:05:9a:3c:7a:00")),
			want: all(nil), ok: true, same: true,
		},
		"WSL at the next boot": {
			before: subsystem("00:15:5d:aa:bb:cc"), after: subsystem("00:15:5d:11:22:33"),
			want: outcomes{"os": match, "cpu": match}, ok: true, same: true,
		},
		"network card replaced": {
			before: metal(), after: metal().with(adapter("eno1", "pci0/0000:01:00.0", "aa:bb:cc:11:22:33", "0"), adapter("eno2", "pci0/0000:01:00.1", "aa:bb:cc:11:22:34", "0")),
			want: all(outcomes{"mac": changed}), ok: true,
		},
		"network card taken out": {before: metal(), after: metal().without("/sys/class/net"), want: all(outcomes{"mac": absent}), ok: true},
		"disks replaced": {
			before: metal(), after: metal().without("/sys/block").with(disk("nvme0n1", "pci0/0000:02:00.0/nvme/nvme0", tree{"serial": "S6NEW0T999999\n"})),
			want: all(outcomes{"disk": changed}), ok: true,
		},
		"one of two disks replaced": {before: metal(), after: metal().without("/sys/block/sda"), want: all(nil), ok: true},
		"installed anew":            {before: metal(), after: metal().with(otherID), want: all(outcomes{"os": changed}), ok: true},
		"installed anew on a new disk": {
			before: metal(), after: metal().with(otherID).without("/sys/block"), want: all(outcomes{"os": changed, "disk": absent}),
		},
		"firmware updated": { // it lost the board's serial, made another UUID, and numbers the slots anew
			before: metal().with(open), after: metal().with(open, tree{
				"/sys/class/dmi/id/board_serial": "Default string\n", "/sys/class/dmi/id/product_uuid": "03000200-0400-0500-0006-000700080009\n", "/sys/class/dmi/id/bios_version": "2.0\n",
			}).without("/sys/class/net/eno1").with(adapter("eno3", "pci0/0000:03:00.0", "3c:7c:3f:11:22:33", "0")),
			want: all(outcomes{"board": absent, "uuid": absent}), ok: true,
		},
		"firmware updated, board only": {
			before: metal().with(open), after: metal().with(open, tree{"/sys/class/dmi/id/board_serial": "Default string\n"}),
			want: all(outcomes{"board": absent, "uuid": match}), ok: true,
		},
		"firmware opened to all":   {before: metal(), after: metal().with(open), want: all(outcomes{"board": unbound, "uuid": unbound}), ok: true},
		"firmware closed again":    {before: metal().with(open), after: metal(), want: all(outcomes{"board": absent, "uuid": absent}), ok: true},
		"garbage":                  {before: metal(), after: garbage(), want: outcomes{"os": absent, "disk": match, "mac": match, "cpu": absent}, ok: true},
		"bound to garbage, healed": {before: garbage(), after: metal(), want: outcomes{"os": unbound, "disk": match, "mac": match, "cpu": unbound}, ok: true},
		"moved into a container":   {before: metal(), after: metal().with(tree{"/.dockerenv": ""}), want: outcomes{"os": absent, "disk": absent, "mac": absent, "cpu": match}},
		"container on another host": {
			before: docker, after: docker.without("/sys/class/net").without("/sys/block").with(otherID), want: outcomes{"custom": match, "cpu": match},
			ok: true, same: true,
		},
		"container of another cluster": {before: docker, after: docker.with(tree{"/etc/licensed/machine-id": "cluster-8\n"}), want: outcomes{"custom": changed, "cpu": match}},
		// A clone shows the machine id that its image had. The chain of check-ins
		// finds it, not the fingerprint; see DESIGN 3, fork.
		"VM cloned": {
			before: vm, after: guest("52:54:00:11:22:33", "vol-ffffeeee"), want: outcomes{"os": match, "disk": changed, "mac": changed, "cpu": match}, ok: true,
		},
		"VM cloned with a new id": {
			before: vm, after: guest("52:54:00:11:22:33", "vol-ffffeeee").with(otherID), want: outcomes{"os": changed, "disk": changed, "mac": changed, "cpu": match},
		},
		"VM restored from a copy": {before: vm, after: vm, want: all(nil), ok: true, same: true},
		"VM moved to another host": {
			before: vm, after: vm.with(tree{"/proc/cpuinfo": "model name\t: AMD EPYC 7763\nflags\t: hypervisor\n"}), want: all(outcomes{"cpu": changed}), ok: true,
		},
		// What a template hands out alike does not make two machines one.
		"two VMs of one template": {before: template, after: template.with(otherID), want: outcomes{"os": changed, "cpu": match}},
		"another machine": {
			before: metal(), after: metal().without("/sys/block").without("/sys/class/net").with(otherID), want: outcomes{"os": changed, "disk": absent, "mac": absent, "cpu": match},
		},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := c.before.collect(t), c.after.collect(t)
			fp := before.Digests("cad-pro")
			report := license.Match(license.Binding{Policy: license.PolicyFuzzy, Salt: fp.Salt, Components: fp.Components}, after.Digests("cad-pro"))
			got := outcomes{}
			for _, m := range report.Components {
				got[m.Kind] = m.Outcome
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if report.OK != c.ok {
				t.Errorf("match %v", report.OK)
			}
			if same := cmp.Equal(before.Values, after.Values); same != c.same {
				t.Errorf("the same set: %v", same)
			}
		})
	}
}

// garbage is the server while its files cannot be read rightly.
func garbage() tree {
	return metal().with(tree{
		"/etc/machine-id": "\x00\x00\xff\n", "/proc/cpuinfo": "\xff\xfe:::\n\n",
		"/sys/devices/pci0/ata1/host0/target0:0:0/0:0:0:0/vpd_pg80": "\x00\x80\xff", "/sys/devices/pci0/ata1/host0/target0:0:0/0:0:0:0/wwid": "\x01\x02",
		"/sys/devices/pci0/0000:01:00.1/net/eno2/address": "3c:7c\n",
	})
}

// What garbage leaves is exact, and nothing of it counts.
func TestGarbage(t *testing.T) {
	want := values{"mac": {"3C:7C:3F:11:22:33"}, "disk": {"S4EMNX0R123456"}}
	if d := cmp.Diff(want, garbage().collect(t).Values); d != "" {
		t.Error(d)
	}
	s := garbage().collect(t)
	if s.Notes[license.KindOS] == "" || s.Environment != fingerprint.Metal {
		t.Errorf("%q, notes %v", s.Environment, s.Notes)
	}
}
