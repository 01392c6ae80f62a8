//go:build unix

package backup_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/seed-357fa782/licensed/store/backup"
)

// Who restores as root restores for the user that the daemon runs as: the owner of
// the store that is there, or of the folder.
func TestRestoreAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const user, group = 4711, 4712
	s := open(t, filepath.Join(t.TempDir(), "licensed.db"))
	fill(t, s, 0, 3)
	file, _ := makeBackup(t, s)
	dir := t.TempDir()
	to := filepath.Join(dir, "licensed.db")
	if err := os.Chown(dir, user, group); err != nil {
		t.Fatal(err)
	}
	for range 2 { // into a fresh folder, and over a store
		if _, _, err := backup.Restore(t.Context(), file, to, backup.RestoreOptions{Now: noon}); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(to)
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != user || st.Gid != group || info.Mode().Perm() != 0o600 {
			t.Errorf("the restored store is %+v, %s", st, info.Mode())
		}
		if err := os.Chown(dir, 0, 0); err != nil { // the second time the store decides
			t.Fatal(err)
		}
	}
}
