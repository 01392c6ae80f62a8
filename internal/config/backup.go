package config

import "time"

// Backup is about the backups that the daemon makes by itself.
type Backup struct {
	// Dir is the folder that they are put into, best on another disk; none: no
	// backups are made.
	Dir   string   `yaml:"dir" config:"path"`
	Every Duration `yaml:"every"` // 24h
	Keep  Keep     `yaml:"keep"`
}

// Enabled reports whether backups are made.
func (b Backup) Enabled() bool { return b.Dir != "" }

// Keep says which backups are kept: the newest ones, and the newest of each of
// the last days, weeks and months (UTC) that have one.
type Keep struct {
	Last    int `yaml:"last"`    // 7; at least 1
	Daily   int `yaml:"daily"`   // 14
	Weekly  int `yaml:"weekly"`  // 8
	Monthly int `yaml:"monthly"` // 12
}

func defaultBackup() Backup {
	return Backup{Every: Duration(24 * time.Hour), Keep: Keep{Last: 7, Daily: 14, Weekly: 8, Monthly: 12}}
}

// maxKept keeps a slip of the hand from filling a disk.
const maxKept = 1000

func (v *validator) backup(c Config) {
	b := c.Backup
	if b.Every < Duration(10*time.Minute) || b.Every > Duration(31*24*time.Hour) {
		v.failf("backup.every", "it must be between 10m and 31d")
	}
	for _, n := range []struct {
		key         string
		value, from int
	}{{"last", b.Keep.Last, 1}, {"daily", b.Keep.Daily, 0}, {"weekly", b.Keep.Weekly, 0}, {"monthly", b.Keep.Monthly, 0}} {
		if n.value < n.from || n.value > maxKept {
			v.failf("backup.keep."+n.key, "it must be between %d and %d", n.from, maxKept)
		}
	}
	if b.Enabled() && c.InDatabase() {
		v.failf("backup.dir", "only the embedded store makes backups of itself; a database is backed up with pg_dump, or by its base backups and write-ahead log")
	}
}
