package fingerprint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/denisbrodbeck/machineid"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

// A container without an id is too weak to bind to, one with an id is not.
func TestContainerBinding(t *testing.T) {
	docker := metal().with(tree{"/.dockerenv": ""})
	s := docker.collect(t)
	if _, err := license.Bind(license.PolicyFuzzy, s.Digests("p")); license.ReasonOf(err) != license.MachineWeak {
		t.Errorf("got %v", err)
	}
	for _, kind := range []license.Kind{license.KindOS, license.KindDisk, license.KindMAC} {
		if !strings.Contains(s.Notes[kind], "LICENSED_MACHINE_ID") {
			t.Errorf("%s: note %q", kind, s.Notes[kind])
		}
	}
	_, err := license.Bind(license.PolicyFuzzy, docker.with(tree{"/etc/licensed/machine-id": "c7\n"}).collect(t).Digests("p"))
	check(t, err)
}

// A node of a cluster has hundreds of interfaces that are none of its own.
func TestManyInterfaces(t *testing.T) {
	tr := metal()
	for i := range 600 {
		name := fmt.Sprintf("%04d", i)
		tr["/sys/class/net/cali"+name] = "-> ../../devices/virtual/net/cali" + name
		tr["/sys/block/dm-"+name] = "-> ../devices/virtual/block/dm-" + name
	}
	if d := cmp.Diff(metal().collect(t).Values, tr.collect(t).Values); d != "" {
		t.Error(d)
	}
}

// What only root can read would make two machines of one.
func TestCustomOnlyForRoot(t *testing.T) {
	s := metal().with(tree{"/etc/licensed/machine-id": "root: cluster-7\n"}).collect(t)
	closed := metal().with(tree{"/etc/licensed/machine-id": "cluster-7\n"}).write(t)
	check(t, os.Chmod(filepath.Join(closed, "/etc/licensed"), 0o700))
	inside, err := fingerprint.Collector{Root: closed}.Collect(t.Context())
	check(t, err)
	if v := inside.Values[license.KindCustom]; v != nil {
		t.Errorf("in a closed folder: %v", v)
	}
	if note := s.Notes[license.KindCustom]; !strings.Contains(note, "chmod o+r "+fingerprint.CustomFile()) {
		t.Errorf("note %q", note)
	}
}

// A pipe where a file should be keeps nobody waiting.
func TestPipes(t *testing.T) {
	root := metal().without("/etc/machine-id").write(t)
	check(t, os.MkdirAll(filepath.Join(root, "etc/licensed"), 0o755))
	for _, path := range []string{"etc/licensed/machine-id", "etc/machine-id"} {
		check(t, syscall.Mkfifo(filepath.Join(root, path), 0o644))
	}
	s, err := fingerprint.Collector{Root: root}.Collect(t.Context())
	check(t, err)
	if s.Values[license.KindOS] != nil || s.Values[license.KindCustom] != nil || s.Notes[license.KindCustom] == "" || s.Notes[license.KindOS] == "" {
		t.Errorf("%v, notes %v", s, s.Notes)
	}
}

func TestNotes(t *testing.T) {
	s := metal().with(tree{"/sys/devices/pci0/ata1/host0/target0:0:0/0:0:0:0/vpd_pg80": vpd("none")}).collect(t)
	for kind, want := range map[license.Kind]string{
		license.KindBoard: "only root", license.KindUUID: "only root", license.KindDisk: "placeholder",
	} {
		if !strings.Contains(s.Notes[kind], want) {
			t.Errorf("%s: %q", kind, s.Notes[kind])
		}
	}
}

// A Collector's own placeholders are added to those that are known.
func TestOwnPlaceholders(t *testing.T) {
	c := fingerprint.Collector{Root: metal().write(t), Placeholders: []string{" zc1234ab ", "3c-7c-3f-11-22-33"}}
	s, err := c.Collect(t.Context())
	check(t, err)
	want := values{"mac": {"3C:7C:3F:11:22:34"}, "disk": {"NAA.5000C500A1B2C3D4", "S4EMNX0R123456"}}
	for kind, v := range want {
		if d := cmp.Diff(v, s.Values[kind]); d != "" {
			t.Error(d)
		}
	}
}

// The machine id is the one that package machineid finds, where everybody may
// read it, and none where that finds none.
func TestMachineIDHere(t *testing.T) {
	c := fingerprint.WithEnvironment(fingerprint.Collector{}, fingerprint.Metal)
	s, err := c.Collect(t.Context())
	check(t, err)
	var want []string
	if id, err := machineid.ID(); err == nil && id != "" {
		want = []string{strings.ToUpper(id)}
	}
	if d := cmp.Diff(want, s.Values[license.KindOS]); d != "" {
		t.Error(d, s.Notes)
	}
}

// The driver of an adapter that kept its address names the same one.
func TestPermanentAddressHere(t *testing.T) {
	for _, name := range []string{"lo", "nosuch0", strings.Repeat("x", 40), ""} {
		if got := fingerprint.PermanentAddress(name); got != "" && got != "00:00:00:00:00:00" {
			t.Errorf("%q: %s", name, got)
		}
	}
	asked := 0
	for _, name := range physicalHere(t) {
		address, err := os.ReadFile("/sys/class/net/" + name + "/address")
		check(t, err)
		want := strings.TrimSpace(string(address))
		if got := fingerprint.PermanentAddress(name); got == "" {
			t.Logf("%s: its driver does not say", name)
		} else if asked++; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if asked == 0 {
		t.Skip("this machine has no adapter whose driver tells the permanent address")
	}
}

// physicalHere lists adapters with a device, and with the address that they
// came with.
func physicalHere(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("/sys/class/net/*/device")
	check(t, err)
	var names []string
	for _, device := range found {
		dir := filepath.Dir(device)
		assigned, err := os.ReadFile(filepath.Join(dir, "addr_assign_type"))
		if err == nil && strings.TrimSpace(string(assigned)) == "0" {
			names = append(names, filepath.Base(dir))
		}
	}
	return names
}

func BenchmarkCollectMetal(b *testing.B) {
	c := fingerprint.Collector{Root: metal().write(b)}
	b.ReportAllocs()
	for b.Loop() {
		_, err := c.Collect(b.Context())
		check(b, err)
	}
}
