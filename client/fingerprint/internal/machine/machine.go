// Package machine is the form in which the readers of the systems hand over
// what a machine shows, before anything is judged: whether a value is a
// placeholder, and what a container may show, is decided in one place for all
// systems, in package fingerprint.
package machine

import (
	"strings"

	"github.com/seed-357fa782/licensed/license"
)

// The environments.
const (
	Metal     = "metal"
	VM        = "vm"
	Container = "container"
)

// Parts is what a system says of its machine.
type Parts struct {
	Environment string // Metal, VM or Container
	OS          string // machine id of the operating system
	// Boards and UUIDs are in order: the first that is no placeholder counts.
	Boards, UUIDs []string
	// All of CPUs, MACs and Disks count.
	CPUs, MACs, Disks []string
	// Notes says in words why a kind is absent.
	Notes map[license.Kind]string
}

// Note says why a kind is absent; the first note stays.
func (p *Parts) Note(kind license.Kind, text string) {
	if p.Notes == nil {
		p.Notes = map[license.Kind]string{}
	}
	if p.Notes[kind] == "" {
		p.Notes[kind] = text
	}
}

// Virtual reports whether the firmware of a machine names a hypervisor or a
// cloud as maker or as product. The words are those of SMBIOS type 1.
func Virtual(maker, product string) bool {
	text := strings.ToLower(maker + "\n" + product)
	if strings.Contains(text, ".metal") { // a cloud's machine that is let whole, as m6g.metal
		return false
	}
	for _, word := range []string{
		"qemu", "kvm", "vmware", "virtualbox", "innotek", "xen", "bochs", "parallels", "bhyve", "virtual machine",
		"google compute engine", "openstack", "apple virtualization", "amazon ec2", "alibaba cloud ecs", "droplet",
		"nutanix ahv", "ovirt", "rhev", "vserver", "virtualmac",
	} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
