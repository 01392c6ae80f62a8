package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/backup"
	"github.com/seed-357fa782/licensed/store/dump"
	"github.com/seed-357fa782/licensed/store/open"
)

func (p *program) dbCommand() *cli.Command {
	return &cli.Command{
		Name: "db", Category: "Service", Usage: "back the store up, check and restore it",
		UsageText: "licensectl db backup FILE\nlicensectl db verify FILE\nlicensectl db restore --config FILE BACKUP\nlicensectl db check --config FILE\nlicensectl db reconcile status|list|decide|finish",
		Description: "A backup is one file, made while the daemon serves, read back and checked before it counts. Not in it, and to be copied\n" +
			"apart from it: the folder keys of the data folder, without which its codes can be neither found nor shown, the\n" +
			"configuration, and the secret files that it names.",
		Subcommands: []*cli.Command{
			{
				Name: "backup", Usage: "make a backup, while the daemon serves", UsageText: "licensectl db backup FILE",
				Description: "FILE appears once the backup is on disk, was read back and every record of it checked.\n\n" +
					"Example:\n  licensectl db backup /mnt/copies/licensed-$(date +%F).backup",
				Flags: []cli.Flag{yesFlag(), outputFlag(formTable, formJSON)}, Action: p.dbBackup,
			},
			{
				Name: "verify", Usage: "check a backup, and say what it holds", UsageText: "licensectl db verify FILE",
				Description: "Example:\n  licensectl db verify /mnt/copies/licensed-2027-01-31.backup",
				Flags:       []cli.Flag{outputFlag(formTable, formJSON)}, Action: p.dbVerify,
			},
			{
				Name: "restore", Usage: "put a backup in the place of the store, while the daemon is stopped", UsageText: "licensectl db restore --config FILE BACKUP",
				Description: "The store that is there is kept beside it, under a name with the date. The daemon that starts next looks what was lost\n" +
					"since the backup: see licensectl db reconcile.\n\n" +
					"Example:\n  licensectl db restore --config /etc/licensed.yaml /mnt/copies/licensed-2027-01-31.backup",
				Flags: []cli.Flag{configFlag(), yesFlag(), outputFlag(formTable, formJSON)}, Action: p.dbRestore,
			},
			{
				Name: "check", Usage: "check every record of the store, while the daemon is stopped; of a database at any time", UsageText: "licensectl db check --config FILE",
				Description: "Example:\n  licensectl db check --config /etc/licensed.yaml",
				Flags:       []cli.Flag{configFlag(), outputFlag(formTable, formJSON)}, Action: p.dbCheck,
			},
			p.dbReconcileCommand(),
		},
		Action: unknownCommand,
	}
}

func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Usage: "the daemon's configuration `FILE`, which names the store", TakesFile: true}
}

// configured reads the configuration that --config names. It is required: a store
// is not replaced because somebody stood in the wrong folder.
func (p *program) configured(c *cli.Context) (config.Config, error) {
	path := c.String("config")
	if path == "" {
		return config.Config{}, usagef("%s needs --config, the daemon's configuration, which names the store; see %s --help", c.Command.Name, commandName(c))
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return config.Config{}, usagef("there is no configuration %s", path)
	}
	cfg, err := config.Load(path, nil, nil)
	if err != nil {
		return config.Config{}, &statusError{status: exitUsage, err: err}
	}
	if err := open.Check(cfg.Store); err != nil {
		return config.Config{}, err
	}
	return cfg, nil
}

// shownManifest is the json form of a backup.
type shownManifest struct {
	File     string         `json:"file"`
	Bytes    int64          `json:"bytes"`
	MadeAt   time.Time      `json:"made_at"`
	Version  string         `json:"version"`
	AuditSeq int64          `json:"audit_seq"`
	Records  map[string]int `json:"records"`
}

func manifestOf(file string, m backup.Manifest) shownManifest {
	return shownManifest{file, m.Size, m.MadeAt, m.Version, m.Audit.Seq, m.Records}
}

func (p *program) printManifest(f string, m shownManifest) error {
	if f == formJSON {
		return writeJSON(p.out, m)
	}
	var list fields
	list.add("backup", m.File+sizeText(m.Bytes))
	list.add("made", fmt.Sprintf("%s, by %s", when(&m.MadeAt, ""), m.Version))
	list.add("licences", fmt.Sprint(m.Records["licenses"]))
	list.add("installs", fmt.Sprint(m.Records["installs"]))
	list.add("audit log", fmt.Sprintf("up to entry %d", m.AuditSeq))
	return list.write(p.out)
}

func (p *program) dbBackup(c *cli.Context) error {
	args, f, admin, err := p.begin(c, []string{formTable, formJSON}, "the FILE to write")
	if err != nil {
		return err
	}
	path := args[0]
	if _, err := os.Lstat(path); err == nil && !c.Bool("yes") {
		if err := p.confirm(c, "Replace "+shown(path)+"?"); err != nil {
			return err
		}
	}
	bar, checked := p.progress("%d MiB received"), p.progress("%d of %d MiB checked")
	m, err := backup.Receive(c.Context, path, told(checked), func(w io.Writer) error {
		defer bar.done()
		return admin.Backup(c.Context, &metered{w: w, bar: bar})
	})
	checked.done()
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if err := p.printManifest(f, manifestOf(path, m)); err != nil {
		return err
	}
	p.note("every record of it was checked. Copy the folder keys of the data folder, the configuration and its secret files too, and apart from it")
	return nil
}

// told tells a line of progress of bytes.
func told(g *progress) func(done, of int64) {
	return func(done, of int64) { g.show(done>>20, of>>20) }
}

// metered shows how much went through.
type metered struct {
	w   io.Writer
	n   int64
	bar *progress
}

