// Command cold verifies a licence file and collects the fingerprint of the
// machine, once, as a product does when it starts: FILE ANCHORS PRODUCT.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license/token"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: cold FILE ANCHORS PRODUCT")
	}
	file, err := os.ReadFile(args[0]) //nolint:gosec // the path is the caller's
	if err != nil {
		return err
	}
	data, err := os.ReadFile(args[1]) //nolint:gosec // the path is the caller's
	if err != nil {
		return err
	}
	anchors, err := token.ParseAnchors(data)
	if err != nil {
		return err
	}
	v := client.Verifier{Anchors: anchors, Product: args[2]}
	lic, err := v.Verify(file)
	if err != nil {
		return err
	}
	machine, err := fingerprint.Collect(context.Background())
	if err != nil {
		return err
	}
	_ = lic.Match(machine) // the licence is for another machine
	return nil
}
