//go:build darwin || freebsd

package main

import (
	"slices"
	"syscall"
)

// fileSystem says what kind of file system a folder lies on, where that is known.
func fileSystem(dir string) (kind string, remote, known bool) {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return "", false, false
	}
	var name []byte
	for _, c := range st.Fstypename {
		if c == 0 {
			break
		}
		name = append(name, byte(c))
	}
	kind = string(name)
	return kind, slices.Contains([]string{"nfs", "smbfs", "webdav", "afpfs", "macfuse", "osxfuse", "fusefs"}, kind), true
}
