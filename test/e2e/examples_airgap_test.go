package e2e_test

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/qrphoto"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// island is a machine without a network.
type island struct {
	t             *testing.T
	machine, home string
}

func newIsland(t *testing.T, machine string) island {
	t.Helper()
	return island{t: t, machine: machine, home: t.TempDir()}
}

func (i island) path(name string) string { return filepath.Join(i.home, name) }

// run runs the example there.
func (i island) run(args ...string) (string, error) {
	i.t.Helper()
	cmd := exampleCommand(i.t, i.machine, "airgap", args...)
	cmd.Dir = i.home
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// does runs the example, and wants it to say something.
func (i island) does(want string, args ...string) string {
	i.t.Helper()
	out, err := i.run(args...)
	if err != nil || !strings.Contains(out, want) {
		i.t.Fatalf("airgap %q: %v, want %q:\n%s", args, err, want, out)
	}
	return out
}

// refuses runs the example, and wants it to fail and say why.
func (i island) refuses(want string, args ...string) {
	i.t.Helper()
	out, err := i.run(args...)
	if err == nil || !strings.Contains(out, want) {
		i.t.Fatalf("airgap %q: %v, want %q:\n%s", args, err, want, out)
	}
}

// carry takes a request of the island to the merchant, and the answer back.
func (i island) carry(s *site, request, answer string, args ...string) {
	i.t.Helper()
	cmd := exec.CommandContext(i.t.Context(), filepath.Join(bin, "licensectl"),
		append([]string{"sign", i.path(request), "-o", i.path(answer)}, args...)...)
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		i.t.Fatalf("licensectl sign: %v\n%s", err, out)
	}
}

func (i island) read(name string) []byte {
	i.t.Helper()
	data, err := os.ReadFile(i.path(name))
	if err != nil {
		i.t.Fatal(err)
	}
	return data
}

// A licence goes to a machine without a network, is renewed there, moves to
// another such machine and is given up, by files alone.
func TestExampleAirgap(t *testing.T) {
	t.Parallel()
	p := exampleSite(t, "{id: demo, features: {export: true}}").start()
	l := p.issue("demo", 1)
	live := func() (n int) {
		for _, i := range p.show(l.ID).Installs {
			if i.State == "live" {
				n++
			}
		}
		return n
	}
	one, two := newIsland(t, "island"), newIsland(t, "other island")

	one.does("not licensed: there is no licence yet", "status")
	one.refuses("export is not there: not licensed", "export", "plan")
	one.refuses("check what you typed", "activate", l.Code[:len(l.Code)-1]+"?")
	one.does("hand machine.req in", "activate", l.Code)
	first := one.read("machine.req")
	one.does("hand again.req in", "-o", "again.req", "activate", l.Code)
	if !bytes.Equal(first, one.read("again.req")) {
		t.Error("asked again, it makes another request: the first one would have taken a seat of its own")
	}
	if info, err := os.Stat(one.path("machine.req")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the request, which holds the code: %v, %v", info.Mode(), err)
	}
	one.carry(p.site, "machine.req", "machine.lic")
	one.refuses("the request for one", "import", "machine.req")
	one.does("licensed until 20", "import", "machine.lic")
	one.does("exported plan", "export", "plan")
	if out := one.does("carry out a refresh before 20", "status"); strings.Contains(out, "warning") {
		t.Errorf("status warns:\n%s", out)
	}

	// What is no answer to it changes nothing.
	two.refuses("another install", "import", one.path("machine.lic"))
	if err := os.WriteFile(one.path("half.lic"), one.read("machine.lic")[:500], 0o600); err != nil {
		t.Fatal(err)
	}
	one.refuses("airgap: ", "import", "half.lic")
	one.refuses("no such file", "import", "none.lic")
	one.does("exported plan", "export", "plan")

	before := p.show(l.ID).ExpiresAt
	p.edit(adminwire.PathRenew, l.ID, adminwire.Renew{For: "30d"})
	one.does("hand machine.req in", "refresh")
	one.carry(p.site, "machine.req", "renewed.lic")
	want := before.AddDate(0, 0, 30).UTC().Format("2006-01-02")
	one.does("licensed until "+want, "import", "renewed.lic")
	one.refuses("", "import", "machine.lic")
	one.does("licensed until "+want, "status")

	// The code is given beside the request.
	two.does("hand machine.req in", "transfer")
	two.carry(p.site, "machine.req", "moved.lic", "--code", l.Code)
	two.does("licensed until "+want, "import", "moved.lic")
	two.does("exported plan", "export", "plan")
	if n := live(); n != 1 {
		t.Errorf("%d machines have the licence after it moved, want 1", n)
	}

	// A copy of the folder is of no use elsewhere, and says why.
	three := newIsland(t, "third island")
	if err := os.CopyFS(three.path("state"), os.DirFS(two.path("state"))); err != nil {
		t.Fatal(err)
	}
	three.does(string(license.KindCustom), "status")
	three.refuses("export is not there", "export", "plan")

	two.does("keep the file", "deactivate")
	two.does("not licensed", "status")
	two.refuses("export is not there", "export", "plan")
	if n := live(); n != 1 {
		t.Errorf("%d machines have the licence before the receipt is handed in, want 1", n)
	}
	for range 2 {
		two.carry(p.site, "machine.req", "done.lic")
		if n := live(); n != 0 {
			t.Errorf("%d machines have the licence after it was given up, want 0", n)
		}
	}
	two.does("not licensed", "import", "done.lic")
}

