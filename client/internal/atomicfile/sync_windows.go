package atomicfile

// SyncFolder does nothing: Windows has no such call for folders, and its file
// systems journal renames.
func SyncFolder(string) error { return nil }
