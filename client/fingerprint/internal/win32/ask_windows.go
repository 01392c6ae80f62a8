package win32

import (
	"fmt"
	"unsafe"

	"github.com/denisbrodbeck/machineid"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/smbios"
)

// Limits of what is asked for.
const (
	maxAdapters = 4096
	maxDrives   = 64 // \\.\PhysicalDrive0 and on; numbers may be missing between
)

// Ask asks Windows.
func Ask() Answers {
	a := Answers{
		Container: container(),
		Firmware:  firmware(),
		Processor: text(`HARDWARE\DESCRIPTION\System\CentralProcessor\0`, "ProcessorNameString"),
	}
	if a.Container {
		return a
	}
	if id, err := machineid.ID(); err == nil {
		a.MachineID = id
	}
	a.Adapters, a.Disks = adapters(), disks()
	return a
}

// container reports whether the registry is that of a Windows container.
func container() bool {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Control`, registry.QUERY_VALUE)
	if err != nil {
		return false
	}
	defer key.Close() //nolint:errcheck // it was only read
	_, _, err = key.GetIntegerValue("ContainerType")
	return err == nil
}

// text returns a text of the registry's local machine, "" where there is none.
func text(path, name string) string {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE)
	if err != nil {
		return ""
	}
	defer key.Close() //nolint:errcheck // it was only read
	value, _, err := key.GetStringValue(name)
	if err != nil {
		return ""
	}
	return value
}

// firmware returns the SMBIOS tables behind their header.
func firmware() []byte {
	const provider = 'R'<<24 | 'S'<<16 | 'M'<<8 | 'B'
	get := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetSystemFirmwareTable")
	if get.Find() != nil {
		return nil
	}
	size, _, _ := get.Call(provider, 0, 0, 0)
	if size == 0 || size > smbios.MaxSize {
		return nil
	}
	table := make([]byte, size)
	got, _, _ := get.Call(provider, 0, uintptr(unsafe.Pointer(&table[0])), size) //nolint:gosec // G103: the call takes a pointer
	if got == 0 || got > size {
		return nil
	}
	return table[:got]
}

// adapters returns the rows of the table of network interfaces that can be of
// a physical adapter.
func adapters() []Adapter {
	var table *windows.MibIfTable2
	if unsafe.Offsetof(table.Table) != 8 || unsafe.Sizeof(table.Table[0]) != 1352 {
		return nil // Go lays the rows out otherwise than Windows does, on systems of 32 bits
	}
	if err := windows.GetIfTable2Ex(windows.MibIfTableNormal, &table); err != nil {
		return nil
	}
	defer windows.FreeMibTable(unsafe.Pointer(table))                         //nolint:gosec // G103: the call takes a pointer
	rows := unsafe.Slice(&table.Table[0], min(table.NumEntries, maxAdapters)) //nolint:gosec // G103: the table ends with an array of no fixed length
	var all []Adapter
	for i := range rows {
		row := &rows[i]
		a := Adapter{Type: row.Type, Medium: row.PhysicalMediumType, Flags: row.InterfaceAndOperStatusFlags}
		if a.Flags&flagHardware == 0 || row.PhysicalAddressLength > uint32(len(row.PermanentPhysicalAddress)) {
			continue
		}
		a.Permanent = append(a.Permanent, row.PermanentPhysicalAddress[:row.PhysicalAddressLength]...)
		a.Instance = text(`SYSTEM\CurrentControlSet\Control\Network\{4D36E972-E325-11CE-BFC1-08002BE10318}\`+
			row.InterfaceGuid.String()+`\Connection`, "PnpInstanceID")
		all = append(all, a)
	}
	return all
}

// disks asks each physical drive. No right to its contents is asked for, so
// everybody may.
func disks() []Disk {
	var all []Disk
	for n := range maxDrives {
		path, err := windows.UTF16PtrFromString(fmt.Sprintf(`\\.\PhysicalDrive%d`, n))
		if err != nil {
			continue
		}
		drive, err := windows.CreateFile(path, 0, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, windows.OPEN_EXISTING, 0, 0)
		if err != nil {
			continue
		}
		const storageDeviceProperty, storageDeviceIDProperty = 0, 2
		all = append(all, Disk{Device: property(drive, storageDeviceProperty), IDs: property(drive, storageDeviceIDProperty)})
		_ = windows.CloseHandle(drive) // nothing was written
	}
	return all
}

// property asks a drive for one of its properties.
func property(drive windows.Handle, id uint32) []byte {
	const ioctlStorageQueryProperty = 0x2d1400
	query := struct{ id, kind, more uint32 }{id: id} // kind 0: PropertyStandardQuery
	answer := make([]byte, 4096)
	var n uint32
	err := windows.DeviceIoControl(drive, ioctlStorageQueryProperty, (*byte)(unsafe.Pointer(&query)), //nolint:gosec // G103: the call takes a pointer
		uint32(unsafe.Sizeof(query)), &answer[0], uint32(len(answer)), &n, nil)
	if err != nil || n > uint32(len(answer)) {
		return nil
	}
	return answer[:n]
}
