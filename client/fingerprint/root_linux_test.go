package fingerprint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

// childVariable makes the test binary collect from the root that it names and
// print what it found, for TestSameForEverybody.
const childVariable = "LICENSED_TEST_COLLECT"

func TestMain(m *testing.M) {
	if root, ok := os.LookupEnv(childVariable); ok {
		if err := printCollected(root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// found is a Set with its values, which a Set itself does not print.
type found struct {
	UID         int
	Environment string
	Values      map[license.Kind][]string
	Notes       map[license.Kind]string
}

// collectFrom collects from a tree, or from this machine as though it were no
// container, for in one there would be little to compare.
func collectFrom(root string) (found, error) {
	c := fingerprint.Collector{Root: root}
	if root == "" {
		c = fingerprint.WithEnvironment(c, fingerprint.Metal)
	} else if _, err := os.ReadDir(filepath.Join(root, "etc")); err != nil {
		return found{}, err
	}
	s, err := c.Collect(context.Background())
	return found{os.Getuid(), s.Environment, s.Values, s.Notes}, err
}

func printCollected(root string) error {
	f, err := collectFrom(root)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// Root and nobody find the same: on this machine, and on recorded ones, where
// some files are for root alone.
func TestSameForEverybody(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a program as another user, so this runs where the tests run as root")
	}
	t.Setenv(fingerprint.CustomVariable, "") // a child has none
	open := tree{"/sys/class/dmi/id/board_serial": "XK123456789\n"}
	closed := metal().with(tree{
		"/var/lib/dbus/machine-id": "root: 11112222333344445555666677778888\n", "/etc/licensed/machine-id": "root: cluster-7\n",
		"/sys/devices/pci0/ata1/host0/target0:0:0/0:0:0:0/vpd_pg80": "root: " + vpd("ZC1234AB"),
		"/sys/devices/pci0/0000:01:00.1/net/eno2/address":           "root: 3c:7c:3f:11:22:34\n",
	})
	for name, root := range map[string]string{
		"this machine": "", "server": openTree(t, metal()), "firmware open": openTree(t, metal().with(open)), "closed files": openTree(t, closed),
		"container": openTree(t, metal().with(tree{"/.dockerenv": ""})), "closed folder": func() string {
			root := openTree(t, metal().with(tree{"/etc/licensed/machine-id": "cluster-7\n"}))
			check(t, os.Chmod(filepath.Join(root, "etc/licensed"), 0o700))
			return root
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			want, err := collectFrom(root)
			check(t, err)
			// The path of the binary may be closed to others; this link is not.
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
			cmd.Env = []string{childVariable + "=" + root}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			out, err := cmd.Output()
			if err != nil {
				exit := &exec.ExitError{}
				_ = errors.As(err, &exit)
				t.Fatalf("as nobody: %v: %s", err, exit.Stderr)
			}
			var got found
			check(t, json.Unmarshal(out, &got))
			if got.UID != 65534 || want.UID != 0 {
				t.Fatalf("collected by %d and %d", want.UID, got.UID)
			}
			got.UID = 0
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if len(got.Values) == 0 {
				t.Error("there was nothing to compare")
			}
			if name == "closed files" {
				if d := cmp.Diff([]string{"NAA.5000C500A1B2C3D4", "S4EMNX0R123456"}, got.Values[license.KindDisk]); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

// openTree writes a tree where everybody can reach it.
func openTree(t *testing.T, tr tree) string {
	t.Helper()
	root := tr.write(t)
	for dir := root; dir != os.TempDir() && len(dir) > len(os.TempDir()) && strings.HasPrefix(dir, os.TempDir()); dir = filepath.Dir(dir) {
		check(t, os.Chmod(dir, 0o755))
	}
	return root
}
