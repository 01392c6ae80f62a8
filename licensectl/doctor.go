package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/buildinfo"
)

// Results of a check.
const (
	checkOK   = "ok"
	checkWarn = "warn"
	checkFail = "fail"
)

// check is one thing that doctor has looked at.
type check struct {
	Name   string `json:"name"`
	Result string `json:"result"` // ok, warn or fail
	Detail string `json:"detail"`
	Mend   string `json:"mend,omitempty"` // what to do about it
}

// diagnosis is what doctor prints.
type diagnosis struct {
	Checks []check `json:"checks"`
	Warned int     `json:"warned"`
	Failed int     `json:"failed"`
}

func (p *program) doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Category: "Service", Usage: "check the service, and say how to mend what is wrong; confirm its clock",
		UsageText: "licensectl doctor\nlicensectl doctor --config FILE\nlicensectl doctor --accept-clock",
		Description: "Checks clock, keys, permissions, store and disk of the daemon, and its marketplace entries. Exits 1 where a check fails; a warning does not.\n" +
			"With --config it looks at the configuration as well, at the files that it names and at their certificates, and where no daemon " +
			"runs at everything that can be seen without one: keys, permissions, file system, clock, and whether the marketplaces can be reached. " +
			"Run it as the user that runs the daemon.\n" +
			"A daemon signs nothing while its clock is before its last record or more than 30 days past it. With --accept-clock what the " +
			"clock shows is confirmed, and becomes the last record. Look at another clock before you do: what is signed under a wrong " +
			"one is remembered by every customer's machine.\n\n" +
			"Examples:\n  licensectl doctor\n  licensectl doctor --config /etc/licensed/licensed.yaml -o json\n  licensectl doctor --accept-clock",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "the daemon's configuration `FILE`: look at that, too, and at the daemon that it is for", TakesFile: true},
			&cli.BoolFlag{Name: "accept-clock", Usage: "confirm what the daemon's clock shows"},
			yesFlag(), outputFlag(formTable, formJSON),
		},
		Action: func(c *cli.Context) error {
			_, f, admin, err := p.begin(c, []string{formTable, formJSON})
			if err != nil {
				return err
			}
			switch {
			case c.IsSet("config") && c.String("config") == "":
				return usagef("--config needs a FILE")
			case c.IsSet("config") && c.Bool("accept-clock"):
				return usagef("--config does not go with --accept-clock")
			case c.IsSet("config"):
				return p.doctorConfig(c, f)
			case c.Bool("dry-run") && !c.Bool("accept-clock"):
				return usagef("--dry-run goes with --accept-clock; without it doctor changes nothing")
			case c.Bool("accept-clock"):
				return p.acceptClock(c, f, admin)
			}
			list := p.doctor(c.Context, admin, c.String("server"))
			if err := c.Err(); err != nil {
				return err
			}
			return p.printDiagnosis(f, list)
		},
	}
}

// doctor asks a daemon, and looks at what can be seen of it on this machine.
func (p *program) doctor(ctx context.Context, admin *adminclient.Client, server string) []check {
	s, err := admin.Status(ctx)
	if err != nil {
		return []check{unreachable(err)}
	}
	list := append([]check{serving(s), clockCheck(s, p.now())}, keyChecks(s)...)
	if socket, local := strings.CutPrefix(server, "unix:"); local {
		seen := permissions(s, socket)
		if list = append(list, seen...); len(seen) > 0 { // it runs on this machine
			list = append(list, folderChecks(s.DataDir, fileSystem)...)
		}
	}
	list = append(append(list, storeCheck(s)), databaseChecks(s.StoreFindings)...)
	list = append(list, daemonChecks(s)...)
	list = append(list, backupsCheck(s))
	list = append(list, restoreChecks(s)...)
	list = append(list, diskCheck(s)...)
	list = append(list, marketplaceChecks(s)...)
	list = append(list, webhookChecks(s)...)
	list = append(list, transfersCheck(s))
	if due := p.ordersDue(ctx, admin); due != nil {
		list = append(list, ordersCheck(due))
	}
	return list
}

// doctorConfig looks at an installation by its configuration, and asks its daemon
// where one runs.
func (p *program) doctorConfig(c *cli.Context, f string) error {
	settings, usable, list := configChecks(c.String("config"), p.now())
	if !usable {
		return p.printDiagnosis(f, list)
	}
	server := "unix:" + settings.Admin.Socket
	admin, err := adminclient.New(server, adminclient.Options{UserAgent: "licensectl/" + buildinfo.Read().Version})
	if err != nil {
		return p.printDiagnosis(f, append(list, unreachable(err)))
	}
	defer admin.Close()
	asked := p.doctor(c.Context, admin, server)
	if err := c.Err(); err != nil {
		return err
	}
	if len(asked) == 1 { // it does not answer
		asked[0].Result, asked[0].Mend = checkWarn, "start it; what follows is what can be seen without it"
		asked = append(asked, stoppedChecks(c.Context, settings, p.now())...)
	}
	return p.printDiagnosis(f, append(list, asked...))
}

