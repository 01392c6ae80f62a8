package fingerprint

import "os"

// CustomFile is the file with which an administrator supplies a machine id.
func CustomFile() string {
	data := os.Getenv("ProgramData")
	if data == "" {
		data = `C:\ProgramData`
	}
	return data + `\licensed\machine-id`
}
