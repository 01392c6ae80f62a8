//go:build unix

package durable

import (
	"fmt"
	"os"
	"syscall"
)

// OwnedLike gives the file to the owner of path. Only the superuser can, and need;
// to others the file belongs as it was made.
func (w *File) OwnedLike(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("look who owns %s: %w", path, cause(err))
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := w.f.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("give %s to the owner of %s: %w", w.path, path, cause(err))
	}
	return nil
}
