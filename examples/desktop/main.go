// Command desktop is a terminal program that is licensed, to be copied from. It
// is worked by hand or through a pipe:
//
//	desktop
//	echo 'export drawing' | desktop
//
// Before it is built, anchors.json takes the merchant's own anchors:
//
//	licensectl keys anchors -o json >anchors.json
package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
)

// anchorsJSON is all that the program trusts from the start, so it is compiled
// in: who could exchange a file beside the program could make licences.
//
//go:embed anchors.json
var anchorsJSON []byte

const product = "demo" // the product's id at the merchant

const usage = `activate CODE   use the licence that this code was sold for
status          say how the licence stands
refresh         ask the licence server now, such as after a renewal
export NAME     needs the feature "export"
explain         say why this machine is, or is not, the licensed one
deactivate      give the licence up, so that another machine can have it
quit`

func main() {
	server := flag.String("server", "http://127.0.0.1:8080", "the licence server's `URL`; the anchors, not the address, say who is believed")
	state := flag.String("state", "", "the `folder` of the licence (default: one of this user)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *server, *state)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "desktop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, server, state string) error {
	anchors, err := client.ParseAnchors(anchorsJSON)
	if err != nil {
		return fmt.Errorf("fill in anchors.json and build again: %w", err)
	}
	if state == "" {
		if state, err = stateDir(); err != nil {
			return fmt.Errorf("find a folder for the licence: %w", err)
		}
	}
	// Open asks nobody, so the program starts as fast without a network as with one.
	guard, err := client.Open(ctx, client.Options{Anchors: anchors, Product: product, Server: server, StateDir: state})
	if err != nil {
		return fmt.Errorf("open the licence in %s: %w", state, err)
	}
	p := program{guard: guard, out: os.Stdout, byHand: isTerminal(os.Stdin)}
	return errors.Join(p.run(ctx, os.Stdin), guard.Close())
}

// stateDir is a folder of this user on this machine. On Windows the folder for
// settings may follow its user to other machines, where the licence is not valid.
func stateDir() (string, error) {
	find := os.UserConfigDir
	if runtime.GOOS == "windows" {
		find = os.UserCacheDir
	}
	dir, err := find()
	return filepath.Join(dir, "licensed-example-desktop"), err
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

type program struct {
	guard  *client.Guard
	out    io.Writer
	byHand bool // somebody types
}

// run does what is typed, and shows what happens to the licence meanwhile. One
// goroutine does both, so that neither writes into the other.
func (p *program) run(ctx context.Context, in io.Reader) error {
	p.say("%s", p.guard.Status())
	failed := 0
	lines := readLines(in)
	for {
		if p.byHand {
			fmt.Fprint(p.out, "> ")
		}
		select {
		case <-ctx.Done(): // Ctrl+C, or the session ends
			return nil
		case e := <-p.guard.Events():
			// Nothing else has to be done about it: what is allowed is asked where it is done.
			if p.byHand {
				fmt.Fprint(p.out, "\r") // over the prompt
			}
			p.say("[%s] %s", e.Kind, e)
			if errors.Is(e.Err, license.MachineMismatch) {
				p.say("%s", p.guard.Explain())
			}
		case line, more := <-lines:
			verb, argument, _ := strings.Cut(strings.TrimSpace(line), " ")
			if !more || verb == "quit" {
				if failed > 0 && !p.byHand {
					return fmt.Errorf("commands that failed: %d", failed)
				}
				return nil
			}
			if err := p.do(ctx, verb, strings.TrimSpace(argument)); err != nil {
				failed++
				p.say("error: %s", tell(err))
			}
		}
	}
}

func (p *program) do(ctx context.Context, verb, argument string) (err error) {
	switch verb {
	case "":
	case "status":
		p.say("%s", p.guard.Status())
	case "activate":
		// With nil the licence is stored. Where the answer was lost on the way, the same
		// code gets the same seat.
		if err = p.guard.Activate(ctx, argument); err == nil {
			p.say("activated: %s", p.guard.Status())
		}
	case "refresh":
		if err = p.guard.Refresh(ctx); err == nil {
			p.say("up to date: %s", p.guard.Status())
		}
	case "export":
		// Asked each time, and never kept: a licence may end while the program runs.
		if !p.guard.Feature("export") {
			return fmt.Errorf("export is not there: %s", p.guard.Status())
		}
		p.say("exported %s", argument)
	case "explain":
		p.say("%s", p.guard.Explain())
	case "deactivate":
		if err = p.guard.Deactivate(ctx); err == nil {
			p.say("given up: another machine can be activated now")
		}
	default:
		return fmt.Errorf("there is no command %q; there are\n%s", verb, usage)
	}
	return err
}

func (p *program) say(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }

// tell is an error for the person in front of the machine. Detail is written for
// them; what stands around it is for a log.
func tell(err error) string {
	if e, ok := errors.AsType[*license.Error](err); ok && e.Detail != "" {
		return e.Detail
	}
	return err.Error()
}

func readLines(in io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}
