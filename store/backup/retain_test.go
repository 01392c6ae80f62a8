package backup_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/store/backup"
)

func TestSurplus(t *testing.T) {
	var files []backup.File // each day at noon, for 400 days
	for i := range 400 {
		files = append(files, backup.File{At: noon.AddDate(0, 0, -i)})
	}
	kept := func(k backup.Keep) map[string]bool {
		gone := make(map[time.Time]bool)
		for _, f := range k.Surplus(files) {
			gone[f.At] = true
		}
		left := make(map[string]bool)
		for _, f := range files {
			if !gone[f.At] {
				left[f.At.Format(time.DateOnly)] = true
			}
		}
		return left
	}
	for _, test := range []struct {
		keep  backup.Keep
		count int
		has   []string
	}{
		{backup.Keep{}, 1, []string{"2027-03-01"}},
		{backup.Keep{Last: 3}, 3, []string{"2027-03-01", "2027-02-27"}},
		{backup.Keep{Last: 1, Daily: 5}, 5, []string{"2027-03-01", "2027-02-25"}},
		// Monday, and the Sundays that end the weeks before.
		{backup.Keep{Last: 1, Weekly: 3}, 3, []string{"2027-03-01", "2027-02-28", "2027-02-21"}},
		{backup.Keep{Last: 1, Monthly: 3}, 3, []string{"2027-03-01", "2027-02-28", "2027-01-31"}},
		{backup.Keep{Last: 2, Daily: 3, Weekly: 2, Monthly: 12}, 3 + 10, []string{"2027-02-27", "2026-04-30"}},
	} {
		got := kept(test.keep)
		if len(got) != test.count {
			t.Errorf("%+v keeps %d: %v", test.keep, len(got), got)
		}
		for _, day := range test.has {
			if !got[day] {
				t.Errorf("%+v drops %s", test.keep, day)
			}
		}
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	if files, err := backup.List(filepath.Join(dir, "missing")); err != nil || files != nil {
		t.Errorf("%v, %v", files, err)
	}
	for _, name := range []string{
		backup.Name(noon), backup.Name(noon.Add(time.Hour)), "licensed-2027.backup", "notes.txt",
		backup.Name(noon.Add(2*time.Hour)) + ".part", "." + backup.Name(noon) + ".1.tmp",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, backup.Name(noon.Add(3*time.Hour))), 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := backup.List(dir)
	if err != nil || len(files) != 2 || !files[0].At.Equal(noon.Add(time.Hour)) || !files[1].At.Equal(noon) {
		t.Errorf("%+v, %v", files, err)
	}
}
