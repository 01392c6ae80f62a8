//go:build !windows

package fingerprint

import (
	"io/fs"
	"os"
	"path/filepath"
)

// CustomFile is the file with which an administrator supplies a machine id:
// its first line that is neither empty nor begins with "#". Everybody must be
// able to read it, or it counts for nobody: /etc/licensed/machine-id, on
// Windows %ProgramData%\licensed\machine-id.
func CustomFile() string { return "/etc/licensed/machine-id" }

// letRead is how everybody can be let read the file.
func letRead() string {
	return "run: chmod o+x " + filepath.Dir(CustomFile()) + " && chmod o+r " + CustomFile()
}

// customIsOpen reports whether everybody may read the administrator's file, and
// may reach it in its folder.
func customIsOpen(path string, mode fs.FileMode) bool {
	folder, err := os.Stat(filepath.Dir(path))
	return err == nil && folder.Mode().Perm()&0o001 != 0 && mode.Perm()&0o004 != 0
}
