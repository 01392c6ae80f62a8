package filelock

// TryLock is Lock without waiting.
func TryLock(path string) (unlock func(), err error) { return lock(path, 1) }
