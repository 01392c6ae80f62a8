package fingerprint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/denisbrodbeck/machineid"

	"github.com/seed-357fa782/licensed/license"
)

// CustomVariable is the environment variable with which an administrator
// supplies a machine id. It goes before the file (CustomFile).
const CustomVariable = "LICENSED_MACHINE_ID"

// Limits of what is looked at.
const (
	maxRead    = 4 << 10 // bytes of one file
	maxValue   = 256     // bytes of one value; longer is garbage
	maxDevices = 512     // disks of the machine's own, and adapters
)

// Collector collects a Set. The zero Collector looks at this machine.
type Collector struct {
	// Root is where the file tree of the machine begins, "" for "/". With another
	// root only files below it are read: no system call, no environment variable.
	Root string
	// Placeholders are further values that count as absent, case aside, beside
	// those that are known (see the file placeholder.go).
	Placeholders []string
	// Getenv looks up an environment variable; nil is os.Getenv, or nothing under
	// another Root.
	Getenv func(name string) string

	// permanent asks the system for the permanent address of an adapter.
	permanent func(adapter string) string
}

// Collect collects from this machine.
func Collect(ctx context.Context) (Set, error) { return Collector{}.Collect(ctx) }

// Collect collects. It fails only when ctx ends; what cannot be read is absent.
func (c Collector) Collect(ctx context.Context) (Set, error) {
	g := gathering{
		Collector: c,
		set:       Set{Values: map[license.Kind][]string{}, Notes: map[license.Kind]string{}},
	}
	if g.Getenv == nil && c.Root == "" {
		g.Getenv = os.Getenv
	}
	g.custom()
	for _, step := range g.steps() {
		if err := ctx.Err(); err != nil {
			return Set{}, fmt.Errorf("collect the machine's fingerprint: %w", err)
		}
		step()
	}
	for kind, values := range g.set.Values {
		slices.Sort(values)
		g.set.Values[kind] = slices.Compact(values)
	}
	return g.set, nil
}

// gathering is one run of a Collector.
type gathering struct {
	Collector
	set Set
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
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
			if line != "" && !strings.HasPrefix(line, "#") {
				g.add(license.KindCustom, line)
				return
			}
		}
		g.note(license.KindCustom, "%s is empty", CustomFile())
	}
}

// readCustom reads the administrator's file. As everywhere, what root alone can
// read is refused to root as well, and so is a file in a folder that is closed
// to others.
func (g *gathering) readCustom() ([]byte, error) {
	path := g.path(CustomFile())
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if folder.Mode().Perm()&0o001 == 0 {
		return nil, fs.ErrPermission
	}
	return readOpen(path)
}

// machineID takes the operating system's machine id.
func (g *gathering) machineID() {
	if g.Root != "" {
		for _, p := range []string{"/var/lib/dbus/machine-id", "/etc/machine-id"} {
			if data, _, err := readSome(g.path(p)); err == nil {
				g.add(license.KindOS, string(data))
				return
			}
		}
		return
	}
	id, err := machineid.ID()
	if err != nil {
		g.note(license.KindOS, "the operating system has no machine id that can be read")
		return
	}
	g.add(license.KindOS, id)
}

// path places an absolute path under the root.
func (g *gathering) path(p string) string {
	if g.Root == "" {
		return p
	}
	return filepath.Join(g.Root, p)
}

// readOpen is readSome of a file that everybody may read. What root alone can
// read is refused to root as well.
func readOpen(path string) ([]byte, error) {
	data, mode, err := readSome(path)
	if err == nil && mode.Perm()&0o004 == 0 {
		return nil, fs.ErrPermission
	}
	return data, err
}

// readSome reads the beginning of a file. What is longer than a value can be
// is cut, which add then refuses.
func readSome(path string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRead))
	return data, info.Mode(), err
}

// errorText is an error without the path, which the caller names.
func errorText(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
