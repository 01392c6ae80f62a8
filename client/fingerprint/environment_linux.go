package fingerprint

import (
	"slices"
	"strings"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
)

// findEnvironment finds out what kind of machine this is.
func (g *gathering) findEnvironment() {
	switch {
	case g.environment != "":
		g.set.Environment = g.environment
	case g.inContainer():
		g.set.Environment = Container
	case g.inVM():
		g.set.Environment = VM
	default:
		g.set.Environment = Metal
	}
}

func (g *gathering) inContainer() bool {
	for _, file := range []string{
		"/.dockerenv", "/run/.containerenv", "/run/systemd/container", "/run/host/container-manager",
		"/var/run/secrets/kubernetes.io/serviceaccount", "/dev/.lxc",
	} {
		if g.exists(file) && !g.saysTransparent(file) {
			return true
		}
	}
	if groups := g.head("/proc/1/cgroup", maxRead); containsAny(groups, "docker", "kubepods", "containerd", "libpod", "/lxc/", "lxc.payload") {
		return true
	}
	if g.exists("/proc/vz") && !g.exists("/proc/bc") { // Virtuozzo; the host has both
		return true
	}
	// LXD and Incus give this socket to their virtual machines as well.
	guest := g.exists("/dev/lxd/sock") || g.exists("/dev/incus/sock")
	if guest && g.mapsUsers() {
		return true
	}
	for line := range strings.Lines(g.head("/proc/self/mountinfo", 16*maxRead)) {
		// A line reads: id parent major:minor root mountpoint options … - type source superoptions.
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if strings.HasPrefix(fields[4], "/etc/") && containsAny(fields[3], "/kubelet/pods/", "/docker/containers/", "/containers/storage/") {
			return true // its names of hosts are made for it
		}
		if fields[4] == "/" && strings.Contains(line, " - overlay ") &&
			containsAny(line, "/docker/", "containerd", "/containers/storage/", "kubelet", "/buildkit/") {
			return true
		}
		if guest && strings.HasPrefix(fields[4], "/proc/") && strings.Contains(line, " - fuse.lxcfs ") {
			return true
		}
	}
	return false
}

// mapsUsers reports whether the users here are others outside, as in a
// container without privileges.
func (g *gathering) mapsUsers() bool {
	users := strings.Fields(g.head("/proc/self/uid_map", 256))
	return len(users) >= 3 && !slices.Equal(users, []string{"0", "0", "4294967295"})
}

// saysTransparent reports whether a file names as the container something that
// shows the machine as it is, and the machine's own id: the Linux subsystem of
// Windows, and the wrappings of desktop programs.
func (g *gathering) saysTransparent(file string) bool {
	switch strings.TrimSpace(g.head(file, 64)) {
	case "wsl", "flatpak", "pressure-vessel":
		return true
	}
	return false
}

func (g *gathering) inVM() bool {
	if g.underWindows() || g.exists("/sys/hypervisor/type") {
		return true
	}
	for line := range strings.Lines(g.head("/proc/cpuinfo", maxRead)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "flags" {
			if strings.Contains(value+" ", " hypervisor ") || strings.Contains(value, " hypervisor\n") {
				return true
			}
			break
		}
	}
	return machine.Virtual(g.head("/sys/class/dmi/id/sys_vendor", 256), g.head("/sys/class/dmi/id/product_name", 256))
}

// underWindows reports whether this is the Linux subsystem of Windows.
func (g *gathering) underWindows() bool {
	release := strings.ToLower(g.head("/proc/sys/kernel/osrelease", 256))
	return strings.Contains(release, "microsoft")
}

func containsAny(s string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}
