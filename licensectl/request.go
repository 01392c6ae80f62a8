package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/qr"
	"github.com/seed-357fa782/licensed/internal/durable"
)

func (p *program) requestCommand() *cli.Command {
	return &cli.Command{
		Name: "request", Category: "Machines without a network", Usage: "make a request file on a machine that cannot reach the server",
		UsageText: "licensectl request --product P [--op OP] [--code C] [--from ID] [--state DIR] [-o FILE] [--qr] [--png FILE]",
		Description: "The merchant answers it with licensectl sign; licensectl import takes the answer.\n" +
			"Asked again for the same, it writes the same request until it is answered.\n" +
			"With --qr the request is drawn on the terminal, for a phone: the merchant takes the text that its scanner\n" +
			"shows, or a photo of the code. --png makes an image of it.\n" +
			"A request to deactivate gives the licence up at once, and is the receipt for it.\n\n" +
			"Examples:\n  licensectl request --product demo --code LIC-7ZKQ2-… -o machine.req\n" +
			"  licensectl request --product demo --op refresh --qr",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "op", Value: string(client.OpActivate), Usage: "`WHAT` to ask for: activate, refresh, transfer, deactivate"},
			&cli.StringFlag{Name: "product", Usage: "the product's `ID` (required)"},
			&cli.StringFlag{Name: "code", Usage: "the `CODE`, for activate and transfer; without it the merchant gives it to sign"},
			&cli.StringFlag{Name: "from", Usage: "the `INSTALL` whose seat a transfer frees"},
			&cli.BoolFlag{Name: "qr", Usage: "draw the request as a QR code on the terminal"},
			&cli.StringFlag{Name: "png", Usage: "write the request as a QR code to the image `FILE`", TakesFile: true},
			stateFlag(), anchorsFlag(), fileFlag("request file"), yesFlag(),
		},
		Action: p.request,
	}
}

func (p *program) request(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	if c.String("product") == "" {
		return usagef("request needs --product")
	}
	if c.Bool("qr") && c.String("output") == "-" {
		return usagef("--qr draws where -o - writes the file; name a file, or leave one of them out")
	}
	if err := noForm(c); err != nil {
		return err
	}
	op := client.Op(strings.ToLower(c.String("op")))
	if op == client.OpDeactivate && p.interactive { // a receipt is kept, so a script need not say --yes
		if err := p.confirm(c, "Give the licence in "+shown(c.String("state"))+" up at once?"); err != nil {
			return err
		}
	}
	// Anchors verify what is held already; the first request needs none.
	anchors, err := optionalAnchors(c)
	if err != nil {
		return err
	}
	g, err := p.openInstall(c, c.String("product"), anchors)
	if err != nil {
		return err
	}
	defer g.Close() //nolint:errcheck // never fails; nothing runs in the background
	file, err := g.Request(c.Context, op, client.RequestOptions{Code: c.String("code"), From: c.String("from")})
	if err != nil {
		return fmt.Errorf("make a request to %s: %w", op, err)
	}
	err = p.showRequest(c, file)
	p.noteRequest(c, op, err == nil)
	return err
}

// showRequest writes a request in all forms that were asked for. The file comes
// first: it always goes well where a code may be too large. It may hold the
// code, so nobody else may read it.
func (p *program) showRequest(c *cli.Context, file []byte) error {
	drawn := c.Bool("qr") || c.String("png") != ""
	if !drawn || c.String("output") != "" {
		if err := p.writeOutput(c, file, 0o600, "request file"); err != nil {
			return err
		}
	}
	if path := c.String("png"); path != "" {
		var img bytes.Buffer
		if err := qr.PNG(&img, file, 0); err != nil {
			return fmt.Errorf("draw %s: %w", path, err)
		}
		if err := durable.WriteFile(path, img.Bytes(), 0o600); err != nil {
			return err
		}
		p.note("wrote the request as a QR code to %s", path)
	}
	if c.Bool("qr") {
		if err := qr.Terminal(p.out, file, columnsOf(p.out)); err != nil {
			return fmt.Errorf("draw the request: %w", err)
		}
	}
	return nil
}

// noteRequest says what there is to do with a request, also with one that could
// not be shown: it was made all the same.
func (p *program) noteRequest(c *cli.Context, op client.Op, whole bool) {
	again := "licensectl request --op " + string(op) + " --product " + c.String("product") + " --state " + shown(c.String("state")) + " -o FILE"
	if !whole {
		p.note("the request was made and is kept: %s writes the same one as a file", again)
	}
	path := c.String("output")
	if path == "" || path == "-" {
		path = "FILE"
	}
	photo := c.Bool("qr") || c.String("png") != ""
	if photo {
		p.note("scan the code with a phone and send the merchant the text that it shows, or a photo of the whole code, sharp and from the front")
	}
	switch {
	case op == client.OpDeactivate:
		p.note("this install has no licence any more; hand the file in with licensectl sign %s to free the seat", path)
		p.note("keep it until the merchant has confirmed that: it is the receipt; %s writes it again", again)
	case photo:
		p.note("the merchant answers it with licensectl sign TEXT or PHOTO -o OUT.lic; bring that file here for licensectl import")
	default:
		p.note("answer it with licensectl sign %s -o OUT.lic, and bring that here for licensectl import", path)
	}
}
