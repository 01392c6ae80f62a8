//go:build !windows

package fingerprint

import "path/filepath"

// CustomFile is the file with which an administrator supplies a machine id:
// its first line that is neither empty nor begins with "#".
func CustomFile() string { return "/etc/licensed/machine-id" }

// letRead is how everybody can be let read the file.
func letRead() string {
	return "run: chmod o+x " + filepath.Dir(CustomFile()) + " && chmod o+r " + CustomFile()
}
