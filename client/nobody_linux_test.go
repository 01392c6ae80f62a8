package client_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// asNobody reports whether the test is one of a user whom permissions bind.
// Where it is root's, it has been run as nobody when asNobody returns.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return true
	}
	// The path of the binary may be closed to others; this link is not.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = os.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Fatalf("as nobody: %v\n%s", err, out)
	}
	return false
}
