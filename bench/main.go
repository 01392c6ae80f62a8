// Command bench measures the licence server beside a bare prototype of the same
// work, in one run on one machine, and prints each ratio beside the figure that
// is to be reached. It is `make bench`.
//
// The prototype is net/http, encoding/json, Ed25519, HMAC and a group commit on
// bbolt with fsync, without any of our layers. It is kept honest: it commits to
// disk before it answers, it signs what the server signs, and it writes the very
// keys and bytes that the server wrote for the same requests. What differs is
// only what our code adds.
//
// The ceiling of a path is 1 / (1 / rate of the prototype without storage + 1 /
// rate of the bare group commit): on two cores work and commits hardly overlap.
//
// Requests are signed before the clock starts. Everything runs in this process,
// the load generator included, so that both sides pay for it alike; measurements
// take turns, and medians count. Only where memory is measured the daemon is a
// process of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"time"
)

// gcPercent is what the daemon's main program sets.
const gcPercent = 400

// sizes say how much is measured.
type sizes struct {
	requests int // of one measurement under load
	warm     int // before it, not counted
	conns    int
	paced    int           // callbacks at a fixed pace
	codes    int           // in the comparison with a marketplace
	quiet    time.Duration // of a daemon with nothing to do
	rounds   int
	alone    int // requests on one connection
	commits  int // of one writer
	crowd    int // of 16 writers with db.Batch
	cached   int // answers from memory
	listed   int // installs in status lists
	verifies int // batches of 50
	cold     int // processes
	list     int // licences in the larger store that is listed
	pages    int // of each list and turn
	expiring int // licences that end at once
	ends     int // callbacks at a fixed pace meanwhile, and before
	pg       int // requests of one measurement on PostgreSQL, a tenth of it on one connection
	pgConns  []int
}

var usual = sizes{
	requests: 8000, warm: 512, conns: 64, paced: 2 * 60 * pace, quiet: 15 * time.Second, rounds: 3, alone: 300, commits: 600, crowd: 1600, cached: 16000, listed: 1_000_000, verifies: 40, cold: 41, pages: 100, expiring: 100_000, ends: 60 * pace, pg: 4000, pgConns: []int{1, 16, 64},
}

// options are the flags.
type options struct {
	dir     string
	only    string
	profile string
	sizes   sizes
	stdout  io.Writer
}

func main() {
	o := options{sizes: usual, stdout: os.Stdout}
	flag.StringVar(&o.dir, "dir", "", "folder to measure in (default: a temporary one on a disk)")
	flag.StringVar(&o.only, "only", "", "measure only this group: activate, refresh, callback, paced, reconcile, alone, commit, keys, status, listing, console, expiry, backup, postgres, verify, cold or open")
	flag.StringVar(&o.profile, "profile", "", "folder for CPU profiles of the server under load, one for each path")
	flag.IntVar(&o.sizes.requests, "requests", usual.requests, "requests of one measurement under load")
	flag.IntVar(&o.sizes.codes, "codes", 0, fmt.Sprintf("codes of reconcile (default: %d with -only reconcile, which take 7 minutes since the daemon "+
		"pauses 200 ms before each call to the marketplace; else %d)", allCodes, fewCodes))
	flag.IntVar(&o.sizes.list, "licences", 0, fmt.Sprintf("licences in the larger store of listing, and in those of console and backup (default: %d with -only listing, console or backup, else %d)", allListed, manyOfAll))
	flag.IntVar(&o.sizes.rounds, "rounds", usual.rounds, "how often each is measured; the median counts")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	debug.SetGCPercent(gcPercent)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// group is a set of measurements that is run together.
type group struct {
	name    string
	measure func(context.Context, *site) ([]line, error)
}

var groups = []group{
	{"activate", measureActivate},
	{"refresh", measureRefresh},
	{"callback", measureCallback},
	{"paced", measurePaced},
	{"reconcile", measureReconcile},
	{"alone", measureAlone},
	{"commit", measureCommit},
	{"keys", measureKeys},
	{"status", measureStatus},
	{"listing", measureListing},
	{"console", measureConsole},
	{"expiry", measureExpiry},
	{"backup", measureBackup},
	{"postgres", measurePostgres},
	{"verify", measureVerify},
	{"cold", measureCold},
	{"open", measureOpened},
}

// codes is how many codes are compared: all where nothing else is measured.
func (o options) codes() int {
	switch {
	case o.sizes.codes > 0:
		return o.sizes.codes
	case o.only == "reconcile":
		return allCodes
	}
	return fewCodes
}

// list is how many licences the larger store holds that is listed.
func (o options) list() int {
	switch {
	case o.sizes.list > 0:
		return o.sizes.list
	case o.only == "listing", o.only == "console", o.only == "backup":
		return allListed
	}
	return manyOfAll
}

// later are figures of which nothing is measured yet.
const later = `Not measured yet: stores of 1,000,000 licences (rates, memory) and 5,000,000.`

func run(ctx context.Context, o options) (err error) {
	if o.sizes.requests < 1 || o.sizes.rounds < 1 || o.sizes.codes < 0 || o.sizes.list < 0 {
		return errors.New("-requests and -rounds must be at least 1, and -codes and -licences not less than 0")
	}
	o.sizes.codes, o.sizes.list = o.codes(), o.list()
	dir, err := workFolder(o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(o.stdout, machine(dir))
	s, err := newSite(ctx, dir, o)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	known := false
	var lines []line
	for _, g := range groups {
		if o.only != "" && o.only != g.name {
			continue
		}
		known = true
		got, err := g.measure(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		lines = append(lines, got...)
	}
	if !known {
		return fmt.Errorf("there is no group %q", o.only)
	}
	if err := printLines(o.stdout, lines); err != nil {
		return err
	}
	if o.only == "" {
		fmt.Fprintf(o.stdout, "\n%s\n", later)
	}
	return nil
}
