package fingerprint

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/win32"
)

// CustomFile is the file with which an administrator supplies a machine id:
// its first line that is neither empty nor begins with "#". Everybody must be
// able to read it, or it counts for nobody: /etc/licensed/machine-id, on
// Windows %ProgramData%\licensed\machine-id.
func CustomFile() string {
	data := os.Getenv("ProgramData")
	if data == "" {
		data = `C:\ProgramData`
	}
	return data + `\licensed\machine-id`
}

// letRead is how everybody can be let read the file.
func letRead() string { return `run: icacls "` + CustomFile() + `" /grant *S-1-5-32-545:R` } // the group Users

// customIsOpen reports whether everybody may read the administrator's file. Of
// its folder nothing is asked, as Windows lets everybody pass through folders.
// A volume without rights, as FAT has none, is open.
func customIsOpen(path string, _ fs.FileMode) bool {
	rights, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return errors.Is(err, windows.ERROR_NOT_SUPPORTED) || errors.Is(err, windows.ERROR_INVALID_FUNCTION)
	}
	return win32.EverybodyReads(rights.String())
}