func (p *program) printDiagnosis(f string, checks []check) error {
	d := diagnosis{Checks: checks}
	for _, c := range d.Checks {
		switch c.Result {
		case checkWarn:
			d.Warned++
		case checkFail:
			d.Failed++
		}
	}
	if f == formJSON {
		if err := writeJSON(p.out, d); err != nil {
			return err
		}
	} else {
		var list fields
		for _, c := range d.Checks {
			text := fmt.Sprintf("%-4s  %s", c.Result, c.Detail)
			if c.Mend != "" {
				text += "; " + c.Mend
			}
			list.add(c.Name, text)
		}
		if err := list.write(p.out); err != nil {
			return err
		}
	}
	if d.Failed > 0 {
		return &statusError{status: exitFailed, text: count(d.Failed, "check has failed", "checks have failed")}
	}
	return nil
}

func unreachable(err error) check {
	return check{"daemon", checkFail, detailOf(err), "nothing else can be checked until it answers"}
}

// serving says whether requests are answered. What the clock has to do with it
// is a check of its own.
func serving(s adminwire.Status) check {
	if s.Ready {
		return check{Name: "daemon", Result: checkOK, Detail: s.Version + ", ready"}
	}
	return check{"daemon", checkFail, "it answers no requests: " + cmp.Or(s.NotReady, "it is not serving yet"), "its log says more"}
}

func clockCheck(s adminwire.Status, here time.Time) check {
	const name = "clock"
	off := s.Now.Sub(here)
	switch {
	case s.Clock.State != adminwire.Trusted:
		mend := "set it right; if it is right, licensectl doctor --accept-clock"
		switch {
		case s.Clock.State == adminwire.Apart:
			mend = "set right whichever is wrong; where this one alone is right, licensectl doctor --accept-clock, and the others wait until they are"
		case s.Clock.KeyFrom != nil && s.Clock.Now.Before(*s.Clock.KeyFrom):
			mend = "set it right"
		}
		return check{name, checkFail, "it shows " + when(&s.Clock.Now, "") + ", " + clockOff(s.Clock) + "; nothing is signed", mend}
	case off.Abs() > time.Minute:
		return check{name, checkWarn, fmt.Sprintf("it shows %s, %s from the clock here", when(&s.Now, ""), roughly(off.Abs())), "let a time server set both"}
	}
	return check{Name: name, Result: checkOK, Detail: "it shows " + when(&s.Now, "")}
}

const (
	// warnKeySet is how long before its end a key, or a key set, is worth a warning.
	warnKeySet = 90 * 24 * time.Hour
	newKeySet  = "make a new key set with licensectl keys keyset --request, --sign and --install"
)

// keyChecks are what the keeper of the keys has to know.
func keyChecks(s adminwire.Status) []check {
	k := s.Keys
	list := []check{
		untilCheck("key set", fmt.Sprintf("no. %d", k.Seq), s.Now, k.ExpiresAt),
		untilCheck("signing key", "it signs", s.Now, k.CurrentUntil),
		{Name: "next key", Result: checkOK, Detail: "there, so that the signing key can be rotated"},
		{Name: "standby anchor", Result: checkOK, Detail: "compiled in after the one that signed the key set: " + fmt.Sprint(k.Standbys)},
		{Name: "anchors offline", Result: checkOK, Detail: "no private half of an anchor lies beside the daemon"},
		{Name: "retired keys", Result: checkOK, Detail: "their private halves are destroyed"},
	}
	lacking := slices.IndexFunc(k.Warnings, func(w adminwire.KeyWarning) bool { return w.Kind == "next_key" })
	switch {
	case lacking >= 0:
		list[2] = check{
			"next key", checkWarn, k.Warnings[lacking].Text,
			"copy keys/signing of the daemon on which the key set was made into the keys folder of this one",
		}
	case !k.HasNext:
		list[2] = check{"next key", checkWarn, "there is no next signing key, so the present one cannot be rotated", newKeySet}
	}
	if k.Standbys == 0 {
		list[3] = check{
			"standby anchor", checkWarn, "no anchor stands by after the one that signed the key set: if that is stolen, nothing ends it",
			"compile another anchor into the next version of the product, and name it in keys.anchors_file",
		}
	}
	if len(k.AnchorsPresent) > 0 {
		list[4] = check{
			"anchors offline", checkWarn, "private halves of anchors lie beside the daemon: " + strings.Join(k.AnchorsPresent, ", "),
			"move them offline, each with a copy of the identity",
		}
	}
	if len(k.Leftover) > 0 {
		list[5] = check{"retired keys", checkWarn, "private halves could not be destroyed: " + strings.Join(k.Leftover, ", "), "remove these files by hand"}
	}
	return append(list, scheduleChecks(k)...)
}

