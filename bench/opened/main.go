// Command opened opens the guard of an install that holds a licence, once, as a
// product does when it starts: ANCHORS [FOLDER PRODUCT [SERVER]]. With a server a
// call home is due; without a folder nothing is opened.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/seed-357fa782/licensed/client"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 && len(args) != 3 && len(args) != 4 {
		return errors.New("usage: opened ANCHORS [FOLDER PRODUCT [SERVER]]")
	}
	data, err := os.ReadFile(args[0]) //nolint:gosec // the path is the caller's
	if err != nil {
		return err
	}
	anchors, err := client.ParseAnchors(data)
	if err != nil || len(args) == 1 {
		return err
	}
	o := client.Options{Anchors: anchors, Product: args[2], StateDir: args[1]}
	if len(args) == 4 {
		o.Server = args[3]
		o.Now = func() time.Time { return time.Now().Add(36 * time.Hour) } // so that a call is due
	}
	g, err := client.Open(context.Background(), o)
	if err != nil {
		return err
	}
	// It is not closed: what is measured is the start.
	if !g.Feature("export") {
		return errors.New(g.Status().String())
	}
	return nil
}
