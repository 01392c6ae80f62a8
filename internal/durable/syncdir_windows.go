package durable

// syncDir does nothing: Windows has no call that syncs a folder, and its file
// systems journal renames.
func syncDir(string) error { return nil }
