// Command airgap is a program for machines without a network, to be copied from.
// What it asks for goes out as a file, or as a QR code on the terminal; the
// answer comes back as a file:
//
//	airgap activate LIC-…          writes machine.req
//	licensectl sign machine.req -o machine.lic     at the merchant
//	airgap import machine.lic
//
// Before it is built, anchors.json takes the merchant's own anchors:
//
//	licensectl keys anchors -o json >anchors.json
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/qr"
	"github.com/seed-357fa782/licensed/license"
)

// anchorsJSON is all that the program trusts from the start, so it is compiled in.
//
//go:embed anchors.json
var anchorsJSON []byte

const product = "demo" // the product's id at the merchant

const usage = `airgap [-state FOLDER] [-o FILE] [-qr] COMMAND

  status            say how the licence stands
  activate [CODE]   ask for the licence that this code was sold for
  refresh           ask for what is new: a renewal, a longer lease
  transfer [CODE]   ask to move the licence here from another machine
  deactivate        give the licence up; the file is the receipt
  import FILE       take the answer, or a status list
  export NAME       needs the feature "export"

Without CODE, who hands the request in gives it beside it.
`

func main() {
	flag.Usage = func() { fmt.Fprint(flag.CommandLine.Output(), usage) }
	var a airgap
	state := flag.String("state", "state", "")
	flag.StringVar(&a.file, "o", "machine.req", "")
	flag.BoolVar(&a.qr, "qr", false, "")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := a.run(ctx, *state, flag.Arg(0), flag.Arg(1))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "airgap:", tell(err))
		os.Exit(1)
	}
}

type airgap struct {
	guard *client.Guard
	file  string // of requests
	qr    bool   // drawn too
}

func (a *airgap) run(ctx context.Context, state, command, argument string) error {
	anchors, err := client.ParseAnchors(anchorsJSON)
	if err != nil {
		return fmt.Errorf("fill in anchors.json and build again: %s", tell(err))
	}
	// Without a Server nobody is ever called. Manual, since a program that runs for a
	// moment needs nothing in the background; one that stays open would leave it out
	// and heed Events.
	a.guard, err = client.Open(ctx, client.Options{Anchors: anchors, Product: product, StateDir: state, Manual: true})
	if err != nil {
		return err
	}
	return errors.Join(a.do(ctx, command, argument), a.guard.Close())
}

func (a *airgap) do(ctx context.Context, command, argument string) error {
	switch command {
	case "status":
		return a.status()
	case "activate", "refresh", "transfer", "deactivate":
		return a.request(ctx, client.Op(command), argument)
	case "import":
		return a.take(argument)
	case "export":
		if !a.guard.Feature("export") {
			return fmt.Errorf("export is not there: %s", a.guard.Status())
		}
		say("exported %s", argument)
		return nil
	default:
		return errors.New("no such command; airgap -h lists them")
	}
}

// status says how the licence stands, what is wrong with the machine, and until
// when somebody must have carried a file.
func (a *airgap) status() error {
	st := a.guard.Status()
	say("%s", st)
	for _, warning := range a.guard.Warnings() {
		say("warning: %s", tell(warning))
	}
	if errors.Is(st.Reason, license.MachineMismatch) {
		say("%s", a.guard.Explain())
	}
	if st.Usable && st.LeaseUntil.Before(license.Forever) {
		say("carry out a refresh before %s", st.LeaseUntil.Local().Format("2006-01-02 15:04"))
	}
	return nil
}

// request writes the request file, and draws it. The same request is written
// again until it was answered, so a lost file costs nothing.
func (a *airgap) request(ctx context.Context, op client.Op, code string) error {
	request, err := a.guard.Request(ctx, op, client.RequestOptions{Code: code})
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.file, request, 0o600); err != nil { // it may hold the code
		return fmt.Errorf("the request is made, but was not written; ask for it again: %w", err)
	}
	say("hand %s in and import the answer here", a.file)
	if op == client.OpDeactivate {
		say("this machine has no licence any more; keep the file, which frees the seat, until the merchant has confirmed it")
	}
	if !a.qr {
		return nil
	}
	err = qr.Terminal(os.Stdout, request, 0)
	if errors.Is(err, qr.ErrTooLarge) { // such as for a terminal of 80 columns
		say("as a QR code it has no room here: use the file")
		return nil
	}
	return err
}

func (a *airgap) take(name string) error {
	file, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := a.guard.Import(file); err != nil {
		return err
	}
	return a.status()
}

func say(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }

// tell is an error for the person in front of the machine. Detail is written for
// them; what stands around it is for a log.
func tell(err error) string {
	if e, ok := errors.AsType[*license.Error](err); ok && e.Detail != "" {
		return e.Detail
	}
	return err.Error()
}
