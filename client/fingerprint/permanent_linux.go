package fingerprint

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

// Numbers of the kernel's interface for network drivers.
const (
	ioctlEthtool     = 0x8946 // SIOCETHTOOL
	ethtoolPermanent = 0x20   // ETHTOOL_GPERMADDR: everybody may ask
)

// permanentAddress asks drivers for the address that an adapter left the
// factory with. A bond, or a network manager that randomizes, gives it another.
type permanentAddress struct {
	socket int
	open   bool
	failed bool
}

// of returns the address of an adapter, or "".
func (p *permanentAddress) of(adapter string) string {
	if !p.open && !p.failed {
		socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
		p.socket, p.open, p.failed = socket, err == nil, err != nil
	}
	if !p.open || len(adapter) >= syscall.IFNAMSIZ {
		return ""
	}
	query := struct {
		command, size uint32
		address       [32]byte
	}{command: ethtoolPermanent, size: 32}
	request := struct {
		name [syscall.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the kernel's union is longer
	}{data: unsafe.Pointer(&query)} //nolint:gosec // G103: the ioctl takes a pointer
	copy(request.name[:], adapter)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(p.socket), ioctlEthtool,
		uintptr(unsafe.Pointer(&request))) //nolint:gosec // G103: the ioctl takes a pointer
	runtime.KeepAlive(&query)
	if errno != 0 || query.size != 6 {
		return ""
	}
	a := query.address
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5])
}

func (p *permanentAddress) close() {
	if p.open {
		_ = syscall.Close(p.socket) // nothing was written to it
	}
}
