//go:build linux || darwin || freebsd

package durable

import "syscall"

func space(path string) (free, total uint64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	size := uint64(st.Bsize)                                       // of another type elsewhere
	return uint64(max(st.Bavail, 0)) * size, st.Blocks * size, nil //nolint:unconvert // signed on FreeBSD
}