// scheduleChecks are what the daemon warns of itself, beside the ends of the key
// set and of the key.
func scheduleChecks(k adminwire.KeyHealth) (list []check) {
	if k.RotateAt != nil {
		list = append(list, check{Name: "rotation", Result: checkOK, Detail: "the signing key is rotated on " + when(k.RotateAt, "")})
	}
	for _, w := range k.Warnings {
		switch w.Kind {
		case "rotation":
			list = append(list[:0], check{"rotation", checkWarn, w.Text, newKeySet})
		case "signer":
			list = append(list, check{"signer", checkFail, w.Text, "see to the token or service that holds the key; what was asked meanwhile is answered when it is asked again"})
		case "key_folder":
			list = append(list, check{"key folder", checkFail, w.Text, newKeySet})
		case "sealed_key":
			list = append(list, check{"sealed keys", checkWarn, w.Text, "copy keys/signing of a daemon that has it into the keys folder of this one"})
		case "revocation":
			list = append(list, check{"revocation", checkWarn, w.Text, "see licensectl keys drill"})
		}
	}
	return list
}

func untilCheck(name, what string, now, end time.Time) check {
	switch left := end.Sub(now); {
	case left <= 0:
		return check{name, checkFail, "the " + name + " has run out, on " + when(&end, ""), newKeySet}
	case left < warnKeySet:
		return check{name, checkWarn, "the " + name + " runs out in " + roughly(left), newKeySet}
	}
	return check{Name: name, Result: checkOK, Detail: what + ", until " + when(&end, "")}
}

// permissions looks at what a daemon on this machine keeps to itself. A folder
// that others cannot enter protects what is in it.
func permissions(s adminwire.Status, socket string) []check {
	const name = "permissions"
	if runtime.GOOS == "windows" || s.DataDir == "" {
		return nil
	}
	paths := []string{s.DataDir, filepath.Join(s.DataDir, "keys")}
	identity := filepath.Join(s.DataDir, "keys", "identity")
	if _, err := os.Lstat(identity); err == nil { // a token can hold the keys in its place
		paths = append(paths, identity)
	}
	if socket != "" {
		paths = append(paths, socket)
	}
	if store, ok := strings.CutPrefix(s.Store, "bolt:"); ok {
		paths = append(paths, store)
	}
	var open, unseen []string
	for _, path := range paths {
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && path == s.DataDir:
			return nil // the daemon runs elsewhere, and its socket is reached from here
		case errors.Is(err, fs.ErrNotExist) && socket == "": // not made yet, or elsewhere
		case err != nil:
			unseen = append(unseen, path)
		case info.Mode().Perm()&0o077 != 0:
			open = append(open, fmt.Sprintf("%s (%04o)", path, info.Mode().Perm()))
		}
	}
	switch {
	case len(open) > 0:
		return []check{{name, checkFail, "others than the daemon's user can get at " + strings.Join(open, ", "), "chmod go= them"}}
	case len(unseen) > 0:
		return []check{{name, checkWarn, "there is no looking at " + strings.Join(unseen, ", "), "run this as the user that runs the daemon"}}
	}
	return []check{{Name: name, Result: checkOK, Detail: "data folder, keys, store and socket are for the daemon's user only"}}
}

// storeCheck says where the store is, and how large.
func storeCheck(s adminwire.Status) check {
	return check{Name: "store", Result: checkOK, Detail: cmp.Or(s.Store, "it is not named") + sizeText(s.StoreBytes)}
}

// databaseChecks says what the database that is the store says of itself.
func databaseChecks(found []adminwire.StoreFinding) (list []check) {
	for _, f := range found {
		list = append(list, check{"database", f.Level, oneLine(f.Detail), f.Mend})
	}
	return list
}

func noBackups() check {
	return check{
		"backups", checkWarn, "none are made by schedule",
		"name a folder on another disk in backup.dir, or see to it that licensectl db backup is run",
	}
}

func databaseBackups() check {
	return check{Name: "backups", Result: checkOK, Detail: "are those that the database's administrator makes; licensed makes none of a database"}
}

