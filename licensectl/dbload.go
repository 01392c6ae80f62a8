package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/buildinfo"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store/dump"
	"github.com/seed-357fa782/licensed/store/open"
)

func (p *program) dumpCommand() *cli.Command {
	return &cli.Command{
		Name: "dump", Category: "Service", Usage: "write every record of the store as JSON Lines",
		UsageText: "licensectl dump [--config FILE] [-o DUMP] [--yes]",
		Description: "Asks the running daemon, or with --config reads the store of one that is stopped, or a database whose daemons go on. The text is what licensectl load takes, into\n" +
			"a store of another kind, too. Codes are in it as the store has them, sealed under the data key in the folder keys of the data\n" +
			"folder, which is not in it. The digest of all records that it prints is what load prints, and db check of either store. It holds names of customers, and where each install stands in the status lists: keep it as the store.\n\n" +
			"Examples:\n  licensectl dump -o merchant.jsonl\n  licensectl dump --config licensed.yaml | zstd >merchant.jsonl.zst",
		Flags: []cli.Flag{configFlag(), fileFlag("dump"), yesFlag()}, Action: p.dump,
	}
}

func (p *program) dump(c *cli.Context) (err error) {
	if _, err := arguments(c); err != nil {
		return err
	}
	if err := noForm(c); err != nil {
		return err
	}
	path := c.String("output")
	if _, err := os.Lstat(path); err == nil && path != "-" && !c.Bool("yes") {
		if err := p.confirm(c, "Replace "+shown(path)+"?"); err != nil {
			return err
		}
	}
	w, commit, abort, err := p.created(path)
	if err != nil {
		return err
	}
	defer abort()
	sum, err := p.dumpTo(c, w)
	if err != nil {
		return err
	}
	if err := commit(); err != nil {
		return err
	}
	p.note("%d records, digest %s", sum.Total(), sum.Digest)
	if path != "" && path != "-" {
		p.note("wrote the dump %s; its codes need the folder keys of the data folder", path)
	}
	return nil
}

func (p *program) dumpTo(c *cli.Context, w io.Writer) (dump.Summary, error) {
	if c.String("config") == "" {
		admin, err := p.connect(c)
		if err != nil {
			return dump.Summary{}, err
		}
		return p.provedDump(w, func(w io.Writer) error { return admin.Dump(c.Context, w) })
	}
	cfg, err := p.configured(c)
	if err != nil {
		return dump.Summary{}, err
	}
	s, err := openStore(c.Context, cfg, readOnlyDatabase(cfg)...)
	if errors.Is(err, license.Conflict) {
		return dump.Summary{}, errors.Join(errDaemon, err)
	}
	if err != nil {
		return dump.Summary{}, err
	}
	bar := p.progress("%d records written")
	sum, err := dump.Write(c.Context, s, w, dump.Options{
		Version: buildinfo.Version(), Now: p.now(), Progress: func(n int64) { bar.show(n) },
	})
	bar.done()
	return sum, errors.Join(err, s.Close())
}

// provedDump passes on what is received, and reads it on the way: a connection
// that breaks can look like the end.
func (p *program) provedDump(w io.Writer, receive func(io.Writer) error) (sum dump.Summary, err error) {
	r, in := io.Pipe()
	proved := make(chan error, 1)
	go func() {
		var err error
		sum, err = dump.Verify(r)
		_, _ = io.Copy(io.Discard, r) // who writes must not wait
		proved <- err
	}()
	bar := p.progress("%d MiB received")
	err = receive(&metered{w: io.MultiWriter(w, in), bar: bar})
	bar.done()
	_ = in.Close() // always nil
	damage := <-proved
	if err != nil {
		return sum, err
	}
	return sum, damage
}

func (p *program) loadCommand() *cli.Command {
	return &cli.Command{
		Name: "load", Category: "Service", Usage: "fill a new store from a dump, while the daemon is stopped",
		UsageText: "licensectl load --config FILE [DUMP]",
		Description: "DUMP is what licensectl dump wrote; - or none is standard input. The store that the configuration names must be empty, or\n" +
			"hold the beginning of the same load: one that was broken off goes on when it is repeated. Until it has come to its end\n" +
			"no daemon starts on the store. Put the folder keys that belongs to the dump into the data folder.\n\n" +
			"Example:\n  licensectl load --config new.yaml merchant.jsonl",
		Flags: []cli.Flag{configFlag(), yesFlag(), outputFlag(formTable, formJSON)}, Action: p.load,
	}
}

// loadReport is the json form of load.
type loadReport struct {
	Store   string           `json:"store"`
	Records map[string]int64 `json:"records"`
	Digest  string           `json:"digest"`
}

func (p *program) load(c *cli.Context) error {
	path := "-"
	if c.Args().Len() > 0 {
		args, err := arguments(c, "a DUMP")
		if err != nil {
			return err
		}
		path = args[0]
	}
	f, err := form(c, formTable, formJSON)
	if err != nil {
		return err
	}
	cfg, err := p.configured(c)
	if err != nil {
		return err
	}
	in := p.in
	if path != "-" {
		if in, err = p.provedFile(path); err != nil {
			return err
		}
		defer in.(io.Closer).Close() //nolint:errcheck,forcetypeassert // a file, which was only read
	}
	s, err := open.Open(c.Context, cfg.Store, using(cfg))
	if err != nil {
		return err
	}
	bar := p.progress("%d records loaded")
	sum, err := dump.Load(c.Context, s, in, dump.LoadOptions{Progress: func(n int64) { bar.show(n) }})
	bar.done()
	if err := errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if f == formJSON {
		r := loadReport{cfg.Store, map[string]int64{}, sum.Digest}
		for kind, n := range sum.Records {
			r.Records[string(kind)] = n
		}
		return writeJSON(p.out, r)
	}
	return p.say("loaded %d records into %s: %s\neach was read back, and the digest of all is that of the dump: %s", sum.Total(), cfg.Store, sum, sum.Digest)
}

// provedFile opens a dump and reads it to its end first, so that nothing is stored
// of one that is damaged.
func (p *program) provedFile(path string) (io.ReadCloser, error) {
	if err := there(path, "dump"); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	_, err = dump.Verify(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
