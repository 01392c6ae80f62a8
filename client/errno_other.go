//go:build !windows

package client

import "syscall"

// What the system says of connections.
const (
	errRefused   = syscall.ECONNREFUSED
	errReset     = syscall.ECONNRESET
	errNoNetwork = syscall.ENETUNREACH
	errNoHost    = syscall.EHOSTUNREACH
	errNetDown   = syscall.ENETDOWN
)
