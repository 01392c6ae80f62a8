package win32_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/windows"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/smbios"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/win32"
)

// What is asked of this machine can be understood, and is the same again.
func TestAsk(t *testing.T) {
	a := win32.Ask()
	if a.Processor == "" {
		t.Error("the processor has no name")
	}
	if len(a.Firmware) > 0 {
		if _, err := smbios.ParseRaw(a.Firmware); err != nil {
			t.Error(err)
		}
	}
	for _, d := range a.Disks {
		if _, err := win32.ParseDevice(d.Device); err != nil && d.Device != nil {
			t.Error(err)
		}
	}
	for _, adapter := range a.Adapters {
		if n := len(adapter.Permanent); n > 8 {
			t.Errorf("an address of %d bytes", n)
		}
	}
	if d := cmp.Diff(a.Parts(), win32.Ask().Parts()); d != "" {
		t.Error(d)
	}
	t.Logf("firmware: %d bytes; adapters: %d; drives: %d; machine id: %v", len(a.Firmware), len(a.Adapters), len(a.Disks), a.MachineID != "")
}

// The system's own words for rights are understood.
func TestRightsOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine-id")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func() *windows.SECURITY_DESCRIPTOR {
		sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
		if err != nil {
			t.Fatal(err)
		}
		return sd
	}
	for set, want := range map[string]bool{
		"D:P(A;;FA;;;SY)(A;;FA;;;BA)":                   false,
		"D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;BU)":       true,
		"D:P(D;;FR;;;WD)(A;;FA;;;BA)(A;;0x120089;;;BU)": false,
	} {
		sd, err := windows.SecurityDescriptorFromString(set)
		if err != nil {
			t.Fatal(err)
		}
		dacl, _, err := sd.DACL()
		if err != nil {
			t.Fatal(err)
		}
		err = windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT,
			windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := read().String()
		if strings.Count(got, "(") != strings.Count(set, "(") {
			t.Skipf("this file system keeps %s for %s, so it has no rights of Windows", got, set)
		}
		if win32.EverybodyReads(got) != want {
			t.Errorf("%s is kept as %s: not %v", set, got, want)
		}
	}
}
