// Package win32 reads what Windows says of its machine: without a subprocess,
// and the same for an administrator and for an ordinary user. Asking (Ask) is
// kept apart from understanding the answers, which every system can do.
package win32

import (
	"fmt"
	"strings"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/smbios"
	"github.com/seed-357fa782/licensed/license"
)

// Answers is what Windows says, as it says it.
type Answers struct {
	Container bool   // HKLM\SYSTEM\CurrentControlSet\Control has a ContainerType
	Firmware  []byte // of GetSystemFirmwareTable for RSMB
	Processor string // ProcessorNameString of the first processor
	MachineID string // MachineGuid, "" where it cannot be read
	Adapters  []Adapter
	Disks     []Disk
}

// Adapter is a row of GetIfTable2Ex.
type Adapter struct {
	Type      uint32 // IF_TYPE_…
	Medium    uint32 // NDIS_PHYSICAL_MEDIUM
	Flags     uint8  // InterfaceAndOperStatusFlags
	Permanent []byte // PermanentPhysicalAddress
	// Instance is PnpInstanceID of the adapter's key below
	// HKLM\SYSTEM\CurrentControlSet\Control\Network; it begins with the bus.
	Instance string
}

// Disk is what IOCTL_STORAGE_QUERY_PROPERTY says of a physical drive.
type Disk struct {
	Device []byte // STORAGE_DEVICE_DESCRIPTOR
	IDs    []byte // STORAGE_DEVICE_ID_DESCRIPTOR
}

// Values of ipifcons.h, ntddndis.h and netioapi.h.
const (
	typeEthernet = 6
	typeWiFi     = 71

	mediumBluetooth = 10

	flagHardware  = 1 << 0
	flagFilter    = 1 << 1
	flagConnector = 1 << 2
)

// physical reports whether an adapter is built into the machine.
func (a Adapter) physical() bool {
	const want = flagHardware | flagConnector
	if a.Type != typeEthernet && a.Type != typeWiFi || a.Medium == mediumBluetooth ||
		a.Flags&(want|flagFilter) != want || len(a.Permanent) != 6 {
		return false
	}
	bus, _, _ := strings.Cut(strings.ToUpper(a.Instance), `\`)
	switch bus {
	case "USB", "BTH", "BTHENUM", "TBT": // carried from machine to machine
		return false
	case "", "ROOT", "SWD", "HTREE": // made by software
		return false
	}
	return !strings.HasPrefix(bus, "{") // made by another adapter, as for Wi-Fi Direct
}

// Parts says what the answers show.
func (a Answers) Parts() machine.Parts {
	p := machine.Parts{Environment: machine.Metal, OS: a.MachineID, CPUs: nonEmpty(a.Processor)}
	table, err := smbios.ParseRaw(a.Firmware)
	if err != nil && len(table.Boards) == 0 && table.UUID == "" {
		p.Note(license.KindBoard, "the firmware's tables cannot be read")
		p.Note(license.KindUUID, "the firmware's tables cannot be read")
	}
	if len(table.Processors) > 0 {
		p.CPUs = append(p.CPUs, table.Processors[0])
	}
	switch {
	case a.Container:
		p.Environment = machine.Container
		return p
	case machine.Virtual(table.Maker, table.Product):
		p.Environment = machine.VM
	}
	p.Boards, p.UUIDs = table.Boards, nonEmpty(table.UUID)
	for _, adapter := range a.Adapters {
		if adapter.physical() {
			p.MACs = append(p.MACs, address(adapter.Permanent))
		}
	}
	for _, disk := range a.Disks {
		if serial := disk.serial(); serial != "" {
			p.Disks = append(p.Disks, serial)
		}
	}
	if a.MachineID == "" {
		p.Note(license.KindOS, "the registry's MachineGuid cannot be read")
	}
	return p
}

func address(a []byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5])
}

func nonEmpty(s string) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	return []string{s}
}
