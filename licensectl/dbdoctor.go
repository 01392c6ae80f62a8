package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/backup"
	"github.com/seed-357fa782/licensed/store/open"
)

// storeFileCheck opens the store of a daemon that is stopped, for reading only. What is in
// it is for db check.
func storeFileCheck(ctx context.Context, c config.Config) []check {
	const name = "store"
	path, isFile := strings.CutPrefix(c.Store, "bolt:")
	if !isFile {
		return databaseStoppedChecks(ctx, c)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return []check{{name, checkWarn, "there is no " + path + " yet", "start licensed serve, which makes it; if there was one, restore it: licensectl db restore"}}
	}
	if err == nil {
		s, openErr := open.Open(ctx, c.Store, open.ReadOnly())
		if err = openErr; err == nil {
			err = s.Close()
		}
	}
	if err != nil {
		return []check{{name, checkFail, oneLine(err.Error()), "start the daemon, whose log says more; a damaged store is put back with licensectl db restore"}}
	}
	return []check{{Name: name, Result: checkOK, Detail: c.Store + sizeText(info.Size()) + ", of a format that this version knows; licensectl db check reads every record"}}
}

// databaseStoppedChecks looks at the database of a daemon that is stopped, and changes
// nothing in it.
func databaseStoppedChecks(ctx context.Context, c config.Config) []check {
	const name = "database"
	s, err := open.Open(ctx, c.Store, using(c), open.ReadOnly())
	if err != nil {
		return []check{{name, checkFail, oneLine(withCause(err)), "see that the database runs, can be reached from here and takes the role and its password; its tables are made when the daemon starts"}}
	}
	var found []store.Finding
	if examined, is := s.(store.Examined); is {
		found, err = examined.Examine(ctx, time.Now) //nolint:forbidigo // its clock is compared with this one
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return []check{{name, checkFail, oneLine(withCause(err)), "the log of the database says more"}}
	}
	list := make([]check, 0, len(found))
	for _, f := range found {
		list = append(list, check{name, f.Level, oneLine(f.Detail), f.Mend})
	}
	return list
}

// withCause is an error with what it comes from, on this machine.
func withCause(err error) string {
	text, _ := explain(context.Background(), err)
	return text
}

// backupFilesCheck judges the backups of a daemon that is stopped by their files.
func backupFilesCheck(c config.Config, now time.Time) check {
	const name = "backups"
	switch {
	case c.InDatabase():
		return databaseBackups()
	case !c.Backup.Enabled():
		return noBackups()
	}
	files, err := backup.List(c.Backup.Dir)
	switch {
	case err != nil:
		return check{name, checkFail, oneLine(err.Error()), "make " + c.Backup.Dir + " readable for the daemon's user"}
	case len(files) == 0:
		return check{name, checkWarn, "there is none in " + c.Backup.Dir + " yet", "the daemon makes one when it runs"}
	}
	newest, every := files[0], time.Duration(c.Backup.Every)
	if age := now.Sub(newest.At); age > every+every/2 {
		return check{
			name, checkWarn, fmt.Sprintf("the newest of %d in %s is %s old", len(files), c.Backup.Dir, roughly(age)),
			"the daemon makes one when it runs; licensectl db verify " + newest.Path + " says whether that one is good",
		}
	}
	return check{Name: name, Result: checkOK, Detail: fmt.Sprintf("%d in %s, the newest of %s%s", len(files), c.Backup.Dir, when(&newest.At, ""), sizeText(newest.Size))}
}
