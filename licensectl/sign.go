package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/internal/qrphoto"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

func (p *program) signCommand() *cli.Command {
	return &cli.Command{
		Name: "sign", Category: "Machines without a network", Usage: "answer the request file of a machine with a licence file",
		UsageText: "licensectl sign FILE [--code C] [-o OUT.lic]",
		Description: "FILE is what licensectl request, or the product itself, wrote on the machine; - is standard input.\n" +
			"It may be a photo (JPEG, PNG) of the QR code that the machine shows, or a mail or any text with what a phone's\n" +
			"scanner made of it, which begins with LR1:; that text may stand in place of FILE, in quotes.\n" +
			"The same request gets the same answer again.\n\n" +
			"Examples:\n  licensectl sign machine.req --code LIC-7ZKQ2-… -o machine.lic\n  licensectl sign photo.jpg -o machine.lic",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "code", Usage: "the `CODE`, where the request carries none"},
			fileFlag("licence file"), yesFlag(),
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "a request FILE")
			if err != nil {
				return err
			}
			raw, err := p.readRequest(args[0])
			if err != nil {
				return err
			}
			admin, err := p.connect(c)
			if err != nil {
				return err
			}
			if c.Bool("dry-run") {
				would, err := admin.Request(c.Context, wire.Request{Request: raw, Code: c.String("code")})
				if err != nil {
					return fmt.Errorf("sign: %w", err)
				}
				return p.say("the request would be answered: %s, install %s", would.LicenseID, would.InstallID)
			}
			file, err := admin.Answer(c.Context, wire.Request{Request: raw, Code: c.String("code")})
			if err != nil {
				return fmt.Errorf("sign: %w", err)
			}
			if err := p.writeOutput(c, file, 0o644, "licence file"); err != nil {
				return err
			}
			p.noteSigned(file)
			return nil
		},
	}
}

// readRequest reads a request in whichever form it came.
func (p *program) readRequest(arg string) (raw string, err error) {
	if strings.HasPrefix(arg, "LR1:") {
		if raw, err = token.ParseRequestFile([]byte(arg)); err != nil {
			return "", fmt.Errorf("read the request: %w", err)
		}
		return raw, nil
	}
	data, err := p.readUpTo(arg, "request file", qrphoto.MaxFile)
	if err != nil {
		return "", err
	}
	what := "the request file " + arg
	if qrphoto.Is(data) {
		text, err := qrphoto.Read(data)
		if err != nil {
			return "", fmt.Errorf("read the photo %s: %w", arg, err)
		}
		data, what = []byte(text), "the QR code in "+arg
	}
	if raw, err = token.ParseRequestFile(data); err != nil {
		return "", fmt.Errorf("read %s: %w", what, err)
	}
	return raw, nil
}

// noteSigned says what an answer holds.
func (p *program) noteSigned(file []byte) {
	if !bytes.Contains(file, []byte("-----BEGIN LICENSE-----")) {
		p.note("the install has given its licence up: its seat is free; send the answer, or tell its user, that the receipt need not be kept any longer")
		return
	}
	parsed, err := token.ParseFile(file)
	if err != nil {
		p.note("warning: the answer cannot be read: %s", oneLine(err.Error()))
	}
	for _, raw := range parsed.Licenses {
		if l, err := token.PeekLicense(raw); err == nil {
			p.note("signed %s of %s for install %s, ends %s", l.LicenseID, l.Product, l.InstallID, instant(l.Dates.ExpiresAt))
		}
	}
	p.note("bring the answer to the machine that asked, for licensectl import or the product itself")
}

// fileFlag is the -o of a command that writes a file.
func fileFlag(what string) cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the " + what + " to `FILE` instead of standard output", TakesFile: true}
}

// noForm refuses what other commands take after -o: nobody means a file called json.
func noForm(c *cli.Context) error {
	switch name := c.String("output"); name {
	case formTable, formJSON, formCSV:
		return usagef("-o names the file that %s writes; for one that is called so write -o ./%s", commandName(c), name)
	}
	return nil
}

// readInput reads a file that an argument names; "-" is standard input.
func (p *program) readInput(path, what string) ([]byte, error) {
	return p.readUpTo(path, what, token.MaxFile)
}

// readUpTo is readInput for a file that may have another size, in bytes.
func (p *program) readUpTo(path, what string, limit int64) ([]byte, error) {
	if path == "-" {
		data, err := upTo(p.in, limit)
		if err != nil {
			return nil, fmt.Errorf("read the %s from standard input: %w", what, err)
		}
		return data, nil
	}
	data, err := fileUpTo(path, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFoundf("there is no %s %s", what, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the %s: %w", what, err)
	}
	return data, nil
}

func readFile(path string) ([]byte, error) { return fileUpTo(path, token.MaxFile) }

func fileUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	return upTo(f, limit)
}

func readLimited(r io.Reader) ([]byte, error) { return upTo(r, token.MaxFile) }

func upTo(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it is larger than %d KiB", limit>>10)
	}
	return data, err
}

// writeOutput writes to the file that -o names, or to standard output.
func (p *program) writeOutput(c *cli.Context, data []byte, perm fs.FileMode, what string) error {
	if err := noForm(c); err != nil {
		return err
	}
	path := c.String("output")
	if path == "" || path == "-" {
		if _, err := p.out.Write(data); err != nil {
			return fmt.Errorf("print the %s: %w", what, err)
		}
		return nil
	}
	if err := durable.WriteFile(path, data, perm); err != nil {
		return err
	}
	p.note("wrote the %s %s", what, path)
	return nil
}
