package daemon

import (
	"net"
	"os/user"
	"strconv"
	"syscall"

	"github.com/seed-357fa782/licensed/daemon/internal/adminapi"
)

// peerOf asks the system who is at the other end of a unix socket.
func peerOf(c net.Conn) (adminapi.Peer, bool) {
	unix, ok := c.(*net.UnixConn)
	if !ok {
		return adminapi.Peer{}, false
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return adminapi.Peer{}, false
	}
	var cred *syscall.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err != nil || failed != nil {
		return adminapi.Peer{}, false
	}
	id := strconv.FormatUint(uint64(cred.Uid), 10)
	p := adminapi.Peer{ID: id, Name: "uid " + id}
	if u, err := user.LookupId(id); err == nil && u.Username != "" {
		p.Name = u.Username
	}
	return p, true
}
