package machine_test

import (
	"testing"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/license"
)

func TestVirtual(t *testing.T) {
	for _, c := range []struct {
		maker, product string
		want           bool
	}{
		{"QEMU", "Standard PC (Q35 + ICH9, 2009)", true},
		{"VMware, Inc.", "VMware Virtual Platform", true},
		{"innotek GmbH", "VirtualBox", true},
		{"Microsoft Corporation", "Virtual Machine", true},
		{"Microsoft Corporation", "Surface Laptop 5", false},
		{"Xen", "HVM domU", true},
		{"Parallels International GmbH.", "Parallels ARM Virtual Machine", true},
		{"Google", "Google Compute Engine", true},
		{"Google", "Eve", false},
		{"OpenStack Foundation", "OpenStack Nova", true},
		{"Amazon EC2", "m6g.large", true},
		{"Amazon EC2", "m6g.metal", false},
		{"Alibaba Cloud", "Alibaba Cloud ECS", true},
		{"Apple Inc.", "Apple Virtualization Generic Platform", true},
		{"", "VirtualMac2,1", true},
		{"Apple Inc.", "Mac15,6", false},
		{"Dell Inc.", "PowerEdge R240", false},
		{"", "", false},
	} {
		if got := machine.Virtual(c.maker, c.product); got != c.want {
			t.Errorf("%q, %q: %v", c.maker, c.product, got)
		}
	}
}

func TestNote(t *testing.T) {
	var p machine.Parts
	p.Note(license.KindOS, "first")
	p.Note(license.KindOS, "second")
	if p.Notes[license.KindOS] != "first" || len(p.Notes) != 1 {
		t.Error(p.Notes)
	}
}
