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

// letRead is how everybody can be let read the file.
func letRead() string { return "let the group Users read it" }