// A request is drawn so that a phone can read it from a terminal, or else says
// that the file will do.
func TestExampleAirgapDraws(t *testing.T) {
	t.Parallel()
	p := exampleSite(t, "{id: demo, features: {export: true}}").start()
	l := p.issue("demo", 1)
	i := newIsland(t, "island")
	out := i.does("hand machine.req in", "-qr", "activate", l.Code)
	raw, err := token.ParseRequestFile(i.read("machine.req"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := token.MarshalRequestText(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := scanTerminal(t, out); got != want {
		t.Fatalf("a phone reads %q, want %q", got, want)
	}
	file := i.path("phone.lic")
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "licensectl"), "sign", want, "-o", file)
	cmd.Dir = p.site.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("licensectl sign: %v\n%s", err, out)
	}
	i.does("licensed until 20", "import", "phone.lic")
	i.does("use the file", "-qr", "refresh")
	i.carry(p.site, "machine.req", "refreshed.lic")
	i.does("licensed until 20", "import", "refreshed.lic")
}

// A mistake in the command line is said, and writes nothing.
func TestExampleAirgapUsage(t *testing.T) {
	t.Parallel()
	i := newIsland(t, "island")
	i.refuses("no such command; airgap -h lists them")
	i.refuses("no such command", "print")
	i.does("the file is the receipt", "-h")
	i.refuses("there is no licence", "refresh")
	i.refuses("there is no licence", "deactivate")
	i.refuses("the request is made, but was not written", "-o", filepath.Join("none", "machine.req"), "activate")
	if files, err := filepath.Glob(i.path("*.req")); err != nil || len(files) > 0 {
		t.Errorf("written: %q, %v", files, err)
	}
}

// scanTerminal reads a QR code from what was written to a terminal.
func scanTerminal(t *testing.T, out string) string {
	t.Helper()
	const on, off, size = "\x1b[38;5;16;48;5;231m", "\x1b[0m", 4
	var rows [][]rune
	for line := range strings.Lines(out) {
		if row, ok := strings.CutPrefix(line, on); ok {
			row, _, _ = strings.Cut(row, off)
			if rows = append(rows, []rune(row)); len(rows[0]) > 80 {
				t.Fatalf("drawn %d columns wide", len(rows[0]))
			}
		}
	}
	img := image.NewGray(image.Rect(0, 0, 80*size, 2*len(rows)*size))
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			dark, row := false, rows[y/(2*size)]
			if at := x / size; at < len(row) {
				dark = row[at] == '█' || row[at] == '▀' && y/size%2 == 0 || row[at] == '▄' && y/size%2 == 1
			}
			if !dark {
				img.SetGray(x, y, color.Gray{Y: 255})
			}
		}
	}
	var photo bytes.Buffer
	if err := png.Encode(&photo, img); err != nil {
		t.Fatal(err)
	}
	text, err := qrphoto.Read(photo.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return text
}