// backupsCheck says how old the newest backup is.
func backupsCheck(s adminwire.Status) check {
	const name = "backups"
	switch b := s.Backups; {
	case b == nil && s.StoreFindings != nil:
		return databaseBackups()
	case b == nil:
		return noBackups()
	case b.Failure != "":
		return check{name, checkFail, "the last attempt failed: " + b.Failure + "; the last good one is of " + when(b.Last, "never"), "see to " + b.Dir + "; it is tried again by itself"}
	case b.Late:
		return check{name, checkFail, "the last one is of " + when(b.Last, "never") + ", and one is due every " + b.Every, "see to " + b.Dir + "; the daemon's log says more"}
	}
	return check{Name: name, Result: checkOK, Detail: backupsText(s)}
}

// restoreChecks are what a restored store, and the marks beside a store, need.
func restoreChecks(s adminwire.Status) (list []check) {
	if r := s.Restore; r != nil {
		list = append(list, check{
			"reconcile mode", checkWarn, fmt.Sprintf("the store was restored as of %s; %d to be decided", when(&r.MadeAt, ""), r.Open),
			"licensectl db reconcile list, decide, and then finish",
		})
	}
	if s.MarksFailing != "" {
		list = append(list, check{
			"marks", checkFail, "the marks beside the store cannot be written: " + s.MarksFailing,
			"make room, or the data folder writable: without them a restored store does not know what it lost",
		})
	}
	return list
}

// Space on the disk of the data folder, below which writing will stop soon.
const (
	diskFail = 100 << 20
	diskWarn = 1 << 30
)

func diskCheck(s adminwire.Status) []check {
	const name, mend = "disk", "make room: with a full disk nothing can be activated or renewed"
	if s.Disk == nil {
		return nil
	}
	free := strings.TrimPrefix(sizeText(max(int64(min(s.Disk.Free, 1<<62)), 1)), ", ") + " free"
	switch {
	case s.Disk.Free < diskFail:
		return []check{{name, checkFail, free + " on the disk of " + s.DataDir, mend}}
	case s.Disk.Free < max(diskWarn, uint64(max(s.StoreBytes, 0))):
		return []check{{name, checkWarn, free + " on the disk of " + s.DataDir, mend}}
	}
	return []check{{Name: name, Result: checkOK, Detail: free}}
}

// acceptClock shows the daemon's clock, asks, and confirms what was shown.
func (p *program) acceptClock(c *cli.Context, f string, admin *adminclient.Client) error {
	if !c.Bool("yes") && !c.Bool("dry-run") && !p.interactive {
		return usagef("doctor --accept-clock asks whether the clock is right, and there is no terminal to ask at; pass --yes")
	}
	s, err := admin.Status(c.Context)
	if err != nil {
		return err
	}
	shown := s.Clock
	if shown.State != adminwire.Trusted {
		var list fields
		list.add("the daemon's clock", when(&shown.Now, ""))
		list.add("its last record", when(shown.LastRecord, "cannot be read"))
		if shown.OthersNow != nil {
			list.add("the other daemons show", when(shown.OthersNow, ""))
		}
		list.add("difference", clockOff(shown))
		list.add("the clock here", p.now().UTC().Format(longTime))
		if err := list.write(p.err); err != nil {
			return err
		}
		then := "and the daemon signs again."
		if shown.State == adminwire.Apart {
			then = "the daemon signs again, and the others do not until their clocks are right."
		}
		if err := p.confirm(c, "Is "+when(&shown.Now, "")+" the right time? It becomes the last record, "+then); err != nil {
			return err
		}
	}
	done, err := admin.AcceptClock(c.Context, shown.Now)
	if err != nil {
		return fmt.Errorf("accept the clock: %w", err)
	}
	if f == formJSON {
		return writeJSON(p.out, done)
	}
	if !done.Changed {
		return p.say("the clock is trusted, it shows %s: nothing changed", when(&done.After.Now, ""))
	}
	return p.say("the clock is accepted: its last record is %s now (before: %s), and the daemon signs again",
		when(done.After.LastRecord, ""), when(done.Before.LastRecord, "none that can be read"))
}

// transfersCheck says whether customers wait for the staff to let them move.
func transfersCheck(s adminwire.Status) check {
	if s.TransfersWaiting > 0 {
		return check{
			Name: "transfers", Result: checkWarn, Detail: count(s.TransfersWaiting, "move to another machine waits", "moves to another machine wait") + " for approval",
			Mend: "see licensectl transfer list",
		}
	}
	return check{Name: "transfers", Result: checkOK, Detail: "no move waits for approval"}
}

func ordersCheck(due *adminwire.OrdersDue) check {
	if text := ordersText(due); text != "" {
		return check{Name: "orders", Result: checkWarn, Detail: text, Mend: ordersMend}
	}
	return check{Name: "orders", Result: checkOK, Detail: fmt.Sprintf("%d open, nothing to do", due.Open)}
}
