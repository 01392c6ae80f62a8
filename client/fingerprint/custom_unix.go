//go:build !windows

package fingerprint

// CustomFile is the file with which an administrator supplies a machine id:
// its first line that is neither empty nor begins with "#".
func CustomFile() string { return "/etc/licensed/machine-id" }
