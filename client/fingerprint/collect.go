package fingerprint

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/seed-357fa782/licensed/license"
)

// CustomVariable is the environment variable with which an administrator
// supplies a machine id. It goes before the file (CustomFile).
const CustomVariable = "LICENSED_MACHINE_ID"

// Limits of what is looked at. What is longer than a value can be is cut, and
// is no value then.
const (
	maxRead    = 4 << 10 // bytes of one file
	maxValue   = 256     // bytes of one value; longer is garbage
	maxDevices = 512     // disks of the machine's own, and adapters
)

// Collector collects a Set. The zero Collector looks at this machine.
type Collector struct {
	// Root is where the file tree of the machine begins, "" for "/". With another
	// root only files below it are read: no system call, no environment variable.
	// Elsewhere than on Linux that is the administrator's file alone.
	Root string
	// Placeholders are further values that count as absent, case aside, beside
	// those that are known (license.Placeholder).
	Placeholders []string
	// Getenv looks up an environment variable; nil is os.Getenv, or nothing under
	// another Root.
	Getenv func(name string) string

	// For tests: permanent asks for the permanent address of an adapter, and
	// environment is the one to go by instead of the one that was found.
	permanent   func(adapter string) string
	environment string
}

// Collect collects from this machine.
func Collect(ctx context.Context) (Set, error) { return Collector{}.Collect(ctx) }

// Collect collects. It fails only when ctx ends; what cannot be read is absent.
func (c Collector) Collect(ctx context.Context) (Set, error) {
	g := c.gather()
	for _, step := range append([]func(){g.custom}, g.steps(ctx)...) {
		if ctx.Err() != nil {
			break
		}
		step()
	}
	if err := ctx.Err(); err != nil { // the last step may have been cut short
		return Set{}, fmt.Errorf("collect the machine's fingerprint: %w", err)
	}
	return g.done(), nil
}

// gathering is one run of a Collector.
type gathering struct {
	Collector
	set Set
}

// gather begins a run.
func (c Collector) gather() *gathering {
	if c.Getenv == nil && c.Root == "" {
		c.Getenv = os.Getenv
	}
	return &gathering{c, Set{Values: map[license.Kind][]string{}, Notes: map[license.Kind]string{}}}
}

// done returns what a run gathered, each value once.
func (g *gathering) done() Set {
	for kind, values := range g.set.Values {
		slices.Sort(values)
		g.set.Values[kind] = slices.Compact(values)
	}
	return g.set
}

// add takes a value, unless it is absent in truth. It reports whether it did.
func (g *gathering) add(kind license.Kind, value string) bool {
	normal, ok := license.NormalizeValue(canonical(kind, value))
	switch {
	case strings.TrimSpace(value) == "":
		return false
	case !ok || len(normal) > maxValue || strings.IndexFunc(normal, isControl) >= 0:
		g.note(kind, "a value was left out that is not plain text of at most %d bytes without %q and %q", maxValue, "|", ",")
		return false
	case g.placeholder(kind, normal):
		g.note(kind, "a value was left out that is only a placeholder")
		return false
	}
	g.set.Values[kind] = append(g.set.Values[kind], normal)
	return true
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f || r == '\ufffd' }

// note says why a kind is absent; the first note stays.
func (g *gathering) note(kind license.Kind, format string, args ...any) {
	if g.set.Notes[kind] == "" {
		g.set.Notes[kind] = fmt.Sprintf(format, args...)
	}
}

// custom takes what an administrator supplied: the variable, else the file.
func (g *gathering) custom() {
	if g.Getenv != nil {
		if v := g.Getenv(CustomVariable); strings.TrimSpace(v) != "" {
			g.add(license.KindCustom, v)
			return
		}
	}
	data, err := g.readCustom()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, fs.ErrPermission):
		g.note(license.KindCustom, "%s is left out, because not everybody may read it; %s", CustomFile(), letRead())
	case err != nil:
		g.note(license.KindCustom, "%s cannot be read: %v", CustomFile(), errorText(err))
	default:
		for line := range strings.Lines(plainText(data)) {
			line = strings.TrimSpace(line)
			if line != "" && !strings.HasPrefix(line, "#") {
				g.add(license.KindCustom, line)
				return
			}
		}
		g.note(license.KindCustom, "%s is empty", CustomFile())
	}
}

// readCustom reads the administrator's file. As everywhere, what root alone can
// read is refused to root as well.
func (g *gathering) readCustom() ([]byte, error) {
	path := g.path(CustomFile())
	data, mode, err := readSome(path, maxRead)
	if err == nil && !customIsOpen(path, mode) {
		return nil, fs.ErrPermission
	}
	return data, err
}

// plainText returns the text of a file without the mark at its beginning. Where
// that is the mark of UTF-16, as the shell of Windows writes it, it is decoded.
func plainText(data []byte) string {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		order = binary.BigEndian
	default:
		return strings.TrimPrefix(string(data), "\ufeff")
	}
	units := make([]uint16, len(data)/2-1)
	for i := range units {
		units[i] = order.Uint16(data[2*i+2:])
	}
	return string(utf16.Decode(units))
}

// path places an absolute path under the root, without the letter of a drive.
func (g *gathering) path(p string) string {
	if g.Root == "" {
		return p
	}
	return filepath.Join(g.Root, strings.TrimPrefix(p, filepath.VolumeName(p)))
}

// errorText is an error without the path, which the caller names.
func errorText(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
