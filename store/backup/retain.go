package backup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Keep says which of the backups in a folder are kept: the newest Last, and the
// newest of each of the last Daily days, Weekly weeks and Monthly months (UTC)
// that have one.
type Keep struct{ Last, Daily, Weekly, Monthly int }

// File is a backup in a folder of them.
type File struct {
	Path string
	At   time.Time // when it was begun, from its name
	Size int64
}

// The name of a backup in a folder of them.
const (
	namePrefix = "licensed-"
	nameTime   = "20060102T150405Z"
	nameSuffix = ".backup"
)

// Name is what a backup that is begun at an instant is called.
func Name(at time.Time) string { return namePrefix + at.UTC().Format(nameTime) + nameSuffix }

// List returns the backups in a folder, newest first; none where there is no
// such folder. What has another name is none of them.
func List(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the backups: %w", err)
	}
	var out []File
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), namePrefix)
		text, ends := strings.CutSuffix(text, nameSuffix)
		at, err := time.Parse(nameTime, text)
		info, infoErr := e.Info()
		if !ok || !ends || err != nil || infoErr != nil || !info.Mode().IsRegular() {
			continue
		}
		out = append(out, File{Path: filepath.Join(dir, e.Name()), At: at, Size: info.Size()})
	}
	slices.SortFunc(out, func(a, b File) int { return cmp.Compare(b.At.Unix(), a.At.Unix()) })
	return out, nil
}

// Surplus returns those of files, newest first as List gives them, that need not
// be kept. The newest is never among them.
func (k Keep) Surplus(files []File) []File {
	var out []File
	days, weeks, months := newPeriods(k.Daily), newPeriods(k.Weekly), newPeriods(k.Monthly)
	for i, f := range files {
		at := f.At.UTC()
		year, week := at.ISOWeek()
		// All three count it, whatever keeps it.
		day, inWeek, month := days.take(at.Format(time.DateOnly)), weeks.take(fmt.Sprint(year, "w", week)), months.take(at.Format("2006-01"))
		if i >= max(k.Last, 1) && !day && !inWeek && !month {
			out = append(out, f)
		}
	}
	return out
}

// periods are the last days, weeks or months that have a backup.
type periods struct {
	left int
	seen map[string]bool
}

func newPeriods(n int) *periods { return &periods{n, make(map[string]bool)} }

// take reports whether a backup is kept as the newest of its period.
func (p *periods) take(name string) bool {
	if p.left == 0 || p.seen[name] {
		return false
	}
	p.seen[name] = true
	p.left--
	return true
}