func (m *metered) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	if before := m.n >> 20; (m.n+int64(n))>>20 != before {
		m.bar.show((m.n + int64(n)) >> 20)
	}
	m.n += int64(n)
	return n, err
}

func (p *program) dbVerify(c *cli.Context) error {
	args, f, err := commandLine(c, []string{formTable, formJSON}, "the FILE of a backup")
	if err != nil {
		return err
	}
	if err := there(args[0], "backup"); err != nil {
		return err
	}
	bar := p.progress("%d of %d MiB checked")
	m, err := backup.Verify(c.Context, args[0], told(bar))
	bar.done()
	if err != nil {
		return err
	}
	return p.printManifest(f, manifestOf(args[0], m))
}

// there refuses the name of a file that there is not.
func there(path, what string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return notFoundf("there is no %s %s", what, path)
	}
	return nil
}

// restoredReport is the json form of restore.
type restoredReport struct {
	Store  string        `json:"store"`
	Kept   string        `json:"kept,omitempty"`
	Backup shownManifest `json:"backup"`
}

func (p *program) dbRestore(c *cli.Context) error {
	args, f, err := commandLine(c, []string{formTable, formJSON}, "a BACKUP")
	if err != nil {
		return err
	}
	cfg, err := p.configured(c)
	if err != nil {
		return err
	}
	to, ok := strings.CutPrefix(cfg.Store, "bolt:")
	if !ok {
		return usagef("db restore is for the embedded store: a database is restored with its own tools, or by licensectl load of a dump into an empty one; the daemons that start then look what was lost")
	}
	if err := there(args[0], "backup"); err != nil {
		return err
	}
	m, err := backup.Read(args[0])
	if err != nil {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		if err := p.confirm(c, fmt.Sprintf("Put the backup of %s in the place of %s? What was changed since is not in it.", when(&m.MadeAt, ""), to)); err != nil {
			return err
		}
	}
	bar := p.progress("%d of %d MiB restored")
	r, m, err := backup.Restore(c.Context, args[0], to, backup.RestoreOptions{Now: p.now(), Progress: told(bar)})
	bar.done()
	if err != nil {
		return err
	}
	if f == formJSON {
		return writeJSON(p.out, restoredReport{to, r.Kept, manifestOf(args[0], m)})
	}
	if err := p.say("restored %s as of %s, audit log up to entry %d", to, when(&m.MadeAt, ""), m.Audit.Seq); err != nil {
		return err
	}
	if r.Kept != "" {
		p.note("the store that was there is kept as %s", r.Kept)
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "keys", "keyset.jwt")); err != nil {
		p.note("warning: there are no keys in %s; put back the copy of the folder that belongs to this store before you start the daemon",
			filepath.Join(cfg.DataDir, "keys"))
	}
	p.note("start the daemon, then look at licensectl db reconcile status: what was lost since the backup, and what is to be decided")
	return nil
}

// openStore opens the store that a configuration names, where there is one. A file has to
// be that of a daemon that is stopped.
func openStore(ctx context.Context, cfg config.Config, opts ...open.Option) (store.Store, error) {
	if path, ok := strings.CutPrefix(cfg.Store, "bolt:"); ok {
		if err := there(path, "store"); err != nil {
			return nil, err
		}
	}
	return open.Open(ctx, cfg.Store, append(opts, using(cfg))...)
}

// readOnlyDatabase has a database read beside the daemons that run on it, and nothing changed
// in it. A file that nobody has open is brought up to date first.
func readOnlyDatabase(cfg config.Config) []open.Option {
	if cfg.InDatabase() {
		return []open.Option{open.ReadOnly()}
	}
	return nil
}

// using has a database used as the configuration says.
func using(cfg config.Config) open.Option {
	d := cfg.Database
	return open.Using(open.Database{
		PasswordFile: d.PasswordFile, MaxConnections: d.MaxConnections,
		StatementTimeout: time.Duration(d.StatementTimeout), LockTimeout: time.Duration(d.LockTimeout),
		IdleTimeout: time.Duration(d.IdleTimeout), ConnectTimeout: time.Duration(d.ConnectTimeout),
	})
}

func (p *program) dbCheck(c *cli.Context) error {
	_, f, err := commandLine(c, []string{formTable, formJSON})
	if err != nil {
		return err
	}
	cfg, err := p.configured(c)
	if err != nil {
		return err
	}
	s, err := openStore(c.Context, cfg, readOnlyDatabase(cfg)...)
	if err != nil {
		return err
	}
	bar := p.progress("checking %s")
	bar.show(cfg.Store)
	if checker, ok := s.(interface{ Check(context.Context) error }); ok {
		err = checker.Check(c.Context)
	}
	var sum dump.Summary
	if err == nil {
		sum, err = dump.Digest(c.Context, s, nil)
	}
	bar.done()
	size := s.Stats().SizeBytes
	if err := errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("check %s: %w", cfg.Store, err)
	}
	if f == formJSON {
		return writeJSON(p.out, map[string]any{"store": cfg.Store, "bytes": size, "sound": true, "records": sum.Records, "digest": sum.Digest})
	}
	return p.say("%s%s: every record is sound\n%s\ndigest %s", cfg.Store, sizeText(size), sum, sum.Digest)
}

// created makes the file that a command writes, or takes standard output for "-".
func (p *program) created(path string) (w io.Writer, commit func() error, abort func(), err error) {
	if cmp.Or(path, "-") == "-" {
		return p.out, func() error { return nil }, func() {}, nil
	}
	f, err := durable.Create(path, 0o600)
	if err != nil {
		return nil, nil, nil, err
	}
	return f, f.Commit, f.Abort, nil
}

var errDaemon = license.Errorf(license.Conflict, "the daemon is running; stop it first, or leave --config out to ask it")
