package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// A product that keeps its own licence. anchorsJSON is the output of
// "licensectl keys anchors -o json", embedded by //go:embed.
func Example() {
	run := func(ctx context.Context, anchorsJSON []byte, code string) error {
		anchors, err := client.ParseAnchors(anchorsJSON)
		if err != nil {
			return err
		}
		g, err := client.Open(ctx, client.Options{Anchors: anchors, Product: "cad-pro", Server: "https://licence.example.com"})
		if err != nil {
			return err
		}
		defer g.Close() // calling home goes on until then, in the background
		go func() {
			for e := range g.Events() {
				fmt.Println(e.Kind, e) // such as to a status bar
			}
		}()
		if r := g.Status().Reason; r == license.NoLicense || r == license.MachineMismatch { // none yet, or one for another machine
			if err := g.Activate(ctx, code); err != nil {
				return err
			}
		}
		fmt.Println(g.Status(), g.Feature("export"))
		return nil
	}
	_ = run
}

// A Verifier needs neither a network nor a place to keep anything.
func ExampleVerifier() {
	anchors, licenseFile := exampleFile()
	v := client.Verifier{Anchors: anchors, Product: "cad-pro"}
	lic, err := v.Verify(licenseFile)
	if err != nil {
		fmt.Println("not a licence of ours:", err)
		return
	}
	now := time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC) // time.Now() in a product
	st := lic.Check(now)
	fmt.Println(st)
	if n, ok := st.Value("projects").Number(); ok {
		fmt.Println("projects:", n)
	}
	// Output:
	// licensed until 2027-03-01 12:00 UTC
	// projects: 10
}

// Errors carry a reason that programs test and a detail for the user.
func ExampleGuard_Activate() {
	dir, err := os.MkdirTemp("", "licensed-example")
	if err != nil {
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	anchors, _ := exampleFile()
	g, err := client.Open(context.Background(), client.Options{
		Anchors: anchors, Product: "cad-pro", Server: "https://licence.example.com", StateDir: dir,
	})
	if err != nil {
		return
	}
	defer func() { _ = g.Close() }()
	err = g.Activate(context.Background(), "LIC-AAAAA-AAAAA-AAAAA-AAAAA-AAAAAA")
	var e *license.Error
	if errors.As(err, &e) && e.Reason == license.BadRequest && e.Field == "code" {
		fmt.Println("Please check what you typed:", e.Detail)
	}
	// Output:
	// Please check what you typed: the code has a typing error: its check characters do not fit
}

// A machine without a network asks by file and is answered by file.
func ExampleGuard_Request() {
	dir, err := os.MkdirTemp("", "licensed-example")
	if err != nil {
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	anchors, answer := exampleFile()
	g, err := client.Open(context.Background(), client.Options{Anchors: anchors, Product: "cad-pro", StateDir: dir})
	if err != nil {
		return
	}
	defer func() { _ = g.Close() }()
	request, err := g.Request(context.Background(), client.OpActivate, client.RequestOptions{Code: "PL0123456789ABCDEF"})
	if err != nil {
		return
	}
	fmt.Println(len(request) > 0)
	// … carry request to "licensectl sign" or the merchant's page, and the answer back …
	fmt.Println(g.Import(answer))
	// Output:
	// true
	// <nil>
}

// exampleFile is a licence of the tests.
func exampleFile() (token.Anchors, []byte) {
	var tb testing.T
	return anchors(), file(keySet(&tb, "anchor-1", 1, "sign-1"), sign(&tb, claims(epoch), "sign-1"))
}
