package freebsd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

// Limits of what is asked for.
const (
	maxInterfaces = 4096
	maxUSBDisks   = 32
)

// Ask asks FreeBSD.
func Ask() Answers {
	a := Answers{
		Guest: sysctl("kern.vm_guest"), Processor: sysctl("hw.model"),
		Maker: kenv("smbios.system.maker"), Product: kenv("smbios.system.product"),
	}
	if n, err := syscall.SysctlUint32("security.jail.jailed"); err == nil {
		a.Jailed = n != 0
	}
	if a.Jailed {
		return a
	}
	a.HostID, a.UUID, a.Board = read("/etc/hostid"), kenv("smbios.system.uuid"), kenv("smbios.planar.serial")
	a.Geometry = sysctl("kern.geom.confxml")
	a.Interfaces = interfaces()
	for n := range maxUSBDisks {
		if text := sysctl(fmt.Sprintf("dev.umass.%d.%%desc", n)); text != "" {
			a.USBDisks = append(a.USBDisks, text+"\n"+sysctl(fmt.Sprintf("dev.umass.%d.%%pnpinfo", n)))
		}
	}
	return a
}

// sysctl returns a text, "" where there is none. One that grew while it was
// asked for is asked for again.
func sysctl(name string) string {
	for range 3 {
		value, err := syscall.Sysctl(name)
		if err == nil {
			return strings.TrimRight(value, "\x00")
		}
		if !errors.Is(err, syscall.ENOMEM) {
			break
		}
	}
	return ""
}

// kenv returns a value of the kernel's environment.
func kenv(name string) string {
	const get = 0 // KENV_GET
	key, err := syscall.BytePtrFromString(name)
	if err != nil {
		return ""
	}
	var value [512]byte
	_, _, errno := syscall.Syscall6(syscall.SYS_KENV, get, uintptr(unsafe.Pointer(key)), //nolint:gosec // G103: the call takes pointers
		uintptr(unsafe.Pointer(&value[0])), uintptr(len(value)), 0, 0) //nolint:gosec // G103: the call takes pointers
	if errno != 0 {
		return ""
	}
	text, _, _ := bytes.Cut(value[:], []byte{0})
	return string(text)
}

// interfaces lists the network interfaces by the table of the kernel that
// knows what drivers called them.
func interfaces() []Interface {
	count, err := syscall.SysctlUint32("net.link.generic.system.ifcount")
	if err != nil {
		return nil
	}
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = syscall.Close(socket) }() // nothing was written to it
	const general, driverName = 1, 3             // IFDATA_GENERAL, IFDATA_DRIVERNAME
	var all []Interface
	for row := uint32(1); row <= min(count, maxInterfaces); row++ {
		driver, name := interfaceData(row, driverName), interfaceData(row, general)
		if driver == "" || name == "" {
			continue
		}
		if parent := parentOf(driver); parent != "" {
			all = append(all, Interface{Driver: driver, Parent: parent, Address: hardwareAddress(socket, name)})
		}
	}
	return all
}

// interfaceData asks for what stands at the beginning of a row of
// net.link.generic.ifdata: a name.
func interfaceData(row, what uint32) string {
	// CTL_NET, PF_LINK, NETLINK_GENERIC, IFMIB_IFDATA, the row, and what of it
	mib := [6]uint32{4, 18, 0, 2, row, what}
	var data [1024]byte
	n := uintptr(len(data))
	_, _, errno := syscall.Syscall6(syscall.SYS___SYSCTL, uintptr(unsafe.Pointer(&mib[0])), uintptr(len(mib)), //nolint:gosec // G103: the call takes pointers
		uintptr(unsafe.Pointer(&data[0])), uintptr(unsafe.Pointer(&n)), 0, 0) //nolint:gosec // G103: the call takes pointers
	if errno != 0 || n > uintptr(len(data)) {
		return ""
	}
	name, _, _ := bytes.Cut(data[:min(n, syscall.IFNAMSIZ)], []byte{0})
	return string(name)
}

// parentOf returns what the device of an interface hangs on. A Wi-Fi interface
// is made upon a device of another name.
func parentOf(driver string) string {
	base := strings.TrimRight(driver, "0123456789")
	unit := driver[len(base):]
	switch base {
	case "mce", "mlxen":
		return base
	case "wlan":
		if device := sysctl("net.wlan." + unit + ".%parent"); device != "" && !strings.HasPrefix(device, "wlan") {
			return parentOf(device)
		}
		return ""
	}
	if base == "" || unit == "" {
		return ""
	}
	return sysctl("dev." + base + "." + unit + ".%parent")
}

// hardwareAddress asks for the address that an interface had when its driver
// found it.
func hardwareAddress(socket int, name string) []byte {
	const siocghwaddr = 0xc020693e // _IOWR('i', 62, struct ifreq)
	var request struct {
		name    [syscall.IFNAMSIZ]byte
		length  byte // of the socket address behind
		family  byte
		address [14]byte
	}
	if len(name) >= len(request.name) {
		return nil
	}
	copy(request.name[:], name)
	request.family = syscall.AF_LINK
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), siocghwaddr,
		uintptr(unsafe.Pointer(&request))) //nolint:gosec // G103: the ioctl takes a pointer
	runtime.KeepAlive(&request)
	if errno != 0 {
		return nil
	}
	return bytes.Clone(request.address[:6])
}

// read returns a short file that everybody may read. What root alone can read
// is refused to root as well.
func read(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // it was only read
	if info, err := f.Stat(); err != nil || info.Mode().Perm()&0o004 == 0 {
		return ""
	}
	data, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return ""
	}
	return string(data)
}
