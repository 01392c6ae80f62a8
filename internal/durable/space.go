package durable

import "fmt"

// Space says how many bytes of the file system that holds path this process may
// still use, and how many there are. On a system that it does not know how to
// ask, the error matches errors.ErrUnsupported.
func Space(path string) (free, total uint64, err error) {
	if free, total, err = space(path); err != nil {
		return 0, 0, fmt.Errorf("ask for the space at %s: %w", path, cause(err))
	}
	return free, total, nil
}
