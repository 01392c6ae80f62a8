package client

import "golang.org/x/sys/windows"

// What the system says of connections: package syscall has numbers of its own
// for these, which Windows does not use.
const (
	errRefused   = windows.WSAECONNREFUSED
	errReset     = windows.WSAECONNRESET
	errNoNetwork = windows.WSAENETUNREACH
	errNoHost    = windows.WSAEHOSTUNREACH
	errNetDown   = windows.WSAENETDOWN
)
