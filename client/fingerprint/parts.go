package fingerprint

import (
	"maps"
	"slices"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/license"
)

// processorID takes the processor's own id. Under another root it is another
// machine's processor that answers.
func (g *gathering) processorID() {
	if g.Root == "" {
		g.add(license.KindCPU, processorID())
	}
}

// take judges what a system says of its machine.
func (g *gathering) take(p machine.Parts) {
	g.set.Environment = p.Environment
	for _, v := range p.CPUs {
		g.add(license.KindCPU, v)
	}
	if p.Environment == Container {
		g.noteContainer()
		return
	}
	for _, kind := range slices.Sorted(maps.Keys(p.Notes)) {
		g.note(kind, "%s", p.Notes[kind])
	}
	g.add(license.KindOS, p.OS)
	g.addFirst(license.KindBoard, p.Boards)
	g.addFirst(license.KindUUID, p.UUIDs)
	for _, v := range p.MACs {
		g.add(license.KindMAC, v)
	}
	for _, v := range p.Disks {
		g.add(license.KindDisk, v)
	}
}

// addFirst takes the first value that is not absent in truth.
func (g *gathering) addFirst(kind license.Kind, values []string) {
	for _, v := range values {
		if g.add(kind, v) {
			return
		}
	}
}

// noteContainer says that a container has nothing of its own: it sees its
// host's disks and its image's machine id.
func (g *gathering) noteContainer() {
	for _, kind := range []license.Kind{license.KindOS, license.KindUUID, license.KindDisk, license.KindMAC, license.KindBoard} {
		g.note(kind, "a container has none of its own; supply a machine id by %s or %s", CustomVariable, CustomFile())
	}
}
